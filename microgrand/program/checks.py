"""What `compile` refuses, and what to do instead."""

from __future__ import annotations

import importlib.util
import keyword
import linecache
import re
import sys
import warnings
from typing import Any, NoReturn

import numpy as np

from ..checks import name_of
from .devices import is_on_device, is_plain_array


class NotRecordable(TypeError):  # noqa: N818
    """What a function does cannot be a program; all that the call has changed is put back."""


def refuse_question(asked: str, line: str) -> NoReturn:
    """Raise because Python asks for a value that differs from call to call."""
    raise NotRecordable(
        f"{line}: {asked} of an array depends on its values, which differ from call to call, and a "
        "compiled function runs Python only while it is traced. Choose with np.where, loop a "
        "fixed number of times, make tables that are indexed, such as np.eye(n)[labels], outside, "
        "return the array and convert it there, or leave this part out of the compiled function"
    )


#: What to do instead, by what has asked for an array's values.
INSTEAD = {
    "load_state_dict": "load a state outside of the compiled function, between two calls",
    "detect_anomaly": "use detect_anomaly around the call: the function then runs eagerly under it",
    "anomaly_in": "use detect_anomaly around the call: the function then runs eagerly under it",
    "np.r_": "instead of np.r_[x, y] write np.concatenate([x, y])",
    "np.c_": "instead of np.c_[x, y] write np.column_stack([x, y])",
    "np.mgrid": "np.mgrid makes as many points as values say; make it outside, of Python's numbers",
    "nditer": "instead of a loop by np.nditer compute with whole arrays",
    "ndenumerate": "instead of a loop by np.ndenumerate compute with whole arrays",
    "as_strided": "instead of as_strided write an index, or sliding_window_view of its module",
    "vectorize": "np.vectorize calls Python for each element; compute with whole arrays",
    "fromiter": "instead of np.fromiter compute with whole arrays, or np.stack a list of them",
    "assert_allclose": "test results outside of the compiled function",
    "assert_array_equal": "test results outside of the compiled function",
}


def instead(line: str) -> str | None:
    """Return what to do instead, if the line or a function that it has called tells."""
    path, _, number = line.rpartition(":")
    text = linecache.getline(path, int(number)) if number.isdigit() else ""
    frame, names = sys._getframe(), set[str]()
    while frame.f_back is not None and f"{frame.f_code.co_filename}:{frame.f_lineno}" != line:
        names.add(frame.f_code.co_name)
        frame = frame.f_back
    found = (x for name, x in INSTEAD.items() if name in names or re.search(rf"\b{name}\b", text))
    return next(found, None)


def refuse_conversion(line: str) -> NoReturn:
    """Raise because NumPy asks for an array's values, and the function asked does not tell why."""
    told = instead(line)
    if told is not None:
        raise NotRecordable(
            f"{line}: here values are asked for, which differ from call to call, and a compiled "
            f"function runs Python only while it is traced; {told}"
        )
    raise NotRecordable(
        f"{line}: here NumPy makes a plain array of one that differs from call to call. Where it "
        "is put into an array that np.zeros, np.empty or np.array has made, make that with "
        "np.zeros(shape, like=x) or np.zeros_like(x), x being an argument or computed; instead of "
        "np.array([x, y]) write np.stack([x, y]), and leave out np.asarray(x). np.vectorize and "
        "functions of other libraries are called outside of the compiled function"
    )


def refuse_attribute(name: str, line: str) -> NoReturn:
    """Raise because what an array is asked for cannot be traced."""
    raise NotRecordable(
        f"{line}: {name} of an array cannot be traced; use a NumPy function of the array, or "
        "leave this part out of the compiled function"
    )


def refuse_effect(function: Any, line: str) -> NoReturn:
    """Raise because a function does something that a program does not, such as to write a file."""
    raise NotRecordable(
        f"{line}: {name_of(function)} returns nothing, and a program computes arrays only; return "
        "the array, and call the function outside of the compiled function"
    )


def refuse_memory(asked: str, line: str) -> NoReturn:
    """Raise because whose memory an array is in may differ from call to call."""
    raise NotRecordable(
        f"{line}: {asked} of views that are made inside the compiled function depends on how its "
        "arguments lie in memory; ask it of the arguments themselves, or outside"
    )


def refuse_object(value: Any, line: str) -> NoReturn:
    """Raise because an array holds objects of Python's, with which a program cannot compute."""
    raise NotRecordable(
        f"{line}: here a {type(value).__name__} is taken out of an array of objects; keep such "
        "objects in a list, or leave this part out of the compiled function"
    )


def refuse_kind_of_array(array: Any, line: str) -> NoReturn:
    """Raise because the operations of an array are not NumPy's own."""
    raise NotRecordable(
        f"{line}: a {type(array).__name__} is not a plain array; convert it with np.asarray"
    )


def refuse_writing_into_plain(function: Any, line: str) -> NoReturn:
    """Raise because an array that is not part of the program would be written into."""
    raise NotRecordable(
        f"{line}: {name_of(function)} writes into an array that was made inside the compiled "
        "function by np.empty, np.zeros or the like, which leave no trace; make it with "
        "np.zeros(shape, like=x) or np.zeros_like(x), x being an argument or computed"
    )


def refuse_for_error(error: BaseException, line: str) -> NoReturn:
    """Raise because only the values that stand in for arrays and floats have led to an error."""
    text = str(error).replace("RecordedArray", "array").replace("Recorded", "number")
    raise NotRecordable(
        f"{line}: this raised {type(error).__name__} ({text}) where a value that stands in for an "
        "array or a float while the function is traced was given, and does not without compile; "
        "use a NumPy function, or leave this part out of the compiled function"
    ) from None


def refuse_function_made_inside(function: Any, line: str) -> NoReturn:
    """Raise because NumPy is to call a function that holds values of one call."""
    raise NotRecordable(
        f"{line}: NumPy calls {name_of(function)}, which closes over values of this very call, "
        "and the program would use them in all others; compute with whole arrays, or leave this "
        "part out of the compiled function"
    )


def refuse_next_item(line: str) -> NoReturn:
    """Raise because the next item of an iterator differs from call to call."""
    raise NotRecordable(
        f"{line}: here the function uses an iterator that it has not made, whose next item "
        "differs from call to call, and a compiled function runs Python only while it is traced. "
        "Take the item outside of the compiled function and give it as an argument, or use a list"
    )


def refuse_generators_made(how: str, line: str) -> NoReturn:
    """Raise because generators are made from one whose state differs from call to call."""
    raise NotRecordable(
        f"{line}: {how} of a generator makes generators inside the compiled function, and the "
        "program would draw the same numbers from them in each call; make them outside, and draw "
        "from them inside"
    )


def refuse_call_on_errors(line: str) -> NoReturn:
    """Raise because NumPy is to call a function of the user's where it meets an error."""
    raise NotRecordable(
        f"{line}: inside a compiled function, NumPy cannot call a function, or write to an object, "
        'on floating-point errors; use np.errstate with "ignore" or "raise" and look for what is '
        "not finite with np.isfinite"
    )


def refuse_asking_for_warnings(function: Any, line: str) -> NoReturn:
    """Raise because it depends on values whether a function warns, and the function asks."""
    raise NotRecordable(
        f"{line}: {name_of(function)} warns depending on its values, and the compiled function "
        "makes an error of that, or keeps it; call it outside of the compiled function, or look "
        "for what it warns of"
    )


def refuse_seterr(line: str) -> NoReturn:
    """Raise because the function changes what NumPy does with errors in all later code."""
    raise NotRecordable(
        f"{line}: the function has called np.seterr, which a program would not do; write "
        "`with np.errstate(...)` inside, or call np.seterr outside of the compiled function"
    )


def refuse_kept(line: str) -> NoReturn:
    """Raise because something keeps values of this call, and a program would not give it any."""
    raise NotRecordable(
        f"{line}: what is computed here is kept, by something that cannot be looked into (as a "
        "queue), or that the function has made; a program would put nothing there. Return the "
        "array, and keep it outside of the compiled function"
    )


def refuse_thread(line: str) -> NoReturn:
    """Raise because a thread that the function starts computes out of sight."""
    raise NotRecordable(
        f"{line}: a thread that the compiled function has started computes with its values, and "
        "only the thread that calls the function is traced; do it there, or start threads that "
        "call compiled functions"
    )


def refuse_late_question(line: str) -> NoReturn:
    """Raise because a question about values comes after the first change that cannot be undone."""
    raise NotRecordable(
        f"{line}: this depends on values after parameters have been changed, when it is too late "
        "to go another way; compute it before the optimizer's step, or leave it out of the "
        "compiled function"
    )


def refuse_question_after_draw(line: str) -> NoReturn:
    """Raise because a question about values comes after draws that cannot be taken back."""
    raise NotRecordable(
        f"{line}: this depends on values after a device's generator has drawn, which cannot be "
        "put back to go another way; ask for it before, in what does not depend on the draw, or "
        "leave it out of the compiled function"
    )


def refuse_changing_constant(line: str, function: Any, before: Any, now: Any) -> NoReturn:
    """Raise because what should be a constant is another one in the next call."""
    where = "what the function returns" if function is None else f"the call of {name_of(function)}"
    raise NotRecordable(
        f"{line}: in {where} stood {before!r:.60} the first time and now stands {now!r:.60}, and "
        "no array, number or generator that can be seen explains the change (as of a "
        "generator made inside the function, an iterator, a clock). Give it to the function as an "
        "argument"
    )


def refuse_changes(names: Any, line: str) -> NoReturn:
    """Raise because the function changes something that a program does not."""
    raise NotRecordable(
        f"{line}: the function changes {', '.join(names)}, and a program changes arrays only; "
        "do it outside of the compiled function, or keep the number in an array"
    )


def refuse_graph(function: Any) -> NoReturn:
    """Raise because a program cannot return a tensor with a graph."""
    raise NotRecordable(
        f"{name_of(function)} returned a tensor whose graph is still wanted, and a program returns "
        "values only: call backward() inside the function, return y.detach() or y.data, or call "
        "it under no_grad()"
    )


def refuse_result(function: Any, value: Any) -> NoReturn:
    """Raise because a program builds nests of arrays only."""
    raise NotRecordable(
        f"{name_of(function)} returned a {type(value).__name__}, and a program returns arrays, "
        "tensors, numbers, and tuples, lists and dicts of them; return these, and make the "
        f"{type(value).__name__} of them outside of the compiled function"
    )


def check_function(function: Any) -> None:
    """Raise if what is to be compiled is not a function."""
    if not callable(function) and not isinstance(function, classmethod):
        raise TypeError(f"compile expects a function, got {function!r}")


def check_container(container: Any, attributes: dict[str, Any], is_static: Any) -> None:
    """Raise if a list, tuple or dict of a user's class has an attribute that cannot be traced."""
    for name, value in attributes.items():
        if not is_static(value):
            kind = type(container).__name__
            raise TypeError(
                f"a {kind} among the arguments has an attribute {name!r}, a "
                f"{type(value).__name__}; compile traces what is in lists, tuples and dicts, and "
                "compares numbers and strings among their attributes. Give the "
                f"{type(value).__name__} as an argument of its own, or as an item"
            )


def check_has_room(instance: Any) -> None:
    """Raise if an object has no room for the program of its method."""
    if not hasattr(instance, "__dict__"):
        raise TypeError(
            f"compile keeps the program of a method in its object, and a {type(instance).__name__} "
            'has no room for it beside its __slots__; add "__dict__" to these, or compile the '
            "method of one object, step = compile(instance.step)"
        )


def check_arguments(given: list[Any]) -> None:
    """Raise if an array among the arguments cannot be traced, or if they are of two libraries."""
    arrays = [x for x in given if hasattr(type(x), "__array_function__")]
    for x in arrays:
        if not is_plain_array(x):
            raise TypeError(
                f"compile takes NumPy's arrays, those of a device that lie in memory as NumPy's "
                f"do, such as CuPy's, and tensors of them, got a {type(x).__name__}. Call the "
                "function without compile, or convert the array: np.asarray(x), x.compute() of "
                "Dask's"
            )
    kinds = {np.ndarray if isinstance(x, np.ndarray) else type(x): None for x in arrays}
    if len(kinds) > 1:
        names = " and a ".join(kind.__name__ for kind in kinds)
        raise TypeError(
            f"the arguments are of several libraries, a {names}; bring all of them to the device "
            "before the call, as by cupy.asarray(x), or to the host, as by x.get()"
        )


def check_are_numpys(arrays: list[Any], backend: str) -> None:
    """Raise if there are arrays of a device where only NumPy's will do."""
    for x in filter(is_on_device, arrays):
        what = "check=True needs copies of all state, generators included"
        if backend == "numba":
            what = 'backend="numba" compiles for the processor'
        raise TypeError(
            f"{what}, got an array of a device, a {type(x).__name__}; leave the option out, or "
            "bring arguments and parameters to the host, as by x.get()"
        )


def check_is_compiled(traces: Any) -> None:
    """Raise if there is no program yet."""
    if not traces:
        raise RuntimeError(
            "there is no program yet: the first call is watched, the second traced; call the "
            "compiled function twice with such arguments"
        )


def warn_of_many(function: Any, most: int) -> None:
    """Tell that no more programs are made."""
    warnings.warn(
        f"{name_of(function)} was called with more combinations of shapes, modes and numbers than "
        f"the {most} that programs are made for; others run without a program from now on. Give "
        "numbers that change as arguments of type float or as arrays, and objects, such as "
        "generators, as the same ones in each call: they are compared by identity",
        RuntimeWarning,
        stacklevel=4,
    )


def refuse_difference(function: Any, name: str, program: Any, eager: Any) -> NoReturn:
    """Raise because the program and eager code do not agree."""
    raise RuntimeError(
        f"the program of {name_of(function)} and eager code differ in {name}: {program!r:.80} and "
        f"{eager!r:.80}. The function depends on something that cannot be seen, such as a file, a "
        "clock, or what code given as a string reads; give it to the function as an argument"
    )


def refuse_saving(name: str, value: Any) -> NoReturn:
    """Raise because a program calls something that is not NumPy's."""
    raise TypeError(
        f"the program calls {name_of(value) if callable(value) else repr(value)[:60]}, named "
        f"{name} in its source, which a module that needs NumPy only cannot do; call it outside "
        "of the compiled function, or write what it does with NumPy's functions"
    )


def refuse_saving_value(value: Any) -> NoReturn:
    """Raise because a module cannot write a value that is among the arguments or results."""
    raise TypeError(
        f"among the function's arguments, results and their keys is {value!r:.60}, a "
        f"{type(value).__name__}, which a module that needs NumPy only cannot write. Save a "
        "function that takes and returns arrays, Python's numbers and strings, and tuples, lists "
        "and dicts of them"
    )


def refuse_saving_objects(name: str) -> NoReturn:
    """Raise because an array of Python's objects is not an array of numbers."""
    raise TypeError(
        f"the program reads {name}, an array of objects, which a module's .npz file does not hold; "
        "convert it to an array of numbers, as by array.astype(float)"
    )


def refuse_saving_optimizer(kind: type) -> NoReturn:
    """Raise because an optimizer's numbers cannot be computed without it."""
    raise TypeError(
        f"the numbers of {kind.__name__}.update cannot be computed in a module that needs NumPy "
        "only: it may call Python's and NumPy's functions, and read the optimizer's own numbers "
        "and strings; its source must be in a file"
    )


def refuse_saving_facts() -> NoReturn:
    """Raise because a program depends on how arguments and state lie in memory."""
    raise TypeError(
        "the program depends on whose memory arrays are in (np.shares_memory, x.flags, x.base), "
        "which is another one in a module; leave the question out of the compiled function"
    )


def check_is_as_traced(entered: Any) -> None:
    """Raise if the state is no longer such as the latest program needs."""
    if entered is None:
        raise RuntimeError(
            "what the function closes over is no longer such as when the latest program was "
            "traced: a module's mode, a gradient that is None now, a number or an array's shape. "
            "Put it back, or call the function until it has a program for this, and save then"
        )


def check_parameters(names: list[str], reserved: Any) -> None:
    """Raise if a module's function cannot have parameters of these names."""
    for name in names:
        if not name.isidentifier() or keyword.iskeyword(name) or name in reserved:
            raise TypeError(
                f"a saved module cannot have a parameter called {name!r}; rename it, or wrap the "
                "function in one whose parameters have other names"
            )


def refuse_saving_for_a_device() -> NoReturn:
    """Raise because a module that runs with NumPy alone has no arrays of a device."""
    raise TypeError(
        "a program for arrays of a device cannot be saved as a module that runs with NumPy alone; "
        "bring parameters and arguments to the host, as by p.data = p.data.get(), call the "
        "function twice, and save that program"
    )


def refuse_saving_native() -> NoReturn:
    """Raise because native parts are not a program of NumPy's."""
    raise TypeError(
        'a program with native parts cannot be saved; compile the function with backend="numpy", '
        "call it twice, and save that program"
    )


def warn_of_eager_calls(function: Any, often: int, raised: str = "") -> None:
    """Tell that programs do not get to their end, or that there are none, for an error caught."""
    if raised:
        warnings.warn(
            f"{raised}: {name_of(function)} has caught an error that depends on values, and in all "
            f"{often} calls had to run eagerly, traced in vain; look for what leads to the error "
            "with NumPy's functions, or leave this part out of the compiled function",
            RuntimeWarning,
            stacklevel=5,
        )
        return
    warnings.warn(
        f"{often} calls of {name_of(function)} had to run eagerly after all, as a shape or a check "
        "that depends on values came out in another way than traced; use np.where rather than "
        "x[mask], or leave this part out of the compiled function",
        RuntimeWarning,
        stacklevel=3,
    )


def check_backend(backend: Any, check: bool) -> None:
    """Raise if there is no such backend, or it is not installed."""
    if backend not in ("numpy", "numba"):
        raise ValueError(f'backend must be "numpy" or "numba", got {backend!r}')
    if backend == "numpy":
        return
    if check:
        raise ValueError(
            'check=True compares bits, which backend="numba" does not keep; check with '
            'backend="numpy": it traces the same program'
        )
    for name in ("numba", "scipy"):
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(
                f'backend="numba" needs {name}, which is not installed; install the extra: '
                "pip install 'microgrand[numba]'"
            )
