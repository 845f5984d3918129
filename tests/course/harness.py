"""Files examined in this process, and what passed for the reference shared with its mutants."""

import functools
import gc
import sys
from pathlib import Path

import pytest

from microgrand.course import reference
from microgrand.course.examine import Examination, make_module
from microgrand.course.stages import STAGES

#: How many cases are enough where others are looked at in the same way: each property loops, too.
FEW = 2


def some(values, wanted):
    """Return values as parameters: those that are not wanted in every run are slow."""
    return [pytest.param(v, marks=[] if wanted(v) else pytest.mark.slow) for v in values]


PATH = Path(reference.__file__)
SOURCE = PATH.read_text(encoding="utf-8")


def examined(source, stages=None, path=Path("mygrad.py"), go_on=False, seed=None, **options):
    """Return the records of an examination of a source text."""
    path = path.resolve()
    records = []
    module = make_module(path, source)

    def emit(event, **record):
        records.append({"event": event, **record})

    examination = Examination(path, source, module, emit, seed=seed, **options)
    gc.freeze()  # as the child does: what is there already need not be looked through
    try:
        examination.run(list(STAGES) if stages is None else stages, go_on)
    finally:
        gc.unfreeze()
    return records


def statuses(records):
    return {r["stage"]: r["status"] for r in records if r["event"] == "stage"}


def first_fault(records):
    """Return the stage and the fault that were found first, or None twice."""
    for record in records:
        if record["event"] == "result" and record["status"] == "fault":
            return record["stage"], record["fault"]
    return None, None


@functools.cache
def lines_by_stage():
    """Return which lines of the reference the checks of each stage run."""
    path = str(Path("mygrad.py").resolve())
    found = {}
    for number in STAGES:
        lines, unseen = set(), {}
        found[number] = lines

        def trace(frame, event, argument, lines=lines, unseen=unseen):
            code = frame.f_code
            if code.co_filename != path:
                return None
            if code not in unseen:
                unseen[code] = {line for _, _, line in code.co_lines() if line}
            unseen[code].discard(frame.f_lineno)
            lines.add(frame.f_lineno)
            return trace if unseen[code] else None  # a line is slow to follow

        sys.settrace(trace)
        try:
            records = examined(SOURCE, [number], examples=1)
        finally:
            sys.settrace(None)
        assert statuses(records) == {number: "passed"}
    return found


def changed_lines(right, wrong):
    """Return the numbers of the reference's lines that a replacement changes."""
    start = SOURCE.index(right)
    first = SOURCE[:start].count("\n") + 1
    old, new = right.split("\n"), wrong.split("\n")
    same = 0
    while same < min(len(old), len(new)) - 1 and old[same] == new[same]:
        same += 1
    return set(range(first + same, first + len(old)))
