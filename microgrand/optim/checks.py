"""What optimizers refuse, and what to do instead."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any, NoReturn

import numpy as np

from ..dispatch import library_of
from ..kinds import Array
from ..nn.checks import as_plain_array
from ..tensor import Tensor


def checked_parameters(
    parameters: Iterable[Tensor], who: str = "parameters", others: Iterable[Tensor] = ()
) -> list[Tensor]:
    """Return the parameters as a list, if an optimizer can change all of them."""
    if isinstance(parameters, Tensor):
        raise TypeError("parameters must be an iterable of tensors, got one Tensor; write [tensor]")
    if callable(getattr(parameters, "parameters", None)):
        raise TypeError(
            "parameters must be an iterable of tensors, got a module of type "
            f"{type(parameters).__name__}; pass module.parameters()"
        )
    if not isinstance(parameters, Iterable):
        raise TypeError(
            f"parameters must be an iterable of tensors, got {type(parameters).__name__}; "
            "pass model.parameters(), with its parentheses, or a list"
        )
    parameters = list(parameters)
    if not parameters:
        raise ValueError(
            "there are no parameters; pass model.parameters() of a model that has some (an "
            "iterator that has been used up is empty, too)"
        )
    seen = {id(parameter): "one of another group" for parameter in others}
    for index, parameter in enumerate(parameters):
        name = f"{who}[{index}]"
        if not isinstance(parameter, Tensor):
            raise TypeError(
                f"{name} must be a Tensor, got {type(parameter).__name__}; pass "
                "model.parameters() or a list of tensors with requires_grad=True"
            )
        if not parameter.is_leaf:
            raise ValueError(
                f"{name} must be a leaf, got the result of a computation; compute the initial "
                "values first, then wrap them: Tensor(values, requires_grad=True)"
            )
        if not parameter.requires_grad:
            raise ValueError(
                f"{name} does not require a gradient; create it with requires_grad=True, or "
                "leave it out: [p for p in model.parameters() if p.requires_grad]"
            )
        if not hasattr(parameter.data, "flags"):
            raise TypeError(
                f"{name} holds an array of {type(parameter.data).__module__.split('.')[0]}, which "
                "is not computed yet and cannot be changed in place; keep parameters in NumPy's "
                "or CuPy's arrays, and only the data in such ones"
            )
        # Arrays of other libraries need not have this flag.
        if not getattr(parameter.data.flags, "writeable", True):
            raise ValueError(
                f"{name} is read-only and cannot be changed in place; wrap a copy of its array: "
                "Tensor(array.copy(), requires_grad=True)"
            )
        if id(parameter) in seen:
            raise ValueError(
                f"{name} is the same tensor as {seen[id(parameter)]} and would be changed twice in "
                "each step; pass each tensor once"
            )
        seen[id(parameter)] = name
    return parameters


#: Options of PyTorch's that tell how to compute, not what.
IRRELEVANT = {"foreach", "fused", "capturable", "differentiable", "param_names"}


def check_options_are_ours(kind: type, options: Iterable[str]) -> None:
    """Raise if an optimizer is given options that tell how to compute."""
    for name in IRRELEVANT.intersection(options):
        raise TypeError(
            f"{kind.__name__} has no option {name!r}, which tells PyTorch how to compute, not "
            "what; leave it out. To fuse a whole training step, microgrand.compile it"
        )


def check_closure(closure: Any) -> None:
    """Raise if `step` is given something else than a function."""
    if not callable(closure):
        raise TypeError(
            f"step takes a function that computes the loss and calls backward(), or nothing, got "
            f"{closure!r:.60}; call loss.backward() before, and then step()"
        )


def checked_groups(parameters: Any) -> list[Mapping[str, Any]]:
    """Return groups of parameters, one of all if there are tensors only."""
    if isinstance(parameters, Mapping):
        raise TypeError(
            'parameters must be an iterable of tensors, or of groups such as {"params": ...}, got '
            "one dict; write [group]"
        )
    is_list = isinstance(parameters, Iterable) and not isinstance(parameters, Tensor)
    is_list = is_list and not callable(getattr(parameters, "parameters", None))
    items = list(parameters) if is_list else parameters
    if not is_list or not any(isinstance(item, Mapping) for item in items):
        return [{"params": checked_parameters(items)}]
    for index, item in enumerate(items):
        if not isinstance(item, Mapping):
            raise TypeError(
                f"parameters[{index}] is of type {type(item).__name__} among groups of parameters; "
                'put it into one, {"params": [tensor]}'
            )
    return items


def check_group(group: Any, defaults: Mapping[str, Any]) -> None:
    """Raise if a group has no parameters, or options that the optimizer has not."""
    if not isinstance(group, Mapping) or "params" not in group:
        raise TypeError(
            f'a group is a dict with tensors as "params", got {group!r:.60}; write '
            '{"params": layer.parameters(), "lr": 0.1}'
        )
    unknown = [name for name in group if name not in {*defaults, "params", "initial_lr"}]
    if unknown:
        raise TypeError(
            f"a group has the option {unknown[0]!r}, which the optimizer does not have; its "
            f"options are {', '.join(defaults)}"
        )


def check_params_are_known(optimizer: Any) -> None:
    """Raise if tensors were put into an optimizer's groups, or taken out, by hand."""
    listed = [p for group in optimizer.param_groups for p in group["params"]]
    known = optimizer.parameters
    if len(listed) != len(known) or any(map(operator.is_not, listed, known)):
        raise ValueError(
            f"{type(optimizer).__name__}'s param_groups list other tensors than it was given; to "
            'add some, write optimizer.add_param_group({"params": [tensor]}); to leave one out '
            "from now on, tensor.requires_grad_(False); for others, make a new optimizer"
        )


def checked_number(name: str, value: float, below: float = math.inf) -> float:
    """Return the number as a Python float, which leaves float32 arrays float32."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}; pass a float")
    if not 0 <= value < below:
        expected = f"in [0, {below})" if below < math.inf else "at least 0 and finite"
        raise ValueError(f"{name} must be {expected}, got {value!r}")
    return float(value)


#: Options that are True or False.
FLAGS = {"nesterov", "centered", "maximize", "amsgrad", "decoupled_weight_decay"}


def checked_option(name: str, value: Any) -> Any:
    """Return the value of an option, if it is in its range."""
    if name in ("params", "defaults"):
        return value
    if name == "betas":
        return checked_betas(value)
    if name in FLAGS:
        if not isinstance(value, (bool, np.bool_)):
            raise TypeError(f"{name} must be True or False, got {value!r}")
        return bool(value)
    return checked_number(name, value, 1 if name in ("momentum", "alpha", "rho") else math.inf)


def check_is_one_value(name: str, values: list[Any]) -> None:
    """Raise if an option differs from group to group."""
    if any(value != values[0] for value in values):
        raise ValueError(
            f"the groups differ in {name}: {values}; read it from one of them, "
            f'optimizer.param_groups[0]["{name}"]'
        )


def checked_betas(betas: Any) -> tuple[float, float]:
    """Return the two weights of Adam and Lion, each in [0, 1)."""
    if not isinstance(betas, (tuple, list)) or len(betas) != 2:
        raise TypeError(f"betas must be a pair such as (0.9, 0.999), got {betas!r}")
    return checked_number("betas[0]", betas[0], 1), checked_number("betas[1]", betas[1], 1)


def check_nesterov(group: Mapping[str, Any]) -> None:
    """Raise if Nesterov's momentum is asked for without momentum, or with dampening."""
    if group.get("nesterov") and group["momentum"] == 0:
        raise ValueError(
            "nesterov=True needs a momentum above 0, got momentum=0; "
            "pass momentum=0.9, say, or leave nesterov out"
        )
    if group.get("nesterov") and group["dampening"] != 0:
        raise ValueError(
            f"nesterov=True has no dampening, got dampening={group['dampening']}; leave one of "
            "them out"
        )


def check_rows(index: int, weight: Tensor) -> None:
    """Raise if a tensor has no axis of incoming weights."""
    if weight.ndim < 2:
        raise ValueError(
            f"weights[{index}] has shape {weight.shape}, expected (out, in); leave biases "
            "out: [p for p in model.parameters() if p.ndim > 1]"
        )


def refuse_infinite_norm(index: int) -> None:
    """Raise because a vector of infinite length has no nearest point."""
    raise ValueError(
        f"weights[{index}] holds an infinity, and has no norm to be shortened; the "
        "training has diverged: take smaller steps, or begin again"
    )


# ------------------------------------------------------------------------------ loaded states

#: What PyTorch's schedulers keep in the groups, and ours themselves.
OF_SCHEDULERS = {"min_lr", "max_lr", "base_momentum", "max_momentum"}
#: Options that older states do not have.
OFF: Mapping[str, Any] = {"maximize": False, "dampening": 0.0, "amsgrad": False}


def checked_state_groups(optimizer: Any, state: Any) -> tuple[list[dict[str, Any]], list[Any]]:
    """Return the options of a state's groups, and its parameters' numbers in the order of ours."""
    if not isinstance(state, Mapping):
        raise TypeError(
            "load_state_dict takes a mapping with 'state' and 'param_groups', got "
            f"{type(state).__name__}"
        )
    who = type(optimizer).__name__
    given = state.get("param_groups")
    if not isinstance(state.get("state"), Mapping) or not isinstance(given, (list, tuple)):
        refuse(who, "expected a mapping 'state' and a list 'param_groups', as of state_dict()")
    ours = optimizer.param_groups
    sizes = [
        len(g["params"]) if isinstance(g, Mapping) and isinstance(g.get("params"), list) else None
        for g in given
    ]
    if sizes != [len(group["params"]) for group in ours]:
        refuse(
            who,
            f"groups of {sizes} parameters, expected {[len(group['params']) for group in ours]}",
        )
    groups = []
    for i, group in enumerate(given):
        options = {}
        for name, value in group.items():
            if name in {"params", *IRRELEVANT, *OF_SCHEDULERS}:
                continue
            if name in optimizer.defaults or name == "initial_lr":
                try:
                    options[name] = checked_option(name, as_number(value))
                except (TypeError, ValueError) as error:
                    refuse(who, f"param_groups[{i}]: {error}")
            elif (value or False) != optimizer.always.get(name, False):
                refuse(who, f"param_groups[{i}] has {name}={value!r}, which {who} cannot do")
        off = {name: value for name, value in OFF.items() if name in optimizer.defaults}
        options = off | options
        missing = optimizer.defaults.keys() - options.keys()
        if missing:
            refuse(who, f"param_groups[{i}] has no {sorted(missing)[0]}")
        groups.append(options)
    return groups, [number for group in given for number in group["params"]]


def as_number(value: Any) -> Any:
    """Return an option as Python has it, where it is an array of one number, also in a list."""
    if isinstance(value, (list, tuple)):
        return tuple(as_number(item) for item in value)
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value


def checked_state_entries(optimizer: Any, state: Any, order: list[Any]) -> list[dict[str, Any]]:
    """Return what a state remembers about each parameter."""
    who = type(optimizer).__name__
    known = {str(number) for number in order}
    for number in state["state"]:
        if str(number) not in known:
            refuse(who, f"state[{number!r}] is of no parameter in 'param_groups'")
    by_number = {str(number): entry for number, entry in state["state"].items()}
    entries = []
    for i, number in enumerate(order):
        entry = by_number.get(str(number), {})
        if not isinstance(entry, Mapping):
            refuse(who, f"state[{i}] is of type {type(entry).__name__}, expected a dict")
        entry = {name: value for name, value in entry.items() if value is not None}
        for name, value in entry.items():
            if name not in optimizer.remembers:
                remembered = ", ".join(optimizer.remembers) or "nothing"
                refuse(who, f"state[{i}] has {name!r}; {who} remembers {remembered}")
            if name != "step" and np.shape(value) != optimizer.parameters[i].shape:
                refuse(
                    who,
                    f"state[{i}][{name!r}] has shape {np.shape(value)}, expected "
                    f"{optimizer.parameters[i].shape}, that of the parameter",
                )
        if entry and "step" in optimizer.remembers and "step" not in entry:
            refuse(who, f"state[{i}] has no 'step'")
        entries.append(entry)
    return entries


def fill(memory: Array, value: Any, who: str) -> None:
    """Write a loaded array into one of its shape, if it holds numbers within its range."""
    array = as_plain_array(value, like=library_of(memory))
    if array.dtype.kind not in "fiu":
        raise ValueError(
            f"load_state_dict refused, nothing was changed; {who} is of dtype {array.dtype}, "
            "expected floats"
        )
    with np.errstate(over="ignore"):
        memory[...] = array
    if np.isinf(memory).any() and not np.isinf(array).any():
        raise ValueError(
            f"load_state_dict refused, nothing was changed; {who} has numbers beyond the range of "
            f"{memory.dtype}"
        )


def checked_step(step: Any) -> int:
    """Return the number of steps taken, a whole number."""
    number = as_number(step)
    if isinstance(number, bool) or not isinstance(number, Real) or number < 0 or number % 1:
        raise ValueError(
            f"load_state_dict refused, nothing was changed; a number of steps is {step!r}"
        )
    return round(float(number))


def refuse(who: str, problem: str) -> NoReturn:
    """Raise because a state does not fit."""
    raise ValueError(f"load_state_dict refused, nothing was changed in {who}; {problem}")


# --------------------------------------------------------------------------------- schedulers


def check_is_optimizer(scheduler: Any, optimizer: Any, kind: type) -> None:
    """Raise if a scheduler is not given an optimizer first."""
    if not isinstance(optimizer, kind):
        who = type(scheduler).__name__
        raise TypeError(
            f"{who} takes an optimizer, got {type(optimizer).__name__}; write {who}(optimizer, ...)"
        )


def checked_count(name: str, value: Any, least: int) -> int:
    """Return an integer as Python's own, if it is at least so large."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, a number of steps, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return int(value)


def checked_milestones(milestones: Any) -> list[int]:
    """Return numbers of steps, if they increase."""
    if not isinstance(milestones, (list, tuple)):
        raise TypeError(f"milestones must be a list of numbers of steps, got {milestones!r}")
    numbers = [checked_count(f"milestones[{i}]", m, 0) for i, m in enumerate(milestones)]
    if numbers != sorted(numbers):
        raise ValueError(f"milestones must increase, got {numbers}")
    return numbers


def checked_functions(functions: Any, groups: int) -> list[Any]:
    """Return the functions of a scheduler, one for all groups or one for each."""
    several = list(functions) if isinstance(functions, (list, tuple)) else [functions] * groups
    if not all(map(callable, several)):
        raise TypeError(
            f"lr_lambda must be a function of the step, or a list of them, got {functions!r}"
        )
    if len(several) != groups:
        raise ValueError(
            f"lr_lambda has {len(several)} functions for {groups} groups of parameters; give one "
            "for each, or one for all"
        )
    return several


def checked_numbers(name: str, values: Any, groups: int) -> list[float]:
    """Return a number for each group."""
    several = list(values) if isinstance(values, (list, tuple)) else [values] * groups
    if len(several) != groups:
        raise ValueError(
            f"{name} has {len(several)} numbers for {groups} groups of parameters; give one for "
            "each, or one for all"
        )
    return [checked_number(name, value) for value in several]


def checked_total(total: Any, epochs: Any, per_epoch: Any) -> int:
    """Return the number of all steps."""
    if total is not None:
        return checked_count("total_steps", total, 1)
    if epochs is None or per_epoch is None:
        raise TypeError("OneCycleLR needs total_steps, or epochs and steps_per_epoch")
    return checked_count("epochs", epochs, 1) * checked_count("steps_per_epoch", per_epoch, 1)


def checked_factor(name: str, value: Any) -> float:
    """Return what is divided by, a number above 0."""
    if checked_number(name, value) == 0:
        raise ValueError(f"{name} must be above 0, got {value!r}")
    return float(value)


def checked_part(name: str, value: Any) -> float:
    """Return a number from 0 to 1."""
    if checked_number(name, value) > 1:
        raise ValueError(f"{name} must be from 0 to 1, got {value!r}")
    return float(value)


def one_of(name: str, value: Any, choices: Mapping[str, Any]) -> Any:
    """Return the value that a string names."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be {' or '.join(map(repr, choices))}, got {value!r}")
    return choices[value]


def checked_function(name: str, function: Any) -> Any:
    """Return a function."""
    if not callable(function):
        raise TypeError(f"{name} must be a function, got {function!r:.60}")
    return function


def option_of_momentum(scheduler: Any, optimizer: Any, cycle_momentum: Any) -> str:
    """Return the option that a cycle changes beside the learning rate; empty if it is not to."""
    if not isinstance(cycle_momentum, (bool, np.bool_)):
        raise TypeError(f"cycle_momentum must be True or False, got {cycle_momentum!r}")
    if not cycle_momentum:
        return ""
    for name in ("betas", "momentum"):
        if name in optimizer.defaults:
            return name
    raise ValueError(
        f"{type(optimizer).__name__} has no momentum that {type(scheduler).__name__} could change; "
        "say cycle_momentum=False"
    )


def check_within(step: int, total: int) -> None:
    """Raise if a cycle is over."""
    if step > total:
        raise ValueError(
            f"OneCycleLR is over: it was made for total_steps={total}, and step() was called once "
            "more; make it for as many steps as there are"
        )


def checked_schedulers(
    optimizer: Any, schedulers: Any, milestones: Any, kind: Any, other: Any
) -> list[Any]:
    """Return schedulers that can follow each other."""
    if not isinstance(schedulers, (list, tuple)) or not schedulers:
        raise TypeError(f"SequentialLR takes a list of schedulers, got {schedulers!r}")
    for i, scheduler in enumerate(schedulers):
        if not isinstance(scheduler, kind) or isinstance(scheduler, other):
            raise TypeError(
                f"schedulers[{i}] is of type {type(scheduler).__name__}, which is not a function "
                "of the step"
            )
        if scheduler.optimizer is not optimizer:
            raise ValueError(f"schedulers[{i}] belongs to another optimizer; make it for this one")
        if getattr(scheduler, "momentum_option", ""):
            raise ValueError(
                f"schedulers[{i}] changes the momentum, which SequentialLR does not; say "
                "cycle_momentum=False"
            )
    if not isinstance(milestones, (list, tuple)) or len(milestones) != len(schedulers) - 1:
        raise ValueError(
            f"{len(schedulers)} schedulers need {len(schedulers) - 1} milestones, the steps at "
            f"which the next one begins, got {milestones!r}"
        )
    return list(schedulers)


def checked_chain(schedulers: Any, optimizer: Any, kind: Any) -> list[Any]:
    """Return schedulers that can multiply one learning rate."""
    if not isinstance(schedulers, (list, tuple)) or not schedulers:
        raise TypeError(
            f"ChainedScheduler takes a list of schedulers, got {schedulers!r:.60}; write "
            "ChainedScheduler([one, other])"
        )
    for i, scheduler in enumerate(schedulers):
        if not isinstance(scheduler, kind) or not scheduler.multiplies:
            raise TypeError(
                f"schedulers[{i}] is of type {type(scheduler).__name__}, which does more than "
                "multiply the learning rate by a factor of the step (CosineAnnealingLR with "
                "eta_min above 0 does); for one after the other, SequentialLR"
            )
        expected = schedulers[0].optimizer if optimizer is None else optimizer
        if scheduler.optimizer is not expected:
            raise ValueError(f"schedulers[{i}] belongs to another optimizer; make it for this one")
    return list(schedulers)


def checked_metric(metric: Any) -> float:
    """Return a metric as a Python number."""
    if isinstance(metric, bool) or not (
        isinstance(metric, Real) or getattr(metric, "size", 0) == 1
    ):
        raise TypeError(
            f"ReduceLROnPlateau.step takes the number to be watched, got {metric!r:.60}"
        )
    return float(metric.item() if hasattr(metric, "item") else metric)


def checked_scheduler_state(scheduler: Any, state: Any) -> dict[str, Any]:
    """Return what changes from call to call in a scheduler, from its state or PyTorch's."""
    who = type(scheduler).__name__
    if not isinstance(state, Mapping):
        raise TypeError(f"load_state_dict takes a mapping, got {type(state).__name__}")
    missing = [name for name in scheduler.state if name not in state]
    if missing:
        refuse(who, f"missing: {missing[0]}")
    values = {name: as_number(state[name]) for name in scheduler.state}
    for name, value in values.items():
        is_number = isinstance(value, Real) and not isinstance(value, bool)
        if not is_number or (name != "best" and (value < 0 or value % 1)):
            refuse(who, f"{name} is {value!r}")
        values[name] = float(value) if name == "best" else int(value)
    return values


def state_of_chain(state: Any) -> Any:
    """Return the state of a chain; in PyTorch's, only its parts have counted their steps."""
    if not isinstance(state, Mapping) or "last_epoch" in state:
        return state
    parts = state.get("_schedulers")
    return parts[0] if isinstance(parts, list) and parts else state


# ----------------------------------------------------------------------------------- averages


def check_can_be_averaged(model: Any, module: type, avg_fn: Any) -> None:
    """Raise if there are no weights to average, or there is no way."""
    if not isinstance(model, module):
        raise TypeError(f"AveragedModel takes a module, got {type(model).__name__}")
    if avg_fn is not None and not callable(avg_fn):
        raise TypeError(
            f"avg_fn is a function of averaged, current and number, got {avg_fn!r}; for an "
            "exponential average, get_ema_avg_fn(0.999)"
        )


def check_same_parts(ours: list[Any], theirs: list[Any]) -> None:
    """Raise if the parameters of two models do not match."""
    for (name, one), (other_name, other) in zip(ours, theirs, strict=False):
        if (name, one.shape) != (other_name, other.shape):
            raise ValueError(
                f"update_parameters got a model with {other_name} of shape {other.shape} in the "
                f"place of {name} of shape {one.shape}; give it the model that was copied"
            )
    if len(ours) != len(theirs):
        raise ValueError(
            f"update_parameters got a model of {len(theirs)} parameters, expected {len(ours)}"
        )
