"""Parameters that are in several places: their names in states, files and calls."""

import importlib.util

import numpy as np
import pytest
from compiled import assert_runs_as_eager

from microgrand import Tensor, checkpoint, grad, nn
from microgrand.nn.utils import functional_call


class Tied(nn.Module):
    def __init__(self):
        self.embedding = nn.Embedding(5, 2)
        self.output = nn.Linear(2, 5, bias=False)
        self.output.weight = self.embedding.weight

    def forward(self, words):
        return self.output(self.embedding(words))


@pytest.mark.parametrize("names", [["embedding"], ["output"], ["embedding", "output"]])
def test_a_shared_parameter_is_loaded_by_any_of_its_names(names):
    net, values = Tied(), np.arange(10.0).reshape(5, 2)
    keys = net.load_state_dict({f"{name}.weight": values for name in names})
    assert (keys.missing_keys, keys.unexpected_keys) == ([], [])
    np.testing.assert_array_equal(net.output.weight.data, values)
    assert net.output.weight is net.embedding.weight


def test_a_shared_parameter_is_not_loaded_with_two_values():
    net, values = Tied(), np.arange(10.0).reshape(5, 2)
    before = net.state_dict()
    message = "output.weight: other values than embedding.weight, and the module has one parameter"
    state = {"embedding.weight": values, "output.weight": values + 1}
    for strict in (True, False):
        with pytest.raises(ValueError, match=message):
            net.load_state_dict(state, strict)
    with pytest.raises(ValueError, match=r"missing: embedding\.weight"):
        net.load_state_dict({})
    np.testing.assert_array_equal(net.embedding.weight.data, before["embedding.weight"])


def pair():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    return net


def values_of(net):
    return {name: p.data for name, p in net.named_parameters()}


def test_a_state_has_a_shared_parameter_by_each_of_its_names():
    net = Tied()
    state = net.state_dict()
    assert list(state) == ["embedding.weight", "output.weight"]
    assert state["embedding.weight"] is state["output.weight"]
    assert state["embedding.weight"] is not net.embedding.weight.data
    assert [name for name, _ in net.named_parameters()] == ["embedding.weight"]
    assert Tied().load_state_dict(state) == ([], [])


def test_a_shared_module_has_each_of_its_names_in_a_state():
    layer = nn.Linear(2, 2)
    net = nn.Sequential(layer, nn.Sequential(layer), nn.ReLU())
    names = ["0.weight", "0.bias", "1.0.weight", "1.0.bias"]
    assert list(net.state_dict()) == names
    assert [name for name, _ in net.named_modules()] == ["", "0", "1", "2"]
    assert [name for name, _ in net.named_modules(remove_duplicate=False)] == [
        "", "0", "1", "1.0", "2",
    ]  # fmt: skip
    values = {name: np.full_like(value, 7) for name, value in net.state_dict().items()}
    for given in values, dict(list(values.items())[:2]), dict(list(values.items())[2:]):
        layer.weight.data[...] = 0
        assert net.load_state_dict(given) == ([], [])
        assert (layer.weight.data == 7).all()


def test_modules_that_refer_to_each_other_have_a_state():
    parent, child = nn.Module(), nn.Linear(1, 1, bias=False)
    parent.child, child.parent = child, parent
    assert list(parent.state_dict()) == ["child.weight"]
    assert list(child.state_dict()) == ["weight"]


def test_states_go_to_pytorch_and_back():
    torch = pytest.importorskip("torch")

    class Theirs(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = torch.nn.Embedding(5, 2)
            self.output = torch.nn.Linear(2, 5, bias=False)
            self.output.weight = self.embedding.weight

    ours, theirs = Tied(), Theirs()
    assert ours.load_state_dict(theirs.state_dict()) == ([], [])
    np.testing.assert_array_equal(ours.output.weight.data, theirs.output.weight.detach().numpy())
    ours.output.weight.data[...] = 7
    theirs.load_state_dict({k: torch.from_numpy(v) for k, v in ours.state_dict().items()})
    assert (theirs.embedding.weight == 7).all()


ENDINGS = ["npz"]
if all(map(importlib.util.find_spec, ("safetensors", "ml_dtypes"))):
    ENDINGS.append("safetensors")


@pytest.mark.parametrize("ending", ENDINGS)
def test_files_have_each_name_and_those_with_one_are_loaded(tmp_path, ending):
    net, other = Tied(), Tied()
    path = tmp_path / f"net.{ending}"
    for given in (
        net,  # as from PyTorch's state_dict(), or safetensors.torch.save_model
        {"embedding.weight": net.embedding.weight, "output.weight": net.embedding.weight},
        {"embedding.weight": net.embedding.weight},
        {"output.weight": net.embedding.weight},
    ):
        checkpoint.save(path, model=given)
        other.output.weight.data[...] = 0
        content = checkpoint.load(path, model=other)
        np.testing.assert_array_equal(other.embedding.weight.data, net.embedding.weight.data)
        assert content["model"].keys() == (net.state_dict() if given is net else given).keys()


@pytest.mark.skipif("safetensors" not in ENDINGS, reason="needs the extra safetensors")
def test_safetensors_have_an_array_once_as_pytorchs_side_writes_them(tmp_path):
    import safetensors

    path, x = tmp_path / "net.safetensors", np.arange(6.0)
    given = {"a": x, "b": x[:], "turned": x.reshape(2, 3), "part": x[:3], "c": x, "d": x.copy()}
    given |= {"none": np.zeros(0), "nothing": np.zeros(0), "format": x}
    checkpoint.save(path, model=given, extra=[x, x])
    with safetensors.safe_open(path, "numpy") as file:
        assert sorted(file.keys()) == sorted(given.keys() - {"b", "c"})
        assert file.metadata().items() >= {"b": "a", "c": "a"}.items()
    content = checkpoint.load(path)
    assert content["model"].keys() == given.keys()
    for name, value in given.items():
        np.testing.assert_array_equal(content["model"][name], value)
    np.testing.assert_array_equal(content["extra"], [x, x])


@pytest.mark.skipif("safetensors" not in ENDINGS, reason="needs the extra safetensors")
def test_pytorchs_side_of_safetensors_reads_tied_weights_and_writes_them(tmp_path):
    torch = pytest.importorskip("torch")
    import safetensors.torch

    theirs, ours = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)), pair()
    theirs[1].weight = theirs[0].weight
    safetensors.torch.save_model(theirs, tmp_path / "net.safetensors")
    checkpoint.load(tmp_path / "net.safetensors", model=ours)
    for name, value in theirs.state_dict().items():
        np.testing.assert_array_equal(ours.state_dict()[name], value)
    ours[1].weight.data[...] = 7
    checkpoint.save(tmp_path / "back.safetensors", model=ours)
    safetensors.torch.load_model(theirs, tmp_path / "back.safetensors")
    assert (theirs[0].weight == 7).all()


# ------------------------------------------------------------------------------- functional_call


@pytest.mark.parametrize("names", [["embedding"], ["output"], ["embedding", "output"]])
def test_a_call_takes_any_of_the_names(names):
    net, value = Tied(), np.arange(10, dtype=np.float32).reshape(5, 2)
    expected = value[[1]] @ value.T
    for given in value, Tensor(value):
        found = functional_call(net, {f"{name}.weight": given for name in names}, [1])
        np.testing.assert_array_equal(found.data, expected)
    given = {f"{name}.weight": value.copy() for name in names}
    np.testing.assert_array_equal(functional_call(net, given, [1]).data, expected)


def test_the_gradient_is_that_of_all_places():
    net = Tied()
    (net([1, 2]) ** 2).sum().backward()
    for name in "embedding.weight", "output.weight":

        def loss(parameters):
            return np.sum(functional_call(net, parameters, [1, 2]) ** 2)

        found = grad(loss)({name: net.embedding.weight.data})
        np.testing.assert_allclose(found[name], net.embedding.weight.grad, rtol=1e-6)
    one = Tensor(net.embedding.weight.data, requires_grad=True)
    loss({"embedding.weight": one, "output.weight": one}).backward()
    np.testing.assert_allclose(one.grad, net.embedding.weight.grad, rtol=1e-6)


def test_two_values_for_one_parameter_are_refused():
    net = Tied()
    state = {name: value.copy() for name, value in net.state_dict().items()}
    state["output.weight"][0, 0] += 1
    with pytest.raises(ValueError, match=r"'embedding\.weight' and 'output\.weight' are.*two v"):
        functional_call(net, state, [1])
    state["output.weight"][...] = state["embedding.weight"][...] = np.nan
    assert np.isnan(functional_call(net, state, [1]).data).all()


def test_two_tensors_of_which_one_would_get_the_gradient_are_refused():
    net = Tied()

    def loss(parameters):
        return np.sum(functional_call(net, parameters, [1]) ** 2)

    with pytest.raises(ValueError, match=r"leave 'output\.weight' out, as dict\(module\.named_par"):
        grad(loss)(net.state_dict())
    assert grad(loss)(values_of(net)).keys() == {"embedding.weight"}


def test_a_compiled_call_compares_the_values_in_each_run():
    net = Tied()
    state = net.state_dict()

    def call(scale, other):
        given = state["embedding.weight"]
        both = {"embedding.weight": given * scale, "output.weight": given * other}
        return functional_call(net, both, [1]).data

    number = [lambda i: np.float32(i), lambda i: np.float32(i)]
    program = assert_runs_as_eager(call, *number)
    with pytest.raises(ValueError, match="two values were given"):
        program(np.float32(1), np.float32(2))
