"""Arrays of a device: the whole table, masks and generators work there, without a look at numbers.

The stand-in in device_array.py keeps the promise where there is no device; ``python -m
tests.device`` runs these tests, and those of the files named as this one, on one.
"""

import functools
import importlib
import types
from pathlib import Path

import device
import numpy as np
import pytest
from device_array import DeviceArray, DeviceGenerator, on_host
from device_cases import TRANSFORMS, leaves_of
from hypothesis import Phase, assume, given, settings
from numpy.linalg import LinAlgError
from test_vjps.cases import CHECKS, as_outputs, label

from microgrand import Tensor, manual_seed, nn
from microgrand.engine import backpropagate
from microgrand.nn import functional as F

for file in sorted(Path(__file__).parent.glob("test_vjps/test_*.py")):
    importlib.import_module(f"test_vjps.{file.stem}")  # which says how to call what it covers

FEW = settings(max_examples=4, database=None, phases=[Phase.generate], deadline=None)

# ------------------------------------------------------------------------- the whole table


def moved(value, depth=0):
    """Bring arrays to the device, also those that a check's function closes over."""
    if isinstance(value, (np.ndarray, np.generic)):
        return DeviceArray(value)
    if type(value) is list and holds_numbers(value):
        return DeviceArray(value)
    if type(value) in (list, tuple):
        return type(value)(moved(item, depth) for item in value)
    if type(value) is dict:
        return {name: moved(item, depth) for name, item in value.items()}
    if isinstance(value, functools.partial):
        parts = moved([value.func, value.args, value.keywords], depth)
        return functools.partial(parts[0], *parts[1], **parts[2])
    if isinstance(value, types.FunctionType) and "test" in value.__module__ and depth < 4:
        cells = [types.CellType(moved(c.cell_contents, depth + 1)) for c in value.__closure__ or ()]
        copy = types.FunctionType(
            value.__code__, value.__globals__, value.__name__, value.__defaults__, tuple(cells)
        )
        copy.__kwdefaults__ = value.__kwdefaults__
        return copy
    return value


def holds_numbers(value):
    """Tell whether a list is an operand, and not one of indices, lengths or axes."""
    if isinstance(value, list):
        return bool(value) and all(holds_numbers(item) for item in value)
    return isinstance(value, (float, bool))


def results(call, inputs, layout):
    """Return the values of a call, and the gradients of their sum weighted with 1, 2, 3, ..."""
    leaves = [Tensor(layout(x), requires_grad=True) for x in inputs]
    values = as_outputs(call(*leaves))
    total = {}
    for out in values:
        if isinstance(out, Tensor) and out.requires_grad:
            weights = 1 + np.arange(out.size, dtype=out.dtype).reshape(out.shape)
            for leaf, g in backpropagate(out, layout(weights), set(leaves)).items():
                total[leaf] = total[leaf] + g if leaf in total else g
    return [x.data if isinstance(x, Tensor) else x for x in values], [total.get(x) for x in leaves]


#: Which functions ask for values on the way to a gradient, and why they must.
LOOKS = {
    "microgrand.nn.losses.mean_cross_entropy": "picks the labels' elements by a boolean index",
    "microgrand.vjps.linalg.cofactors": "of a matrix with an infinity: LAPACK may never end",
    "np.linalg.det": "its cofactors do",
    "np.linalg.pinv": "refuses infinities, and a cutoff that drops what is not small",
    "np.linalg.cond": "its singular values do",
    "np.linalg.norm": "its singular values do",
    "microgrand.vjps.linalg.svdvals": "of a matrix with an infinity: LAPACK may never end",
    "np.linalg.svd": "refuses infinities, and vectors of repeated singular values",
    "microgrand.vjps.linalg.svd": "refuses vectors of repeated singular values",
    "np.linalg.eigh": "refuses vectors of repeated eigenvalues",
    "microgrand.vjps.linalg.eigh": "refuses vectors of repeated eigenvalues",
    "np.linalg.eigvalsh": "of a matrix with an infinity: LAPACK may never end",
    "microgrand.vjps.linalg.eigvalsh": "of a matrix with an infinity: LAPACK may never end",
    "np.linalg.qr": "refuses dependent columns",
    "microgrand.vjps.linalg.qr": "refuses dependent columns",
    "np.bincount": "the library does, for the length of the result",
    "microgrand.vjps.reductions.weighted_counts": "the library does, for the length of the result",
    "operator.getitem": "the library does, for the length of what a boolean index takes",
    "microgrand.vjps.indexing.add_at": "the library does, for the length of what is put",
    "np.compress": "the library does, for the length of the result",
    "np.extract": "the library does, for the length of the result",
    "np.sort": "whether there are ties",
    "np.partition": "whether there are ties",
    "microgrand.vjps.statistics.average_over_ties": "whether there are ties, and of how many",
    "np.quantile": "how many numbers are not nan, and whether there are ties",
    "np.percentile": "how many numbers are not nan, and whether there are ties",
    "np.median": "how many numbers are not nan, and whether there are ties",
    "np.nanmedian": "how many numbers are not nan, and whether there are ties",
}
#: How a library says that it lacks something; CuPy also fails on empty and on 0-d arrays.
LACKED = (TypeError, NotImplementedError, AttributeError)
if DeviceArray.library is not np:
    LACKED += (ValueError, ZeroDivisionError)
#: What the library has, but its gradient needs what the library lacks.
LACKING = {"np.nanvar": "argument 'where'", "np.nanstd": "argument 'where'"}


def without_signs(call):
    """Take the absolute values of what a function returns."""

    def absolute(*inputs):
        return [np.abs(out) for out in as_outputs(call(*inputs))]

    return absolute


#: Whose vectors have the signs that the library's algorithm gives them.
SIGNED = {
    *("np.linalg.eigh", "np.linalg.svd"),
    *("microgrand.vjps.linalg.eigh", "microgrand.vjps.linalg.svd"),
}
#: What CuPy computes in a way of its own, and how.
OTHER_VALUES = {"np.cov": "it subtracts the mean without weights, also where there are some"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("key", CHECKS, ids=label)
def test_values_and_gradients_are_those_of_numpy(key):
    @FEW
    @given(case=CHECKS[key])
    def run(case):
        original = without_signs(case.call) if label(key) in SIGNED else case.call
        try:
            values, gradients = results(original, case.inputs, np.array)
        except (TypeError, LinAlgError):
            assume(False)
        call = moved(original)
        try:
            call(*[DeviceArray(x) for x in case.inputs])
        except LACKED:
            return  # the library lacks it
        DeviceArray.looks = 0
        if label(key) in LACKING:
            with pytest.raises(TypeError, match=LACKING[label(key)]):
                results(call, case.inputs, DeviceArray)
            return
        there, gradients_there = results(call, case.inputs, DeviceArray)
        if DeviceArray.library is not np and label(key) in OTHER_VALUES:
            return
        assert DeviceArray.looks == 0 or label(key) in LOOKS
        for here, far in zip([*values, *gradients], [*there, *gradients_there], strict=True):
            assert isinstance(far, (DeviceArray, tuple, type(None))) or np.ndim(here) == 0
            if here is not None and not isinstance(here, tuple):
                np.testing.assert_allclose(on_host(far), here, rtol=1e-6, atol=1e-9)

    run()


def test_an_error_names_what_the_library_lacks():
    x = Tensor(DeviceArray([[2.0, 0.0], [0.0, 3.0]]), requires_grad=True)
    with pytest.raises(TypeError, match=r"numpy\.nanquantile"):
        np.nanquantile(x, 0.5)
    with pytest.raises(TypeError, match=r"svd\(\).*hermitian"):
        np.linalg.svd(x, hermitian=True)


@pytest.mark.parametrize(
    "function",
    [np.linalg.cholesky, np.linalg.norm, lambda x: np.take(x, [0, 1, 1]), lambda x: x[[0, 1, 1]]],
)
def test_usual_calls_of_functions_whose_keywords_the_library_lacks(function):
    x = np.array([[2.0, 0.5], [0.5, 3.0]])
    values, gradients = results(function, [x], np.array)
    there, gradients_there = results(function, [x], DeviceArray)
    np.testing.assert_allclose(on_host(there[0]), values[0])
    np.testing.assert_allclose(on_host(gradients_there[0]), gradients[0])


#: Operands beside one of a device that are numbers or lists.
WITH_NUMBERS = {
    "linspace to": lambda x: np.linspace(x, 2.0, 4),
    "linspace from": lambda x: np.linspace(1.0, x, 4),
    "polyval at": lambda x: np.polyval(x, 2.0),
    "polyval of": lambda x: np.polyval([1.0, -2.0, 3.0], x),
    "interp": lambda x: np.interp(x, [0.0, 1.0, 3.0], [1.0, 4.0, 2.0]),
    "interp between": lambda x: np.interp([0.1, 0.7], [0.0, 1.0, 3.0], x),
    "gradient": lambda x: np.gradient(x, 0.5),
    "trapezoid": lambda x: np.trapezoid(x, [0.0, 1.0, 3.0]),
    "trapezoid dx": lambda x: np.trapezoid(x, dx=0.5),
    "diff": lambda x: np.diff(x, prepend=0.5, append=[1.0, 2.0]),
    "ediff1d": lambda x: np.ediff1d(x, [1.0]),
    "average": lambda x: np.average(x, weights=[0.2, 0.3, 0.5]),
    "cov": lambda x: np.cov(x, aweights=[0.2, 0.3, 0.5]),
    "cross": lambda x: np.cross(x, [1.0, 2.0, 3.0]),
    "dot": lambda x: np.dot(x, [1.0, 2.0, 3.0]),
    "inner": lambda x: np.inner([1.0, 2.0, 3.0], x),
    "kron": lambda x: np.kron(x, [1.0, 2.0]),
    "outer": lambda x: np.outer([1.0, 2.0], x),
    "vdot": lambda x: np.vdot(x, [1.0, 2.0, 3.0]),
    "einsum": lambda x: np.einsum("i,i", x, [1.0, 2.0, 3.0]),
    "convolve": lambda x: np.convolve(x, [1.0, 2.0]),
    "append": lambda x: np.append(x, [1.0, 2.0]),
    "stack": lambda x: np.stack([x, [1.0, 2.0, 3.0]]),
    "solve": lambda x: np.linalg.solve(np.diag(x), [1.0, 2.0, 3.0]),
    "where": lambda x: np.where(np.greater(x, 1), x, 2.0),
    "clip": lambda x: np.clip(x, 0.5, 1.2),
    **{
        f"{ufunc.__name__}, {number!r}, {'right' if right else 'left'}": (
            (lambda x, f=ufunc, n=number: f(x, n))
            if right
            else lambda x, f=ufunc, n=number: f(n, x)
        )
        for ufunc in (
            *(np.add, np.subtract, np.multiply, np.divide, np.power, np.float_power, np.hypot),
            *(np.arctan2, np.maximum, np.fmin, np.remainder, np.fmod, np.copysign, np.logaddexp),
        )
        for number in (2, 1.5, np.float64(1.5), np.float32(1.5))
        for right in (True, False)
    },
}


@pytest.mark.parametrize("name", WITH_NUMBERS)
def test_numbers_and_lists_beside_an_array_of_the_device(name):
    function = WITH_NUMBERS[name]
    x = np.array([0.7, 1.3, 2.2])
    values, gradients = results(function, [x], np.array)
    try:
        function(DeviceArray(x))
    except (*LACKED, LinAlgError):
        lacked = True
    else:
        lacked = False
    try:
        there, gradients_there = results(function, [x], DeviceArray)
    except LACKED:
        assert lacked
        return
    np.testing.assert_allclose(on_host(there[0]), values[0], rtol=1e-6)
    np.testing.assert_allclose(on_host(gradients_there[0]), gradients[0], rtol=1e-6)


def test_backward_takes_a_gradient_of_the_device():
    x = Tensor(DeviceArray([1.0, 2.0]), requires_grad=True)
    (x * x).backward(DeviceArray([1.0, 10.0]))
    np.testing.assert_array_equal(on_host(x.grad), [2.0, 40.0])
    np.testing.assert_array_equal(on_host(x.data), [1.0, 2.0])


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(name):
    x = np.array([0.5, 1.0])
    DeviceArray.looks = 0
    there = leaves_of(TRANSFORMS[name](DeviceArray(x)))
    assert DeviceArray.looks == 0
    for far, here in zip(there, leaves_of(TRANSFORMS[name](x)), strict=True):
        np.testing.assert_allclose(on_host(far), here)


# --------------------------------------------------------------------------------- masks


LAYERS_WITH_MASKS = [
    lambda rng: nn.Dropout(0.3, rng=rng),
    lambda rng: nn.Dropout(0.3, scaling="classic", rng=rng),
    lambda rng: nn.Dropout2d(0.3, rng=rng),
    lambda rng: nn.AlphaDropout(0.3, rng=rng),
    lambda rng: nn.DropPath(0.3, rng=rng),
]


@pytest.mark.parametrize("make", LAYERS_WITH_MASKS)
def test_masks_are_drawn_on_the_device_and_zero_forward_and_backward(make):
    x = np.random.default_rng(0).uniform(1, 2, (50, 7, 3, 4))
    x[0, 0, 0, :] = np.inf, np.nan, 1, 2

    def run(seed):
        rng = DeviceGenerator(seed)
        layer = make(rng)
        leaf = Tensor(DeviceArray(x), requires_grad=True)
        DeviceArray.looks = DeviceArray.moves = 0
        out = layer(leaf)
        np.sum(np.where(np.isfinite(out), out, 0)).backward()
        assert DeviceArray.looks == DeviceArray.moves == 0
        assert rng.draws == 1
        assert isinstance(layer.mask, DeviceArray)
        return [on_host(value) for value in (out.data, leaf.grad, layer.mask)]

    out, grad, mask = run(1)
    mask = np.broadcast_to(mask, x.shape)
    assert np.all(grad[~mask] == 0)
    if not isinstance(make(None), nn.AlphaDropout):
        assert np.all(out[~mask] == 0)
        assert 0.5 < mask.mean() < 0.9
    for first, again, other in zip((out, grad, mask), run(1), run(2), strict=True):
        np.testing.assert_array_equal(first, np.broadcast_to(again, first.shape))
        assert not np.array_equal(first, np.broadcast_to(other, first.shape), equal_nan=True)


def test_gaussian_noise_is_drawn_on_the_device():
    layer = nn.GaussianDropout(0.2, rng=DeviceGenerator(0))
    x = Tensor(DeviceArray(np.ones(1000)), requires_grad=True)
    out = layer(x)
    out.sum().backward()
    np.testing.assert_array_equal(on_host(x.grad), on_host(layer.noise))
    assert abs(on_host(out.data).mean() - 1) < 0.1


def test_masks_of_the_librarys_generator_are_those_of_the_host():
    x = np.ones((4, 6))
    manual_seed(0)
    here = F.dropout(x, 0.5)
    manual_seed(0)
    DeviceArray.moves = 0
    there = F.dropout(DeviceArray(x), 0.5)
    assert DeviceArray.moves == 1
    np.testing.assert_array_equal(on_host(there.data), here.data)


def test_relus_mask_stays_on_the_device():
    relu = nn.ReLU()
    x = Tensor(DeviceArray([-1.0, 0.0, 2.0, np.nan]), requires_grad=True)
    relu(x).backward(DeviceArray(np.ones(4)))
    assert on_host(relu.mask).tolist() == [False, False, True, True]
    assert on_host(x.grad).tolist() == [0, 0, 1, 1]


def test_a_generator_of_a_device_makes_parameters_there():
    layer = nn.Linear(3, 2, rng=DeviceGenerator(0))
    assert isinstance(layer.weight.data, DeviceArray)
    assert layer.weight.dtype == np.float32
    with pytest.raises(TypeError, match=r"cupy\.random\.default_rng"):
        nn.Dropout(0.5, rng=np.random)


# --------------------------------------------------------------------------------- texts


def test_a_tensor_shows_what_its_library_shows():
    array = DeviceArray(np.array([1.0, 2.5]))
    assert repr(Tensor(array)) == f"Tensor({array!r})"
    assert repr(Tensor(array, requires_grad=True)) == f"Tensor({array!r}, requires_grad=True)"
    assert str(Tensor(array)) == str(array)


def test_a_library_that_writes_as_numpy_does_is_shown_as_numpy_is(monkeypatch):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    monkeypatch.setattr(DeviceArray, "__repr__", lambda self: repr(on_host(self)))  # as CuPy does
    assert repr(Tensor(DeviceArray(array))) == repr(Tensor(array))


# ------------------------------------------------------------------- the script for a device


@pytest.mark.skipif(DeviceArray.library is not np, reason="the script is running these tests")
def test_the_script_for_a_real_device_runs_on_the_stand_in(capsys):
    assert device.main(["--stand-in", "--seconds", "0.01"]) == 0
    assert "13 of 13 parts done" in capsys.readouterr().out
