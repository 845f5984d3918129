"""The recording array: the fourth use of the one idea, NumPy's own protocols.

A `Tensor` is an array with a gradient. A `Recorded` value is an array with a diary: it holds an
array or a number, computes with it as always, and writes down each NumPy call. Put in the place of
arguments, parameters and gradients, it turns one call of a training step, forward, backward and
update, into a flat list of calls, because every derivative is made of NumPy calls, too.

It answers as what it holds: ``isinstance(x, np.ndarray)`` is true of an array. What would leave the
diary is refused: ``float(x)``, ``if x > 0``, ``np.asarray(x)``. Only where the library asks by
`look`, or where a condition depends on Python's own numbers, is an answer given; and it is written
down that a later run must give the same one. Outside of its recording it is what it holds.
"""

from __future__ import annotations

import functools
import operator
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NoReturn, TypeGuard

import numpy as np

from ..anomaly import line_of_user
from ..checks import WRITERS
from ..engine import Node
from . import checks, questions
from .calls import (
    OPERATOR_IN_PLACE,
    UFUNC_OF,
    Attribute,
    Method,
    Variable,
    expect,
    expect_shape,
    leaves,
    mapped,
)
from .devices import is_array, is_on_device
from .functions import (
    ATTRIBUTES,
    FACTS,
    MAKING,
    METHODS,
    METHODS_IN_PLACE,
    METHODS_OF_VALUES,
)

if TYPE_CHECKING:
    from .recorder import Recorder

#: The recorder of this thread or task, if it is recording.
recording: ContextVar[Recorder | None] = ContextVar("recording", default=None)
#: May the program depend on the answer to a question about a value? Not by default, only if the
#: value is computed from nothing but Python's own numbers, or the library has asked by `look`.
KNOWN, LOOKED = 1, 2


def run(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Call a function, and write it down if this thread is recording."""
    recorder = recording.get()
    if recorder is None:
        look_at_threads(args)
        return function(*plain(args), **plain(kwargs))
    return recorder.call(function, args, kwargs)


def look_at_threads(args: Any) -> None:
    """Notice if recorded values are used in threads that the function has started."""
    for x in leaves(args):
        if is_recorded(x):
            x._recorder.look_at_thread()


@contextmanager
def paused() -> Iterator[None]:
    """Record nothing inside the block: recorded values are what they hold."""
    token = recording.set(None)
    try:
        yield
    finally:
        recording.reset(token)


def plain(value: Any) -> Any:
    """Replace recorded values by the values that they hold."""
    return mapped(lambda x: x._value if is_recorded(x) else x, value)


def is_recorded(value: Any) -> TypeGuard[Recorded]:
    """Tell whether a value is recorded; its ``__class__`` is that of what it holds."""
    return issubclass(type(value), Recorded)


# ------------------------------------------------------------------------------ operators


def binary(function: Callable[..., Any]) -> tuple[Any, Any]:
    """Make an operator and its reflected form."""

    def operate(self: Any, other: Any) -> Any:
        if isinstance(other, Node):  # an array calls the ufunc, a number leaves it to the tensor
            ufunc = UFUNC_OF.get(function, np.power if function is operator.pow else None)
            speaks = isinstance(self, RecordedArray)
            return ufunc(self, other) if ufunc is not None and speaks else NotImplemented
        return run(function, self, other)

    def reflected(self: Any, other: Any) -> Any:
        return run(function, other, self)

    return operate, reflected


def in_place(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make ``x += y``, which writes into an array."""

    def operate(self: Any, other: Any) -> Any:
        if not is_array(self._value):
            return NotImplemented  # Python then tries ``x = x + y``
        recorder = recording.get()
        if recorder is None:
            function(self._value, plain(other))
        else:
            recorder.call(function, (self, other), {}, (self,))
        return self

    return operate


def unary(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make an operator of one value."""
    return lambda self: run(function, self)


def question(convert: Callable[[Any], Any], asked: str) -> Callable[..., Any]:
    """Make a method that Python calls to get at a value, as ``bool(x)`` does."""

    def answer(self: Any, *args: Any) -> Any:
        recorder = recording.get()
        try:
            value = convert(self._value, *args)
        except (ArithmeticError, ValueError):
            if recorder is not None and self._free:
                recorder.raised = line_of_user()
            raise
        if recorder is not None:
            if not self._free:
                recorder.refuse(checks.refuse_question, asked)
            recorder.expect_of(expect, convert, self, value)
            if isinstance(value, (float, complex)) and value == 0:  # zeros have signs
                recorder.expect_of(expect, str, self, str(self._value))
        return value

    return answer


# ------------------------------------------------------------------------------ the value


class Recorded:
    """An array or number of which each use is written down."""

    __slots__ = ("__weakref__", "_free", "_recorder", "_value", "_variable")

    def __init__(
        self, value: Any, variable: Variable, recorder: Recorder, free: int | bool = 0
    ) -> None:
        self._value = value
        self._variable = variable
        self._recorder = recorder
        self._free = int(free)
        recorder.handed_out.append(weakref.ref(self))

    #: Code that asks for the class takes the same branch as without a recording.
    __class__ = property(lambda self: self._value.__class__)

    def traced_is_view(self) -> bool:
        """Tell whether it is a view; of an array made inside, shapes and strides decide."""
        recorder = recording.get()
        if recorder is None or self._variable not in recorder.inputs:
            return getattr(self._value, "base", None) is not None
        return questions.base_of(recorder, self) is not None

    def looked_at(self) -> Recorded:
        """Return the value for a question that the library may ask; see `look`."""
        return type(self)(self._value, self._variable, self._recorder, LOOKED)

    def traced_as_array(self, dtype: Any = None) -> Any:
        """Do what `numpy.asarray` would."""
        if isinstance(self._value, np.ndarray) and dtype in (None, self._value.dtype):
            return self
        return run(np.asarray, self, dtype)

    def traced_call(self, function: Any, args: tuple[Any, ...]) -> Any:
        """Write a function of the library down as one call."""
        return run(function, *args)

    def allowed(self) -> Recorded:
        """Return a number that was not computed from arrays: Python may branch on it."""
        return type(self)(self._value, self._variable, self._recorder, KNOWN)

    def set_writeable(self, write: bool) -> None:
        """Make an array that only others will see read-only."""
        if write:
            self._recorder.refuse(checks.refuse_attribute, "setflags(write=True)")
        self._variable.read_only = True
        self._value.setflags(write=False)

    # ---- NumPy's protocols

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        out = kwargs.get("out", ())
        if any(isinstance(x, Node) for x in (*inputs, *out)):
            return NotImplemented
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        recorder = recording.get()
        if recorder is None:
            look_at_threads(inputs)
            result = function(*plain(inputs), **plain(kwargs))
            return out[0] if len(out) == 1 else result
        is_in_place = out and out[0] is inputs[0] and kwargs.keys() == {"out"}
        if is_in_place and isinstance(out[0], Recorded) and function in OPERATOR_IN_PLACE:
            recorder.call(OPERATOR_IN_PLACE[function], inputs, {}, out)
            return out[0]
        written = inputs[:1] if method == "at" else tuple([x for x in out if x is not None])
        result = recorder.call(function, inputs, kwargs, written)
        return out[0] if len(out) == 1 and out[0] is not None else result

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        recorder = recording.get()
        if recorder is not None:
            if not self._free or isinstance(self._value, np.ndarray):
                recorder.refuse(checks.refuse_conversion)
            float(self)
        return np.array(self._value, dtype=dtype, copy=copy)

    def __getattr__(self, name: str) -> Any:
        recorder = recording.get()
        if recorder is None or name in FACTS:
            return getattr(self._value, name)
        if not hasattr(self._value, name) or name.startswith("__"):
            raise AttributeError(f"{type(self._value).__name__} has no attribute {name!r} here")
        if name == "flags":
            recorder.flags_asked.add(self._variable.storage)
            return (
                questions.Flags(self) if isinstance(self._value, np.ndarray) else self._value.flags
            )
        if name == "base":
            return questions.base_of(recorder, self)
        if name in ATTRIBUTES:
            return run(Attribute(name), self)
        if name in METHODS or name in METHODS_IN_PLACE:
            return functools.partial(method, recorder, name, self)
        if name == "setflags":
            return self.set_writeable
        if name in METHODS_OF_VALUES:
            return lambda *args: question(operator.methodcaller(name, *args), f".{name}()")(self)
        return recorder.refuse(checks.refuse_attribute, name)

    def __setattr__(self, name: str, value: Any) -> None:
        recorder = recording.get()
        if name in Recorded.__slots__:
            object.__setattr__(self, name, value)
        elif recorder is None:
            setattr(self._value, name, value)
        elif name in ("real", "imag"):
            getattr(self, name)[...] = value
        else:
            recorder.refuse(checks.refuse_attribute, f"`.{name} =`")

    # ---- operators

    __add__, __radd__ = binary(operator.add)
    __sub__, __rsub__ = binary(operator.sub)
    __mul__, __rmul__ = binary(operator.mul)
    __truediv__, __rtruediv__ = binary(operator.truediv)
    __floordiv__, __rfloordiv__ = binary(operator.floordiv)
    __mod__, __rmod__ = binary(operator.mod)
    __pow__, __rpow__ = binary(operator.pow)
    __matmul__, __rmatmul__ = binary(operator.matmul)
    __and__, __rand__ = binary(operator.and_)
    __or__, __ror__ = binary(operator.or_)
    __xor__, __rxor__ = binary(operator.xor)
    __lshift__, __rlshift__ = binary(operator.lshift)
    __rshift__, __rrshift__ = binary(operator.rshift)
    __divmod__, __rdivmod__ = binary(divmod)
    __lt__, _ = binary(operator.lt)
    __le__, _ = binary(operator.le)
    __gt__, _ = binary(operator.gt)
    __ge__, _ = binary(operator.ge)
    __eq__, _ = binary(operator.eq)
    __ne__, _ = binary(operator.ne)
    del _

    __neg__ = unary(operator.neg)
    __pos__ = unary(operator.pos)
    __abs__ = unary(operator.abs)
    __invert__ = unary(operator.invert)

    __iadd__ = in_place(operator.iadd)
    __isub__ = in_place(operator.isub)
    __imul__ = in_place(operator.imul)
    __itruediv__ = in_place(operator.itruediv)
    __ifloordiv__ = in_place(operator.ifloordiv)
    __imod__ = in_place(operator.imod)
    __ipow__ = in_place(operator.ipow)
    __imatmul__ = in_place(operator.imatmul)
    __iand__ = in_place(operator.iand)
    __ior__ = in_place(operator.ior)
    __ixor__ = in_place(operator.ixor)

    # ---- elements

    def __getitem__(self, index: Any) -> Any:
        recorder = recording.get()
        if recorder is None:
            return run(operator.getitem, self, index)
        parts = index if isinstance(index, tuple) else (index,)
        masks: list[Any] = [x for x in parts if is_recorded(x) and x.dtype == bool and x.ndim]
        on_device = is_on_device(self)
        for mask in () if on_device else masks:  # the number of selected elements is a shape
            count = recorder.call(np.count_nonzero, (mask,), {})
            recorder.expect_of(expect, operator.index, count, int(count._value))
        result = run(operator.getitem, self, index)
        if masks and on_device:  # its library counts the elements: once is enough
            recorder.expect_of(expect_shape, result, result.shape)
        return result

    def __setitem__(self, index: Any, value: Any) -> None:
        recorder = recording.get()
        if recorder is None:
            self._value[plain(index)] = plain(value)
        else:
            recorder.call(operator.setitem, (self, index, value), {}, (self,))

    def __len__(self) -> int:
        return len(self._value)

    def __iter__(self) -> Iterator[Any]:
        if not self._value.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    def __copy__(self) -> Any:
        return run(Method("copy"), self) if hasattr(self._value, "copy") else self

    def __deepcopy__(self, memo: Any) -> Any:
        return self.__copy__()

    # ---- questions about the value

    __bool__ = question(bool, "`if`, `while`, `and`, `or`, `not` or bool()")
    __float__ = question(float, "float()")
    __int__ = question(int, "int()")
    __complex__ = question(complex, "complex()")
    __index__ = question(operator.index, "an index or a shape")
    __round__ = question(round, "round()")
    __hash__ = question(hash, "hash() (for a key of a dict, a set or a cache)")
    __format__ = question(format, "a string")
    __str__ = question(str, "a string")

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        self._recorder.refuse(checks.refuse_attribute, "pickling")

    def __contains__(self, item: Any) -> bool:
        return bool(run(np.any, run(operator.eq, self, item)))

    def __repr__(self) -> str:
        return f"<recorded {self._variable!r}>"


class RecordedArray(Recorded):
    """A recorded array, or one of NumPy's scalars: NumPy's functions ask these, but not numbers."""

    __slots__ = ()

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if any(issubclass(kind, Node) for kind in types):
            return NotImplemented
        if function in MAKING and is_on_device(self):  # NumPy has taken ``like`` out
            kwargs = {**kwargs, "like": self}
        recorder = recording.get()
        if recorder is None:
            look_at_threads((args, kwargs))
            return function(*plain(args), **plain(kwargs))
        written = args[:1] if function in WRITERS else ()
        if kwargs.get("out") is not None:
            written = (kwargs["out"],)
        return recorder.call(function, args, kwargs, written)


def method(recorder: Recorder, name: str, self: Any, *args: Any, **kwargs: Any) -> Any:
    """Call a method of an array or a generator, and write it down."""
    written: tuple[Any, ...] = ()
    if kwargs.get("out") is not None:
        written = (kwargs["out"],)
    elif name in METHODS_IN_PLACE:
        written = (self,)
    elif name == "shuffle":
        written = args[:1]
    return recorder.call(Method(name), (self, *args), kwargs, written)


def recorded_value(value: Any, variable: Variable, recorder: Recorder, free: int) -> Recorded:
    """Make the recorded value of an array or a number."""
    kind = RecordedArray if is_array(value) or isinstance(value, np.generic) else Recorded
    return kind(value, variable, recorder, free)
