"""Checks after each save: a report a time, nothing else."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from .progress import Progress
from .report import COMMAND, report, stage_of
from .runner import Child, GraderError, examine_file
from .sentences import lesson
from .stages import STAGES

EVERY, EDITOR = 0.5, 0.2


def state_of(path: Path) -> tuple[int, int] | None:
    """Return what changes when a file is saved."""
    try:
        found = path.stat()
    except OSError:  # between two steps of an editor
        return None
    return found.st_mtime_ns, found.st_size


def watch(path: Path, options: Any) -> int:
    """Check a file whenever it is saved, until Ctrl-C. A child process waits for the next time."""
    path = path.resolve()
    progress = Progress(path.parent)
    before: tuple[int, int] | None = None
    passed: set[int] | None = None
    spare = Child(path.parent)
    print(f"Watching {path}: save it to have it checked, Ctrl-C to end.", flush=True)
    try:
        while True:
            now = state_of(path)
            if now is None or now == before:
                time.sleep(EVERY)
                continue
            time.sleep(EDITOR)
            before = state_of(path)
            child, spare = spare, Child(path.parent)
            print(f"\nchecked at {time.strftime('%H:%M:%S')}")
            try:
                result = examine_file(path, seed=options.seed, child=child)
            except GraderError as error:
                print(f"The grader itself has failed. Your file is not to blame.\n{error}")
                continue
            except OSError:
                continue
            shown = stage_of(result)
            progress.remember(result, shown and {"stage": shown["stage"], **(shown["fault"] or {})})
            rung = progress.rung(shown["stage"]) if shown else 0
            new = set(result["passed"]) - (passed or set())
            if passed is not None and new and shown and not shown["fault"]:
                print(f"Stage {max(new)}, {STAGES[max(new)].name}: passed.")
                n = shown["stage"]
                print(f"next:      {lesson(n, options.lang).splitlines()[0].lstrip('# ')}")
                print(f"           {COMMAND} lesson {n}", flush=True)
            else:
                print(report(result, None, options.lang, rung), flush=True)
            passed = set(result["passed"])
    except KeyboardInterrupt:
        return 0
    finally:
        spare.close()
