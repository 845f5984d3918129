"""Attention: each position of a sequence gathers from the others what it asks for.

    softmax(Q K^T / sqrt(d)) V

Row i of Q is what position i asks, row j of K what position j offers, row j of V what it gives.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine import defvjp, primitive
from ..kinds import ArrayLike, DTypeLike, Mask, Value
from ..random import generator
from ..tensor import Tensor
from ..traced import look
from . import attention_checks, checks, recurrent_checks
from .activations import compute_softmax, softmax_vjp
from .dropout.functional import dropout
from .dropout.layers import Dropout
from .dropout.masks import apply_mask
from .init import xavier_uniform_
from .inputs import as_tensor
from .linear import Linear, affine
from .module import Module, Parameter


def scaled_dot_product_attention(
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike,
    attn_mask: ArrayLike = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """Return ``softmax(Q K^T scale) V``.

    Parameters
    ----------
    query
        Tensor of shape ``(..., queries, features)``.
    key
        Of shape ``(..., keys, features)``.
    value
        Of shape ``(..., keys, value_features)``.
    attn_mask
        Of a shape that broadcasts to ``(..., queries, keys)``: booleans, True where a query may
        look at a key (`MultiheadAttention` has it the other way round), or floats that are added
        to the scores. A query that may look at nothing gets zeros.
    dropout_p
        Probability of dropping a weight; the caller says when.
    is_causal
        Let each query look at keys of its own position and before only.
    scale
        ``1 / sqrt(features)`` by default.

    Returns
    -------
    Tensor
        Of shape ``(..., queries, value_features)``.

    Raises
    ------
    TypeError
        If an argument is not of a float dtype.
    ValueError
        If the shapes do not fit, or both `attn_mask` and `is_causal` are given.

    References
    ----------
    Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser, Polosukhin, "Attention Is All You
    Need", NIPS 2017, equation 1.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand.nn import functional as F
    >>> x = np.eye(3)
    >>> F.scaled_dot_product_attention(x, x, x, is_causal=True)[0]
    Tensor([1., 0., 0.])
    """
    query = as_tensor(query)
    key, value = as_tensor(key, query.dtype), as_tensor(value, query.dtype)
    attention_checks.check_shapes(query._array.shape, key._array.shape, value._array.shape)
    attention_checks.check_one_mask(attn_mask, is_causal)
    allowed, added = masks_of(attn_mask, query.dtype)
    if attn_mask is not None:
        attention_checks.check_mask_fits(np.shape(attn_mask), query.shape, key.shape)
    if is_causal:
        allowed = causal_mask(query.shape[-2], key.shape[-2])
    drop = (lambda weights: dropout(weights, dropout_p)) if dropout_p else None
    return attend(query, key, value, allowed, added, drop, scale)[0]


def masks_of(mask: Any, dtype: DTypeLike) -> tuple[Mask | None, Tensor | None]:
    """Return a mask as booleans, True where a query may look, or as floats to be added."""
    if mask is None:
        return None, None
    mask = attention_checks.mask("attn_mask", mask, "a query may look at a key")
    return (mask, None) if mask.dtype == bool else (None, as_tensor(mask, dtype))


def causal_mask(queries: int, keys: int) -> Mask:
    """Return where a query may look at a key that is not behind it."""
    return np.tri(queries, keys, dtype=bool)


@primitive
def attention_weights(query: Value, key: Value, added: Value) -> Value:
    """Return ``softmax(Q K^T + added)``; one array holds all intermediate values."""
    scores = query @ np.swapaxes(key, -1, -2)
    if added is not None:
        np.add(scores, added, out=scores)
    return compute_softmax(scores, -1, out=scores)


def attention_weights_vjp(
    g: Value, out: Value, needed: Any, query: Value, key: Value, added: Value
) -> tuple[Value, ...]:
    """Return the cotangent of the scores, times the other factor for each."""
    g = softmax_vjp(g, out, None)
    return (
        g @ key if needed[0] else None,
        np.swapaxes(g, -1, -2) @ query if needed[1] else None,
        g if needed[2] else None,
    )


defvjp(attention_weights, joint=attention_weights_vjp)


def attend(
    query: Value,
    key: Value,
    value: Value,
    allowed: Mask | None,
    added: Value | None,
    drop: Callable[[Any], Any] | None,
    scale: float | None = None,
) -> tuple[Any, Any]:
    """Return what the queries gather, and the weights by which they do."""
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    if allowed is not None:
        # Next to any score its exponential is 0; minus infinity would give nan if none is left.
        hidden = np.finfo(query.dtype).min / 2
        hiding = np.where(allowed, 0, hidden).astype(query.dtype)
        added = hiding if added is None else added + hiding
    weights = attention_weights(query * scale, key, added)
    if allowed is not None and look(np.any(~np.any(allowed, axis=-1))):
        weights = apply_mask(weights, allowed)
    if drop is not None:
        weights = drop(weights)
    return weights @ value, weights


class MultiheadAttention(Module):
    """Attention by several heads, each with its own part of the features.

        head_k = attention(x_q W_q^T, x_k W_k^T, x_v W_v^T) of the k-th part of the features
        output = [head_1, ..., head_h] W_o^T + b_o

    ``W_q``, ``W_k`` and ``W_v`` are the thirds of `in_proj_weight`. They are drawn by Xavier's
    uniform rule; biases are 0.

    Parameters
    ----------
    embed_dim
        Length of the last axis of queries and outputs, a multiple of `num_heads`.
    num_heads
        How many heads there are.
    dropout
        Probability of dropping a weight of the attention.
    bias
        Whether there are biases.
    kdim, vdim
        Lengths of the last axis of keys and values, if they differ from `embed_dim`.
    batch_first
        Whether the batch is the first axis of all inputs and outputs, and time the second.
    dtype
        Floating dtype of the parameters; the inputs are cast to it.
    rng
        Draws the initial values and the masks; the library's generator by default.

    Attributes
    ----------
    in_proj_weight
        Parameter of shape ``(3 * embed_dim, embed_dim)``; with `kdim` or `vdim`, there are
        `q_proj_weight`, `k_proj_weight` and `v_proj_weight` instead.
    in_proj_bias
        Parameter of shape ``(3 * embed_dim,)``, or None.
    out_proj
        The last `Linear`.

    Raises
    ------
    TypeError, ValueError
        When made with sizes that do not fit, or called with other shapes.

    References
    ----------
    Vaswani et al. (see `functional.scaled_dot_product_attention`), section 3.2.2.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> attention = nn.MultiheadAttention(8, 2, batch_first=True)
    >>> x = np.ones((3, 5, 8))
    >>> output, weights = attention(x, x, x)
    >>> output.shape, weights.shape
    ((3, 5, 8), (3, 5, 5))
    """

    in_proj_weight: Any
    q_proj_weight: Any
    k_proj_weight: Any
    v_proj_weight: Any

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        *,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        dtype: DTypeLike = np.float32,
        rng: np.random.Generator | None = None,
    ) -> None:
        who = "MultiheadAttention"
        self.embed_dim = checks.integer(f"{who}'s embed_dim", embed_dim, 1)
        self.num_heads = checks.integer(f"{who}'s num_heads", num_heads, 1)
        attention_checks.check_heads(self.embed_dim, self.num_heads)
        self.kdim = self.embed_dim if kdim is None else checks.integer(f"{who}'s kdim", kdim, 1)
        self.vdim = self.embed_dim if vdim is None else checks.integer(f"{who}'s vdim", vdim, 1)
        recurrent_checks.check_flags(who, bias=bias, batch_first=batch_first)
        self.batch_first = bool(batch_first)
        p = checks.probability(dropout)
        rng = generator(rng)

        def weight(*shape: int) -> Parameter:
            parameter = Parameter(np.zeros(shape), dtype=dtype)
            xavier_uniform_(parameter, generator=rng)
            return parameter

        if self.kdim == self.vdim == self.embed_dim:
            self.in_proj_weight = weight(3 * self.embed_dim, self.embed_dim)
        else:
            self.q_proj_weight = weight(self.embed_dim, self.embed_dim)
            self.k_proj_weight = weight(self.embed_dim, self.kdim)
            self.v_proj_weight = weight(self.embed_dim, self.vdim)
        self.in_proj_bias = Parameter(np.zeros(3 * self.embed_dim), dtype=dtype) if bias else None
        self.out_proj = Linear(self.embed_dim, self.embed_dim, bias, dtype=dtype, rng=rng)
        if self.out_proj.bias is not None:
            self.out_proj.bias.data = np.zeros_like(self.out_proj.bias.data)
        self.dropout = Dropout(p, rng=rng) if p else None

    def projections(self) -> list[tuple[Any, Any]]:
        """Return weight and bias for queries, keys and values."""
        parts = [slice(k * self.embed_dim, (k + 1) * self.embed_dim) for k in range(3)]
        if self.kdim == self.vdim == self.embed_dim:
            weights = [self.in_proj_weight[part] for part in parts]
        else:
            weights = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        bias = self.in_proj_bias
        biases = [None if bias is None else bias[part] for part in parts]
        return list(zip(weights, biases, strict=True))

    def forward(
        self,
        query: ArrayLike,
        key: ArrayLike,
        value: ArrayLike,
        key_padding_mask: ArrayLike = None,
        need_weights: bool = True,
        attn_mask: ArrayLike = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Let queries gather from values.

        Parameters
        ----------
        query, key, value
            Of shapes ``(queries, n, embed_dim)``, ``(keys, n, kdim)``, ``(keys, n, vdim)``; with
            ``batch_first``, n comes first; one sequence alone has no n.
        key_padding_mask
            Of shape ``(n, keys)``: booleans, True where a key is padding, or floats to be added.
        need_weights
            Whether the weights are returned, too.
        attn_mask
            Of shape ``(queries, keys)`` or ``(n * num_heads, queries, keys)``: booleans, True where
            a query must not look at a key, or floats to be added to the scores.
        average_attn_weights
            Whether the weights are averaged over the heads.
        is_causal
            Let each query look at keys of its own position and before only.

        Returns
        -------
        output, weights
            The output, of the query's shape; the weights, ``(n, queries, keys)``, or
            ``(n, num_heads, queries, keys)`` if not averaged, or None.
        """
        dtype = self.out_proj.weight.dtype
        inputs: list[Any] = [as_tensor(x, dtype) for x in (query, key, value)]
        shapes = [x._array.shape for x in inputs]
        attention_checks.check_inputs(self, shapes)
        is_batch = len(shapes[0]) == 3
        if not is_batch:
            inputs = [np.expand_dims(x, 0) for x in inputs]
        elif not self.batch_first:
            inputs = [np.swapaxes(x, 0, 1) for x in inputs]
        (n, queries, _), keys = inputs[0].shape, inputs[1].shape[1]
        q, k, v = (
            np.swapaxes(np.reshape(affine(x, *w), (n, x.shape[1], self.num_heads, -1)), 1, 2)
            for x, w in zip(inputs, self.projections(), strict=True)
        )
        allowed = causal_mask(queries, keys) if is_causal else None
        added = None
        if attn_mask is not None:
            attn_mask = attention_checks.mask("attn_mask", attn_mask)
            shape = attention_checks.shape_of_mask(self, attn_mask, n, queries, keys)
            allowed, added = joined(np.reshape(attn_mask, shape), allowed, added, dtype)
        if key_padding_mask is not None:
            padding = attention_checks.mask("key_padding_mask", key_padding_mask)
            attention_checks.check_padding(padding.shape, n, keys, is_batch)
            padding = np.reshape(padding, (n, 1, 1, keys))
            allowed, added = joined(padding, allowed, added, dtype)
        out, weights = attend(q, k, v, allowed, added, self.dropout)
        out = np.reshape(np.swapaxes(out, 1, 2), (n, queries, self.embed_dim))
        out = affine(out, self.out_proj.weight, self.out_proj.bias)
        if not is_batch:
            out = np.squeeze(out, 0)
        elif not self.batch_first:
            out = np.swapaxes(out, 0, 1)
        if not need_weights:
            return out, None
        if average_attn_weights:
            weights = np.mean(weights, axis=1)
        return out, weights if is_batch else np.squeeze(weights, 0)


def joined(mask: Value, allowed: Mask | None, added: Value | None, dtype: DTypeLike) -> Any:
    """Add a mask, True where a query must not look, or of floats, to those that there are."""
    if mask.dtype == bool:
        return ~mask if allowed is None else allowed & ~mask, added
    mask = as_tensor(mask, dtype)
    return allowed, mask if added is None else added + mask
