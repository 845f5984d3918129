"""The Transformer's encoder: attention and a small net for each position, with residuals."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from ..kinds import ArrayLike, DTypeLike
from ..random import generator
from ..tensor import Tensor
from . import attention_checks, checks
from .activations import relu
from .attention import MultiheadAttention
from .dropout.layers import Dropout
from .linear import Linear
from .module import Module
from .normalization import LayerNorm
from .smooth import gelu

#: The activations that may be given by name.
ACTIVATIONS: dict[str, Callable[..., Any]] = {"relu": relu, "gelu": gelu}


class TransformerLayer(Module):
    """What the layers of encoder and decoder share: branches, each with a residual connection.

    A branch has a norm and a dropout, ``norm1`` and ``dropout1`` and so on. All but the last are
    attentions; the last is a small net.
    """

    #: The names of the attentions, first to last.
    attentions: tuple[str, ...]
    self_attn: Any

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[..., Any] = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
        rng: np.random.Generator | None = None,
    ) -> None:
        rng = generator(rng)
        units = checks.integer(f"{type(self).__name__}'s dim_feedforward", dim_feedforward, 1)
        for name in self.attentions:
            attention = MultiheadAttention(
                d_model, nhead, dropout, bias, batch_first=batch_first, dtype=dtype, rng=rng
            )
            setattr(self, name, attention)
        self.linear1 = Linear(d_model, units, bias, dtype=dtype, rng=rng)
        self.dropout = Dropout(dropout, rng=rng)
        self.linear2 = Linear(units, d_model, bias, dtype=dtype, rng=rng)
        branches = range(1, len(self.attentions) + 2)
        for k in branches:
            norm = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
            setattr(self, f"norm{k}", norm)
        for k in branches:
            setattr(self, f"dropout{k}", Dropout(dropout, rng=rng))
        self.activation = attention_checks.activation(activation, ACTIVATIONS)
        self.norm_first = bool(norm_first)

    def branch(self, k: int, x: Any, function: Callable[[Any], Any]) -> Any:
        """Add a branch to its residual."""
        norm, dropout = getattr(self, f"norm{k}"), getattr(self, f"dropout{k}")
        if self.norm_first:
            return x + dropout(function(norm(x)))
        return norm(x + dropout(function(x)))

    def feedforward(self, x: Any) -> Any:
        """Map each position by the small net."""
        return self.linear2(self.dropout(self.activation(self.linear1(x))))


def copies(layer: Module, number: int) -> list[Any]:
    """Copy a layer, but not its generator: a copy of that would draw the same masks for all."""
    shared = [vars(part).get("rng") for part in layer.modules()]
    memo = {id(rng): rng for rng in shared if rng is not None}
    return [copy.deepcopy(layer, dict(memo)) for _ in range(number)]


class TransformerEncoderLayer(TransformerLayer):
    """Self-attention, then two linear maps with an activation between, each with a residual.

        x = norm1(x + attention(x)),    x = norm2(x + linear2(f(linear1(x))))

    or, with `norm_first`, as in GPT-2,

        x = x + attention(norm1(x)),    x = x + linear2(f(linear1(norm2(x)))).

    Dropout follows the attention, the activation and the last map, and drops the attention's
    weights.

    Parameters
    ----------
    d_model
        Length of the last axis of inputs and outputs.
    nhead
        How many heads the attention has.
    dim_feedforward
        How many units are between the linear maps.
    dropout
        Probability of dropping.
    activation
        ``"relu"``, ``"gelu"``, or a function of a tensor.
    layer_norm_eps
        What is added to the variance.
    batch_first
        Whether the batch is the first axis, and time the second.
    norm_first
        Whether each branch begins with its norm.
    bias
        Whether maps and norms have biases.
    dtype
        Floating dtype of the parameters; the input is cast to it.
    rng
        Draws the initial values and the masks; the library's generator by default.

    Raises
    ------
    TypeError, ValueError
        When made with sizes that do not fit, or called with other shapes.

    References
    ----------
    Vaswani et al., "Attention Is All You Need", NIPS 2017, section 3.1.
    Xiong, Yang, He, Zheng, Zheng, Xing, Zhang, Lan, Wang, Liu, "On Layer Normalization in the
    Transformer Architecture", ICML 2020: `norm_first`.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> layer = nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, batch_first=True)
    >>> layer(np.ones((3, 5, 8)), is_causal=True).shape
    (3, 5, 8)
    """

    attentions = ("self_attn",)

    def forward(
        self,
        src: ArrayLike,
        src_mask: ArrayLike = None,
        src_key_padding_mask: ArrayLike = None,
        is_causal: bool = False,
    ) -> Tensor:
        """Map ``(steps, n, d_model)`` to the same shape; masks as in `MultiheadAttention`."""

        def attend(x: Any) -> Any:
            padding = src_key_padding_mask
            return self.self_attn(x, x, x, padding, False, src_mask, is_causal=is_causal)[0]

        x = self.branch(1, src, attend)
        return self.branch(2, x, self.feedforward)


class TransformerEncoder(Module):
    """Encoder layers, one after the other: copies of one, with the same initial values.

    Parameters
    ----------
    encoder_layer
        The layer to be copied, a `TransformerEncoderLayer`.
    num_layers
        How many there are, at least 1.
    norm
        A module for the end, or None: with `norm_first`, a `LayerNorm`.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> layer = nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, norm_first=True)
    >>> encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(8))
    >>> encoder(np.ones((5, 3, 8))).shape
    (5, 3, 8)
    """

    def __init__(self, encoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        num_layers = checks.integer("TransformerEncoder's num_layers", num_layers, 1)
        attention_checks.check_is_module("encoder_layer", encoder_layer, Module)
        self.layers = copies(encoder_layer, num_layers)
        self.norm = norm

    def forward(
        self,
        src: ArrayLike,
        mask: ArrayLike = None,
        src_key_padding_mask: ArrayLike = None,
        is_causal: bool = False,
    ) -> Tensor:
        """Map ``(steps, n, d_model)`` to the same shape; masks as in `MultiheadAttention`."""
        x: Any = src
        for layer in self.layers:
            x = layer(x, mask, src_key_padding_mask, is_causal)
        return x if self.norm is None else self.norm(x)
