"""Parts of modules: registered and found by name, and converted to another dtype."""

import numpy as np
import pytest
from compiled import assert_same_bits

from microgrand import Tensor, compile, manual_seed, nn
from microgrand.nn.module import STATE
from microgrand.optim import SGD, Adagrad, Adam, RMSprop

# ---------------------------------------------------------------------------------------- by name


def make_net():
    return nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1)))


def test_parts_are_registered():
    net = nn.Module()
    layer, weight = nn.Linear(1, 1), nn.Parameter([1.0])
    net.add_module("layer", layer)
    net.register_module("other", layer)
    net.register_parameter("weight", weight)
    net.register_parameter("bias", None)
    net.add_module("none", None)
    assert net.layer is net.other is layer
    assert (net.weight, net.bias, net.none) == (weight, None, None)
    assert [name for name, _ in net.named_parameters()] == ["weight", "layer.weight", "layer.bias"]


@pytest.mark.parametrize(
    ("use", "error", "words"),
    [
        (lambda n: n.add_module(1, nn.ReLU()), TypeError, "a module's name is a string, got 1"),
        (lambda n: n.add_module("a.b", nn.ReLU()), ValueError, "without a dot, got 'a.b'"),
        (lambda n: n.add_module("train", nn.ReLU()), ValueError, "has an attribute 'train'"),
        (lambda n: n.add_module("a", nn.ReLU), TypeError, "takes a Module or None, got type"),
        (lambda n: n.register_parameter("", None), ValueError, "a parameter's name"),
        (
            lambda n: n.register_parameter("a", np.ones(2)),
            TypeError,
            r"Parameter or None, got ndarray; wrap it, nn\.Parameter\(data\)",
        ),
        (lambda n: n.register_parameter("weight", None), ValueError, r"\.weight\.data = array"),
        (lambda n: n.get_submodule("a"), AttributeError, "Linear has no module 'a'; it has none"),
        (lambda n: n.get_parameter("a"), AttributeError, "it has 'weight', 'bias'"),
        (lambda n: n.get_buffer("weight"), AttributeError, "no buffer 'weight'"),
        (lambda n: n.to("cuda"), TypeError, r"Linear\.to takes a dtype.*'cuda'; there are no devi"),
        (lambda n: n.cuda(), AttributeError, r"a module has no cuda\(\).*p\.data = array"),
        (lambda n: n.cpu(), AttributeError, "there are no devices"),
        (lambda n: n.to(int), TypeError, "takes a dtype of floats"),
        (lambda n: n.to(None), TypeError, "takes a dtype of floats"),
    ],
)
def test_misuse(use, error, words):
    with pytest.raises(error, match=words):
        use(nn.Linear(1, 1))


def test_parts_are_found_by_name():
    net = make_net()
    assert net.get_submodule("") is net
    for name, module in net.named_modules():
        assert net.get_submodule(name) is module
    assert net.get_parameter("1.1.weight") is net[1][1].weight
    assert net.get_buffer("1.0.running_mean") is net[1][0].running_mean
    shared = nn.Module()
    shared.parts = [net, net]
    assert shared.get_parameter("parts.1.0.bias") is net[0].bias


def test_parts_of_a_module_alone_and_with_a_prefix():
    net = make_net()
    net.scale, net.shift = nn.Parameter([1.0]), nn.Buffer([1.0])
    assert [x is net.scale for x in net.parameters(recurse=False)] == [True]
    assert [x is net.shift for x in net.buffers(recurse=False)] == [True]
    assert [name for name, _ in net.named_parameters("net", False)] == ["net.scale"]
    assert next(name for name, _ in net.named_buffers("net")) == "net.shift"
    assert [name for name, _ in net[1].named_parameters("x")][-1] == "x.1.bias"
    net.again = net.scale
    assert [name for name, _ in net.named_parameters("", False, False)] == ["scale", "again"]


# -------------------------------------------------------------------------------------- dtypes


def test_all_floats_are_converted_in_place():
    net = make_net()
    net.counts = nn.Buffer(np.arange(3))
    held = list(net.parameters())
    net(np.ones((4, 2), np.float32)).sum().backward()
    loss = net(np.ones((4, 2), np.float32)).sum()
    before = net.state_dict()
    assert net.double() is net
    assert [p is q for p, q in zip(net.parameters(), held, strict=True)] == [True] * 6
    for name, tensor in net.named_tensors(STATE):
        kind = before[name].dtype.kind
        assert tensor.dtype == (np.float64 if kind == "f" else before[name].dtype)
        np.testing.assert_array_equal(tensor.data, before[name])
    assert all(p.grad.dtype == np.float64 for p in held)
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()
    assert net(np.ones((4, 2))).dtype == np.float64
    arrays = [p.data for p in held]
    net.to("float64")
    assert all(p.data is array for p, array in zip(held, arrays, strict=True))
    assert {p.dtype for p in net.half().parameters()} == {np.dtype(np.float16)}
    assert {p.dtype for p in net.float().parameters()} == {np.dtype(np.float32)}


MAKERS = {
    "SGD": lambda p: SGD(p, 0.1, momentum=0.9),
    "Adam": lambda p: Adam(p, 0.1, amsgrad=True),
    "RMSprop": lambda p: RMSprop(p, 0.1, centered=True, momentum=0.5),
    "Adagrad": lambda p: Adagrad(p, 0.1, initial_accumulator_value=0.5),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("steps", [0, 2])
def test_optimizers_go_on_in_the_new_dtype(make, steps):
    """As one that was made afterwards, and given what the first has remembered, would."""

    def train(net, optimizer, number):
        for x in np.random.default_rng(number).normal(size=(number, 4, 2)):
            optimizer.zero_grad()
            (net(x.astype(net.weight.dtype)) ** 2).sum().backward()
            optimizer.step()

    net, other = nn.Linear(2, 1), nn.Linear(2, 1)
    optimizer = make(net.parameters())
    train(net, optimizer, steps)
    net.double()
    other.double().load_state_dict(net.state_dict())
    anew = make(other.parameters())
    anew.load_state_dict(optimizer.state_dict())
    train(net, optimizer, 3)
    train(other, anew, 3)
    assert_same_bits(net.weight.data, other.weight.data)
    for arrays in optimizer.memory.values():
        assert {array.dtype for array in arrays} == {np.dtype(np.float64)}


def test_a_compiled_step_follows_a_change_of_dtype():
    def results(compiled):
        manual_seed(0)
        net = nn.Linear(2, 1)
        optimizer = Adam(net.parameters(), 0.1)

        def step(x):
            optimizer.zero_grad()
            loss = (net(x) ** 2).sum()
            loss.backward()
            optimizer.step()
            return loss

        run, found = (compile(step) if compiled else step), []
        for number in range(9):
            if number in (3, 6):
                net.to(np.float64 if number == 3 else np.float16)
            loss = run(np.full((2, 2), number + 1, net.weight.dtype))
            found.append([loss.data.copy(), net.weight.data.copy()])
        return found

    assert_same_bits(results(True), results(False))


def test_a_view_of_a_frozen_parameter_keeps_its_own_values():
    layer = nn.Linear(2, 1).requires_grad_(False)
    view = layer.weight.T
    layer.half()
    assert isinstance(view, Tensor)
    assert view.dtype == np.float32


@pytest.mark.parametrize("kind", [nn.Parameter, nn.Buffer])
def test_a_loaded_state_does_not_change_a_view_of_what_is_not_learned(kind):
    layer = nn.Module()
    layer.weight = kind(np.eye(2)).requires_grad_(False)
    x = Tensor(np.ones((1, 2)), requires_grad=True)
    loss = (x @ layer.weight.T).sum()
    layer.load_state_dict({"weight": np.full((2, 2), 7.0)})
    loss.backward()
    np.testing.assert_array_equal(x.grad, [[1.0, 1.0]])
    np.testing.assert_array_equal(layer.weight.data, np.full((2, 2), 7.0))
