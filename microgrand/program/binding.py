"""Between a program and the objects whose state it is: Python code made for one recorded call.

Before a run, `enter` checks all that was taken for granted, and collects the arrays and numbers
that the program reads. In the run, `publish` shows others what was computed. Afterwards, `finish`
shows the rest, and builds what is returned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import engine
from ..grad_mode import grad_enabled
from ..tensor import Tensor
from . import passes
from .calls import Program, Variable
from .containers import (
    CONTAINERS,
    attributes_of,
    has_dict,
    is_plain,
    items_of,
    python_class_of,
    with_items,
)
from .devices import is_array
from .names import asks_for_identity
from .optimizers import Probe
from .recording import is_recorded
from .sameness import STATIC_OR_FLOAT, all_static, same_static
from .slots import MISSING, Slot
from .source import Writer
from .tracing import Always, Output, OutputTensor, Tracing

#: The program has published: what it has changed stays changed.
PUBLISHED = object()


class Binding:
    """The Python code between a program and the objects whose state it is."""

    def __init__(self, made: Tracing) -> None:
        self.made = made
        self.namespace: dict[str, Any] = {
            "grad_enabled": grad_enabled,
            "new_tensor": engine.new_tensor,
            "static": same_static,
            "overlap": np.may_share_memory,
            "may_share_memory": np.may_share_memory,
            "shares_memory": np.shares_memory,
            "PUBLISHED": PUBLISHED,
            "MISSING": MISSING,
        }
        self.bound_names: dict[int, str] = {}
        self.generators: list[np.random.Generator] = []
        #: The slots that inputs are read from, and whether gradients are among them.
        self.slot_inputs: list[tuple[Slot, Variable]] = []
        self.read: set[tuple[int, Any]] = set()
        self.reads_gradients = False
        program = made.program
        self.in_program = {v for call in program.calls for v in call.operands()} | program.shown
        of_conditions = {v for call in made.conditions for v in call.operands()}
        of_facts = {v for _, variables, _ in made.recorder.facts for v in variables}
        self.used = self.in_program | of_conditions | of_facts
        #: The memory that must be writeable if it was.
        self.written = {v.storage for call in program.calls for v in call.writes}
        self.written |= made.recorder.flags_asked
        #: The lists in which optimizers remember arrays.
        optimizers = made.state.optimizers.values()
        self.memories = {id(x) for optimizer, _ in optimizers for x in optimizer.memory.values()}
        self.arg_tensors: dict[int, str] = {}
        #: Where in the arguments an input stands, or the tensor that it is of: a number or a name,
        #: and keys.
        self.places: dict[Any, tuple[Any, ...]] = {}
        self.containers: dict[int, str] = {}
        self.asks = asks_for_identity(made.state.functions)
        self.unread: dict[Variable, str] = {}
        #: The arrays to which the program was bound last, and the numbers that were fine last.
        self.latest: list[Any] = [(), ()]
        self.namespace["latest"] = self.latest
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
        #: The lines of the function; the codes of inputs, of bound arrays, of tensors given.
        self.lines: list[str] = []
        self.codes: dict[Variable, str] = {}
        self.bound_codes: dict[Variable, str] = {}
        self.bound_conditions: list[str] = []
        self.tensor_codes: list[str] = []
        self.require(f"grad_enabled.get() is {made.grad_enabled}")
        self.require(f"len(args) == {len(made.args)} and len(kwargs) == {len(made.kwargs)}")
        if made.kwargs:
            self.require(f"[*kwargs] == {[*made.kwargs]}")
        (args, kwargs), (given_args, given_kwargs) = (made.args, made.kwargs), made.given
        for i, arg in enumerate(args):
            self.enter_tree(arg, given_args[i], f"args[{i}]", (i,))
        for key in kwargs:
            self.enter_tree(kwargs[key], given_kwargs[key], f"kwargs.get({key!r})", (key,))
        self.enter_state()
        self.enter_fixed()
        self.enter_generators()
        self.enter_bound()
        self.enter_conditions()
        used = [code for v, code in self.codes.items() if v in self.in_program]
        self.inputs = [v for v in self.codes if v in self.in_program]
        self.bound = [*self.bound_codes]
        self.lines.append(f"return arrays, {as_tuple(self.tensor_codes)}, {as_tuple(used)}")
        return self.define("enter(args, kwargs)", guarded(self.lines))

    def local(self, code: str) -> str:
        """Give an expression a name."""
        name = f"a{len(self.lines)}"
        self.lines.append(f"{name} = {code}")
        return name

    def require(self, condition: str) -> None:
        """Require a condition: otherwise the program does not apply."""
        self.lines.append(must(condition))

    def require_writeable(self, code: str, variable: Variable) -> None:
        """Check that an array is writeable if it was: views of it may have been made before."""
        if variable.storage in self.written and variable.kind is np.ndarray:
            self.require(f"{code}.flags.writeable is {variable.writeable}")

    def enter_tree(self, value: Any, given: Any, code: str, place: tuple[Any, ...]) -> None:
        """Check an argument, and what is in it."""
        if not isinstance(value, CONTAINERS):
            self.enter_leaf(value, given, code, place)
            return
        name = self.local(code)
        kind, base = self.bind(type(value)), python_class_of(value)
        first = name
        if not isinstance(value, tuple):
            first = self.containers.setdefault(id(value), name)
        if first != name and self.asks:  # given twice
            self.require(f"{name} is {first}")
        items = items_of(value)
        self.require(
            f"{name}.__class__ is {kind} and {self.call(value, len, name)} == {len(items)}"
        )
        if isinstance(value, dict) and len(items) > 1:
            self.require(f"[*{self.call(value, iter, name)}] == {self.bind([k for k, _ in items])}")
        for (key, item), (_, given_item) in zip(items, items_of(given), strict=True):
            code = f"{name}[{self.constant(key)}]"
            if not is_plain(value):
                code = f"{self.bind(base.__getitem__)}({name}, {self.constant(key)})"
            self.enter_tree(item, given_item, code, (*place, key))
        if not is_plain(value) and has_dict(value):
            self.require(f"len({name}.__dict__) == {len(vars(value))}")
        for key, attribute in attributes_of(value).items():
            self.require(self.is_same(f"{name}.{key}", attribute))

    def call(self, container: Any, function: Any, name: str) -> str:
        """Write `len` or `iter` of a container; a user's class may have others."""
        if is_plain(container):
            return f"{function.__name__}({name})"
        method = getattr(python_class_of(container), f"__{function.__name__}__")
        return f"{self.bind(method)}({name})"

    def enter_leaf(self, value: Any, given: Any, code: str, place: tuple[Any, ...]) -> None:
        """Check an array, a number or an object among the arguments."""
        name = self.local(code)
        if is_recorded(given):
            self.require(self.like(name, value))
            self.require_writeable(name, given._variable)
            if given._variable in self.codes:  # given twice
                self.require(f"{name} is {self.codes[given._variable]}")
            self.codes.setdefault(given._variable, name)
            self.places.setdefault(given._variable, place)
        elif id(value) in self.made.own_tensors:
            if id(value) in self.arg_tensors:
                self.require(f"{name} is {self.arg_tensors[id(value)]}")
                return
            others = set(self.made.state.tensors) - self.made.own_tensors
            self.require(f"id({name}) not in {self.bind(others)}")
            for other in self.arg_tensors.values():
                self.require(f"{name} is not {other}")
            self.arg_tensors[id(value)] = name
            self.places[id(value)] = place
            self.tensor_codes.append(name)
            self.require(f"{name}.__class__ is {self.bind(type(value))}")
            self.require(f"{name}.primitive is None")
        else:
            self.require(self.is_same(name, value))

    def enter_state(self) -> None:
        """Check what stands in the slots, and collect what the program reads there."""
        state, replacing = self.made.state, self.made.replacing
        for module, _ in state.modules.values():
            self.require(f"{self.bind(module)}.training is {module.training}")
        for key, (tensor, _) in state.tensors.items():
            self.require(f"{self.bind(tensor)}._requires_grad is {state.trained[key]}")
        for holder, items in (*state.lists, *state.attributes):
            if id(holder) in state.unread.by_attributes:
                self.enter_attributes(holder, state.named)
            else:
                self.require(f"len({self.bind(holder)}) == {len(items)}")
        for holder, items in state.lists:
            if isinstance(holder, dict) and len(items) > 1:  # loops depend on their order
                self.require(f"[*{self.bind(holder)}] == {self.bind([*items])}")
        for holder, items in state.wholes:
            self.require(f"{self.bind(holder)} == {self.bind(items)}")
            if isinstance(holder, dict):
                self.require(f"[*{self.bind(holder)}] == {self.bind([*items])}")
        for ask, answer in state.answers:
            self.require(f"{self.bind(ask)}() == {self.bind(answer)}")
        for table, keys in replacing.read:
            for key in keys:
                code = f"{self.bind(table)}.get({self.constant(key)}, MISSING)"
                self.require(self.is_same(code, table.get(key, MISSING)))
        for instance in state.objects:
            self.require(f"{self.bind(instance)}.__class__ is {self.bind(type(instance))}")
        for function in state.functions:
            self.require(f"{self.bind(function)}.__code__ is {self.bind(function.__code__)}")
        for kind, count in dict(state.parents.values()).items():
            self.require(f"len({self.bind(vars(kind))}) == {count}")
        changed = {id(slot) for slot, _ in self.made.effects}
        for slot, before, put in zip(state.slots, state.before, replacing.put, strict=True):
            if slot.place in replacing.managed:
                continue
            is_cycled = slot.place in replacing.cycled
            if is_recorded(put):
                self.enter_slot(slot, before, put._variable, id(slot) in changed)
                if is_cycled:  # the rule depends on whether it is zero
                    self.require(f"({slot.code(self.bind)} == 0) is {before == 0}")
            elif is_cycled and type(before) is tuple and set(map(type, before)) == {float}:
                self.enter_floats(slot.code(self.bind), before)
            elif id(slot) not in changed or id(slot.holder) not in state.library_modules:
                self.require(self.is_same(slot.code(self.bind), before))
                if isinstance(put, tuple) and put is not before:  # arrays are in it
                    self.enter_items(slot.code(self.bind), put)

    def enter_attributes(self, holder: dict[str, Any], named: set[str]) -> None:
        """Check which attributes an object has, of those that the function may ask for."""
        code, names = self.bind(holder), frozenset(named)
        there = self.bind(holder.keys() & names)
        self.require(
            f"[*{code}] == {self.bind([*holder])} or {code}.keys() & {self.bind(names)} == {there}"
        )

    def enter_floats(self, code: str, before: tuple[float, ...]) -> None:
        """Check that there are as many floats in a tuple; the optimizer is asked for them."""
        kinds = f"{code}.__class__ is tuple and [*map(type, {code})] == [{'float, ' * len(before)}]"
        self.require(f"{code} is {self.bind(before)} or ({kinds})")

    def enter_items(self, code: str, put: Any) -> None:
        """Collect the arrays in a tuple, which stay the same as long as it does."""
        for i, item in enumerate(put):
            if isinstance(item, tuple):
                self.enter_items(f"{code}[{i}]", item)
            elif is_recorded(item) and self.is_to_be_bound(item._variable):
                name = self.local(f"{code}[{i}]")
                self.require_writeable(name, item._variable)
                self.require(self.like(name, item._value))
                self.bound_codes[item._variable] = name

    def is_to_be_bound(self, variable: Variable) -> bool:
        """Tell whether the program reads an array that has not been collected yet."""
        is_known = variable in self.bound_codes or variable in self.codes
        return variable in self.used and not is_known

    def enter_slot(self, slot: Slot, before: Any, variable: Variable, changed: bool) -> None:
        """Check the array or number in a slot, and collect it if the program reads it."""
        code = slot.code(self.bind)
        of_tensor = isinstance(slot.holder, Tensor)
        is_gradient = of_tensor and slot.key == "_grad"
        codes = self.unread, self.codes, self.bound_codes
        place = next((x[variable] for x in codes if variable in x), None)
        if place is not None:  # what the function puts in a second slot may stand there already
            self.require(f"{code} is {place}")
            return
        if variable not in self.used:
            self.unread[variable] = code
            self.require_writeable(code, variable)
            if is_gradient:
                self.require(f"{code} is not None")
            elif not (changed and id(slot.holder) in self.made.state.library_modules):
                self.require(self.like(self.local(code), before))
            return
        name = self.local(code)
        self.require_writeable(name, variable)
        self.reads_gradients |= is_gradient
        given = id(slot.holder) in self.arg_tensors
        if is_array(before) and not (changed or is_gradient or given):
            # Users may give an array another shape or dtype in place: not one of ours.
            if of_tensor or id(slot.holder) in self.memories:
                self.bound_conditions.append(self.like(name, before))
            else:
                self.require(self.like(name, before))
            self.bound_codes[variable] = name
        else:
            self.require(self.like(name, before))
            self.codes[variable] = name
            self.read.add(slot.place)
            if given:
                if slot.key == "_array":
                    self.places[variable] = self.places[id(slot.holder)]
            else:
                self.slot_inputs.append((slot, variable))

    def enter_fixed(self) -> None:
        """Collect the arrays that stand where nothing can be replaced."""
        for array, _ in self.made.state.fixed:
            variable = self.made.recorder.known[id(array)]._variable
            self.require(self.like(self.bind(array), array))
            if self.is_to_be_bound(variable):
                self.require_writeable(self.bind(array), variable)
                self.bound_codes[variable] = self.bind(array)

    def enter_generators(self) -> None:
        """Collect the generators that the program draws from."""
        for rng, variable, _ in self.made.recorder.generators.values():
            if variable in self.used:
                self.generators.append(rng)
                self.bound_codes[variable] = self.bind(rng)

    def enter_bound(self) -> None:
        """Check the arrays to which the program is bound, unless they are those of the last run."""
        conditions = [*self.bound_conditions, *self.conditions_apart(of_bound=True)]
        arrays = [code for v, code in self.bound_codes.items() if v.is_array]
        if len(arrays) > 1:
            conditions.append(distinct(arrays))
        codes = [*self.bound_codes.values()]
        self.unless_latest(0, "arrays", codes, [must(x) for x in conditions])
        self.lines += map(must, self.conditions_apart(of_bound=False))
        everywhere = {**self.codes, **self.bound_codes, **self.unread}
        self.enter_identities(everywhere)
        self.enter_facts(everywhere)

    def enter_identities(self, codes: dict[Variable, str]) -> None:
        """Check that arrays are still as many objects: the function may ask ``x is y``.

        Those among the arguments are looked at in any case, state only where code asks.
        """
        alike: dict[Any, list[Variable]] = {}
        for v in codes:
            if v.is_array:
                alike.setdefault((v.kind, v.shape, v.strides, v.dtype), []).append(v)
        if self.asks and len(self.containers) > 1:
            self.require(distinct([*self.containers.values()]))
        for variables in alike.values():
            given = [codes[v] for v in variables if v in self.places]
            others = [codes[v] for v in variables if v not in self.places]
            if self.asks or len(given) > 1:
                if len(variables) > 1:
                    self.require(distinct([*given, *others]))
            else:
                for other in others * len(given):
                    self.require(f"{given[0]} is not {other}")

    def enter_facts(self, codes: dict[Variable, str]) -> None:
        """Check what the function has asked about the memory of arrays."""
        for asked, variables, answer in dict.fromkeys(self.made.recorder.facts):
            given = [codes[v] for v in variables]
            if asked == "flags":
                self.require(f"{given[0]}.flags.num == {answer}")
            elif asked == "base":
                self.require(f"({given[0]}.base is None) is {answer}")
            elif asked == "bases":
                self.require(f"({given[0]}.base is {given[1]}.base) is {answer}")
            elif asked == "view":
                self.require(f"({given[0]}.base is {given[1]}) is {answer}")
            else:
                self.require(f"{asked}({', '.join(given)}) is {answer}")

    def unless_latest(
        self, place: int, name: str, codes: list[str], lines: list[str], keep: str = ""
    ) -> None:
        """Write lines that are skipped if the objects are the same as last time."""
        known = [f"{name}_{i}" for i in range(len(codes))]
        same = " and ".join(f"{code} is {x}" for code, x in zip(codes, known, strict=True))
        if not codes:
            self.lines += [*lines, f"{name} = ()"]
            return
        self.lines += [
            f"{name} = latest[{place}]",
            f"if {name}: {as_tuple(known)} = {name}",
            f"if not ({name} and {same}):",
            *(f"    {line}" for line in lines),
            f"    {name} = {as_tuple(codes)}",
            *([f"    {keep}"] if keep else []),
        ]

    def conditions_apart(self, of_bound: bool) -> list[str]:
        """List that arrays do not overlap where reads and writes have changed their order."""
        codes = {**self.codes, **self.bound_codes}
        return [
            f"not overlap({codes[x]}, {codes[y]})"
            for x, y in passes.pairs_apart(codes, self.made.apart)
            if (x in self.bound_codes and y in self.bound_codes) is of_bound
        ]

    def enter_conditions(self) -> None:
        """Check answers that depend on Python's numbers, unless these are the same as last time."""
        writer = Writer()
        writer.otherwise = "return None"
        writer.names = dict(self.codes)
        writer.taken |= dict.fromkeys(self.namespace, 1)
        conditions = Program(self.made.conditions, [], [])
        passes.share(conditions)
        lines = [writer.statement(call) for call in conditions.calls]
        self.namespace |= writer.namespace
        if lines:
            read = {v: None for call in conditions.calls for v in call.operands()}
            codes = [self.codes[v] for v in read if v in self.codes]
            self.unless_latest(1, "numbers", codes, lines, keep="latest[1] = numbers")
        if self.made.probes:
            self.namespace["probe"] = Probe(self.made.probes)
            self.require("probe()")

    @property
    def missing(self) -> bool:
        """Whether the program needs state that was made in this very call."""
        made = {v for call in self.made.program.calls for v in call.results()}
        found = {*self.codes, *self.bound_codes, *made}
        return any(v.storage.external and v.is_array and v not in found for v in self.used)

    def like(self, name: str, value: Any) -> str:
        """Write the condition that a value is of the same kind as another one."""
        if is_array(value):
            kind, dtype = self.bind(type(value)), self.bind(value.dtype)
            return (
                f"{name}.__class__ is {kind} and {name}.shape == {value.shape} and "
                f"({name}.dtype is {dtype} or {name}.dtype == {dtype}) and "
                f"{name}.strides == {value.strides}"
            )
        return f"{name}.__class__ is {self.bind(type(value))}"

    def is_same(self, code: str, value: Any) -> str:
        """Write the condition that a value other than an array is the same."""
        if value is None or isinstance(value, bool):
            return f"{code} is {value}"
        if type(value) is str:
            return f"{code} == {value!r}"
        if isinstance(value, STATIC_OR_FLOAT) or (type(value) is tuple and all_static(value)):
            constant = self.bind(value)
            return f"({code} is {constant} or static({code}, {constant}))"
        return f"{code} is {self.bind(value)}"

    def constant(self, value: Any) -> str:
        """Write a value that is compared."""
        if value is None or type(value) in (bool, int, str):
            return repr(value)
        return self.bind(value)

    def define(self, signature: str, lines: list[str], **names: Any) -> Any:
        """Make a function from lines; `names` is what it alone needs."""
        text = f"def {signature}:\n" + "".join(f"    {line}\n" for line in lines)
        namespace = {**self.namespace, **names} if names else self.namespace
        exec(text, namespace)
        return namespace[signature.split("(")[0]]

    def given_tensors(self) -> list[str]:
        """Write lines that give a run's own tensors their names."""
        return [f"{name} = holder[{i}]" for i, name in enumerate(self.arg_tensors.values())]

    # ---- after

    def replaced_gradients(self) -> list[Slot]:
        """Return the slots of gradients that a run replaces without reading the old ones."""
        return [
            slot
            for slot, variable in self.made.early_slots
            if slot.key == "_grad" and variable is not None and slot.place not in self.read
        ]

    def releaser(self, holder: list[Any]) -> Any:
        """Make the function that lets go of the old gradients, before there are new ones."""
        lines = self.given_tensors()
        lines += [f"{slot.code(self.bind)} = None" for slot in self.replaced_gradients()]
        return self.define("release()", lines, holder=holder)

    def publisher(self, holder: list[Any]) -> Any:
        """Make the function that shows others what a run has computed."""
        made = self.made
        lines = self.given_tensors()
        for key, (tensor, _) in made.state.tensors.items():
            more = made.version_changes.get(key, 0)
            if more:
                lines.append(f"{self.bind(tensor)}.version += {more}")
        for tensor, required in made.requirements:
            lines.append(f"{self.bind(tensor)}._requires_grad = {required}")
        names, assignments = self.assignments(made.early_slots)
        lines += assignments
        lines.append("holder.append(PUBLISHED)")
        return self.define(f"publish({', '.join(names)})", lines, holder=holder)

    def assignments(
        self, slots: Sequence[tuple[Slot, Variable | None]]
    ) -> tuple[list[str], list[str]]:
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
        lines = self.given_tensors()
        count = len(made.outputs)
        names, assignments = self.assignments(made.late_slots)
        if names:
            lines.append(f"{', '.join(names)}, = values[{count}:]")
        lines += assignments

        def write(tree: Any) -> str:
            if isinstance(tree, Output):
                if isinstance(tree.place, Always):
                    return f"new_tensor({self.bind(tree.place.value)})"
                value = f"values[{tree.place}]"
                if made.outputs[tree.place].storage.constant:
                    value += ".copy()"
                return f"new_tensor({value})" if isinstance(tree, OutputTensor) else value
            if not isinstance(tree, CONTAINERS):
                return self.constant(tree)
            items = [write(item) for _, item in items_of(tree)]
            if type(tree) is tuple:
                return as_tuple(items)
            if type(tree) is list:
                return f"[{', '.join(items)}]"
            if type(tree) is dict:
                keys = map(self.constant, tree)
                return f"{{{', '.join(f'{k}: {x}' for k, x in zip(keys, items, strict=True))}}}"
            return f"{self.bind(with_items)}({self.bind(tree)}, [{', '.join(items)}])"

        lines.append(f"return {write(made.output_tree)}")
        return self.define("finish(values, holder)", lines)


def must(condition: str) -> str:
    """Write that the program does not apply unless a condition holds."""
    return f"if not ({condition}): return None"


def distinct(codes: list[str]) -> str:
    """Write the condition that there are as many objects as places."""
    if len(codes) == 2:
        return f"{codes[0]} is not {codes[1]}"
    return f"len({{*map(id, {as_tuple(codes)})}}) == {len(codes)}"


def guarded(lines: list[str]) -> list[str]:
    """Let the program not apply if something is no longer there, or numbers lead to an error."""
    return [
        "try:",
        *(f"    {line}" for line in lines),
        "except (LookupError, AttributeError, ArithmeticError, ValueError, TypeError): return None",
    ]


def as_tuple(items: list[str]) -> str:
    """Write a tuple."""
    return f"({', '.join(items)}{',' if len(items) == 1 else ''})"
