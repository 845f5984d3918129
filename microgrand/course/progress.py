"""What is remembered from one command to the next, but never whether a stage passes."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from .stages import EDITION, STAGES

NAME = ".microgrand-course.json"


class Progress:
    """The file beside the student's: when stages passed first, which hints have been seen.

    A missing or broken file is replaced by a new one: running the checks finds what passes.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self.data: dict[str, Any] = {"edition": EDITION, "stages": {}, "last": None}
        if not self.path.exists():
            return
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            stages = {str(int(n)): dict(value) for n, value in found["stages"].items()}
            last = found["last"]
            if not (last is None or isinstance(last["stage"], int)):
                raise ValueError("last")
        except (ValueError, TypeError, KeyError, AttributeError, OSError):
            print(
                f"{NAME} cannot be read; a new one is begun, and nothing is lost.", file=sys.stderr
            )
            return
        self.data.update(stages=stages, last=last)

    def stage(self, number: int) -> dict[str, Any]:
        """Return what is remembered of a stage."""
        found: dict[str, Any] = self.data["stages"].setdefault(str(number), {})
        return found

    def next_stage(self) -> int | None:
        """Return the first stage that has not passed yet; None if all have."""
        return next((n for n in STAGES if not self.stage(n).get("passed")), None)

    def rung(self, shown: dict[str, Any]) -> int:
        """Return how many hints have been seen for what is shown of a stage, by fault.

        `shown` is a stage of a result, or what is remembered of the last one.
        """
        rung = self.hints(shown["stage"]).get(fault_in(shown), 0)
        return rung if isinstance(rung, int) else 0

    def climb(self, shown: dict[str, Any], last: int) -> None:
        """Remember that one more hint has been seen, of `last` ones."""
        self.hints(shown["stage"])[fault_in(shown)] = min(self.rung(shown) + 1, last)
        self.save()

    def hints(self, number: int) -> dict[str, Any]:
        """Return how many hints of a stage have been seen, by the fault."""
        stage = self.stage(number)
        if not isinstance(stage.get("hints"), dict):
            stage["hints"] = {}
        found: dict[str, Any] = stage["hints"]
        return found

    def remember(self, result: dict[str, Any], shown: dict[str, Any] | None) -> None:
        """Remember which stages pass, and the stage and fault that are shown, if any."""
        for number in result["passed"]:
            self.stage(number).setdefault("passed", time.strftime("%Y-%m-%d %H:%M"))
        self.data["last"] = shown and {"stage": shown["stage"], **(shown["fault"] or {})}
        self.save()

    def save(self) -> None:
        """Write the file as a whole; a folder that cannot be written to is not a fault."""
        new = self.path.with_name(f"{NAME}.{os.getpid()}")
        try:
            new.write_text(json.dumps(self.data, indent=1), encoding="utf-8")
            os.replace(new, self.path)
        except OSError as error:
            print(f"{NAME} cannot be written: {error}", file=sys.stderr)


def fault_in(shown: dict[str, Any]) -> str:
    """Return what tells faults apart: the property, and the function that is at fault."""
    fault = shown.get("fault") or shown
    place = fault.get("line")  # a number, where a stage cannot be checked alone
    function = place.get("function", "") if isinstance(place, dict) else ""
    return f"{fault.get('property', '')} {function}".strip()
