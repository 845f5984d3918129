"""Nests of Python's values and arrays as JSON with the arrays beside it, and back.

What JSON knows is written as it is. The rest is an object whose key ``"!"`` says what it is:

    (1, x)    {"!": "tuple", "items": [1, {"!": "array", "name": "..."}]}

Arrays are numbered: names made of keys could clash, or be invalid in files.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from ..tensor import Tensor
from . import checks

PLAIN = (bool, int, float, str, type(None))


def encode(value: Any, who: str, arrays: dict[str, Any], prefix: str, depth: int = 0) -> Any:
    """Return a value for JSON; put its arrays into `arrays`, by numbers after a prefix.

    `who` tells in errors which part of the whole it is, and `depth` how far inside.
    """
    if type(value) in PLAIN:
        checks.check_can_be_written(who, value)
        return value
    checks.check_depth(who, depth)
    depth += 1
    if isinstance(value, dict):
        checks.check_keys(who, value)
        items = {
            key: encode(item, f"{who}.{key}", arrays, prefix, depth) for key, item in value.items()
        }
        if all(type(key) is str for key in items) and "!" not in items:
            return items
        return {"!": "dict", "items": [[key, item] for key, item in items.items()]}
    if type(value) in (list, tuple):
        parts = [encode(item, f"{who}.{i}", arrays, prefix, depth) for i, item in enumerate(value)]
        return parts if type(value) is list else {"!": "tuple", "items": parts}
    if isinstance(value, np.random.Generator):
        return {"!": "generator", "state": encode_state(value.bit_generator.state)}
    array = value.data if isinstance(value, Tensor) else value
    checks.check_can_be_saved(who, array)
    name = f"{prefix}{len(arrays)}"
    arrays[name] = np.asarray(array)
    return {"!": "number" if isinstance(array, np.generic) else "array", "name": name}


def encode_state(state: Any) -> Any:
    """Return the state of a generator for JSON, with lists in the place of arrays."""
    if isinstance(state, dict):
        return {key: encode_state(item) for key, item in state.items()}
    return state.tolist() if isinstance(state, np.ndarray) else state


def decode(value: Any, arrays: dict[str, Any]) -> Any:
    """Undo `encode`; take the arrays out of `arrays`."""
    if isinstance(value, list):
        return [decode(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    if "!" not in value:
        return {key: decode(item, arrays) for key, item in value.items()}
    kind = value["!"]
    if kind == "dict":
        return {key: decode(item, arrays) for key, item in value["items"]}
    if kind == "tuple":
        return tuple([decode(item, arrays) for item in value["items"]])
    if kind == "generator":
        return generator_of(value["state"])
    if kind in ("array", "number"):
        array = arrays.pop(value["name"])
        return array if kind == "array" else array[()]
    return checks.refuse_kind(kind)


def generator_of(state: Any) -> np.random.Generator:
    """Make a generator in a state that `encode_state` has returned."""
    kind = checks.checked_kind_of_generator(state)
    bits = getattr(np.random, kind)()
    bits.state = checked_state(state, bits)
    return np.random.Generator(bits)


def checked_state(state: Any, bits: Any) -> Any:
    """Return a state that a bit generator can be set to, from what `encode_state` has returned.

    NumPy trusts positions in buffers, so a wrong one would read beyond them.
    """
    return checks.checked_like(state, bits.state, "")


def as_text(value: Any) -> bytes:
    """Return JSON as bytes."""
    return json.dumps(value, separators=(",", ":")).encode()


def from_text(text: bytes) -> Any:
    """Read JSON, without names that occur twice."""
    return json.loads(text.decode("utf-8"), object_pairs_hook=checks.without_duplicates)
