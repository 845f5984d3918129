"""Modules: what they are made of, modes, `repr`, saving, loading and copies."""

import collections
import copy
import dataclasses
import functools
import threading
import types

import numpy as np
import pytest
from helpers import by_pickle

from microgrand import (
    Tensor,
    nn,
    no_grad,
)
from microgrand.optim import SGD

# ---------------------------------------------------------------------------------------- modules


class Block(nn.Module):
    """A module whose parts are in attributes of every sort."""

    def __init__(self):
        self.scale = nn.Parameter([1.0])
        self.first = nn.Linear(2, 2)
        self.listed = [nn.Linear(2, 1), nn.Dropout()]
        self.table = {"a": nn.Parameter([1.0, 2.0]), "b": [nn.ReLU(), (nn.Linear(1, 1),)]}
        self.name, self.count, self.array, self.nothing = "block", 3, np.ones(2), None
        self.constant = Tensor([1.0])


BLOCK_NAMES = [
    "scale", "table.a", "first.weight", "first.bias", "listed.0.weight", "listed.0.bias",
    "table.b.1.0.weight", "table.b.1.0.bias",
]  # fmt: skip


def test_parameters_and_modules_are_found_in_attributes_and_containers():
    block = Block()
    assert [name for name, _ in block.named_parameters()] == BLOCK_NAMES
    assert list(block.parameters()) == [p for _, p in block.named_parameters()]
    assert dict(block.named_parameters())["table.b.1.0.weight"] is block.table["b"][1][0].weight
    modules = dict(block.named_modules())
    assert list(modules) == ["", "first", "listed.0", "listed.1", "table.b.0", "table.b.1.0"]
    assert list(block.modules()) == list(modules.values())
    assert modules[""] is block


def test_what_is_shared_is_listed_once():
    layer = nn.Linear(2, 2)
    net = nn.Sequential(layer, nn.ReLU(), layer)
    assert len(list(net.modules())) == 3
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias"]
    tied = nn.Linear(2, 2)
    tied.weight = layer.weight
    both = nn.Sequential(layer, tied)
    assert [name for name, _ in both.named_parameters()] == ["0.weight", "0.bias", "1.bias"]
    both(np.ones((1, 2))).sum().backward()
    once = nn.Sequential(layer, layer)
    once.zero_grad()
    assert layer.weight.grad is None


def test_modules_may_refer_to_each_other():
    parent, child = nn.Module(), nn.Module()
    parent.child, child.parent = child, parent
    assert list(parent.modules()) == [parent, child]
    parent.eval()
    assert not child.training


def test_a_tensor_that_would_not_be_trained_is_refused():
    for hide in (lambda x: x), (lambda x: [x]), (lambda x: {"a": (x,)}):
        net = nn.Sequential(nn.Linear(1, 1))
        net.extra = hide(Tensor([1.0], requires_grad=True))
        for use in net.parameters, net.named_parameters, net.state_dict, net.zero_grad:
            with pytest.raises(TypeError, match=r"'extra.*nn\.Parameter"):
                list(use() or [])
    net.extra = net[0].weight * 2  # computed, as a cached value may be
    assert len(list(net.parameters())) == 2


class Plain:
    """An object that is not a module."""

    def __init__(self, part):
        self.part = part


@dataclasses.dataclass(slots=True)
class Slotted:
    part: object


HIDING_PLACES = {
    "set": lambda part: {part},
    "frozenset": lambda part: frozenset([part]),
    "deque": lambda part: collections.deque([part]),
    "ndarray": lambda part: np.fromiter([None, part], object),
    "UserList": lambda part: collections.UserList([part]),
    "UserDict": lambda part: collections.UserDict(a=[part]),
    "mappingproxy": lambda part: types.MappingProxyType({"a": part}),
    "keys of a dict": lambda part: {part: 1.0},
    "values of a dict": lambda part: {"a": part}.values(),
    "set in a list": lambda part: [0, {part}],
    "Plain": Plain,
    "list in an object": lambda part: Plain([part]),
    "Slotted": Slotted,
}
PARTS = {
    "module": lambda: nn.Dropout(0.5),
    "parameter": lambda: nn.Parameter([1.0]),
    "frozen parameter": lambda: nn.Parameter([1.0], requires_grad=False),
    "tensor": lambda: Tensor([1.0], requires_grad=True),
}
USES = [
    lambda net: list(net.parameters()),
    lambda net: net.train(),
    lambda net: net.eval(),
    lambda net: net.state_dict(),
    lambda net: nn.set_dropout(net, 0.5),
]


@pytest.mark.parametrize("hide", HIDING_PLACES.values(), ids=HIDING_PLACES)
@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
def test_a_part_where_it_is_not_found_is_an_error(hide, part):
    net = nn.Sequential(nn.Dropout(0.25))
    net.hidden = nn.Module()
    net.hidden.parts = hide(part())
    for use in USES:
        with pytest.raises(
            TypeError, match=r"attribute 'parts' of Module.*lists, tuples and dicts"
        ):
            use(net)
    assert net[0].training
    assert net[0].p == 0.25


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
def test_a_part_in_a_class_or_in_slots_is_an_error(part):
    class OfClass(nn.Module):
        table = {"head": part()}  # noqa: RUF012

    class Inheriting(OfClass):
        pass

    class WithSlots(nn.Module):
        __slots__ = ("table", "unset")

        def __init__(self):
            self.table = [part()]

    for net, place in (OfClass(), "class"), (Inheriting(), "class"), (WithSlots(), "__slots__"):
        for use in USES:
            with pytest.raises(TypeError, match=rf"{place}.* 'table'.*__init__"):
                use(nn.Sequential(net, nn.Dropout()))
    net = OfClass()
    net.table = {"head": nn.Linear(1, 1)}  # stands before the class's
    assert len(list(net.parameters())) == 2


def test_what_is_found_may_be_elsewhere_too():
    net = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    net.frozen, net.latest = {net[0].weight}, collections.deque([net[1]])
    net.rates, net.optimizer = {net[1]: 0.5}, SGD(net.parameters(), lr=0.1)
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias"]


def test_a_dataclass_may_have_modules_as_defaults():
    @dataclasses.dataclass(eq=False)
    class Net(nn.Module):
        activation: nn.Module = nn.ReLU()  # noqa: RUF009

    for net in Net(), Net(nn.Dropout()):
        assert list(net.eval().modules()) == [net, net.activation]
        assert not net.activation.training


def test_other_attributes_are_no_error():
    teacher = nn.Linear(2, 2)
    net = nn.Module()
    net.tags, net.names, net.cells = {"a", 1}, np.array(["a", None], object), Plain([1.0])
    net.rng, net.lock, net.kind = np.random.default_rng(0), threading.Lock(), nn.Linear
    net.graph = Plain({"next": {}})
    net.graph.part["next"]["next"] = net.graph.part  # a circle
    net.later, net.library, net.teacher = (nn.Linear(1, 1) for _ in "ab"), nn, lambda x: teacher(x)
    assert list(net.eval().parameters()) == []


def test_a_parameter_is_not_replaced_by_what_would_not_be_trained():
    layer = nn.Linear(2, 2)
    for wrong in np.ones((2, 2)), Tensor(np.ones((2, 2))), layer.weight * 2, [[1.0]]:
        with pytest.raises(TypeError, match=r"Linear\.weight is a Parameter.*\.data"):
            layer.weight = wrong
    layer.weight = nn.Parameter(np.ones((2, 2)))
    layer.bias = None
    assert layer.state_dict().keys() == {"weight"}
    with no_grad():
        layer.weight += 1
    assert isinstance(layer.weight, nn.Parameter)


def test_parameter():
    array = np.ones(2)
    assert nn.Parameter(array).data is array
    assert nn.Parameter(array).requires_grad
    assert not nn.Parameter(array, requires_grad=False).requires_grad
    with pytest.raises(TypeError, match="detach"):
        nn.Parameter(Tensor(array, requires_grad=True) * 2)
    for wrong in [1, 2], ["a"], [1j]:
        with pytest.raises(TypeError):
            nn.Parameter(wrong)


def test_train_and_eval_reach_every_module():
    block = Block()
    assert block.eval() is block
    assert [module.training for module in block.modules()] == [False] * 6
    assert block.train() is block
    assert [module.training for module in block.modules()] == [True] * 6
    block.listed[1].eval()  # one module may have a mode of its own
    assert [module.training for module in block.modules()].count(False) == 1
    assert nn.Linear(1, 1).training
    assert block.train(np.bool_(False)).training is False
    for wrong in np.ones((3, 2)), "eval", None, 1:
        with pytest.raises(TypeError, match="True or False"):
            block.train(wrong)


def test_zero_grad_forgets_all_gradients():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    net(np.ones((3, 2))).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_frozen_parameters_get_no_gradient_and_the_others_the_same():
    x = np.ones((3, 2))
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    net(x).sum().backward()
    expected = net[2].weight.grad.copy()
    net.zero_grad()
    for parameter in net[0].parameters():
        parameter.requires_grad_(False)
    net(x).sum().backward()
    assert net[0].weight.grad is None
    np.testing.assert_array_equal(net[2].weight.grad, expected)
    assert len(net.state_dict()) == 4  # still saved
    net[0].weight.requires_grad_(True)
    net(x).sum().backward()
    assert net[0].weight.grad is not None


def test_a_module_without_forward_says_so():
    with pytest.raises(NotImplementedError, match=r"Block does not define forward\(\)"):
        Block()(1.0)


def test_call_passes_everything_to_forward():
    class Scale(nn.Module):
        def forward(self, x, factor, *, shift):
            return x * factor + shift

    assert Scale()(2.0, 3.0, shift=4.0) == 10.0


def test_repr_is_nested_as_pytorchs():
    net = nn.Sequential(nn.Linear(2, 3, bias=False), nn.Sequential(nn.ReLU(), nn.Dropout(0.25)))
    assert repr(net) == (
        "Sequential(\n"
        "  (0): Linear(in_features=2, out_features=3, bias=False)\n"
        "  (1): Sequential(\n"
        "    (0): ReLU()\n"
        "    (1): Dropout(p=0.25)\n"
        "  )\n"
        ")"
    )
    assert "(listed.1): Dropout(p=0.5)\n" in repr(Block())
    assert repr(nn.Sequential()) == "Sequential()"
    assert repr(nn.MSELoss()) == "MSELoss()"


def test_children_are_those_of_the_module_itself():
    block = Block()
    assert [name for name, _ in block.named_children()] == [
        "first", "listed.0", "listed.1", "table.b.0", "table.b.1.0",
    ]  # fmt: skip
    layer = nn.Linear(1, 1)
    net = nn.Sequential(layer, nn.Sequential(nn.ReLU(), layer), layer)
    assert list(net.children()) == [layer, net[1]]


def test_apply_visits_each_module_once_and_what_is_below_first():
    net = nn.Sequential(nn.Sequential(nn.ReLU(), nn.Dropout()), nn.Linear(1, 1))
    net[0].parent = net
    visited = []
    assert net.apply(visited.append) is net
    assert visited == [net[0][0], net[0][1], net[0], net[1], net]


def test_register_buffer():
    net = nn.Module()
    net.register_buffer("mean", np.zeros(2))
    assert isinstance(net.mean, nn.Buffer)
    assert net.state_dict().keys() == {"mean"}
    net.register_buffer("later", None)
    assert net.later is None
    for name, error in ("mean", ValueError), ("a.b", ValueError), ("", ValueError), (1, TypeError):
        with pytest.raises(error):
            net.register_buffer(name, np.zeros(2))


def test_freezing_a_part():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    assert net[0].requires_grad_(False) is net[0]
    assert [p.requires_grad for p in net.parameters()] == [False, False, True, True]
    net.requires_grad_()
    assert all(p.requires_grad for p in net.parameters())


# ------------------------------------------------------------------------------------ state dicts


def small_net():
    return nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1, dtype=np.float64))


def test_a_state_dict_is_a_copy():
    net = small_net()
    before = net.state_dict()
    assert [(name, value.dtype, value.shape) for name, value in before.items()] == [
        ("0.weight", np.float32, (3, 2)), ("0.bias", np.float32, (3,)),
        ("2.weight", np.float64, (1, 3)), ("2.bias", np.float64, (1,)),
    ]  # fmt: skip
    before["0.weight"][...] = 7
    assert not (net[0].weight.data == 7).any()
    loaded = {name: np.full_like(value, 2) for name, value in before.items()}
    net.load_state_dict(loaded)
    loaded["0.weight"][...] = 9
    assert (net[0].weight.data == 2).all()


def test_a_state_dict_survives_a_file(tmp_path):
    net, other = small_net(), small_net()
    np.savez(tmp_path / "net.npz", **net.state_dict())
    with np.load(tmp_path / "net.npz") as file:
        other.load_state_dict(file)
    x = np.ones((2, 2))
    np.testing.assert_array_equal(net(x).data, other(x).data)


def test_loading_keeps_parameters_their_memory_and_dtype():
    net = small_net()
    held = list(net.parameters())
    arrays = [p.data for p in held]
    net.load_state_dict(
        {name: value.astype(np.float64) for name, value in net.state_dict().items()}
    )
    assert all(a is b for a, b in zip(net.parameters(), held, strict=True))
    assert all(p.data is array for p, array in zip(net.parameters(), arrays, strict=True))
    assert net[0].weight.dtype == np.float32
    tensors = {name: nn.Parameter(np.zeros_like(v)) for name, v in net.state_dict().items()}
    net.load_state_dict(tensors)
    assert not net[0].weight.data.any()


def test_entries_may_be_the_parameters_own_arrays():
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    first, second = net.state_dict().values()
    net.load_state_dict({"0.weight": net[1].weight.data, "1.weight": net[0].weight.data})
    np.testing.assert_array_equal(net[0].weight.data, second)
    np.testing.assert_array_equal(net[1].weight.data, first)


def test_loading_refuses_with_all_problems_listed_and_changes_nothing():
    net = small_net()
    before = net.state_dict()
    state = {
        "0.weight": np.zeros((2, 3)),
        "0.bias": ["a", "b", "c"],
        "2.weight": np.zeros((1, 3)),
        "extra": np.zeros(1),
    }
    with pytest.raises(ValueError, match="nothing was changed") as error:
        net.load_state_dict(state)
    for problem in (
        "missing: 2.bias", "unknown: extra", "0.weight: shape (2, 3), expected (3, 2)",
        "0.bias: dtype",
    ):  # fmt: skip
        assert problem in str(error.value)
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize(
    "bias", [["a", "b", "c"], [1j, 0, 0], [None] * 3, [True] * 3, [0.0] * 2, [[0.0] * 3], 0.0, None]
)
def test_loading_refuses_an_entry(bias):
    net = small_net()
    state = net.state_dict()
    with pytest.raises(ValueError, match=r"0\.bias: (shape|dtype)"):
        net.load_state_dict({**state, "0.bias": bias})


def test_loading_some_entries():
    net = small_net()
    before = net.state_dict()
    keys = net.load_state_dict({"0.bias": [1, 2, 3], "head": 1}, strict=False)
    assert keys == (["0.weight", "2.weight", "2.bias"], ["head"])
    assert keys.missing_keys == ["0.weight", "2.weight", "2.bias"]
    after = net.state_dict()
    np.testing.assert_array_equal(after.pop("0.bias"), [1, 2, 3])
    for name, value in after.items():
        np.testing.assert_array_equal(value, before[name])
    with pytest.raises(ValueError, match=r"0\.bias: shape"):
        net.load_state_dict({"0.bias": [1, 2], "2.bias": [7.0]}, strict=False)
    assert net[2].bias.data != 7
    assert net.load_state_dict(net.state_dict()) == ([], [])
    with pytest.raises(TypeError, match="strict is True or False, got 'no'"):
        net.load_state_dict({}, strict="no")


def test_pytorchs_tensors_are_loaded():
    torch = pytest.importorskip("torch")
    theirs, ours = torch.nn.Linear(3, 2), nn.Linear(3, 2)
    ours.load_state_dict(theirs.state_dict())
    np.testing.assert_array_equal(ours.weight.data, theirs.weight.detach().numpy())
    theirs = theirs.to(torch.bfloat16)
    ours.load_state_dict(theirs.state_dict())
    np.testing.assert_array_equal(ours.weight.data, theirs.weight.detach().float().numpy())
    back = {name: torch.from_numpy(value) for name, value in ours.state_dict().items()}
    torch.nn.Linear(3, 2).load_state_dict(back)


def test_loading_refuses_what_is_no_mapping():
    for wrong in "net.npz", [("0.weight", 1)], None, small_net():
        with pytest.raises(TypeError, match=r"mapping.*checkpoint\.load reads a file"):
            small_net().load_state_dict(wrong)


def test_loading_invalidates_an_older_loss():
    net = small_net()
    loss = net(np.ones((2, 2))).sum()
    version = net[2].weight.version
    net.load_state_dict(net.state_dict())
    assert net[2].weight.version > version
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()
    net(np.ones((2, 2))).sum().backward()


# -------------------------------------------------------------------------------- copies, pickles


@pytest.mark.parametrize("duplicate", [copy.deepcopy, by_pickle])
def test_a_copy_of_a_model_is_independent_and_draws_the_same_masks(duplicate):
    net = nn.Sequential(
        nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5, rng=np.random.default_rng(0)), nn.Linear(8, 2)
    )
    x = np.ones((3, 4))
    net(x).sum().backward()
    other = duplicate(net.eval())
    assert repr(other) == repr(net)
    assert not other[2].training
    np.testing.assert_array_equal(other(x).data, net(x).data)
    np.testing.assert_array_equal(other[0].weight.grad, net[0].weight.grad)
    np.testing.assert_array_equal(other[2].mask, net[2].mask)
    net.train(), other.train()
    assert other[2].rng is not net[2].rng
    np.testing.assert_array_equal(other(x).data, net(x).data)
    with no_grad():
        for parameter in other.parameters():
            parameter += 1
    assert (other[0].weight.data - net[0].weight.data > 0.5).all()
    other.zero_grad()
    assert net[0].weight.grad is not None
    assert all(isinstance(p, nn.Parameter) and p.requires_grad for p in other.parameters())


@pytest.mark.parametrize("duplicate", [copy.deepcopy, by_pickle])
def test_what_is_shared_stays_shared_in_a_copy(duplicate):
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    second.weight = first.weight
    rng = np.random.default_rng(0)
    net = nn.Sequential(first, second, first, nn.Dropout(rng=rng), nn.Dropout(rng=rng))
    other = duplicate(net)
    assert other[0].weight is other[1].weight
    assert other[0] is other[2]
    assert other[0].weight is not first.weight
    assert other[3].rng is other[4].rng


@pytest.mark.parametrize(
    ("bias", "words"),
    [
        (np.full(2, 1e300), "bias: numbers beyond the range of float32"),
        ([[1.0], [2.0, 3.0]], "bias: "),
    ],
)
def test_an_entry_that_does_not_fit_changes_nothing(bias, words):
    layer = nn.Linear(2, 2)
    before = layer.state_dict()
    with pytest.raises(ValueError, match=words):
        layer.load_state_dict({"weight": np.full((2, 2), 7.0), "bias": bias})
    np.testing.assert_array_equal(layer.weight.data, before["weight"])


def test_a_read_only_parameter_refuses_a_load_before_anything_is_changed():
    layer = nn.Linear(2, 2)
    layer.bias = nn.Parameter(np.broadcast_to(np.float32(0), (2,)))
    before = layer.state_dict()
    with pytest.raises(ValueError, match="bias: the parameter's array is read-only"):
        layer.load_state_dict({"weight": np.full((2, 2), 7.0), "bias": np.ones(2)})
    np.testing.assert_array_equal(layer.weight.data, before["weight"])


def test_two_parameters_of_one_name_are_refused():
    net = nn.Module()
    net.parts = {1: nn.Parameter(np.zeros(1)), "1": nn.Parameter(np.zeros(1))}
    with pytest.raises(ValueError, match=r"two parameters have the name 'parts\.1'"):
        list(net.parameters())


def test_the_search_asks_no_object_for_attributes_that_it_has_not():
    class Forwarding:
        def __getattr__(self, name):
            raise KeyError(name)  # instead of an AttributeError

    net = nn.Sequential(nn.Linear(1, 1))
    net.table = Forwarding()
    assert len(list(net.parameters())) == 2


@pytest.mark.parametrize("use", USES)
def test_a_part_in_a_partial_function_is_an_error(use):
    net = nn.Sequential(nn.Dropout())
    for held in functools.partial(nn.Linear(1, 1)), functools.partial(map, nn.Linear(1, 1)):
        net.held = held
        with pytest.raises(TypeError, match=r"'held'.*partial, holds a Linear"):
            use(net)
