"""Modules: they hold parameters, know whether they are training, and save their state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..kinds import Array, ArrayLike, DTypeLike
from ..tensor import Tensor
from . import checks, hooks, module_checks


class Parameter(Tensor):
    """A tensor that a module learns.

    Parameters
    ----------
    data
        Array of a float dtype, which is wrapped without a copy, or a tensor outside any graph,
        which is copied: it keeps its values when this one is trained.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.Parameter(np.zeros(2))
    Tensor([0., 0.], requires_grad=True)
    """

    __slots__ = ()

    def __init__(
        self, data: ArrayLike, *, dtype: DTypeLike = None, requires_grad: bool = True
    ) -> None:
        if isinstance(data, Tensor):
            data = data.numpy().copy()  # raises for one whose graph would be lost
        super().__init__(data, dtype=dtype, requires_grad=requires_grad)


class Buffer(Tensor):
    """A tensor that a module keeps and saves, but does not learn: running statistics, say.

    Parameters
    ----------
    data
        Array of numbers, which is wrapped without a copy, or a tensor outside any graph, which is
        copied.
    persistent
        Whether it is saved; False for what can be computed again, such as a mask.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> class Center(nn.Module):
    ...     def __init__(self, features):
    ...         self.mean = nn.Buffer(np.zeros(features))
    ...     def forward(self, x):
    ...         if self.training:
    ...             self.mean.data = 0.9 * self.mean.data + 0.1 * x.mean(axis=0)
    ...         return x - self.mean
    >>> center = Center(2)
    >>> _ = center(np.full((3, 2), 5.0))
    >>> center.state_dict()
    {'mean': array([0.5, 0.5])}
    """

    persistent: bool

    __slots__ = ("persistent",)

    def __init__(
        self, data: ArrayLike, *, dtype: DTypeLike = None, persistent: bool = True
    ) -> None:
        checks.check_flag("Buffer's persistent", persistent)
        if isinstance(data, Tensor):
            data = data.numpy().copy()  # raises for one whose graph would be lost
        super().__init__(data, dtype=dtype)
        self.persistent = bool(persistent)

    def __reduce__(self) -> Any:
        *how, attributes = super().__reduce__()
        return (*how, (attributes, {"persistent": self.persistent}))


class Module:
    """Something with parameters that is called like a function; the base of layers and models.

    A subclass assigns parameters and other modules to attributes, also within lists, tuples and
    dicts, and defines ``forward``. Elsewhere (in another container, in an attribute of an object,
    in ``__slots__`` or an attribute of the class) they are an error. Modules behind functions,
    bound methods, iterators such as ``map`` or ``zip``, or nested objects are not found: to leave
    a module unregistered, keep a function that calls it. What a module keeps but does not learn is
    a `Buffer`.

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
    #: Names of attributes with arrays that need not be saved, such as constants.
    not_state: tuple[str, ...] = ()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output; subclasses define it."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward()")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output by `forward`, or by what hooks have replaced it with."""
        return self.forward(*args, **kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        before = self.__dict__.get(name)
        if isinstance(before, STATE):
            kind = Parameter if isinstance(before, Parameter) else Buffer
            checks.check_stays(kind, self, name, value)
        object.__setattr__(self, name, value)

    # ---- what the module is made of

    def attributes(self) -> Iterable[tuple[str, Any]]:
        """List the names and values in which to look for parameters and modules."""
        return vars(self).items()

    def members(self) -> Iterator[tuple[str, Module | Parameter | Buffer]]:
        """Yield the module's own modules, parameters and buffers with their names."""
        for attribute, value in self.attributes():
            for name, item in items_in(attribute, value):
                if isinstance(item, (Module, Parameter)):
                    yield name, item
                else:
                    checks.check_is_parameter(name, item)
                    if isinstance(item, Buffer):
                        yield name, item

    def named_modules(self, *, remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """Yield this module, as ``""``, and all below it with their dotted names, each once.

        With ``remove_duplicate=False``, one in several places is yielded under each of its names.

        Raises
        ------
        TypeError
            If a module or parameter is stored where it is not looked for: in a set or an object
            of another kind, an attribute of the class or in ``__slots__``.
        """
        modules = []
        found: set[int] = set()
        stack: list[tuple[str, Module, tuple[int, ...]]] = [("", self, ())]
        while stack:
            prefix, module, above = stack.pop()
            if id(module) in (found if remove_duplicate else above):  # it may refer to one above
                continue
            found.add(id(module))
            modules.append((prefix, module))
            above = above if remove_duplicate else (*above, id(module))
            below = []
            for name, child in module.members():
                if isinstance(child, Module):
                    below.append((f"{prefix}.{name}" if prefix else name, child, above))
                else:
                    found.add(id(child))
            stack.extend(reversed(below))
        for _, module in modules:
            checks.check_hides_nothing(module, (Module, Parameter, Buffer), found)
        yield from modules

    def modules(self) -> Iterator[Module]:
        """Yield this module and all below it, each once."""
        for _, module in self.named_modules():
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield this module's direct children with their names, each once."""
        seen = set()
        for name, child in self.members():
            if isinstance(child, Module) and child not in seen:
                seen.add(child)
                yield name, child

    def children(self) -> Iterator[Module]:
        """Yield this module's direct children, each once."""
        for _, child in self.named_children():
            yield child

    def apply(self, function: Callable[[Module], Any]) -> Module:
        """Call a function on every module below and then on this one; return this one.

        Examples
        --------
        >>> from microgrand import nn
        >>> def init(module):
        ...     if isinstance(module, nn.Linear):
        ...         module.bias.data[:] = 1
        >>> nn.Sequential(nn.Linear(3, 2), nn.ReLU()).apply(init)[0].bias
        Tensor([1., 1.], dtype=float32, requires_grad=True)
        """
        waiting = set(self.modules())

        def visit(module: Module) -> None:
            waiting.remove(module)
            for child in module.children():
                if child in waiting:
                    visit(child)
            function(module)

        visit(self)
        return self

    def register_buffer(self, name: str, value: ArrayLike, persistent: bool = True) -> None:
        """Make an attribute that is a `Buffer`, as ``self.name = nn.Buffer(value)`` does.

        If it is not `persistent`, it is not saved.

        Raises
        ------
        TypeError
            If the name is not a string, or the value neither an array nor None.
        ValueError
            If there is an attribute of this name, or a dot in it.

        Examples
        --------
        >>> import numpy as np
        >>> from microgrand import nn
        >>> module = nn.Module()
        >>> module.register_buffer("mask", np.tri(2))
        >>> dict(module.named_buffers())
        {'mask': Tensor([[1., 0.],
               [1., 1.]])}
        """
        module_checks.check_name_of_part("buffer", self, name)
        setattr(self, name, None if value is None else Buffer(value, persistent=persistent))

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Make an attribute that is a parameter, as ``self.name = param`` does.

        Raises
        ------
        TypeError
            If the name is not a string, or `param` is neither a `Parameter` nor None.
        ValueError
            If there is an attribute of this name, or a dot in it.

        Examples
        --------
        >>> import numpy as np
        >>> from microgrand import nn
        >>> module = nn.Module()
        >>> module.register_parameter("scale", nn.Parameter(np.ones(2)))
        >>> module.scale
        Tensor([1., 1.], requires_grad=True)
        """
        module_checks.check_name_of_part("parameter", self, name)
        module_checks.check_kind_of_part("register_parameter", param, Parameter)
        setattr(self, name, param)

    def add_module(self, name: str, module: Module | None) -> None:
        """Make an attribute that is a module, as ``self.name = module`` does.

        Raises
        ------
        TypeError
            If the name is not a string, or `module` is neither a module nor None.
        ValueError
            If there is an attribute of this name, or a dot in it.

        Examples
        --------
        >>> from microgrand import nn
        >>> net = nn.Sequential()
        >>> net.add_module("hidden", nn.Linear(2, 8))
        >>> net
        Sequential(
          (hidden): Linear(in_features=2, out_features=8, bias=True)
        )
        """
        module_checks.check_name_of_part("module", self, name)
        module_checks.check_kind_of_part("add_module", module, Module)
        self.put_module(name, module)

    def register_module(self, name: str, module: Module | None) -> None:
        """Do what `add_module` does."""
        self.add_module(name, module)

    def put_module(self, name: str, module: Module | None) -> None:
        """Add a module; containers keep theirs elsewhere."""
        setattr(self, name, module)

    def get_submodule(self, target: str) -> Module:
        """Return the module of a dotted name, as `named_modules` yields it; of ``""``, this one.

        Raises
        ------
        AttributeError
            If there is none.

        Examples
        --------
        >>> from microgrand import nn
        >>> net = nn.Sequential(nn.Linear(2, 8), nn.Sequential(nn.ReLU(), nn.Linear(8, 1)))
        >>> net.get_submodule("1.1") is net[1][1], net.get_parameter("1.1.bias").shape
        (True, (1,))
        """
        found: Module = module_checks.found_by_name(
            self, "module", target, self.named_modules(remove_duplicate=False)
        )
        return found

    def get_parameter(self, target: str) -> Parameter:
        """Return the parameter of a dotted name, as `named_parameters` yields it, or raise."""
        found: Parameter = module_checks.found_by_name(
            self, "parameter", target, self.named_parameters(remove_duplicate=False)
        )
        return found

    def get_buffer(self, target: str) -> Buffer:
        """Return the buffer of a dotted name, as `named_buffers` yields it, or raise."""
        found: Buffer = module_checks.found_by_name(
            self, "buffer", target, self.named_buffers(remove_duplicate=False)
        )
        return found

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Yield all parameters with their dotted names; a shared one once, by its first name.

        Parameters
        ----------
        prefix
            What to put before the names, with a dot.
        recurse
            Whether to include those of the modules below.
        remove_duplicate
            False to yield a shared one under each of its names.

        Raises
        ------
        TypeError
            If an attribute is a tensor that requires a gradient but not a `Parameter`, since no
            optimizer would be given it.
        """
        yield from self.named_tensors(Parameter, not remove_duplicate, prefix, recurse)

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Buffer]]:
        """Yield all buffers with their dotted names, as `named_parameters` does the parameters."""
        yield from self.named_tensors(Buffer, not remove_duplicate, prefix, recurse)

    def named_tensors(
        self,
        kinds: type | tuple[type, ...],
        every_name: bool = False,
        prefix: str = "",
        recurse: bool = True,
    ) -> Iterator[tuple[str, Any]]:
        """Yield parameters or buffers, or both, with their dotted names.

        A shared one is yielded once, under its first name, or under each of its names.
        """
        seen = set()
        names: set[str] = set()
        modules = self.named_modules(remove_duplicate=not every_name)
        for above, module in modules if recurse else [("", self)]:
            for name, child in module.members():
                if isinstance(child, kinds) and (every_name or child not in seen):
                    name = ".".join([part for part in (prefix, above, name) if part])
                    checks.check_name_is_new(name, names)
                    names.add(name)
                    seen.add(child)
                    yield name, child

    def saved_tensors(self, every_name: bool = False) -> Iterator[tuple[str, Any]]:
        """Yield what is saved: the parameters, and the buffers that are persistent."""
        for name, tensor in self.named_tensors(STATE, every_name):
            if not isinstance(tensor, Buffer) or tensor.persistent:
                yield name, tensor

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Yield all parameters, each once; what an optimizer is given.

        With ``recurse=False``, only this module's own.
        """
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def buffers(self, recurse: bool = True) -> Iterator[Buffer]:
        """Yield all buffers, each once, as `parameters` does the parameters."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    # ---- modes and gradients

    def train(self, mode: bool = True) -> Module:
        """Set training mode, or evaluation mode if `mode` is False, here and below."""
        checks.check_mode(mode)
        for module in self.modules():  # raises, if at all, before it yields the first
            module.training = bool(mode)
        return self

    def eval(self) -> Module:
        """Set evaluation mode here and below: dropout keeps every unit."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Set whether all parameters here and below get gradients; return this module.

        Examples
        --------
        >>> from microgrand import nn
        >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> _ = net[0].requires_grad_(False)
        >>> [name for name, p in net.named_parameters() if p.requires_grad]
        ['2.weight', '2.bias']
        """
        for parameter in list(self.parameters()):
            parameter.requires_grad_(requires_grad)
        return self

    def to(self, dtype: DTypeLike) -> Module:
        """Convert all parameters and buffers of floats to another dtype of floats, in place.

        So are their gradients. Optimizers keep working, and convert what they remember; a loss that
        was computed before is out of date.

        Raises
        ------
        TypeError
            If it is not a dtype of floats: there are no devices.

        Examples
        --------
        >>> import numpy as np
        >>> from microgrand import nn
        >>> net = nn.Linear(2, 1)
        >>> net.weight.dtype, net.to(np.float16).weight.dtype, net.double().weight.dtype
        (dtype('float32'), dtype('float16'), dtype('float64'))
        """
        dtype = module_checks.checked_dtype_of_floats(self, dtype)
        for _, tensor in list(self.named_tensors(STATE)):
            if tensor.dtype.kind == "f" and tensor.dtype != dtype:
                tensor.version += 1  # tells graphs that have saved the values
                tensor._array = tensor._array.astype(dtype)
                tensor._grad = None if tensor._grad is None else tensor._grad.astype(dtype)
        return self

    cuda = cpu = module_checks.NO_DEVICES

    def double(self) -> Module:
        """Convert all parameters and buffers of floats to float64, as `to` does."""
        return self.to(np.float64)

    def float(self) -> Module:
        """Convert all parameters and buffers of floats to float32, as `to` does."""
        return self.to(np.float32)

    def half(self) -> Module:
        """Convert all parameters and buffers of floats to float16, as `to` does."""
        return self.to(np.float16)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters.

        With ``set_to_none=False``, existing ones become zeros.
        """
        forget_gradients(list(self.parameters()), set_to_none)

    # ---- saving and loading

    def state_dict(self) -> dict[str, Array]:
        """Return copies of all parameters' and persistent buffers' values by name.

        One that is in several places appears under each of its names, as in PyTorch, with one array
        for all.

        Warns of an attribute with other arrays of floats, as they are not saved: make them a
        `Buffer`, or name the attribute in the class's ``not_state``. They are looked for in
        containers and in the attributes of an object, too. Single numbers are not reported, since
        they may be constants: a running mean that is one should be a `Buffer`.

        Examples
        --------
        >>> from microgrand import nn
        >>> {name: value.shape for name, value in nn.Linear(3, 2).state_dict().items()}
        {'weight': (2, 3), 'bias': (2,)}
        """
        for prefix, module in self.named_modules():
            not_state = checks.names_of_no_state(module)
            for attribute, value in module.attributes():
                if attribute not in not_state:
                    for name, item in items_in(attribute, value):
                        checks.warn_of_lost_state(prefix, name, item, (Module, *STATE))
        copies = {tensor: tensor.data.copy() for _, tensor in self.saved_tensors()}
        return {name: copies[tensor] for name, tensor in self.saved_tensors(every_name=True)}

    def load_state_dict(
        self, state: Mapping[str, ArrayLike], strict: bool = True
    ) -> IncompatibleKeys:
        """Write the values of a `state_dict` into the parameters and buffers, in place.

        A loss that was computed before is out of date, and its ``backward`` raises an error. Frozen
        parameters and buffers get new arrays: views, such as ``weight.T``, keep the old values.

        Parameters
        ----------
        state
            From each one's name to an array of its shape; ``numpy.load`` of an ``.npz`` file will
            do, and so will the ``state_dict()`` of a PyTorch module with the same parts. Values
            are moved to where the parameters are, such as a device.
        strict
            Whether each parameter and buffer must have an entry, and each entry must be known. One
            that is in several places may appear under any of its names, or under all.

        Returns
        -------
        missing_keys, unexpected_keys
            The names without an entry, and the unused entries; with `strict`, there are none.

        Raises
        ------
        TypeError
            If `state` is not a mapping.
        ValueError
            If entries are of another shape, or do not fit the dtype; with `strict`, also if some
            are missing or unknown. Then nothing has been changed.

        Examples
        --------
        >>> from microgrand import nn
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
        >>> net.load_state_dict({"0.bias": [1.0, 2.0], "head": 0.0}, strict=False)
        IncompatibleKeys(missing_keys=['0.weight', '1.weight', '1.bias'],
                         unexpected_keys=['head'])
        """
        values = self.values_to_load(state, strict)
        self.write_values(values)
        return values[1]

    def values_to_load(
        self, state: Mapping[str, Any], strict: bool = True
    ) -> tuple[dict[Tensor, Any], IncompatibleKeys]:
        """Check a state as `load_state_dict` does; return what it would write, and change nothing.

        That is a dict from tensors to arrays, and the keys that `load_state_dict` returns.
        """
        checks.check_is_mapping(state)
        checks.check_flag("load_state_dict's strict", strict)
        tensors = dict(self.saved_tensors(every_name=True))
        names: dict[Tensor, list[str]] = {tensor: [] for tensor in tensors.values()}
        for name, tensor in tensors.items():
            if name in state:  # a tensor that modules share may have several
                names[tensor].append(name)
        keys = IncompatibleKeys(
            [name for name, tensor in self.saved_tensors() if not names[tensor]],
            [name for name in state if name not in tensors],
        )
        problems = []
        if strict:
            problems = [f"missing: {name}" for name in keys.missing_keys]
            problems += [f"unknown: {name}" for name in keys.unexpected_keys]
        new: dict[Tensor, Any] = {}
        for tensor, given in names.items():
            for name in given:
                try:
                    value = checks.as_value_of(tensor, state[name])
                    module_checks.check_same(given[0], new.setdefault(tensor, value), value)
                except (TypeError, ValueError) as error:
                    problems.append(f"{name}: {error}")
        checks.refuse_state(self, problems)
        return new, keys

    def write_values(self, values: tuple[dict[Tensor, Any], Any]) -> None:
        """Write what `values_to_load` has returned, which cannot fail."""
        for tensor, value in values[0].items():
            if tensor._requires_grad:
                tensor.version += 1  # tells graphs that have saved the values
                tensor.data[...] = value
            else:  # of this, there may be views outside any graph
                tensor.data = value

    # ---- hooks

    def register_forward_pre_hook(self, hook: Callable[..., Any]) -> hooks.RemovableHandle:
        """Call ``hook(module, args)`` before each call; what it returns takes the arguments' place.

        A tuple is all arguments, anything else the only one, and None changes nothing. Returns a
        handle, whose ``remove()`` removes the hook.
        """
        return hooks.register(self, "before", hook)

    def register_forward_hook(self, hook: Callable[..., Any]) -> hooks.RemovableHandle:
        """Call ``hook(module, args, output)`` after each call; what it returns is the new output.

        None changes nothing. Returns a handle, whose ``remove()`` removes the hook.

        Examples
        --------
        >>> import numpy as np
        >>> from microgrand import nn
        >>> net = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
        >>> def show(module, args, output):
        ...     print(type(module).__name__, output.shape)
        >>> handles = [layer.register_forward_hook(show) for layer in net]
        >>> _ = net(np.ones((4, 2)))
        Linear (4, 8)
        ReLU (4, 8)
        Linear (4, 1)
        >>> for handle in handles:
        ...     handle.remove()
        """
        return hooks.register(self, "after", hook)

    def register_full_backward_hook(self, hook: Callable[..., Any]) -> hooks.RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` when the gradients of a call are known.

        They are tuples with an array for each positional argument and each output, None where there
        is no gradient. What the hook returns takes the place of `grad_input`; None changes nothing.
        Returns a handle, whose ``remove()`` removes the hook.

        Examples
        --------
        >>> import numpy as np
        >>> from microgrand import Tensor, nn
        >>> relu = nn.ReLU()
        >>> def show(module, grad_input, grad_output):
        ...     print(grad_input, grad_output)
        >>> handle = relu.register_full_backward_hook(show)
        >>> relu(Tensor([-1.0, 2.0], requires_grad=True)).sum().backward()
        (array([0., 1.]),) (array([1., 1.]),)
        """
        return hooks.register(self, "backward", hook)

    # ---- as text

    def extra_repr(self) -> str:
        """Return what the `repr` of a module without parts shows between its parentheses."""
        return ""

    def __repr__(self) -> str:
        lines = [
            f"  ({name}): " + repr(child).replace("\n", "\n  ")
            for name, child in self.members()
            if isinstance(child, Module)
        ]
        inside = "\n" + "\n".join(lines) + "\n" if lines else self.extra_repr()
        return f"{type(self).__name__}({inside})"


#: What a module keeps.
STATE = (Parameter, Buffer)


def forget_gradients(parameters: Iterable[Tensor], set_to_none: bool) -> None:
    """Set gradients to None, or to zeros where there are some."""
    checks.check_flag("zero_grad's set_to_none", set_to_none)
    for parameter in parameters:
        if set_to_none:
            parameter._grad = None
        elif parameter._grad is not None:
            parameter._grad = np.zeros_like(parameter._grad)


class IncompatibleKeys(NamedTuple):
    """How a loaded state differs from the module's own."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def items_in(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield an attribute's value with its name, or what is in it if that is a container."""
    if isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from items_in(f"{name}.{i}", item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from items_in(f"{name}.{key}", item)
    else:
        yield name, value
