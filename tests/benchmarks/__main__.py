"""Compare microgrand with its peers, side by side: ``python tests/benchmarks --help``.

Each contender runs in a process of its own, and the processes take turns: a block of steps each,
with a pause between, for many rounds. The result is the median over the rounds of microgrand's
time divided by the other's in the same round, so that what slows the whole machine down for a
while slows both. Before that, all contenders have to compute the same loss and gradients.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from cases import BENCHMARKS, PEERS, RECORDERS
from report import as_text, draw
from worker import Worker, WorkerError

# Idle threads of OpenMP and BLAS spin for a while before they sleep, and take the time of whoever
# comes next.
PAUSE_SECONDS = 0.1
BLOCK_SECONDS = 0.2
#: How far arrays of two contenders may differ, relative to the largest element.
TOLERANCE = 1e-4
#: A case with steps longer than this takes at most this many rounds.
LONG_STEP_SECONDS, ROUNDS_OF_LONG_STEPS = 0.5, 5
COMPILED, NATIVE = "microgrand-compiled", "microgrand-numba"


def main():
    """Measure what the command line asks for, and report it."""
    options = parse_command_line()
    hurry = 10 if options.quick else 1
    session = Session(options.against, options.rounds, BLOCK_SECONDS / hurry, PAUSE_SECONDS / hurry)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    problem = None
    try:
        for name in options.benchmarks:
            if name == "import":
                session.measure_import()
            for case in BENCHMARKS[name]:
                for threads in options.threads if case.threaded else options.threads[:1]:
                    print(f"measuring: {case.title}, threads: {threads}", file=sys.stderr)
                    try:
                        session.run(case, threads)
                    except WorkerError as error:
                        session.skipped[case.title] = str(error)
                        problem = "not everything could be measured; see what was skipped"
    except KeyboardInterrupt:
        problem = "interrupted; this is what had been measured"
    report = {
        "machine": f"{processor()}, {platform.platform()}",
        "cores": cores(),
        "load_average_before": load,
        "python": platform.python_version(),
        "versions": session.versions,
        "rounds": session.rounds,
        "skipped": session.skipped,
        "rows": session.rows,
    }
    print(as_text(report))
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    if options.picture is not None:
        try:
            draw(report, options.picture)
        except ModuleNotFoundError as error:
            print(f"Skipped: picture: {error}")
    if problem:
        sys.exit(f"error: {problem}")


def processor():
    """Name the processor, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def cores():
    """Count the processor's cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def parse_command_line():
    """Read the options."""
    parser = argparse.ArgumentParser(
        prog="python tests/benchmarks",
        description="Compare microgrand with hand-written NumPy and, where they are installed, "
        "with its peers. Each contender has a process of its own; they take turns.",
        epilog="Leave the machine alone while it measures; all of it takes about half an hour.",
    )
    parser.add_argument(
        "benchmarks",
        nargs="*",
        metavar="BENCHMARK",
        help=f"what to measure: {', '.join(BENCHMARKS)} (default: everything)",
    )
    parser.add_argument(
        "--against",
        default=",".join(PEERS),
        metavar="NAMES",
        help='peers beside NumPy, with commas between, or "none" (default: %(default)s)',
    )
    parser.add_argument(
        "--threads",
        default="1,2",
        metavar="NUMBERS",
        help="for OpenMP and BLAS, with commas between (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds", type=int, help="blocks for each contender (default: 15, 3 with --quick)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="short blocks, only to try it out; writes no file"
    )
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="results to write (default: benchmarks.json; with --quick, no file is written)",
    )
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="FILE",
        help="picture to draw, .png or .svg (default: no file is drawn)",
    )
    options = parser.parse_args()
    unknown = [name for name in options.benchmarks if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    options.benchmarks = options.benchmarks or list(BENCHMARKS)
    options.against = [] if options.against == "none" else options.against.split(",")
    unknown = [name for name in options.against if name not in PEERS]
    if unknown:
        parser.error(f"no such peer: {', '.join(unknown)}; there are {', '.join(PEERS)}")
    try:
        options.threads = [int(number) for number in options.threads.split(",")]
    except ValueError:
        parser.error(f"--threads takes numbers such as 1,2, got {options.threads}")
    options.rounds = (3 if options.quick else 15) if options.rounds is None else options.rounds
    if options.rounds < 1 or min(options.threads) < 1:
        parser.error("--rounds and --threads are at least 1")
    if options.json is None and not options.quick:
        options.json = Path("benchmarks.json")
    for path in (options.json, options.picture):
        if path is not None and not path.parent.is_dir():
            parser.error(f"there is no folder {path.parent} for {path.name}")
    if options.picture is not None and options.picture.suffix not in (".png", ".svg"):
        parser.error(f"--picture is a .png or .svg file, got {options.picture}")
    return options


class Session:
    """What one call of the command measures: rows of a table, and what was skipped and why."""

    def __init__(self, against, rounds, block_seconds, pause_seconds):
        self.names = {"microgrand", "numpy", *against}
        self.rounds = rounds
        self.block_seconds = block_seconds
        self.pause_seconds = pause_seconds
        self.rows = []
        self.skipped = {}
        self.versions = {}

    def run(self, case, threads):
        """Start the contenders of a case, check that they agree, and measure."""
        with ExitStack() as stack:
            workers = {
                contender: stack.enter_context(Worker(contender, threads))
                for contender in ("microgrand", *case.others)
                if contender.split()[0] in self.names
            }
            self.greet(workers)
            self.check(case, workers)
            times = self.take_turns(case, workers)
            if case.mask_target is not None:
                for contender, worker in workers.items():
                    target = case.mask_target if contender == "microgrand" else None
                    mask = [worker.ask("mask")["bytes"]]
                    self.add_row(case.title, threads, contender, "mask", mask, "bytes", target)
        if case.overhead_target is None:
            self.add_ratios(case, threads, "time", times, "s")
        else:
            extra = np.subtract(times["microgrand"], times["numpy"]) / case.operations
            row = case.title, threads, "numpy", "overhead", extra.tolist(), "s"
            self.add_row(*row, case.overhead_target)
        if case.small_graph is not None:
            recorders = [contender for contender in times if contender in RECORDERS]
            memory = self.measure_memory(case, threads, recorders)
            self.add_ratios(case, threads, "memory", memory, "bytes")

    def greet(self, workers):
        """Wait until all processes have started; drop those that cannot."""
        for contender, worker in list(workers.items()):
            try:
                self.versions[worker.name] = worker.answer()
            except WorkerError as error:
                if worker.name in ("microgrand", "numpy"):
                    hint = "; is microgrand installed, or on PYTHONPATH?"
                    hint = hint if worker.name == "microgrand" else ""
                    raise WorkerError(f"{worker.name}: {error}{hint}") from None
                self.names.discard(worker.name)
                self.skipped[worker.name] = str(error)
                del workers[contender]

    def check(self, case, workers):
        """Drop the contenders that compute something else than microgrand.

        Where hand-written NumPy does, either may be wrong, so nothing is measured.
        """
        expected = workers["microgrand"].results(case)
        for contender in [contender for contender in workers if contender != "microgrand"]:
            try:
                problem = difference(workers[contender].results(case), expected)
            except WorkerError as error:
                problem = str(error)
            if problem and contender == "numpy":
                raise WorkerError(f"NumPy and microgrand disagree: {problem}")
            if problem:
                self.skipped[f"{contender}, {case.title}"] = problem
                del workers[contender]

    def take_turns(self, case, workers):
        """Return for each contender its seconds a step, one number a round."""
        steps, longest = {}, 0.0
        for contender, worker in workers.items():
            worker.make(case)
            worker.seconds(3)  # the first steps record, compile, allocate, and prove nothing
            count = 1
            while (seconds := worker.seconds(count)) * count < self.block_seconds / 4:
                count *= 2
            steps[contender] = max(1, round(self.block_seconds / seconds))
            longest = max(longest, seconds)
        rounds = self.rounds
        if longest > LONG_STEP_SECONDS:
            rounds = min(rounds, ROUNDS_OF_LONG_STEPS)
        times = {contender: [] for contender in workers}
        turns = list(workers)
        for _ in range(rounds):
            turns.reverse()  # so that nobody always comes after the same one
            for contender in turns:
                time.sleep(self.pause_seconds)
                times[contender].append(workers[contender].seconds(steps[contender]))
        return times

    def measure_memory(self, case, threads, contenders):
        """Return the bytes of each contender's graph, in processes with unused heaps."""
        sizes = {}
        for contender in contenders:
            try:
                sizes[contender] = [
                    bytes_in_new_process(case, threads, contender)
                    for _ in range(min(self.rounds, 3))
                ]
            except WorkerError as error:
                self.skipped[f"{contender}, memory, {case.title}"] = str(error)
        return sizes

    def measure_import(self):
        """Time ``import microgrand`` where NumPy has been imported."""
        program = (
            "from time import perf_counter as now; a = now(); import numpy; b = now(); "
            "import microgrand; print(b - a, now() - b)"
        )
        command = [sys.executable, "-c", program]
        seconds = []
        for _ in range(self.rounds + 1):  # the first one reads the files from the disk
            process = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds.append([float(number) for number in process.stdout.split()])
        numpy, microgrand = map(list, zip(*seconds[1:], strict=True))
        self.add_row("import", None, "numpy", "time", numpy, "s")
        self.add_row("import after NumPy", None, "microgrand", "time", microgrand, "s")

    # ---- rows of the table

    def add_ratios(self, case, threads, quantity, measured, unit):
        """Add what was measured for each contender, and microgrand's ratio to the others."""
        for contender, values in measured.items():
            each = [value / case.operations for value in values]
            self.add_row(case.title, threads, contender, quantity, each, unit, series=case.series)
        kinds = (
            ("microgrand", "", case.targets),
            (COMPILED, "compiled ", case.compiled_targets),
            (NATIVE, "native ", case.numba_targets),
        )
        for ours, kind, targets in kinds:
            for contender, values in measured.items():
                # A graph may be too small for its process to grow: there is no ratio to nothing.
                found = measured.get(ours) or [0]
                if contender not in ("microgrand", COMPILED, NATIVE) and all(found) and all(values):
                    ratios = [a / b for a, b in zip(found, values, strict=True)]
                    row = case.title, threads, contender, f"{kind}{quantity} ratio", ratios, ""
                    self.add_row(*row, targets.get(contender), case.series)

    def add_row(self, title, threads, contender, quantity, values, unit, target=None, series=None):
        """Add a row: the values of all rounds, their median and quartiles."""
        if len(values) == 1:
            values = values * 2  # which quantiles() needs
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        self.rows.append(
            {
                "case": title,
                "threads": threads,
                "contender": contender,
                "quantity": quantity,
                "unit": unit,
                "median": median,
                "quartiles": [low, high],
                "target": target,
                "met": None if target is None else median <= target,
                "series": series,
                "values": values,
            }
        )


def difference(results, expected):
    """Say how one contender's arrays differ from another's, or return None.

    A contender that only computes some of them, as matrix products alone are only the gradients
    of weights, must say so by a key ``partly``.
    """
    partly = results.pop("partly", False)
    if not (results.keys() < expected.keys() if partly else results.keys() == expected.keys()):
        return f"it computes {sorted(results)}, expected {sorted(expected)}"
    for name, array in results.items():
        other = expected[name]
        if array.shape != other.shape or array.dtype != other.dtype:
            return f"{name} is {array.dtype} {array.shape}, expected {other.dtype} {other.shape}"
        error = np.max(np.abs(array - other), initial=0)
        allowed = TOLERANCE * np.max(np.abs(other), initial=0)
        if not error <= allowed:  # nor is nan
            return f"{name} differs by {error:.2g}, at most {allowed:.2g} is rounding"
    return None


def bytes_in_new_process(case, threads, contender):
    """Measure one graph, after a small one has loaded and set up whatever is needed."""
    with Worker(contender, threads) as worker:
        worker.answer()
        worker.make(case, **case.small_graph)
        worker.ask("graph")
        worker.make(case)
        return worker.ask("graph")["bytes"]


if __name__ == "__main__":
    main()
