"""A student's file with the course's parts in the place of those that are faulty or missing."""

from __future__ import annotations

import ast
import functools
import inspect
import sys
import types
from collections.abc import Collection
from pathlib import Path

from . import reference
from .stages import STAGES, Stage

#: Stages that make up one class or module, and are replaced together: the engine is the first.
GROUPS = ((1, 2, 3, 4, 5, 6, 7, 8), (9, 13))


def names_replaced(stages: Collection[int]) -> set[str]:
    """Return the names of the file that the course's parts replace."""
    numbers = set(stages)
    for group in GROUPS:
        if numbers & set(group):
            numbers |= set(group)
    names = {name.split(".")[0] for n in numbers if n in STAGES for name in STAGES[n].contract}
    return names | ({"node"} if "Tensor" in names else set())


def substituted(source: str, stages: Collection[int], stage: Stage) -> ast.Module:
    """Return a file without what belongs to some stages, and with the course's in its place.

    Names that are missing are the course's, too. What `stage` itself defines is left. Lines keep
    their numbers.
    """
    tree = ast.parse(source)
    own = {name for name in stage.contract if "." not in name}
    replaced = names_replaced(stages) - own
    aliases = {alias: name for alias, name in aliases_in(tree).items() if name in replaced}
    kept = [line for line in tree.body if not defines(line, replaced | set(aliases))]
    defined = {name for line in kept for name in names_defined(line)}
    wanted = sorted(name for name in contract_names() if name not in defined)
    future = [
        line for line in kept if isinstance(line, ast.ImportFrom) and line.module == "__future__"
    ]
    rest = [line for line in kept if line not in future]
    names = [ast.alias(name) for name in wanted]
    names += [ast.alias(name, alias) for alias, name in aliases.items()]
    imports: list[ast.stmt] = [ast.ImportFrom(REFERENCE, names, 0)] if names else []
    tree.body = [*future, *map(ast.fix_missing_locations, imports), *rest]
    return ast.fix_missing_locations(tree)


def aliases_in(tree: ast.Module) -> dict[str, str]:
    """Return classes that the contract's names are other names of: ``Tensor = Variable``."""
    return {
        line.value.id: target.id
        for line in tree.body
        if isinstance(line, ast.Assign) and isinstance(line.value, ast.Name)
        for target in line.targets
        if isinstance(target, ast.Name)
    }


REFERENCE = "microgrand_course_reference"


def contract_names() -> set[str]:
    """Return all names of the contract that are the file's own, rather than a class's."""
    found = {name.split(".")[0] for stage in STAGES.values() for name in stage.contract}
    return {name for name in found if hasattr(reference, name)}


def names_defined(line: ast.stmt) -> set[str]:
    """Return the names that a line of a file defines."""
    if isinstance(line, (ast.FunctionDef, ast.ClassDef)):
        return {line.name}
    if isinstance(line, ast.Assign):
        return {target.id for target in line.targets if isinstance(target, ast.Name)}
    if isinstance(line, (ast.Import, ast.ImportFrom)):
        return {alias.asname or alias.name for alias in line.names}
    return set()


def defines(line: ast.stmt, names: Collection[str]) -> bool:
    """Tell whether a line defines one of some names, or adds to one: ``Tensor.sum = ...``."""
    if names_defined(line) & set(names):
        return True
    targets = line.targets if isinstance(line, ast.Assign) else []
    if any(
        isinstance(target, ast.Attribute)
        and isinstance(target.value, ast.Name)
        and target.value.id in names
        for target in targets
    ):
        return True
    calls = line.value if isinstance(line, ast.Expr) else None
    return (
        isinstance(calls, ast.Call)
        and isinstance(calls.func, ast.Name)
        and calls.func.id == "setattr"
        and isinstance(calls.args[0], ast.Name)
        and calls.args[0].id in names
    )


def fresh_reference() -> types.ModuleType:
    """Return a copy of the course's framework, which may be changed."""
    module = types.ModuleType(REFERENCE)
    exec(reference_code(), vars(module))
    return module


@functools.cache
def reference_code() -> types.CodeType:
    """Return the course's framework, compiled."""
    return compile(inspect.getsource(reference), reference.__file__, "exec")


@functools.cache
def layers_code() -> types.CodeType:
    """Return those of its classes that derive from Module, which may be the student's."""
    tree = ast.parse(inspect.getsource(reference))
    tree.body = [line for line in tree.body if isinstance(line, ast.ClassDef) and line.bases]
    return compile(tree, reference.__file__, "exec")


def substituted_module(
    path: Path, source: str, stages: Collection[int], stage: Stage
) -> types.ModuleType:
    """Run a file with the course's parts in the place of some stages.

    The course's parts work with what is left of the student's: a Linear of the course holds
    Tensors of theirs.
    """
    course = sys.modules[REFERENCE] = fresh_reference()
    module = types.ModuleType(path.stem)
    module.__file__ = str(path)
    tree = substituted(source, stages, stage)
    before = {found: dict(vars(found)) for found in vars(course).values() if inspect.isclass(found)}
    exec(compile(tree, str(path), "exec"), vars(module))
    for found, attributes in before.items():  # a loop may have put methods into a class of ours
        for name in set(vars(found)) - set(attributes):
            delattr(found, name)
        for name, value in attributes.items():
            if vars(found)[name] is not value:
                setattr(found, name, value)
    kept = {name for name in contract_names() if vars(module)[name] is not vars(course)[name]}
    for name in kept:
        setattr(course, name, getattr(module, name))
    if "Module" in kept:
        exec(layers_code(), vars(course))
        for name in kept:
            setattr(course, name, getattr(module, name))
        for name in contract_names() - kept:
            setattr(module, name, getattr(course, name))
    return module


def completed(file: str, stages: Collection[int], number: int) -> types.ModuleType:
    """Run a file as the check of a stage does, with the course's parts for other stages."""
    path = Path(file).resolve()
    return substituted_module(path, path.read_text(encoding="utf-8"), stages, STAGES[number])
