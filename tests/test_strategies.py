"""What the strategies draw is valid for NumPy, varied, and shrinks; random programs find faults."""

import re
import subprocess
import sys

import hypothesis
import numpy as np
import pytest
from helpers import refused
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from planting import with_mistake

from microgrand import Tensor, engine, tensor, transforms
from microgrand.testing import GradcheckError, gradcheck, strategies
from microgrand.testing.strategies import Program

find = settings(max_examples=3000, database=None, derandomize=True, deadline=None)


def smallest(strategy, condition):
    """Return the example that Hypothesis shrinks to; fail if it draws none."""
    return hypothesis.find(strategy, condition, settings=find)


def test_gradcheck_does_not_need_hypothesis():
    code = (
        "import sys; sys.modules['hypothesis'] = None; import numpy as np;"
        "from microgrand.testing import Adapter, GradcheckError, gradcheck; gradcheck(np.sin, 1.0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --------------------------------------------------------------------------------- arrays


@given(
    st.data(),
    strategies.shapes(),
    st.floats(-1e3, 1e3),
    st.floats(1e-3, 1e3),
    st.lists(st.floats(0, 1), max_size=3),
)
def test_arrays_keep_away_from_each_other_and_from_kinks(data, shape, low, width, places):
    kinks = [low + place * width for place in places]
    x = data.draw(strategies.arrays(shape, low, low + width, kinks))
    assert x.shape == shape
    assert x.dtype == np.float64
    assert np.all((x > low) & (x < low + width))
    for kink in kinks:
        assert np.all(np.abs(x - kink) > 0.049 * width)
    gaps = np.diff(np.sort(x, axis=None))
    assert np.all(gaps > 0.2 * 0.6 * width / max(x.size, 1))
    assert np.all(np.abs(x) < 2 * 1e3)


def test_arrays_reach_all_of_their_range():
    x = strategies.arrays((50,), -1, 3, kinks=[0, 1, 5])
    drawn = smallest(x, lambda x: True)
    for low, high in ((-1, -0.2), (0.2, 0.8), (1.2, 3)):
        part = drawn[(drawn > low) & (drawn < high)]
        assert len(part) == pytest.approx(50 * (high - low) / 3.2, abs=1)


def test_elements_are_short_decimals_but_not_round_ones():
    drawn = smallest(strategies.arrays((2, 2)), lambda x: True)
    assert len(str(drawn.tolist())) < 40
    assert not np.any(drawn == np.round(drawn, 1))


def test_kinks_may_leave_nothing():
    with pytest.raises(ValueError, match="no number from 0 to 1 is away from the kinks"):
        smallest(strategies.arrays((2,), 0, 1, kinks=np.linspace(0, 1, 13)), lambda x: True)
    with pytest.raises(ValueError, match="no number from 1 to 0"):
        smallest(strategies.arrays((2,), 1, 0), lambda x: True)


# ----------------------------------------------------------------- shapes, axes and indices


@given(strategies.shapes(1, 2, 2, 4))
def test_shapes_keep_their_bounds(shape):
    assert len(shape) in (1, 2)
    assert set(shape) <= {2, 3, 4}


@given(st.data(), st.integers(1, 4))
def test_shapes_broadcast(data, number):
    shapes = data.draw(strategies.broadcastable_shapes(number))
    assert len(shapes) == number
    assert sum(np.zeros(shape) for shape in shapes).shape == np.broadcast_shapes(*shapes)


@given(strategies.matmul_shapes())
def test_shapes_of_matrix_products(shapes):
    np.zeros(shapes[0]) @ np.zeros(shapes[1])


@given(st.data(), strategies.shapes(max_dims=4))
def test_axes_are_those_of_numpy(data, shape):
    np.sum(np.zeros(shape), axis=data.draw(strategies.axes(len(shape))))


@given(st.data(), strategies.shapes())
def test_indices_are_those_of_numpy(data, shape):
    x = np.arange(np.prod(shape)).reshape(shape)
    x[data.draw(strategies.indices(shape))]


def of_type(index, kind):
    return [part for part in index if isinstance(part, kind)] if isinstance(index, tuple) else []


def is_mask(part):
    return isinstance(part, np.ndarray) and part.dtype == bool


def selects_twice(index):
    return np.max(np.bincount(np.ravel(np.arange(6).reshape(2, 3)[index]), minlength=1)) > 1


WANTED = {
    "a whole shape": (strategies.shapes(), lambda s: s == (3, 2, 3)),
    "a 0-d shape": (strategies.shapes(), lambda s: s == ()),
    "an empty shape": (strategies.shapes(), lambda s: 0 in s),
    "a missing axis": (strategies.broadcastable_shapes(), lambda s: len(s[0]) < len(s[1]) > 1),
    "an axis of length 1 against more": (
        strategies.broadcastable_shapes(),
        lambda s: any(a == 1 < b for a, b in zip(*s, strict=False)) and len(s[0]) == len(s[1]),
    ),
    "vector times vector": (strategies.matmul_shapes(), lambda s: len(s[0]) == len(s[1]) == 1),
    "vector times batch": (strategies.matmul_shapes(), lambda s: len(s[0]) == 1 and len(s[1]) > 2),
    "batch times vector": (strategies.matmul_shapes(), lambda s: len(s[0]) > 2 and len(s[1]) == 1),
    "batches that broadcast": (
        strategies.matmul_shapes(),
        lambda s: s[0][:-2] and s[1][:-2] and s[0][:-2] != s[1][:-2],
    ),
    "all axes": (strategies.axes(3), lambda axis: axis is None),
    "a negative axis": (strategies.axes(3), lambda axis: isinstance(axis, int) and axis < 0),
    "several axes": (strategies.axes(3), lambda axis: isinstance(axis, tuple) and len(axis) == 2),
    "no axes": (strategies.axes(3), lambda axis: axis == ()),
    "a slice backwards": (
        strategies.indices((2, 3)),
        lambda i: any(part.step and part.step < 0 for part in of_type(i, slice)),
    ),
    "an ellipsis": (strategies.indices((2, 3)), lambda i: of_type(i, type(...))),
    "a new axis": (strategies.indices((2, 3)), lambda i: of_type(i, type(None))),
    "a mask": (strategies.indices((2, 3)), lambda i: is_mask(i) and i.ndim == 2),
    "a mask of the first axis": (strategies.indices((2, 3)), lambda i: is_mask(i) and i.ndim == 1),
    "an element twice": (strategies.indices((2, 3)), selects_twice),
    "an array and a slice": (
        strategies.indices((2, 3)),
        lambda i: of_type(i, slice) and of_type(i, (list, np.ndarray)),
    ),
    "a mask and an integer array": (
        strategies.indices((2, 3)),
        lambda i: len(of_type(i, np.ndarray)) == 2 and sum(map(is_mask, i)) == 1,
    ),
}


@pytest.mark.parametrize("wanted", WANTED)
def test_every_kind_is_drawn(wanted):
    hypothesis.find(*WANTED[wanted], settings=settings(find, phases=[Phase.generate]))


# -------------------------------------------------------------------------- random programs


@given(strategies.programs())
def test_a_program_computes_on_tensors_what_numpy_computes(program):
    expected = program(*program.inputs)
    assert np.all(np.abs(expected) < 100)
    tensors = [Tensor(x, requires_grad=True) for x in program.inputs]
    found = program(*tensors)
    assert found.requires_grad
    # Operators of 0-d results are those of NumPy's scalars, which may round differently.
    np.testing.assert_allclose(found.data, expected, rtol=1e-12, atol=1e-12)


@given(strategies.programs())
def test_derivatives_of_random_programs(program):
    gradcheck(program, *program.inputs, order=2)


@given(strategies.programs())
def test_the_code_of_a_program_reproduces_it(program):
    again = eval(repr(program), {"np": np, "Program": Program})
    assert again.lines == program.lines
    for x, y in zip(again.inputs, program.inputs, strict=True):
        assert_array_equal(x, y, strict=True)
    assert_array_equal(again(*again.inputs), program(*program.inputs))


@given(strategies.programs(max_lines=4))
def test_every_line_and_input_of_a_program_is_used(program):
    assert len(program.lines) <= 4
    code = "\n".join(program.lines) + f"\n{program.lines[-1].split()[0]} is the result"
    for name in [*program.names, *(line.split()[0] for line in program.lines)]:
        assert code.count(name) >= 1 + (name[0] == "v")


def test_every_expression_is_drawn():
    drawn = set()

    @settings(max_examples=1000, phases=[Phase.generate], database=None)
    @given(strategies.programs())
    def collect(program):
        drawn.update(re.sub(r"[xv]\d+", "_", line.split(" = ")[1]) for line in program.lines)

    collect()
    missing = {template.format("_", "_") for template, _ in strategies.EXPRESSIONS} - drawn
    assert not missing


FAULTS = {
    "overwritten": ("backpropagate", "cotangents[arg] + contribution", "contribution"),
    "the first use only": ("backpropagate", "cotangents[arg] + contribution", "cotangents[arg]"),
    "a node before all its uses": (
        "backpropagate",
        "uses[arg] -= 1",
        "uses[arg] = 0 if uses[arg] > 0 else -1",
    ),
    "broadcasting undone by the mean": ("unbroadcast", "sum_of(", "np.mean("),
}


def fails(program):
    return refused(program, *program.inputs, mode="fast")


@pytest.fixture
def fault(request, monkeypatch):
    """A fault in the engine, wherever the faulty function is used."""
    name, right, wrong = FAULTS[request.param]
    faulty = with_mistake(getattr(engine, name), right, wrong)
    if name != "backpropagate":  # which calls it
        monkeypatch.setattr(engine, name, faulty)
        return
    for module in (engine, tensor, transforms, sys.modules["microgrand.testing.adapters"]):
        monkeypatch.setattr(module, name, faulty)


@pytest.mark.parametrize("fault", FAULTS, indirect=True)
def test_random_programs_find_faults_of_the_engine(fault):
    program = smallest(strategies.programs(), fails)
    assert len(program.lines) <= 3, program
    assert sum(x.size for x in program.inputs) <= 4, program


@pytest.mark.parametrize("fault", ["overwritten"], indirect=True)
def test_a_failure_prints_code_that_reproduces_it(fault):
    @settings(database=None, derandomize=True)
    @given(program=strategies.programs())
    def run(program):
        gradcheck(program, *program.inputs)

    with pytest.raises(GradcheckError) as caught:
        run()
    note = "\n".join(caught.value.__notes__)
    code = note[note.index("Program(") : note.index("\n    )") + 6]
    assert code.count("\n") <= 4
    assert fails(eval(code, {"np": np, "Program": Program}))


@pytest.mark.parametrize("expressions", ["{0} * {1}", [], ()])
def test_expressions_that_are_no_list_are_refused(expressions):
    with pytest.raises(TypeError, match=r"a list of templates such as .*, got"):
        strategies.programs(expressions=expressions)
