"""The Tensor: an array with a gradient, which NumPy's own functions accept.

NumPy asks its operands whether they want to handle a call themselves: ufuncs such as ``np.exp``
through ``__array_ufunc__``, other functions such as ``np.concatenate`` through
``__array_function__``. A `Tensor` says yes, and the engine records the call. Operators and
methods are shorthands for the NumPy function of the same meaning.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Iterator
from types import EllipsisType
from typing import Any

import numpy as np

from .engine import (
    FLOAT_SCALARS,
    NO_KEYWORDS,
    Node,
    apply,
    backpropagate,
    defvjp,
    is_grad_enabled,
    name_of,
    new_node,
    primitive,
    rules_of,
)
from .masks import apply_mask, positive_mask

# ------------------------------------------------------- what a NumPy function does to tensors

#: NumPy functions that are composed of others: from the function to its formula, which gives the
#: derivative. Also ``(ufunc, method)`` for methods of ufuncs, such as ``(np.add, "reduce")``.
formulas: dict[Any, Callable[..., Any]] = {}

#: Those of them whose formula has NumPy's value to the bit.
exact_formulas: set[Any] = set()

#: Which of several results are constant, and stay plain arrays.
plain_results: dict[Any, tuple[int, ...]] = {}

#: NumPy functions with a derivative of zero or none at all; they return plain arrays.
constant_functions: set[Any] = set()


SEQUENCES = (list, tuple)

#: NumPy functions that write into their first argument.
writers: set[Any] = {np.copyto, np.fill_diagonal, np.place, np.put, np.put_along_axis, np.putmask}


def call(function: Any, key: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """Call a NumPy function, some of whose arguments hold tensors.

    `key` is how the tables know the function. In order of preference: a primitive with VJPs, a
    formula, a constant function; any other function works as long as no gradient is lost.
    """
    out = kwargs.pop("out", None)
    if out is None and not writes(function, args, kwargs):
        if key in rules_of:
            if kwargs and any(isinstance(value, Tensor) for value in kwargs.values()):
                args, kwargs = by_position(function, args, kwargs)
            # A list would mean repetition or comparison as a whole to the operators in a VJP. So
            # would a tuple; but to functions other than ufuncs it means axes or a shape.
            sequences = SEQUENCES if isinstance(function, np.ufunc) else list
            operands = len(rules_of[key].vjps)
            args = tuple(
                [
                    np.asarray(x) if i < operands and isinstance(x, sequences) else x
                    for i, x in enumerate(args)
                ]
            )
            return apply(key, args, kwargs)
        if key in formulas and accepts(formulas[key], len(args), kwargs):
            return by_formula(function, key, args, kwargs)
    written = as_tuple(out)
    if writes(function, args, kwargs):
        written += args[:1] or tuple(kwargs.get(name) for name in ("dst", "a", "arr", "x"))
    if any(isinstance(array, Tensor) for array in written):
        raise TypeError(
            f"{name_of(function)} cannot write into a Tensor, as graphs may have saved its values; "
            "use a result instead, y = f(x) or np.where(mask, new, x)"
        )
    if out is not None:
        kwargs["out"] = out
    if not is_constant(key, args) and records_gradient((args, tuple(kwargs.values()))):
        if out is not None:
            raise TypeError(
                f"{name_of(function)} with out= would lose the gradient of its argument: an array "
                "has no graph. Leave out= away, or call it with .detach()"
            )
        if key in formulas:
            raise TypeError(
                f"{name_of(function)} is not differentiable when called with these arguments, "
                f"{len(args)} by position and {', '.join(kwargs) or 'none'} by name; leave the "
                "rarer ones out, or take the tensor out of the graph with .detach()"
            )
        raise TypeError(
            f"{name_of(function)} is not supported on a Tensor that requires a gradient; "
            "give it a derivative with microgrand.defvjp, or call it with .detach()"
        )
    return function(*unwrap(args), **{name: unwrap(value) for name, value in kwargs.items()})


def is_constant(key: Any, args: tuple[Any, ...]) -> bool:
    """Tell whether a function is piecewise constant; of a complex number, its sign is not."""
    if key is np.sign and args and isinstance(args[0], Tensor) and args[0].dtype.kind == "c":
        return False
    return key in constant_functions


def writes(function: Any, args: tuple[Any, ...], kwargs: Any) -> bool:
    """Tell whether a function writes into its first argument: ``np.put``, ``np.add.at``, ..."""
    if function is np.nan_to_num:
        return not (args[1] if len(args) > 1 else kwargs.get("copy", True))
    return function in writers or function.__name__ == "at"


def by_formula(function: Any, key: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """Return NumPy's own value, with the derivative of a formula.

    The formula may round differently, overflow elsewhere or know fewer options. So its value is
    not used, and NumPy itself refuses what is wrong with a call.
    """
    kwargs.pop("overwrite_input", None)  # which is a permission
    tensors = list(tensors_in((args, tuple(kwargs.values()))))
    tracked = any(tensor.tracked for tensor in tensors)
    recorded = tracked and is_grad_enabled()
    if key in exact_formulas and (recorded or any(map(callable, args))):  # a function may record
        return formulas[key](*args, **kwargs)
    value = function(*unwrap(args), **{name: unwrap(given) for name, given in kwargs.items()})
    if not recorded:
        parameters = [tensor.value for tensor in tensors] if tracked else None
        return as_tensors(value, parameters, plain_results.get(key, ()))
    with np.errstate(all="ignore"):  # NumPy's call has given its warnings
        return with_values(formulas[key](*args, **kwargs), value)


def with_values(results: Any, values: Any) -> Any:
    """Give each result of a formula NumPy's value instead of its own; None is a plain one."""
    if results is None:
        return values
    if isinstance(values, (tuple, list)):
        pairs = zip(results, values, strict=True)
        return in_container(values, [with_values(result, value) for result, value in pairs])
    if isinstance(results, Tensor) and results.tracked:
        values = values if hasattr(values, "dtype") else np.asarray(values)
        if values.dtype.kind in "fc":
            return with_value(results, values)
    return as_tensors(values)


def as_tensors(
    values: Any, parameters: list[Any] | None = None, plain: tuple[int, ...] = ()
) -> Any:
    """Make tensors outside the graph of the floating-point arrays in a result of NumPy's.

    A view of a parameter is copied, as it must not change in the next step.
    """
    if isinstance(values, (tuple, list)):
        items = [
            value if i in plain else as_tensors(value, parameters) for i, value in enumerate(values)
        ]
        return in_container(values, items)
    if not hasattr(values, "dtype") or values.dtype.kind not in "fc":
        return values
    if parameters is not None and (
        getattr(values, "base", None) is not None or any(values is data for data in parameters)
    ):
        values = values.copy()
    return new_node(Tensor, values)


def in_container(like: Any, items: list[Any]) -> Any:
    """Put items into a list, tuple or named tuple like another."""
    return type(like)(*items) if hasattr(like, "_fields") else type(like)(items)


def accepts(function: Callable[..., Any], positions: int, names: Any) -> bool:
    """Tell whether a function written in Python takes so many arguments and these keywords."""
    code = getattr(function, "__code__", None)
    if code is None:  # NumPy's own functions stand in for their aliases
        return True
    several, any_name = code.co_flags & 0x04, code.co_flags & 0x08
    known = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return bool(several or positions <= code.co_argcount) and bool(
        any_name or all(name in known for name in names)
    )


def as_tuple(value: Any) -> tuple[Any, ...]:
    """Wrap in a tuple what is not one."""
    return value if isinstance(value, tuple) else (value,)


def unwrap(value: Any) -> Any:
    """Replace tensors by their arrays, also within lists and tuples."""
    if isinstance(value, Tensor):
        return value.value
    if isinstance(value, (list, tuple)):
        items = [unwrap(item) for item in value]
        return items if isinstance(value, list) else tuple(items)
    return value


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in `value`, also within lists and tuples."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)


def records_gradient(value: Any) -> bool:
    """Tell whether `value` holds, at any depth, a tensor whose gradient is being recorded."""
    return is_grad_enabled() and any(tensor.tracked for tensor in tensors_in(value))


def by_position(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Any) -> Any:
    """Move keyword arguments that are tensors, as in ``np.sum(a=x)``, to their positions."""
    if not isinstance(function, np.ufunc):  # ufuncs take their operands by position only
        bound = inspect.signature(function).bind(*args, **kwargs)
        args, kwargs = bound.args, bound.kwargs
    for name, value in kwargs.items():
        if records_gradient(value):
            raise TypeError(
                f"{name_of(function)} is not differentiable with respect to its argument {name}; "
                "call it with .detach()"
            )
    return args, {name: unwrap(value) for name, value in kwargs.items()}


def outer(ufunc: np.ufunc, x: Any, y: Any, **kwargs: Any) -> Any:
    """Call `ufunc` on each element of `x` with each of `y`, by broadcasting `x` along y's axes."""
    return ufunc(np.reshape(x, np.shape(x) + (1,) * np.ndim(y)), y, **kwargs)


# -------------------------------------------------------------------------------- operators


def binary_operator(
    ufunc: np.ufunc, equivalent: Callable[..., Any]
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Make ``x + y`` and its reflected form, for when only ``y`` is a tensor.

    Arrays' operators call the ufunc, but those of NumPy's scalars, which 0-d results are, do not:
    they take 0.06 us instead of 1.2 us, which makes micrograd's kind of nets 1.5 times faster.
    """

    def operate(self: Tensor, other: Any) -> Any:
        if isinstance(other, SEQUENCES):
            other = np.asarray(other)
        return apply(ufunc, (self, other), NO_KEYWORDS, equivalent)

    def reflected(self: Tensor, other: Any) -> Any:
        if isinstance(other, SEQUENCES):
            other = np.asarray(other)
        # Python's complex numbers take np.float64 for a float, and give one of their own.
        faster = None if other.__class__ is complex else equivalent
        return apply(ufunc, (other, self), NO_KEYWORDS, faster)

    return operate, reflected


def constant_operator(ufunc: np.ufunc) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Make ``x < y``, ``x // y`` and other operators that return plain arrays."""

    def operate(self: Tensor, other: Any) -> Any:
        return ufunc(self.value, unwrap(other))

    def reflected(self: Tensor, other: Any) -> Any:
        return ufunc(other, self.value)

    return operate, reflected


def in_place_operator(ufunc: np.ufunc) -> Callable[..., Any]:
    """Make ``x += y``: new values for a leaf, but a new tensor where a graph is recorded."""

    def operate(self: Tensor, other: Any) -> Any:
        if self.primitive is not None or (records_gradient(other) and not self.tracked):
            return call(ufunc, ufunc, (self, other), {})
        if records_gradient(self):
            raise RuntimeError(
                "in-place change of a leaf that requires a gradient; update parameters inside "
                "`with no_grad():`, or write x = x + y for a new tensor"
            )
        # A new array in the old one's place, as others may look at its memory: results that
        # are views of it, and the caller's own array.
        self.value = ufunc(self.value, unwrap(other), out=np.empty_like(self.value))
        self.version += 1
        return self

    return operate


# ---------------------------------------------------------------------------------- indexing


def select(x: Any, index: Any) -> Any:
    """Select ``x[index]``."""
    return x[index]


getitem = primitive(select)


@primitive
def with_value(x: Any, value: Any) -> Any:
    """Return another value than `x`, of which it has the derivative."""
    return value


defvjp(with_value, lambda g, out, x, value: g)


@primitive
def add_at(g: Any, index: Any, like: Any) -> Any:
    """Add `g` to zeros of the shape of `like` at ``index``: the transpose of `getitem`.

    An element that an integer index selects twice receives both of its cotangents.
    """
    parts = index if isinstance(index, tuple) else (index,)
    if all(selects_once(part) for part in parts):
        total = np.zeros_like(like, dtype=g.dtype)
        total[index] = g
        return total
    # In float16, where 2048 + 1 = 2048, a sum of many would stick.
    total = np.zeros_like(like, dtype=np.promote_types(g.dtype, np.float32))
    np.add.at(total, index, g)
    return total.astype(g.dtype, copy=False)


def selects_once(part: Any) -> bool:
    """Tell whether this part of an index surely selects no element twice."""
    if part is None or isinstance(part, (int, slice, EllipsisType)):
        return True
    return isinstance(part, (np.ndarray, np.generic)) and (part.ndim == 0 or part.dtype == bool)


defvjp(getitem, lambda g, out, x, index: add_at(g, index, unwrap(x)))
defvjp(add_at, lambda h, out, g, index, like: getitem(h, index))


# ---------------------------------------------------------------------------------- the class


class Tensor(Node):
    """A NumPy array that remembers how it was computed, to be differentiated.

    Parameters
    ----------
    data
        Array, number or nested list. An array is wrapped without a copy: between computing a
        loss and its ``backward()``, do not write into it, nor into any other array that was
        used, as no check sees it. Anything else gets the dtype that ``np.asarray`` gives it.
    dtype
        Convert the data to this NumPy dtype.
    requires_grad
        Whether `backward` is to compute the gradient of this tensor.

    Raises
    ------
    TypeError
        If `data` is a tensor, or a gradient is asked of integers or booleans.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import Tensor
    >>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> loss = np.sum(x**2)
    >>> loss
    Tensor(14., requires_grad=True)
    >>> loss.backward()
    >>> x.grad
    array([2., 4., 6.])
    """

    __slots__ = ()

    def __init__(self, data: Any, *, dtype: Any = None, requires_grad: bool = False) -> None:
        if isinstance(data, Tensor):
            raise TypeError(
                "Tensor() was given a Tensor; use it as it is, or data.detach() for one that "
                "has its values but is not part of its graph"
            )
        if isinstance(data, np.ndarray) and type(data) not in (np.ndarray, np.memmap):
            raise TypeError(
                f"Tensor() takes plain arrays, got a {type(data).__name__}, whose operators mean "
                "other things; convert it with np.asarray(data)"
            )
        # Arrays of other libraries that speak NumPy's protocols are kept as they are.
        if not hasattr(data, "__array_function__") or isinstance(data, np.generic):
            data = np.asarray(data, dtype)
        elif dtype is not None:
            data = data.astype(dtype, copy=False)
        self.value = data
        self.primitive = self.args = self.gradient = None
        self.kwargs = NO_KEYWORDS
        self.retains_grad = False
        self.version = self.saved_version = 0
        if data.dtype.kind in "OSU":
            raise TypeError(f"Tensor() expects numbers, got {data!r:.60}")
        if requires_grad:
            check_differentiable_dtype(data.dtype)
        self.tracked = bool(requires_grad)

    # ---- NumPy's protocols

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method == "__call__":
            return call(ufunc, ufunc, inputs, kwargs)
        if method == "outer":
            return outer(ufunc, *inputs, **kwargs)
        return call(getattr(ufunc, method), (ufunc, method), inputs, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return call(function, function, args, kwargs)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        if self.tracked:
            raise TypeError(
                "a Tensor that requires a gradient cannot become a plain array, as its graph "
                "would be lost; use .detach() for the values, np.stack to join tensors"
            )
        return np.array(self.value, dtype=dtype, copy=copy)

    # ---- values

    @property
    def data(self) -> Any:
        """The array itself. Assigning replaces a leaf's values; shape and dtype must match.

        Writing into it, ``x.data[0] = 1``, is seen by no check: do not do so between computing
        a loss and its ``backward()``.
        """
        return self.value

    @data.setter
    def data(self, new: Any) -> None:
        if self.primitive is not None:
            raise RuntimeError(
                "only a leaf's data may be replaced, and this tensor was computed by "
                f"{name_of(self.primitive)}; use .detach() for a leaf with its values"
            )
        new = np.asarray(unwrap(new)) if not hasattr(new, "__array_function__") else unwrap(new)
        if new.shape != self.shape or new.dtype != self.dtype:
            raise ValueError(
                f"data of shape {new.shape} and dtype {new.dtype} cannot replace data of shape "
                f"{self.shape} and dtype {self.dtype}"
            )
        self.value = new
        self.version += 1

    @property
    def grad(self) -> Any:
        """The gradient that `backward` has accumulated: a plain array, or None before it."""
        return self.gradient

    @grad.setter
    def grad(self, new: Any) -> None:
        if new is not None:
            dtype = getattr(new, "dtype", None)
            if isinstance(new, Tensor) or dtype is None or dtype.kind not in "fiu":
                raise TypeError(
                    "grad is None or an array of real numbers, got "
                    f"{type(new).__name__} {new!r:.60}; write x.grad = None to clear it"
                )
            if new.shape != self.shape:
                raise ValueError(f"grad of shape {new.shape} does not fit shape {self.shape}")
            new = np.array(new, dtype=self.dtype)
        self.gradient = new

    shape = property(lambda self: self.value.shape, doc="Lengths of the axes, a tuple.")
    dtype = property(lambda self: self.value.dtype, doc="NumPy dtype of the elements.")
    ndim = property(lambda self: self.value.ndim, doc="Number of axes.")
    size = property(lambda self: self.value.size, doc="Number of elements.")

    def numpy(self) -> Any:
        """Return the values as a plain array that shares memory.

        Raises TypeError if the tensor requires a gradient: write ``x.detach().numpy()``.
        """
        return np.asarray(self)

    def detach(self) -> Tensor:
        """Return a leaf with a copy of the values that is not part of the graph.

        A copy, as the values may be those of a leaf or a view of them, which an optimizer's step
        changes.
        """
        return new_node(Tensor, self.value.copy())  # type: ignore[no-any-return]

    def item(self) -> Any:
        """Return the only element as a Python number; ValueError if there is not just one."""
        if self.size != 1:
            raise ValueError(
                f"only a tensor of one element is a number, this one has shape {self.shape}; "
                "use .tolist(), or reduce it first"
            )
        return self.value.item()

    def tolist(self) -> Any:
        """Return the values as nested lists of Python numbers."""
        return self.value.tolist()

    # ---- differentiation

    @property
    def requires_grad(self) -> bool:
        """Whether `backward` reaches this tensor; may be assigned to a leaf.

        One that requires a gradient from now on gets a copy of its array: a step must not change
        what was computed with views of the old one.
        """
        return self.tracked

    @requires_grad.setter
    def requires_grad(self, requires_grad: bool) -> None:
        if self.primitive is not None:
            raise RuntimeError(
                "requires_grad can be changed for leaves only, and this tensor was computed by "
                f"{name_of(self.primitive)}; use .detach() for one outside the graph"
            )
        if requires_grad:
            check_differentiable_dtype(self.dtype)
            if not self.tracked:
                self.version += 1  # calls before did not record it: their gradient lacks a part
                # An array that may be updated in place, without a change of earlier views of it.
                self.value = (np.asanyarray(self.value) if self.ndim == 0 else self.value).copy()
        self.tracked = bool(requires_grad)

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation computed this tensor."""
        return self.primitive is None

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Ask for a leaf's gradient, or no longer; returns the tensor itself."""
        self.requires_grad = requires_grad
        return self

    def retain_grad(self) -> Tensor:
        """Make `backward` store the gradient of this computed tensor, too; returns it."""
        if not self.tracked:
            raise RuntimeError("a tensor that does not require a gradient has none to retain")
        self.retains_grad = True
        return self

    def backward(self, gradient: Any = None, retain_graph: bool = False) -> None:
        """Add d self / d leaf to the ``grad`` of every leaf upstream that requires one.

        Parameters
        ----------
        gradient
            The cotangent to begin with, of this tensor's shape. May be left out for a tensor
            of one element, where it is 1.
        retain_graph
            Keep the graph for another call. By default it is freed on the way.

        Raises
        ------
        RuntimeError
            Without a graph, on a freed graph, when a saved value has been changed in place, or
            without `gradient` on a tensor of several elements.
        ValueError
            If `gradient` has another shape.
        TypeError
            If `gradient` does not hold real numbers.

        Examples
        --------
        >>> from microgrand import Tensor
        >>> x = Tensor([1.0, 2.0], requires_grad=True)
        >>> (3 * x).backward([1.0, 10.0])
        >>> x.grad
        array([ 3., 30.])
        """
        if not self.tracked:
            raise RuntimeError(
                "backward() on a tensor without a graph: nothing it was computed from has "
                "requires_grad=True, or it was computed under no_grad()"
            )
        value = self.value
        if value.dtype.kind == "c":
            raise RuntimeError(
                f"backward() begins at real numbers, and this tensor is of dtype {self.dtype}; "
                "take np.real, np.imag or np.abs of it first"
            )
        if gradient is None:
            if value.size != 1:
                raise RuntimeError(
                    f"backward() begins at a scalar loss, and this tensor has shape {self.shape}; "
                    "reduce it with .sum() or .mean(), or give gradient= of that shape"
                )
            # For the scalars that losses are, a tenth of the time of ones_like.
            is_scalar = value.__class__ in FLOAT_SCALARS
            gradient = value.__class__(1) if is_scalar else np.ones_like(value)
        else:
            gradient = np.asarray(unwrap(gradient))
            if gradient.dtype.kind not in "fiu":
                raise TypeError(
                    f"gradient has dtype {gradient.dtype}, expected real numbers of shape "
                    f"{self.shape}"
                )
            if gradient.shape != self.shape:
                raise ValueError(
                    f"gradient has shape {gradient.shape}, expected {self.shape}, the shape of "
                    "the tensor that backward() is called on"
                )
            gradient = gradient.astype(self.dtype, copy=False)
        backpropagate(self, gradient, retain_graph=retain_graph)

    # ---- operators

    __add__, __radd__ = binary_operator(np.add, operator.add)
    __sub__, __rsub__ = binary_operator(np.subtract, operator.sub)
    __mul__, __rmul__ = binary_operator(np.multiply, operator.mul)
    __truediv__, __rtruediv__ = binary_operator(np.true_divide, operator.truediv)
    __mod__, __rmod__ = binary_operator(np.remainder, operator.mod)
    __pow__, __rpow__ = binary_operator(np.power, operator.pow)
    __matmul__, __rmatmul__ = binary_operator(np.matmul, np.matmul)

    __floordiv__, __rfloordiv__ = constant_operator(np.floor_divide)
    __and__, __rand__ = constant_operator(np.bitwise_and)
    __or__, __ror__ = constant_operator(np.bitwise_or)
    __xor__, __rxor__ = constant_operator(np.bitwise_xor)
    __lshift__, __rlshift__ = constant_operator(np.left_shift)
    __rshift__, __rrshift__ = constant_operator(np.right_shift)
    __lt__, __gt__ = constant_operator(np.less)
    __le__, __ge__ = constant_operator(np.less_equal)
    __eq__, _ = constant_operator(np.equal)
    __ne__, _ = constant_operator(np.not_equal)
    del _
    __hash__ = Node.__hash__  # by identity: the engine keeps tensors in sets and dicts

    __iadd__ = in_place_operator(np.add)
    __isub__ = in_place_operator(np.subtract)
    __imul__ = in_place_operator(np.multiply)
    __itruediv__ = in_place_operator(np.true_divide)
    __imod__ = in_place_operator(np.remainder)
    __ipow__ = in_place_operator(np.power)
    __imatmul__ = in_place_operator(np.matmul)

    def __divmod__(self, other: Any) -> Any:
        return np.divmod(self, other)

    def __rdivmod__(self, other: Any) -> Any:
        return np.divmod(other, self)

    def __neg__(self) -> Any:
        return apply(np.negative, (self,), NO_KEYWORDS, operator.neg)

    def __pos__(self) -> Any:
        return apply(np.positive, (self,))

    def __abs__(self) -> Any:
        return apply(np.absolute, (self,))

    def __invert__(self) -> Any:
        return np.invert(self.value)

    # ---- as a Python object

    def __bool__(self) -> bool:
        return bool(self.value)

    def __float__(self) -> float:
        # NumPy calls this for array[0] = tensor, too, which no check can tell from float(loss).
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __index__(self) -> int:
        return int(self.value.__index__())

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of a 0-d tensor")
        return int(self.shape[0])

    def __iter__(self) -> Iterator[Any]:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d tensor")
        return (self[i] for i in range(len(self)))

    def __contains__(self, item: Any) -> bool:
        return bool(np.any(self.value == unwrap(item)))

    def __getitem__(self, index: Any) -> Any:
        return apply(select, (self, unwrap(index)))

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError(
            "a Tensor does not support item assignment, as saved values must not change; build "
            "the new value with np.where(mask, new, x)"
        )

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    def __repr__(self) -> str:
        # np.array_repr shows the dtype where it is not the default; "Tensor(" is one letter
        # longer than "array(", so further lines that are not blank move by one.
        text = np.array_repr(np.asarray(self.value)).removeprefix("array(").removesuffix(")")
        text = text.replace("\n ", "\n  ")
        return f"Tensor({text}, requires_grad=True)" if self.tracked else f"Tensor({text})"

    def __str__(self) -> str:
        return str(self.value)

    def __reduce__(self) -> Any:
        if self.primitive is not None:
            raise RuntimeError(
                "only leaves can be copied by copy.deepcopy or pickled, and this tensor was "
                f"computed by {name_of(self.primitive)}; use .detach() or .copy()"
            )
        return rebuild, (type(self), self.value, self.tracked, self.gradient)

    # ---- array methods: each is the NumPy function of its name

    def sum(self, axis: Any = None, keepdims: Any = False) -> Any:
        """Sum over all axes, or over `axis`, an int or a tuple; as `numpy.sum`."""
        return np.sum(self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Any = None, keepdims: Any = False) -> Any:
        """Average over all axes, or over `axis`; as `numpy.mean`."""
        return np.mean(self, axis=axis, keepdims=keepdims)

    def max(self, axis: Any = None, keepdims: Any = False) -> Any:
        """Largest element, over `axis`; ties share the gradient evenly; as `numpy.max`."""
        return np.max(self, axis=axis, keepdims=keepdims)

    def min(self, axis: Any = None, keepdims: Any = False) -> Any:
        """Smallest element, over `axis`; ties share the gradient evenly; as `numpy.min`."""
        return np.min(self, axis=axis, keepdims=keepdims)

    def prod(self, axis: Any = None, keepdims: Any = False) -> Any:
        """Multiply the elements, over `axis`; as `numpy.prod`."""
        return np.prod(self, axis=axis, keepdims=keepdims)

    def var(self, axis: Any = None, ddof: float = 0, keepdims: Any = False) -> Any:
        """Variance over `axis`, with divisor n - ddof; as `numpy.var`."""
        return np.var(self, axis=axis, ddof=ddof, keepdims=keepdims)

    def std(self, axis: Any = None, ddof: float = 0, keepdims: Any = False) -> Any:
        """Standard deviation over `axis`, with divisor n - ddof; as `numpy.std`."""
        return np.std(self, axis=axis, ddof=ddof, keepdims=keepdims)

    def ptp(self, axis: Any = None, keepdims: Any = False) -> Any:
        """Range, largest minus smallest, over `axis`; as `numpy.ptp`."""
        return self.max(axis, keepdims) - self.min(axis, keepdims)

    def cumsum(self, axis: Any = None) -> Any:
        """Cumulative sum along `axis`, or of the flattened tensor; as `numpy.cumsum`."""
        return np.cumsum(self, axis=axis)

    def cumprod(self, axis: Any = None) -> Any:
        """Cumulative product along `axis`, or of the flattened tensor; as `numpy.cumprod`."""
        return np.cumprod(self, axis=axis)

    def argmax(self, axis: Any = None, keepdims: Any = False) -> Any:
        """Index of the largest element, a plain array; as `numpy.argmax`."""
        return np.argmax(self.value, axis=axis, keepdims=keepdims)

    def argmin(self, axis: Any = None, keepdims: Any = False) -> Any:
        """Index of the smallest element, a plain array; as `numpy.argmin`."""
        return np.argmin(self.value, axis=axis, keepdims=keepdims)

    def argsort(self, axis: Any = -1) -> Any:
        """Indices that sort along `axis`, a plain array; as `numpy.argsort`."""
        return np.argsort(self.value, axis=axis)

    def all(self, axis: Any = None, keepdims: Any = False) -> Any:
        """Whether all elements are true, a plain array; as `numpy.all`."""
        return np.all(self.value, axis=axis, keepdims=keepdims)

    def any(self, axis: Any = None, keepdims: Any = False) -> Any:
        """Whether any element is true, a plain array; as `numpy.any`."""
        return np.any(self.value, axis=axis, keepdims=keepdims)

    def nonzero(self) -> Any:
        """Indices of the nonzero elements, plain arrays; as `numpy.nonzero`."""
        return np.nonzero(self.value)

    def round(self, decimals: int = 0) -> Any:
        """Round to `decimals`, a plain array, since the derivative is zero; as `numpy.round`."""
        return np.round(self.value, decimals)

    def reshape(self, *shape: Any) -> Any:
        """Give a new shape, ``x.reshape(2, -1)`` or ``x.reshape((2, -1))``."""
        return np.reshape(self, shape[0] if len(shape) == 1 else shape)

    def ravel(self) -> Any:
        """Flatten to one axis."""
        return np.reshape(self, -1)

    def flatten(self) -> Any:
        """Flatten to one axis; as `ravel`, since tensors are not written into."""
        return np.reshape(self, -1)

    def transpose(self, *axes: Any) -> Any:
        """Permute the axes, in reverse order by default; as `numpy.transpose`."""
        order = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes or None
        return np.transpose(self, order)

    @property
    def T(self) -> Any:
        """The tensor with its axes in reverse order."""
        return np.transpose(self)

    @property
    def mT(self) -> Any:
        """The tensor with its last two axes swapped."""
        if self.ndim < 2:
            raise ValueError(f"matrix transpose needs two axes or more, got shape {self.shape}")
        return np.swapaxes(self, -1, -2)

    def swapaxes(self, axis1: int, axis2: int) -> Any:
        """Swap two axes."""
        return np.swapaxes(self, axis1, axis2)

    def squeeze(self, axis: Any = None) -> Any:
        """Remove axes of length 1, all or those in `axis`."""
        return np.squeeze(self, axis)

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
        """Diagonal of the matrix that two axes span; as `numpy.diagonal`."""
        return np.diagonal(self, offset, axis1, axis2)

    def trace(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
        """Sum of the diagonal; as `numpy.trace`."""
        return np.trace(self, offset, axis1, axis2)

    def repeat(self, repeats: Any, axis: int | None = None) -> Any:
        """Repeat each element; as `numpy.repeat`."""
        return np.repeat(self, repeats, axis)

    def take(self, indices: Any, axis: int | None = None) -> Any:
        """Select along an axis by integer indices; as `numpy.take`."""
        return np.take(self, indices, axis)

    def clip(self, min: Any = None, max: Any = None) -> Any:
        """Limit the values to ``[min, max]``; as `numpy.clip`."""
        return np.clip(self, min, max)

    def dot(self, other: Any) -> Any:
        """Dot product; as `numpy.dot`."""
        return np.dot(self, other)

    def sort(self, axis: int | None = -1) -> Any:
        """Return a sorted copy, where an array's own ``sort`` would write in place."""
        return np.sort(self, axis)

    def astype(self, dtype: Any) -> Any:
        """Convert to another float dtype; an integer or boolean one gives a plain array.

        Raises TypeError for other dtypes if the tensor requires a gradient.
        """
        dtype = np.dtype(dtype)
        if dtype.kind in "biu" or (dtype.kind != "f" and not records_gradient(self)):
            return self.value.astype(dtype)
        return cast(self, dtype)

    def copy(self) -> Any:
        """Return a copy that is part of the graph."""
        return np.copy(self)

    def relu(self) -> Any:
        """Replace negative elements by zero; the derivative at zero is zero."""
        return apply_mask(self, positive_mask(self.value))


Node.result_class = Tensor


@primitive
def cast(x: Any, dtype: Any) -> Any:
    """Convert `x` to `dtype`."""
    return x.astype(dtype)


# The engine casts every cotangent to its argument's dtype, so nothing is left to do.
defvjp(cast, lambda g, out, x, dtype: g)


def check_differentiable_dtype(dtype: Any) -> None:
    """Raise TypeError for a dtype that has no derivatives here."""
    if dtype.kind != "f":
        raise TypeError(
            f"requires_grad needs floating-point data, got dtype {dtype}; "
            "write Tensor(data, dtype=float, requires_grad=True)"
        )


def rebuild(cls: type[Tensor], data: Any, requires_grad: bool, grad: Any) -> Tensor:
    """Make a leaf again from what `Tensor.__reduce__` gave to pickle or copy."""
    tensor: Tensor = new_node(cls, data, requires_grad)
    tensor.grad = grad  # a copy of its own, also where copy.copy() shares the data
    return tensor
