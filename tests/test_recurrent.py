"""Recurrent nets: against PyTorch's numbers, derivatives, dropout over time, cells, misuse."""

import numpy as np
import pytest
from compiled import assert_runs_as_eager, assert_same_bits
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch import assert_as_pytorch, flat, recorded_modules

from microgrand import Tensor, compile, nn, no_grad, optim
from microgrand.nn import functional as F
from microgrand.testing import gradcheck

KINDS = [nn.RNN, nn.LSTM, nn.GRU]
CELLS = [nn.RNNCell, nn.LSTMCell, nn.GRUCell]
of_each = pytest.mark.parametrize("kind", KINDS)


@pytest.mark.parametrize(
    "title", recorded_modules("RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell")
)
def test_they_give_what_pytorch_gives(title):
    assert_as_pytorch(title)


# -------------------------------------------------------------------------- derivatives


@of_each
@settings(max_examples=6)
@given(data=st.data())
def test_derivatives(kind, data):
    flags = {name: data.draw(st.booleans()) for name in ("bias", "batch_first", "bidirectional")}
    layers, hidden = data.draw(st.integers(1, 2)), data.draw(st.integers(1, 2))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    net = kind(2, hidden, layers, **flags, dtype=float, rng=rng)
    steps, n = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 2))
    x = rng.normal(size=(n, steps, 2) if flags["batch_first"] else (steps, n, 2))
    start = rng.normal(size=(layers * (1 + flags["bidirectional"]), n, hidden))
    pair = kind is nn.LSTM
    name = data.draw(st.sampled_from(list(net.state_dict())))
    weight = getattr(net, name)
    value = weight.data

    def run(x, weight, *state):
        object.__setattr__(net, name, weight)
        return flat(net(x, state if pair else state[0]))

    assert gradcheck(run, x, value, *[start] * (1 + pair), order=2, mode="fast")


def test_derivatives_of_a_net_of_relus():
    rng = np.random.default_rng(1)
    net = nn.RNN(2, 3, nonlinearity="relu", dtype=float, rng=rng)
    assert gradcheck(lambda x: flat(net(x)), rng.normal(size=(3, 2, 2)), order=2)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_derivatives_of_a_projected_lstm(dropout):
    rng = np.random.default_rng(0)
    net = nn.LSTM(
        2, 3, 2, bidirectional=True, proj_size=2, recurrent_dropout=dropout, dtype=float, rng=rng
    )
    x, h, c = (rng.normal(size=shape) for shape in ((3, 2, 2), (4, 2, 2), (4, 2, 3)))
    run = nn.DropoutMasks().hold(lambda x, h, c: flat(net(x, (h, c))))
    assert gradcheck(run, x, h, c, order=2, mode="fast")
    output, (h_n, c_n) = net(x)
    assert (output.shape, h_n.shape, c_n.shape) == ((3, 2, 4), (4, 2, 2), (4, 2, 3))


def test_a_projected_lstm_of_the_identity_is_an_lstm():
    plain, projected = nn.LSTM(3, 4, dtype=float), nn.LSTM(3, 4, proj_size=3, dtype=float)
    state = plain.state_dict()
    for name in state:
        state[name][3::4] = 0  # the last unit is always 0, and the others do not look at it
    state["weight_hh_l0"][:, 3] = 0
    plain.load_state_dict(state)
    narrow = state | {"weight_hh_l0": state["weight_hh_l0"][:, :3], "weight_hr_l0": np.eye(3, 4)}
    projected.load_state_dict(narrow)
    x = np.random.default_rng(1).normal(size=(5, 2, 3))
    np.testing.assert_allclose(projected(x)[0].data, plain(x)[0].data[..., :3], rtol=1e-12)


def test_a_projected_state_that_is_dropped_has_no_part_in_the_next_step():
    dropped = nn.LSTM(3, 4, proj_size=2, recurrent_dropout=1.0, dtype=float)
    plain = nn.LSTM(3, 4, proj_size=2, dtype=float)
    state = dropped.state_dict()
    plain.load_state_dict(state | {"weight_hh_l0": 0 * state["weight_hh_l0"]})
    x = np.random.default_rng(1).normal(size=(5, 2, 3))
    np.testing.assert_array_equal(dropped(x)[0].data, plain(x)[0].data)


def test_compiled_a_projected_lstm_has_the_same_bits():
    net = nn.LSTM(3, 4, proj_size=2, rng=np.random.default_rng(0))
    x = np.random.default_rng(0).normal(size=(4, 5, 2, 3)).astype(np.float32)

    def step(x):
        net.zero_grad()
        sum(np.sum(np.square(out)) for out in flat(net(x))).backward()
        return [parameter.grad for parameter in net.parameters()]

    assert_runs_as_eager(step, lambda i: x[i])


@of_each
def test_compiled_they_have_the_same_bits(kind):
    rng = np.random.default_rng(0)
    net = kind(3, 4, 2, bidirectional=True, rng=rng)
    x = rng.normal(size=(4, 5, 2, 3)).astype(np.float32)

    def step(x):
        net.zero_grad()
        loss = sum(np.sum(np.square(out)) for out in flat(net(x)))
        loss.backward()
        return loss.detach(), [parameter.grad for parameter in net.parameters()]

    assert_runs_as_eager(step, lambda i: x[i])


# -------------------------------------------------------------------------------- shapes


@of_each
def test_a_sequence_alone_is_one_in_a_batch(kind):
    net = kind(3, 4, 2, dtype=float, rng=np.random.default_rng(0))
    x = np.random.default_rng(1).normal(size=(5, 3))
    batch = [np.squeeze(out, 1) for out in flat(net(x[:, None]))]
    for out, expected in zip(flat(net(x)), batch, strict=True):
        np.testing.assert_array_equal(out.data, expected.data)


@of_each
def test_a_state_is_what_a_longer_sequence_would_go_on_with(kind):
    net = kind(3, 4, dtype=float)
    x = np.random.default_rng(1).normal(size=(6, 2, 3))
    whole, _ = net(x)
    first, state = net(x[:2])
    second, _ = net(x[2:], state)
    np.testing.assert_allclose(np.concatenate([first, second]).data, whole.data, atol=1e-15)


@pytest.mark.parametrize(("cell", "kind"), list(zip(CELLS, KINDS, strict=True)))
def test_a_cell_is_one_step(cell, kind):
    net, step = kind(3, 4, dtype=float), cell(3, 4, dtype=float)
    state = net.state_dict()
    step.load_state_dict({name: state[f"{name}_l0"] for name in step.state_dict()})
    x = np.random.default_rng(1).normal(size=(3, 2, 3))
    _, end = net(x)
    h = None
    for row in x:
        h = step(row, h)
    for one, other in zip(flat(h), flat(end), strict=True):
        np.testing.assert_allclose(one.data, other.data[0], atol=1e-15)


def test_initial_values_are_uniform():
    net = nn.LSTM(10, 100, rng=np.random.default_rng(0))
    for value in net.state_dict().values():
        assert abs(value).max() <= 0.1
        assert abs(value.std() - 0.1 / np.sqrt(3)) < 0.005


# ------------------------------------------------------------------------------- dropout


@of_each
def test_dropout_is_between_layers_and_in_training_only(kind):
    net = kind(3, 8, 2, dropout=0.5, dtype=float, rng=np.random.default_rng(0))
    x = np.random.default_rng(1).normal(size=(5, 4, 3))
    first, second = (flat(net(x)) for _ in range(2))
    assert (first[0].data != second[0].data).any()
    np.testing.assert_array_equal(first[1].data[0], second[1].data[0])  # the layer below
    net.eval()
    np.testing.assert_array_equal(net(x)[0].data, net(x)[0].data)
    assert net.dropout.mask.shape == (5, 4, 8)


@of_each
def test_recurrent_dropout_has_one_mask_for_all_steps(kind):
    rng = np.random.default_rng(0)
    net = kind(3, 8, recurrent_dropout=0.5, dtype=float, rng=rng)
    x = np.random.default_rng(1).normal(size=(5, 4, 3))
    masks = nn.DropoutMasks()
    held = masks.hold(lambda x: net(x)[0])
    found = held(x).data
    assert net.recurrent_dropout.mask.shape == (4, 8)
    kept, h, c = 2.0 * net.recurrent_dropout.mask, np.zeros((4, 8)), np.zeros((4, 8))
    w_ih, w_hh, b_ih, b_hh = (parameter.data for parameter in net.parameters())
    for row, out in zip(x, found, strict=True):
        a, b = row @ w_ih.T + b_ih, (kept * h) @ w_hh.T + b_hh
        gates, last = F.sigmoid(a + b).data, slice(-8, None)
        if kind is nn.RNN:
            h = np.tanh(a + b)
        elif kind is nn.LSTM:
            c = gates[:, 8:16] * c + gates[:, :8] * np.tanh((a + b)[:, 16:24])
            h = gates[:, last] * np.tanh(c)
        else:
            new = np.tanh(a[:, last] + gates[:, :8] * b[:, last])
            h = new + gates[:, 8:16] * (h - new)
        np.testing.assert_allclose(out, h, atol=1e-14)
    np.testing.assert_array_equal(net.eval()(x)[0].data, net(x)[0].data)
    net.train()
    assert gradcheck(held, x[:2], order=2, mode="fast")
    assert repr(net).endswith("(3, 8, recurrent_dropout=0.5)")


@of_each
def test_recurrent_dropout_is_compiled_with_its_masks(kind):
    def make():
        return kind(
            3, 4, 2, bidirectional=True, recurrent_dropout=0.5, rng=np.random.default_rng(0)
        )

    x = np.random.default_rng(1).normal(size=(4, 5, 2, 3)).astype(np.float32)

    def step_of(net):
        def step(x):
            net.zero_grad()
            loss = sum(np.sum(np.square(out)) for out in flat(net(x)))
            loss.backward()
            return loss.detach(), [parameter.grad for parameter in net.parameters()]

        return step

    eager, compiled = step_of(make()), compile(step_of(make()))
    for batch in x:
        assert_same_bits(compiled(batch), eager(batch))
    assert compiled.eager_calls == 0


@of_each
def test_variational_dropout_has_one_mask_for_all_steps(kind):
    net = kind(3, 8, 2, dropout=0.5, variational=True, dtype=float)
    x = np.random.default_rng(1).normal(size=(5, 4, 3))
    net(x)
    assert net.dropout.mask.shape == (1, 4, 8)
    masks = nn.DropoutMasks()
    assert gradcheck(masks.hold(lambda x: net(x)[0]), x[:2, :1], order=2, mode="fast")
    nn.set_dropout(net, 0.25)
    assert "dropout=0.25" in repr(net)


def test_one_layer_has_no_place_for_dropout():
    with pytest.warns(UserWarning, match="there is one only"):
        net = nn.LSTM(3, 4, dropout=0.5)
    assert net.dropout is None


# ------------------------------------------------------------------------------ training


@of_each
def test_it_learns_to_remember(kind):
    rng = np.random.default_rng(0)
    net, head = kind(1, 8, rng=rng), nn.Linear(8, 1, rng=rng)
    optimizer = optim.Adam([*net.parameters(), *head.parameters()], lr=0.03)
    x = rng.choice([-1.0, 1.0], (6, 64, 1))
    for _ in range(150):
        output, _ = net(x)
        loss = nn.functional.mse_loss(head(output[-1]), x[0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2
    with no_grad():
        assert not net(x)[0].requires_grad


# --------------------------------------------------------------------------------- misuse


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: nn.RNN(2, 3, nonlinearity="selu"), ValueError, "'tanh', 'relu'"),
        (lambda: nn.RNN(0, 3), ValueError, "RNN's input_size"),
        (lambda: nn.LSTM(2, 3, bias=1), TypeError, "LSTM's bias"),
        (lambda: nn.GRU(2, 3, 2, dropout=2), ValueError, "from 0 to 1"),
        (lambda: nn.LSTM(2, 3, proj_size=3), ValueError, "proj_size is less than its hidden_size"),
        (lambda: nn.LSTM(2, 3, proj_size=0.5), TypeError, "LSTM's proj_size must be an integer"),
        (
            lambda: nn.LSTM(2, 3, proj_size=1)(np.ones((1, 1, 2)), (np.ones((1, 1, 3)),) * 2),
            ValueError,
            r"a state of shape \(1, 1, 1\)",
        ),
        (lambda: nn.LSTM(2, 3)(np.ones((4, 5, 6))), ValueError, r"\(steps, n, 2\)"),
        (lambda: nn.LSTM(2, 3)(np.ones(2)), ValueError, r"got shape \(2,\)"),
        (lambda: nn.LSTM(2, 3)(np.ones((0, 1, 2))), ValueError, "at least one step"),
        (lambda: nn.LSTM(2, 3)(np.ones((1, 1, 2), int)), TypeError, "floating-point"),
        (lambda: nn.LSTM(2, 3)(np.ones((1, 1, 2)), np.ones((1, 1, 3))), TypeError, "pair"),
        (
            lambda: nn.GRU(2, 3)(np.ones((1, 1, 2)), (np.ones((1, 1, 3)),) * 2),
            TypeError,
            "one state",
        ),
        (
            lambda: nn.GRU(2, 3)(np.ones((1, 4, 2)), np.ones((1, 1, 3))),
            ValueError,
            r"\(1, 4, 3\).*got shape \(1, 1, 3\)",
        ),
        (lambda: nn.GRUCell(2, 3)(np.ones((1, 3))), ValueError, r"\(n, 2\)"),
        (lambda: nn.RNNCell(2, 3)(np.ones(2), np.ones((1, 3))), ValueError, r"\(3,\)"),
    ],
)
def test_what_is_refused(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_a_batch_may_be_empty():
    for kind in KINDS:
        out = flat(kind(2, 3)(np.ones((4, 0, 2))))
        assert out[0].shape == (4, 0, 3)
        assert out[1].shape == (1, 0, 3)
    assert isinstance(nn.GRU(2, 3)(Tensor(np.ones((4, 2))))[0], Tensor)
