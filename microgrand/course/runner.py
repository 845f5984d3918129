"""Run the child process, limit it, and turn its records into a result."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .examine import EXAMPLES
from .report import IMPORTED
from .stages import EDITION, STAGES

Result = dict[str, Any]
Hear = Callable[[list[dict[str, Any]]], None]

#: How long a child may be silent, without even a sign of life; its own limits are narrower.
SILENCE = 60.0
#: How often a new child may take over from one that was ended.
RESTARTS = 12


class GraderError(Exception):
    """The grader itself has failed: it is not the student's fault."""


class Child:
    """A process that has imported what it needs, and waits for a job.

    With `warm` it has also run the checks once, for what is only made on first use.
    """

    def __init__(self, folder: Path, warm: bool = False) -> None:
        self.place = Path(tempfile.mkdtemp(prefix="microgrand-course-"))
        self.records = self.place / "records"
        self.nonce = secrets.token_hex(16)
        package = str(Path(__file__).resolve().parents[2])
        paths = [package, *(path for path in sys.path if path)]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "MPLBACKEND": "Agg",
        }
        if "PYTHONPYCACHEPREFIX" in os.environ:  # caches have their own place
            environment.pop("PYTHONDONTWRITEBYTECODE", None)
        else:  # none beside the student's file
            environment["PYTHONDONTWRITEBYTECODE"] = "1"
        with self.stream("stdout") as out, self.stream("stderr") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-X", "utf8", "-m", "microgrand.course.child", *["warm"] * warm],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                cwd=folder,
                env=environment,
                start_new_session=os.name == "posix",
            )

    def stream(self, name: str) -> Any:
        """Open a file for what the child prints."""
        return open(self.place / name, "wb")

    def run(self, job: dict[str, Any], hear: Hear | None = None) -> list[dict[str, Any]]:
        """Send the job, wait, and return the records; `hear` is given those so far."""
        assert self.process.stdin is not None
        job = {**job, "records": str(self.records), "nonce": self.nonce}
        with contextlib.suppress(OSError):
            self.process.stdin.write((json.dumps(job) + "\n").encode())
            self.process.stdin.close()
        size, since = -1, time.monotonic()
        while self.process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.05 if size > 0 else 0.5)
            now = self.records.stat().st_size if self.records.exists() else 0
            if now != size:
                size, since = now, time.monotonic()
                if hear is not None:
                    hear(self.read())
            if time.monotonic() - since > SILENCE:
                self.kill()
        return self.read()

    def read(self) -> list[dict[str, Any]]:
        """Return the records that have the nonce."""
        found = []
        if self.records.exists():
            for line in self.records.read_bytes().splitlines():
                with contextlib.suppress(ValueError):
                    record = json.loads(line)
                    mine = isinstance(record, dict) and record.get("nonce") == self.nonce
                    if mine and record["event"] != "alive":
                        found.append(record)
        return found

    def errors(self) -> str:
        """Return the end of what the child wrote to its standard error."""
        path = self.place / "stderr"
        return path.read_bytes()[-20_000:].decode("utf-8", "backslashreplace")

    def last_error(self) -> str:
        """Return its last line: how Python names an exception."""
        return ([line for line in self.errors().splitlines() if line.strip()] or ["no error"])[-1]

    def kill(self) -> None:
        """End the process and those it has started."""
        if os.name == "posix":
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End the process, and remove its files."""
        if self.process.stdin is not None and not self.process.stdin.closed:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        if self.process.poll() is None or os.name == "posix":
            self.kill()
        for path in self.place.glob("*"):
            with contextlib.suppress(OSError):
                path.unlink()
        with contextlib.suppress(OSError):
            self.place.rmdir()


def examine_file(
    file: str | Path,
    stages: Sequence[int] | None = None,
    go_on: bool = False,
    seed: int | None = None,
    examples: int = EXAMPLES,
    substitute: bool = True,
    child: Child | None = None,
    patience: float | None = None,
    first: int | None = None,
    hear: Hear | None = None,
    whole: bool = False,
) -> Result:
    """Check a file in child processes, and return the result.

    Parameters
    ----------
    file
        The student's file.
    stages
        The stages in order, all by default.
    go_on
        Whether to look at all stages, rather than to stop at the first fault.
    seed
        Draws other cases than the usual ones, which are the same in every run.
    examples
        How many cases are drawn of each property.
    substitute
        Whether a stage is checked with the course's parts where earlier ones are faulty.
    child
        A process that is already waiting.
    patience
        How much longer than usual a property may take; by default, in proportion to `examples`.
    first
        A stage to look at before the others.
    hear
        Called with the records so far, while the child is running.
    whole
        Whether to check all properties of a stage (to mark it, say) rather than stop at a fault:
        each one that never ends takes its full time.
    """
    path = Path(file).resolve()
    wanted = list(STAGES) if stages is None else list(stages)
    job: dict[str, Any] = {
        "file": str(path),
        "stages": wanted,
        "go_on": go_on,
        "seed": seed,
        "examples": examples,
        "substitute": substitute,
        "first": first,
        "whole": whole,
        "patience": max(1.0, examples / 60) if patience is None else patience,
    }
    records: list[dict[str, Any]] = []
    for _ in range(RESTARTS):
        known = [[r["stage"], r["index"], r["status"]] for r in records if r["event"] == "result"]
        child = child or Child(path.parent)
        try:
            found = child.run({**job, "known": known}, hear)
            ended = end_of(child, found)
        finally:
            child.close()
            child = None
        for record in found:
            if record["event"] == "result" and [record["stage"], record["index"]] in [
                k[:2] for k in known
            ]:
                continue
            records.append(record)
        if ended is None:
            break
        records.append(ended)
        if ended["stage"] == 0 or not (go_on or first):
            break
    return result_of(path, wanted, records)


def end_of(child: Child, records: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return a result for the property in which a child ended, or None if it did not."""
    last = records[-1] if records else {"event": "nothing"}
    if last["event"] == "done":
        return None
    if last["event"] == "failed":
        raise GraderError(last["text"])
    if not records:
        raise GraderError(f"the child process did not start: {child.last_error()}")
    died = next((r for r in reversed(records) if r["event"] == "died"), None)
    if died is None:
        at = next((r for r in reversed(records) if r["event"] == "property"), None)
        last_result = next((r for r in reversed(records) if r["event"] == "result"), None)
        if last["event"] not in ("property", "ready"):
            raise GraderError(f"the child process ended after {last}: {child.last_error()}")
        died = {
            "stage": at["stage"] if at and at is not last_result else 0,
            "index": at["index"] if at else 0,
            "found": how_it_ended(child.process.returncode, child.errors()),
            "case": "unknown: the process has ended",
            "printed": "",
            "line": line_in(child.errors()),
        }
    number, index = died["stage"], died["index"]
    sentence = STAGES[number].properties[index].sentence if number else IMPORTED
    fault = {
        "property": sentence,
        "case": died["case"],
        "program": "",
        "found": died["found"],
        "expected": "that the call ends, and the process does not"
        if number
        else "a file that Python can run",
        "cause": None,
        "line": died["line"],
        "printed": died["printed"],
    }
    return {"event": "result", "stage": number, "index": index, "status": "fault", "fault": fault}


def how_it_ended(status: int | None, errors: str) -> str:
    """Say how a process came to its end."""
    if "Timeout (" in errors:
        return "still running, in a call that does not return"
    for name, words in (
        ("Segmentation fault", "the code crashes Python: segmentation fault"),
        ("Stack overflow", "the code crashes Python: the stack is full, by too deep a recursion"),
        ("MemoryError", "the code takes more than 2 GiB of memory"),
    ):
        if name in errors:
            return words
    if status is not None and status < 0:
        return f"the process was ended by signal {-status}"
    return f"the code ends the process, with status {status}"


def line_in(errors: str) -> dict[str, Any] | None:
    """Return the student's line from what `faulthandler` wrote: the first outside our files."""
    package = str(Path(__file__).resolve().parents[1])
    for name, line, function in re.findall(r'File "(.*)", line (\d+) in (.*)', errors):
        ours = name.startswith((package, "<")) or "site-packages" in name or "lib/python" in name
        if not ours:
            return {"file": Path(name).name, "line": int(line), "function": function, "text": ""}
    return None


def result_of(path: Path, wanted: Sequence[int], records: list[dict[str, Any]]) -> Result:
    """Combine records into the one object that ``--json`` prints."""
    failed = next((r for r in records if r["event"] == "result" and r["stage"] == 0), None)
    ends = {r["stage"]: r for r in records if r["event"] == "stage"}
    results = {(r["stage"], r["index"]): r for r in records if r["event"] == "result"}
    notes = [(r["stage"], r["text"]) for r in records if r["event"] == "note"]
    stages = []
    for number in wanted:
        stage = STAGES[number]
        if not stage.properties:
            raise GraderError(f"stage {number} has no properties")
        mine = [results.get((number, i)) for i in range(len(stage.properties))]
        if failed is None and number not in ends and not any(mine):
            continue  # not come to
        end = ends.get(number, {})
        fault = next((r["fault"] for r in mine if r and r["status"] == "fault"), None)
        status = "fault" if fault else end.get("status", "not checked")
        if failed:
            fault, status = failed["fault"], "fault"
        alone = next((r for r in mine if r and r["status"] == "cannot be checked alone"), None)
        stages.append(
            {
                "stage": number,
                "name": stage.name,
                "status": status,
                "properties": [
                    {"name": p.sentence, "status": r["status"] if r else "not checked"}
                    | ({"fault": r["fault"]} if r and r["status"] == "fault" else {})
                    for p, r in zip(stage.properties, mine, strict=True)
                ],
                "fault": fault,
                "missing": end.get("names", []),
                "replaced": end.get("replaced", []),
                "line": alone["line"] if alone else None,
                "notes": [text for n, text in notes if n == number],
                **score_of(stage.properties, mine, status),
            }
        )
    source = path.read_bytes()
    return {
        "edition": EDITION,
        "file": str(path),
        "hash": hashlib.sha256(source).hexdigest()[:12],
        "passed": [s["stage"] for s in stages if s["status"].endswith("passed")],
        "stages": stages,
    }


def nothing_found(path: Path, wanted: Sequence[int], why: str) -> Result:
    """Return the result of a file that does not exist: everything is missing."""
    stages = [
        {
            "stage": number,
            "name": STAGES[number].name,
            "status": "missing",
            "properties": [
                {"name": p.sentence, "status": "not checked"} for p in STAGES[number].properties
            ],
            "fault": None,
            "missing": [why],
            "replaced": [],
            "line": None,
            "notes": [],
            **score_of(STAGES[number].properties, [None] * len(STAGES[number].properties), ""),
        }
        for number in wanted
    ]
    return {"edition": EDITION, "file": str(path), "hash": "", "passed": [], "stages": stages}


def score_of(properties: Any, results: Sequence[Any], status: str) -> dict[str, int]:
    """Return the points of a stage: those of its properties that hold.

    Properties that do not apply to the style of a solution count if all others hold.
    """
    passed = ("passed", "not checked") if status.endswith("passed") else ("passed",)
    score = sum(
        p.points
        for p, r in zip(properties, results, strict=True)
        if r is not None and r["status"] in passed
    )
    return {"score": score, "max_score": sum(p.points for p in properties)}
