"""Recurrences: the three formulas by which a net reads a sequence step by step, each a primitive.

A step takes what the input gives it, ``a[t] = W_ih x[t] + b_ih``, of all steps at once, and the
state before. Backward, the cotangent of the state is carried from step to step the other way; the
weight's gradient is one product of all steps.

Shapes: time first, ``a`` is ``(steps, n, gates * hidden)``, states are ``(n, hidden)``, the weight
``W_hh`` is ``(gates * hidden, hidden)``, all as in PyTorch. The forward pass hands its gates to the
backward pass as constants; where that is to be differentiated again, they are computed anew from
the states, as tensors.

With dropout on the state, a step is given ``kept h`` in the place of h, where ``kept``, ``(n,
hidden)``, is the same at all steps: 0 where a unit is dropped.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dispatch import library_of
from ..engine import Node, defvjp, primitive, sum_of, wider
from ..kinds import Array, Value
from ..traced import in_one_call
from .smooth import logistic


def states_before(start: Value, states: Value) -> Value:
    """Return what each step began with."""
    return np.concatenate([np.expand_dims(start, 0), states[:-1]])


def thinned(h: Value, kept: Array | None) -> Value:
    """Drop units of a state, or of states."""
    return h if kept is None else h * kept


def weight_gradient(g: Value, states: Value) -> Value:
    """Sum ``g[t]^T h[t]`` over steps and batch: one product of matrices."""
    rows = g.shape[0] * g.shape[1]
    return np.reshape(g, (rows, -1)).T @ np.reshape(states, (rows, states.shape[-1]))


def bias_gradient(g: Value) -> Value:
    """Sum over steps and batch."""
    rows = np.reshape(g, (g.shape[0] * g.shape[1], -1))
    return sum_of(rows, axis=0, dtype=wider(g.dtype, len(rows)))


def in_gates(x: Value, gates: int) -> Value:
    """Split the last axis, ``gates * hidden``, in two."""
    return np.reshape(x, (*x.shape[:-1], gates, x.shape[-1] // gates))


# ---------------------------------------------------------------------------- the simple one


@in_one_call
def run_rnn(a: Array, h: Array, weight: Array, kept: Array | None, nonlinearity: str) -> Array:
    """Run ``h[t] = f(a[t] + W_hh h[t-1])``; return all states."""
    states = np.empty((*a.shape[:2], h.shape[-1]), a.dtype, like=library_of(a))
    for t in range(len(a)):
        h = a[t] + thinned(h, kept) @ weight.T
        h = states[t] = np.tanh(h) if nonlinearity == "tanh" else np.maximum(h, 0)
    return states


@primitive
def rnn(a: Value, h: Value, weight: Value, kept: Array | None, nonlinearity: str) -> Value:
    """Return the states ``(steps, n, hidden)`` of ``h[t] = f(a[t] + W_hh h[t-1])``."""
    return run_rnn(a, h, weight, kept, nonlinearity)


@in_one_call
def carry_rnn(g: Value, slopes: Value, weight: Value, kept: Array | None) -> tuple[Value, Value]:
    """Carry cotangents back: return those of ``a`` and of the first state."""
    carried = g[0] * 0
    found = []
    for t in range(len(g) - 1, -1, -1):
        found.append((g[t] + carried) * slopes[t])
        carried = thinned(found[-1] @ weight, kept)
    return np.stack(found[::-1]), carried


def rnn_vjp(
    g: Value, out: Value, needed: Any,
    a: Value, h: Value, weight: Value, kept: Array | None, nonlinearity: str,
) -> Any:  # fmt: skip
    """``tanh' = 1 - tanh^2``."""
    slopes = 1 - np.square(out) if nonlinearity == "tanh" else np.greater(out, 0).astype(out.dtype)
    g_a, g_h = carry_rnn(g, slopes, weight, kept)
    before = thinned(states_before(h, out), kept)
    return g_a, g_h, weight_gradient(g_a, before) if needed[2] else None, None, None


defvjp(rnn, joint=rnn_vjp)

# ------------------------------------------------------------------------------------ LSTM


@in_one_call
def run_lstm(
    a: Array, h: Array, c: Array, weight: Array, kept: Array | None
) -> tuple[Array, Array]:
    """Run an LSTM; return its states, h and c of each step, and its gates, each in a row of memory.

    The sigmoid is a tanh: ``sigmoid(x) = tanh(x / 2) / 2 + 1 / 2``. So one call computes all gates.
    """
    steps, n = a.shape[:2]
    hidden = h.shape[-1]
    place = library_of(a)
    scale = np.array([0.5, 0.5, 1, 0.5], a.dtype, like=place).reshape(4, 1, 1)
    gates = np.reshape(a, (steps, n, 4, hidden)).swapaxes(1, 2)
    gates = np.multiply(gates, scale, out=np.empty(gates.shape, a.dtype, like=place))
    weight = np.reshape(weight, (4, hidden, hidden)).swapaxes(1, 2)
    weight = np.multiply(weight, scale, out=np.empty(weight.shape, weight.dtype, like=place))
    states = np.empty((2, steps, n, hidden), a.dtype, like=place)
    for t in range(steps):
        gate = gates[t]
        gate += thinned(h, kept) @ weight
        np.tanh(gate, out=gate)
        gate *= scale
        gate += 1 - scale
        i, f, new, o = gate
        c = np.multiply(f, c, out=states[1, t])
        c += i * new
        h = np.multiply(o, np.tanh(c), out=states[0, t])
    return states, gates


@primitive
def lstm(
    a: Value, h: Value, c: Value, weight: Value, kept: Array | None, states: Array, gates: Array
) -> Value:
    """Return the states ``(2, steps, n, hidden)`` that `run_lstm` has found, h and c.

    i, f, o = sigmoid(a + W_hh h)    new = tanh(a + W_hh h)    each with its rows of a and W_hh
    c = f c + i new                  h = o tanh(c)
    """
    return states


@in_one_call
def carry_lstm(
    g: Value, gates: Value, c_before: Value, c_after: Value, weight: Value, kept: Array | None
) -> tuple[Value, Value, Value]:
    """Carry cotangents back: return those of ``a`` and of the first h and c.

    A gate's share is its slope times what it is multiplied with.
    """
    g_h, g_c = g[0], g[1]
    h, c = g[0, 0] * 0, g[0, 0] * 0
    found = []
    for t in range(len(g_h) - 1, -1, -1):
        i, f, new, o = (gates[t, k] for k in range(4))
        tanh_c = np.tanh(c_after[t])
        h = g_h[t] + h
        h_o = h * o
        c = g_c[t] + c + h_o * (1 - tanh_c * tanh_c)
        c_i, c_f = c * i, c * f
        to_i, to_f = c_i * new * (1 - i), c_f * c_before[t] * (1 - f)
        to_new, to_o = c_i * (1 - new * new), h_o * tanh_c * (1 - o)
        found.append(np.concatenate([to_i, to_f, to_new, to_o], 1))
        h, c = thinned(found[-1] @ weight, kept), c_f
    return np.stack(found[::-1]), h, c


def lstm_vjp(
    g: Value, out: Value, needed: Any,
    a: Value, h: Value, c: Value, weight: Value, kept: Array | None, states: Array, gates: Array,
) -> Any:  # fmt: skip
    """Carry the cotangents back; the weight takes part in every step."""
    h_before, c_before = thinned(states_before(h, out[0]), kept), states_before(c, out[1])
    if isinstance(out, Node):
        scale = np.array([0.5, 0.5, 1, 0.5], a.dtype, like=library_of(a)).reshape(4, 1, 1)
        gates = np.swapaxes(in_gates(a + h_before @ weight.T, 4), 1, 2)
        gates = np.tanh(gates * scale) * scale + (1 - scale)
    g_a, g_h, g_c = carry_lstm(g, gates, c_before, out[1], weight, kept)
    g_weight = weight_gradient(g_a, h_before) if needed[3] else None
    return g_a, g_h, g_c, g_weight, None, None, None


defvjp(lstm, joint=lstm_vjp)


def projected_lstm(
    a: Value, h: Value, c: Value, weight: Value, projection: Value, kept: Array | None
) -> tuple[Value, tuple[Value, Value]]:
    """Run an LSTM whose h is projected to another length; return all h, and the last h and c.

    Rarely wanted, it is made of calls that have derivatives, several for each step.
    """
    states = []
    for t in range(len(a)):
        gates = a[t] + thinned(h, kept) @ weight.T
        i, f, new, o = np.split(gates, 4, axis=-1)
        c = logistic(f) * c + logistic(i) * np.tanh(new)
        h = (logistic(o) * np.tanh(c)) @ projection.T
        states.append(h)
    return np.stack(states), (h, c)


# ------------------------------------------------------------------------------------- GRU


@in_one_call
def run_gru(
    a: Array, h: Array, weight: Array, bias: Array, kept: Array | None
) -> tuple[Array, Array]:
    """Run a GRU; return its states, and of each step r, z, new and the recurrent part of new."""
    steps, n = a.shape[:2]
    hidden = h.shape[-1]
    states = np.empty((steps, n, hidden), a.dtype, like=library_of(a))
    gates = np.empty((steps, n, 4, hidden), a.dtype, like=library_of(a))
    for t in range(steps):
        recurrent = thinned(h, kept) @ weight.T + bias
        both = recurrent[:, : 2 * hidden] + a[t, :, : 2 * hidden]
        both = np.tanh(both * 0.5) * 0.5 + 0.5  # the sigmoid
        r, z, part = both[:, :hidden], both[:, hidden:], recurrent[:, 2 * hidden :]
        new = np.tanh(a[t, :, 2 * hidden :] + r * part)
        h = states[t] = new + z * (h - new)
        gates[t, :, 0], gates[t, :, 1], gates[t, :, 2], gates[t, :, 3] = r, z, new, part
    return states, gates


@primitive
def gru(
    a: Value, h: Value, weight: Value, bias: Value, kept: Array | None, states: Array, gates: Array
) -> Value:
    """Return the states ``(steps, n, hidden)`` that `run_gru` has found.

    r, z = sigmoid(a + W_hh h + b_hh)    new = tanh(a + r (W_hh h + b_hh))    each with its rows
    h = (1 - z) new + z h
    """
    return states


@in_one_call
def carry_gru(
    g: Value, to_recurrent: Value, z: Value, weight: Value, kept: Array | None
) -> tuple[Value, Value]:
    """Carry cotangents back: return the states', complete, and that of the first."""
    carried = g[0] * 0
    found = []
    for t in range(len(g) - 1, -1, -1):
        found.append(g[t] + carried)
        recurrent = to_recurrent[t] * np.expand_dims(found[-1], 1)
        rows = np.reshape(recurrent, (g.shape[1], 3 * g.shape[2]))
        carried = found[-1] * z[t] + thinned(rows @ weight, kept)
    return np.stack(found[::-1]), carried


def gru_vjp(
    g: Value, out: Value, needed: Any,
    a: Value, h: Value, weight: Value, bias: Value, kept: Array | None, states: Array, gates: Array,
) -> Any:  # fmt: skip
    """Each gate's share is its slope times what it is multiplied with."""
    before = states_before(h, out)
    given = thinned(before, kept)
    if isinstance(out, Node):
        recurrent, a = in_gates(given @ weight.T + bias, 3), in_gates(a, 3)
        both = np.tanh((recurrent[:, :, :2] + a[:, :, :2]) * 0.5) * 0.5 + 0.5
        r, z, part = both[:, :, 0], both[:, :, 1], recurrent[:, :, 2]
        new = np.tanh(a[:, :, 2] + r * part)
    else:
        r, z, new, part = (gates[:, :, k] for k in range(4))
    to_new = (1 - z) * (1 - np.square(new))
    to_r, to_z = to_new * part * (r * (1 - r)), (before - new) * (z * (1 - z))
    g_h, first = carry_gru(g, np.stack([to_r, to_z, to_new * r], 2), z, weight, kept)
    shares = [g_h * to_r, g_h * to_z, g_h * to_new]
    g_a = np.concatenate(shares, 2)
    g_recurrent = np.concatenate([*shares[:2], shares[2] * r], 2)
    return (
        g_a,
        first,
        weight_gradient(g_recurrent, given) if needed[2] else None,
        bias_gradient(g_recurrent) if needed[3] else None,
        *(None, None, None),
    )


defvjp(gru, joint=gru_vjp)
