"""Tensors: operators, NumPy's protocols, indexing and construction."""

import operator

import numpy as np
import pytest
from exact import X, arrays, assert_same
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from microgrand import Tensor, no_grad
from microgrand.dispatch import constant_functions, formulas

# -------------------------------------------------------------------------------------- operators


BINARY = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "%": operator.mod,
    "**": operator.pow,
}
CONSTANT = {
    "//": operator.floordiv,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
OPERANDS = {
    "int": 2,
    "float": 1.5,
    "bool": True,
    "float32": np.float32(1.5),
    "float64": np.float64(1.5),
    "int64": np.int64(3),
    "array": np.array([1.0, 2.0, 4.0]),
    "float32 array": np.array([1, 2, 4], np.float32),
    "int array": np.array([[3], [2]]),
    "0-d array": np.array(1.5),
    "list": [1.0, 2.0, 3.0],
    "tuple": (1, 2, 3),
}


@pytest.mark.parametrize("operand", OPERANDS.values(), ids=OPERANDS)
@pytest.mark.parametrize("symbol", [*BINARY, *CONSTANT])
def test_operators_give_what_arrays_give_on_both_sides(symbol, operand):
    function = {**BINARY, **CONSTANT}[symbol]
    graph = symbol in BINARY
    x = Tensor(X.copy(), requires_grad=True)
    array = np.asarray(operand) if isinstance(operand, (list, tuple)) else operand
    for result, expected in (
        (function(x, operand), function(X, array)),
        (function(operand, x), function(array, X)),
        (function(x, Tensor(operand)), function(X, np.asarray(operand))),
        (function(Tensor(operand), x), function(np.asarray(operand), X)),
    ):
        assert_same(result, expected, graph)
        if graph:
            x.grad = None
            result.sum().backward()
            assert x.grad.dtype == np.float32


@pytest.mark.parametrize("operand", OPERANDS.values(), ids=OPERANDS)
def test_divmod_gives_a_plain_quotient_and_a_remainder_with_a_graph(operand):
    x = Tensor(X, requires_grad=True)
    array = np.asarray(operand) if isinstance(operand, (list, tuple)) else operand
    for (quotient, remainder), expected in (
        (divmod(x, operand), divmod(X, array)),
        (divmod(operand, x), divmod(array, X)),
        (np.divmod(x, operand), np.divmod(X, array)),
    ):
        assert_same(quotient, expected[0], graph=False)
        assert_same(remainder, expected[1], graph=True)


@pytest.mark.parametrize("operand", [np.eye(3), [1.0, 2.0, 3.0], np.ones((4, 3, 2))])
def test_matmul_on_both_sides(operand):
    x = Tensor(X, requires_grad=True)
    assert_same(x @ operand, X @ np.asarray(operand), graph=True)
    left = np.ones((3, 2)) if np.ndim(operand) > 1 else [1.0, 2.0]
    assert_same(left @ x, np.asarray(left) @ X, graph=True)
    assert_same(x.dot(np.eye(3)), X.dot(np.eye(3)), graph=True)


def test_unary_operators():
    x = Tensor(-X, requires_grad=True)
    for function in (operator.neg, operator.pos, abs):
        assert_same(function(x), function(-X), graph=True)
    mask = Tensor(X > 1)
    assert_same(~mask, ~(X > 1), graph=False)
    assert_same(mask & [True, False, True], (X > 1) & [True, False, True], graph=False)
    assert_same(True ^ mask, True ^ (X > 1), graph=False)
    assert_same(Tensor([1, 2]) << 1 | 1, np.array([1, 2]) << 1 | 1, graph=False)


def test_python_scalars_do_not_widen_float32():
    x = Tensor(X, requires_grad=True)
    y = ((2 * x + 1.5) ** 2 / 3 - True) % 7
    assert y.dtype == np.float32
    assert np.exp(y).mean().dtype == np.float32


def test_in_place_operators_on_computed_values_make_new_tensors():
    x = Tensor(X, requires_grad=True)
    y = z = x * 1
    y += [1, 2, 3]
    y -= 1
    y *= x
    y /= 2.0
    y **= [2, 1, 2]
    y %= 100
    assert y is not z
    expected = ((X + np.array([1, 2, 3]) - 1) * X / 2.0) ** [2, 1, 2] % 100
    np.testing.assert_allclose(y.detach(), expected)
    y.sum().backward()
    assert x.grad.shape == X.shape


def test_in_place_operators_write_into_tensors_without_gradient():
    t = alias = Tensor(np.ones((2, 2)))
    t += 1
    t *= Tensor([1.0, 3.0])
    t @= np.eye(2)
    assert t is alias
    assert t.tolist() == [[2, 6], [2, 6]]


def test_a_total_that_begins_as_a_constant_joins_the_graph():
    total, x = Tensor(0.0), Tensor(3.0, requires_grad=True)
    for _ in range(2):
        total += x * x
    total.backward()
    assert x.grad == 12.0
    array = np.zeros(())
    array = array + x
    array.backward()
    assert x.grad == 13.0


# ------------------------------------------------------------------------------ NumPy's protocols


def test_keyword_spelled_arguments():
    x = Tensor(X, requires_grad=True)
    assert_same(np.sum(a=x), np.sum(a=X), graph=True)
    assert_same(np.sum(a=x, axis=1, keepdims=True), np.sum(X, 1, keepdims=True), graph=True)
    assert_same(np.sum(x, 0), np.sum(X, 0), graph=True)
    assert_same(np.sum(x, axis=None, dtype=None, out=None), np.sum(X), graph=True)
    assert_same(np.mean(a=x, axis=(0, 1)), np.mean(X, (0, 1)), graph=True)
    assert_same(np.transpose(a=x, axes=(1, 0)), X.T, graph=True)
    assert_same(np.swapaxes(a=x, axis1=0, axis2=1), X.T, graph=True)
    assert_same(np.repeat(a=x, repeats=Tensor(2), axis=1), np.repeat(X, 2, 1), graph=True)
    assert_same(np.var(a=x, ddof=1), np.var(X, ddof=1), graph=True)


def test_clip_takes_its_bounds_in_every_spelling_also_as_tensors():
    x, low = Tensor(X, requires_grad=True), Tensor(np.float32(2.0), requires_grad=True)
    expected = np.clip(X, 2, None)
    for result in (
        np.clip(x, low, None),
        np.clip(x, a_min=low, a_max=None),
        np.clip(a=x, a_min=low, a_max=None),
        np.clip(X, low, None),
        x.clip(low),
        x.clip(min=low),
    ):
        assert_same(result, expected, graph=True)
        low.grad = None
        result.sum().backward()
        assert low.grad == 2


@pytest.mark.parametrize("ufunc", [np.add, np.multiply, np.maximum])
def test_ufunc_methods(ufunc):
    x = Tensor(X, requires_grad=True)
    assert_same(ufunc.reduce(x), ufunc.reduce(X), graph=True)
    assert_same(ufunc.reduce(x, axis=1, keepdims=True), ufunc.reduce(X, 1, None, None, True), True)
    assert_same(ufunc.reduce(x, axis=None), ufunc.reduce(X, axis=None), graph=True)
    if ufunc is not np.maximum:
        assert_same(ufunc.accumulate(x), ufunc.accumulate(X), graph=True)
        assert_same(ufunc.accumulate(x, 1), ufunc.accumulate(X, 1), graph=True)


@pytest.mark.parametrize(
    "ufunc", [np.add, np.subtract, np.multiply, np.true_divide, np.power, np.maximum, np.arctan2]
)
@pytest.mark.parametrize("shapes", [((3,), (2,)), ((2, 1), (3, 2)), ((), (2,)), ((2,), ())])
def test_outer_of_any_ufunc(ufunc, shapes):
    arrays = [np.arange(1.0, 1 + np.prod(shape)).reshape(shape) for shape in shapes]
    x, y = (Tensor(array, requires_grad=True) for array in arrays)
    expected = ufunc.outer(*arrays)
    for args in ((x, y), (x, arrays[1]), (arrays[0], y), (x, arrays[1].tolist())):
        assert_same(ufunc.outer(*args), expected, graph=True)
    ufunc.outer(x, y).sum().backward()
    if ufunc is np.subtract:
        assert np.all(x.grad == y.size)
        assert np.all(y.grad == -x.size)


def test_outer_of_comparisons_is_plain():
    x = Tensor(X[0], requires_grad=True)
    assert_same(np.less.outer(x, x), np.less.outer(X[0], X[0]), graph=False)
    assert_same(np.divmod.outer(x, [2.0])[0], np.divmod.outer(X[0], [2.0])[0], graph=False)


def test_methods_of_logical_ufuncs_are_plain():
    x = Tensor(X, requires_grad=True)
    assert_same(np.logical_and.reduce(x), np.logical_and.reduce(X), graph=False)


def test_an_array_that_meets_a_tensor_gives_a_tensor():
    x = Tensor(X, requires_grad=True)
    assert_same(np.stack([X, x]), np.stack([X, X]), graph=True)
    assert_same(np.where(X > 1, X, x), X, graph=True)
    assert_same(np.hypot(X, x), np.hypot(X, X), graph=True)
    assert_same(np.maximum(x, (1, 2, 3)), np.maximum(X, (1, 2, 3)), graph=True)
    np.arctan2(x, (1.0, 2.0, 3.0)).sum().backward()
    assert x.grad.shape == X.shape


def test_without_gradients_any_numpy_function_may_be_called():
    t = Tensor(X)
    assert_same(np.median(t), np.median(X))
    assert_same(np.fft.fft(t[0]), np.fft.fft(X[0]))
    with no_grad():
        assert_same(np.median(Tensor(X, requires_grad=True)), np.median(X))
    out = np.empty_like(X)
    np.exp(t, out=out)
    assert_same(out, np.exp(X))
    out += t
    assert_same(out, np.exp(X) + X)
    assert_same(np.exp(t, where=Tensor(X > 1), out=out)[1], np.exp(X[1]))


# --------------------------------------------------------------------------------------- indexing


INDICES = {
    "int": 1,
    "negative": -1,
    "numpy int": np.int64(1),
    "slice": slice(None, None, -2),
    "tuple": (0, slice(1, 3)),
    "ellipsis": (Ellipsis, 0),
    "only ellipsis": Ellipsis,
    "new axis": (None, 0, None),
    "empty tuple": (),
    "list": [2, 0, 2],
    "nested list": [[0, 1], [1, 1]],
    "list of bool": [True, False, True],
    "integer array": np.array([0, 0, 2]),
    "empty array": np.array([], int),
    "0-d array": np.array(2),
    "range": range(2),
    "bytes-like": memoryview(np.array([1, 1, 0])),
    "pairs": ([0, 0, 1], [1, 1, 2]),
    "mixed": (slice(1, None), [0, 0], 1),
    "far apart": ([0, 0], slice(None), [1, 1]),
    "boolean": np.array([[True, False, False, True]] * 3),
    "boolean row": np.array([True, False, True]),
    "boolean and integer": (np.array([True, False, True]), [3, 0]),
    "bool": True,
    "tensor": Tensor([1, 1, 0]),
    "0-d tensor": Tensor(1),
    "boolean tensor": Tensor([True, False, True]),
    "tensors": (Tensor([0, 0]), slice(None), Tensor(1)),
}


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
def test_indexing(index):
    array = np.arange(36.0).reshape(3, 4, 3)
    parts = index if isinstance(index, tuple) else (index,)
    plain = tuple(np.asarray(part) if isinstance(part, Tensor) else part for part in parts)
    x = Tensor(array, requires_grad=True)
    y = x[index]
    assert_same(y, array[plain], graph=True)
    weights = np.arange(1.0, 1 + y.size).reshape(y.shape)
    (y * weights).sum().backward()
    expected = np.zeros_like(array)
    np.add.at(expected, plain, weights)
    np.testing.assert_array_equal(x.grad, expected)


@given(st.data())
def test_indexing_with_any_index(data):
    array = data.draw(arrays(dtypes=(np.float64,), min_side=1))
    index = data.draw(
        hnp.basic_indices(array.shape, allow_newaxis=True) | hnp.integer_array_indices(array.shape)
        if array.ndim
        else hnp.basic_indices(array.shape, allow_newaxis=True)
    )
    x = Tensor(array, requires_grad=True)
    assert_same(x[index], array[index], graph=True)
    x[index].sum().backward()
    expected = np.zeros_like(array)
    np.add.at(expected, index, 1.0)
    np.testing.assert_array_equal(x.grad, expected)


def test_iteration_unpacking_and_reversal():
    x = Tensor(X, requires_grad=True)
    first, second = x
    (2 * first + 3 * second).sum().backward()
    assert x.grad.tolist() == [[2, 2, 2], [3, 3, 3]]
    assert_same(list(reversed(x)), [X[1], X[0]], graph=True)
    assert_same(sum(x), X[0] + X[1], graph=True)
    assert [len(x), len(x[0])] == [2, 3]
    for wrong in (len, iter, list):
        with pytest.raises(TypeError, match="0-d tensor"):
            wrong(x.sum())


# ----------------------------------------------------------------------------------- construction


@given(arrays(dtypes=(np.float16, np.float32, np.float64, np.longdouble, np.int8, bool)))
def test_an_array_is_wrapped_without_a_copy(array):
    assert Tensor(array).data is array
    assert Tensor(array, dtype=array.dtype).data is array
    assert (Tensor(array).shape, Tensor(array).ndim) == (array.shape, array.ndim)
    assert (Tensor(array).dtype, Tensor(array).size) == (array.dtype, array.size)
    assert not np.shares_memory(Tensor(array).detach().data, array)
    assert np.asarray(Tensor(array)) is array
    assert not np.shares_memory(np.array(Tensor(array)), array)


def test_subclasses_of_arrays_are_refused(tmp_path):
    for data in (np.ones((1, 1)).view(np.matrix), np.ma.masked_array([1.0])):
        with pytest.raises(TypeError, match=r"plain arrays.*np\.asarray"):
            Tensor(data)
    mapped = np.memmap(tmp_path / "data", np.float64, "w+", shape=(2,))
    assert Tensor(mapped).data is mapped


@pytest.mark.parametrize("data", [1, 1.5, True, 1j, [1, 2], [[1.0], [2.0]], (1,), range(3), []])
def test_other_data_gets_the_dtype_that_numpy_gives_it(data):
    assert_same(Tensor(data).detach().numpy(), np.asarray(data))
    assert Tensor(data, dtype=complex).dtype == complex


def test_detach_copies_leaves_and_what_may_be_a_view_of_one():
    x = Tensor(X.copy(), requires_grad=True)
    y = x.detach()
    assert y.is_leaf
    assert not y.requires_grad
    x.data[0, 0] = 9
    assert y.tolist()[0][0] != 9
    for view in (x.T, x[0], np.squeeze(x), np.real(x)):
        assert not np.shares_memory(view.detach().data, x.data)
    assert x.requires_grad_(False) is x
    assert x.numpy() is x.data


def test_requires_grad_can_be_assigned_to_leaves():
    x = Tensor([1.0])
    x.requires_grad = True
    (x * x).sum().backward()
    assert x.grad == [2.0]
    x.requires_grad = False
    assert not (x * x).requires_grad


def test_data_can_be_replaced():
    x = Tensor(X.copy(), requires_grad=True)
    x.data = Tensor(X + 1)
    assert_same(x.data, X + 1)
    Tensor([1.0, 2.0]).data = [3.0, 4.0]
    for wrong in (X[0], X.astype(np.float64), 1.0, None, "a"):
        with pytest.raises(ValueError, match=r"cannot replace data of shape \(2, 3\)"):
            x.data = wrong
    with pytest.raises(RuntimeError, match=r"only a leaf's data .*detach"):
        (x * 2).data = X


# ------------------------------------------------------------------------- tables of this package


def test_the_tables_do_not_overlap():
    assert not set(formulas) & constant_functions


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize(
    "operate", [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow]
)
def test_python_complex_numbers_on_either_side_of_0d_results(operate, dtype):
    x = np.sum(Tensor([0.5, 1.0], dtype=dtype, requires_grad=True))
    for found, expected in (
        (operate(2j, x), operate(2j, np.asarray(x.data))),
        (operate(x, 2j), operate(np.asarray(x.data), 2j)),
    ):
        assert isinstance(found, Tensor)
        assert found.dtype == expected.dtype
        assert found.data == pytest.approx(expected)


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize(
    "other", [np.ones((2, 2)).view(np.matrix), np.ma.masked_array(np.ones((2, 2)), mask=np.eye(2))]
)
def test_operands_whose_operators_mean_something_else_are_refused(other):
    x = Tensor(np.ones((2, 2)), requires_grad=True)
    for operate in (operator.mul, operator.add, np.multiply):
        for pair in ((x, other), (other, x)):
            with pytest.raises(
                TypeError, match=r"with np\.array first|cannot become a plain array"
            ):
                operate(*pair)


def test_lists_and_tuples_are_operands_of_ufuncs():
    for exponents in [2.0, 3.0], (2.0, 3.0):
        x = Tensor([1.0, 2.0], requires_grad=True)
        np.power(x, exponents).sum().backward()
        np.testing.assert_array_equal(x.grad, [2, 12])


def test_what_is_composed_of_other_functions_gives_arrays_of_integers():
    assert type(np.diff(Tensor([1, 3, 4]))) is np.ndarray
    assert type(np.diff(Tensor([1.0, 3.0, 4.0]))) is Tensor


def test_0d_tensors_have_no_matrix_product():
    s = Tensor(1.0, requires_grad=True) * 1
    with pytest.raises(ValueError, match="matmul"):
        s @ s


def test_misuse_that_python_and_numpy_refuse_or_answer():
    t = Tensor([1.0, 2.0], requires_grad=True)
    assert not (t == "a").any()
    with pytest.raises(TypeError, match="integer"):
        [1, 2][np.sum(t)]
    with pytest.raises(ValueError, match="a_min"):
        np.clip(t, 0, 1, min=0.5)


def test_a_change_in_place_that_fails_changes_nothing():
    t = Tensor([1.0, 2.0], requires_grad=True)
    loss = np.sum(t * 2)
    with no_grad(), pytest.raises(ValueError, match="broadcast"):
        t += np.ones(3)
    loss.backward()
    assert np.array_equal(t.grad, [2, 2])
