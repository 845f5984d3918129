"""Questions about the memory of recorded arrays: whose it is, and what may be done with it.

`np.shares_memory`, ``x.flags`` and ``x.base`` are answered while a function is traced. What is said
of arrays that each run is given is noted, and checked before a run; of views that are made inside,
nothing is said that depends on these.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import checks
from .calls import Storage
from .functions import FLAGS_OF_STRIDES


def note_memory(recorder: Any, function: Any, args: Any, answer: bool) -> bool:
    """Note whether two arrays share memory, if the answer may differ in another call."""
    x, y = map(recorder.operand, args[:2])
    of_inputs = [{v for v in recorder.inputs if v.storage is z.storage} for z in (x, y)]
    if all(of_inputs) and of_inputs != [{x}, {x}]:
        if not (x in of_inputs[0] and y in of_inputs[1]):
            recorder.refuse(checks.refuse_memory, function.__name__)
        recorder.facts.append((function.__name__, (x, y), answer))
    return answer


def note_flags(recorder: Any, storage: Storage) -> None:
    """Note the flags of those arrays that each run is given and that lie in this memory."""
    for x in recorder.known.values():
        if x._variable.storage is storage and isinstance(x._value, np.ndarray):
            recorder.facts.append(("flags", (x._variable,), x._value.flags.num))


def base_of(recorder: Any, x: Any) -> Any:
    """Return the array that another one is a view of, and note which it is."""
    base = x._value.base
    if x._variable not in recorder.inputs:
        if base is not None:
            recorder.refuse(checks.refuse_memory, "base")
        return None
    for y, other in recorder.bases.values():
        recorder.facts.append(("bases", (x._variable, y._variable), other is base))
    recorder.bases[id(x._variable)] = x, base
    recorder.facts.append(("base", (x._variable,), base is None))
    if base is None:
        return None
    for y in recorder.known.values():
        recorder.facts.append(("view", (x._variable, y._variable), y._value is base))
    known = recorder.known.get(id(base))
    return recorder.unknown.setdefault(id(base), UnknownBase(recorder)) if known is None else known


class Flags:
    """The flags of a recorded array; what is asked is noted where it may differ in a run."""

    __slots__ = ("_array",)

    def __init__(self, array: Any) -> None:
        object.__setattr__(self, "_array", array)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.asked(name), name)

    def __getitem__(self, name: str) -> Any:
        return self.asked(name)[name]

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "writeable":
            self._array._recorder.refuse(checks.refuse_attribute, f"the flag {name}")
        self._array.set_writeable(value)

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self, "writeable" if name in ("WRITEABLE", "W") else name, value)

    def __eq__(self, other: object) -> bool:
        theirs = other.asked("num") if isinstance(other, Flags) else other
        return bool(self.asked("num") == theirs)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self.asked("num"))

    def asked(self, name: str) -> Any:
        """Return the flags themselves, for one of them."""
        array = self._array
        if name not in FLAGS_OF_STRIDES:
            note_flags(array._recorder, array._variable.storage)
        return array._value.flags


class UnknownBase:
    """The array that a recorded one is a view of: whose memory that is may differ in a run."""

    def __init__(self, recorder: Any) -> None:
        self._recorder = recorder

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"the base of a recorded array has no {name} here")
        return self._recorder.refuse(checks.refuse_attribute, f"{name} of the base")
