"""Parts of modules: registered and found by name."""

import numpy as np
import pytest

from microgrand import nn

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
        (lambda n: n.add_module(1, nn.ReLU()), TypeError, "a module's name is a text, got 1"),
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
