"""Containers of modules: `ModuleList`, `ModuleDict`, `Identity` and `Residual`."""

import copy
from collections import OrderedDict

import numpy as np
import pytest
from compiled import assert_runs_as_eager
from helpers import by_pickle
from hypothesis import given
from hypothesis import strategies as st

from microgrand import Tensor, compile, nn
from microgrand.testing import gradcheck

KINDS = [lambda: nn.Linear(1, 1), nn.ReLU, nn.Dropout, nn.Identity]


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["append", "extend", "insert", "set", "delete", "pop"]), st.integers(-3, 9)
    )
)


def change(container, make, expected, name, number):
    """Change a container and a list in the same way."""
    item = make(number)
    if name in ("append", "extend"):
        given = item if name == "append" else [item, make(number + 1)]
        assert getattr(container, name)(given) is container
        getattr(expected, name)(given)
    elif name == "insert":
        assert container.insert(number, item) is container
        expected.insert(number, item)
    elif -len(expected) <= number < len(expected):
        if name == "set":
            container[number] = expected[number] = item
        elif name == "delete":
            del container[number], expected[number]
        else:
            assert container.pop(number) is expected.pop(number)


@pytest.mark.parametrize("kind", [nn.ModuleList, nn.Sequential])
@given(changes=CHANGES)
def test_a_container_with_numbers_is_a_list(kind, changes):
    modules, expected = kind(), []
    for name, number in changes:
        change(modules, lambda n: KINDS[n % len(KINDS)](), expected, name, number)
    assert list(modules) == expected
    assert len(modules) == len(expected)
    assert list(modules[1:]) == expected[1:]
    assert type(modules[1:]) is kind
    assert list(modules.modules())[1:] == expected
    assert list(modules.state_dict()) == [
        f"{i}.{name}"
        for i, module in enumerate(expected)
        if isinstance(module, nn.Linear)
        for name in ("weight", "bias")
    ]
    if kind is nn.Sequential:
        modules.eval()
        result = Tensor(np.ones((1, 1), np.float32))
        given = result
        for module in expected:
            result = module(result)
        np.testing.assert_array_equal(modules(given).data, result.data)


@given(changes=CHANGES)
def test_a_list_of_parameters_is_a_list(changes):
    parameters, expected = nn.ParameterList(), []
    for name, number in changes:
        change(parameters, lambda n: nn.Parameter(np.ones(n + 9)), expected, name, number)
    assert len(parameters) == len(expected)
    assert all(a is b for a, b in zip(parameters, expected, strict=True))
    assert [name for name, _ in parameters.named_parameters()] == [
        str(i) for i in range(len(expected))
    ]
    assert len(parameters[1:]) == len(expected[1:])


def test_arrays_become_parameters():
    array, tensor, own = np.ones(2), Tensor([1.0]), nn.Parameter([3.0])
    listed = nn.ParameterList([array, tensor, own])
    named = nn.ParameterDict({"a": array, "b": tensor, "c": own})
    for first, second, third in list(listed), list(named.values()):
        assert first.data is array
        assert second.requires_grad
        assert third is own
    assert repr(listed) == "ParameterList((2,), (1,), (1,))"
    assert repr(named) == "ParameterDict(a: (2,), b: (1,), c: (1,))"
    named.a = np.zeros(3)
    assert named["a"].shape == (3,)
    assert named.pop("b").shape == (1,)
    assert list(named.state_dict()) == ["a", "c"]


class Shifts(nn.Module):
    def __init__(self):
        self.shifts = nn.ParameterList([np.ones(2), np.ones(2)])
        self.scales = nn.ParameterDict({"one": np.ones(2)})

    def forward(self, x):
        for shift in self.shifts:
            x = (x + shift) * self.scales["one"]
        return x


def test_parameters_in_containers_are_copied_saved_and_compiled():
    net = Shifts()
    names = ["shifts.0", "shifts.1", "scales.one"]
    assert [name for name, _ in net.named_parameters()] == names
    for other in copy.deepcopy(net), by_pickle(net):
        other.load_state_dict({name: np.full(2, 3.0) for name in names})
        np.testing.assert_array_equal(other(np.zeros(2)).data, [36.0, 36.0])
    program = assert_runs_as_eager(lambda x: net(x).data, lambda i: np.full(2, float(i)))
    assert "scales_one" in program.source
    assert "by_name" not in program.source


class Net(nn.Module):
    def __init__(self):
        self.blocks = nn.ModuleList([nn.Residual(nn.Linear(3, 3)), nn.Dropout(0.5)])
        self.heads = nn.ModuleDict({"a": nn.Linear(3, 1), "b": nn.Linear(3, 2)})

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.heads["a"](x).sum() + self.heads["b"](x).sum()


def test_names_and_modes_reach_what_is_inside():
    net = Net()
    assert [name for name, _ in net.named_parameters()] == [
        "blocks.0.body.weight", "blocks.0.body.bias",
        "heads.a.weight", "heads.a.bias", "heads.b.weight", "heads.b.bias",
    ]  # fmt: skip
    net.eval()
    assert not net.blocks[1].training
    assert [name for name, _ in net.named_children()] == ["blocks", "heads"]
    assert "(a): Linear(" in repr(net)
    for other in copy.deepcopy(net), by_pickle(net):
        assert other.state_dict().keys() == net.state_dict().keys()
        assert other(np.ones((1, 3))).data == net(np.ones((1, 3))).data


def test_layers_in_sequence_may_have_names():
    layers = {"first": nn.Linear(3, 3), "f": nn.ReLU(), "last": nn.Linear(3, 1)}
    net, numbered = nn.Sequential(OrderedDict(layers)), nn.Sequential(*layers.values())
    assert list(net.state_dict()) == ["first.weight", "first.bias", "last.weight", "last.bias"]
    assert [name for name, _ in net.named_children()] == list(layers)
    assert [name for name, _ in net[1:].named_children()] == ["f", "last"]
    assert net.last is net[2] is net[-1]
    assert "(f): ReLU()" in repr(net)
    x = np.ones((2, 3), np.float32)
    assert net(x).data.tobytes() == numbered(x).data.tobytes()
    for other in copy.deepcopy(net), by_pickle(net):
        assert other(x).data.tobytes() == net(x).data.tobytes()
        assert list(other.state_dict()) == list(net.state_dict())
    assert len(nn.Sequential({})) == 0
    assert_runs_as_eager(lambda x: net(x).data, lambda i: np.full((2, 3), i / 2))
    with pytest.raises(AttributeError, match="its layers are first, f, last"):
        _ = net.second
    with pytest.raises(AttributeError, match=r"no attribute 'second'$"):
        _ = numbered.second


def test_layers_with_names_are_changed():
    first, last, other = nn.Linear(3, 3), nn.Linear(3, 1), nn.Tanh()
    net = nn.Sequential({"first": first, "f": nn.ReLU(), "last": last})
    net[1] = other
    assert [name for name, _ in net.named_children()] == ["first", "f", "last"]
    assert net.f is other
    del net[0]
    assert net.pop() is last
    assert [name for name, _ in net.named_children()] == ["f"]
    net.add_module("first", first)
    net.append(last).extend([nn.ReLU()])
    assert [name for name, _ in net.named_children()] == ["f", "first", "2", "3"]
    assert net.first is net[1] is first
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(net(x).data, last(first(np.tanh(x))).relu().data)
    with pytest.raises(ValueError, match="layers have names, and a layer that is inserted"):
        net.insert(0, first)
    numbered = nn.Sequential(first)
    numbered.add_module("last", last)
    assert list(numbered.state_dict()) == ["0.weight", "0.bias", "last.weight", "last.bias"]
    np.testing.assert_array_equal(numbered(x).data, last(first(x)).data)


def test_a_compiled_net_may_get_a_layer_more():
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    run = compile(lambda x: net(x).data)
    x = np.ones((1, 2), np.float32)
    for layer in None, nn.Tanh(), nn.Linear(2, 3):
        if layer is not None:
            net.append(layer)
        for _ in range(3):
            np.testing.assert_array_equal(run(x), net(x).data)


def test_containers_are_compiled_with_their_names():
    net = Net().eval()
    step = assert_runs_as_eager(lambda x: net(x).data, lambda i: np.full((2, 3), i / 2))
    assert "heads_a_weight" in step.source
    assert "by_name" not in step.source


def test_a_module_dict_is_a_dict():
    first, second = nn.Linear(1, 1), nn.ReLU()
    modules = nn.ModuleDict({"a": first})
    modules["b"] = second
    assert (list(modules), list(modules.keys())) == (["a", "b"], ["a", "b"])
    assert (list(modules.values()), dict(modules.items())) == (
        [first, second],
        {"a": first, "b": second},
    )
    assert "a" in modules
    del modules["a"]
    assert (len(modules), "a" in modules) == (1, False)
    modules.add_module("c", first)
    assert modules.pop("b") is second
    assert list(modules) == ["c"]
    modules.clear()
    assert not modules


def test_a_module_dict_has_its_modules_as_attributes():
    first, second = nn.Linear(1, 1), nn.ReLU()
    modules = nn.ModuleDict({"a": first, "keys": second})
    assert modules.a is first
    assert list(modules.keys()) == ["a", "keys"]  # the method, not the module
    modules.a = second
    assert modules["a"] is second
    assert "a" not in vars(modules)
    with pytest.raises(TypeError, match="for 'a'"):
        modules.a = 1
    modules.training = False
    assert not modules.training
    with pytest.raises(AttributeError, match="nothing called 'b'; it has a, keys"):
        modules.b  # noqa: B018
    assert copy.deepcopy(modules).a is not second


def test_a_residual_block_is_its_formula():
    block = nn.Residual(nn.Linear(3, 3, dtype=float))
    x = np.linspace(-1, 1, 6).reshape(2, 3)
    np.testing.assert_array_equal(block(x).data, x + block.body(x).data)
    block = nn.Residual(nn.Linear(3, 2, dtype=float), nn.Linear(3, 2, dtype=float))
    np.testing.assert_array_equal(block(x).data, (block.shortcut(x) + block.body(x)).data)
    assert gradcheck(lambda x: block(x) ** 2, x, order=2)


def test_identity_returns_the_very_input():
    x = np.ones(2)
    assert nn.Identity(54, unused=1)(x) is x


@pytest.mark.parametrize(
    ("use", "error", "words"),
    [
        (lambda: nn.ModuleList(nn.ReLU()), TypeError, r"list, got ReLU; write ModuleList\(\[a, b"),
        (lambda: nn.ModuleList([nn.ReLU]), TypeError, r"make one, ReLU\(\)"),
        (lambda: nn.ModuleList([1]), TypeError, r"ModuleList takes modules, got 1 at position 0"),
        (lambda: nn.ModuleList([nn.ReLU()]).append(None), TypeError, "got None"),
        (lambda: nn.Sequential({"forward": nn.ReLU()}), ValueError, "'forward' of its own"),
        (lambda: nn.Sequential({"a.b": nn.ReLU()}), ValueError, "Sequential's names"),
        (lambda: nn.ModuleDict([nn.ReLU()]), TypeError, "dict from names to modules, got list"),
        (lambda: nn.ModuleDict({1: nn.ReLU()}), TypeError, "strings, got 1"),
        (lambda: nn.ModuleDict({"a.b": nn.ReLU()}), ValueError, "'a.b'"),
        (lambda: nn.ModuleDict({"a": np.tanh}), TypeError, "for 'a'"),
        (lambda: nn.Sequential({"append": nn.ReLU()}), ValueError, "'append' of its own"),
        (lambda: nn.Sequential().append(np.tanh), TypeError, r"Sequential takes modules.*forward"),
        (lambda: nn.Sequential().add_module("a", None), TypeError, "takes modules, got None for"),
        (lambda: nn.ModuleList().add_module("a", nn.ReLU()), TypeError, r"write append\(module\)"),
        (lambda: nn.ModuleDict().add_module("a", None), TypeError, "takes modules, got None for"),
        (lambda: nn.ParameterList(np.ones(2) for _ in "a").append("a"), TypeError, "dtype <U1"),
        (
            lambda: nn.ParameterList(Tensor([1.0])),
            TypeError,
            r"got Tensor; write ParameterList\(\[",
        ),
        (lambda: nn.ParameterList().add_module("a", nn.ReLU()), TypeError, "append.parameter"),
        (lambda: nn.ParameterDict([np.ones(1)]), TypeError, "dict from names to parameters, got l"),
        (lambda: nn.ParameterDict({"a.b": np.ones(1)}), ValueError, "'a.b'"),
        (lambda: nn.ParameterDict().add_module("a", nn.ReLU()), TypeError, r"parameters\[name\]"),
        (lambda: nn.Residual(np.tanh), TypeError, r"Residual takes modules.*forward\(\)"),
        (lambda: nn.Residual(nn.Linear(3, 1))(np.ones((2, 3))), ValueError, "shortcut=nn.Linear"),
    ],
)
def test_misuse(use, error, words):
    with pytest.raises(error, match=words):
        use()


def test_a_module_that_becomes_an_attribute_of_a_sequential_is_a_layer():
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    net.output = nn.Linear(3, 1)
    assert [name for name, _ in net.named_children()] == ["0", "1", "output"]
    net(np.ones((4, 2))).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.output = nn.Linear(3, 5)  # takes its place
    assert net(np.ones((4, 2))).shape == (4, 5)
    assert net.output is net[2]
    assert len(net) == 3

    class Deep(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Linear(2, 3))
            self.last = nn.Linear(3, 4)

    assert Deep()(np.ones((1, 2))).shape == (1, 4)


def test_a_sequential_with_names_grows_after_layers_were_deleted():
    net = nn.Sequential({"a": nn.ReLU(), "b": nn.ReLU()})
    net.extend([nn.Tanh(), nn.Tanh()])
    del net[0]
    net.append(nn.Sigmoid())
    assert [name for name, _ in net.named_children()] == ["b", "2", "3", "4"]
