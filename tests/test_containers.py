"""Containers of modules: `ModuleList`, `ModuleDict`, `Identity` and `Residual`."""

import copy
import pickle
from collections import OrderedDict

import numpy as np
import pytest
from compiled import assert_runs_as_eager
from hypothesis import given
from hypothesis import strategies as st

from microgrand import nn
from microgrand.testing import gradcheck

KINDS = [lambda: nn.Linear(1, 1), nn.ReLU, nn.Dropout, nn.Identity]


@given(
    st.lists(st.tuples(st.sampled_from(["append", "insert", "set", "delete"]), st.integers(0, 9)))
)
def test_a_module_list_is_a_list(changes):
    modules, expected = nn.ModuleList(), []
    for change, number in changes:
        module = KINDS[number % len(KINDS)]()
        if change == "append":
            assert modules.append(module) is modules
            expected.append(module)
        elif change == "insert":
            modules.insert(number, module)
            expected.insert(number, module)
        elif number < len(expected):
            if change == "set":
                modules[number] = expected[number] = module
            else:
                del modules[number], expected[number]
    assert list(modules) == expected
    assert len(modules) == len(expected)
    assert list(modules[1:]) == expected[1:]
    assert list(modules.modules())[1:] == expected
    assert list(modules.state_dict()) == [
        f"{i}.{name}"
        for i, module in enumerate(expected)
        if isinstance(module, nn.Linear)
        for name in ("weight", "bias")
    ]


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
    for other in copy.deepcopy(net), pickle.loads(pickle.dumps(net)):
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
    for other in copy.deepcopy(net), pickle.loads(pickle.dumps(net)):
        assert other(x).data.tobytes() == net(x).data.tobytes()
        assert list(other.state_dict()) == list(net.state_dict())
    assert len(nn.Sequential({})) == 0
    assert_runs_as_eager(lambda x: net(x).data, lambda i: np.full((2, 3), i / 2))
    with pytest.raises(AttributeError, match="its layers are first, f, last"):
        _ = net.second
    with pytest.raises(AttributeError, match=r"no attribute 'second'$"):
        _ = numbered.second


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
    with pytest.raises(AttributeError, match="no module 'b'; it has a, keys"):
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
        (lambda: nn.ModuleDict({1: nn.ReLU()}), TypeError, "texts, got 1"),
        (lambda: nn.ModuleDict({"a.b": nn.ReLU()}), ValueError, "'a.b'"),
        (lambda: nn.ModuleDict({"a": np.tanh}), TypeError, "for 'a'"),
        (lambda: nn.Residual(np.tanh), TypeError, r"Residual takes modules.*forward\(\)"),
        (lambda: nn.Residual(nn.Linear(3, 1))(np.ones((2, 3))), ValueError, "shortcut=nn.Linear"),
    ],
)
def test_misuse(use, error, words):
    with pytest.raises(error, match=words):
        use()
