"""The Transformer's decoder, which looks at an encoder's output, and both of them together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..kinds import Array, ArrayLike, DTypeLike
from ..random import generator
from ..tensor import Tensor
from . import attention_checks, checks
from .init import xavier_uniform_
from .module import Module
from .normalization import LayerNorm
from .transformer import (
    TransformerEncoder,
    TransformerEncoderLayer,
    TransformerLayer,
    copies,
)


class TransformerDecoderLayer(TransformerLayer):
    """Self-attention, attention to an encoder's output, and a small net, each with a residual.

        x = norm1(x + self_attention(x)),    x = norm2(x + attention(x, memory)),
        x = norm3(x + linear2(f(linear1(x))))

    or, with `norm_first`, each branch begins with its norm, as in `TransformerEncoderLayer`, whose
    parameters and errors are the same.

    References
    ----------
    Vaswani et al., "Attention Is All You Need", NIPS 2017, section 3.1.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> layer = nn.TransformerDecoderLayer(8, 2, dim_feedforward=16, batch_first=True)
    >>> layer(np.ones((3, 5, 8)), np.ones((3, 7, 8)), tgt_is_causal=True).shape
    (3, 5, 8)
    """

    attentions = ("self_attn", "multihead_attn")
    multihead_attn: Any

    def forward(
        self,
        tgt: ArrayLike,
        memory: ArrayLike,
        tgt_mask: ArrayLike = None,
        memory_mask: ArrayLike = None,
        tgt_key_padding_mask: ArrayLike = None,
        memory_key_padding_mask: ArrayLike = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Map ``(steps, n, d_model)``, beside a memory ``(keys, n, d_model)``, to the same shape.

        Masks are as in `MultiheadAttention`, those of the target and those of the memory.
        """

        def attend_to_itself(x: Any) -> Any:
            padding = tgt_key_padding_mask
            return self.self_attn(x, x, x, padding, False, tgt_mask, is_causal=tgt_is_causal)[0]

        def attend_to_memory(x: Any) -> Any:
            return self.multihead_attn(
                *(x, memory, memory, memory_key_padding_mask, False, memory_mask),
                is_causal=memory_is_causal,
            )[0]

        x = self.branch(1, tgt, attend_to_itself)
        x = self.branch(2, x, attend_to_memory)
        return self.branch(3, x, self.feedforward)


class TransformerDecoder(Module):
    """Decoder layers, one after the other: copies of one, with the same initial values.

    Parameters
    ----------
    decoder_layer
        The layer to be copied, a `TransformerDecoderLayer`.
    num_layers
        How many there are, at least 1.
    norm
        A module for the end, or None: with `norm_first`, a `LayerNorm`.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> layer = nn.TransformerDecoderLayer(8, 2, dim_feedforward=16)
    >>> decoder = nn.TransformerDecoder(layer, 2)
    >>> decoder(np.ones((5, 3, 8)), np.ones((7, 3, 8))).shape
    (5, 3, 8)
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        num_layers = checks.integer("TransformerDecoder's num_layers", num_layers, 1)
        attention_checks.check_is_module("decoder_layer", decoder_layer, Module)
        self.layers = copies(decoder_layer, num_layers)
        self.norm = norm

    def forward(
        self,
        tgt: ArrayLike,
        memory: ArrayLike,
        tgt_mask: ArrayLike = None,
        memory_mask: ArrayLike = None,
        tgt_key_padding_mask: ArrayLike = None,
        memory_key_padding_mask: ArrayLike = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Map ``(steps, n, d_model)``, beside a memory, to the same shape, layer by layer."""
        x: Any = tgt
        for layer in self.layers:
            x = layer(
                *(x, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask),
                *(tgt_is_causal, memory_is_causal),
            )
        return x if self.norm is None else self.norm(x)


class Transformer(Module):
    """An encoder, and a decoder that looks at its output, each with a norm at its end.

    All weights are drawn by Xavier's uniform rule, as PyTorch does.

    Parameters
    ----------
    d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, \
bias, dtype, rng
        As in `TransformerEncoderLayer`.
    num_encoder_layers, num_decoder_layers
        How many layers there are, at least 1.
    custom_encoder, custom_decoder
        Modules in place of the encoder and the decoder, or None.

    Raises
    ------
    TypeError, ValueError
        When made with sizes that do not fit, or called with other shapes.

    References
    ----------
    Vaswani et al., "Attention Is All You Need", NIPS 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> net = nn.Transformer(8, 2, 1, 1, dim_feedforward=16, batch_first=True)
    >>> net(np.ones((3, 7, 8)), np.ones((3, 5, 8)), tgt_is_causal=True).shape
    (3, 5, 8)
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[..., Any] = "relu",
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
        rng: np.random.Generator | None = None,
    ) -> None:
        rng = generator(rng)
        sizes = (d_model, nhead, dim_feedforward, dropout, activation)
        options = (layer_norm_eps, batch_first, norm_first, bias)

        def norm() -> LayerNorm:
            return LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)

        if custom_encoder is None:
            layer: Module = TransformerEncoderLayer(*sizes, *options, dtype=dtype, rng=rng)
            custom_encoder = TransformerEncoder(layer, num_encoder_layers, norm())
        attention_checks.check_is_module("custom_encoder", custom_encoder, Module)
        self.encoder = custom_encoder
        if custom_decoder is None:
            layer = TransformerDecoderLayer(*sizes, *options, dtype=dtype, rng=rng)
            custom_decoder = TransformerDecoder(layer, num_decoder_layers, norm())
        attention_checks.check_is_module("custom_decoder", custom_decoder, Module)
        self.decoder = custom_decoder
        for parameter in self.parameters():
            if parameter.ndim > 1:
                xavier_uniform_(parameter, generator=rng)

    def forward(
        self,
        src: ArrayLike,
        tgt: ArrayLike,
        src_mask: ArrayLike = None,
        tgt_mask: ArrayLike = None,
        memory_mask: ArrayLike = None,
        src_key_padding_mask: ArrayLike = None,
        tgt_key_padding_mask: ArrayLike = None,
        memory_key_padding_mask: ArrayLike = None,
        src_is_causal: bool = False,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Map a source ``(keys, n, d_model)`` and a target ``(steps, n, d_model)``.

        The output has the target's shape. Masks are as in `MultiheadAttention`.
        """
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        return self.decoder(
            *(tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask),
            *(tgt_is_causal, memory_is_causal),
        )

    @staticmethod
    def generate_square_subsequent_mask(size: int) -> Array:
        """Return what lets each position look at itself and before only: 0, and -inf behind.

        Examples
        --------
        >>> from microgrand import nn
        >>> nn.Transformer.generate_square_subsequent_mask(2)
        array([[  0., -inf],
               [  0.,   0.]], dtype=float32)
        """
        size = checks.integer("generate_square_subsequent_mask's size", size, 1)
        allowed = np.tri(size, dtype=bool)
        return np.where(allowed, np.float32(0), np.float32(-np.inf))
