"""`compile`: the callable that watches, records, and runs the program."""

from __future__ import annotations

import builtins
import functools
import inspect
import itertools
import operator
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import engine
from ..grad_mode import grad_enabled
from ..nn.dropout import replay
from ..nn.module import Module
from ..optim.optimizers import Optimizer
from ..tensor import Tensor, accumulating
from ..transforms import Variable as TransformVariable
from . import checks, passes
from .calls import Deviation, Program, Variable, mapped, variables_in
from .checks import NotRecordable
from .comparison import put_items_back, run_both
from .labels import Labels
from .recording import Recorded, Recorder, leaves, recording, same_bits
from .saving import save
from .source import Source, Writer, compiled_source
from .state import (
    MISSING,
    STATIC,
    HostNumbers,
    RecordingSource,
    Slot,
    State,
    deeply_plain,
    dotted,
    in_library,
)

#: How many programs a function may have before calls of other kinds run eagerly.
MOST = 32
#: Recording puts recorded values in the place of arrays: one at a time.
one_at_a_time = threading.RLock()
numbers = itertools.count()


def compile(function: Callable[..., Any] | None = None, *, check: bool = False) -> Any:
    """Turn a function of arrays, or a training step, into one flat NumPy program; a decorator."""
    if function is None:
        return functools.partial(compile, check=check)
    return Compiled(function, check)


class Compiled:
    """A function that is recorded and then run as a program; what `compile` returns."""

    def __init__(self, function: Callable[..., Any], check: bool = False) -> None:
        checks.check_function(function)
        self.function = function
        self.check = check
        self.traces: list[Trace] = []
        self.watched: dict[Any, Recording] = {}
        self.told = False
        self.eager_calls = 0  # how often a program could not be run to its end
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the program for these arguments, or watch or record the function."""
        if (
            recording.get() is not None
            or engine.observer.get() is not None
            or replay.source.get() is not None
        ):
            return self.function(*args, **kwargs)
        for trace in self.traces:
            inputs = trace.enter(args, kwargs)
            if inputs is None:
                continue
            if self.check:
                program = functools.partial(trace.run, self, inputs, args, kwargs)
                return run_both(self.function, program, args, kwargs)
            return trace.run(self, inputs, args, kwargs)
        return self.other_call(args, kwargs)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """As a method: a program for each instance."""
        if instance is None:
            return self
        name = f"_compiled_{id(self)}"
        if name not in vars(instance):
            method = self.function.__get__(instance, owner)
            object.__setattr__(instance, name, Compiled(method, self.check))
        return vars(instance)[name]

    def __reduce__(self) -> Any:
        return Compiled, (self.function, self.check)

    def __deepcopy__(self, memo: Any) -> Compiled:
        import copy

        return Compiled(copy.deepcopy(self.function, memo), self.check)

    def other_call(self, args: Any, kwargs: Any) -> Any:
        """Record a call for which there is no program."""
        for leaf in leaves((args, kwargs)):
            if isinstance(leaf, TransformVariable) or (
                isinstance(leaf, Tensor) and leaf.requires_grad and not leaf.is_leaf
            ):
                return self.function(*args, **kwargs)  # it becomes part of the graph around it
            checks.check_argument(leaf)
        if len(self.traces) >= MOST:
            if not self.told:
                self.told = True
                checks.warn_of_many(self.function, MOST)
            return self.function(*args, **kwargs)
        with one_at_a_time:
            return self.record(args, kwargs)

    def record(self, args: Any, kwargs: Any) -> Any:
        """Run the function on recorded values, and keep the program if it is to be trusted."""
        made = Recording(self.function, args, kwargs)
        key = made.key
        before = self.watched.get(key)
        same_state = before is not None and before.trace_applies(args, kwargs)
        result = made.run()
        if before is not None:
            if made.changes:
                made.undo()
                checks.refuse_changes(made.changes)
            difference = before.difference(made)
            if difference is None and not made.trace().binding.missing:
                self.traces.insert(0, made.trace())
                return result
            if difference is not None and same_state:
                made.undo()
                checks.refuse_changing_constant(*difference)
        self.watched[key] = made
        return result

    @property
    def source(self) -> str:
        """The latest program, as Python source."""
        checks.check_is_compiled(self.traces)
        return self.traces[0].text

    def save(self, path: Any) -> None:
        """Write the latest program as a module that runs with NumPy alone."""
        checks.check_is_compiled(self.traces)
        save(self.traces[0], path)


class Recording:
    """One call of a function on recorded values, and what became of it."""

    def __init__(self, function: Callable[..., Any], args: Any, kwargs: Any) -> None:
        self.function = function
        self.args, self.kwargs = args, kwargs
        self.state = State()
        self.recorder = Recorder()
        self.grad_enabled = grad_enabled.get()
        self.namespace: dict[str, Any] = {}
        self.inputs: list[tuple[Recorded, str]] = []  # with the code that reads them
        self.conditions: list[str] = []
        self.arg_tensors: dict[int, str] = {}
        self.key = (self.grad_enabled, describe((args, kwargs)))

    # ---- recording

    def run(self) -> Any:
        """Call the function; return its result as eager code would."""
        state, recorder = self.state, self.recorder
        for leaf in leaves((self.args, self.kwargs)):
            if isinstance(leaf, (Module, Optimizer)) or is_object(leaf):
                state.walk(leaf, type(leaf).__name__.lower())
        state.walk(self.function, "")
        self.names = parameter_names(self.function, self.args, self.kwargs)
        tensors_of_args = [x for x in leaves((self.args, self.kwargs)) if isinstance(x, Tensor)]
        own = {id(x) for x in tensors_of_args if id(x) not in state.tensors}
        for tensor, name in self.names_of_tensors():
            if id(tensor) in own:
                state.walk(tensor, name)
        try:
            state.shorten_names()
            labels = Labels(recorder)
            state.install(recorder, labels)
            args, kwargs = self.recorded_arguments()
            given = leaves((args, kwargs))
            tokens = recording.set(recorder), replay.source.set(RecordingSource(recorder))
            observer = engine.observer.set(labels.observe)
            outer_hook, engine.on_record = engine.on_record, labels.on_record
            try:
                result = self.function(*args, **kwargs)
            finally:
                engine.on_record = outer_hook
                engine.observer.reset(observer)
                replay.source.reset(tokens[1])
                recording.reset(tokens[0])
            labels.finish()
            if recorder.refusal is not None:  # and user code has swallowed it
                raise recorder.refusal
        except BaseException:
            state.restore()
            if recorder.refusal is not None:
                self.undo()
                raise recorder.refusal from None
            raise
        self.effects, self.changes = state.restore()
        self.changes += [
            "the state of a generator in a way that is not recorded"
            for generator, before in state.generators
            if not self.draws_from(generator) and str(generator.bit_generator.state) != str(before)
        ]
        if any(a is not b for a, b in itertools.zip_longest(leaves((args, kwargs)), given)):
            self.changes.append("a list or dict among its arguments")
        self.version_changes = {
            key: tensor.version - state.versions[key] for key, (tensor, _) in state.tensors.items()
        }
        self.given = args, kwargs
        self.returned = result
        try:
            self.program = self.make_program(result)
        except NotRecordable:
            self.undo()
            raise
        return deeply_plain_result(result)

    def names_of_tensors(self) -> list[tuple[Tensor, str]]:
        """Return the tensors among the arguments, with names."""
        found = []
        for name, value in self.names:
            found += [(x, n) for x, n in named_leaves(value, name) if isinstance(x, Tensor)]
        return found

    def recorded_arguments(self) -> Any:
        """Put recorded values in the place of arrays and floats among the arguments."""
        known = {
            id(value): name for top, tree in self.names for value, name in named_leaves(tree, top)
        }

        def as_recorded(leaf: Any) -> Any:
            if isinstance(leaf, np.generic) and leaf.dtype.kind not in "fc":
                return leaf
            if type(leaf) is np.ndarray or type(leaf) is float or isinstance(leaf, np.generic):
                same = self.recorder.known.get(id(leaf))
                name = known.get(id(leaf), "x")
                return self.recorder.input(leaf, name) if same is None else same
            return leaf

        return mapped(as_recorded, (self.args, self.kwargs))

    def draws_from(self, generator: Any) -> bool:
        """Tell whether draws from a generator were recorded."""
        _, variable, _ = self.recorder.generators.get(id(generator), (None, None, None))
        return any(variable is x for call in self.recorder.calls for x in call.operands())

    def undo(self) -> None:
        """Put all that the call has changed back."""
        self.recorder.undo()
        state = self.state
        for slot, before in zip(state.slots, state.before, strict=True):
            if slot.get() is not before:
                slot.set(before)
        for holder, items in (*state.lists, *state.attributes):
            put_items_back(holder, items)
        for key, (tensor, _) in state.tensors.items():
            tensor.version = state.versions[key]

    # ---- the program

    def make_program(self, result: Any) -> Program:
        """Bring the recorded calls and what is handed out together, and improve them."""
        recorder, state = self.recorder, self.state
        self.output_variables: list[Variable] = []
        self.output_tree = self.output_of(result)
        slots: list[tuple[Slot, Variable | None]] = []
        for slot, value in self.effects:
            variable = None if value is None else recorder.operand(value)
            if isinstance(variable, Variable) and slot.key != "_array":
                variable.name = slot.name
            slots.append((slot, variable))
        program = Program(list(recorder.calls), recorder.inputs, [])
        program.late = [*self.output_variables, *(v for _, v in slots if v is not None)]
        self.probes = passes.checks_of_numbers(program)
        self.conditions = passes.conditions(program)
        passes.checks_first(program)
        passes.join_draws(program)
        passes.share(program)
        passes.dead_code(program)
        passes.no_copies(program)
        self.constants = constants_in(program)
        program.commit = passes.first_commitment(program)
        after = list(program.calls)
        if program.commit is None:
            after = []
        else:
            after = after[after.index(program.commit) :]
        made = {v for call in after for v in call.results() if v not in call.writes}
        for call in after:
            if call.function in passes.CHECKS:
                checks.refuse_late_question(call.line)
        self.early_slots = [(s, v) for s, v in slots if v not in made]
        self.late_slots = [(s, v) for s, v in slots if v in made]
        program.early = [v for _, v in self.early_slots if v is not None]
        program.late = [*self.output_variables, *(v for _, v in self.late_slots)]
        del state
        return program

    def output_of(self, result: Any) -> Any:
        """Replace the arrays in what a function returns with places for values."""
        known_tensors = self.state.tensors

        def output(leaf: Any) -> Any:
            if isinstance(leaf, Tensor):
                if id(leaf) in known_tensors:
                    return leaf
                if leaf.requires_grad and leaf.primitive is not None and leaf.args is not None:
                    checks.refuse_graph(self.function)
                return OutputTensor(self.place_of(leaf._array))
            if type(leaf) is Recorded or type(leaf) is np.ndarray:
                return Output(self.place_of(leaf))
            return leaf

        return mapped(output, result)

    def place_of(self, array: Any) -> int:
        """Return the number of an array among the outputs."""
        if type(array) is not Recorded and not isinstance(array, np.ndarray):
            array = np.asarray(array)
        self.output_variables.append(self.recorder.operand(array))
        return len(self.output_variables) - 1

    def difference(self, other: Recording) -> Any:
        """Return where another recording has another constant, if it has."""
        mine, others = self.constants, other.constants
        if len(mine) != len(others):
            return other.first_line(), "the number of calls", len(mine), len(others)
        for (function, line, a), (other_function, _, b) in zip(mine, others, strict=True):
            if function != other_function or not same_constant(a, b):
                return line, function, a, b
        return None

    def first_line(self) -> str:
        """Return the line of the function."""
        code = getattr(self.function, "__code__", None)
        return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(self.function)

    def trace_applies(self, args: Any, kwargs: Any) -> bool:
        """Tell whether all that this recording took for granted holds."""
        return self.trace().enter(args, kwargs) is not None

    def trace(self) -> Trace:
        """Make the program that can be run."""
        if not hasattr(self, "_trace"):
            self._trace = Trace(self)
        return self._trace


class Output:
    """The place of an array in what a function returns."""

    def __init__(self, number: int) -> None:
        self.number = number


class OutputTensor(Output):
    """The place of a tensor."""


def describe(leaf_tree: Any) -> Any:
    """Return what a program for some arguments depends on, as a key."""

    def of(leaf: Any) -> Any:
        if isinstance(leaf, np.ndarray):
            return (leaf.shape, leaf.dtype.str, leaf.strides)
        if isinstance(leaf, Tensor):
            return ("tensor", leaf.shape, leaf.dtype.str, leaf._array.strides, leaf.requires_grad)
        if type(leaf) is float:
            return "float"
        if isinstance(leaf, np.generic) and leaf.dtype.kind in "fc":
            return leaf.dtype.str
        return (type(leaf).__name__, leaf) if isinstance(leaf, STATIC) else id(leaf)

    return repr(mapped(of, leaf_tree))


def is_object(leaf: Any) -> bool:
    """Tell whether an argument is neither an array nor a number."""
    return not isinstance(leaf, (*STATIC, float, np.ndarray, Tensor))


def named_leaves(value: Any, name: str) -> list[tuple[Any, str]]:
    """List what is in an argument, with names."""
    if isinstance(value, dict):
        return [x for key, item in value.items() for x in named_leaves(item, dotted(name, key))]
    if isinstance(value, (list, tuple)):
        return [x for i, item in enumerate(value) for x in named_leaves(item, dotted(name, i))]
    return [(value, name)]


def parameter_names(function: Any, args: Any, kwargs: Any) -> list[tuple[str, Any]]:
    """Return the arguments with the names of the parameters that take them."""
    try:
        names = [
            name
            for name, p in inspect.signature(function).parameters.items()
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
    except (TypeError, ValueError):
        names = []
    names += [f"x{i}" for i in range(len(names), len(args))]
    return [*zip(names, args, strict=False), *kwargs.items()]


def constants_in(program: Program) -> list[tuple[Any, str, Any]]:
    """List the constants of a program, with the calls that use them."""
    found = []
    for call in program.calls:
        if isinstance(call.function, HostNumbers):
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


def same_constant(a: Any, b: Any) -> bool:
    """Tell whether two constants are the same, to the bit."""
    return type(a) is type(b) and same_bits(a, b)


def deeply_plain_result(result: Any) -> Any:
    """Give the result of a recorded call as the program will give it."""

    def leaf_of(leaf: Any) -> Any:
        if isinstance(leaf, Tensor) and leaf.primitive is not None:
            return engine.new_tensor(deeply_plain(leaf._array))
        return deeply_plain(leaf)

    return mapped(leaf_of, result)


# ------------------------------------------------------------------------------ the program


class Trace:
    """A program with what it takes for granted, ready to run."""

    def __init__(self, made: Recording) -> None:
        self.made = made
        self.number = next(numbers)
        self.binding = Binding(made)
        self.enter = self.binding.enter
        program = made.program
        program.inputs = self.binding.inputs
        program.bound = self.binding.bound
        passes.draws_first(program)
        passes.numbers_as_arrays(program)
        passes.masks_as_integers(program)
        passes.buffers_and_views(program)
        self.source = source = Source(program)
        self.text = source.text
        source.namespace["deviate"] = deviate
        self.prepare_in = source.namespace
        self.pool: list[Any] = []
        #: What each run draws before anything else can fail, and generators that draw later, too.
        first = passes.drawn_first(program)
        self.drawn_first = [(self.binding.generator(v), words) for v, words in first.items()]
        self.undrawn = [g for g in self.binding.generators if g not in dict(self.drawn_first)]

    def current(self) -> Any:
        """Return the inputs of a run with the arguments with which the program was recorded."""
        return self.enter(self.made.args, self.made.kwargs)

    def latest_arrays(self) -> Any:
        """Return the arrays that stay the same from run to run."""
        return self.current()[0]

    def current_inputs(self) -> Any:
        """Return the program's other inputs with their values now."""
        return list(zip(self.made.program.inputs, self.current()[2], strict=True))

    def instance(self, arrays: tuple[Any, ...]) -> Any:
        """Bind the program to the arrays that stay the same."""
        self.binding.latest[: len(arrays)] = arrays
        holder: list[Any] = []
        publish = self.binding.publisher(holder)
        names = {**self.prepare_in, "publish": publish}
        prepare = compiled_source(self.text, names, f"<compiled {self.number}>")
        return arrays, holder, prepare(*arrays)

    def run(self, compiled: Compiled, entered: Any, args: Any, kwargs: Any) -> Any:
        """Run the program."""
        arrays, tensors, inputs = entered
        try:
            instance = self.pool.pop()
        except IndexError:
            instance = None
        if instance is None or not all(map(operator.is_, instance[0], arrays)):
            instance = self.instance(arrays)
        holder, step = instance[1], instance[2]
        holder[:] = tensors
        states = [rng.bit_generator.state for rng in self.undrawn]
        try:
            values = step(*inputs)
        except Exception:
            if holder and holder[-1] is PUBLISHED:
                raise
            compiled.eager_calls += 1
            for rng, state in zip(self.undrawn, states, strict=True):
                rng.bit_generator.state = state
            for rng, words in self.drawn_first:
                take_back(rng.bit_generator, words)
            return compiled.function(*args, **kwargs)
        self.pool.append(instance)
        return self.binding.finish(values, holder)


def take_back(bits: Any, words: int) -> None:
    """Let a bit generator draw its latest words again; it also keeps half a word, sometimes."""
    half = {key: bits.state[key] for key in ("has_uint32", "uinteger")}
    bits.advance(-words)
    bits.state = bits.state | half


PUBLISHED = object()


def deviate() -> None:
    """Say that the run would not do what was recorded."""
    raise Deviation


class Binding:
    """The Python code between a program and the objects whose state it is."""

    def __init__(self, made: Recording) -> None:
        self.made = made
        self.namespace: dict[str, Any] = {
            "ndarray": np.ndarray,
            "Tensor": Tensor,
            "grad_enabled": grad_enabled,
            "MISSING": MISSING,
            "new_tensor": engine.new_tensor,
            "static": same_static,
            "PUBLISHED": PUBLISHED,
        }
        self.bound_names: dict[int, str] = {}
        self.inputs: list[Variable] = []
        self.bound: list[Variable] = []
        program = made.program
        self.used = {v for call in (*program.calls, *program.once) for v in call.operands()}
        self.used |= program.shown
        self.used |= {v for call in made.conditions for v in call.operands()}
        self.arg_tensors: dict[int, str] = {}
        #: The arrays to which the program was bound last: what they are like is known.
        self.latest: list[Any] = [None] * (
            len(made.recorder.inputs) + len(made.recorder.generators)
        )
        self.namespace["latest"] = self.latest
        self.generators = [
            rng for rng, variable, _ in made.recorder.generators.values() if variable in self.used
        ]
        self.enter = self.make_enter()
        self.finish = self.make_finish()

    def bind(self, value: Any) -> str:
        """Return a name for an object."""
        if id(value) in self.arg_tensors:
            return self.arg_tensors[id(value)]
        if id(value) not in self.bound_names:
            name = f"o{len(self.bound_names)}"
            self.bound_names[id(value)] = name
            self.namespace[name] = value
        return self.bound_names[id(value)]

    def generator(self, variable: Variable) -> Any:
        """Return the generator that a variable stands for."""
        return next(g for g, v, _ in self.made.recorder.generators.values() if v is variable)

    # ---- before

    def make_enter(self) -> Any:
        """Make the function that checks what was taken for granted, and collects the inputs."""
        made = self.made
        lines = [f"if grad_enabled.get() is not {made.grad_enabled}: return None"]
        calls: list[tuple[Variable, str]] = []
        numbers_used = itertools.count()
        (args, kwargs), (given_args, given_kwargs) = (made.args, made.kwargs), made.given
        tensor_codes: list[str] = []

        def local(code: str) -> str:
            name = f"a{next(numbers_used)}"
            lines.append(f"{name} = {code}")
            return name

        def require(condition: str) -> None:
            lines.append(f"if not ({condition}): return None")

        def of_tree(value: Any, given: Any, code: str) -> None:
            if isinstance(value, (list, tuple)):
                name = local(code)
                require(
                    f"{name}.__class__ is {self.bind(type(value))} and len({name}) == {len(value)}"
                )
                for i, (item, recorded) in enumerate(zip(value, given, strict=True)):
                    of_tree(item, recorded, f"{name}[{i}]")
            elif isinstance(value, dict):
                name = local(code)
                require(
                    f"{name}.__class__ is {self.bind(type(value))} and len({name}) == {len(value)}"
                )
                for key in value:
                    of_tree(value[key], given[key], f"{name}.get({self.constant(key)})")
            else:
                of_leaf(value, given, code)

        def of_leaf(value: Any, given: Any, code: str) -> None:
            name = local(code)
            if type(given) is Recorded:
                require(self.like(name, value))
                if any(v is given._variable for v, _ in calls):
                    first = next(c for v, c in calls if v is given._variable)
                    require(f"{name} is {first}")
                elif given._variable not in [v for v, _ in calls]:
                    calls.append((given._variable, name))
            elif isinstance(value, Tensor):
                if id(value) in own_tensors:
                    self.arg_tensors[id(value)] = name
                    tensor_codes.append(name)
                    kind = self.bind(type(value))
                    require(f"{name}.__class__ is {kind} and {name}.primitive is None")
                else:
                    require(f"{name} is {self.bind(value)}")
            elif isinstance(value, STATIC):
                require(self.is_same(name, value))
            else:
                require(f"{name} is {self.bind(value)}")

        slot_tensors = {id(value) for value in made.state.before if isinstance(value, Tensor)}
        own_tensors = {
            id(x)
            for x in leaves((args, kwargs))
            if isinstance(x, Tensor) and id(x) not in slot_tensors
        }
        require(f"len(args) == {len(args)} and len(kwargs) == {len(kwargs)}")
        for i, arg in enumerate(args):
            of_tree(arg, given_args[i], f"args[{i}]")
        for key in kwargs:
            of_tree(kwargs[key], given_kwargs[key], f"kwargs.get({key!r})")

        state = made.state
        effects = {id(slot) for slot, _ in made.effects}
        bound_codes: list[str] = []
        from_args = {v for v, _ in calls}
        self.from_arguments = set(from_args)
        #: The slots that inputs are read from.
        self.slot_inputs: list[tuple[Slot, Variable]] = []
        for module, _ in state.modules.values():
            require(f"{self.bind(module)}.training is {module.training}")
        for key, (tensor, _) in state.tensors.items():
            require(f"{self.bind(tensor)}._requires_grad is {state.trained[key]}")
        for holder, items in (*state.lists, *state.attributes):
            require(f"len({self.bind(holder)}) == {len(items)}")
        for slot, before, put in zip(state.slots, state.before, state.put, strict=True):
            code = slot.code(self.bind)
            if (id(slot.holder), slot.key) in state.managed:
                continue
            if type(put) is Recorded:
                variable = put._variable
                if variable in self.used and variable not in from_args:
                    from_args.add(variable)
                    name = local(code)
                    stays = id(slot) not in effects and not (
                        isinstance(slot.holder, Tensor) and slot.key == "_grad"
                    )
                    stays = (
                        stays
                        and isinstance(before, np.ndarray)
                        and id(slot.holder) not in self.arg_tensors
                    )
                    if stays:
                        latest = f"latest[{len(bound_codes)}]"
                        require(f"{name} is {latest} or ({self.like(name, before)})")
                        self.bound.append(variable)
                        bound_codes.append(name)
                    else:
                        require(self.like(name, before))
                        calls.append((variable, name))
                        self.slot_inputs.append((slot, variable))
                elif variable in from_args and variable in self.used:
                    same = [n for v, n in calls if v is variable]
                    if same:
                        require(f"{code} is {same[0]}")
                elif isinstance(slot.holder, Tensor):
                    name = local(code)
                    require(
                        self.like(name, before) if slot.key == "_array" else f"{name} is not None"
                    )
            elif isinstance(before, STATIC):
                if id(slot) not in effects or isinstance(slot.holder, Tensor):
                    require(self.is_same(code, before))
            elif type(before) is float or (type(before) is tuple and all_static(before)):
                require(f"{code} == {self.constant(before)}")
            elif id(slot) not in effects:
                require(f"{code} is {self.bind(before)}")
        self.call_codes = calls
        in_program = {v for call in made.program.calls for v in call.operands()}
        in_program |= made.program.shown
        self.inputs = [v for v, _ in calls if v in in_program]
        used = [name for v, name in calls if v in in_program]
        for rng, variable, _ in made.recorder.generators.values():
            if variable in self.used:
                self.bound.append(variable)
                bound_codes.append(self.bind(rng))
        writer = Writer()
        writer.otherwise = "return None"
        writer.names = dict(calls)
        writer.taken |= dict.fromkeys(self.namespace, 1)
        conditions = Program(made.conditions, [], [])
        passes.share(conditions)
        lines += [writer.statement(call) for call in conditions.calls]
        self.namespace |= writer.namespace
        #: State that was made in this very call, and will be found in the next one.
        self.missing = {
            v
            for v in self.used
            if v.storage.external
            and v.is_array
            and v not in {*self.inputs, *self.bound}
            and not any(v is w for call in made.program.calls for w in call.results())
        }
        probes = self.make_probes()
        if probes:
            require(probes)
        lines.append(f"return {as_tuple(bound_codes)}, {as_tuple(tensor_codes)}, {as_tuple(used)}")
        return self.define("enter(args, kwargs)", lines)

    def like(self, name: str, value: Any) -> str:
        """Write the condition that a value is of the same kind as another one."""
        if isinstance(value, np.ndarray):
            return (
                f"{name}.__class__ is ndarray and {name}.shape == {value.shape} and "
                f"({name}.dtype is {self.bind(value.dtype)} or {name}.dtype == "
                f"{self.bind(value.dtype)}) and {name}.strides == {value.strides}"
            )
        return f"{name}.__class__ is {self.bind(type(value))}"

    def is_same(self, code: str, value: Any) -> str:
        """Write the condition that one of Python's values is the same."""
        if value is None or isinstance(value, bool):
            return f"{code} is {value}"
        if type(value) is str:
            return f"{code} == {value!r}"
        return f"static({code}, {self.constant(value)})"

    def constant(self, value: Any) -> str:
        """Write a value that is compared."""
        if value is None or type(value) in (bool, int, str):
            return repr(value)
        return self.bind(value)

    def make_probes(self) -> str:
        """Write the condition that optimizers' numbers will lead where they have led."""
        probes = self.made.probes
        if not probes:
            return ""
        self.namespace["probe"] = Probe(probes)
        return "probe()"

    def define(self, signature: str, lines: list[str]) -> Any:
        """Make a function of lines."""
        text = f"def {signature}:\n" + "".join(f"    {line}\n" for line in lines)
        names = self.namespace
        exec(builtins.compile(text, "<compiled binding>", "exec"), names)
        return names[signature.split("(")[0]]

    # ---- after

    def publisher(self, holder: list[Any]) -> Any:
        """Make the function that shows others what a run has computed."""
        made = self.made
        slots = made.early_slots
        lines: list[str] = []
        for i, name in enumerate(self.arg_tensors.values()):
            lines.append(f"{name} = holder[{i}]")
        for key, (tensor, _) in made.state.tensors.items():
            more = made.version_changes.get(key, 0)
            if more:
                lines.append(f"{self.bind(tensor)}.version += {more}")
        names, assignments = self.assignments(slots)
        lines += assignments
        lines.append("holder.append(PUBLISHED)")
        namespace = {**self.namespace, "holder": holder}
        text = f"def publish({', '.join(names)}):\n" + "".join(f"    {line}\n" for line in lines)
        exec(builtins.compile(text, "<compiled binding>", "exec"), namespace)
        return namespace["publish"]

    def assignments(self, slots: list[tuple[Slot, Variable | None]]) -> tuple[list[str], list[str]]:
        """Write how values are put in their slots."""
        names, lines = [], []
        for i, (slot, variable) in enumerate(slots):
            value = "None"
            if variable is not None:
                names.append(f"v{i}")
                value = f"v{i}.copy()" if variable.storage.constant else f"v{i}"
            lines.append(f"{slot.code(self.bind)} = {value}")
        return names, lines

    def make_finish(self) -> Any:
        """Make the function that shows the rest, and builds what is returned."""
        made = self.made
        lines = []
        for i, name in enumerate(self.arg_tensors.values()):
            lines.append(f"{name} = holder[{i}]")
        count = len(made.output_variables)
        names, assignments = self.assignments(made.late_slots)
        if names:
            lines.append(f"{', '.join(names)}, = values[{count}:]")
        lines += assignments

        def write(tree: Any) -> str:
            if isinstance(tree, Output):
                value = f"values[{tree.number}]"
                if made.output_variables[tree.number].storage.constant:
                    value += ".copy()"
                return f"new_tensor({value})" if isinstance(tree, OutputTensor) else value
            if type(tree) is tuple:
                return as_tuple([write(item) for item in tree])
            if type(tree) is list:
                return f"[{', '.join(map(write, tree))}]"
            if isinstance(tree, (tuple, list)):
                items = ", ".join(map(write, tree))
                kind = self.bind(type(tree))
                return f"{kind}({items})" if hasattr(tree, "_fields") else f"{kind}([{items}])"
            if isinstance(tree, dict):
                items = ", ".join(
                    f"{self.constant(key)}: {write(item)}" for key, item in tree.items()
                )
                return f"{{{items}}}"
            return self.constant(tree)

        lines.append(f"return {write(made.output_tree)}")
        return self.define("finish(values, holder)", lines)


class Probe:
    """Asks a copy of an optimizer whether its numbers will lead where they have led."""

    def __init__(self, probes: Any) -> None:
        self.probes = probes
        self.before: Any = None

    def __call__(self) -> bool:
        """Ask, if numbers of an optimizer have changed since the last time."""
        optimizers = {
            id(call.function.optimizer): call.function.optimizer
            for _, needed in self.probes
            for call in needed
            if isinstance(call.function, HostNumbers)
        }
        now = [x for o in optimizers.values() for x in vars(o).values() if type(x) is float]
        if now == self.before:
            return True
        for check, needed in self.probes:
            values: dict[Variable, Any] = {}
            for call in needed:
                fill = functools.partial(
                    mapped, lambda x: values[x] if isinstance(x, Variable) else x
                )
                if isinstance(call.function, HostNumbers):
                    result = numbers_of_copy(call.function)
                else:
                    result = call.function(*fill(call.args), **fill(call.kwargs))
                results = call.result if isinstance(call.result, tuple) else (call.result,)
                given = result if isinstance(call.result, tuple) else (result,)
                values |= dict(zip(results, given, strict=True))
            try:
                check.function(*fill(check.args))
            except Deviation:
                return False
        self.before = now
        return True


def numbers_of_copy(asked: HostNumbers) -> Any:
    """Return an optimizer's numbers without counting a step."""
    probe = object.__new__(type(asked.optimizer))
    vars(probe).update(
        {k: list(v) if isinstance(v, list) else v for k, v in vars(asked.optimizer).items()}
    )
    return probe.update(asked.index)[2]


def same_static(a: Any, b: Any) -> bool:
    """Tell whether two of Python's values are the same."""
    return a is b or (type(a) is type(b) and bool(a == b))


def all_static(value: tuple[Any, ...]) -> bool:
    """Tell whether a tuple holds numbers and the like only."""
    return all(isinstance(item, (*STATIC, float)) for item in value)


def as_tuple(items: list[str]) -> str:
    """Write a tuple."""
    return f"({', '.join(items)}{',' if len(items) == 1 else ''})"
