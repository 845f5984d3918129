"""Lists, tuples and dicts, also of the user's classes: what is in them, and others like them.

An argument or a result may be a nest of these. Where values in a nest are replaced, its containers
are made anew: of the same class, with the same attributes, and without calling what a class does
when items are added.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from typing import Any

from .slots import slotted

CONTAINERS = (list, tuple, dict)
#: The built-in classes that keep items; the first that fits counts.
PYTHON_CLASSES = (OrderedDict, defaultdict, dict, list, tuple)


def python_class_of(container: Any) -> Any:
    """Return the built-in class that keeps a container's items."""
    return next(base for base in PYTHON_CLASSES if isinstance(container, base))


def is_plain(container: Any) -> bool:
    """Tell whether a container is of a built-in class, and so has no attributes."""
    return container.__class__ in CONTAINERS


def items_of(container: Any) -> list[tuple[Any, Any]]:
    """List keys and items; the keys of a list are its indices."""
    if isinstance(container, dict):
        plain = is_plain(container)
        return [*(container.items() if plain else python_class_of(container).items(container))]
    return [*enumerate(python_class_of(container).__iter__(container))]


def attributes_of(container: Any) -> dict[str, Any]:
    """Return the attributes of a container, including those in ``__slots__``."""
    if is_plain(container):
        return {}
    in_dict = dict(vars(container)) if has_dict(container) else {}
    return in_dict | slotted(container, type(container).__mro__)


def has_dict(container: Any) -> bool:
    """Tell whether a container has a dict of attributes, whatever its class answers."""
    return bool(type(container).__dictoffset__)


def with_items(container: Any, items: list[Any]) -> Any:
    """Make a container like another one, with other items in the same places."""
    kind = container.__class__
    if kind in (list, tuple):
        return kind(items)
    if kind is dict:
        return dict(zip(container, items, strict=True))
    if hasattr(kind, "n_sequence_fields"):  # as of time.struct_time
        return kind(items)
    base = python_class_of(container)
    made = base.__new__(kind, items) if base is tuple else base.__new__(kind)
    if base is list:
        list.extend(made, items)
    elif base is not tuple:
        for (key, _), item in zip(items_of(container), items, strict=True):
            base.__setitem__(made, key, item)
    for name, value in attributes_of(container).items():
        object.__setattr__(made, name, value)
    return made


def containers_in(value: Any) -> Iterator[Any]:
    """Yield the lists, tuples and dicts in a nest."""
    if isinstance(value, CONTAINERS):
        yield value
        for _, item in items_of(value):
            yield from containers_in(item)
