"""What runs in the child process: the student's file and the checks, within limits.

The parent sends one line of JSON, a job. Records go to a file whose name and nonce are in the job.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import io
import json
import os
import sys
import threading
import time
import traceback
import types
from pathlib import Path
from typing import Any, NoReturn

from . import reference
from .examine import Examination, Tail, make_module, prints_kept, unwritten_in

#: Addresses, where the system can limit them; and how large a file may be.
MEMORY, FILE_SIZE = 2 << 30, 64 << 20
#: Processor time for the import of the file.
IMPORT_SECONDS = 4.0
#: By the clock: how long nothing may be computed, and one call of C may let nobody else in.
ASLEEP, IN_C = 15.0, 10.0
#: Who computes less than this part of the time sleeps, even on a busy machine.
SHARE = 0.01


class Records:
    """Where records go: a line of JSON each, with the nonce."""

    def __init__(self, path: str, nonce: str) -> None:
        self.stream = open(path, "a", encoding="utf-8")  # noqa: SIM115 (until the process ends)
        self.nonce = nonce
        self.lock = threading.Lock()

    def emit(self, event: str, **record: Any) -> None:
        """Write a record."""
        with self.lock:
            line = json.dumps({"nonce": self.nonce, "event": event, **record}, default=str)
            self.stream.write(line + "\n")
            self.stream.flush()


class Watchdog:
    """A thread that ends the process when a property takes too long, and says where it was.

    Processor time counts, so that a busy machine does no harm: that of the property, and that of
    one call of a function of the student's, which is far shorter where it has an end. What sleeps
    is ended by the clock. Should the thread not come to its turn, as in a long call of C,
    `faulthandler` ends the process.
    """

    def __init__(
        self, records: Records, path: Path, source: str, tail: Tail, patience: float
    ) -> None:
        self.records, self.path, self.source, self.tail = records, path, source, tail
        self.patience = patience
        self.at: dict[str, Any] = {}
        self.main = threading.get_ident()
        self.examination: Examination | None = None
        self.begin({"stage": 0, "index": 0}, IMPORT_SECONDS, IMPORT_SECONDS)
        threading.Thread(target=self.watch, daemon=True).start()

    def begin(self, at: dict[str, Any], seconds: float, call_seconds: float) -> None:
        """Start the clocks for a property."""
        self.seconds, self.call_seconds = seconds * self.patience, call_seconds * self.patience
        self.cpu = time.process_time()
        self.at = at
        faulthandler.dump_traceback_later(IN_C, exit=True)

    def end(self) -> None:
        """Stop the clocks."""
        self.at = {}
        faulthandler.cancel_dump_traceback_later()

    def watch(self) -> None:
        """Look at the clocks until the process ends."""
        call: types.FrameType | None = None
        at, begun, since, told = self.at, time.monotonic(), (0.0, 0.0), 0.0
        while True:
            time.sleep(0.1)
            now = time.process_time(), time.monotonic()
            if self.at is not at:
                at, begun, call = self.at, now[1], None
            if not at:
                continue
            used = now[0] - self.cpu
            if now[1] - told > 1:
                told = now[1]
                self.records.emit("alive")
                faulthandler.dump_traceback_later(IN_C, exit=True)
            # A frame is kept from one look to the next: another could have its place in memory.
            frame = self.frame() if now[1] - begun > 1 else None
            if frame is not call:
                call, since = frame, now
            within, passed = now[0] - since[0], now[1] - since[1]
            asleep = passed > ASLEEP * self.patience and within < SHARE * passed
            if used > self.seconds or (call and (within > self.call_seconds or asleep)):
                self.stop(f"still running after {max(used, passed if asleep else 0):.2g} s")

    def frame(self) -> types.FrameType | None:
        """Return the innermost frame of the student's file."""
        frame: types.FrameType | None = sys._current_frames().get(self.main)
        while frame is not None and frame.f_code.co_filename != str(self.path):
            frame = frame.f_back
        return frame

    def place(self) -> tuple[int, str]:
        """Return the student's line that is being run, and the name of its function."""
        frame = self.frame()
        return (frame.f_lineno, frame.f_code.co_name) if frame else (0, "")

    def stop(self, found: str, status: int = 5) -> NoReturn:
        """Report a fault, and end the process."""
        line, function = self.place()
        text = self.source.splitlines()[line - 1].strip() if line else ""
        case = self.examination.door.case.text() if self.examination else "the import of the file"
        self.records.emit(
            "died",
            **self.at,
            found=found,
            case=case,
            printed=self.tail.take(),
            line={"file": self.path.name, "line": line, "function": function, "text": text}
            if line
            else None,
        )
        ENDED(status)
        raise AssertionError("unreachable")


ENDED = os._exit


def limit_resources() -> None:
    """Set the limits that the system has."""
    try:
        import resource
    except ImportError:  # on Windows
        return
    for limit, value in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_FSIZE, FILE_SIZE),
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(limit, (value, resource.getrlimit(limit)[1]))


def own_door(folder: Path) -> Any:
    """Return the student's module ``door``, if there is one."""
    path = folder / "door.py"
    return make_module(path, path.read_text(encoding="utf-8")) if path.exists() else None


def fault_at_import(error: BaseException, path: Path, source: str) -> dict[str, Any]:
    """Return the fault of a file that cannot be imported."""
    number, function = 0, "<module>"
    if isinstance(error, SyntaxError) and error.filename == str(path):
        number = error.lineno or 0
    else:
        for frame in traceback.extract_tb(error.__traceback__):
            if frame.filename == str(path):
                number, function = frame.lineno or 0, frame.name
    lines = source.splitlines()
    if isinstance(error, SystemExit):
        found = "the file ends the process: sys.exit was called"
    else:
        found = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    text = lines[number - 1].strip() if 0 < number <= len(lines) else ""
    place = {"file": path.name, "line": number, "function": function, "text": text}
    return {"found": found, "line": place if number else None}


def replaced_in_numpy(before: dict[str, Any]) -> list[str]:
    """Put NumPy's names back, and return those that the student's file had replaced."""
    import numpy as np

    changed = [name for name, value in before.items() if getattr(np, name, None) is not value]
    for name in changed:
        setattr(np, name, before[name])
    return changed


def warm_up() -> None:
    """Look at a stage of the course's own framework: it makes what all need, once."""
    path = Path(reference.__file__)
    source = path.read_text(encoding="utf-8")
    module = make_module(path, source)
    examination = Examination(path, source, module, lambda *_, **__: None, examples=1)
    examination.run([3])  # it draws programs, too
    del sys.modules[path.stem]


def in_a_line(error: BaseException) -> str:
    """Return what an exception of the course's own says, and where it was raised."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(place.filename).name}, line {place.lineno})"


def without_constants() -> None:
    """Keep Hypothesis from drawing numbers that it finds in the code of all modules.

    It takes a while to look for them, and a file's cases would change with other files.
    """
    with contextlib.suppress(ImportError, AttributeError):
        from hypothesis.internal.conjecture import providers

        found = providers._local_constants
        providers._get_local_constants = lambda: found


def main() -> None:
    """Read the job, run it, and write records."""
    faulthandler.enable()
    without_constants()
    import numpy as np

    before = dict(vars(np))
    if sys.argv[1:] == ["warm"]:
        warm_up()
    gc.freeze()  # what is there already need not be looked through again
    job = json.loads(sys.stdin.buffer.readline().decode())
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    records = Records(job["records"], job["nonce"])
    records.emit("ready")
    path = Path(job["file"])
    source = path.read_text(encoding="utf-8-sig", errors="replace")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    tail = Tail(sys.stdout)
    sys.path.insert(0, str(path.parent))
    limit_resources()
    watchdog = Watchdog(records, path, source, tail, job["patience"])

    def exit_at_once(status: int = 0) -> NoReturn:
        watchdog.stop("the code ends the process: os._exit was called")

    os._exit = exit_at_once
    with prints_kept(tail):
        try:
            compile(source, str(path), "exec")
            unwritten_in(source)
            module = make_module(path, source)
            own = own_door(path.parent)
        except BaseException as error:
            watchdog.end()
            fault = fault_at_import(error, path, source)
            records.emit(
                "died",
                stage=0,
                index=0,
                case="the import of the file",
                **fault,
                printed=tail.take(),
            )
            return
        watchdog.end()
        changed = replaced_in_numpy(before)
        if changed:
            found = f"the file replaces numpy.{changed[0]}"
            records.emit(
                "died",
                stage=0,
                index=0,
                found=found,
                line=None,
                printed="",
                case="the import of the file",
            )
            return

        def emit(event: str, **record: Any) -> None:
            if event == "property":
                at = {"stage": record["stage"], "index": record["index"]}
                watchdog.begin(at, record["seconds"], record["call_seconds"])
            elif event == "result":
                watchdog.end()
            records.emit(event, **record)

        try:
            examination = Examination(
                path, source, module, emit, job["seed"], job["examples"], own, tail.take
            )
            watchdog.examination = examination
            examination.known = {(s, i): status for s, i, status in job["known"]}
            options = {key: job[key] for key in ("go_on", "substitute", "first", "whole")}
            examination.run(job["stages"], **options)
        except BaseException as error:
            watchdog.end()
            records.emit("failed", text=in_a_line(error))
            return
    records.emit("done")


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    ENDED(0)  # whatever threads and exit handlers the student's code has left
