"""Each planted mistake is found at its own stage and at none before, with its cause or none."""

from collections import Counter

import numpy as np
import pytest
from harness import SOURCE, changed_lines, examined, first_fault, lines_by_stage
from mutants import MUTANTS

from microgrand.course.stages import STAGES


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_mistake_is_found_at_its_own_stage(mutant):
    assert SOURCE.count(mutant.right) == 1
    source = SOURCE.replace(mutant.right, mutant.wrong)
    # Earlier stages that run none of the changed lines pass as they do for the reference.
    changed = changed_lines(mutant.right, mutant.wrong)
    before = [n for n in STAGES if n < mutant.stage and changed & lines_by_stage()[n]]
    assert first_fault(examined(source, before, examples=6)) == (None, None)
    stage, fault = first_fault(examined(source, [mutant.stage]))
    assert stage == mutant.stage
    if mutant.cause:
        assert mutant.cause in fault["cause"]
    assert raised_by(fault["program"]) in fault["found"]


def raised_by(program):
    """Return the name of what a case raises when it is run as a program, or nothing."""
    with np.errstate(all="ignore"):
        try:
            exec(compile(program, "case.py", "exec"), {})
        except Exception as error:
            return type(error).__name__
    return ""


def test_the_reference_passes():
    assert set(lines_by_stage()) == set(STAGES)


def test_there_are_mistakes_enough():
    count = Counter(mutant.stage for mutant in MUTANTS)
    assert set(count) == set(STAGES)
    assert min(count.values()) >= 6
    assert len(MUTANTS) >= 110
    assert sum(bool(mutant.cause) for mutant in MUTANTS) >= len(MUTANTS) * 2 / 3


def test_names_are_unique():
    assert len({str(mutant) for mutant in MUTANTS}) == len(MUTANTS)
