"""`compile`: the callable that watches, records, and runs the program."""

from __future__ import annotations

import copy
import functools
import os
import threading
from collections.abc import Callable
from typing import Any

from .. import engine, tensor
from ..nn.dropout import masks
from ..tensor import Tensor
from ..transforms import Variable as TransformVariable
from . import checks
from .calls import Call, Deviation, leaves
from .comparison import run_both
from .containers import attributes_of, containers_in
from .recording import recording
from .running import Trace
from .sameness import is_static
from .saving import save
from .tracing import Tracing

#: How many programs a function may have before calls of other kinds run eagerly.
MOST_PROGRAMS = 32
#: The user is told after this many calls that had to run eagerly.
OFTEN = 20
#: Recording puts recorded values in the place of arrays, so only one thread may do it.
one_at_a_time = threading.RLock()


def unlock_in_child() -> None:
    """Make a new lock in a forked process: another thread may have held the old one."""
    global one_at_a_time
    one_at_a_time = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=unlock_in_child)


def compile(
    function: Callable[..., Any] | None = None, *, check: bool = False, backend: str = "numpy"
) -> Any:
    """Turn a function of arrays, or a training step, into one flat NumPy program; a decorator.

    The first call is watched, the second is traced: every NumPy call in it is written down,
    forward, backward and update. From then on the program runs, with the same bits as eager code.

    Parameters
    ----------
    function
        A function of arrays, tensors and nests of them, such as ``value_and_grad(loss)``, or a
        training step that closes over modules and optimizers. Left out in ``@compile(check=True)``.
    check
        Run eager code beside each call, from the same state, and raise RuntimeError if anything
        differs.
    backend
        ``"numpy"``, or ``"numba"`` for machine code: chains of elementwise functions, reductions
        and matrix products become loops. It needs the extra ``numba``.

    Returns
    -------
    Compiled
        It is called like `function`, and returns what that returns, a loss as a tensor without a
        graph. Parameters are written as the optimizer writes them; results, ``grad`` and ``mask``
        are new at each call. ``source`` is the latest program, and ``save`` writes it to a file.

    Raises
    ------
    ValueError
        If there is no such backend, or ``check`` is combined with ``"numba"``, whose bits differ.
    ModuleNotFoundError
        If the backend is ``"numba"``, and this is not installed.
    TypeError
        In the first or second call, naming the line that cannot be traced: one that asks for a
        value (``if x > 0``, ``float(x)``, ``.item()``, ``np.asarray(x)``), changes Python numbers,
        lists or the order of a dict, keeps arrays in something like a queue, takes the next item
        of an iterator, or depends on something that cannot be seen, such as a generator made
        inside the function, or random numbers that no `numpy.random.Generator` draws. Everything
        that the call has changed is put back.

    Notes
    -----
    There is one program for each combination of shapes, dtypes and memory layouts of the arguments,
    of training modes, and of Python numbers among the arguments, in the closure and in modules.
    Floats among these may change without a new program, and so may an optimizer's ``lr`` and
    momenta, and a dropout layer's ``p``. At most 32 programs are made.

    Arrays that the function closes over are read at each call, and numbers are compared, also those
    in other modules of yours, in classes, in context variables, or under decorators. If an object
    of yours is not a module (a trainer, say), attributes that the code does not name may change;
    where the code passes the object itself on, as in ``vars(self)``, all are compared. Comparing a
    long list takes time in each call, where an array or a tuple does not; of a long dict, only what
    the function reads is compared. Records, matrices, memoryviews and other objects that expose
    their memory are compared byte by byte.

    Some things cannot be seen, if they were the same in the first two calls: files, the
    environment, the clock, the system's random numbers, the state of installed packages, loggers,
    locks, iterators in sets and `io.StringIO`, names used in code that is given as a string, what
    other threads compute, and a new shape or dtype that is given in place to the array of a
    parameter or an optimizer. ``check=True`` finds them. Python itself runs in the first two calls
    only, so that prints, logs and warnings appear twice.

    If the function itself catches an error (or a warning that was turned into one), that call runs
    eagerly and leaves no program. The same holds for a call in which the program raises; where this
    may happen after the first change to an array, each run copies what it is about to change.

    Returned lists and dicts are new ones: a dict that the function closes over is returned as
    another one with the same items. Lists, tuples and dicts of your own classes keep their class
    and their attributes, which are compared before a run. Other objects among the arguments, such
    as generators and dataclasses, are compared by identity: a new one is traced again.

    What two masks drop one after the other is zeroed in one step, so a warning of an overflow in
    between may be missing.

    If a check or a shape that depends on values turns out differently than when it was traced, the
    whole call runs eagerly. So do calls inside `grad` and other transforms, where the function
    becomes part of their graph, calls under `detect_anomaly`, and calls inside `DropoutMasks`.

    Arrays of a device whose library speaks NumPy's protocols, such as CuPy's, are traced as well:
    arguments, parameters, buffers, what an optimizer remembers. The program is then a list of plain
    calls that the library executes; it looks at no numbers that eager code does not look at, and
    leaves the reuse of memory to the library. Masks from a device's generator are new in each call.
    Such a generator cannot be put back: a check or a shape that depends on what it has drawn is
    refused, and an error after a draw is raised as it is. All arguments must belong to one library;
    ``check=True``, ``backend="numba"`` and `save` need NumPy's.

    With ``backend="numba"``, results agree with eager code to a few units in the last place.
    ``exp``, ``log`` and ``tanh`` are microgrand's own, written so that they can be vectorised;
    other such functions and powers are the C library's. Sums are added in another order, those of
    float32 in float64; products of small matrices are loops, of larger ones SciPy's BLAS. Overflow
    and division by zero give no warnings, even where `numpy.errstate` asks for them; where the
    function itself turns them into errors, the NumPy program runs. What has no native code is left
    to NumPy; ``source`` names it. The third call waits for Numba to compile, which pays off over
    many calls only. Machine code is kept in the user's cache folder, from which it loads quickly.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import compile, grad
    >>> slope = compile(grad(lambda x: np.sum(np.tanh(x) ** 2)))
    >>> for _ in range(3):
    ...     slope(np.array([0.5, 1.0]))
    array([0.72686198, 0.63970001])
    array([0.72686198, 0.63970001])
    array([0.72686198, 0.63970001])
    >>> "np.tanh(x, out=tanh)" in slope.source
    True
    """
    if function is None:
        return functools.partial(compile, check=check, backend=backend)
    return Compiled(function, check, backend)


class Compiled:
    """A function that is traced and then run as a program; what `compile` returns.

    Attributes
    ----------
    source
        The latest program, as Python source.
    eager_calls
        How many calls had to run eagerly although there was a program: a shape or a check that
        depends on values came out in another way.
    """

    def __init__(
        self, function: Callable[..., Any], check: bool = False, backend: str = "numpy"
    ) -> None:
        checks.check_function(function)
        checks.check_backend(backend, check)
        self.function = function
        self.check = check
        self.backend = backend
        self.traces: list[Trace] = []
        self.watched: dict[Any, Trace] = {}
        self.told = False
        self.recordings = 0
        self.eager_calls = 0
        self.of_classes: dict[type, Compiled] = {}
        functools.update_wrapper(self, function, updated=())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the program for these arguments, or watch or record the function."""
        if (
            recording.get() is not None
            or engine.observer.get() is not None
            or masks.source.get() is not masks.chance
        ):
            return self.function(*args, **kwargs)
        for trace in self.traces:
            try:
                if trace.accumulates and not self.check:
                    with tensor.accumulating:
                        entered = trace.enter(args, kwargs)
                        if entered is None:
                            continue
                        return trace.run(entered)
                entered = trace.enter(args, kwargs)
                if entered is None:
                    continue
                if not self.check:
                    return trace.run(entered)
                program = functools.partial(trace.run, entered)
                return run_both(self.function, program, args, kwargs)
            except Deviation:
                self.eager_calls += 1
                if self.eager_calls == OFTEN:
                    checks.warn_of_eager_calls(self.function, OFTEN)
            return self.function(*args, **kwargs)
        return self.other_call(args, kwargs)

    def other_call(self, args: Any, kwargs: Any) -> Any:
        """Record a call for which there is no program."""
        given = leaves((args, kwargs))
        for leaf in given:
            if isinstance(leaf, TransformVariable) or (
                isinstance(leaf, Tensor) and leaf.requires_grad and not leaf.is_leaf
            ):
                return self.function(*args, **kwargs)  # it becomes part of the graph around it
        for container in containers_in((args, kwargs)):
            checks.check_container(container, attributes_of(container), is_static)
        checks.check_arguments([x._array if isinstance(x, Tensor) else x for x in given])
        if len(self.traces) >= MOST_PROGRAMS or self.recordings >= 4 * MOST_PROGRAMS:
            if not self.told:
                self.told = True
                checks.warn_of_many(self.function, MOST_PROGRAMS)
            return self.function(*args, **kwargs)
        with one_at_a_time:
            return self.record(args, kwargs)

    def record(self, args: Any, kwargs: Any) -> Any:
        """Run the function on recorded values, and keep the program if it is to be trusted.

        That is if the call before has used the same constants: what has changed in between was
        decided out of sight.
        """
        self.recordings += 1
        made = Tracing(self.function, args, kwargs)
        made.find_state()
        if self.check or self.backend != "numpy":
            checks.check_are_numpys(made.arrays(), self.backend)
        before = self.watched.get(made.key)
        if before is not None and before.made.state.not_imported != made.state.not_imported:
            before = None  # the call has imported a module, which may hold state
        same_state = before is not None and before.enter(args, kwargs) is not None
        result = run_both(self.function, made.run, args, kwargs) if self.check else made.run()
        if made.recorder.raised:  # and the function has gone on: another call may not raise
            self.eager_calls += 1
            if self.eager_calls == OFTEN:
                checks.warn_of_eager_calls(self.function, OFTEN, made.recorder.raised)
            return result
        # What is made once, as when momentum is switched on, is there in the call after this one.
        if before is not None and made.changes and (same_state or before.made.changes):
            made.undo()
            checks.refuse_changes(made.changes, made.line_that_changes())
        difference = None if before is None else before.made.difference(made)
        same_answers = before is not None and before.made.expected == made.expected
        if difference is not None and same_state and same_answers:
            made.undo()
            checks.refuse_changing_constant(*difference)
        undo, calls = made.undoing(), made.recorder.calls
        trace = Trace(made, self.backend)
        kept = made.recorder.kept()
        # An object that is made once is watched in the next call.
        if kept and (before is not None or not made.changes):
            undo()
            checks.refuse_kept(line_of_values(kept, calls) or made.first_line())
        is_seen = not made.changes and not trace.binding.missing
        if before is not None and difference is None and is_seen:
            self.traces.insert(0, trace)
        else:
            self.watched[made.key] = trace
        return result

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """As a method: a program for each instance, or for the class of a class method."""
        if isinstance(self.function, classmethod):
            instance = type(instance) if owner is None else owner
        if instance is None:
            return self
        if isinstance(instance, type):
            if instance not in self.of_classes:
                method = self.function.__get__(instance, instance)
                if isinstance(self.function, classmethod):
                    method = self.function.__get__(None, instance)
                self.of_classes[instance] = Compiled(method, self.check, self.backend)
            return self.of_classes[instance]
        name = f"_compiled_{id(self)}"
        checks.check_has_room(instance)
        bound = vars(instance).get(name)
        # A copy of the instance has what the instance had: a method of the other one.
        if bound is None or getattr(bound.function, "__self__", instance) is not instance:
            method = self.function.__get__(instance, owner)
            object.__setattr__(instance, name, Compiled(method, self.check, self.backend))
        return vars(instance)[name]

    def __reduce__(self) -> Any:
        return Compiled, (self.function, self.check, self.backend)

    def __deepcopy__(self, memo: Any) -> Compiled:
        return Compiled(copy.deepcopy(self.function, memo), self.check, self.backend)

    @property
    def source(self) -> str:
        """The latest program, as Python source."""
        checks.check_is_compiled(self.traces)
        return self.traces[0].text

    @property
    def origins(self) -> dict[int, tuple[str, str]]:
        """What the lines of `source` belong to: from a line's number, from 0, to two strings.

        They are its section, such as "backward", and the primitive, VJP or parameter that it is of.
        """
        checks.check_is_compiled(self.traces)
        return self.traces[0].origins

    def save(self, path: Any) -> None:
        """Write the latest program as a module that runs with NumPy alone.

        Its state, the parameters and what else the program reads, is written beside it as
        ``.npz``. The module's ``step`` takes the arguments of the compiled function, arrays for
        tensors, and returns what that returned; it raises if they are others than were traced.
        Modes, schedules and numbers that the function closes over stay as they are now.

        Raises
        ------
        RuntimeError
            If there is no program yet, or what the function closes over is no longer such as when
            the latest program was traced, as after ``net.eval()`` or ``p.grad = None``.
        TypeError
            If the program calls functions that are not NumPy's, as native parts are, computes on a
            device, or reads or returns what is neither an array nor a Python number or string.
        """
        checks.check_is_compiled(self.traces)
        save(self.traces[0], path)


def line_of_values(values: list[Any], calls: list[Call]) -> str:
    """Return the line of the call that has made one of some recorded values."""
    made = {id(value._variable) for value in values}
    return next((call.line for call in calls if any(id(v) in made for v in call.results())), "")
