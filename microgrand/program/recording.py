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

import gc
import operator
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, NoReturn, TypeGuard

import numpy as np

from ..anomaly import line_of_user
from ..checks import WRITERS
from ..engine import Node
from . import checks, questions
from .calls import (
    OPERATOR_IN_PLACE,
    UFUNC_OF,
    Attribute,
    Call,
    Method,
    Storage,
    Variable,
    expect,
    expect_dtype,
    expect_shape,
    mapped,
)
from .devices import is_array, is_on_device, is_plain_array, same_bytes, share_memory
from .functions import (
    FACTS,
    MAKING,
    METHODS,
    METHODS_IN_PLACE,
    METHODS_OF_VALUES,
    OF_A_SHAPE,
    OF_ANY_DTYPE,
    OF_ANY_SHAPE,
    OF_LENGTHS,
    OF_MEMORY,
    OF_NUMBERS,
    OF_SHAPES,
    RETURNS_ITS_ARGUMENT,
    VIEWS,
)
from .raising import Treatment, may_raise, warns_by_itself

NUMBERS = (int, float, complex, np.generic)
#: The recorder of this thread or task, if it is recording.
recording: ContextVar[Recorder | None] = ContextVar("recording", default=None)


class Recorder:
    """Writes the calls of one recording down."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.constants: dict[int, tuple[Any, Variable]] = {}
        self.known: dict[int, Recorded] = {}  # from the id of an array that is state to its value
        self.storages: dict[int, Storage] = {}
        self.inputs: list[Variable] = []
        self.alive: list[Any] = []  # an id stays that of one object
        self.generators: dict[int, tuple[Any, Variable, Any]] = {}  # with their states before
        self.streams: list[tuple[Any, str]] = []  # bit generators, as the latest draw has left them
        self.reseeded = False
        self.saved: dict[int, tuple[Any, Any]] = {}  # arrays from outside, before they were changed
        self.refusal: checks.NotRecordable | None = None
        self.treatment = Treatment()
        self.handed_out: list[weakref.ref[Recorded]] = []
        self.raised = ""  # where a call has raised an error that depends on values
        self.flags_asked: set[Storage] = set()
        #: What was asked about the memory of arrays: a question, of which, and the answer.
        self.facts: list[tuple[str, tuple[Variable, ...], Any]] = []
        self.bases: dict[int, tuple[Recorded, Any]] = {}  # which were asked for
        self.unknown: dict[int, Any] = {}  # bases that are not inputs
        self.threads: set[threading.Thread] = set()  # that the function has started

    # ---- values

    def storage_of(self, value: Any, given: Sequence[Recorded] = ()) -> Storage:
        """Return the memory that an array is in; of a device's, that of what it is a view of."""
        if is_on_device(value):
            shared = (x._variable.storage for x in given if share_memory(x._value, value))
            return next(shared, Storage())
        owner = value
        while getattr(owner, "base", None) is not None:
            owner = owner.base
        if id(owner) not in self.storages:
            self.alive.append(owner)
            self.storages[id(owner)] = Storage()
        return self.storages[id(owner)]

    def variable_of(self, value: Any, name: str = "", given: Sequence[Recorded] = ()) -> Variable:
        """Make the variable of a value; it is what a function has returned for those given."""
        if is_array(value):
            self.alive.append(value)
            storage = self.storage_of(value, given)
            kind = np.ndarray if isinstance(value, np.ndarray) else type(value)
            variable = Variable(kind, value.shape, value.dtype, value.strides, storage, name)
            variable.writeable = is_writeable(value)
            return variable
        dtype = getattr(value, "dtype", None)
        return Variable(type(value), (), dtype, (), Storage(), name)

    def input(self, value: Any, name: str) -> Recorded:
        """Make a value that each run is given."""
        variable = self.variable_of(value, name)
        variable.storage.external = True
        self.inputs.append(variable)
        recorded = recorded_value(value, variable, self, type(value) is float)
        if is_array(value):
            self.known[id(value)] = recorded
        return recorded

    def constant(self, array: Any) -> Variable:
        """Return the variable of an array that is neither an input nor computed here.

        As it is now: it may be written into between two uses.
        """
        before, variable = self.constants.get(id(array), (None, None))
        if variable is None or before is not array or not same_bits(variable.value, array):
            variable = self.variable_of(array)
            variable.storage = Storage(constant=True)
            variable.value = array.copy(order="K")
            self.constants[id(array)] = array, variable
        return variable

    def operand(self, value: Any) -> Any:
        """Return what stands in the program for an argument."""
        if is_recorded(value):
            return value._variable if value._recorder is self else value._value
        if is_array(value):
            if not is_plain_array(value):
                self.refuse(checks.refuse_kind_of_array, value)
            known = self.known.get(id(value))
            return self.constant(value) if known is None else known._variable
        return getattr(value, "_variable", value)  # a recording generator has one

    # ---- calls

    def call(
        self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], written: Any = ()
    ) -> Any:
        """Call a function on the values, write it down, and return its recorded result."""
        for array in written:
            if not is_recorded(array) and id(array) not in self.known:
                self.refuse(checks.refuse_writing_into_plain, function)
            self.save(array)
        values, options = plain(args), plain(kwargs)
        draws = any(isinstance(x, np.random.Generator) for x in leaves((values, options)))
        if draws:
            self.look_at_streams()
        with paused():
            result = self.tried(function, args, kwargs, values, options)
        if draws:
            self.streams = [(bits, str(bits.state)) for bits, _ in self.streams]
        if function in OF_SHAPES:
            if function is np.min_scalar_type and np.ndim(values[0]) == 0:
                self.refuse(checks.refuse_question, "np.min_scalar_type")
            return result
        if function in OF_MEMORY:
            return questions.note_memory(self, function, args, result)
        given = leaves((args, kwargs))
        recorded = [x for x in given if is_recorded(x)]
        if isinstance(result, str):
            self.refuse(checks.refuse_question, "a string")
        if result is None and not written and is_numpys(function):  # as np.save
            self.refuse(checks.refuse_effect, function)
        of_objects = any(is_array(x) and x.dtype.hasobject for x in recorded)
        if of_objects and not (written or is_of_numbers(result)):
            self.refuse(checks.refuse_object, result)
        if is_array(result) and not written:
            for x in recorded:
                if result is x._value:
                    if function is np.real_if_close:
                        self.write_down(function, args, kwargs, result, recorded)
                        return x
                    if (
                        function in RETURNS_ITS_ARGUMENT
                        or not is_numpys(function)
                        or (is_on_device(result) and has_nothing_to_do(function, x, given))
                    ):
                        return x
                    written = (x,)  # an ``out`` by position
            if any(result is x for x in given):
                self.refuse(checks.refuse_writing_into_plain, function)
        return self.write_down(function, args, kwargs, result, recorded, written)

    def tried(self, function: Any, args: Any, kwargs: Any, values: Any, options: Any) -> Any:
        """Call a function; note an error that depends on values: the program goes another way."""
        treatment = Treatment(self.treatment)
        if "call" in treatment.errors.values() or "log" in treatment.errors.values():
            self.refuse(checks.refuse_call_on_errors)
        is_asked = treatment.by_filters and not self.treatment.by_filters
        if is_asked and warns_by_itself(function):
            self.refuse(checks.refuse_asking_for_warnings, function)
        kept = treatment.number_kept()
        try:
            result = function(*values, **options)
        except Exception as error:  # it is raised again in any case
            of_values = isinstance(error, (ArithmeticError, Warning))
            operands = mapped(self.operand, (args, kwargs))
            if of_values or may_raise(Call(function, *operands)):
                self.raised = line_of_user()
            raise
        if treatment.number_kept() > kept:
            self.raised = line_of_user()
        return result

    def refuse(self, refusal: Callable[..., NoReturn], *what: Any) -> NoReturn:
        """Raise what user code must not swallow: the recording is void."""
        try:
            refusal(*what, line_of_user())
        except checks.NotRecordable as error:
            self.refusal = error
            raise

    def look_at_thread(self) -> None:
        """Notice if a value is used in a thread that the function has started: nobody records."""
        if threading.current_thread() in self.threads:
            with suppress(checks.NotRecordable):  # raised when the function is done
                self.refuse(checks.refuse_thread)

    def save(self, array: Any) -> None:
        """Keep a copy of an array from outside that is about to be written into."""
        owner = plain(array)
        while isinstance(getattr(owner, "base", None), np.ndarray) and is_writeable(owner.base):
            owner = owner.base
        if self.operand(array).storage.external and id(owner) not in self.saved:
            self.saved[id(owner)] = owner, owner.copy()

    def look_at_streams(self) -> None:
        """Notice if a generator has another state than its latest recorded draw has left."""
        self.reseeded |= any(str(bits.state) != before for bits, before in self.streams)

    def kept(self) -> list[Any]:
        """Return values that someone has kept where nobody looks, after the recording."""
        if all(known() is None for known in self.handed_out):
            return []
        gc.collect()  # tracebacks may be left
        return [value for value in (known() for known in self.handed_out) if value is not None]

    def undoing(self) -> Callable[[], None]:
        """Return what puts arrays and generators back to what they were before."""
        saved, generators = self.saved, self.generators

        def undo() -> None:
            for owner, copy in reversed(saved.values()):
                owner[...] = copy
            for generator, _, state in generators.values():
                if state is not None:  # a device's generators do not tell theirs
                    generator.bit_generator.state = state

        return undo

    def write_down(
        self,
        function: Any,
        args: Any,
        kwargs: Any,
        result: Any,
        recorded: Any = (),
        written: Any = (),
    ) -> Any:
        """Add a call to the program, and return its result with a variable."""
        free = (
            any(x._free == LOOKED for x in recorded) * LOOKED
            or (bool(recorded) and all(x._free for x in recorded)) * KNOWN
        )
        made = {id(x._value): x for x in recorded} if written else {}
        made |= {id(x): self.known[id(x)] for x in written if id(x) in self.known}

        if function is operator.getitem and isinstance(result, (list, tuple, dict)):
            self.refuse(checks.refuse_object, result)

        def as_recorded(value: Any) -> Any:
            if value is None or isinstance(value, (str, np.dtype)):
                return value
            if id(value) in made:
                return made[id(value)]
            if not is_array(value) and not isinstance(value, NUMBERS):
                self.refuse(checks.refuse_object, value)
            return recorded_value(value, self.variable_of(value, "", recorded), self, free)

        wrapped = mapped(as_recorded, result)
        around = self.treatment
        errors = Treatment(around).errors
        call = Call(
            function,
            mapped(self.operand, args),
            {name: mapped(self.operand, value) for name, value in kwargs.items()},
            mapped(lambda x: x._variable if is_recorded(x) else x, wrapped),
            tuple([self.operand(x) for x in written]),
            line_of_user(),
            tuple([(kind, how) for kind, how in errors.items() if around.errors[kind] != how]),
        )
        self.calls.append(call)
        of_nothing = function in MAKING and all(x is kwargs.get("like") for x in recorded)
        is_varying = function in OF_ANY_SHAPE and (function is not np.where or len(args) == 1)
        is_varying |= not written and has_lengths(function, args, kwargs)
        of_a_shape = function in OF_A_SHAPE and not is_varying
        if (of_nothing or of_a_shape) and is_on_device(result):
            call.result.value = result
        if is_varying:
            for x in leaves(wrapped):
                if is_recorded(x) and is_array(x):
                    self.expect_of(expect_shape, x, x._value.shape)
        for x in leaves(wrapped):
            dtype = getattr(x._value, "dtype", None) if is_recorded(x) else None
            of_texts = dtype is not None and dtype.kind in "SU" and not written
            if of_texts or (dtype is not None and function in OF_ANY_DTYPE):
                self.expect_of(expect_dtype, x, dtype)
        return wrapped

    def expect_of(self, check: Any, *args: Any) -> None:
        """Write down that a later run must see the same."""
        operands = mapped(self.operand, args)
        self.calls.append(Call(check, operands, {}, None, (), line_of_user()))


def recorded_value(value: Any, variable: Variable, recorder: Recorder, free: int) -> Recorded:
    """Make the recorded value of an array or a number."""
    kind = RecordedArray if is_array(value) or isinstance(value, np.generic) else Recorded
    return kind(value, variable, recorder, free)


def is_recorded(value: Any) -> TypeGuard[Recorded]:
    """Tell whether a value is recorded; its class would say that it is an array."""
    return issubclass(type(value), Recorded)


def has_nothing_to_do(function: Any, x: Recorded, given: list[Any]) -> bool:
    """Tell whether a device's library returns its argument as it is, as of a squeeze of no axis."""
    is_first_only = given[0] is x and not any(y is x for y in given[1:])
    return is_first_only and function is not np.nan_to_num


def has_lengths(function: Any, args: Any, kwargs: Any) -> bool:
    """Tell whether the shape of a result may depend on whole numbers among the arguments."""
    if function is operator.getitem:
        parts = args[1] if isinstance(args[1], tuple) else (args[1],)
        return any(
            is_recorded(x) for part in parts if isinstance(part, slice) for x in leaves(part)
        )
    if isinstance(function, np.ufunc) or function in OF_NUMBERS or not is_numpys(function):
        return False
    given = args if function in MAKING else args[1:]
    return any(
        is_recorded(x) and is_whole(x._value) and (not np.ndim(x._value) or function in OF_LENGTHS)
        for x in leaves((given, kwargs))
    )


def is_whole(value: Any) -> bool:
    """Tell whether numbers are whole ones."""
    dtype = getattr(value, "dtype", None)
    return isinstance(value, int) if dtype is None else dtype.kind in "iub"


def is_numpys(function: Any) -> bool:
    """Tell whether a function is NumPy's, or a method or operator of arrays."""
    kind = type(getattr(function, "__self__", function))  # as of np.add.reduce
    module = getattr(function, "__module__", None) or kind.__module__
    return kind in (Method, np.ufunc) or module.split(".")[0] == "numpy"


@contextmanager
def paused() -> Iterator[None]:
    """Record nothing inside the block: recorded values are what they hold."""
    token = recording.set(None)
    try:
        yield
    finally:
        recording.reset(token)


def plain(value: Any) -> Any:
    """Replace recorded values by what they hold."""
    return mapped(lambda x: x._value if is_recorded(x) else x, value)


def leaves(value: Any) -> list[Any]:
    """List what is in nested arguments."""
    found: list[Any] = []
    mapped(found.append, value)
    return found


def same_bits(x: Any, y: Any) -> bool:
    """Tell whether two arrays or numbers are the same, also where they are nan."""
    on_device = is_on_device(x)
    x, y = (x, y) if on_device else (np.asarray(x), np.asarray(y))
    same_kind = x.shape == y.shape and x.dtype == y.dtype and x.strides == y.strides
    if on_device:
        return same_kind and same_bytes(x, y)
    if x.dtype.hasobject:
        return same_kind and all(map(same_object, x.ravel().tolist(), y.ravel().tolist()))
    padded = x.dtype.char in "gG"  # between long doubles there may be anything
    same_numbers = padded and np.array_equal(x, y, equal_nan=True)
    return same_kind and bool(x.tobytes() == y.tobytes() or same_numbers)


def same_object(x: Any, y: Any) -> bool:
    """Tell whether two of Python's objects, in arrays, are the same or equal."""
    return x is y or (type(x) is type(y) and bool(np.all(x == y)))


def is_of_numbers(result: Any) -> bool:
    """Tell whether what is computed from objects is numbers, or an array of objects again."""
    if isinstance(result, np.ndarray):
        return result.dtype == object or result.dtype.kind in "biufc"
    return isinstance(result, (int, float, complex, np.number, np.bool))


# ------------------------------------------------------------------------------ the value

#: May the program depend on the answer to a question about a value? Not by default; but where it
#: is computed from Python's own numbers only, and where the library has asked by `look`.
KNOWN, LOOKED = 1, 2


def run(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Call a function, and write it down if this thread is recording."""
    recorder = recording.get()
    if recorder is None:
        look_at_threads(args)
        return function(*plain(args), **plain(kwargs))
    return recorder.call(function, args, kwargs)


def look_at_threads(args: Any) -> None:
    """Notice if recorded values are used in threads that the functions have started."""
    for x in leaves(args):
        if is_recorded(x):
            x._recorder.look_at_thread()


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
    """Make what Python calls to get at a value, ``bool(x)`` and the like."""

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

    #: Code that asks for the class goes the way that it goes without a recording.
    __class__ = property(lambda self: self._value.__class__)

    def traced_is_view(self) -> bool:
        """Tell whether it is a view; of one made inside, shapes and strides decide that."""
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
        if name in VIEWS:
            return run(Attribute(name), self)
        if name in METHODS:
            return lambda *args, **kwargs: method(recorder, name, self, *args, **kwargs)
        if name in METHODS_IN_PLACE:
            return lambda *args, **kwargs: recorder.call(
                Method(name), (self, *args), kwargs, (self,)
            )
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
        for mask in () if on_device else masks:  # how many are selected is a shape
            count = recorder.call(np.count_nonzero, (mask,), {})
            recorder.expect_of(expect, operator.index, count, int(count._value))
        result = run(operator.getitem, self, index)
        if masks and on_device:  # whose library counts them: once is enough
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
    """An array, or one of NumPy's scalars; NumPy's functions ask it, as they do not ask numbers."""

    __slots__ = ()

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if any(issubclass(kind, Node) for kind in types):
            return NotImplemented
        if function in MAKING and is_on_device(self):  # NumPy has taken it out
            kwargs = {**kwargs, "like": self}
        recorder = recording.get()
        if recorder is None:
            look_at_threads((args, kwargs))
            return function(*plain(args), **plain(kwargs))
        written = args[:1] if function in WRITERS else ()
        if kwargs.get("out") is not None:
            written = (kwargs["out"],)
        return recorder.call(function, args, kwargs, written)


def is_writeable(array: Any) -> bool:
    """Tell whether an array may be written into; a device's always may."""
    if not isinstance(array, np.ndarray):
        return True
    return bool(array.flags.num & WRITEABLE)  # ``flags.writeable`` may warn


WRITEABLE = 0x400


def method(recorder: Recorder, name: str, self: Any, *args: Any, **kwargs: Any) -> Any:
    """Call a method of an array or a generator, and write it down."""
    written = (kwargs["out"],) if kwargs.get("out") is not None else ()
    return recorder.call(Method(name), (self, *args), kwargs, written)
