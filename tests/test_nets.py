"""Nets of several layers: what passes through all of them, and `Sequential` itself."""

import numpy as np
import pytest

from microgrand import (
    Tensor,
    grad,
    hvp,
    jacobian,
    jvp,
    nn,
    optim,
    vjp,
)
from microgrand.dispatch import data_of
from microgrand.nn import functional as F
from microgrand.testing import gradcheck


def test_names_in_sequential_are_pytorchs():
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Sequential(nn.Linear(3, 1, bias=False)))
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias", "2.0.weight"]
    assert [name for name, _ in net.named_modules()] == ["", "0", "1", "2", "2.0"]


def test_what_is_assigned_to_a_sequential_is_found_too():
    net = nn.Sequential(nn.Linear(2, 3))
    net.head = nn.Linear(3, 1, bias=False)
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias", "head.weight"]


def test_sequential_is_a_sequence():
    layers = [nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)]
    net = nn.Sequential(*layers)
    assert len(net) == 3
    assert list(net) == layers
    assert net[0] is layers[0]
    assert net[-1] is layers[2]
    assert net[np.int64(1)] is layers[1]
    assert isinstance(net[:2], nn.Sequential)
    assert list(net[:2]) == layers[:2]
    assert list(net[::-1]) == layers[::-1]
    x = np.ones((4, 2))
    np.testing.assert_array_equal(net[2](net[:2](x)).data, net(x).data)
    np.testing.assert_array_equal(nn.Sequential()(x), x)
    for wrong in 3, -4:
        with pytest.raises(IndexError):
            net[wrong]


@pytest.mark.parametrize(
    ("wrong", "mend"),
    [
        ([nn.ReLU()], r"\*layers"),
        (nn.ReLU, r"make one, ReLU\(\)"),
        (F.relu, r"forward\(\) of a Module"),
        (None, r"\*layers"),
        ({"a": nn.ReLU()}, r"\*layers"),
    ],
)
def test_sequential_refuses_anything_but_modules(wrong, mend):
    with pytest.raises(TypeError, match=f"takes modules.*position 1.*{mend}"):
        nn.Sequential(nn.ReLU(), wrong)


def test_a_hidden_layer_has_a_second_derivative():
    rng = np.random.default_rng(0)
    layers = [nn.Linear(3, 4, dtype=float, rng=rng), nn.ReLU(), nn.Dropout(0.5, rng=rng)]
    net = nn.Sequential(*layers, nn.Linear(4, 2, dtype=float, rng=rng))
    held = nn.DropoutMasks().hold(lambda x: np.tanh(net(x)))
    assert gradcheck(held, rng.normal(size=(5, 3)), order=2)


@pytest.mark.parametrize("make", [nn.Dropout, None])
@pytest.mark.parametrize("batch", [1, 2, 6])
def test_transforms_of_a_net_with_parameters_on_a_batch(make, batch):
    rng = np.random.default_rng(0)
    hidden = [nn.Linear(3, 8, dtype=float, rng=rng), nn.ReLU(), *([make(0.5)] if make else [])]
    net = nn.Sequential(*hidden, nn.Linear(8, 2, dtype=float, rng=rng))
    held = nn.DropoutMasks().hold(net)
    x, direction, cotangent = (rng.normal(size=(batch, n)) for n in (3, 3, 2))
    out = held(x).data

    # The net is linear between its kinks: the Jacobian is all there is.
    slopes = data_of(jacobian(held)(x))
    step = 1e-4 * direction
    changed = held(x + step).data - out
    np.testing.assert_allclose(np.tensordot(slopes, step), changed, rtol=1e-6, atol=1e-15)
    value, pull_back = vjp(held, x)
    found = {
        "value": (value, out),
        "vjp": (pull_back(cotangent), np.tensordot(cotangent, slopes)),
        "jvp": (jvp(held, [x], [direction])[1], np.tensordot(slopes, direction)),
        "grad": (grad(lambda x: np.sum(held(x)))(x), slopes.sum(axis=(0, 1))),
        "grad of one": (grad(lambda x: held(x)[0, 1])(x), slopes[0, 1]),
        "hvp": (hvp(lambda x: np.sum(held(x)), [x], [direction]), np.zeros_like(x)),
    }
    for name, (ours, expected) in found.items():
        np.testing.assert_allclose(np.squeeze(data_of(ours)), np.squeeze(expected), err_msg=name)

    # A penalty on the gradient: the derivative of what `grad` returns reaches the parameters.
    leaf = Tensor(x, requires_grad=True)
    np.sum(grad(lambda x: np.sum(held(x)))(leaf) ** 2).backward()
    weight = net[0].weight
    step = 1e-5 * rng.normal(size=weight.shape)

    def penalty():
        return data_of(np.sum(grad(lambda x: np.sum(held(x)))(x) ** 2))

    expected = np.sum(weight.grad * step)
    before = penalty()
    weight.data[...] += step
    assert abs(penalty() - before - expected) < 1e-3 * abs(expected)


def test_a_hidden_layer_notices_a_change_while_it_is_computed():
    linear, dropout = nn.Linear(2, 2, dtype=float), nn.Dropout(0.5)

    def draw(shape, rng):
        linear.weight.data = 3 * linear.weight.data  # as another thread's optimizer would
        return np.ones(shape, bool)

    dropout.draw = draw
    x = Tensor(np.ones((1, 2)), requires_grad=True)
    out = nn.Sequential(linear, nn.ReLU(), dropout)(x).sum()
    with pytest.raises(RuntimeError, match="changed in place"):
        out.backward()


@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_is_used_again_after_a_step_and_notices_one_too_early(bias):
    layer = nn.Linear(2, 3, bias)
    optimizer = optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(3):
        layer(np.ones((1, 2))).sum().backward()
        optimizer.step()
    loss = layer(np.ones((1, 2))).sum()
    optimizer.step()
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


@pytest.mark.parametrize("batch", [1, 2, 9])
def test_gradients_of_layers_are_laid_out_by_rows(batch):
    x = Tensor(np.ones((batch, 8), np.float32), requires_grad=True)
    layer = nn.Linear(8, 8)
    layer(layer(x)).sum().backward()
    for leaf in (x, layer.weight):
        assert leaf.grad.flags.c_contiguous
        assert leaf.grad.flags.writeable
    wide = Tensor(np.ones((3, 4)), requires_grad=True)
    (wide.T * 2 + wide.T * 3).sum().backward()
    assert wide.grad.flags.c_contiguous


def test_sequential_calls_subclasses_of_the_parts():
    class Doubles(nn.Dropout):
        def forward(self, x):
            return 2 * x

    class Negates(nn.ReLU):
        def forward(self, x):
            return -x

    class Zero(nn.Linear):
        def forward(self, x):
            return 0 * x

    x = Tensor([1.0, 2.0])
    one = nn.Linear(2, 2, dtype=float)
    one.load_state_dict({"weight": np.eye(2), "bias": np.zeros(2)})
    assert nn.Sequential(one, nn.ReLU(), Doubles(0.5))(x).tolist() == [2, 4]
    assert nn.Sequential(one, Negates(), nn.Dropout(0.0))(x).tolist() == [-1, -2]
    assert nn.Sequential(Zero(2, 2), nn.ReLU(), nn.Dropout(0.0))(x).tolist() == [0, 0]


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(
    ("whose", "name"), [("instance", "forward"), ("class", "forward"), ("class", "__call__")]
)
def test_a_patched_forward_is_called(place, whose, name, monkeypatch):
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Dropout(0.5))
    layer, seen = net[place], []
    owner = layer if whose == "instance" else type(layer)
    old = getattr(owner, name)

    def spy(*args):
        seen.append(args)
        return old(*args)

    monkeypatch.setattr(owner, name, spy)
    net(np.ones(3))
    assert len(seen) == 1


def test_all_calls_of_modules_can_be_listened_to(monkeypatch):
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Dropout(0.5))
    old, seen = nn.Module.__call__, []
    monkeypatch.setattr(
        nn.Module, "__call__", lambda self, *args: (seen.append(self), old(self, *args))[1]
    )
    net(np.ones(3))
    assert seen == [net, *net]


def test_a_given_mask_that_is_not_boolean_is_refused_in_a_sequential():
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Dropout(0.5))
    with nn.DropoutMasks([np.array([1.0, 0.0])]), pytest.raises(TypeError, match="boolean array"):
        net(np.ones(2))
