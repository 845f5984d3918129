"""What all optimizers share: groups of parameters, the step over them, and their state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from ..grad_mode import enable_grad
from ..kinds import Array
from ..nn.module import forget_gradients
from ..tensor import Tensor
from . import checks
from .blocks import in_blocks

Scratch = Array | None  # with None as its `out`, NumPy makes a new array
#: How one parameter changes: a rule, the arrays that it remembers, and the step's numbers.
Update = tuple[Callable[..., None], tuple[Array, ...], tuple[float, ...]]


class Group(dict[str, Any]):
    """Parameters, as ``group["params"]``, and the options that hold for them, ``group["lr"]``.

    An option is checked when it is assigned.
    """

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, checks.checked_option(name, value))

    def update(self, *options: Any, **more: Any) -> None:
        """Assign several options."""
        for name, value in dict(*options, **more).items():
            self[name] = value


class Option:
    """An option as the optimizer's attribute: it is read from all groups, and assigned to all."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, optimizer: Optimizer | None, owner: type) -> Any:
        if optimizer is None:
            return self
        values = [group[self.name] for group in optimizer.param_groups]
        if len(values) > 1:
            checks.check_is_one_value(self.name, values)
        return values[0]

    def __set__(self, optimizer: Optimizer, value: Any) -> None:
        for group in optimizer.param_groups:
            group[self.name] = value


class Optimizer(ABC):
    """What all optimizers share: the parameters, the learning rate and the loop over them.

    A subclass says in `update` how one parameter changes.

    Parameters
    ----------
    params
        The tensors to change, such as ``model.parameters()``: distinct leaves with
        ``requires_grad=True``. Or groups of them with options of their own, ``[{"params":
        model.body.parameters()}, {"params": model.head.parameters(), "lr": 0.1}]``.
    **defaults
        The options of groups that do not give them: ``lr``, at least 0, the learning rate;
        ``weight_decay``, at least 0, the strength of the pull towards zero; ``maximize``, whether
        to go up the gradients instead of down; and those of the subclass.

    Attributes
    ----------
    param_groups
        The groups, a list of dicts: ``"params"``, a list of tensors, and the options. Options may
        be assigned, ``optimizer.param_groups[1]["lr"] = 0.01``; ``optimizer.lr = 0.01`` assigns to
        all groups. Tensors are added by `add_param_group` only.

    Raises
    ------
    TypeError
        If `params` is not an iterable of tensors or groups, or an option is not a number.
    ValueError
        If there are no parameters, one is given twice, is not a leaf, is read-only or does not
        require a gradient, or if a number is out of its range.
    """

    lr: Any = Option()
    weight_decay: Any = Option()
    maximize: Any = Option()

    #: What is remembered about each parameter, by PyTorch's names.
    remembers: ClassVar[tuple[str, ...]] = ()
    #: Options of PyTorch's that have only one value here.
    always: ClassVar[Mapping[str, Any]] = {}

    def __new__(cls, *arguments: Any, **options: Any) -> Optimizer:
        """Refuse options that only PyTorch's optimizers have."""
        checks.check_options_are_ours(cls, options)
        return super().__new__(cls)

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Mapping[str, Any]],
        *,
        maximize: bool = False,
        **defaults: Any,
    ) -> None:
        self.defaults = Group()
        self.defaults.update({**defaults, "maximize": maximize})
        self.parameters: list[Tensor] = []
        self.group_of: list[Group] = []  # of each parameter
        self.param_groups: list[Group] = []
        self.memory: dict[str, list[Array]] = {}  # an array for each parameter, by name
        self.steps: list[int] = []  # of each parameter, where the rule counts them
        self.dtypes: list[np.dtype[Any]] = []  # of each parameter, as in the last step
        for group in checks.checked_groups(params):
            self.add_param_group(group)

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add parameters, with options of their own: a layer that is to be trained from now on.

        Parameters
        ----------
        group
            A dict with the tensors as ``"params"``, and with options where they are not the
            optimizer's.

        Raises
        ------
        TypeError, ValueError
            As for the optimizer's own arguments, and if an option is unknown. Then nothing was
            changed.

        Examples
        --------
        >>> from microgrand import nn
        >>> from microgrand.optim import Lion
        >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> optimizer = Lion(net[2].parameters(), lr=0.1)
        >>> optimizer.add_param_group({"params": net[0].parameters(), "lr": 0.01})
        >>> optimizer
        Lion(
          (0): 2 parameters, lr=0.1, betas=(0.9, 0.99), weight_decay=0.0, maximize=False
          (1): 2 parameters, lr=0.01, betas=(0.9, 0.99), weight_decay=0.0, maximize=False
        )
        """
        checks.check_group(group, self.defaults)
        added = checks.checked_parameters(group["params"], "params", self.parameters)
        new = Group()
        new.update({**self.defaults, **group, "params": added})
        checks.check_nesterov(new)
        self.param_groups.append(new)
        self.parameters += added
        self.group_of += [new] * len(added)
        self.steps += [0] * len(added)
        self.dtypes += [p.dtype for p in added]
        for arrays in self.memory.values():
            arrays += zeros_like(added)

    def remember(self, *names: str) -> None:
        """Make room for what is remembered about each parameter, zeros at first."""
        for name in names:
            self.memory[name] = zeros_like(self.parameters)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set every parameter's ``grad`` to None, so that `backward` starts again.

        With ``set_to_none=False``, existing ones become zeros: `step` then still changes their
        parameters, by momentum or decay.

        To accumulate the gradients of several batches, call it less often. The weights then change
        as for one batch of all their samples:

        Examples
        --------
        >>> import numpy as np
        >>> from microgrand import nn, optim
        >>> net = nn.Linear(3, 1)
        >>> optimizer = optim.SGD(net.parameters(), lr=0.1)
        >>> for number, x in enumerate(np.ones((8, 4, 3)), start=1):
        ...     loss = (net(x) ** 2).mean() / 4  # the mean over four batches
        ...     loss.backward()
        ...     if number % 4 == 0:
        ...         optimizer.step()
        ...         optimizer.zero_grad()
        """
        forget_gradients(self.parameters, set_to_none)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every parameter in place according to its gradient.

        A parameter whose ``grad`` is None, or that no longer requires one, stays as it is, and so
        does what the optimizer remembers about it.

        Parameters
        ----------
        closure
            A function that is called first: it calls `zero_grad`, computes the loss, calls
            ``backward`` and returns the loss.

        Returns
        -------
        loss
            What `closure` has returned; None without one.

        Raises
        ------
        TypeError
            If `closure` is not a function.
        ValueError
            If the groups hold other tensors than the optimizer was given.
        """
        checks.check_params_are_known(self)
        loss = None
        if closure is not None:
            checks.check_closure(closure)
            with enable_grad():
                loss = closure()
        for index, parameter in enumerate(self.parameters):
            grad = parameter._grad
            if grad is not None and parameter._requires_grad:
                if self.group_of[index]["maximize"]:
                    grad = np.negative(grad)
                if parameter._array.dtype != self.dtypes[index]:
                    self.convert(index)
                rule, memory, numbers = self.update(index)
                # Before the change, which may be interrupted: graphs have saved the values.
                parameter.version += 1
                in_blocks(rule, (parameter._array, grad, *memory), numbers)
        return loss

    def convert(self, index: int) -> None:
        """Convert what is remembered about a parameter after a change of its dtype."""
        new = zeros_like([self.parameters[index]])[0].dtype
        for arrays in self.memory.values():
            arrays[index] = arrays[index].astype(new, copy=False)
        self.dtypes[index] = self.parameters[index].dtype

    @abstractmethod
    def update(self, index: int) -> Update:
        """Return how ``self.parameters[index]`` changes in this step.

        That is a rule, the arrays that it remembers about the parameter, and this step's numbers.
        The rule is called as ``rule(data, grad, *memory, scratch, *numbers)``, once or for each
        block, and changes `data` and `memory` in place.
        """

    # ---- saving and loading

    def state_dict(self) -> dict[str, Any]:
        """Return copies of all that the optimizer remembers, and its options, as PyTorch does.

        Returns
        -------
        state, param_groups
            A dict with both: ``state[i]`` is a dict of what is remembered about parameter ``i``, by
            PyTorch's names; ``param_groups`` is a list of options, with the numbers of the
            parameters as ``"params"``.

        Examples
        --------
        >>> from microgrand import Tensor
        >>> from microgrand.optim import SGD
        >>> weight = Tensor([1.0, 2.0], requires_grad=True)
        >>> optimizer = SGD([weight], lr=0.25, momentum=0.5)
        >>> weight.sum().backward()
        >>> optimizer.step()
        >>> optimizer.state_dict()["state"]
        {0: {'momentum_buffer': array([1., 1.])}}
        """
        checks.check_params_are_known(self)
        numbers = {id(parameter): i for i, parameter in enumerate(self.parameters)}
        groups = [
            {**self.always, **group, "params": [numbers[id(p)] for p in group["params"]]}
            for group in self.param_groups
        ]
        state: dict[int, dict[str, Any]] = {}
        for i, steps in enumerate(self.steps):
            if "step" not in self.remembers or steps:
                entry = {name: arrays[i].copy() for name, arrays in self.memory.items()}
                counted = {"step": steps} if "step" in self.remembers else {}
                if entry or counted:
                    state[i] = counted | entry
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue as the optimizer whose `state_dict` this is; PyTorch's of this name will do.

        Parameters
        ----------
        state
            From an optimizer of the same kind, with as many parameters in each group. They are
            matched by their order; parameters without an entry start afresh.

        Raises
        ------
        TypeError
            If `state` is not a mapping.
        ValueError
            If it does not fit: groups, options, what is remembered, or its shapes. Then nothing was
            changed.
        """
        self.write_values(self.values_to_load(state))

    def write_values(self, values: tuple[Any, Any, Any]) -> None:
        """Write what `values_to_load` has returned, which cannot fail."""
        groups, steps, memory = values
        for group, options in zip(self.param_groups, groups, strict=True):
            group.update(options)
        self.steps[:] = steps
        self.memory.update(memory)

    def values_to_load(self, state: Mapping[str, Any]) -> tuple[Any, Any, Any]:
        """Check a state as `load_state_dict` does; return what it would write, and change nothing.

        That is the groups' options, the steps, and lists of arrays by name.
        """
        groups, order = checks.checked_state_groups(self, state)
        entries = checks.checked_state_entries(self, state, order)
        names = {name for entry in entries for name in entry if name != "step"}
        memory = {name: zeros_like(self.parameters) for name in {*self.memory, *names}}
        for i, entry in enumerate(entries):
            for name in entry.keys() & memory.keys():
                checks.fill(memory[name][i], entry[name], f"state[{i}][{name!r}]")
        # What counts no steps has begun or not.
        steps = [checks.checked_step(entry.get("step", int(bool(entry)))) for entry in entries]
        return groups, steps, memory

    def __repr__(self) -> str:
        texts = [
            ", ".join(f"{name}={value!r}" for name, value in group.items() if name != "params")
            for group in self.param_groups
        ]
        if len(texts) == 1:
            return f"{type(self).__name__}({texts[0]})"
        lines = [
            f"  ({i}): {len(group['params'])} parameters, {text}\n"
            for i, (group, text) in enumerate(zip(self.param_groups, texts, strict=True))
        ]
        return f"{type(self).__name__}(\n{''.join(lines)})"


def decayed(grad: Array, data: Array, weight_decay: float, scratch: Scratch) -> Array:
    """Return the gradient of the loss plus ``weight_decay / 2 * (data**2).sum()``."""
    total: Array = np.multiply(data, weight_decay, out=scratch)
    total += grad
    return total


def scaled(grad: Array, factor: float, like: Array, scratch: Scratch) -> Array:
    """Return ``factor * grad`` in another array's dtype; `grad` stays, also if it is `scratch`."""
    out = None if grad is scratch else scratch
    product: Array = np.multiply(grad, factor, out=out, dtype=like.dtype)
    return product


def squared(grad: Array, factor: float, like: Array, scratch: Scratch) -> Array:
    """Return ``factor * grad**2`` in another array's dtype; `grad` stays.

    One factor after the other: the square itself may overflow.
    """
    square = scaled(grad, factor, like, scratch)
    square *= grad
    return square


def zeros_like(parameters: Iterable[Tensor]) -> list[Array]:
    """Make room for what an optimizer remembers about each parameter.

    At least in float32: averages of squares soon exceed the largest float16, 65504.
    """
    return [
        np.zeros_like(p.data, dtype=np.result_type(p.dtype, np.float32), order="C")
        for p in parameters
    ]
