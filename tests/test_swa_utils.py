"""Averages of weights: the formula, compiled steps, PyTorch, misuse."""

import numpy as np
import pytest
from compiled import assert_same_bits
from hypothesis import given
from hypothesis import strategies as st

from microgrand import compile, manual_seed, nn, optim
from microgrand.optim.swa_utils import AveragedModel, get_ema_avg_fn


def weights(number, dtype):
    return np.random.default_rng(number).normal(size=(2, 3)).astype(dtype)


@given(
    st.none() | st.floats(0, 0.999), st.integers(0, 5), st.sampled_from([np.float32, np.float64])
)
def test_averages_are_the_formula(decay, updates, dtype):
    net = nn.Linear(3, 2, dtype=dtype)
    net.weight.data = weights(7, dtype)
    ema = AveragedModel(net, None if decay is None else get_ema_avg_fn(decay))
    expected, seen = net.weight.data.copy(), []
    for number in range(updates):
        net.weight.data = weights(number, dtype)
        seen.append(net.weight.data.astype(float))
        ema.update_parameters(net)
        if decay is not None and number:
            expected = decay * expected + (1 - decay) * seen[-1]
        else:
            expected = np.mean(seen, axis=0)
    assert ema.module.weight.dtype == dtype
    assert ema.n_averaged.item() == updates
    np.testing.assert_allclose(ema.module.weight.data, expected, atol=1e-6, rtol=1e-6)


def train(compiled):
    manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 1))
    optimizer = optim.Adam(net.parameters(), lr=0.1)
    ema = AveragedModel(net, get_ema_avg_fn(0.9))

    def step(x):
        optimizer.zero_grad()
        loss = (net(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        ema.update_parameters(net)
        return loss

    run = compile(step) if compiled else step
    found = []
    for number in range(6):
        found.append([run(np.full((2, 3), number, np.float32)).data.copy(), ema.state_dict()])
    assert not compiled or (run.eager_calls == 0 and len(run.traces) == 1)
    return found


def test_a_compiled_step_averages_with_the_same_bits():
    assert_same_bits(train(True), train(False))


class Counting(nn.Module):
    def __init__(self):
        self.mean, self.count = nn.Buffer(np.zeros(2)), nn.Buffer(0)
        self.weight = nn.Parameter(np.ones(2))

    def forward(self, x):
        return x * self.weight - self.mean


@pytest.mark.parametrize("use_buffers", [False, True])
def test_buffers(use_buffers):
    net = Counting()
    ema = AveragedModel(net, use_buffers=use_buffers)
    for number in (1, 2):
        net.mean.data = np.full(2, float(number))
        net.count.data = np.array(number)
        ema.update_parameters(net)
    assert ema.module.count.item() == 0
    np.testing.assert_array_equal(ema.module.mean.data, 1.5 if use_buffers else 0)


def test_it_is_a_module_of_its_own():
    net = nn.Linear(2, 1)
    net(np.ones((1, 2))).sum().backward()
    ema = AveragedModel(net)
    assert all(p.grad is None for p in ema.parameters())
    assert net.weight.grad is not None
    assert list(ema.state_dict()) == ["n_averaged", "module.weight", "module.bias"]
    np.testing.assert_array_equal(ema(np.ones((1, 2))).data, net(np.ones((1, 2))).data)


def test_averages_are_pytorchs():
    torch = pytest.importorskip("torch")
    theirs, ours = torch.nn.Linear(3, 2), nn.Linear(3, 2)
    ours.load_state_dict(theirs.state_dict())
    swa = torch.optim.swa_utils
    for mine, other in (
        (None, None),
        (get_ema_avg_fn(0.9), swa.get_ema_avg_fn(0.9)),
    ):
        ema, expected = AveragedModel(ours, mine), swa.AveragedModel(theirs, avg_fn=other)
        for number in range(4):
            ours.weight.data = weights(number, np.float32)
            theirs.weight.data = torch.tensor(weights(number, np.float32))
            ema.update_parameters(ours)
            expected.update_parameters(theirs)
        np.testing.assert_allclose(
            ema.module.weight.data, expected.module.weight.detach().numpy(), rtol=1e-5
        )


@pytest.mark.parametrize(
    ("use", "error", "words"),
    [
        (lambda: AveragedModel([nn.ReLU()]), TypeError, "takes a module, got list"),
        (lambda: AveragedModel(nn.ReLU(), 0.9), TypeError, r"get_ema_avg_fn\(0\.999\)"),
        (lambda: get_ema_avg_fn(1), ValueError, r"decay must be in \[0, 1\)"),
        (
            lambda: AveragedModel(nn.Linear(1, 1)).update_parameters(nn.Linear(2, 1)),
            ValueError,
            r"weight of shape \(1, 2\) in the place of weight of shape \(1, 1\)",
        ),
        (
            lambda: AveragedModel(nn.Linear(1, 1)).update_parameters(nn.ReLU()),
            ValueError,
            "0 parameters, expected 2",
        ),
    ],
)
def test_misuse(use, error, words):
    with pytest.raises(error, match=words):
        use()
