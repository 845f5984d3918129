"""The recorder: it writes down the calls of one recording, and knows every array in them.

A recorded value hands each call to it. The recorder makes the call with what the values hold, adds
it to the list, and gives a recorded value back. What a program could not do again is refused, with
the user's line.
"""

from __future__ import annotations

import gc
import operator
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn

import numpy as np

from ..anomaly import line_of_user
from . import checks, questions
from .calls import (
    Call,
    Method,
    Storage,
    Variable,
    expect_dtype,
    expect_shape,
    leaves,
    mapped,
)
from .devices import is_array, is_on_device, is_plain_array, share_memory
from .functions import (
    MAKING,
    OF_A_SHAPE,
    OF_ANY_DTYPE,
    OF_ANY_SHAPE,
    OF_LENGTHS,
    OF_MEMORY,
    OF_NUMBERS,
    OF_SHAPES,
    RETURNS_ITS_ARGUMENT,
)
from .raising import Treatment, may_raise, warns_by_itself
from .recording import KNOWN, LOOKED, Recorded, is_recorded, paused, plain, recorded_value
from .sameness import same_bits

#: What a recorded call may make besides arrays.
NUMBERS = (int, float, complex, np.generic)


class Recorder:
    """Writes down the calls of one recording."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.constants: dict[int, tuple[Any, Variable]] = {}
        self.known: dict[int, Recorded] = {}  # recorded values, by the ids of arrays that are state
        self.storages: dict[int, Storage] = {}
        self.inputs: dict[Variable, None] = {}  # in order
        self.alive: list[Any] = []  # so that no id is given to another object
        self.generators: dict[int, tuple[Any, Variable, Any]] = {}  # with their states at the start
        self.streams: list[tuple[Any, str]] = []  # bit generators after the latest draw
        self.reseeded = False
        self.saved: dict[int, tuple[Any, Any]] = {}  # arrays from outside, before they were changed
        self.refusal: checks.NotRecordable | None = None
        self.treatment = Treatment()
        self.handed_out: list[weakref.ref[Recorded]] = []
        self.raised = ""  # where a call has raised an error that depends on values
        self.flags_asked: set[Storage] = set()
        #: What was asked about the memory of arrays: the question, the arrays, the answer.
        self.facts: list[tuple[str, tuple[Variable, ...], Any]] = []
        self.bases: dict[int, tuple[Recorded, Any]] = {}  # the bases that were asked for
        self.unknown: dict[int, Any] = {}  # bases that are not inputs
        self.threads: set[threading.Thread] = set()  # those that the function has started

    # ---- values

    def storage_of(self, value: Any, given: Sequence[Recorded] = ()) -> Storage:
        """Return the memory that an array is in; a device's view is in that of one of `given`."""
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
        """Make the variable of a value, which a function has returned for those given."""
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
        """Make a recorded value of something that each run is given."""
        variable = self.variable_of(value, name)
        variable.storage.external = True
        self.inputs[variable] = None
        recorded = recorded_value(value, variable, self, type(value) is float)
        if is_array(value):
            self.known[id(value)] = recorded
        return recorded

    def constant(self, array: Any) -> Variable:
        """Return the variable of an array that is neither an input nor computed here.

        It has the array's values of this moment: these may change between two uses.
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
        if result is None and not written and is_numpys(function):  # like np.save
            self.refuse(checks.refuse_effect, function)
        of_objects = any(is_array(x) and x.dtype.hasobject for x in recorded)
        if of_objects and not (written or is_numeric(result)):
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
        """Call a function, and note errors that depend on values: they lead it another way."""
        treatment = Treatment(self.treatment)
        if "call" in treatment.errors.values() or "log" in treatment.errors.values():
            self.refuse(checks.refuse_call_on_errors)
        is_asked = treatment.by_filters and not self.treatment.by_filters
        if is_asked and warns_by_itself(function):
            self.refuse(checks.refuse_asking_for_warnings, function)
        kept = treatment.number_kept()
        try:
            result = function(*values, **options)
        except Exception as error:  # raised again in any case
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
        """Notice if a value is used in a thread of the function's: that is not recorded."""
        if threading.current_thread() in self.threads:
            with suppress(checks.NotRecordable):  # raised when the function is done
                self.refuse(checks.refuse_thread)

    def save(self, array: Any) -> None:
        """Copy an array from outside before it is written into."""
        owner = plain(array)
        while isinstance(getattr(owner, "base", None), np.ndarray) and is_writeable(owner.base):
            owner = owner.base
        if self.operand(array).storage.external and id(owner) not in self.saved:
            self.saved[id(owner)] = owner, owner.copy()

    def look_at_streams(self) -> None:
        """Notice if a generator's state is not the one that its latest recorded draw has left."""
        self.reseeded |= any(str(bits.state) != before for bits, before in self.streams)

    def kept(self) -> list[Any]:
        """Return values that are still kept somewhere after the recording, where nobody looks."""
        if all(known() is None for known in self.handed_out):
            return []
        gc.collect()  # tracebacks may still refer to values
        return [value for value in (known() for known in self.handed_out) if value is not None]

    def undoing(self) -> Callable[[], None]:
        """Return a function that puts arrays and generators back to what they were."""
        saved, generators = self.saved, self.generators

        def undo() -> None:
            for owner, copy in reversed(saved.values()):
                owner[...] = copy
            for generator, _, state in generators.values():
                if state is not None:  # a device's generator does not tell its state
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
        of_any_shape = function in OF_ANY_SHAPE and (function is not np.where or len(args) == 1)
        of_any_shape |= not written and has_lengths(function, args, kwargs)
        of_nothing = function in MAKING and all(x is kwargs.get("like") for x in recorded)
        of_a_shape = function in OF_A_SHAPE and not of_any_shape
        if (of_nothing or of_a_shape) and is_on_device(result):
            call.result.value = result
        values = [x for x in leaves(wrapped) if is_recorded(x)]
        for x in filter(is_array, values if of_any_shape else []):
            self.expect_of(expect_shape, x, x._value.shape)
        for x in values:
            dtype = getattr(x._value, "dtype", None)
            of_texts = dtype is not None and dtype.kind in "SU" and not written
            if of_texts or (dtype is not None and function in OF_ANY_DTYPE):
                self.expect_of(expect_dtype, x, dtype)
        return wrapped

    def expect_of(self, check: Any, *args: Any) -> None:
        """Write down a check that a later run sees the same."""
        operands = mapped(self.operand, args)
        self.calls.append(Call(check, operands, {}, None, (), line_of_user()))


def has_nothing_to_do(function: Any, x: Recorded, given: list[Any]) -> bool:
    """Tell whether a device's library has returned its argument, as for a squeeze of no axis."""
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
    """Tell whether a value is an integer, or an array of integers."""
    dtype = getattr(value, "dtype", None)
    return isinstance(value, int) if dtype is None else dtype.kind in "iub"


def is_numpys(function: Any) -> bool:
    """Tell whether a function is NumPy's, or a method or operator of arrays."""
    kind = type(getattr(function, "__self__", function))  # as of np.add.reduce
    module = getattr(function, "__module__", None) or kind.__module__
    return kind in (Method, np.ufunc) or module.split(".")[0] == "numpy"


def is_numeric(result: Any) -> bool:
    """Tell whether a result computed from objects is numeric, or again an array of objects."""
    if isinstance(result, np.ndarray):
        return result.dtype == object or result.dtype.kind in "biufc"
    return isinstance(result, (int, float, complex, np.number, np.bool))


#: NumPy's flag; asking for ``flags.writeable`` may warn.
WRITEABLE = 0x400


def is_writeable(array: Any) -> bool:
    """Tell whether an array may be written into; a device's array always may."""
    if not isinstance(array, np.ndarray):
        return True
    return bool(array.flags.num & WRITEABLE)
