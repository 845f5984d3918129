"""Recurrent nets: `RNN`, `LSTM` and `GRU` in layers and directions, and their single steps."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from ..dispatch import data_of, library_of
from ..kinds import Array, ArrayLike, DTypeLike, Shape, Value
from ..random import generator
from ..tensor import Tensor
from ..vjps.rules import filled
from . import checks, recurrent_checks
from .dropout.layers import Dropout
from .inputs import as_tensor
from .linear import affine
from .module import Module, Parameter
from .recurrences import gru, lstm, projected_lstm, rnn, run_gru, run_lstm

Nonlinearity = Literal["tanh", "relu"]


class Recurrence(Module):
    """What all recurrent nets share: parameters by PyTorch's names, and how to run a sequence.

    A kind says how many gates it has, and what becomes of a sequence of inputs.
    """

    #: How many rows of W each unit has.
    gates: int
    #: Whether the state is a pair, (h, c).
    is_pair = False
    hidden_size: int
    #: The length of an LSTM's h, if it is projected to another than that of c.
    proj_size = 0

    @property
    def sizes(self) -> tuple[int, ...]:
        """Lengths of the parts of a state."""
        return (self.proj_size or self.hidden_size, self.hidden_size)[: 1 + self.is_pair]

    def make(
        self, suffix: str, inputs: int, hidden: int, bias: bool, dtype: DTypeLike, rng: Any
    ) -> None:
        """Make the parameters of one layer and direction, or of a cell."""
        bound = 1 / math.sqrt(hidden)
        rows = self.gates * hidden
        state = self.sizes[0]
        shapes: dict[str, Shape] = {"weight_ih": (rows, inputs), "weight_hh": (rows, state)}
        if bias:
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        if self.proj_size:
            shapes["weight_hr"] = (state, hidden)
        for name, shape in shapes.items():
            setattr(self, name + suffix, Parameter(rng.uniform(-bound, bound, shape), dtype=dtype))

    def weights(self, suffix: str) -> list[Any]:
        """Return W_ih, W_hh, b_ih and b_hh; None where there is no bias."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return [getattr(self, name + suffix, None) for name in names]

    def run(self, x: Value, start: Any, suffix: str, kept: Array | None = None) -> Any:
        """Run over inputs ``(steps, n, features)``; return all states h, and the last state.

        Each step is given ``kept h`` in the place of h, if there is dropout on the state.
        """
        raise NotImplementedError

    def zeros(self, x: Tensor, *batch: int) -> Any:
        """Return the initial state if none is given."""
        place = library_of(x)
        zeros = tuple([np.zeros((*batch, size), x.dtype, like=place) for size in self.sizes])
        return zeros if self.is_pair else zeros[0]


class OfRNN(Recurrence):
    """``h[t] = f(W_ih x[t] + b_ih + W_hh h[t-1] + b_hh)``, with tanh or ReLU for f."""

    gates = 1
    nonlinearity: Nonlinearity

    def run(self, x: Value, start: Any, suffix: str, kept: Array | None = None) -> Any:
        """Run over a sequence."""
        w_ih, w_hh, b_ih, b_hh = self.weights(suffix)
        a = affine(x, w_ih, None if b_ih is None else b_ih + b_hh)
        states = rnn(a, start, w_hh, kept, self.nonlinearity)
        return states, states[-1]


class OfLSTM(Recurrence):
    """Long short-term memory: a state c that gates add to, and that gates let out as h."""

    gates = 4
    is_pair = True

    def run(self, x: Value, start: Any, suffix: str, kept: Array | None = None) -> Any:
        """Run over a sequence."""
        w_ih, w_hh, b_ih, b_hh = self.weights(suffix)
        a = affine(x, w_ih, None if b_ih is None else b_ih + b_hh)
        if self.proj_size:
            (h, c), projection = start, getattr(self, f"weight_hr{suffix}")
            return projected_lstm(a, h, c, w_hh, projection, kept)
        found = run_lstm(*(data_of(value) for value in (a, *start, w_hh)), kept)
        states = lstm(a, *start, w_hh, kept, *found)
        return states[0], (states[0, -1], states[1, -1])


class OfGRU(Recurrence):
    """Gated recurrent units: a gate mixes the state with a new one."""

    gates = 3

    def run(self, x: Value, start: Any, suffix: str, kept: Array | None = None) -> Any:
        """Run over a sequence."""
        w_ih, w_hh, b_ih, b_hh = self.weights(suffix)
        if b_hh is None:
            b_hh = np.zeros(len(w_hh), w_hh.dtype, like=library_of(w_hh))
        a = affine(x, w_ih, b_ih)
        found = run_gru(*(data_of(value) for value in (a, start, w_hh, b_hh)), kept)
        states = gru(a, start, w_hh, b_hh, kept, *found)
        return states, states[-1]


# ------------------------------------------------------------------------- whole sequences


class RecurrentNet(Recurrence):
    """Layers of a recurrence, each over the outputs of the one below, in one direction or two."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        variational: bool = False,
        recurrent_dropout: float = 0.0,
        dtype: DTypeLike = np.float32,
        rng: np.random.Generator | None = None,
    ) -> None:
        who = type(self).__name__
        self.input_size = checks.integer(f"{who}'s input_size", input_size, 1)
        self.hidden_size = checks.integer(f"{who}'s hidden_size", hidden_size, 1)
        self.num_layers = checks.integer(f"{who}'s num_layers", num_layers, 1)
        recurrent_checks.check_flags(
            who, bias=bias, batch_first=batch_first, bidirectional=bidirectional,
            variational=variational,
        )  # fmt: skip
        self.bias, self.batch_first = bool(bias), bool(batch_first)
        self.bidirectional, self.variational = bool(bidirectional), bool(variational)
        p = checks.probability(dropout)
        recurrent_checks.warn_of_no_dropout(who, p, self.num_layers)
        between = Dropout(p, shared_axes=0 if variational else (), rng=rng)
        self.dropout = between if p and self.num_layers > 1 else None
        p = checks.probability(recurrent_dropout)
        self.recurrent_dropout = Dropout(p, rng=rng) if p else None
        rng = generator(rng)
        for layer in range(self.num_layers):
            inputs = self.sizes[0] * len(self.directions) if layer else self.input_size
            for direction in self.directions:
                self.make(f"_l{layer}{direction}", inputs, self.hidden_size, self.bias, dtype, rng)

    @property
    def directions(self) -> tuple[str, ...]:
        """What the names of each direction's parameters end in."""
        return ("", "_reverse") if self.bidirectional else ("",)

    def forward(self, x: ArrayLike, hx: Any = None) -> Any:
        """Run over a sequence; return all outputs, and the last state of each layer."""
        x = as_tensor(x, self.weights("_l0")[0].dtype)
        recurrent_checks.check_sequence(self, x._array.shape)
        is_batch = x._array.ndim == 3
        if not is_batch:
            x = np.expand_dims(x, 1)
        elif self.batch_first:
            x = np.swapaxes(x, 0, 1)
        start = self.start_of(x, hx, is_batch)
        ends: list[Any] = []
        for layer in range(self.num_layers):
            if layer and self.dropout is not None:
                x = self.dropout(x)
            outputs = []
            for direction in self.directions:
                k = len(ends)
                first = (start[0][k], start[1][k]) if self.is_pair else start[k]
                ahead = x[::-1] if direction else x
                h, end = self.run(ahead, first, f"_l{layer}{direction}", self.kept(x))
                outputs.append(h[::-1] if direction else h)
                ends.append(end)
            x = np.concatenate(outputs, 2) if self.bidirectional else outputs[0]
        if not is_batch:
            x = np.squeeze(x, 1)
        elif self.batch_first:
            x = np.swapaxes(x, 0, 1)
        if self.is_pair:
            return x, tuple(self.stacked(part, is_batch) for part in zip(*ends, strict=True))
        return x, self.stacked(ends, is_batch)

    def kept(self, x: Tensor) -> Array | None:
        """Draw which units of the state are kept, and scale them; one mask for all steps."""
        if self.recurrent_dropout is None:
            return None
        ones = filled((x.shape[1], self.sizes[0]), 1, x.dtype, x)
        return data_of(self.recurrent_dropout(ones))

    def start_of(self, x: Tensor, hx: Any, is_batch: bool) -> Any:
        """Return the initial state of all layers."""
        batch = (self.num_layers * len(self.directions), x.shape[1])
        if hx is None:
            return self.zeros(x, *batch)
        recurrent_checks.check_is_state(self, hx)
        parts: list[Any] = [as_tensor(part, x.dtype) for part in (hx if self.is_pair else (hx,))]
        for part, size in zip(parts, self.sizes, strict=True):
            recurrent_checks.check_state(self, part._array.shape, (*batch, size), is_batch)
        parts = parts if is_batch else [np.expand_dims(part, 1) for part in parts]
        return tuple(parts) if self.is_pair else parts[0]

    def stacked(self, states: Any, is_batch: bool) -> Any:
        """Stack the states of layers and directions."""
        states = np.stack(states)
        return states if is_batch else np.squeeze(states, 1)

    def extra_repr(self) -> str:
        """Return the sizes, and the options that are not the default."""
        parts = [f"{self.input_size}, {self.hidden_size}"]
        if self.proj_size:
            parts.append(f"proj_size={self.proj_size}")
        if self.num_layers != 1:
            parts.append(f"num_layers={self.num_layers}")
        if not self.bias:
            parts.append("bias=False")
        if self.batch_first:
            parts.append("batch_first=True")
        if self.dropout is not None:
            parts.append(f"dropout={self.dropout.p}")
        if self.bidirectional:
            parts.append("bidirectional=True")
        if self.variational:
            parts.append("variational=True")
        if self.recurrent_dropout is not None:
            parts.append(f"recurrent_dropout={self.recurrent_dropout.p}")
        return ", ".join(parts)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"


class RNN(RecurrentNet, OfRNN):
    """The simple recurrent net, ``h[t] = f(W_ih x[t] + b_ih + W_hh h[t-1] + b_hh)``.

    All parameters are drawn uniformly from ``[-k, k]`` with ``k = 1 / sqrt(hidden_size)``.

    Parameters
    ----------
    input_size, hidden_size
        Lengths of the last axis of inputs and states.
    num_layers
        How many recurrent layers there are, each over the outputs of the one below.
    nonlinearity
        ``"tanh"`` or ``"relu"``.
    bias
        Whether there are ``b_ih`` and ``b_hh``.
    batch_first
        Whether the batch is the first axis of inputs and outputs, and time the second.
    dropout
        Probability of dropping a unit between layers.
    bidirectional
        Whether a second net reads the sequence from its end; outputs are put side by side.
    variational
        Whether the mask between layers is the same at all steps, which is the variational dropout
        of Gal and Ghahramani. For the inputs, use ``nn.Dropout(p, shared_axes=0)``, or 1 if
        the batch is first.
    recurrent_dropout
        Probability of dropping a unit of the state on its way from a step to the next, by one mask
        for all steps, as Gal and Ghahramani do.
    dtype
        Floating dtype of the parameters; the input is cast to it.
    rng
        Draws the initial values and the masks; the library's generator by default.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, weight_ih_l0_reverse, ...
        Parameters of each layer and direction, of shapes ``(hidden_size, inputs)``,
        ``(hidden_size, hidden_size)`` and ``(hidden_size,)``.

    Raises
    ------
    TypeError, ValueError
        When made with sizes that are not integers from 1, or called with other shapes.

    Notes
    -----
    A call takes inputs ``(steps, n, input_size)`` and, if the initial state is not 0, the
    state ``(num_layers * directions, n, hidden_size)``. It returns ``(output, h_n)``: the last
    layer's states, ``(steps, n, directions * hidden_size)``, and each layer's and direction's last
    state. Inputs and states may lack the axis of the batch.

    References
    ----------
    Elman, "Finding Structure in Time", Cognitive Science 14 (1990).
    Gal, Ghahramani, "A Theoretically Grounded Application of Dropout in Recurrent Neural
    Networks", NIPS 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> net = nn.RNN(3, 4, num_layers=2, bidirectional=True)
    >>> output, h_n = net(np.ones((5, 2, 3)))
    >>> output.shape, h_n.shape
    ((5, 2, 8), (4, 2, 4))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: Nonlinearity = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        variational: bool = False,
        recurrent_dropout: float = 0.0,
        dtype: DTypeLike = np.float32,
        rng: np.random.Generator | None = None,
    ) -> None:
        recurrent_checks.check_nonlinearity("RNN", nonlinearity)
        self.nonlinearity = nonlinearity
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            variational=variational, recurrent_dropout=recurrent_dropout, dtype=dtype, rng=rng,
        )  # fmt: skip


class LSTM(RecurrentNet, OfLSTM):
    """Long short-term memory.

        i, f, o = sigmoid(W_ih x[t] + b_ih + W_hh h[t-1] + b_hh), each with its own rows of W and b
        g = tanh(W_ih x[t] + b_ih + W_hh h[t-1] + b_hh)
        c[t] = f c[t-1] + i g,    h[t] = o tanh(c[t])

    The rows of W and b are in the order i, f, g, o. Parameters, attributes and errors are those of
    `RNN`, without `nonlinearity`, and with ``4 * hidden_size`` rows. The state is a pair: a call
    takes inputs and ``(h_0, c_0)``, and returns ``(output, (h_n, c_n))``.

    With a `proj_size` from 1, h is that long, shorter than c: ``h[t] = W_hr (o tanh(c[t]))``, by
    ``weight_hr_l0`` and so on, of shape ``(proj_size, hidden_size)``.

    References
    ----------
    Hochreiter, Schmidhuber, "Long Short-Term Memory", Neural Computation 9 (1997).
    Gers, Schmidhuber, Cummins, "Learning to Forget", Neural Computation 12 (2000).
    Sak, Senior, Beaufays, "Long Short-Term Memory Based Recurrent Neural Network Architectures for
    Large Vocabulary Speech Recognition", arXiv:1402.1128 (2014): the projection.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> net = nn.LSTM(3, 4, num_layers=2, dropout=0.5, variational=True)
    >>> net
    LSTM(3, 4, num_layers=2, dropout=0.5, variational=True)
    >>> output, (h_n, c_n) = net(np.ones((5, 2, 3)))
    >>> output.shape, h_n.shape, c_n.shape
    ((5, 2, 4), (2, 2, 4), (2, 2, 4))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        variational: bool = False,
        recurrent_dropout: float = 0.0,
        dtype: DTypeLike = np.float32,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.proj_size = recurrent_checks.projection(proj_size, hidden_size)
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            variational=variational, recurrent_dropout=recurrent_dropout, dtype=dtype, rng=rng,
        )  # fmt: skip


class GRU(RecurrentNet, OfGRU):
    """Gated recurrent units.

        r, z = sigmoid(W_ih x[t] + b_ih + W_hh h[t-1] + b_hh), each with its own rows of W and b
        n = tanh(W_ih x[t] + b_ih + r (W_hh h[t-1] + b_hh))
        h[t] = (1 - z) n + z h[t-1]

    The rows of W and b are in the order r, z, n. Parameters, attributes, results and errors are
    those of `RNN`, without `nonlinearity`, and with ``3 * hidden_size`` rows.

    References
    ----------
    Cho, van Merrienboer, Gulcehre, Bahdanau, Bougares, Schwenk, Bengio, "Learning Phrase
    Representations using RNN Encoder-Decoder for Statistical Machine Translation", EMNLP 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> output, h_n = nn.GRU(3, 4, batch_first=True)(np.ones((2, 5, 3)))
    >>> output.shape, h_n.shape
    ((2, 5, 4), (1, 2, 4))
    """


# ------------------------------------------------------------------------------ single steps


class RecurrentCell(Recurrence):
    """One step of a recurrence, for loops of one's own."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
        rng: np.random.Generator | None = None,
    ) -> None:
        who = type(self).__name__
        self.input_size = checks.integer(f"{who}'s input_size", input_size, 1)
        self.hidden_size = checks.integer(f"{who}'s hidden_size", hidden_size, 1)
        checks.check_bias(who, bias)
        self.bias = bool(bias)
        self.make("", self.input_size, self.hidden_size, self.bias, dtype, generator(rng))

    def forward(self, x: ArrayLike, hx: Any = None) -> Any:
        """Take one step; return the new state."""
        x = as_tensor(x, self.weights("")[0].dtype)
        recurrent_checks.check_step(self, x._array.shape)
        shape = (*x._array.shape[:-1], self.hidden_size)
        if hx is None:
            hx = self.zeros(x, *shape[:-1])
        recurrent_checks.check_is_state(self, hx)
        parts = [as_tensor(part, x.dtype) for part in (hx if self.is_pair else (hx,))]
        for part in parts:
            recurrent_checks.check_cell_state(self, part._array.shape, shape)
        rows = [np.reshape(part, (-1, part.shape[-1])) for part in (x, *parts)]
        start = tuple(rows[1:]) if self.is_pair else rows[1]
        _, end = self.run(np.expand_dims(rows[0], 0), start, "")
        if self.is_pair:
            return tuple(np.reshape(part, shape) for part in end)
        return np.reshape(end, shape)

    def extra_repr(self) -> str:
        """Return the sizes, and whether there is no bias."""
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


class RNNCell(RecurrentCell, OfRNN):
    """One step of an `RNN`: takes ``x`` and ``h``, returns the new ``h``.

    Parameters
    ----------
    input_size, hidden_size, bias, nonlinearity, dtype, rng
        As in `RNN`.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.RNNCell(3, 4)(np.ones((2, 3))).shape
    (2, 4)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: Nonlinearity = "tanh",
        *,
        dtype: DTypeLike = np.float32,
        rng: np.random.Generator | None = None,
    ) -> None:
        recurrent_checks.check_nonlinearity("RNNCell", nonlinearity)
        self.nonlinearity = nonlinearity
        super().__init__(input_size, hidden_size, bias, dtype=dtype, rng=rng)


class LSTMCell(RecurrentCell, OfLSTM):
    """One step of an `LSTM`: takes ``x`` and ``(h, c)``, returns the new ``(h, c)``.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> h, c = nn.LSTMCell(3, 4)(np.ones((2, 3)))
    >>> h.shape, c.shape
    ((2, 4), (2, 4))
    """


class GRUCell(RecurrentCell, OfGRU):
    """One step of a `GRU`: takes ``x`` and ``h``, returns the new ``h``.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.GRUCell(3, 4)(np.ones((2, 3))).shape
    (2, 4)
    """
