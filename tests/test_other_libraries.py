"""Operands of pandas, polars and xarray are their values by position, or an error."""

import operator

import numpy as np
import pytest
from helpers import leaf

from microgrand import Tensor, primitive

VALUES = [4.0, 5.0, 6.0]


def pandas_series():
    return pytest.importorskip("pandas").Series(VALUES, index=[2, 1, 0])


def pandas_index():
    return pytest.importorskip("pandas").Index(VALUES)


def pandas_frame():
    columns = ["c", "b", "a"]
    return pytest.importorskip("pandas").DataFrame([VALUES] * 3, [2, 1, 0], columns)


def pandas_array():
    return pytest.importorskip("pandas").array(VALUES)


def polars_series():
    return pytest.importorskip("polars").Series(VALUES)


def polars_frame():
    return pytest.importorskip("polars").DataFrame(dict.fromkeys("cba", VALUES))


def xarray_array():
    return pytest.importorskip("xarray").DataArray(VALUES, {"x": [2, 1, 0]})


OTHERS = [
    pandas_series, pandas_index, pandas_frame, pandas_array, polars_series, polars_frame,
    xarray_array,
]  # fmt: skip
OPERATORS = [
    operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, operator.mod,
    operator.matmul, np.add, np.maximum, np.arctan2, np.hypot, np.dot,
    lambda x, y: divmod(x, y)[1], lambda x, y: np.where([True, False, True], x, y),
    lambda x, y: np.clip(x, y, 9),
]  # fmt: skip
COMPARISONS = [
    operator.lt, operator.ge, operator.eq, operator.ne, operator.floordiv, np.less, np.floor_divide,
]  # fmt: skip


def result_of(operate, x, y):
    """The result, or None where an operation is refused, by whichever of the two was asked."""
    try:
        return operate(x, y)
    except Exception:
        return None


@pytest.mark.parametrize("operate", OPERATORS)
@pytest.mark.parametrize("make", OTHERS)
def test_a_tensor_before_another_librarys_data(make, operate):
    other = make()
    x, reference = leaf(1.0, 2.0, 3.0), leaf(1.0, 2.0, 3.0)
    result, expected = operate(x, other), operate(reference, np.asarray(other))
    assert type(result) is Tensor
    np.testing.assert_array_equal(result.data, expected.data, strict=True)
    result.sum().backward()
    expected.sum().backward()
    np.testing.assert_array_equal(x.grad, reference.grad)
    constant = operate(x.detach(), other)
    np.testing.assert_array_equal(constant.data, expected.data, strict=True)


@pytest.mark.parametrize("operate", OPERATORS)
@pytest.mark.parametrize("make", OTHERS)
def test_a_tensor_behind_another_librarys_data(make, operate):
    """There the other library is asked first, and may refuse, or wrap the tensor as its own."""
    other = make()
    x, reference = leaf(1.0, 2.0, 3.0), leaf(1.0, 2.0, 3.0)
    expected = operate(np.asarray(other), reference)
    constant = result_of(operate, other, x.detach())
    assert constant is None or np.array_equal(np.asarray(constant), expected.data)
    result = result_of(operate, other, x)
    result = getattr(result, "variable", result)
    result = getattr(result, "_data", result)  # of a DataArray: its own ``data`` is the tensor
    if result is not None:
        assert type(result) is Tensor
        result.sum().backward()
        expected.sum().backward()
        np.testing.assert_array_equal(result.data, expected.data)
        np.testing.assert_array_equal(x.grad, reference.grad)


@pytest.mark.parametrize("operate", COMPARISONS)
@pytest.mark.parametrize("make", OTHERS)
@pytest.mark.parametrize("requires_grad", [True, False])
def test_comparisons_are_by_position(make, operate, requires_grad):
    other, x = make(), Tensor([4.0, 7.0, 1.0], requires_grad=requires_grad)
    result = operate(x, other)
    assert type(result) is np.ndarray
    np.testing.assert_array_equal(result, operate(x.data, np.asarray(other)))
    reflected = result_of(operate, other, x)
    if reflected is not None:
        np.testing.assert_array_equal(np.asarray(reflected), operate(np.asarray(other), x.data))


def test_a_dtype_is_no_data():
    x = leaf(1.0, 2.0)
    assert np.add.reduce(x, dtype=np.float32).dtype == np.float32
    assert np.add.reduce(x, 0, np.float32).dtype == np.float32


@pytest.mark.parametrize("make", [pandas_series, xarray_array])
def test_a_primitive_that_returns_labelled_data_is_refused(make):
    with pytest.raises(TypeError, match=r"returned a .*convert its arguments with np\.asarray"):
        primitive(lambda x, y: x * y)(Tensor([1.0, 2.0, 3.0]), make())


@pytest.mark.parametrize("make", [pandas_series, polars_series, xarray_array])
def test_data_of_other_libraries_in_place(make):
    x = Tensor([1.0, 2.0, 3.0])
    x += make()
    assert type(x.data) is np.ndarray
    assert x.tolist() == [5.0, 7.0, 9.0]


@pytest.mark.parametrize("make", OTHERS)
def test_a_tensor_of_other_libraries_data_is_of_an_array(make):
    tensor = Tensor(make())
    assert type(tensor.data) is np.ndarray
    np.testing.assert_array_equal(tensor.data, np.asarray(make()))


def test_xarray_around_a_tensor():
    xarray = pytest.importorskip("xarray")
    x = Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    labelled = xarray.DataArray(x, dims=("row", "column"))
    assert labelled.data is x
    result = (np.exp(labelled) * 2 + labelled).sum("row").isel(column=1)
    result.data.backward()
    np.testing.assert_allclose(x.grad, np.array([[0, 1], [0, 1]]) * (2 * np.exp(x.data) + 1))


def jax_array():
    return pytest.importorskip("jax").numpy.asarray(VALUES)


def torch_tensor():
    return pytest.importorskip("torch").tensor(VALUES)


def strict_array():
    return pytest.importorskip("array_api_strict").asarray(VALUES)


class OfAnArrayLibrary:
    """An array of the array API standard, as far as a check can see."""

    def __array_namespace__(self, *, api_version=None):
        return np

    def __array__(self, dtype=None, copy=None):
        return np.array(VALUES, dtype)


@pytest.mark.parametrize("make", [jax_array, torch_tensor, strict_array, OfAnArrayLibrary])
def test_arrays_that_do_not_speak_numpys_protocols_are_refused(make):
    array = make()
    with pytest.raises(TypeError, match=r"(?s)protocols.*NumPy, CuPy and Dask do.*np\.asarray"):
        Tensor(array)
    assert Tensor(np.asarray(array)).tolist() == VALUES
