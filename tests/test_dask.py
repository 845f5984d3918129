"""Dask's arrays, which do not fit into memory: gradients of everyday NumPy code are lazy, too.

What Dask lacks is refused with its own error, which names the function; nothing is wrong, and
nothing is computed before it is asked for.
"""

import importlib
import re

import numpy as np
import pytest
from scripts import ROOT, run_in_a_pipe

from microgrand import Tensor, optim
from microgrand.nn import functional as F

dask = pytest.importorskip("dask", reason='pip install "microgrand[dask]"')
da = pytest.importorskip("dask.array", reason='pip install "microgrand[dask]"')

X = np.random.default_rng(0).uniform(0.5, 2, (6, 4))
V = np.random.default_rng(1).uniform(0.5, 2, 4)
M = np.random.default_rng(2).normal(size=(4, 3))
K = np.random.default_rng(3).normal(size=(6, 4))

#: Everyday functions that work: what each is called with, and how often it is weighted.
WORKING = {
    "add": lambda x: (x + 2) * K,
    "subtract": lambda x: (x - V) * K,
    "multiply": lambda x: x * V * K,
    "divide": lambda x: K / x,
    "power": lambda x: x**3,
    "negative": lambda x: -x * K,
    "absolute": lambda x: abs(x - 1) * K,
    "exp": np.exp,
    "log": np.log,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "sin": np.sin,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "maximum": lambda x: np.maximum(x, 1.0),
    "minimum": lambda x: np.minimum(x, K),
    "hypot": lambda x: np.hypot(x, V),
    "logaddexp": lambda x: np.logaddexp(0, x * K),
    "where": lambda x: np.where(x > 1, x, 0.1 * x),
    "clip": lambda x: np.clip(x, 0.8, 1.5),
    "sum": lambda x: np.sum(x, axis=0) ** 2,
    "mean": lambda x: np.mean(x, axis=1) ** 2,
    "prod": lambda x: np.prod(x, axis=1),
    "max": lambda x: np.max(x, axis=0),
    "min": lambda x: np.min(x, axis=1),
    "var": lambda x: np.var(x, axis=0),
    "std": lambda x: np.std(x, axis=0),
    "cumsum": lambda x: np.cumsum(x, axis=0) * K,
    "cumprod": lambda x: np.cumprod(x, axis=0),
    "norm": np.linalg.norm,
    "matmul": lambda x: (x @ M) ** 2,
    "dot": lambda x: np.dot(x, M) ** 2,
    "vdot": lambda x: np.vdot(x[:, 0], x[:, 1]),
    "tensordot": lambda x: np.tensordot(x, M, axes=1) ** 2,
    "einsum": lambda x: np.einsum("ij,jk->ik", x, M) ** 2,
    "outer": lambda x: np.outer(x[:, 0], V) ** 2,
    "transpose": lambda x: np.transpose(x) * K.T,
    "reshape": lambda x: np.reshape(x, (2, 3, 4)) ** 2,
    "ravel": lambda x: np.ravel(x) * K.ravel(),
    "squeeze": lambda x: np.squeeze(x[:, :1]) ** 2,
    "expand_dims": lambda x: np.expand_dims(x, 1) ** 2,
    "broadcast_to": lambda x: np.broadcast_to(x, (2, 6, 4)) ** 2,
    "concatenate": lambda x: np.concatenate([x, 2 * x]) ** 2,
    "stack": lambda x: np.stack([x, x**2]) * 2,
    "split": lambda x: np.split(x, 2)[0] ** 2,
    "diff": lambda x: np.diff(x, axis=0) ** 2,
    "gradient": lambda x: np.gradient(x, axis=0) ** 2,
    "getitem of slices": lambda x: x[1:3, ::2] ** 2,
    "linear": lambda x: F.linear(x, M.T) ** 2,
    "relu": lambda x: F.relu(x - 1),
    "softmax": lambda x: F.softmax(x) * K,
    "log_softmax": lambda x: F.log_softmax(x) * K,
    "mse_loss": lambda x: F.mse_loss(x, K),
}
SCATTERS = "its gradient adds up elements at given places, np.add.at, which Dask lacks"
#: What does not work: a call, why, and what its error names.
FAILING = {
    "getitem of a list": (lambda x: x[[0, 2, 2]], SCATTERS, "'at'"),
    "take": (lambda x: np.take(x, [0, 1], axis=1), SCATTERS, "'at'"),
    "flip": (lambda x: np.flip(x, 0), SCATTERS, "'at'"),
    "roll": (lambda x: np.roll(x, 1, axis=0), SCATTERS, "'at'"),
    "pad": (lambda x: np.pad(x, 1), SCATTERS, "'at'"),
    "repeat": (lambda x: np.repeat(x, 2, axis=0), SCATTERS, "'at'"),
    "tile": (lambda x: np.tile(x, (2, 1)), SCATTERS, "'at'"),
    "diagonal": (np.diagonal, SCATTERS, "'at'"),
    "trace": (lambda x: np.trace(x[:4]), SCATTERS, "'at'"),
    "inner": (lambda x: np.inner(x, V), "Dask computes it at once", "computed early"),
    "reshape across chunks": (
        lambda x: np.reshape(x, (4, 6)),
        "Dask only merges and splits axes",
        "merge or split",
    ),
    "cross_entropy": (
        lambda x: F.cross_entropy(x, np.arange(6) % 4),
        "it picks the labels' elements by a boolean index, of whose result Dask knows no length",
        "unknown chunk size",
    ),
}


class ComputedEarlyError(Exception):
    """Raised where numbers are asked for while a graph is built."""


def refuse_to_compute(graph, keys, **options):
    raise ComputedEarlyError("computed early")


def loss_and_gradient(function, array):
    x = Tensor(array, requires_grad=True)
    loss = np.sum(function(x) * 1.5)
    loss.backward()
    return loss.data, x.grad


def lazily(function, chunks):
    """Return a loss and its gradient, computed only now."""
    with dask.config.set(scheduler=refuse_to_compute):
        found = loss_and_gradient(function, da.from_array(X, chunks=chunks))
    assert all(isinstance(array, da.Array) for array in found)
    return dask.compute(*found, scheduler="synchronous")


@pytest.mark.filterwarnings("ignore::dask.array.PerformanceWarning")
@pytest.mark.parametrize("chunks", [(3, 4), (2, 2)], ids=str)
@pytest.mark.parametrize("name", WORKING)
def test_gradients_are_those_of_numpy_and_lazy(name, chunks):
    loss, gradient = loss_and_gradient(WORKING[name], X.copy())
    found, found_gradient = lazily(WORKING[name], chunks)
    np.testing.assert_allclose(found, loss, rtol=1e-12)
    np.testing.assert_allclose(found_gradient, gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FAILING)
def test_what_dask_cannot_do_is_refused_and_not_wrong(name):
    function, _, error = FAILING[name]
    with pytest.raises(
        (TypeError, ValueError, NotImplementedError, ComputedEarlyError), match=error
    ):
        lazily(function, (3, 2))


def test_most_everyday_functions_work():
    assert len(WORKING) >= 0.8 * (len(WORKING) + len(FAILING))
    assert not WORKING.keys() & FAILING.keys()


def test_gradients_of_small_parameters_over_large_data_are_lazy():
    x = da.from_array(X, chunks=(2, 4))
    weight = Tensor(da.from_array(V, chunks=4), requires_grad=True)
    with dask.config.set(scheduler=refuse_to_compute):
        loss = np.mean(np.logaddexp(0, x @ weight))
        loss.backward()
    here = Tensor(V, requires_grad=True)
    np.mean(np.logaddexp(0, X @ here)).backward()
    np.testing.assert_allclose(weight.grad.compute(scheduler="synchronous"), here.grad)


def test_optimizers_refuse_arrays_that_cannot_be_changed_in_place():
    weight = Tensor(da.ones(3), requires_grad=True)
    with pytest.raises(TypeError, match=r"parameters\[0\].*of dask.*changed in place.*NumPy's"):
        optim.SGD([weight], lr=0.1)


# --------------------------------------------------------------------------- the example


def test_the_examples_loss_and_gradient_come_from_one_pass(monkeypatch):
    pytest.importorskip("distributed")
    pytest.importorskip("scipy")
    monkeypatch.syspath_prepend(ROOT / "examples")
    example = importlib.import_module("dask_logistic")
    truth = np.array([1.0, -2.0], np.float32)
    x, y = example.make_data(3, 500, truth)
    weight = np.array([0.5, 0.5])
    with dask.config.set(scheduler="synchronous"):
        value, gradient = example.value_and_gradient(weight, x, y)
        x, y = dask.compute(x, y)
    assert x.shape == (1500, 2)
    assert set(np.unique(y)) == {0, 1}
    here = Tensor(weight.astype(np.float32), requires_grad=True)
    loss = example.loss_of(here, x, y)
    loss.backward()
    np.testing.assert_allclose([value, *gradient], [loss.item(), *here.grad], rtol=1e-4)


def test_the_example_runs(tmp_path):
    pytest.importorskip("distributed")
    pytest.importorskip("scipy")
    printed = run_in_a_pipe("dask_logistic.py", "--times", "0.1", folder=tmp_path)
    assert re.search(r"loss 0\.\d+ after \d+ passes", printed)
    assert float(re.search(r"error of a weight: (\S+)", printed)[1]) < 0.1
    peak, allowed = map(int, re.search(r"worker: (\d+) MiB of (\d+)", printed).groups())
    assert peak < allowed


def test_cholesky_gives_numpys_factor():
    """Dask's own is the upper one, whose sum is the same."""
    a = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 2.0]])
    x = Tensor(da.from_array(a, chunks=3), requires_grad=True)
    weights = np.arange(9.0).reshape(3, 3)
    factor = np.linalg.cholesky(x)
    np.sum(factor * weights).backward()
    here = Tensor(a, requires_grad=True)
    np.sum(np.linalg.cholesky(here) * weights).backward()
    np.testing.assert_allclose(factor.data.compute(), np.linalg.cholesky(a))
    np.testing.assert_allclose(x.grad.compute(), here.grad)
