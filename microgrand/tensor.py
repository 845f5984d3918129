"""The Tensor: an array with a gradient, which NumPy's own functions accept.

A `Tensor` answers NumPy's protocols by `dispatch`: ufuncs such as ``np.exp`` ask it through
``__array_ufunc__``, other functions such as ``np.concatenate`` through ``__array_function__``.
Operators and methods are shorthands for the NumPy function of the same meaning.
"""

from __future__ import annotations

import functools
import operator
import os
import threading
from collections.abc import Iterator
from inspect import getattr_static
from typing import Any, NoReturn

import numpy as np

from . import checks
from .dispatch import as_operand, data_of, dispatch, needs_recording, without_labels
from .engine import NO_KEYWORDS, Node, apply, backpropagate, defvjp, free, new_tensor, primitive
from .kinds import (
    PLAIN_CLASSES,
    Array,
    ArrayLike,
    Axis,
    DTypeLike,
    Function,
    Index,
    Option,
    Value,
    Values,
)
from .traced import to_array

# -------------------------------------------------------------------------------- operators


def binary_operator(ufunc: np.ufunc, compute: Function) -> tuple[Function, Function]:
    """Make ``x + y`` and its reflected form, for when only ``y`` is a tensor.

    Python's own operator computes the value. On 0-d results, which are NumPy scalars, it gives
    what the same expression gives without tensors, and is much faster than the ufunc.
    """

    def operate(self: Tensor, other: ArrayLike) -> Value:
        other = other if type(other) in PLAIN_CLASSES else as_operand(other, (self,))
        return apply(ufunc, (self, other), NO_KEYWORDS, compute)

    def reflected(self: Tensor, other: ArrayLike) -> Value:
        other = other if type(other) in PLAIN_CLASSES else as_operand(other, (self,))
        # Python's complex * np.float64 would be Python's complex again: call the ufunc.
        operation = ufunc if other.__class__ is complex else compute
        return apply(ufunc, (other, self), NO_KEYWORDS, operation)

    return operate, reflected


def constant_operator(ufunc: Function) -> tuple[Function, Function]:
    """Make ``x < y``, ``x // y`` and other operators that return plain arrays."""

    def operate(self: Tensor, other: ArrayLike) -> Array:
        return ufunc(self._array, without_labels(data_of(other)))

    def reflected(self: Tensor, other: ArrayLike) -> Array:
        return ufunc(without_labels(data_of(other)), self._array)

    return operate, reflected


def in_place_operator(ufunc: np.ufunc, in_place: Function) -> Function:
    """Make ``x += y``.

    It returns a new tensor if ``x`` was computed, or if ``y`` requires a gradient, recording is on
    and ``x`` requires none; otherwise it replaces the data of the leaf ``x``. As with arrays, shape
    and dtype stay the same; but a computed 0-d ``x`` takes those of ``x + y``, as NumPy's scalars
    do.
    """

    def operate(self: Tensor, other: ArrayLike) -> Value:
        operand = without_labels(data_of(other))
        if self.primitive is not None or (needs_recording(other) and not self._requires_grad):
            new = dispatch(ufunc, (self, other), {})
            is_scalar = self.primitive is not None and self._array.ndim == 0
            if is_scalar or (new.shape, new.dtype) == (self.shape, self.dtype):
                return new
            in_place(np.copy(self._array), operand)  # only for NumPy's error if it does not fit x
            return cast(new, self.dtype)
        checks.check_change_in_place(recorded=needs_recording(self))
        # Replace the array rather than write into it: its views, and the caller's array, stay.
        new = in_place(np.copy(self._array), operand)
        self.version += 1
        self._array = new
        return self

    return operate


def method(function: Function) -> Function:
    """Make an array method of a NumPy function."""

    @functools.wraps(function)
    def of_self(self: Tensor, *args: Any, **kwargs: Any) -> Values:
        checks.check_keywords_are_numpys(function, kwargs)
        return function(self, *args, **kwargs)

    lines = (function.__doc__ or "").splitlines()  # none under ``python -OO``
    summary = next((line for line in lines if line.strip()), "")
    of_self.__doc__ = f"{summary.strip()} As `numpy.{function.__name__}`."
    return of_self


# ---------------------------------------------------------------------------------- the class


class Tensor(Node):
    """A NumPy array that remembers how it was computed, to be differentiated.

    Parameters
    ----------
    data
        Array, number or nested list. An array is wrapped without a copy: an optimizer's step
        writes into it. Between computing a loss and its ``backward()``, do not write into it
        yourself, or into any other array that was used: nothing detects it. Anything else gets the
        dtype that ``np.asarray`` gives it.
    dtype
        Convert the data to this NumPy dtype.
    requires_grad
        Whether `backward` is to compute the gradient of this tensor.

    Raises
    ------
    TypeError
        If `data` is a tensor or not numeric, or a gradient is asked of integers or booleans.

    Notes
    -----
    The methods are those of arrays. PyTorch's of the same name differ: here, ``transpose`` takes
    the order of all axes, ``repeat`` repeats each element, ``max(axis)`` returns no indices,
    ``var`` and ``std`` divide by n, and ``size`` is a number.

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
    #: Above those of pandas' own classes, which are below 5000: they leave `series - tensor` to us.
    __pandas_priority__ = 5000

    def __init__(
        self, data: ArrayLike, *, dtype: DTypeLike = None, requires_grad: bool = False
    ) -> None:
        checks.check_is_no_tensor(data)
        # Arrays of other libraries that speak NumPy's protocols are kept as they are. A scalar that
        # `compile` traces speaks them, too, and becomes an array as other scalars do.
        if not hasattr(data, "__array_function__") or isinstance(data, np.generic):
            checks.check_speaks_protocols(data)
            data = to_array(data, dtype)
        elif dtype is not None:
            data = data.astype(dtype, copy=False)
        checks.check_numbers(data)
        if requires_grad:
            checks.check_differentiable_dtype(data.dtype)
        self._array = data
        self._grad = None
        self._requires_grad = bool(requires_grad)
        self.primitive = self.args = None
        self.kwargs = NO_KEYWORDS
        self.retains_grad = False
        self.version = self.saved_version = 0

    # ---- NumPy's protocols

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: ArrayLike, **kwargs: Any
    ) -> Values:
        inputs = tuple([without_labels(x) for x in inputs])
        if method == "__call__":
            return dispatch(ufunc, inputs, kwargs)
        if method == "outer":  # by broadcasting x along the axes of y
            x, y = inputs
            return ufunc(np.reshape(x, np.shape(x) + (1,) * np.ndim(y)), y, **kwargs)
        return dispatch(getattr(ufunc, method), inputs, kwargs)

    def __array_function__(self, function: Function, types: Any, args: Any, kwargs: Any) -> Values:
        return dispatch(function, args, kwargs)

    def __array__(self, dtype: DTypeLike = None, copy: bool | None = None) -> Array:
        checks.check_becomes_an_array(self)
        return np.array(self._array, dtype=dtype, copy=copy)

    # ---- data and gradient

    @property
    def data(self) -> Array:
        """The underlying array.

        Assigning to a leaf's ``data`` stores a copy of the new array, which must have the same
        shape and dtype.

        Nothing detects a write into it, such as ``x.data[0] = 1``, nor that ``x.data += 1`` changes
        the views of a tensor outside the graph: do neither between computing a loss and its
        ``backward()``.
        """
        return self._array

    @data.setter
    def data(self, new: ArrayLike) -> None:
        checks.check_leaf(self, "only a leaf's data may be replaced", "a leaf with its values")
        new = data_of(new) if hasattr(new, "__array_function__") else np.asarray(new)
        checks.check_replacement(self, new)
        self.version += 1
        if new is not self._array:  # ``x.data += 1`` has changed the array, and assigns it
            self._array = to_array(new) if isinstance(new, np.generic) else new.copy()

    @property
    def grad(self) -> Array | None:
        """The gradient that `backward` has accumulated: a plain array, or None before that."""
        return self._grad

    @grad.setter
    def grad(self, new: Array | None) -> None:
        checks.check_gradient(self, new)
        if new is not self._grad:  # ``x.grad *= 2`` has changed the array, and assigns it
            new = None if new is None else np.copy(new).astype(self.dtype, copy=False)
        self._grad = new

    shape = property(lambda self: self._array.shape, doc="Lengths of the axes, a tuple.")
    dtype = property(lambda self: self._array.dtype, doc="NumPy dtype of the elements.")
    ndim = property(lambda self: self._array.ndim, doc="Number of axes.")
    size = property(lambda self: self._array.size, doc="Number of elements.")
    itemsize = property(lambda self: self._array.itemsize, doc="Bytes of an element.")
    nbytes = property(lambda self: self._array.nbytes, doc="Bytes of all elements.")

    def numpy(self) -> Array:
        """Return the values as a plain array that shares memory.

        Raises TypeError if the tensor requires a gradient: write ``x.detach().numpy()``.
        """
        return np.asarray(self)

    def detach(self) -> Tensor:
        """Return a leaf outside the graph, with a copy: a view would change with the next step."""
        return new_tensor(self._array.copy())

    def item(self) -> Any:
        """Return the only element as a Python number; ValueError unless there is exactly one."""
        checks.check_one_element(self)
        return self._array.item()

    def tolist(self) -> Any:
        """Return the values as nested lists of Python numbers."""
        return self._array.tolist()

    # ---- differentiation

    @property
    def requires_grad(self) -> bool:
        """Whether `backward` reaches this tensor; may be assigned to a leaf.

        When a leaf starts to require a gradient, its array is copied, because results outside the
        graph may be views of the old one.
        """
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, requires_grad: bool) -> None:
        checks.check_leaf(
            self, "requires_grad can be changed for leaves only", "one outside the graph"
        )
        if requires_grad:
            checks.check_differentiable_dtype(self.dtype)
            if not self._requires_grad:
                self.version += 1  # earlier results lack this gradient: `backward` refuses them
                self._array = np.copy(self._array)
        self._requires_grad = bool(requires_grad)

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation computed this tensor."""
        return self.primitive is None

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set whether a leaf requires a gradient; return the tensor itself."""
        self.requires_grad = requires_grad
        return self

    def retain_grad(self) -> Tensor:
        """Make `backward` store the gradient of this computed tensor, too; return the tensor."""
        checks.check_has_gradient_to_retain(self)
        self.retains_grad = True
        return self

    def backward(self, gradient: ArrayLike = None, retain_graph: bool = False) -> None:
        """Add d self / d leaf to the ``grad`` of every leaf upstream that requires one.

        Computed tensors get one, too, if `retain_grad` was called on them.

        All or nothing: if an error is raised, no ``grad`` has changed, and the graph is as it was.

        Parameters
        ----------
        gradient
            The cotangent to begin with, of this tensor's shape. May be left out for a tensor
            of one element, where it is 1.
        retain_graph
            Keep the graph for another call. By default it is freed.

        Raises
        ------
        RuntimeError
            Without a graph, on a freed graph, when a saved tensor has been changed in place, or
            without `gradient` on a tensor of several elements. Changes to plain arrays used as
            operands or indices go unnoticed.
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
        checks.check_backward_begins_here(self, gradient)
        if gradient is None:
            cotangent = np.ones_like(self._array)
        else:
            gradient = data_of(gradient)
            is_array = hasattr(gradient, "__array_function__")
            cotangent = gradient if is_array else to_array(gradient)
            checks.check_first_cotangent(self, cotangent)
            cotangent = cotangent.astype(self.dtype, copy=False)
        accumulate(backpropagate(self, cotangent))
        if not retain_graph:
            free(self)

    # ---- operators

    __add__, __radd__ = binary_operator(np.add, operator.add)
    __sub__, __rsub__ = binary_operator(np.subtract, operator.sub)
    __mul__, __rmul__ = binary_operator(np.multiply, operator.mul)
    __truediv__, __rtruediv__ = binary_operator(np.true_divide, operator.truediv)
    __mod__, __rmod__ = binary_operator(np.remainder, operator.mod)
    __matmul__, __rmatmul__ = binary_operator(np.matmul, np.matmul)  # NumPy scalars have no @
    _power, __rpow__ = binary_operator(np.power, operator.pow)

    __floordiv__, __rfloordiv__ = constant_operator(np.floor_divide)
    __and__, __rand__ = constant_operator(np.bitwise_and)
    __or__, __ror__ = constant_operator(np.bitwise_or)
    __xor__, __rxor__ = constant_operator(np.bitwise_xor)
    __lshift__, __rlshift__ = constant_operator(np.left_shift)
    __rshift__, __rrshift__ = constant_operator(np.right_shift)
    __lt__, __gt__ = constant_operator(np.less)  # reflected, `less(other, x)` is x > other
    __le__, __ge__ = constant_operator(np.less_equal)
    __eq__ = constant_operator(operator.eq)[0]  # unlike np.equal, it compares with strings, too
    __ne__ = constant_operator(operator.ne)[0]
    # By identity: the engine keeps tensors in sets and dicts. These compare the hashes, which are
    # unequal for different tensors, before they would ask ``__eq__``.
    __hash__ = Node.__hash__

    __iadd__ = in_place_operator(np.add, operator.iadd)
    __isub__ = in_place_operator(np.subtract, operator.isub)
    __imul__ = in_place_operator(np.multiply, operator.imul)
    __itruediv__ = in_place_operator(np.true_divide, operator.itruediv)
    __imod__ = in_place_operator(np.remainder, operator.imod)
    __ipow__ = in_place_operator(np.power, operator.ipow)
    __imatmul__ = in_place_operator(np.matmul, operator.imatmul)

    def __divmod__(self, other: ArrayLike) -> Values:
        return np.divmod(self, other)

    def __rdivmod__(self, other: ArrayLike) -> Values:
        return np.divmod(other, self)

    def __neg__(self) -> Value:
        return apply(np.negative, (self,), NO_KEYWORDS, operator.neg)

    def __pos__(self) -> Value:
        return apply(np.positive, (self,))

    def __abs__(self) -> Value:
        return apply(np.absolute, (self,))

    def __invert__(self) -> Array:
        return np.invert(self._array)

    def __pow__(self, other: ArrayLike, modulus: Any = None) -> Value:
        checks.check_no_modulus(modulus)
        return self._power(other)

    # ---- as a Python object

    def __bool__(self) -> bool:
        return bool(self._array)

    def __round__(self, digits: Any = None) -> NoReturn:
        checks.refuse_to_round()

    def __float__(self) -> float:
        checks.check_becomes_a_number(self, "float", recorded=needs_recording(self))
        return float(self.item())

    def __int__(self) -> int:
        checks.check_becomes_a_number(self, "int", recorded=needs_recording(self))
        return int(self.item())

    def __complex__(self) -> complex:
        checks.check_becomes_a_number(self, "complex", recorded=needs_recording(self))
        return complex(self.item())

    def __index__(self) -> int:
        return operator.index(self._array)

    def __len__(self) -> int:
        checks.check_has_an_axis(self, "len() of")
        return int(self.shape[0])

    def __iter__(self) -> Iterator[Value]:
        checks.check_has_an_axis(self, "iteration over")
        return (self[i] for i in range(len(self)))

    def __contains__(self, item: ArrayLike) -> bool:
        return bool(np.any(self._array == data_of(item)))

    def __getitem__(self, index: Index) -> Value:
        return apply(operator.getitem, (self, data_of(index)))  # a list in it is copied

    def __setitem__(self, index: Index, value: ArrayLike) -> None:
        checks.refuse_item_assignment()

    def __dir__(self) -> list[str]:
        names = super().__dir__()
        return [n for n in names if not isinstance(getattr_static(self, n), checks.Missing)]

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    def __repr__(self) -> str:
        # np.array_repr shows the dtype where it is not the default; "Tensor(" is one letter
        # longer than "array(", so further lines that are not blank move by one.
        try:
            text = np.array_repr(np.asarray(self._array))
        except TypeError:  # a device's library gives its numbers to NumPy only when asked
            text = repr(self._array)
        if text.startswith("array("):
            text = text.removeprefix("array(").removesuffix(")")
        text = text.replace("\n ", "\n  ")
        return f"Tensor({text}, requires_grad=True)" if self._requires_grad else f"Tensor({text})"

    def __str__(self) -> str:
        return str(self._array)

    def __reduce__(self) -> Any:
        checks.check_can_be_copied(self)
        attributes = getattr(self, "__dict__", None)  # which a subclass may have
        return rebuild, (type(self), self._array, self._requires_grad, self._grad), attributes

    # ---- array methods: each is the NumPy function of its name

    sum, mean, prod = method(np.sum), method(np.mean), method(np.prod)
    max, min, ptp = method(np.max), method(np.min), method(np.ptp)
    var, std = method(np.var), method(np.std)
    cumsum, cumprod = method(np.cumsum), method(np.cumprod)
    argmax, argmin, argsort = method(np.argmax), method(np.argmin), method(np.argsort)
    argpartition, searchsorted = method(np.argpartition), method(np.searchsorted)
    all, any, nonzero, round = method(np.all), method(np.any), method(np.nonzero), method(np.round)
    ravel, squeeze, swapaxes = method(np.ravel), method(np.squeeze), method(np.swapaxes)
    diagonal, trace = method(np.diagonal), method(np.trace)
    repeat, take, choose = method(np.repeat), method(np.take), method(np.choose)
    dot, conj, conjugate = method(np.dot), method(np.conj), method(np.conjugate)
    copy = method(np.copy)

    real = property(np.real, doc="The real part.")
    imag = property(np.imag, doc="The imaginary part.")

    def reshape(self, *shape: Any, order: Option = "C") -> Value:
        """Give a new shape, ``x.reshape(2, -1)`` or ``x.reshape((2, -1))``."""
        return np.reshape(self, shape[0] if len(shape) == 1 else shape, order=order)

    def flatten(self, order: Option = "C") -> Value:
        """Flatten to one axis; as `ravel`, since tensors are not written into."""
        checks.check_joins_all_axes(order)
        return np.ravel(self, order)

    def transpose(self, *axes: Axis) -> Value:
        """Permute the axes, in reverse order by default; as `numpy.transpose`."""
        checks.check_is_no_swap(self, axes)
        if len(axes) == 1 and not isinstance(axes[0], int):
            return np.transpose(self, axes[0])
        return np.transpose(self, axes or None)

    @property
    def T(self) -> Value:
        """The tensor with its axes in reverse order."""
        return np.transpose(self)

    @property
    def mT(self) -> Value:
        """The tensor with its last two axes swapped."""
        return np.matrix_transpose(self)

    def clip(self, min: ArrayLike = None, max: ArrayLike = None) -> Value:
        """Limit the values to ``[min, max]``; as `numpy.clip`."""
        return np.clip(self, min, max)

    def compress(self, condition: ArrayLike, axis: Axis = None) -> Value:
        """Select slices along an axis; as `numpy.compress`."""
        return np.compress(condition, self, axis)

    def astype(self, dtype: DTypeLike, copy: bool = True) -> Value:
        """Convert to another float or complex dtype; integers and booleans are a plain array.

        With ``copy=False``, a tensor that has the dtype already is returned as it is. Raises
        TypeError for strings and objects if the tensor requires a gradient.
        """
        dtype = np.dtype(dtype)
        if not copy and dtype == self.dtype:
            return self
        if dtype.kind in "biu" or (dtype.kind not in "fc" and not needs_recording(self)):
            return self._array.astype(dtype)
        return cast(self, dtype)

    def relu(self) -> Value:
        """Replace negative elements by zero; the derivative at zero is zero. A nan stays nan."""
        return np.where(~np.less_equal(self._array, 0), self, 0)


Node.result_class = Tensor
checks.explain_missing_attributes(Tensor)  # `Tensor.__dir__` hides what this adds


@primitive
def cast(x: Array, dtype: DTypeLike) -> Array:
    """Convert `x` to `dtype`."""
    return x.astype(dtype)


# The engine casts every cotangent to its argument's dtype, so nothing is left to do.
defvjp(cast, lambda g, out, x, dtype: g)


def rebuild(cls: type[Tensor], data: Array, requires_grad: bool, grad: Array | None) -> Tensor:
    """Rebuild a leaf from what `Tensor.__reduce__` gave to pickle or copy."""
    tensor: Tensor = object.__new__(cls)
    # Copy the data: copy.copy() passes the same array.
    Tensor.__init__(tensor, data.copy(), requires_grad=requires_grad)
    tensor.grad = grad
    return tensor


# ------------------------------------------------------------------------- gradients add up

# Threads may share parameters; without the lock, two that add at once would lose one gradient.
accumulating = threading.Lock()


def unlock_in_child() -> None:
    """Make a new lock in a forked process: another thread may have held the old one."""
    global accumulating
    accumulating = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=unlock_in_child)


def accumulate(cotangents: dict[Node, Array]) -> None:
    """Add each cotangent to the ``grad`` of its tensor, and empty `cotangents`.

    Each ``grad`` is a new array that shares memory with nothing: others may hold the old one. All
    of them are computed before the first is stored, so that an error leaves none changed.
    """
    with accumulating:
        gradients = {}
        for tensor in list(cotangents):
            # Pop each cotangent so that it is freed once copied; in large nets this memory matters.
            gradients[tensor] = new_gradient(tensor, cotangents.pop(tensor))
        for tensor, gradient in gradients.items():
            tensor._grad = gradient


def new_gradient(tensor: Node, cotangent: Array) -> Array:
    """Add a cotangent to a tensor's gradient, if it has one; return a new array."""
    gradient = np.empty_like(tensor._array)
    if tensor._grad is None:
        gradient[...] = cotangent
    else:
        np.add(tensor._grad, cotangent, out=gradient)
    return gradient
