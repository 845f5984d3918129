"""Layers, losses, optimizers and states on a device: as on the host, without a look at numbers."""

import numpy as np
import pytest
from device_array import DeviceArray, on_host
from device_cases import LAYERS, LOSSES, OPTIMIZERS, on_device

from microgrand import Tensor, manual_seed, nn, optim
from microgrand.nn import functional as F

# ------------------------------------------------------------------------ layers and losses


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    make, shape = LAYERS[name]
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    found = []
    for place in (lambda module: module, on_device):
        manual_seed(0)
        layer = place(make())
        DeviceArray.looks = 0
        out = layer(x if place is not on_device else DeviceArray(x))
        out = out[0] if isinstance(out, tuple) else out
        np.sum(np.square(out)).backward()
        assert DeviceArray.looks == 0
        found.append(
            [on_host(value) for value in [out.data, *(p.grad for p in layer.parameters())]]
        )
    for here, there in zip(*found, strict=True):
        np.testing.assert_allclose(there, here, rtol=1e-4, atol=1e-5)


WORDS = np.array([[0, 2, 2], [1, 0, 3]])


def test_embedding():
    manual_seed(0)
    here = nn.Embedding(4, 3)
    manual_seed(0)
    there = on_device(nn.Embedding(4, 3))
    np.sum(np.square(here(WORDS))).backward()
    np.sum(np.square(there(DeviceArray(WORDS)))).backward()
    np.testing.assert_allclose(on_host(there.weight.grad), here.weight.grad, rtol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name):
    loss, shape, target, looks = LOSSES[name]
    x = np.random.default_rng(0).standard_normal(shape)
    here, there = Tensor(x, requires_grad=True), Tensor(DeviceArray(x), requires_grad=True)
    loss(here, target).backward()
    DeviceArray.looks = 0
    loss(there, DeviceArray(target)).backward()
    assert DeviceArray.looks <= looks
    np.testing.assert_allclose(on_host(there.grad), here.grad, rtol=1e-6, atol=1e-12)


# ----------------------------------------------------------------------------- optimizers


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_optimizers(make):
    start = np.random.default_rng(0).standard_normal((3, 2)).astype(np.float32)
    here, there = Tensor(start.copy(), requires_grad=True), Tensor(
        DeviceArray(start.copy()), requires_grad=True
    )  # fmt: skip
    for weight in (here, there):
        optimizer = make([weight])
        DeviceArray.looks = 0
        for _ in range(3):
            optimizer.zero_grad()
            np.sum(weight**4).backward()
            optimizer.step()
        assert DeviceArray.looks == 0
    np.testing.assert_allclose(on_host(there.data), here.data, rtol=1e-5)


def test_a_net_learns_on_the_device():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 2)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] > 0).astype(int)
    manual_seed(1)
    net = on_device(nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2)))
    optimizer = optim.Adam(net.parameters(), lr=0.05)
    x, y = DeviceArray(x), DeviceArray(y)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3


# --------------------------------------------------------------------------------- states


@pytest.mark.parametrize("there", [False, True])
def test_states_are_loaded_where_the_parameters_are(there):
    def trained(net):
        optimizer = optim.Adam(net.parameters(), lr=0.1)
        for parameter in net.parameters():
            parameter.grad = np.ones_like(parameter.data)
        optimizer.step()
        return net, optimizer

    kinds = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    source, optimizer = trained(on_device(kinds) if there else kinds)
    net = on_device(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)))
    other = optim.Adam(net.parameters())
    net.load_state_dict(source.state_dict())
    other.load_state_dict(optimizer.state_dict())
    expected = source.state_dict()
    for name, value in net.state_dict().items():
        assert type(value) is DeviceArray
        np.testing.assert_array_equal(on_host(value), on_host(expected[name]), strict=True)
    for name, arrays in optimizer.memory.items():
        for mine, array in zip(other.memory[name], arrays, strict=True):
            assert type(mine) is DeviceArray
            np.testing.assert_array_equal(on_host(mine), on_host(array), strict=True)


@pytest.mark.parametrize("wrap", [DeviceArray, lambda x: Tensor(DeviceArray(x))])
def test_a_state_of_the_device_is_not_loaded_on_the_host(wrap):
    net = nn.Linear(1, 1)
    before = net.state_dict()
    state = {"weight": [[1.0]], "bias": wrap(np.ones(1))}
    with pytest.raises(ValueError, match=r"bias: .*DeviceArray.*host first, as by x\.get\(\)"):
        net.load_state_dict(state)
    np.testing.assert_equal(net.state_dict(), before)


@pytest.mark.parametrize("order", [1, 2, 3.5, np.inf])
def test_clipped_norms_are_computed_on_the_device(order):
    def clipped(there):
        leaves = [Tensor(there(np.ones(shape)), requires_grad=True) for shape in [(2, 3), (0,)]]
        for leaf in leaves:
            leaf.grad = there(np.arange(leaf.size, dtype=float).reshape(leaf.shape))
        DeviceArray.looks = DeviceArray.moves = 0
        norm = nn.utils.clip_grad_norm_(leaves, 0.1, norm_type=order)
        assert DeviceArray.looks == DeviceArray.moves == 0
        return [norm, *(leaf.grad for leaf in leaves)]

    for found, expected in zip(clipped(DeviceArray), clipped(np.asarray), strict=True):
        assert type(found) is DeviceArray
        np.testing.assert_allclose(on_host(found), expected)
