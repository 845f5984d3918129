"""Arrays of a device: everything that their library has works there, without a look at the numbers.

The stand-in in device_array.py keeps the promise where there is no device; ``python -m
tests.device`` runs these tests on one.
"""

import functools
import importlib
import types
from pathlib import Path

import device
import numpy as np
import pytest
from device_array import DeviceArray, DeviceGenerator, on_host
from hypothesis import Phase, assume, given, settings
from numpy.linalg import LinAlgError
from test_vjps.cases import CHECKS, as_outputs, label

import microgrand
from microgrand import Tensor, manual_seed, nn, optim
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
    "np.quantile": "how many numbers are no nan, and whether there are ties",
    "np.percentile": "how many numbers are no nan, and whether there are ties",
    "np.median": "how many numbers are no nan, and whether there are ties",
    "np.nanmedian": "how many numbers are no nan, and whether there are ties",
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


TRANSFORMS = {
    "value_and_grad": lambda x: microgrand.value_and_grad(scalar)(x),
    "vjp": lambda x: microgrand.vjp(np.tanh, x)[1](np.arange(x.size, like=x))[0],
    "jvp": lambda x: microgrand.jvp(np.tanh, (x,), (2 * x,)),
    "jacobian": lambda x: microgrand.jacobian(lambda x: np.tanh(x) * x[0])(x),
    "hessian": lambda x: microgrand.hessian(scalar)(x),
    "hvp": lambda x: microgrand.hvp(scalar, (x,), (2 * x,))[0],
}


def scalar(x):
    """Compute a number from an array."""
    return np.sum(np.tanh(x) ** 3) * x[0]


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(name):
    x = np.array([0.5, 1.0])
    DeviceArray.looks = 0
    there = leaves_of(TRANSFORMS[name](DeviceArray(x)))
    assert DeviceArray.looks == 0
    for far, here in zip(there, leaves_of(TRANSFORMS[name](x)), strict=True):
        np.testing.assert_allclose(on_host(far), here)


def leaves_of(value):
    """List what is in a nest."""
    items = value.values() if isinstance(value, dict) else value
    is_nest = isinstance(value, (dict, list, tuple))
    return [leaf for x in items for leaf in leaves_of(x)] if is_nest else [value]


# --------------------------------------------------------------------------------- masks


def on_device(module):
    """Bring parameters and buffers to the device."""
    for tensor in [*module.parameters(), *module.buffers()]:
        tensor._array = DeviceArray(tensor.data)
    return module


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


# ------------------------------------------------------------------------ layers and losses


class Twice(nn.Module):
    """A layer of two inputs, which gets one in the place of both."""

    def __init__(self, layer):
        self.layer = layer

    def forward(self, x):
        return self.layer(x, x)


LAYERS = {
    "Linear": (lambda: nn.Linear(4, 3), (5, 4)),
    "ReLU": (lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU()), (5, 4)),
    "GELU": (lambda: nn.Sequential(nn.Linear(4, 3), nn.GELU()), (5, 4)),
    "Mish": (lambda: nn.Sequential(nn.Linear(4, 3), nn.Mish()), (5, 4)),
    "GLU": (lambda: nn.Sequential(nn.Linear(4, 6), nn.GLU()), (5, 4)),
    "Softshrink": (lambda: nn.Sequential(nn.Linear(4, 3), nn.Softshrink(0.1)), (5, 4)),
    "PReLU": (lambda: nn.Sequential(nn.Linear(4, 3), nn.PReLU(3)), (5, 4)),
    "Hardswish": (lambda: nn.Sequential(nn.Linear(4, 3), nn.Hardswish()), (5, 4)),
    "Softmax": (lambda: nn.Sequential(nn.Linear(4, 3), nn.Softmax(-1)), (5, 4)),
    "LayerNorm": (lambda: nn.LayerNorm(4), (5, 4)),
    "RMSNorm": (lambda: nn.RMSNorm(4), (5, 4)),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(3), (2, 3, 4, 4)),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), (2, 4, 3)),
    "LocalResponseNorm": (
        lambda: nn.Sequential(nn.Conv1d(3, 3, 1), nn.LocalResponseNorm(3)),
        (2, 3, 4),
    ),
    "Conv1d": (lambda: nn.Conv1d(3, 2, 3, padding=1), (2, 3, 6)),
    "Conv2d": (lambda: nn.Conv2d(4, 4, 3, stride=2, groups=2), (2, 4, 6, 6)),
    "Conv2d, reflected": (
        lambda: nn.Conv2d(4, 2, 3, padding=1, padding_mode="reflect"),
        (2, 4, 5, 5),
    ),
    "ZeroPad2d": (lambda: nn.Sequential(nn.Conv2d(3, 3, 1), nn.ZeroPad2d(1)), (2, 3, 4, 4)),
    "ReplicationPad1d": (
        lambda: nn.Sequential(nn.Linear(4, 4), nn.ReplicationPad1d(2)),
        (2, 3, 4),
    ),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(3, 2, 3), (2, 3, 4, 4)),
    "MaxPool2d": (lambda: nn.Sequential(nn.Conv2d(3, 3, 1), nn.MaxPool2d(2)), (2, 3, 4, 4)),
    "AvgPool2d": (lambda: nn.Sequential(nn.Conv2d(3, 3, 1), nn.AvgPool2d(3, 1, 1)), (2, 3, 4, 4)),
    "Upsample": (lambda: nn.Sequential(nn.Conv1d(3, 3, 1), nn.Upsample(size=7)), (2, 3, 4)),
    "Upsample, linear": (
        lambda: nn.Sequential(nn.Conv1d(3, 3, 1), nn.Upsample(size=7, mode="linear")),
        (2, 3, 4),
    ),
    "LPPool2d": (lambda: nn.Sequential(nn.Conv2d(3, 3, 1), nn.LPPool2d(2, 2)), (2, 3, 4, 4)),
    "PixelShuffle": (lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.PixelShuffle(2)), (2, 3, 4, 4)),
    "Unfold": (lambda: nn.Sequential(nn.Conv2d(3, 2, 1), nn.Unfold(2)), (2, 3, 4, 4)),
    "RNN": (lambda: nn.RNN(4, 3), (5, 2, 4)),
    "GRU": (lambda: nn.GRU(4, 3), (5, 2, 4)),
    "LSTM": (lambda: nn.LSTM(4, 3), (5, 2, 4)),
    "LSTM, dropout on the state": (
        lambda: nn.LSTM(4, 3, recurrent_dropout=0.5, rng=np.random.default_rng(0)),
        (5, 2, 4),
    ),
    "Transformer": (
        lambda: Twice(nn.Transformer(8, 2, 1, 1, 16, dropout=0.0)),
        (3, 2, 8),
    ),
    "Bilinear": (lambda: Twice(nn.Bilinear(4, 4, 3)), (5, 4)),
    "TransformerEncoderLayer": (
        lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0),
        (3, 2, 8),
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    make, shape = LAYERS[name]
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    found = []
    for place in (lambda module: module, on_device):
        manual_seed(0)
        layer = place(make())
        DeviceArray.looks = 0
        out = layer(x if place is not on_device else DeviceArray(x))
        out = out[0] if isinstance(out, tuple) else out
        np.sum(np.square(out)).backward()
        assert DeviceArray.looks == 0
        found.append(
            [on_host(value) for value in [out.data, *(p.grad for p in layer.parameters())]]
        )
    for here, there in zip(*found, strict=True):
        np.testing.assert_allclose(there, here, rtol=1e-4, atol=1e-5)


WORDS = np.array([[0, 2, 2], [1, 0, 3]])


def test_embedding():
    manual_seed(0)
    here = nn.Embedding(4, 3)
    manual_seed(0)
    there = on_device(nn.Embedding(4, 3))
    np.sum(np.square(here(WORDS))).backward()
    np.sum(np.square(there(DeviceArray(WORDS)))).backward()
    np.testing.assert_allclose(on_host(there.weight.grad), here.weight.grad, rtol=1e-6)


#: A loss, its prediction and its target, and how often it looks at labels.
LOSSES = {
    "cross_entropy": (F.cross_entropy, (6, 4), np.arange(6) % 4, 2),
    "mse_loss": (F.mse_loss, (6, 4), np.ones((6, 4)), 0),
    "l1_loss": (F.l1_loss, (6, 4), np.ones((6, 4)), 0),
    "huber_loss": (F.huber_loss, (6, 4), np.ones((6, 4)), 0),
    "binary_cross_entropy_with_logits": (
        F.binary_cross_entropy_with_logits,
        (6, 4),
        np.ones((6, 4)),
        0,
    ),
    "cross_entropy, smoothed": (
        lambda x, labels: F.cross_entropy(x, labels, label_smoothing=0.1, ignore_index=1),
        (6, 4),
        np.arange(6) % 4,
        4,
    ),
    "multi_margin_loss": (F.multi_margin_loss, (6, 4), np.arange(6) % 4, 2),
    "soft_margin_loss": (F.soft_margin_loss, (6, 4), np.ones((6, 4)), 1),
    "cosine_similarity": (
        lambda x, y: np.sum(F.cosine_similarity(x, y) + F.pairwise_distance(x, y)),
        (6, 4),
        np.arange(24.0).reshape(6, 4),
        0,
    ),
    "gaussian_nll_loss": (
        lambda x, y: F.gaussian_nll_loss(x, y, np.exp(x)),
        (6, 4),
        np.ones((6, 4)),
        1,
    ),
    "poisson_nll_loss": (F.poisson_nll_loss, (6, 4), np.ones((6, 4)), 0),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name):
    loss, shape, target, looks = LOSSES[name]
    x = np.random.default_rng(0).standard_normal(shape)
    here, there = Tensor(x, requires_grad=True), Tensor(DeviceArray(x), requires_grad=True)
    loss(here, target).backward()
    DeviceArray.looks = 0
    loss(there, DeviceArray(target)).backward()
    assert DeviceArray.looks <= looks
    np.testing.assert_allclose(on_host(there.grad), here.grad, rtol=1e-6, atol=1e-12)


# ----------------------------------------------------------------------------- optimizers


OPTIMIZERS = [
    lambda p: optim.SGD(p, lr=0.1),
    lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True),
    lambda p: optim.Adam(p, lr=0.1),
    lambda p: optim.AdamW(p, lr=0.1),
]


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_optimizers(make):
    start = np.random.default_rng(0).standard_normal((3, 2)).astype(np.float32)
    here, there = Tensor(start.copy(), requires_grad=True), Tensor(
        DeviceArray(start.copy()), requires_grad=True
    )  # fmt: skip
    for weight in (here, there):
        optimizer = make([weight])
        DeviceArray.looks = 0
        for _ in range(3):
            optimizer.zero_grad()
            np.sum(weight**4).backward()
            optimizer.step()
        assert DeviceArray.looks == 0
    np.testing.assert_allclose(on_host(there.data), here.data, rtol=1e-5)


def test_a_net_learns_on_the_device():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 2)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] > 0).astype(int)
    manual_seed(1)
    net = on_device(nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2)))
    optimizer = optim.Adam(net.parameters(), lr=0.05)
    x, y = DeviceArray(x), DeviceArray(y)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3


# ------------------------------------------------------------------------------- compile


def assert_same(there, expected):
    """Compare arrays of the device: bit by bit where the stand-in computes with NumPy."""
    assert type(there) is type(expected)
    if isinstance(expected, (tuple, list)):
        for x, y in zip(there, expected, strict=True):
            assert_same(x, y)
    elif isinstance(expected, Tensor):
        assert_same(there.data, expected.data)
    elif isinstance(expected, (DeviceArray, np.ndarray)):
        x, y = on_host(there), on_host(expected)
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        if DeviceArray.library is np:
            np.testing.assert_array_equal(x, y)
            np.testing.assert_array_equal(np.signbit(x), np.signbit(y))
        else:  # sums that are not always added in one order
            np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)
    else:
        assert there == expected


def state_of(module, optimizer):
    """List what a step changes."""
    tensors = [*module.parameters(), *module.buffers()]
    masks = [layer.mask for layer in module.modules() if hasattr(layer, "mask")]
    memory = [array for arrays in optimizer.memory.values() for array in arrays]
    return [*(t.data for t in tensors), *(p.grad for p in module.parameters()), *masks, *memory]


def assert_steps_as_eager(make, arguments, between=lambda number, *found: None):
    """Compare four steps with eager ones; `make` returns a module, its optimizer and the step."""
    eager_module, eager_optimizer, eager = make()
    module, optimizer, step = make()
    compiled = microgrand.compile(step)
    for number in range(4):
        between(number, eager_module, eager_optimizer)
        between(number, module, optimizer)
        given = arguments(number)
        DeviceArray.looks = DeviceArray.moves = 0
        expected = eager(*given)
        most = DeviceArray.moves  # of masks, where NumPy's generator draws them
        DeviceArray.looks = DeviceArray.moves = 0
        found = compiled(*given)
        if number > 1:
            assert DeviceArray.looks == 0
            assert DeviceArray.moves <= most
        assert_same(found, expected)
        assert_same(state_of(module, optimizer), state_of(eager_module, eager_optimizer))
    assert len(compiled.traces) == 1
    assert compiled.eager_calls == 0
    return compiled


def batch(number):
    """Make the inputs and the labels' masks of a step."""
    rng = np.random.default_rng(number)
    x = rng.standard_normal((5, 4)).astype(np.float32)
    return DeviceArray(x), DeviceArray(np.eye(3, dtype=bool)[rng.integers(0, 3, 5)])


def net_with_dropout(rng, make=lambda p: optim.SGD(p, lr=0.1)):
    """Make a net with masks, its optimizer and its training step."""
    manual_seed(0)
    dropout = nn.Dropout(0.3, rng=rng)
    net = on_device(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), dropout, nn.Linear(8, 3)))
    optimizer = make(net.parameters())

    def step(x, one_hot):
        optimizer.zero_grad()
        loss = -np.sum(np.where(one_hot, F.log_softmax(net(x)), 0)) / one_hot.shape[0]
        loss.backward()
        optimizer.step()
        return loss

    return net, optimizer, step


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_a_compiled_step_is_the_eager_one_on_the_device(make):
    def between(number, net, optimizer):
        optimizer.lr = 0.1 / (number + 1)

    compiled = assert_steps_as_eager(
        lambda: net_with_dropout(DeviceGenerator(3), make), batch, between
    )
    assert DeviceArray.moves == 0
    assert compiled.source.startswith("def prepare(net_0_weight")  # to which it is bound
    assert "net_2_rng.random((5, 8))" in compiled.source
    assert "out=net_0_weight)" in compiled.source


def test_a_compiled_steps_results_are_new_and_its_masks_are_others():
    net, _, step = net_with_dropout(DeviceGenerator(0))
    compiled = microgrand.compile(step)
    kept = []
    for _ in range(4):
        loss = compiled(*batch(0))
        found = [loss.data, net[2].mask, net[1].mask, net[0].weight.grad]
        assert all(isinstance(x, DeviceArray) for x in found)
        kept.append((found, [on_host(x).copy() for x in found]))
    for found, before in kept:
        for x, y in zip(found, before, strict=True):
            np.testing.assert_array_equal(on_host(x), y)
    masks = [on_host(found[1]) for found, _ in kept]
    assert len({mask.tobytes() for mask in masks}) == 4


def test_masks_of_the_librarys_generator_in_a_compiled_step():
    rngs = np.random.default_rng(5), np.random.default_rng(5)
    nets = iter(rngs)
    assert_steps_as_eager(lambda: net_with_dropout(next(nets)), batch)
    assert rngs[0].random() == rngs[1].random()


#: Which layers move something to the device in each step, with and without compile.
MOVING = {
    "LSTM": "the gates' scales, in a loop that is one call",
    "LSTM, dropout on the state": "the same, and the mask, which a generator of NumPy's draws",
    "Transformer": "the masks, which the library's own generator draws",
    "TransformerEncoderLayer": "the masks, which the library's own generator draws",
}


@pytest.mark.parametrize("name", LAYERS)
def test_compiled_layers(name):
    make_layer, shape = LAYERS[name]

    def make():
        manual_seed(0)
        layer = on_device(make_layer())
        optimizer = optim.SGD(layer.parameters(), lr=0.01, momentum=0.5)

        def step(x):
            optimizer.zero_grad()
            out = layer(x)
            loss = np.sum(np.square(out[0] if isinstance(out, tuple) else out))
            loss.backward()
            optimizer.step()
            return loss

        return layer, optimizer, step

    def arguments(number):
        x = np.random.default_rng(number).standard_normal(shape)
        return (DeviceArray(x.astype(np.float32)),)

    assert_steps_as_eager(make, arguments)
    assert DeviceArray.moves == 0 or name in MOVING


@pytest.mark.parametrize("name", LOSSES)
def test_compiled_losses(name):
    loss, shape, target, looks = LOSSES[name]
    target = DeviceArray(target)
    gradient = microgrand.value_and_grad(lambda x: loss(x, target))
    compiled = microgrand.compile(gradient)
    for number in range(4):
        x = DeviceArray(np.random.default_rng(number).standard_normal(shape))
        expected = gradient(x)
        DeviceArray.looks = DeviceArray.moves = 0
        assert_same(compiled(x), expected)
        assert number < 2 or (DeviceArray.looks <= looks and DeviceArray.moves == 0)
    assert len(compiled.traces) == 1
    assert compiled.eager_calls == 0


FUNCTIONS = {
    **TRANSFORMS,
    "nests": lambda x: {"a": [np.exp(x), (x.T, 3)], "b": np.mean(x)},
    "arrays are made": lambda x: np.zeros(x.shape, like=x) + np.arange(6, like=x) * x,
    "a number among the arguments": lambda x, scale=2.0: x * scale,
    "operators": lambda x: abs(-x) // 0.3 + (x @ x) ** 2 - 3 / x,
    "choices": lambda x: np.where(x > 0, np.maximum(x, 0.5), np.minimum(x, 0.25)),
    "joined and cut": lambda x: np.concatenate([x[::2], np.stack([x, x])[1]])[2:],
    "in place": lambda x: doubled_in_place(np.copy(x)),
    "a view is not a copy": lambda x: around_a_write(np.copy(x)),
    "nothing": lambda x: x,
}


def doubled_in_place(y):
    """Write into an array in three ways."""
    y *= 2
    y[1:3] = 0
    np.add.at(y, np.arange(2, like=y), 1.0)
    return np.multiply(y, 3, out=y)


def around_a_write(y):
    """Compute twice with a view, before and after its array is written into."""
    rows = np.reshape(y, (2, 3))
    before = np.exp(rows)
    y += 1
    return before, np.exp(rows), np.exp(np.reshape(y, (2, 3)))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_compiled_functions(name):
    function = FUNCTIONS[name]
    compiled = microgrand.compile(function)
    for number in range(4):
        x = np.random.default_rng(number).standard_normal(6)
        given, again = DeviceArray(x.copy()), DeviceArray(x.copy())
        DeviceArray.looks = DeviceArray.moves = 0
        result = compiled(again)
        assert number < 2 or DeviceArray.looks == DeviceArray.moves == 0
        assert_same(leaves_of(result), leaves_of(function(given)))
        assert_same(again, given)
    assert len(compiled.traces) == 1
    assert compiled.eager_calls == 0


def test_what_returns_its_argument_has_not_written_into_it():
    def step(x):
        y = np.moveaxis(np.squeeze(x), 0, 0)
        return y[y > -1]  # a question that is too late once something is changed

    compiled = microgrand.compile(step)
    for _ in range(3):
        assert_same(compiled(DeviceArray(np.arange(3.0))), DeviceArray(np.arange(3.0)))
    assert len(compiled.traces) == 1
    assert compiled.eager_calls == 0


def test_compiled_steps_write_into_what_others_see():
    def step(x, part):
        before = part * 1
        x -= 0.5
        return before, part * 1

    compiled = microgrand.compile(step)
    for number in range(4):
        x = DeviceArray(np.arange(6.0) + number)
        before, after = compiled(x, x[2:])
        np.testing.assert_array_equal(on_host(before), np.arange(2.0, 6.0) + number)
        np.testing.assert_array_equal(on_host(after), np.arange(2.0, 6.0) + number - 0.5)


def test_arrays_in_closures_and_buffers_are_read_at_each_call():
    held = {"scale": DeviceArray(np.ones(3))}
    count = nn.Buffer(DeviceArray(np.zeros(3)))

    def step(x):
        count.data += 1
        return x * held["scale"] + count.data

    compiled = microgrand.compile(step)
    for number in range(5):
        held["scale"] = DeviceArray(np.full(3, float(number)))
        result = compiled(DeviceArray(np.ones(3)))
        np.testing.assert_array_equal(on_host(result), np.full(3, number + number + 1.0))
    assert len(compiled.traces) == 1


def test_a_generator_of_a_device_is_an_argument_or_stands_in_a_closure():
    outer = DeviceGenerator(1), DeviceGenerator(1)

    def noise_with(closed):
        return lambda x, rng: (x + rng.standard_normal(3), closed.integers(10, size=4))

    eager, compiled = noise_with(outer[0]), microgrand.compile(noise_with(outer[1]))
    rngs = DeviceGenerator(0), DeviceGenerator(0)
    for _ in range(4):
        x = DeviceArray(np.zeros(3))
        assert_same(compiled(x, rngs[1]), eager(x, rngs[0]))
    assert "rng.standard_normal(3)" in compiled.source


def test_another_library_is_traced_anew():
    compiled = microgrand.compile(lambda x: np.tanh(x) + 1)
    x = np.array([0.5, 1.0])
    for _ in range(2):
        for make in (np.array, DeviceArray, lambda x: Tensor(x), lambda x: Tensor(DeviceArray(x))):
            for _ in range(3):
                result = compiled(make(x))
                assert_same(result, np.tanh(make(x)) + 1) if make is DeviceArray else None
                np.testing.assert_array_equal(
                    on_host(result.data if isinstance(result, Tensor) else result), np.tanh(x) + 1
                )
    assert len(compiled.traces) == 4


def test_a_parameter_that_moves_to_the_device_is_traced_anew():
    weight = Tensor(np.ones(3), requires_grad=True)
    compiled = microgrand.compile(lambda: weight.data * 2)
    assert [type(compiled()) for _ in range(3)] == [np.ndarray] * 3
    weight.data = DeviceArray(np.ones(3))
    assert [type(compiled()) for _ in range(3)] == [DeviceArray] * 3
    assert len(compiled.traces) == 2


def test_labels_out_of_range_are_told_as_without_compile():
    net = on_device(nn.Linear(4, 3))
    compiled = microgrand.compile(lambda x, labels: F.cross_entropy(net(x), labels).detach())
    x = DeviceArray(np.ones((2, 4), np.float32))
    for _ in range(3):
        compiled(x, DeviceArray([0, 2]))
    with pytest.raises(ValueError, match="3"):
        compiled(x, DeviceArray([0, 3]))
    assert compiled.eager_calls == 1


REFUSED = {
    "an array of the host beside it": (
        lambda x, y: x + y,
        {},
        lambda: (DeviceArray(np.ones(3)), np.ones(3)),
        r"several libraries, a DeviceArray and a ndarray; bring all of them.*x\.get\(\)",
    ),
    "native code": (
        np.tanh,
        {"backend": "numba"},
        lambda: (DeviceArray(np.ones(3)),),
        r'backend="numba" compiles for the processor.*DeviceArray.*leave the option out',
    ),
    "the comparison": (
        np.tanh,
        {"check": True},
        lambda: (Tensor(DeviceArray(np.ones(3))),),
        r"check=True needs copies.*DeviceArray.*leave the option out",
    ),
    "a question about a value": (
        lambda x: x if x[0] > 0 else -x,
        {},
        lambda: (DeviceArray(np.ones(3)),),
        r"np\.where",
    ),
    "its numbers on the host": (
        lambda x: x.get(),
        {},
        lambda: (DeviceArray(np.ones(3)),),
        r"get of an array cannot be traced",
    ),
    "a question after a draw": (
        lambda x, rng: x[x > rng.random(3)],
        {},
        lambda: (DeviceArray(np.ones(3)), DeviceGenerator(0)),
        r"after a device's generator has drawn.*leave it out",
    ),
    "an array that is another one in each call": (
        lambda x: x + DeviceArray(np.random.default_rng().random(3)),
        {},
        lambda: (DeviceArray(np.ones(3)),),
        r"now stands.*Give it to the function as an argument",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_compile_refuses_what_cannot_be_on_a_device(name):
    function, options, arguments, message = REFUSED[name]
    if options.get("backend") == "numba":
        pytest.importorskip("numba")
        pytest.importorskip("scipy")
    compiled = microgrand.compile(function, **options)
    with pytest.raises(TypeError, match=message):
        compiled(*arguments()), compiled(*arguments())


def test_a_refusal_puts_arrays_of_a_device_back():
    weight, x = Tensor(DeviceArray(np.ones(4)), requires_grad=True), DeviceArray(np.arange(4.0))

    def step(x):
        weight.data[1:] += 1
        weight.data *= 2
        x[:2] = 7
        return float(np.sum(x))

    with pytest.raises(TypeError, match=r"float\(\)"):
        microgrand.compile(step)(x)
    np.testing.assert_array_equal(on_host(weight.data), np.ones(4))
    np.testing.assert_array_equal(on_host(x), np.arange(4.0))


def test_a_program_for_a_device_is_not_saved(tmp_path):
    compiled = microgrand.compile(np.tanh)
    for _ in range(3):
        compiled(DeviceArray(np.ones(3)))
    with pytest.raises(TypeError, match=r"NumPy alone.*p\.data\.get\(\)"):
        compiled.save(tmp_path / "step.py")


def test_an_error_on_the_device_is_raised_and_changes_no_parameter():
    net, _, step = net_with_dropout(DeviceGenerator(0))
    compiled = microgrand.compile(step)
    for number in range(3):
        compiled(*batch(number))
    before = [on_host(p.data).copy() for p in net.parameters()]
    trace, draws = compiled.traces[0], net[2].rng.draws
    trace.pool.clear()
    trace.source.namespace["np"] = types.SimpleNamespace(**{**vars(np), "log": fails})
    trace.source.terse_names = {
        fails if function is np.log else function: name
        for function, name in trace.source.terse_names.items()
    }
    with pytest.raises(MemoryError, match="device"):
        compiled(*batch(4))
    assert net[2].rng.draws == draws + 1
    for p, data in zip(net.parameters(), before, strict=True):
        np.testing.assert_array_equal(on_host(p.data), data)


def fails(*args, **kwargs):
    """Fail as a device without memory."""
    raise MemoryError("out of the device's memory")


# ------------------------------------------------------------------- the script for a device


@pytest.mark.skipif(DeviceArray.library is not np, reason="the script is running these tests")
def test_the_script_for_a_real_device_runs_on_the_stand_in(capsys):
    assert device.main(["--stand-in", "--seconds", "0.01"]) == 0
    assert "13 of 13 parts done" in capsys.readouterr().out


# ------------------------------------------------------------------------- states and texts


@pytest.mark.parametrize("there", [False, True])
def test_states_are_loaded_where_the_parameters_are(there):
    def trained(net):
        optimizer = optim.Adam(net.parameters(), lr=0.1)
        for parameter in net.parameters():
            parameter.grad = np.ones_like(parameter.data)
        optimizer.step()
        return net, optimizer

    kinds = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    source, optimizer = trained(on_device(kinds) if there else kinds)
    net = on_device(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)))
    other = optim.Adam(net.parameters())
    net.load_state_dict(source.state_dict())
    other.load_state_dict(optimizer.state_dict())
    expected = source.state_dict()
    for name, value in net.state_dict().items():
        assert type(value) is DeviceArray
        np.testing.assert_array_equal(on_host(value), on_host(expected[name]), strict=True)
    for name, arrays in optimizer.memory.items():
        for mine, array in zip(other.memory[name], arrays, strict=True):
            assert type(mine) is DeviceArray
            np.testing.assert_array_equal(on_host(mine), on_host(array), strict=True)


@pytest.mark.parametrize("wrap", [DeviceArray, lambda x: Tensor(DeviceArray(x))])
def test_a_state_of_the_device_is_not_loaded_on_the_host(wrap):
    net = nn.Linear(1, 1)
    before = net.state_dict()
    state = {"weight": [[1.0]], "bias": wrap(np.ones(1))}
    with pytest.raises(ValueError, match=r"bias: .*DeviceArray.*host first, as by x\.get\(\)"):
        net.load_state_dict(state)
    np.testing.assert_equal(net.state_dict(), before)


@pytest.mark.parametrize("order", [1, 2, 3.5, np.inf])
def test_clipped_norms_are_computed_on_the_device(order):
    def clipped(there):
        leaves = [Tensor(there(np.ones(shape)), requires_grad=True) for shape in [(2, 3), (0,)]]
        for leaf in leaves:
            leaf.grad = there(np.arange(leaf.size, dtype=float).reshape(leaf.shape))
        DeviceArray.looks = DeviceArray.moves = 0
        norm = nn.utils.clip_grad_norm_(leaves, 0.1, norm_type=order)
        assert DeviceArray.looks == DeviceArray.moves == 0
        return [norm, *(leaf.grad for leaf in leaves)]

    for found, expected in zip(clipped(DeviceArray), clipped(np.asarray), strict=True):
        assert type(found) is DeviceArray
        np.testing.assert_allclose(on_host(found), expected)


def test_a_tensor_shows_what_its_library_shows():
    array = DeviceArray(np.array([1.0, 2.5]))
    assert repr(Tensor(array)) == f"Tensor({array!r})"
    assert repr(Tensor(array, requires_grad=True)) == f"Tensor({array!r}, requires_grad=True)"
    assert str(Tensor(array)) == str(array)


def test_a_library_that_writes_as_numpy_does_is_shown_as_numpy_is(monkeypatch):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    monkeypatch.setattr(DeviceArray, "__repr__", lambda self: repr(on_host(self)))  # as CuPy does
    assert repr(Tensor(DeviceArray(array))) == repr(Tensor(array))
