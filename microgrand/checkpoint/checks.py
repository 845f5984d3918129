"""What checkpoints refuse: values that cannot be saved, and files that cannot be trusted.

A file is refused with a `Refused`, a ValueError that says why.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import numpy as np

from ..dispatch import library_of
from ..nn.checks import as_plain_array, check_is_whole, where_to_bring

#: What an array in a file may hold.
KINDS = "biufc"


class Refused(ValueError):  # noqa: N818
    """A file is damaged, foreign, or does not fit."""


def refuse_file(path: Any, reason: Any) -> NoReturn:
    """Raise because a file cannot be loaded."""
    raise Refused(f"{path} was refused, nothing was changed: {reason}") from None


# ------------------------------------------------------------------------------------ saving


def format_of(path: Any) -> str:
    """Return the ending of a file's name, which tells its format."""
    for ending in (".npz", ".safetensors"):
        if str(path).endswith(ending):
            return ending
    raise ValueError(f"a checkpoint's name ends in .npz or .safetensors, got {str(path)!r}")


def check_has_state(who: str, value: Any, kind: str) -> None:
    """Raise if something that is to be saved or loaded has no state."""
    if not (hasattr(value, "state_dict") and hasattr(value, "values_to_load")):
        raise TypeError(
            f"checkpoint's {who} is {kind}, got {type(value).__name__}; the state_dict() of a "
            "further one can be saved in extra"
        )


#: How deep lists and dicts may be nested: when a file is read, maybe from within many calls,
#: Python's limit is a thousand calls.
DEEPEST = 100
#: The longest integer: Python refuses to read those of more than 4300 digits.
MOST_BITS = 12_000
#: The longest name of an array in bytes, which is that of ``.npz`` files.
LONGEST = 60_000


def check_depth(name: str, depth: int) -> None:
    """Raise if a nest is so deep that it may not be read again, or holds itself."""
    if depth >= DEEPEST:
        raise ValueError(
            f"checkpoint: {name.partition('.')[0]} has lists or dicts nested more than "
            f"{DEEPEST} deep, or one holds itself ({name:.60}...); save something flatter"
        )


def check_can_be_written(name: str, value: Any) -> None:
    """Raise if an integer has more digits than Python reads."""
    if type(value) is int and value.bit_length() > MOST_BITS:
        raise ValueError(
            f"checkpoint: {name:.60} is, or has as a key, an integer of {value.bit_length()} bits, "
            f"and {MOST_BITS} can be saved; save a string, hex(number)"
        )


def check_place(path: str) -> None:
    """Raise if there can be no file of a path."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise FileNotFoundError(
            f"checkpoint: {path} cannot be written, as there is no folder {folder}; make it first, "
            "os.makedirs(folder, exist_ok=True)"
        )
    if os.path.isdir(path):
        raise IsADirectoryError(f"checkpoint: {path} is a folder; give a file in it a name")


def check_keys(name: str, items: Mapping[Any, Any]) -> None:
    """Raise if a dict's keys would not come back as they were."""
    for key in items:
        if type(key) not in (str, int):
            raise TypeError(
                f"checkpoint: the keys of {name} are strings or integers, got {key!r}; save other "
                "ones as a list of pairs"
            )
        check_can_be_written(name, key)


def check_can_be_saved(name: str, value: Any) -> None:
    """Raise if a value is not an array of numbers."""
    if not isinstance(value, (np.ndarray, np.generic)):
        if library_of(value) is not None:
            raise TypeError(f"checkpoint: {name}: {where_to_bring(value)}")
        raise TypeError(
            f"checkpoint: {name} is of type {type(value).__name__}; a checkpoint holds None, "
            "numbers, strings, lists, tuples, dicts, arrays and numpy.random.Generators: save what "
            "it consists of"
        )
    try:
        check_is_whole(value)
    except TypeError as error:
        raise TypeError(f"checkpoint: {name}: {error}") from None
    if value.dtype.kind not in KINDS:
        raise TypeError(
            f"checkpoint: {name} is an array of dtype {value.dtype}; save numbers, or strings in a "
            "list"
        )


def plain_arrays(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return NumPy's arrays of those of a dict, or raise."""
    arrays = {}
    for name, value in model.items():
        if hasattr(value, "state_dict"):
            raise TypeError(
                f"checkpoint: model has a {type(value).__name__} as {name!r}, and holds arrays by "
                "name; to save several modules, model=nn.ModuleDict({name: module, ...})"
            )
        try:
            arrays[name] = as_plain_array(value)
        except TypeError as error:
            raise TypeError(f"checkpoint: {name}: {error}") from None
    return arrays


def check_names(names: Iterable[str], prefix: str) -> None:
    """Raise if a model's parameter has a name that files cannot have."""
    for name in names:
        if not isinstance(name, str) or not is_name(name):
            raise ValueError(
                f"checkpoint: a parameter has the name {name!r:.80}; names are strings, not "
                f"empty, without slashes, of at most {LONGEST} bytes in UTF-8"
            )
        if name.startswith(prefix):
            raise ValueError(f"checkpoint: names that begin with {prefix!r} are taken, {name!r}")


def is_name(name: str) -> bool:
    """Tell whether a name is one of an array, not a path."""
    bytes_ = name.encode(errors="replace")
    is_text = len(bytes_) <= LONGEST and bytes_.decode() == name  # not half of a character
    return bool(name) and not set(name) & set("/\\\0") and name not in (".", "..") and is_text


# ----------------------------------------------------------------------------------- loading


def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs of an object of JSON as a dict."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Refused(f"the name {twice!r} occurs twice")
    return found


def refuse_kind(kind: Any) -> NoReturn:
    """Raise because a value is of an unknown kind."""
    raise Refused(f"it holds a value of an unknown kind, {kind!r:.60}")


def checked_kind_of_generator(state: Any) -> str:
    """Return the name of a bit generator of NumPy's."""
    kind = state.get("bit_generator") if isinstance(state, dict) else None
    if kind not in ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"):
        raise Refused(f"it holds a generator of an unknown kind, {kind!r:.60}")
    return str(kind)


#: The largest values in a generator's state, where they are not those of a 128-bit number.
LARGEST = {"pos": 624, "buffer_pos": 4, "has_uint32": 1, "uinteger": 2**32 - 1}


def checked_like(given: Any, expected: Any, name: str) -> Any:
    """Return a part of a generator's state if it has the same structure as another one's."""
    if isinstance(expected, dict):
        if not isinstance(given, dict) or given.keys() != expected.keys():
            raise Refused(f"a generator's state has other parts than {', '.join(expected)}")
        return {key: checked_like(given[key], expected[key], key) for key in expected}
    if isinstance(expected, np.ndarray):
        limits = np.iinfo(expected.dtype)
        if (
            not isinstance(given, list)
            or len(given) != len(expected)
            or not all(type(x) is int and 0 <= x <= limits.max for x in given)
        ):
            raise Refused(f"a generator's {name!r} is not a list of {len(expected)} numbers")
        return np.array(given, expected.dtype)
    if isinstance(expected, str):
        if given != expected:
            raise Refused(f"a generator is a {given!r:.60}, expected {expected}")
        return given
    if type(given) is not int or not 0 <= given <= LARGEST.get(name, 2**128 - 1):
        raise Refused(f"a generator's {name!r} is {given!r:.60}")
    return given


def check_dtype(name: str, dtype: np.dtype[Any]) -> None:
    """Raise if an array in a file does not hold numbers."""
    if dtype.hasobject:
        raise Refused(f"{name!r} holds Python objects, which are pickled and would run code")
    if dtype.kind not in KINDS:
        raise Refused(f"{name!r} is of dtype {dtype}, expected numbers")


def check_shape(name: str, shape: Any, itemsize: int, promised: int) -> None:
    """Raise if an array of a shape does not have as many bytes as the file has for it."""
    if not all(type(length) is int and length >= 0 for length in shape):
        raise Refused(f"{name!r} has the shape {shape!r:.60}")
    expected = math.prod(shape) * itemsize
    if expected != promised:
        raise Refused(
            f"{name!r} of shape {tuple(shape)!r:.60} takes {expected} bytes, and there are "
            f"{promised}"
        )


def check_part(content: Any, who: str, path: Any) -> None:
    """Raise if a checkpoint does not hold what is to be loaded."""
    if content is None:
        refuse_file(path, f"it holds no {who}")


def check_generators(path: Any, given: Any, own: Mapping[str, Any]) -> None:
    """Raise if a model has other generators than the saved one."""
    if not isinstance(given, dict) or given.keys() != own.keys():
        names = ", ".join(given) if isinstance(given, dict) else ""
        refuse_file(
            path,
            f"the modules with generators of their own are {names or 'none'} there, and "
            f"{', '.join(own) or 'none'} here; generators=False leaves them as they are",
        )
