"""A contender's process: both ends of the line between it and the command.

A contender is a script, ``contender_NAME.py``, that calls `serve` with its tasks. A task is a
class whose instances have some of these methods:

- ``step()`` does the work once; this is what is timed.
- ``wait()``, optional, returns when all steps are really done.
- ``results()``, on a new instance, returns the arrays that others must compute, too.
- ``graph()`` computes forward only; the memory that the returned object holds is measured.
- ``mask_bytes()`` tells how many bytes of mask an element costs.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
#: What tells the libraries how many threads to use.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


# ------------------------------------------------------------------------- the command's end


class WorkerError(Exception):
    """A contender cannot start, or cannot do what it was asked."""


class Worker:
    """A contender's process, seen from the command; a context manager.

    Parameters
    ----------
    contender
        A name, or a name and a variant: ``"torch fused"`` is asked for the task ``"adam fused"``
        of ``contender_torch.py`` where others are asked for ``"adam"``.
    threads
        For OpenMP and BLAS.
    """

    def __init__(self, contender, threads):
        self.name, _, self.variant = contender.partition(" ")
        self.folder = tempfile.TemporaryDirectory()
        self.errors = Path(self.folder.name) / "errors.txt"
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / f"contender_{self.name}.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads)),
            )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.kill()
        self.process.communicate()
        self.folder.cleanup()

    def answer(self):
        """Wait for a line; the first, which comes without being asked, tells the versions."""
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            said = self.errors.read_text().strip().splitlines() or ["without a word"]
            raise WorkerError(f"its process ended: {said[-1]}")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def ask(self, what, **details):
        """Send a request and return the answer."""
        with contextlib.suppress(BrokenPipeError):  # `answer` finds out why
            self.process.stdin.write(json.dumps({"ask": what} | details) + "\n")
            self.process.stdin.flush()
        return self.answer()

    def make(self, case, **changes):
        """Have the task of a case made again."""
        task = f"{case.task} {self.variant}".strip()
        self.ask("make", task=task, arguments=case.arguments | changes)

    def seconds(self, steps):
        """Have a block of steps done, and return what one took on average."""
        return self.ask("run", steps=steps)["seconds"] / steps

    def results(self, case):
        """Return the arrays that a new task computes: without dropout, as masks differ."""
        self.make(case, **({"p": 0} if case.task == "training" else {}))
        path = str(Path(self.folder.name) / "results.npz")
        self.ask("results", path=path)
        with np.load(path) as arrays:
            return dict(arrays)


# ----------------------------------------------------------------------- the contender's end


def serve(version, tasks):
    """Answer requests on standard input, one JSON object a line, until it ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is not an answer
    task = None

    def answer(**message):
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    answer(version=version, numpy=np.__version__)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            match request["ask"]:
                case "make":
                    task = None  # frees the one before
                    task = tasks[request["task"]](**request["arguments"])
                    answer()
                case "results":
                    np.savez(request["path"], **task.results())
                    answer()
                case "run":
                    answer(seconds=block_seconds(task, request["steps"]))
                case "graph":
                    answer(bytes=graph_bytes(task))
                case "mask":
                    answer(bytes=task.mask_bytes())
        except Exception as error:  # the command reports it, whatever it is
            answer(error=f"{type(error).__name__}: {error}")


def block_seconds(task, steps):
    """Time a block of steps."""
    wait = getattr(task, "wait", lambda: None)
    if steps > 1:  # not where a step is so long that a cold start does not matter
        task.step()
        wait()
    start = time.perf_counter()
    for _ in range(steps):
        task.step()
    wait()
    return time.perf_counter() - start


def graph_bytes(task):
    """Measure by how much the process has grown while a graph is alive."""
    gc.collect()
    before = resident_bytes()
    graph = task.graph()
    growth = resident_bytes() - before
    del graph
    return growth


def resident_bytes():
    """Tell how much physical memory this process has."""
    try:
        # Exact, unlike /proc/self/statm, which lags behind by some hundred kilobytes.
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    except FileNotFoundError:
        raise OSError("memory is read from /proc/self/smaps_rollup, which only Linux has") from None
    (kilobytes,) = [line.split()[1] for line in lines if line.startswith("Rss:")]
    return 1024 * int(kilobytes)
