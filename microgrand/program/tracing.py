"""One call of a function on recorded values, and the program that is made of it."""

from __future__ import annotations

import enum
import inspect
import itertools
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from .. import engine
from ..anomaly import line_of_error
from ..grad_mode import grad_enabled
from ..nn.dropout import masks
from ..tensor import Tensor
from ..watching import watch_recording
from . import checks, passes
from .calls import CHECKS, Program, Variable, leaves, mapped
from .checks import NotRecordable
from .comparison import Snapshot
from .containers import CONTAINERS, attributes_of, containers_in, is_plain, items_of, with_items
from .devices import is_array, is_devices_generator, is_plain_array
from .labels import Labels
from .libraries import is_librarys_own
from .names import line_that_stores
from .optimizers import HostNumbers
from .raising import may_raise
from .recorder import Recorder
from .recording import is_recorded, recording
from .replacing import Replacing, deeply_plain
from .sameness import STATIC, STATIC_OR_FLOAT, is_static, same_constant
from .slots import Slot, dotted
from .standins import (
    RecordingSource,
    noting_threads,
)
from .state import State
from .unread import Unread


class Tracing:
    """One call of a function on recorded values, and what became of it."""

    def __init__(self, function: Callable[..., Any], args: Any, kwargs: Any) -> None:
        self.function = function
        self.args, self.kwargs = args, kwargs
        self.state = State()
        self.recorder = Recorder()
        self.replacing = Replacing(self.state, self.recorder)
        self.grad_enabled = grad_enabled.get()
        self.key = (self.grad_enabled, describe((args, kwargs)))

    # ---- recording

    def run(self) -> Any:
        """Call the function; return its result as eager code would."""
        state = self.state
        failure: Exception | None = None
        try:
            result = self.call_recorded()
        except Exception as error:  # whatever the function raises: it is raised again, or refused
            failure = error
        finally:
            self.effects, self.changes = self.replacing.restore()
        if failure is not None:
            self.fail(failure)
        self.changes += self.other_changes()
        self.version_changes = {
            key: tensor.version - state.versions[key] for key, (tensor, _) in state.tensors.items()
        }
        #: The tensors that the function has frozen, or has let train, and what they require now.
        self.requirements = [
            (tensor, tensor._requires_grad)
            for key, (tensor, _) in state.tensors.items()
            if tensor._requires_grad is not state.trained[key]
        ]
        try:
            self.check_arguments()
            self.check_functions()
            self.program = self.make_program(result)
        except NotRecordable:
            self.undo()
            raise
        return as_returned(result)

    def fail(self, failure: Exception) -> NoReturn:
        """Raise what eager code raises from the same state, or a refusal."""
        recorder = self.recorder
        if any(is_devices_generator(rng) for rng, _, _ in recorder.generators.values()):
            raise recorder.refusal or failure  # what it has drawn cannot be put back
        self.undo()
        if recorder.refusal is not None or isinstance(failure, NotRecordable):
            raise recorder.refusal or failure
        before = Snapshot(self.function, (self.args, self.kwargs))
        self.function(*self.args, **self.kwargs)
        before.put_back()
        checks.refuse_for_error(failure, line_of_error(failure))

    def find_state(self) -> None:
        """Walk from the function, and from those of its arguments that are not arrays."""
        state = self.state
        arguments = leaves((self.args, self.kwargs))
        for container in containers_in((self.args, self.kwargs)):
            if not is_plain(container):  # its methods may be called
                state.walk(type(container), "")
                for value in attributes_of(container).values():
                    state.walk(value, "")
        for leaf in arguments:
            if is_object(leaf):
                state.walk(leaf, type(leaf).__name__.lower())
        state.walk(self.function, "")
        self.names = parameter_names(self.function, self.args, self.kwargs)
        #: Tensors that may be new in each call.
        self.own_tensors = {
            id(x) for x in arguments if isinstance(x, Tensor) and id(x) not in state.tensors
        }
        for top, tree in self.names:
            for leaf, name in named_leaves(tree, top):
                if id(leaf) in self.own_tensors:
                    state.walk(leaf, name)
        state.shorten_names()

    def arrays(self) -> list[Any]:
        """Return the arrays that were found, and those among the arguments."""
        state = self.state
        found = [*state.before, *(array for array, _ in state.fixed)]
        return list(filter(is_plain_array, [*found, *leaves((self.args, self.kwargs))]))

    def call_recorded(self) -> Any:
        """Call the function while recorded values stand in the place of arrays."""
        recorder, labels = self.recorder, Labels(self.recorder)
        self.replacing.install(labels)
        recorder.streams = [
            (generator.bit_generator, str(before)) for generator, before in self.state.generators
        ]
        args, kwargs = self.given = self.recorded_arguments()
        token = recording.set(recorder)
        source = masks.source.set(RecordingSource(recorder))
        observer = engine.observer.set(labels.observe)
        try:
            with noting_threads(recorder.threads), watch_recording(labels.on_record):
                result = self.function(*args, **kwargs)
        finally:
            engine.observer.reset(observer)
            masks.source.reset(source)
            recording.reset(token)
        labels.finish()
        if np.geterr() != recorder.treatment.state:
            np.seterr(**recorder.treatment.state)
            checks.refuse_seterr(self.first_line())
        if recorder.refusal is not None:  # and the function has swallowed it
            raise recorder.refusal
        return result

    def other_changes(self) -> list[str]:
        """Name what the function has changed besides what stands in slots."""
        self.recorder.look_at_streams()
        changes = ["the state of a generator in a way that is not recorded"]
        return changes * self.recorder.reseeded

    def check_arguments(self) -> None:
        """Refuse changes of lists and dicts among the arguments: the function was given copies."""
        if any(identities_in(new) != before for new, before in self.copies.values()):
            checks.refuse_changes(["a list or dict among its arguments"], self.first_line())

    def recorded_arguments(self) -> Any:
        """Put recorded values in the place of arrays and floats among the arguments."""
        known = {
            id(value): name for top, tree in self.names for value, name in named_leaves(tree, top)
        }

        def as_recorded(leaf: Any) -> Any:
            return self.replacing.recorded(leaf, known.get(id(leaf), "x"))

        #: Copies of the containers among the arguments, and what was in them.
        self.copies: dict[int, tuple[Any, Any]] = {}

        def copy_of(tree: Any) -> Any:
            if not isinstance(tree, CONTAINERS):
                return mapped(as_recorded, tree)
            if id(tree) not in self.copies:
                copy = with_items(tree, [copy_of(item) for _, item in items_of(tree)])
                self.copies[id(tree)] = copy, identities_in(copy)
            return self.copies[id(tree)][0]

        return copy_of((self.args, self.kwargs))

    def undo(self) -> None:
        """Put back all that the call has changed."""
        self.undoing()()

    def undoing(self) -> Callable[[], None]:
        """Return a function that puts back all that the call has changed, even after `forget`."""
        undo_arrays, undo_state = self.recorder.undoing(), self.state.undoing()

        def undo() -> None:
            undo_arrays()
            undo_state()

        return undo

    # ---- the program

    def make_program(self, result: Any) -> Program:
        """Make a program of the recorded calls and of what is handed out, and shorten it."""
        recorder = self.recorder
        self.outputs: list[Variable] = []
        for container in containers_in(result):
            if not is_static(attributes_of(container)):
                checks.refuse_result(self.function, container)
        self.output_tree = mapped(self.output_of, result)
        slots = [(slot, self.variable_in(slot, value)) for slot, value in self.effects]
        program = Program(list(recorder.calls), [*recorder.inputs], [])
        program.late = [*self.outputs, *(v for _, v in slots if v is not None)]
        self.probes = passes.checks_of_numbers(program)
        self.conditions = passes.conditions(program)
        self.apart = passes.checks_first(program)
        passes.join_draws(program)
        passes.fold_constants(program)
        passes.share(program)
        passes.dead_code(program)
        passes.no_copies(program)
        passes.draws_first(program)
        #: What the checks expect. It is not a constant: another answer leads to another program.
        self.expected = [
            [x for x in leaves(call.args) if not isinstance(x, Variable)]
            for call in (*recorder.calls, *self.conditions)
            if call.function in CHECKS
        ]
        attributes = [attributes_of(x) for x in containers_in(self.output_tree)]
        returned = leaves([self.output_tree, *attributes])
        returned = [x for x in returned if isinstance(x, STATIC_OR_FLOAT)]
        self.constants = constants_in(program) + [(None, self.first_line(), x) for x in returned]
        program.commit = passes.first_commitment(program)
        after = passes.calls_after(program, program.commit)
        #: Whether a call may fail when it is too late for eager code to start over.
        asked = "raise" in recorder.treatment.errors.values()  # by the caller
        self.fails_late = any(asked or may_raise(call) for call in after)
        for call in after:
            if call.function in CHECKS:
                checks.refuse_late_question(call.line)
        drawn = False
        for call in program.calls:
            generators = [v.kind for v in call.operands() if v.is_generator]
            drawn |= not all(issubclass(kind, np.random.Generator) for kind in generators)
            if drawn and call.function in CHECKS:
                checks.refuse_question_after_draw(call.line)
        later = {v for call in after for v in call.results() if v not in call.writes}
        self.early_slots = [(slot, v) for slot, v in slots if v not in later]
        self.late_slots = [(slot, v) for slot, v in slots if v in later]
        program.early = [v for _, v in self.early_slots if v is not None]
        program.late = [*self.outputs, *(v for _, v in self.late_slots if v is not None)]
        return program

    def check_functions(self) -> None:
        """Refuse functions that NumPy is to call, if they close over values of this very call."""
        checked: set[int] = set()
        for call in self.recorder.calls:
            for leaf in leaves((call.function, call.args, call.kwargs)):
                ufunc = getattr(leaf, "__self__", None)  # as of np.add.reduce
                leaf = ufunc if isinstance(ufunc, np.ufunc) else leaf
                if callable(leaf) and not is_librarys_own(leaf) and id(leaf) not in checked:
                    checked.add(id(leaf))
                    state = State()
                    state.walk(leaf, "")
                    if state.recorded_found:
                        checks.refuse_function_made_inside(leaf, call.line)

    def variable_in(self, slot: Slot, value: Any) -> Variable | None:
        """Return the variable of what the function has put in a slot."""
        variable = None if value is None else self.recorder.operand(value)
        if isinstance(variable, Variable) and slot.key != "_array":
            variable.name = slot.name
        return variable

    def output_of(self, leaf: Any) -> Any:
        """Return the place of a value in what the function returns."""
        if isinstance(leaf, Tensor):
            if id(leaf) in self.state.tensors:
                return leaf
            if leaf.requires_grad and leaf.primitive is not None and leaf.args is not None:
                checks.refuse_graph(self.function)
            return OutputTensor(self.place_of(leaf._array))
        if is_recorded(leaf) or (is_plain_array(leaf) and type(leaf) is not np.memmap):
            return Output(self.place_of(leaf))
        known = {id(x) for x in (*self.state.seen.values(), *leaves((self.args, self.kwargs)))}
        stays = isinstance(leaf, (*STATIC_OR_FLOAT, type, enum.Enum)) or is_librarys_own(leaf)
        if not stays and id(leaf) not in known:
            checks.refuse_result(self.function, leaf)
        return leaf

    def place_of(self, array: Any) -> Any:
        """Return the number of a value among the outputs, or a number that is always the same."""
        if not is_recorded(array) and not is_array(array):
            return Always(array)
        self.outputs.append(self.recorder.operand(array))
        return len(self.outputs) - 1

    def difference(self, other: Tracing) -> Any:
        """Return where another recording has a different constant, if anywhere."""
        mine, others = self.constants, other.constants
        if len(mine) != len(others):
            return other.first_line(), "the number of calls", len(mine), len(others)
        for (function, line, a), (other_function, _, b) in zip(mine, others, strict=True):
            if function != other_function or not same_constant(a, b):
                return line, function, a, b
        return None

    def line_that_changes(self) -> str:
        """Return the line in which the function stores something that it must not."""
        for name in self.changes:
            for function in self.state.functions:
                line = line_that_stores(function.__code__, name.rsplit(".", 1)[-1])
                if line:
                    return f"{function.__code__.co_filename}:{line}"
        return self.first_line()

    def first_line(self) -> str:
        """Return the line of the function."""
        code = getattr(self.function, "__code__", None)
        return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(self.function)

    def forget(self) -> None:
        """Let go of the arrays of this call."""
        self.args, self.kwargs, self.given = (), {}, None
        self.copies, self.names = {}, []
        self.effects = []
        self.replacing.put.clear()  # an optimizer's class, while it was recorded, refers to it
        del self.replacing
        self.state.before = self.state.slots = []
        self.state.lists = self.state.wholes = self.state.attributes = self.state.fixed = []
        self.state.functions = self.state.objects = []
        self.state.answers, self.state.chances = [], []
        self.state.seen.clear()
        self.state.unnamed.clear()
        self.state.unread = Unread()
        self.state.tables.clear()
        self.state.parents.clear()
        self.state.asking.clear()
        tensors = self.state.tensors
        self.state.tensors = {key: tensors[key] for key in tensors if self.version_changes[key]}
        recorder = self.recorder
        recorder.alive, recorder.storages, recorder.saved = [], {}, {}
        recorder.known, recorder.constants, recorder.calls = {}, {}, []
        recorder.bases, recorder.unknown = {}, {}


def identities_in(container: Any) -> Any:
    """Return what changes with a container; no values are compared."""
    items = [(key, id(item)) for key, item in items_of(container)]
    return items, {key: id(value) for key, value in attributes_of(container).items()}


class Output:
    """The place of an array in what a function returns."""

    def __init__(self, place: Any) -> None:
        self.place = place


class Always:
    """A number that is always the same, and no output of the program."""

    def __init__(self, value: Any) -> None:
        self.value = value


class OutputTensor(Output):
    """The place of a tensor."""


def describe(tree: Any) -> Any:
    """Return what a program for some arguments depends on, as a key."""
    places: dict[int, int] = {}

    def of(leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            array = leaf._array
            kind = (type(array), array.shape, array.dtype.str, array.strides)
            place = places.setdefault(id(leaf), len(places))
            return ("tensor", *kind, leaf.requires_grad, place)
        if is_array(leaf):
            place = places.setdefault(id(leaf), len(places))
            return (type(leaf), leaf.shape, leaf.dtype.str, leaf.strides, place)
        if type(leaf) is float:
            return "float"
        if isinstance(leaf, np.generic) and leaf.dtype.kind in "fc":
            return leaf.dtype.str
        return (type(leaf).__name__, leaf) if isinstance(leaf, STATIC) else id(leaf)

    def inside(tree: Any) -> Any:
        if isinstance(tree, CONTAINERS):
            return id(type(tree)), [(key, inside(item)) for key, item in items_of(tree)]
        return mapped(of, tree)

    return repr(inside(tree))


def is_object(leaf: Any) -> bool:
    """Tell whether an argument is neither an array nor a number."""
    return not isinstance(leaf, (*STATIC_OR_FLOAT, Tensor)) and not is_array(leaf)


def named_leaves(value: Any, name: str) -> list[tuple[Any, str]]:
    """List the values in an argument, with names."""
    if isinstance(value, CONTAINERS):
        return [x for key, item in items_of(value) for x in named_leaves(item, dotted(name, key))]
    return [(value, name)]


def parameter_names(function: Any, args: Any, kwargs: Any) -> list[tuple[str, Any]]:
    """Return the arguments with the names of the parameters that take them."""
    try:
        parameters: Any = inspect.signature(function).parameters
    except (TypeError, ValueError):
        parameters = {}
    names = [
        name
        for name, p in parameters.items()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    taken = {*parameters, *kwargs}
    numbered = (f"x{i}" for i in itertools.count(len(names)))
    free = (name for name in numbered if name not in taken)
    names += itertools.islice(free, max(0, len(args) - len(names)))
    return [*zip(names, args, strict=False), *kwargs.items()]


def constants_in(program: Program) -> list[tuple[Any, str, Any]]:
    """List the constants of a program, with the calls that use them."""
    found: list[tuple[Any, str, Any]] = []
    for call in program.calls:
        if isinstance(call.function, HostNumbers) or call.function in CHECKS:
            continue
        for leaf in leaves((call.args, call.kwargs)):
            if isinstance(leaf, Variable):
                if leaf.storage.constant:
                    found.append((call.function, call.line, leaf.value))
            elif isinstance(leaf, (int, float, complex, np.generic)):
                found.append((call.function, call.line, leaf))
    for variable in (*program.early, *program.late):
        if variable.storage.constant:
            found.append((None, "", variable.value))
    return found


def as_returned(result: Any) -> Any:
    """Give the result of a recorded call as the program will give it."""

    def leaf_of(leaf: Any) -> Any:
        if isinstance(leaf, Tensor) and leaf.primitive is not None:
            return engine.new_tensor(deeply_plain(leaf._array))
        return deeply_plain(leaf)

    return mapped(leaf_of, result)
