"""microgrand.nn.utils and ravel_pytree: clipping, vectors, calls with other parameters."""

import copy

import numpy as np
import pytest
from compiled import assert_runs_as_eager, assert_same_bits
from helpers import leaf
from hypothesis import given
from hypothesis import strategies as st
from test_compile_steps import Training, batch, copies

from microgrand import (
    Tensor,
    compile,
    grad,
    hvp,
    manual_seed,
    nn,
    optim,
    ravel_pytree,
    value_and_grad,
)
from microgrand.nn.utils import (
    clip_grad_norm_,
    clip_grad_value_,
    functional_call,
    parameters_to_vector,
    vector_to_parameters,
)
from microgrand.testing import gradcheck

# --------------------------------------------------------------------------------- gradients


def with_grads(seed, dtype):
    rng = np.random.default_rng(seed)
    tensors = [Tensor(np.zeros(shape, dtype), requires_grad=True) for shape in [(2, 3), (), (0,)]]
    for tensor in tensors:
        tensor.grad = np.asarray(rng.normal(size=tensor.shape)).astype(dtype)
    return [*tensors, leaf(1.0)]  # the last without a gradient


@given(
    st.integers(0, 99),
    st.sampled_from([np.float16, np.float32, np.float64]),
    st.sampled_from([0.0, 0.5, 2.0, 1e6, np.inf]),
    st.sampled_from([1, 2, 3.5, np.inf, "inf"]),
)
def test_clipped_norms_are_the_formula(seed, dtype, max_norm, order):
    tensors = with_grads(seed, dtype)
    before = [tensor.grad for tensor in tensors[:3]]
    saved = [grad.copy() for grad in before]
    norm = clip_grad_norm_(iter(tensors), max_norm, order)
    vector = np.concatenate([grad.ravel() for grad in saved]).astype(float)
    np.testing.assert_allclose(norm, np.linalg.norm(vector, float(order)), rtol=1e-12)
    factor = min(max_norm / (norm + 1e-6), 1)
    for tensor, old, same in zip(tensors, saved, before, strict=False):
        assert tensor.grad.dtype == dtype
        np.testing.assert_allclose(
            tensor.grad, old * factor, rtol=4 * np.finfo(dtype).eps, atol=1e-7
        )
        np.testing.assert_array_equal(same, old)  # not written into
        if factor == 1:
            np.testing.assert_array_equal(tensor.grad, old)
    assert tensors[3].grad is None


def test_clipping_is_pytorchs():
    torch = pytest.importorskip("torch")
    for max_norm in (0.5, 100.0):
        for order in (1.0, 2.0, float("inf")):
            tensors = with_grads(3, np.float64)[:2]
            theirs = [torch.zeros(p.shape, dtype=float, requires_grad=True) for p in tensors]
            for p, q in zip(tensors, theirs, strict=True):
                q.grad = torch.tensor(p.grad)
            expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm, order)
            np.testing.assert_allclose(clip_grad_norm_(tensors, max_norm, order), expected.item())
            for p, q in zip(tensors, theirs, strict=True):
                np.testing.assert_allclose(p.grad, q.grad.numpy())


def test_small_floats_do_not_overflow():
    tensor = leaf(0.0, 0.0, dtype=np.float16)
    tensor.grad = np.array([3e4, 4e4], np.float16)
    assert clip_grad_norm_([tensor], 1.0) == pytest.approx(5e4, rel=1e-3)
    np.testing.assert_allclose(tensor.grad, [0.6, 0.8], rtol=1e-3)


def test_no_gradients_and_no_finite_ones():
    assert clip_grad_norm_([], 1.0) == clip_grad_norm_(leaf(1.0), 1.0) == 0
    tensor = leaf(0.0, 0.0)
    tensor.grad = np.array([np.inf, 1.0])
    with pytest.raises(RuntimeError, match=r"nan or infinite.*detect_anomaly"):
        clip_grad_norm_([tensor], 1.0, error_if_nonfinite=True)
    np.testing.assert_array_equal(tensor.grad, [np.inf, 1.0])


def test_values_are_clipped():
    tensors = with_grads(0, np.float32)
    before = [tensor.grad for tensor in tensors[:3]]
    clip_grad_value_(tensors, 0.5)
    for tensor, old in zip(tensors, before, strict=False):
        np.testing.assert_array_equal(tensor.grad, np.clip(old, -0.5, 0.5))
        assert tensor.grad.dtype == np.float32


@pytest.mark.parametrize(
    "clip",
    [
        lambda p: clip_grad_norm_(p, 0.1),
        lambda p: clip_grad_norm_(p, 0.1, np.inf),
        lambda p: clip_grad_norm_(p, 1e3, error_if_nonfinite=True),
        lambda p: clip_grad_value_(p, 0.01),
    ],
)
def test_clipping_in_a_compiled_step(clip):
    def results(compiled):
        training = Training("dropout", "Adam", np.float32)

        def step(x, labels):
            training.optimizer.zero_grad()
            loss = training.loss(training.net(x), labels)
            loss.backward()
            norm = clip(training.net.parameters())
            training.optimizer.step()
            return loss, norm

        run = compile(step) if compiled else step
        manual_seed(2)
        found = []
        for number in range(5):
            found.append(copies([run(*batch(number, np.float32))[1], training.seen()]))
        assert not compiled or (run.eager_calls == 0 and len(run.traces) == 1)
        return found

    assert_same_bits(results(True), results(False))


# ----------------------------------------------------------------------------------- vectors


@given(st.lists(st.sampled_from([(), (3,), (2, 2), (0,), (1, 0)]), min_size=1, max_size=4))
def test_a_vector_of_parameters(shapes):
    rng = np.random.default_rng(0)
    tensors = [nn.Parameter(np.asarray(rng.normal(size=shape))) for shape in shapes]
    vector = parameters_to_vector(tensors)
    assert vector.shape == (sum(t.size for t in tensors),)
    (vector**2).sum().backward()
    for tensor in tensors:
        np.testing.assert_array_equal(tensor.grad, 2 * tensor.data)
    before = [tensor.data.copy() for tensor in tensors]
    versions = [tensor.version for tensor in tensors]
    vector_to_parameters(2 * vector, tensors)
    for tensor, old, version in zip(tensors, before, versions, strict=True):
        np.testing.assert_array_equal(tensor.data, 2 * old)
        assert tensor.version > version


NUMBERS = st.integers(-9, 9).map(float) | st.integers(-9, 9)
TREES = st.recursive(
    NUMBERS
    | st.none()
    | st.sampled_from([np.ones((2, 3)), np.float32(2), np.zeros(0), np.arange(3), np.eye(2)]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=6,
)


def assert_same_tree(one, other):
    if isinstance(other, dict):
        assert list(one) == list(other)
        one, other = list(one.values()), list(other.values())
    if isinstance(other, (list, tuple)):
        assert type(one) is type(other)
        assert len(one) == len(other)
        for x, y in zip(one, other, strict=True):
            assert_same_tree(x, y)
    elif other is None:
        assert one is None
    else:
        np.testing.assert_array_equal(one, np.asarray(other), strict=True)


@given(TREES)
def test_unravel_undoes_ravel(tree):
    flat, unravel = ravel_pytree(tree)
    assert flat.ndim == 1
    assert_same_tree(unravel(flat), tree)
    with pytest.raises(ValueError, match=r"unravel takes a vector of shape"):
        unravel(np.zeros(flat.size + 1))


def test_gradients_pass_through_ravel_and_unravel():
    tree = {"a": np.array([[1.0, 2.0]]), "b": [3.0]}
    flat, unravel = ravel_pytree(tree)

    def f(flat):
        parts = unravel(flat)
        return np.sum(parts["a"] ** 2) * parts["b"][0]

    assert gradcheck(f, flat, order=2)
    assert gradcheck(lambda a, b: ravel_pytree([a, {"b": b}])[0] ** 2, tree["a"], 3.0, order=2)
    assert_runs_as_eager(grad(f), lambda i: flat + i)
    assert_runs_as_eager(lambda x: ravel_pytree(unravel(x))[0] * 2, lambda i: flat + i)


def test_ravel_refuses_texts():
    with pytest.raises(TypeError, match="arrays of numbers, got 'a'"):
        ravel_pytree([1.0, "a"])


def test_scipys_optimizers():
    optimize = pytest.importorskip("scipy.optimize")
    manual_seed(0)
    net = nn.Sequential(nn.Linear(1, 8, dtype=float), nn.ReLU(), nn.Linear(8, 1, dtype=float))
    x = np.linspace(-1, 1, 20)[:, None]
    flat, unravel = ravel_pytree(net.state_dict())

    def loss(flat):
        return np.mean((functional_call(net, unravel(flat), x) - np.abs(x)) ** 2)

    found = optimize.minimize(value_and_grad(loss), flat, jac=True, method="L-BFGS-B")
    net.load_state_dict(unravel(found.x))
    assert np.mean((net(x).data - np.abs(x)) ** 2) < 1e-4


# --------------------------------------------------------------------- calls with other parameters


class Tied(nn.Module):
    def __init__(self):
        self.first = nn.Linear(2, 2, dtype=float)
        self.parts = [(nn.Linear(2, 2, dtype=float),), {"scale": nn.Parameter([1.0, 2.0])}]
        self.parts[0][0].weight = self.first.weight
        self.shift = nn.Buffer(np.zeros(2))

    def forward(self, x, factor=1.0):
        x = self.parts[0][0](np.tanh(self.first(x)))
        return factor * (x * self.parts[1]["scale"] + self.shift)


def test_another_modules_parameters_give_its_output():
    net, other = Tied(), Tied()
    other.shift.data = np.ones(2)
    x, before = np.ones((3, 2)), net.state_dict()
    given = {**dict(other.named_parameters()), **dict(other.named_buffers())}
    result = functional_call(net, given, x)
    np.testing.assert_array_equal(result.data, other(x).data)
    result.sum().backward()
    assert net.first.weight.grad is None
    assert other.first.weight.grad is not None
    assert isinstance(net.parts[0], tuple)
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    half = functional_call(net, other.state_dict(), (x,), {"factor": 0.5})
    np.testing.assert_array_equal(half.data, result.data / 2)


def test_gradients_and_hessians_of_a_nets_parameters():
    net, x = Tied(), np.array([[0.5, -1.0]])
    flat, unravel = ravel_pytree({name: p.data for name, p in net.named_parameters()})

    def loss(flat):
        return np.sum(functional_call(net, unravel(flat), x) ** 2)

    assert gradcheck(loss, flat, order=2)
    (net(x) ** 2).sum().backward()
    expected, _ = ravel_pytree([p.grad for p in net.parameters()])
    np.testing.assert_allclose(grad(loss)(flat), expected)
    assert hvp(loss, [flat], [flat])[0].shape == flat.shape
    assert_runs_as_eager(value_and_grad(loss), lambda i: flat * (1 + i))


def test_an_error_in_the_call_leaves_the_module_as_it_was():
    net = Tied()
    mine = net.first.weight
    with pytest.raises(ValueError, match="linear got an input"):
        functional_call(net, {"first.weight": np.zeros((2, 2))}, np.ones(5))
    assert net.first.weight is mine
    assert net.parts[0][0].weight is mine
    functional_call(copy.deepcopy(net), {}, np.ones((1, 2)))


def test_gradient_accumulation_is_the_gradient_of_all():
    x = np.random.default_rng(0).normal(size=(4, 5, 3))
    found = []
    for parts in (x, [x.reshape(20, 3)]):
        manual_seed(0)
        net = nn.Linear(3, 1, dtype=float)
        optimizer = optim.SGD(net.parameters(), lr=0.1)
        for part in parts:
            ((net(part) ** 2).mean() / len(parts)).backward()
        optimizer.step()
        found.append(net.weight.data)
    np.testing.assert_allclose(*found, rtol=1e-12)


p = leaf(1.0)


@pytest.mark.parametrize(
    ("use", "error", "words"),
    [
        (lambda: clip_grad_norm_(nn.ReLU(), 1.0), TypeError, r"pass module\.parameters\(\)"),
        (lambda: clip_grad_norm_(nn.ReLU().parameters, 1), TypeError, "with its parentheses"),
        (lambda: clip_grad_norm_([1.0], 1), TypeError, "got float at position 0"),
        (lambda: clip_grad_norm_([p], -1), ValueError, "max_norm is a number from 0, got -1"),
        (lambda: clip_grad_norm_([p], np.nan), ValueError, "max_norm is a number from 0, got nan"),
        (lambda: clip_grad_norm_([p], "1"), TypeError, "max_norm is a number"),
        (lambda: clip_grad_norm_([p], 1, 0), ValueError, "norm_type is a positive number"),
        (lambda: clip_grad_norm_([p], 1, 2, None), TypeError, "True or False"),
        (lambda: clip_grad_value_([p], -1), ValueError, "clip_value is a number from 0"),
        (lambda: parameters_to_vector([]), ValueError, "got no parameters"),
        (lambda: vector_to_parameters(np.ones(2), [p]), ValueError, r"\(2,\), expected \(1,\)"),
        (lambda: vector_to_parameters(["a"], [p]), TypeError, "of dtype <U1"),
        (lambda: functional_call(np.tanh, {}, 1.0), TypeError, "takes a module, got ufunc"),
        (lambda: functional_call(nn.ReLU(), [1], 1.0), TypeError, "mapping .* got list"),
        (lambda: functional_call(nn.ReLU(), {"w": 1}, 1.0), ValueError, "no parameter .* 'w'"),
        (
            lambda: functional_call(nn.Linear(1, 2), {"bias": np.ones(3)}, 1.0),
            ValueError,
            r"'bias' has shape \(3,\), expected \(2,\)",
        ),
    ],
)
def test_misuse(use, error, words):
    with pytest.raises(error, match=words):
        use()
