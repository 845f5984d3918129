"""Hooks of modules: forward, backward, removal, copies, compiled."""

import copy
import functools

import numpy as np
import pytest
from compiled import assert_runs_as_eager, assert_same_bits
from helpers import by_pickle

from microgrand import Tensor, compile, grad, nn
from microgrand.testing import gradcheck

X = np.linspace(-1, 1, 6).reshape(2, 3)


def linear():
    layer = nn.Linear(3, 2, dtype=float)
    layer.weight.data = np.arange(6.0).reshape(2, 3)
    return layer


def test_forward_hooks_see_and_change():
    layer, seen = linear(), []
    plain = layer(X).data
    first = layer.register_forward_pre_hook(lambda module, args: seen.append(("pre", module, args)))
    second = layer.register_forward_pre_hook(lambda module, args: 2 * args[0])
    third = layer.register_forward_hook(lambda module, args, out: seen.append((args[0], out)))
    fourth = layer.register_forward_hook(lambda module, args, out: out + 1)
    expected = 2 * X @ layer.weight.data.T + layer.bias.data + 1
    np.testing.assert_allclose(layer(X).data, expected)
    assert seen[0][:2] == ("pre", layer)
    np.testing.assert_array_equal(seen[1][0], 2 * X)
    second.remove()
    np.testing.assert_array_equal(layer(X).data, plain + 1)
    for handle in first, third, fourth, fourth:
        handle.remove()
    assert "forward" not in vars(layer)
    assert "_hooks" not in vars(layer)
    np.testing.assert_array_equal(layer(X).data, plain)


def test_a_hook_may_remove_itself():
    layer, calls = linear(), []

    def once(module, args, output):
        calls.append(1)
        handle.remove()

    handle = layer.register_forward_hook(once)
    layer(X), layer(X)
    assert calls == [1]


def test_backward_hooks_see_the_gradients():
    net, seen = nn.Sequential(linear(), nn.ReLU()), []
    for layer in net:
        layer.register_full_backward_hook(lambda *gradients: seen.append(gradients))
    x = Tensor(X, requires_grad=True)
    (net(x) ** 2).sum().backward()
    (relu, inner, outer), (first, g_x, g) = seen
    assert (relu, first) == (net[1], net[0])
    hidden = X @ net[0].weight.data.T + net[0].bias.data
    np.testing.assert_allclose(outer[0], 2 * np.maximum(hidden, 0))
    np.testing.assert_allclose(inner[0], outer[0] * (hidden > 0))
    np.testing.assert_array_equal(g[0], inner[0])
    np.testing.assert_array_equal(g_x[0], x.grad)
    np.testing.assert_allclose(g_x[0], g[0] @ net[0].weight.data)


def test_without_a_gradient_of_the_input_the_hook_is_called_all_the_same():
    layer, seen = linear(), []
    layer.register_full_backward_hook(lambda module, *gradients: seen.append(gradients))
    layer(X).sum().backward()
    assert seen[0][0] == (None,)
    np.testing.assert_array_equal(seen[0][1][0], np.ones((2, 2)))
    assert layer.weight.grad is not None
    layer.requires_grad_(False)
    layer(X)


def test_a_backward_hook_may_change_the_gradient():
    layer = linear()
    handle = layer.register_full_backward_hook(lambda module, inner, outer: 3 * inner[0])
    x = Tensor(X, requires_grad=True)
    layer(x).sum().backward()
    np.testing.assert_allclose(x.grad, 3 * np.ones((2, 2)) @ layer.weight.data)
    handle.remove()
    for wrong, words in (
        (lambda *_: np.ones(3), r"shape \(3,\) for argument 0, expected \(2, 3\)"),
        (lambda *_: (1, 2), "returned 2 gradients, expected 1"),
    ):
        handle = layer.register_full_backward_hook(wrong)
        with pytest.raises(ValueError, match=words):
            layer(x).sum().backward()
        handle.remove()


class Pair(nn.Module):
    def forward(self, x, y, factor, *, shift=0.0):
        return x * y * factor + shift, x + 1, "text"


def test_several_arguments_and_outputs():
    module, seen = Pair(), []

    def double(module, inner, outer):
        seen.append((inner, outer))
        return tuple(None if g is None else 2 * g for g in inner)

    module.register_full_backward_hook(double)
    x, y = Tensor(X, requires_grad=True), Tensor(np.float32(X[0] + 2), requires_grad=True)
    product, more, text = module(x, y, 3.0, shift=1.0)
    assert text == "text"
    assert y.dtype == np.float32
    (product.sum() + 5 * more.sum()).backward()
    (inner, outer) = seen[0]
    assert inner[2] is None
    assert outer[2] is None
    np.testing.assert_array_equal(outer[1], np.full((2, 3), 5.0))
    np.testing.assert_allclose(x.grad, 2 * (3 * y.data + 5) * np.ones((2, 1)), rtol=1e-6)
    np.testing.assert_allclose(y.grad, 2 * 3 * X.sum(axis=0), atol=1e-6)
    assert [g.shape for g in inner[:2]] == [(2, 3), (3,)]


def test_a_nest_is_refused_with_a_backward_hook():
    class Nest(nn.Module):
        def forward(self, x):
            return {"out": x}

    module = Nest()
    module.register_full_backward_hook(print)
    with pytest.raises(TypeError, match="Nest has a backward hook, and returns a nest"):
        module(X)


def test_derivatives_of_second_order_pass_through_hooks():
    layer, seen = linear(), []
    layer.register_full_backward_hook(lambda module, *gradients: seen.append(gradients))
    layer.register_forward_hook(lambda module, args, out: np.tanh(out))
    assert gradcheck(lambda x: layer(x) ** 2, X, order=2)
    assert gradcheck(lambda x, y: functools.reduce(np.multiply, hooked_pair()(x, y, 2.0)[:2]), X, X)
    assert grad(lambda x: layer(x).sum())(X).shape == X.shape


def hooked_pair():
    module = Pair()
    module.register_full_backward_hook(lambda *_: None)
    return module


def double_output(module, args, output):
    return 2 * output


@pytest.mark.parametrize("duplicate", [copy.deepcopy, by_pickle])
def test_a_copy_has_hooks_of_its_own(duplicate):
    net = nn.Sequential(linear(), nn.ReLU())
    net[0].register_forward_hook(double_output)
    other = duplicate(net)
    np.testing.assert_array_equal(other(X).data, net(X).data)
    other[0].weight.data = np.zeros((2, 3))
    assert not np.array_equal(other(X).data, net(X).data)
    assert list(net.state_dict()) == ["0.weight", "0.bias"]
    assert repr(other) == repr(net)
    assert len(list(other.modules())) == 3


def test_hooked_modules_are_compiled():
    def make():
        net = nn.Sequential(linear(), nn.ReLU())
        net[0].bias.data = np.ones(2)
        net[0].register_forward_pre_hook(lambda module, args: args[0] * 0.5)
        net[0].register_forward_hook(double_output)
        net[1].register_full_backward_hook(lambda module, inner, outer: (inner[0] * 0.1,))
        return net

    net = make()
    assert_runs_as_eager(lambda x: net(x).data, lambda i: X * i)
    found = []
    for compiled in True, False:
        net = make()

        def step(x, net=net):
            net.zero_grad()
            net(x).sum().backward()

        run = compile(step) if compiled else step
        for i in range(5):
            run(X * i)
        assert not compiled or len(run.traces) == 1
        found.append(net[0].weight.grad)
    assert_same_bits(*found)


def test_misuse():
    layer = linear()
    for register in (
        layer.register_forward_hook, layer.register_forward_pre_hook,
        layer.register_full_backward_hook,
    ):  # fmt: skip
        with pytest.raises(TypeError, match="a hook is a function, got 3"):
            register(3)
    layer.forward = np.tanh
    with pytest.raises(TypeError, match="attribute 'forward' of its own"):
        layer.register_forward_hook(print)


def test_hooks_are_those_of_pytorch():
    torch = pytest.importorskip("torch")
    theirs, ours = torch.nn.Linear(3, 2), nn.Linear(3, 2)
    ours.load_state_dict(theirs.state_dict())
    seen = []
    for module, x in (
        (theirs, torch.tensor(X, dtype=torch.float32, requires_grad=True)),
        (ours, Tensor(np.float32(X), requires_grad=True)),
    ):
        module.register_full_backward_hook(lambda m, *g: seen.append(g))
        module.register_forward_hook(lambda m, args, out: out * 3)
        (module(x) ** 2).sum().backward()
    for one, other in zip(*seen, strict=True):
        np.testing.assert_allclose(one[0].numpy(), other[0], rtol=1e-4, atol=1e-5)
