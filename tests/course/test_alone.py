"""Every late stage stands alone: it is checked with the course's parts where earlier ones fail."""

import pytest
from harness import FEW, SOURCE, examined, first_fault, some, statuses
from mutants import MUTANTS
from test_styles import WHOLE, source_of

LATE = range(9, 15)
MINUS = {  # a mistake of stage 2 in each style
    "closures": ("return self * -1", "return self * 1"),
    "operations": ("return Scale(-1.0)(self)", "return Scale(1.0)(self)"),
    "generations": ("return g, -g", "return g, g"),
    "tape": ("lambda g, a, b: (g, -g)", "lambda g, a, b: (g, g)"),
}
#: What uses nothing but the contract, where that is not all.
ALONE = {"operations": [9, 13], "generations": [9, 10, 12, 13, 14]}
BROKEN = SOURCE.replace("lambda g: (g, -g)", "lambda g: (g, g)")


def found(source, stages, **options):
    """Return the records of late stages, with what is known of stage 2 before."""
    return examined(source, [2, *stages], go_on=True, examples=FEW, **options)


def test_the_reference_passes_with_a_broken_engine():
    records = found(BROKEN, LATE)
    assert statuses(records) == {2: "fault", **dict.fromkeys(LATE, "substituted, passed")}


@pytest.mark.parametrize("style", some(WHOLE, lambda style: style in ALONE))
@pytest.mark.parametrize("last", [13, pytest.param(14, marks=pytest.mark.slow)])
def test_no_right_late_stage_is_called_wrong(style, last):
    right, wrong = MINUS[style]
    source = source_of(style)
    assert source.count(right) >= 1
    wanted = [n for n in LATE if n <= last]
    records = found(source.replace(right, wrong), wanted)
    late = {n: status for n, status in statuses(records).items() if n in LATE}
    assert list(late) == wanted
    assert set(late.values()) <= {"substituted, passed", "cannot be checked alone"}
    assert [n for n in late if late[n] == "substituted, passed"] == [
        n for n in ALONE.get(style, LATE) if n <= last
    ]


FAULTY = [mutant for mutant in MUTANTS if mutant.stage in range(9, 14)][::3]


@pytest.mark.parametrize("mutant", some(FAULTY, lambda mutant: mutant in FAULTY[::4]), ids=str)
def test_a_faulty_late_stage_is_found_beside_a_broken_engine(mutant):
    records = found(BROKEN.replace(mutant.right, mutant.wrong), [mutant.stage])
    late = [r for r in records if r["event"] == "result" and r["stage"] == mutant.stage]
    assert {r["status"] for r in late} & {"fault", "cannot be checked alone"}
    faults = [r["fault"] for r in late if r["status"] == "fault"]
    if faults and mutant.cause:
        assert any(mutant.cause in (fault["cause"] or "") for fault in faults)


def test_a_late_stage_may_wait_for_what_it_extends():
    source = SOURCE.replace("return list(dict.fromkeys(found_in(self, Tensor)))", "return []")
    records = examined(source, [9, 13], go_on=True, examples=FEW)
    assert statuses(records) == {9: "fault", 13: "waits for stage 9"}
    assert first_fault(records)[0] == 9
