"""A course: build your own framework, and be told the first thing that is wrong with it.

One file, ``mygrad.py``, grows over sixteen stages. It is graded by properties, which hold for
correct code in any style; the first fault is shown with its smallest case, and with its cause if
there is evidence for one. ``python -m microgrand.course start`` begins it; in a notebook::

    from microgrand.course import check
    check(3)
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

__all__ = ["Report", "check"]


def part(name: str) -> Any:
    """Import a module of the course when it is needed, so that the caller reports a failure."""
    try:
        return importlib.import_module(f".{name}", __name__)
    except ModuleNotFoundError as error:
        if error.name != "hypothesis":
            raise
        told = 'the course needs Hypothesis: pip install ".[course]" in a clone'
        raise ImportError(told) from error


class Report:
    """What was found in a file.

    Parameters
    ----------
    result
        The object that ``--json`` prints.
    stage
        The stage that was asked for, or None.
    """

    def __init__(self, result: dict[str, Any], stage: int | None) -> None:
        self.result, self.stage = result, stage

    @property
    def passed(self) -> bool:
        """Whether the stage that was asked for passes, or all do."""
        shown = part("report").stage_of(self.result, self.stage)
        return shown is None or bool(shown["status"].endswith("passed"))

    def __repr__(self) -> str:
        return str(part("report").report(self.result, self.stage, part("sentences").language()))


def check(stage: int | None = None, file: str | Path = "mygrad.py") -> Report:
    """Check a file: all stages up to the first fault, or one.

    Parameters
    ----------
    stage
        The number of a stage; by default all.
    file
        The student's file.

    Returns
    -------
    Report
        Shows itself as the text of the report.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    if not Path(file).is_file():
        raise FileNotFoundError(f"there is no file {file}: `python -m microgrand.course start`")
    stages = [n for n in part("stages").STAGES if stage is None or n <= stage]
    return Report(part("runner").examine_file(file, stages, go_on=stage is not None), stage)
