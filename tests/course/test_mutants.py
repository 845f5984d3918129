"""Each planted mistake is found at its own stage and at none before, with its cause or none."""

from collections import Counter

import numpy as np
import pytest
from harness import FEW, SOURCE, changed_lines, examined, first_fault, lines_by_stage, some
from mutants import MUTANTS
from mutants.mutant import DIV, SUB

from microgrand.course.stages import STAGES

#: How many mistakes of a stage are planted in every run, of different causes, spread evenly; fewer
#: where training takes its time.
SEVEN, TRAINING = 7, {14: 3, 15: 3}
#: What takes its time by its nature.
LONG = ("list of visited", "per path")


def usual():
    """Return the mistakes that every run plants."""
    found = []
    for number in STAGES:
        mine = [m for m in MUTANTS if m.stage == number and m.name not in LONG]
        first = list({mutant.cause or mutant.name: mutant for mutant in reversed(mine)}.values())
        count = min(TRAINING.get(number, SEVEN), len(first))
        found += [first[i * len(first) // count] for i in range(count)]
    return found


USUAL = usual()


@pytest.mark.parametrize("mutant", some(MUTANTS, lambda mutant: mutant in USUAL), ids=str)
def test_a_mistake_is_found_at_its_own_stage(mutant):
    assert SOURCE.count(mutant.right) == 1
    source = SOURCE.replace(mutant.right, mutant.wrong)
    # Earlier stages that run none of the changed lines pass as they do for the reference.
    changed = changed_lines(mutant.right, mutant.wrong)
    before = [n for n in STAGES if n < mutant.stage and changed & lines_by_stage()[n]]
    assert first_fault(examined(source, before, examples=FEW)) == (None, None)
    stage, fault = first_fault(examined(source, [mutant.stage]))
    assert stage == mutant.stage
    if mutant.cause:
        assert mutant.cause in fault["cause"]
    assert raised_by(fault["program"]) in fault["found"]
    assert len(fault["program"]) < 4000 or mutant.stage in TRAINING


def raised_by(program):
    """Return the name of what a case raises when it is run as a program, or nothing."""
    with np.errstate(all="ignore"):
        try:
            exec(compile(program, "case.py", "exec"), {})
        except Exception as error:
            return type(error).__name__
    return ""


NEG = "-self.data, (self,), lambda g: (-g,)"
#: The operator at fault, its mistake, and what is made of it.
MADE_OF_OTHERS = [
    ("__neg__", (NEG, NEG.replace("(-g,)", "(g,)")), (SUB, "self + -other")),
    ("__pow__", ("g * n * x", "g * x"), (DIV, "self * other**-1")),
    ("__mul__", ("a * b, (self", "a + b, (self"), (NEG, "self * -1")),
]


@pytest.mark.parametrize(("name", "mistake", "made"), MADE_OF_OTHERS)
def test_the_operator_at_fault_is_named_where_others_are_made_of_it(name, mistake, made):
    source = SOURCE.replace(f"node({made[0]})", made[1]).replace(*mistake)
    assert made[1] in source
    _, fault = first_fault(examined(source, [1, 2]))
    assert fault["line"]["function"] == name


def test_a_case_shows_what_was_found():
    _, fault = first_fault(examined(SOURCE.replace("else data, float)", "else data)"), [1]))
    assert 'print("x.data.dtype is", x.data.dtype)' in fault["program"]


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
