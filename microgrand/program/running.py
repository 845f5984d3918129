"""A program with what it takes for granted, ready to run."""

from __future__ import annotations

import functools
import itertools
import linecache
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine import new_tensor
from . import blocks, buffers, lowering, masks, numba_cache, operands, passes, sums, values
from .backups import Backup
from .binding import PUBLISHED, Binding
from .calls import Deviation, Program, Variable, mapped, same
from .devices import is_on_device
from .errstates import Errstate
from .operands import SMALL, TINY
from .source import Source
from .tracing import Tracing

numbers = itertools.count()


class Trace:
    """A program with what it takes for granted, ready to run."""

    def __init__(self, made: Tracing, backend: str = "numpy") -> None:
        self.made = made
        # Machine code raises nothing where the function asks for errors, and catches them.
        asks = any(how == "raise" for call in made.program.calls for _, how in call.errstate)
        self.backend = "numpy" if asks else backend
        self.parts = ""  # the native ones, as Python
        self.program = program = made.program
        self.binding = Binding(made)
        self.enter = self.binding.enter
        #: Threads that add to the same gradients take turns, as eager code does.
        self.accumulates = self.binding.reads_gradients
        own = made.own_tensors
        kinds: dict[int, Kind] = {}  # an array may be given twice
        self.kinds = mapped(
            lambda leaf: kinds.get(id(leaf)) or Kind(leaf, kinds, id(leaf) in own),
            (made.args, made.kwargs),
        )
        if self.binding.replaced_gradients() and not self.are_small(program.early):
            program.release = passes.first_of_backward(program)
        made.forget()
        program.inputs, program.bound = self.binding.inputs, self.binding.bound
        self.backup = Backup(self.binding) if made.fails_late else None
        #: What each run draws before anything else can fail, and generators that draw later, too.
        first = passes.drawn_first(program)
        self.drawn_first = [(self.binding.generator(v), words) for v, words in first.items()]
        drawn = [generator for generator, _ in self.drawn_first]
        others = [g for g in self.binding.generators if not any(g is x for x in drawn)]
        self.others = [g for g in others if isinstance(g, np.random.Generator)]
        #: Whether a device's generators draw, which cannot be put back.
        self.draws_on_device = len(self.others) < len(others)
        self.pool: list[Any] = []

    def are_small(self, shown: list[Variable]) -> bool:
        """Tell whether arrays are so small that old ones may stay beside them.

        That makes native parts longer.
        """
        most = SMALL if self.backend == "numba" else TINY
        return sum(v.nbytes for v in shown if v.is_array) <= most

    @functools.cached_property
    def source(self) -> Source:
        """The program as Python."""
        program = self.program
        if not program.on_device:
            sums.sums_of_parts(program)
        if self.backend == "numba":
            self.parts = lowered(program)
        if not program.on_device:
            operands.powers(program)
            operands.same_numbers(program)
            if self.backend == "numpy":
                values.values_for_writes(program)
            masks.join_masks(program)
            operands.numbers_as_arrays(program)
            operands.numbers_first(program)
            masks.masks_as_integers(program)
            operands.operands_alike(program)
            operands.extremes_of_rows(program)
            blocks.loops_over_blocks(program)
        buffers.buffers_and_views(program)
        source = Source(program)
        name = f"<program {next(numbers)}>"
        source.namespace |= {"deviate": deviate, "__name__": name}
        lines = source.text.splitlines(keepends=True)
        linecache.cache[name] = len(source.text), None, lines, name  # for tracebacks
        return source

    @property
    def text(self) -> str:
        """The source for readers."""
        text = self.source.text
        return self.parts + text

    @property
    def origins(self) -> dict[int, tuple[str, str]]:
        """What the lines of the text belong to."""
        before = self.parts.count("\n")
        return {before + i: origin for i, origin in self.source.origins.items()}

    def example(self) -> Any:
        """Return arguments like those that were recorded."""
        made: dict[Kind, Any] = {}
        return mapped(lambda kind: kind.make(made), self.kinds)

    def instance(self, arrays: tuple[Any, ...]) -> Any:
        """Bind the program to the arrays that stay the same."""
        self.binding.latest[0] = arrays
        holder: list[Any] = []
        publish = self.binding.publisher(holder)
        names = {**self.source.namespace, "publish": publish}
        if self.program.release is not None:
            names["release"] = self.binding.releaser(holder)
        direct = same if self.program.on_device else without_dispatch
        names |= {name: direct(function) for function, name in self.source.terse_names.items()}
        for options, name in self.source.terse_errstates.items():
            names[name] = Errstate(dict(options))
        exec(self.code, names)
        return arrays, holder, names["prepare"](*arrays)

    @functools.cached_property
    def code(self) -> Any:
        """The compiled source."""
        return compile(self.source.terse_text, self.source.namespace["__name__"], "exec")

    def run(self, entered: Any) -> Any:
        """Run the program; raise `Deviation` if eager code must do so instead.

        Until the program publishes, it has changed nothing but generators, and these are put back:
        then eager code does the same again, and fails in its own way if it must. Where a call may
        fail later, there are copies of all that the program changes.
        """
        arrays, tensors, inputs = entered
        try:
            instance = self.pool.pop()
        except IndexError:
            instance = None
        if instance is None or (
            instance[0] is not arrays and not all(map(operator.is_, instance[0], arrays))
        ):
            instance = self.instance(arrays)
        _, holder, step = instance
        holder[:] = tensors
        put_back = None if self.backup is None else self.backup.take(arrays, inputs, tensors)
        states: Any = self.others and [rng.bit_generator.state for rng in self.others]
        try:
            values = step(*inputs)
        except Exception as error:
            is_late = put_back is None and holder and holder[-1] is PUBLISHED
            if is_late or numba_cache.is_of_numba(error):
                raise
            if self.backend == "numba" and isinstance(error, MemoryError):
                raise  # a part may have begun to change arrays
            if self.draws_on_device and not isinstance(error, Deviation):
                raise
            if put_back is not None:
                put_back()
            for generator, state in zip(self.others, states, strict=True):
                generator.bit_generator.state = state
            for generator, words in self.drawn_first:
                take_back(generator.bit_generator, words)
            raise Deviation from None
        result = self.binding.finish(values, holder)
        holder.clear()
        self.pool.append(instance)
        return result


def without_dispatch(function: Any) -> Any:
    """Return what a NumPy function calls when it has looked for arrays of other libraries.

    Of a native part, that is its machine code.
    """
    if isinstance(function, numba_cache.Part):
        return function.entry
    looks = isinstance(function, type(np.dot))
    return getattr(function, "_implementation", function) if looks else function


def lowered(program: Program) -> str:
    """Put native parts in the place of calls; return the source of the parts."""
    parts = lowering.Lowering(program, numba_cache.build)
    parts.run()
    return parts.text


class Kind:
    """What is known of an argument when the call is over: of an array, what it was like.

    It is put in `kinds`, which says by ids which arguments, or the arrays of tensors, are one.
    """

    def __init__(self, leaf: Any, kinds: dict[int, Kind], is_own: bool = False) -> None:
        kinds[id(leaf)] = self
        self.create: Callable[[dict[Kind, Any]], Any] = lambda made: leaf
        if is_on_device(leaf):
            self.create = lambda made: ""  # no module is written that would need one
        elif isinstance(leaf, np.ndarray):
            like = leaf.shape, leaf.dtype, leaf.strides, leaf.flags.owndata
            self.create = lambda made: array_like(*like)
        elif is_own:
            kind, requires_grad = type(leaf), leaf._requires_grad
            array, gradient = (
                kinds.get(id(x)) or Kind(x, kinds) for x in (leaf._array, leaf._grad)
            )
            self.create = lambda made: tensor_like(
                kind, array.make(made), gradient.make(made), requires_grad
            )

    def make(self, made: dict[Kind, Any]) -> Any:
        """Return the example of this argument; it is made only once."""
        if self not in made:
            made[self] = self.create(made)
        return made[self]


def array_like(shape: Any, dtype: Any, strides: Any, owns: bool) -> Any:
    """Make an array that lies in memory as another one."""
    reach = [(n - 1) * step for n, step in zip(shape, strides, strict=True) if n]
    before = -sum(step for step in reach if step < 0)
    after = sum(step for step in reach if step > 0) + dtype.itemsize
    array: Any = np.ndarray(shape, dtype, bytearray(before + after), before, strides)
    own = np.empty_like(array)
    return own if owns and own.strides == strides else array


def tensor_like(kind: Any, array: Any, gradient: Any, requires_grad: bool) -> Any:
    """Make a tensor that is like another one."""
    tensor = new_tensor(array)
    tensor.__class__ = kind
    tensor._grad, tensor._requires_grad = gradient, requires_grad
    return tensor


def take_back(bits: Any, words: int) -> None:
    """Put a bit generator back by some words; it may also keep half a word."""
    half = {key: bits.state[key] for key in ("has_uint32", "uinteger")}
    bits.advance(-words)
    bits.state = bits.state | half


def deviate() -> None:
    """Say that the run would not do what was recorded."""
    raise Deviation
