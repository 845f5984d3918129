"""What attention refuses, and what to do instead.

Each function returns, or raises an error that says what was given, what was expected and how to
mend it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dispatch import data_of
from ..kinds import ArrayLike, Shape, Value
from ..tensor import Tensor
from ..vjps.rules import as_array
from . import layer_checks


def check_shapes(query: Shape, key: Shape, value: Shape) -> None:
    """Raise if queries, keys and values do not fit."""
    axes = min(len(query), len(key), len(value))
    fits = axes >= 2 and query[-1] == key[-1] and key[-2] == value[-2]
    try:
        np.broadcast_shapes(query[:-2], key[:-2], value[:-2])
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            "attention needs queries (..., queries, features), keys (..., keys, features) and "
            f"values (..., keys, value_features), got shapes {query}, {key} and {value}"
        )


def check_one_mask(mask: ArrayLike, is_causal: Any) -> None:
    """Raise if there are two masks."""
    if mask is not None and is_causal:
        raise ValueError(
            "attention takes attn_mask or is_causal=True, got both; join them, "
            "mask & np.tri(queries, keys, dtype=bool)"
        )


def check_mask_fits(mask: Shape, query: Shape, key: Shape) -> None:
    """Raise if a mask does not broadcast to the scores."""
    scores = (*np.broadcast_shapes(query[:-2], key[:-2]), query[-2], key[-2])
    try:
        fits = np.broadcast_shapes(mask, scores) == scores
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            "attention needs an attn_mask that broadcasts to (..., queries, keys), here "
            f"{scores}, got shape {mask}"
        )


def check_heads(features: int, heads: int) -> None:
    """Raise if the features cannot be shared among the heads."""
    if features % heads:
        raise ValueError(
            f"MultiheadAttention's embed_dim must be a multiple of num_heads, got {features} and "
            f"{heads}"
        )


def check_inputs(layer: Any, shapes: list[Shape]) -> None:
    """Raise if queries, keys and values do not fit a layer."""
    query, key, value = shapes
    batch = 0 if layer.batch_first else 1
    fits = len(query) in (2, 3) and len(query) == len(key) == len(value)
    fits = fits and (query[-1], key[-1], value[-1]) == (layer.embed_dim, layer.kdim, layer.vdim)
    fits = fits and key[:-1] == value[:-1]
    if len(query) == 3 and fits:
        fits = query[batch] == key[batch]
    if not fits:
        n = ("n, ", "") if layer.batch_first else ("", "n, ")
        raise ValueError(
            f"MultiheadAttention takes queries ({n[0]}queries, {n[1]}{layer.embed_dim}), keys "
            f"({n[0]}keys, {n[1]}{layer.kdim}) and values ({n[0]}keys, {n[1]}{layer.vdim}), or all "
            f"without n, got shapes {query}, {key} and {value}"
        )


def mask(who: str, given: ArrayLike, meaning: str = "nothing is to be seen") -> Value:
    """Return a mask of booleans or floats, or raise."""
    values = as_array(data_of(given))
    if values.dtype.kind not in "bf":
        raise TypeError(
            f"{who} is of booleans, True where {meaning}, or of floats that are added, "
            f"got dtype {values.dtype}; convert it with {who}.astype(bool)"
        )
    return given if isinstance(given, Tensor) and values.dtype.kind == "f" else values


def shape_of_mask(layer: Any, given: Any, n: int, queries: int, keys: int) -> Shape:
    """Return the shape by which a mask broadcasts to ``(n, heads, queries, keys)``, or raise."""
    shapes = {
        (queries, keys): (1, 1, queries, keys),
        (n * layer.num_heads, queries, keys): (n, layer.num_heads, queries, keys),
    }
    if given.shape not in shapes:
        raise ValueError(
            "attn_mask is of shape (queries, keys) or (n * num_heads, queries, keys), here "
            f"{' or '.join(map(str, shapes))}, got shape {given.shape}"
        )
    return shapes[given.shape]


def check_padding(given: Shape, n: int, keys: int, is_batch: bool) -> None:
    """Raise if a mask does not tell for each key whether it is padding."""
    expected = (n, keys) if is_batch else (keys,)
    if given != expected:
        raise ValueError(
            f"key_padding_mask must be of shape {expected}, (n, keys), got shape {given}"
            if is_batch
            else f"key_padding_mask must be of shape {expected}, (keys,), got shape {given}"
        )


def activation(given: Any, by_name: dict[str, Any]) -> Any:
    """Return an activation that may be given by name, or raise."""
    if isinstance(given, str):
        layer_checks.one_of("activation", given, list(by_name))
        return by_name[given]
    if not callable(given):
        raise TypeError(f"activation is a name or a function of a tensor, got {given!r}")
    return given


def check_is_module(who: str, given: Any, module: type) -> None:
    """Raise if it is not a module."""
    if not isinstance(given, module):
        raise TypeError(f"{who} is a module, got {given!r:.60}")
