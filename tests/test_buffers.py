"""Buffers: state that is saved but not learned, and the warning of state that is not saved."""

import copy
import warnings
from collections import UserDict, deque
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import by_pickle

from microgrand import Tensor, nn


class Standardize(nn.Module):
    """Subtract a running mean, and count the batches."""

    def __init__(self, features, dtype=np.float64):
        self.mean = nn.Buffer(np.zeros(features, dtype))
        self.counts = {"batches": nn.Buffer(0)}
        self.scale = nn.Parameter(np.ones(features))

    def forward(self, x):
        if self.training:
            self.mean *= 0.5
            self.mean += 0.5 * np.asarray(x).mean(axis=0)
            self.counts["batches"] += 1
        return self.scale * (x - self.mean)


def make_net():
    return nn.Sequential(Standardize(2), nn.Linear(2, 1))


NAMES = ["0.mean", "0.counts.batches", "0.scale", "1.weight", "1.bias"]


def test_a_buffer_is_a_tensor_without_a_gradient():
    array = np.ones(2)
    assert nn.Buffer(array).data is array
    assert not np.shares_memory(nn.Buffer(Tensor(array)).data, array)
    assert not nn.Buffer(array).requires_grad
    assert nn.Buffer([1, 2], dtype=np.float32).dtype == np.float32
    with pytest.raises(TypeError, match="detach"):
        nn.Buffer(Tensor(array, requires_grad=True) * 2)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, by_pickle])
def test_a_buffer_that_is_not_persistent_is_not_saved(duplicate):
    net = make_net()
    net.register_buffer("mask", np.tri(2), persistent=False)
    net[1].kept = nn.Buffer(np.zeros(1), persistent=False)
    for module in net, duplicate(net):
        assert list(module.state_dict()) == NAMES
        assert {name for name, _ in module.named_buffers()} == {*NAMES[:2], "mask", "1.kept"}
        assert module.load_state_dict(net.state_dict()) == ([], [])
        with pytest.raises(ValueError, match="unknown: mask"):
            module.load_state_dict(net.state_dict() | {"mask": np.ones((2, 2))})
    with pytest.raises(TypeError, match="persistent is True or False"):
        nn.Buffer(np.zeros(1), persistent="no")


def test_buffers_are_saved_and_not_learned():
    net = make_net()
    assert list(net.state_dict()) == NAMES
    assert [name for name, _ in net.named_buffers()] == NAMES[:2]
    assert list(net.buffers()) == [net[0].mean, net[0].counts["batches"]]
    assert [name for name, _ in net.named_parameters()] == NAMES[2:]
    net(np.full((3, 2), 8.0)).sum().backward()
    assert net[0].mean.grad is None


@pytest.mark.parametrize("way", ["state", "deepcopy", "pickle"])
def test_a_restored_net_predicts_the_same(way):
    net = make_net()
    for _ in range(3):
        net(np.full((3, 2), 8.0))
    other = make_net()
    if way == "state":
        held = list(other.buffers())
        other.load_state_dict(net.state_dict())
        assert list(other.buffers()) == held
    else:
        other = copy.deepcopy(net) if way == "deepcopy" else by_pickle(net)
    assert all(isinstance(buffer, nn.Buffer) for buffer in other.buffers())
    assert other[0].counts["batches"].item() == 3
    x = np.array([[1.0, 2.0]])
    np.testing.assert_array_equal(other.eval()(x).data, net.eval()(x).data)
    other.train()(x)
    assert net[0].mean.tolist() == [7.0, 7.0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("0.mean", np.ones(3)),
        ("0.mean", ["a", "b"]),
        ("0.mean", [1e300, 0.0]),
        ("0.counts.batches", 1.5),
        ("0.counts.batches", True),
        ("0.counts.batches", np.uint64(2**63)),
        ("0.mean", None),
    ],
)
def test_loading_is_all_or_nothing(name, value):
    net = nn.Sequential(Standardize(2, np.float32), nn.Linear(2, 1))
    before = net.state_dict()
    state = {key: value + 1 for key, value in before.items()}
    with pytest.raises(ValueError, match=f"nothing was changed.*{name}: "):
        net.load_state_dict({**state, name: value})
    with pytest.raises(ValueError, match=f"missing: {name}"):
        net.load_state_dict({key: state[key] for key in state if key != name})
    for key, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[key])


def test_masks_and_complex_numbers_may_be_buffers():
    net = nn.Module()
    net.kept, net.spectrum = nn.Buffer([True, False]), nn.Buffer([1j])
    state = {"kept": [False, True], "spectrum": [2.0]}
    net.load_state_dict(state)
    assert net.kept.tolist() == [False, True]
    assert net.spectrum.tolist() == [2]


def test_loading_a_buffer_invalidates_an_older_loss():
    net = make_net().eval()
    loss = net(np.ones((1, 2))).sum() + (net[0].mean * net[0].scale).sum()
    net.load_state_dict(net.state_dict())
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


@pytest.mark.parametrize("wrong", [np.ones(2), Tensor(np.ones(2)), 0.0])
def test_a_buffer_is_not_replaced_by_what_would_not_be_saved(wrong):
    net = Standardize(2)
    with pytest.raises(TypeError, match=r"mean is a Buffer.*\.data = array.*nn\.Buffer\(data\)"):
        net.mean = wrong
    net.mean = nn.Buffer(np.ones(2))
    net.mean = None
    assert "mean" not in net.state_dict()


def test_statistics_that_would_hold_a_graph_are_refused():
    net = Standardize(2)
    with pytest.raises(TypeError, match=r"mean is a Buffer.*detach"):
        net.mean += net.scale
    net.mean.requires_grad = True
    with pytest.raises(TypeError, match=r"'mean'.*nn\.Parameter"):
        list(net.parameters())


def test_a_parameter_and_a_buffer_have_different_names():
    net = nn.Module()
    net.parts = {1: nn.Parameter(np.zeros(1)), "1": nn.Buffer(np.zeros(1))}
    with pytest.raises(ValueError, match=r"the name 'parts\.1'"):
        net.state_dict()


# ------------------------------------------------------------------------- what is not saved


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (np.zeros(2), "running"),
        (np.zeros(2, np.float16), "running"),
        ([0, {"a": np.zeros(())}], "running.1.a"),
        (Tensor([1.0]), "running"),
        (Tensor([1]), "running"),
        (deque([1, np.zeros(2)]), "running"),
        ([{"a": UserDict(b=np.zeros(2))}], "running.0.a"),
        (SimpleNamespace(mean=np.zeros(2), other=np.zeros(3)), "running"),
        ({"a": SimpleNamespace(mean=[Tensor(1.0)])}, "running.a"),
    ],
)
def test_an_array_that_is_not_saved_is_warned_of(value, name):
    class Net(nn.Module):
        pass

    net = nn.Sequential(nn.Linear(1, 1), Net())
    net[1].running = value
    message = (
        rf"^1\.{name} (is|holds) an? (array|Tensor) .*nn\.Buffer.*not_state = \(\"running\",\)"
    )
    with pytest.warns(UserWarning, match=message) as caught:
        state = net.state_dict()
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert list(state) == ["0.weight", "0.bias"]
    Net.not_state = ("running",)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.state_dict()


def test_other_attributes_are_not_warned_of():
    class Scaled(nn.GaussianDropout):
        not_state = ("scale",)  # in addition to those of its base

    net = nn.Sequential(nn.ReLU(), nn.Dropout(), Scaled(0.5), nn.AlphaDropout())
    net.added = nn.DropConnect(2, 2)
    net[2].scale = np.ones(2)
    net.labels, net.flags, net.rate = np.arange(3), np.array([True]), 0.5
    net(np.ones((3, 2)))
    net.added(np.ones((3, 2)))
    net.latest = net.added.weight * 2  # of a graph
    net.others = SimpleNamespace(labels=np.arange(3), rate=np.float64(0.5), net=net[0])
    net.rng, net.calls = np.random.default_rng(0), deque([np.exp, net[0].forward, "text"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.state_dict()


def test_not_state_is_a_tuple_of_names():
    for wrong in "running", (1,):
        net = type("Net", (nn.Module,), {"not_state": wrong})()
        net.running = np.zeros(2)
        with pytest.raises(TypeError, match=r"not_state is a tuple.*\(\"name\",\)"):
            net.state_dict()
