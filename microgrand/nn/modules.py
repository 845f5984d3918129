"""Modules: layers and losses that hold their parameters, and know whether they are training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from ..masks import apply_mask, positive_mask
from ..random import generator
from ..tensor import Tensor
from . import functional as F


class Parameter(Tensor):
    """A tensor that a module learns.

    Parameters
    ----------
    data
        Array of a float dtype, or a tensor outside any graph; wrapped without a copy.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.Parameter(np.zeros(2))
    Tensor([0., 0.], requires_grad=True)
    """

    __slots__ = ()

    def __init__(self, data: Any, *, dtype: Any = None, requires_grad: bool = True) -> None:
        if isinstance(data, Tensor):
            data = data.numpy()  # raises for one whose graph would be lost
        super().__init__(data, dtype=dtype, requires_grad=requires_grad)


class Module:
    """Something with parameters that is called like a function; the base of layers and models.

    A subclass assigns parameters and other modules to attributes, also within lists, tuples and
    dicts, and defines ``forward``.

    Examples
    --------
    >>> from microgrand import nn
    >>> class Net(nn.Module):
    ...     def __init__(self):
    ...         self.hidden = nn.Linear(2, 8)
    ...         self.output = nn.Linear(8, 1)
    ...     def forward(self, x):
    ...         return self.output(self.hidden(x).relu())
    >>> [name for name, _ in Net().named_parameters()]
    ['hidden.weight', 'hidden.bias', 'output.weight', 'output.bias']
    """

    #: Whether the module behaves as in training; set by `train` and `eval`.
    training: bool = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output; subclasses define it."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward()")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output by `forward`."""
        return self.forward(*args, **kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        if (
            isinstance(self.__dict__.get(name), Parameter)
            and value is not None
            and not isinstance(value, Parameter)
        ):
            raise TypeError(
                f"{type(self).__name__}.{name} is a Parameter, and {type(value).__name__} in its "
                f"place would not be trained; change its values with .{name}.data = array, or "
                "assign nn.Parameter(data)"
            )
        object.__setattr__(self, name, value)

    # ---- what the module is made of

    def attributes(self) -> Iterable[tuple[str, Any]]:
        """List the names and values among which parameters and modules are looked for."""
        return vars(self).items()

    def members(self) -> Iterator[tuple[str, Module | Parameter]]:
        """Yield the module's own modules and parameters with their names."""
        for name, value in self.attributes():
            yield from find_members(name, value)

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """Yield this module, as ``""``, and all below it with their dotted names, each once."""
        seen = set()
        stack: list[tuple[str, Module]] = [("", self)]
        while stack:
            prefix, module = stack.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield prefix, module
            below = [
                (f"{prefix}.{name}" if prefix else name, child)
                for name, child in module.members()
                if isinstance(child, Module)
            ]
            stack.extend(reversed(below))

    def modules(self) -> Iterator[Module]:
        """Yield this module and all below it, each once."""
        for _, module in self.named_modules():
            yield module

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield all parameters with their dotted names; a shared one once, by its first name.

        Raises
        ------
        TypeError
            If an attribute is a tensor that requires a gradient but not a `Parameter`, since no
            optimizer would be given it.
        """
        seen: dict[Parameter, str] = {}
        names = set()
        for prefix, module in self.named_modules():
            for name, child in module.members():
                if isinstance(child, Parameter) and child not in seen:
                    name = seen[child] = f"{prefix}.{name}" if prefix else name
                    if name in names:
                        raise ValueError(f"two parameters have the name {name!r}; rename one")
                    names.add(name)
                    yield name, child

    def parameters(self) -> Iterator[Parameter]:
        """Yield all parameters, each once; what an optimizer is given."""
        for _, parameter in self.named_parameters():
            yield parameter

    # ---- modes and gradients

    def train(self, mode: bool = True) -> Module:
        """Set training mode, or evaluation mode if `mode` is False, here and below."""
        if not isinstance(mode, bool):
            raise TypeError(
                f"train() sets the training mode, True or False, got {type(mode).__name__}; the "
                "loop that trains is written by hand, with an optimizer"
            )
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Set evaluation mode here and below: dropout keeps every unit."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.grad = None

    # ---- saving and loading

    def state_dict(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return copies of all parameters' values by name.

        Examples
        --------
        >>> from microgrand import nn
        >>> {name: value.shape for name, value in nn.Linear(3, 2).state_dict().items()}
        {'weight': (2, 3), 'bias': (2,)}
        """
        return {name: parameter.value.copy() for name, parameter in self.named_parameters()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Write the values of a `state_dict` into the parameters, in place.

        A loss that was computed before is out of date, and its ``backward`` raises an error. But
        no check sees the change through a view, such as ``weight.T``, of a frozen parameter.

        Parameters
        ----------
        state
            From each parameter's name to an array of its shape; ``numpy.load`` of an ``.npz``
            file will do.

        Raises
        ------
        TypeError
            If `state` is not a mapping.
        ValueError
            If entries are missing, unknown or of another shape, or are not real numbers. Then
            no parameter has been changed.
        """
        if not isinstance(state, Mapping):
            raise TypeError(
                "load_state_dict takes a mapping from names to arrays, got "
                f"{type(state).__name__}; a file is read with np.load"
            )
        parameters = dict(self.named_parameters())
        problems = [f"missing: {name}" for name in parameters if name not in state]
        problems += [f"unknown: {name}" for name in state if name not in parameters]
        new = {}
        for name in parameters.keys() & state.keys():
            try:
                new[name] = as_value_of(parameters[name], state[name])
            except (TypeError, ValueError) as error:
                problems.append(f"{name}: {error}")
        if problems:
            raise ValueError(
                f"load_state_dict refused, nothing was changed in {type(self).__name__}; "
                + "; ".join(sorted(problems))
            )
        for name, value in new.items():
            parameters[name].value[...] = value
            parameters[name].version += 1

    # ---- as text

    def extra_repr(self) -> str:
        """Return what stands between the parentheses of the `repr` of a module without parts."""
        return ""

    def __repr__(self) -> str:
        lines = [
            f"  ({name}): " + repr(child).replace("\n", "\n  ")
            for name, child in self.members()
            if isinstance(child, Module)
        ]
        inside = "\n" + "\n".join(lines) + "\n" if lines else self.extra_repr()
        return f"{type(self).__name__}({inside})"


def find_members(name: str, value: Any) -> Iterator[tuple[str, Module | Parameter]]:
    """Yield the modules and parameters in an attribute's value, also within containers."""
    if isinstance(value, (Module, Parameter)):
        yield name, value
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from find_members(f"{name}.{i}", item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from find_members(f"{name}.{key}", item)
    elif isinstance(value, Tensor) and value.requires_grad and value.is_leaf:
        raise TypeError(
            f"attribute {name!r} is a Tensor that requires a gradient but not a Parameter, so it "
            "would not be trained; make it nn.Parameter(data), or keep it in a plain array"
        )


def as_value_of(parameter: Parameter, given: Any) -> Any:
    """Convert an entry of a state dict to a new array for `parameter`, or raise."""
    array = np.asarray(given.data if isinstance(given, Tensor) else given)
    if not getattr(parameter.value.flags, "writeable", True):
        raise ValueError("the parameter's array is read-only")
    if array.shape != parameter.shape:
        raise ValueError(f"shape {array.shape}, expected {parameter.shape}")
    if array.dtype.kind not in "fiu":
        raise TypeError(f"dtype {array.dtype}, expected {parameter.dtype}")
    with np.errstate(over="ignore"):
        value = array.astype(parameter.dtype)
    if np.isinf(value).any() and not np.isinf(array).any():
        raise ValueError(f"numbers beyond the range of {parameter.dtype}")
    return value


class Linear(Module):
    """The affine map ``x W^T + b`` on the last axis.

    Weight and bias are drawn uniformly from ``[-k, k]`` with ``k = 1 / sqrt(in_features)``, as
    PyTorch does: its Kaiming-uniform rule with slope ``a = sqrt(5)`` comes to that.

    Parameters
    ----------
    in_features, out_features
        Lengths of the last axis of input and output, at least 1.
    bias
        Whether there is a ``b``.
    dtype
        Floating dtype of the parameters; the input is cast to it.
    rng
        Draws the initial values; the library's generator by default.

    Attributes
    ----------
    weight
        Parameter of shape ``(out_features, in_features)``.
    bias
        Parameter of shape ``(out_features,)``, or None.

    Raises
    ------
    TypeError, ValueError
        When made with lengths that are not integers from 1, or called with another input width
        or an input that is not of a float dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> layer = nn.Linear(3, 2)
    >>> layer(np.ones((5, 3))).shape
    (5, 2)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: Any = np.float32,
        rng: np.random.Generator | None = None,
    ) -> None:
        for name, features in ("in_features", in_features), ("out_features", out_features):
            if not isinstance(features, (int, np.integer)) or isinstance(features, bool):
                raise TypeError(f"Linear's {name} is an int, got {features!r}")
            if features < 1:
                raise ValueError(f"Linear's {name} is at least 1, got {features}")
        if not isinstance(bias, (bool, np.bool_)):
            raise TypeError(f"Linear's bias is True or False, got {bias!r}")
        rng = generator(rng)
        bound = 1 / np.sqrt(in_features)
        self.weight = Parameter(
            rng.uniform(-bound, bound, (out_features, in_features)), dtype=dtype
        )
        self.bias = (
            Parameter(rng.uniform(-bound, bound, out_features), dtype=dtype) if bias else None
        )

    def forward(self, x: Any) -> Any:
        """Map ``(..., in_features)`` to ``(..., out_features)``."""
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return the sizes."""
        out_features, in_features = self.weight.shape
        return (
            f"in_features={in_features}, out_features={out_features}, bias={self.bias is not None}"
        )


class ReLU(Module):
    """``max(x, 0)``, by a mask that the backward pass uses again.

    Attributes
    ----------
    mask
        Boolean array, one byte a unit, True where the latest call kept its input; None before
        the first call. Read-only.

    Examples
    --------
    >>> from microgrand import nn
    >>> relu = nn.ReLU()
    >>> relu([-1.0, 0.0, 2.0])
    Tensor([0., 0., 2.])
    >>> relu.mask
    array([False, False,  True])
    """

    mask: Any = None

    def forward(self, x: Any) -> Any:
        """Zero what is not positive."""
        x = F.as_tensor(x)
        mask = self.mask = positive_mask(x.value)  # another thread may replace self.mask
        return apply_mask(x, mask)


class CrossEntropyLoss(Module):
    """Average of ``-log softmax(logits)[label]``; see `functional.cross_entropy`.

    Examples
    --------
    >>> from microgrand import nn
    >>> loss = nn.CrossEntropyLoss()
    >>> f"{loss([[0.0, 0.0], [1000.0, 0.0]], [0, 0]):.4f}"
    '0.3466'
    """

    def forward(self, logits: Any, labels: Any) -> Any:
        """Compare logits ``(n, classes)`` with integer labels ``(n,)``."""
        return F.cross_entropy(logits, labels)


class MSELoss(Module):
    """Average squared difference; see `functional.mse_loss`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.MSELoss()([1.0, 2.0], [1.0, 4.0])
    Tensor(2.)
    """

    def forward(self, prediction: Any, target: Any) -> Any:
        """Compare a prediction with a target of the same shape."""
        return F.mse_loss(prediction, target)
