"""Checks after each save: a report a time, nothing else."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

from .progress import Progress
from .report import COMMAND, entry, notes_of, report, stage_of
from .runner import Child, GraderError, Result, examine_file, result_of
from .sentences import lesson, say
from .stages import STAGES

EVERY, EDITOR = 0.2, 0.1


def state_of(path: Path) -> tuple[int, int] | None:
    """Return what changes when a file is saved."""
    try:
        found = path.stat()
    except OSError:  # between two steps of an editor
        return None
    return found.st_mtime_ns, found.st_size


class Watch:
    """What was found at the last save, and a child process that waits for the next one."""

    def __init__(self, path: Path, options: Any) -> None:
        self.path, self.options, self.lang = path, options, options.lang
        self.progress = Progress(path.parent)
        #: The stages that passed, and the one that was shown; None before the first check.
        self.passed: set[int] | None = None
        self.shown: int | None = None
        self.early = False
        self.spare: Child | None = Child(path.parent, warm=True)

    def check(self) -> None:
        """Check the file: the stage that failed last is looked at first, and told at once."""
        child, self.spare = self.spare or Child(self.path.parent), None
        print(f"\n{say('checked at {time}', self.lang).format(time=time.strftime('%H:%M:%S'))}")
        self.early = False
        try:
            result = examine_file(
                self.path, seed=self.options.seed, child=child, first=self.shown, hear=self.hear
            )
        except GraderError as error:
            print(f"The grader itself has failed. Your file is not to blame.\n{error}")
            return
        except OSError:
            return
        finally:
            self.spare = Child(self.path.parent, warm=True)
        self.tell(result)

    def hear(self, records: list[dict[str, Any]]) -> None:
        """Tell at once that the stage shown last has a fault still."""
        end = next((r for r in records if r["event"] == "stage"), None)
        if self.early or end is None or end["stage"] != self.shown:
            return
        if end["status"] in ("fault", "missing"):
            result = result_of(self.path, [end["stage"]], records)
            result["passed"] = sorted(n for n in self.passed or () if n < end["stage"])
            self.remember(result)
            print(report(result, None, self.lang, self.rung(result)), flush=True)
            self.early = True

    def tell(self, result: Result) -> None:
        """Report what was found, unless it was told already."""
        shown = stage_of(result)
        number = shown["stage"] if shown else None
        new = set(result["passed"]) - (self.passed or set())
        if not (self.early and number == self.shown):
            if self.early:
                print(say("An earlier stage has a fault now:", self.lang))
            self.remember(result)
            if self.passed is not None and new and shown and not shown["fault"]:
                print("\n".join(self.next_stage(result, max(new), shown["stage"])), flush=True)
            else:
                print(report(result, None, self.lang, self.rung(result)), flush=True)
        self.passed, self.shown = set(result["passed"]), number

    def next_stage(self, result: Result, passed: int, following: int) -> list[str]:
        """Return the lines that say that a stage passes, and which one is next."""
        title = say("Stage {number}, {name}: {status}.", self.lang)
        name, status = say(STAGES[passed].name, self.lang), say("passed", self.lang)
        text = lesson(following, self.lang).splitlines()[0].lstrip("# ")
        return [
            title.format(number=passed, name=name, status=status),
            *notes_of([s for s in result["stages"] if s["stage"] == passed], self.lang),
            entry("next", f"{text}\n{COMMAND} lesson {following}", self.lang),
        ]

    def remember(self, result: Result) -> None:
        """Write the progress, and the fault for `hint` and `case`."""
        self.progress.remember(result, stage_of(result))

    def rung(self, result: Result) -> int:
        """Return how many hints have been seen for what is shown."""
        shown = stage_of(result)
        return self.progress.rung(shown) if shown else 0


def watch(path: Path, options: Any) -> int:
    """Check a file whenever it is saved, until Ctrl-C."""
    path = path.resolve()
    watched = Watch(path, options)
    before: tuple[int, int] | None = None
    said = say("Watching {path}: save it to have it checked, Ctrl-C to end.", options.lang)
    print(said.format(path=path), flush=True)
    ended = False

    def end(*_: Any) -> None:
        nonlocal ended
        ended = True  # an exception that is raised while an object is finalized is dropped
        raise KeyboardInterrupt

    usual = signal.signal(signal.SIGINT, end)
    try:
        while not ended:
            now = state_of(path)
            if now is None or now == before:
                time.sleep(EVERY)
                continue
            time.sleep(EDITOR)
            before = state_of(path)
            watched.check()
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGINT, usual)
        if watched.spare is not None:
            watched.spare.close()
    return 0
