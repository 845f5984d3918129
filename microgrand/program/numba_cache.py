"""Numba's side of the native backend: it compiles parts, and keeps them on disk."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from .calls import Variable

HEAD_OF_PART = '''"""A part of a compiled function."""

import numpy as np

from microgrand.program import numba_library
from microgrand.program.native_library import *


'''


class Part:
    """A native function, and what it is given."""

    def __init__(self, name: str, function: Any, given: list[Variable]) -> None:
        self.__name__ = self.__qualname__ = name
        self.function = function
        self.given = given

    @functools.cached_property
    def entry(self) -> Any:
        """The machine code. It does not look at what it is given: that has been checked."""
        kinds = tuple(map(kind_of, self.given))
        self.function.compile(kinds)
        return self.function.overloads[kinds].entry_point

    def __call__(self, *args: Any) -> Any:
        """Call it."""
        return self.entry(*args)


def kind_of(variable: Variable) -> Any:
    """Return Numba's type of what a part is given."""
    from numba import from_dtype, types

    if variable.dtype is None:
        return {float: types.float64, int: types.int64, bool: types.boolean}[variable.kind]
    dtype = from_dtype(variable.dtype)
    return types.Array(dtype, len(variable.shape), "A") if variable.is_array else dtype


def folder() -> Path:
    """Return the folder in the user's cache in which parts are kept."""
    if os.name == "nt":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home()))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "microgrand" / "numba"


def build(name: str, text: str, given: list[Variable]) -> Part:
    """Make a native function of its source.

    Numba keeps machine code for functions that stand in a file, so the source is written into one:
    its name depends on what is in it, on the versions, and on what parts call.
    """
    import numba

    source = HEAD_OF_PART + re.sub(
        r"^def ([a-z]+)_", r"@numba_library.\1\ndef \1_", text, flags=re.MULTILINE
    )
    key = f"{source}{library()}{numba.__version__}{np.__version__}{sys.version}"
    module = f"part_{hashlib.sha256(key.encode()).hexdigest()[:32]}"
    with contextlib.suppress(OSError):
        path = written(folder() / f"{module}.py", source)
        spec: Any = importlib.util.spec_from_file_location(module, path)
        made = importlib.util.module_from_spec(spec)
        sys.modules[module] = made  # what Numba has kept imports it
        spec.loader.exec_module(made)
        return Part(name, getattr(made, name), given)
    names: dict[str, Any] = {}
    not_kept = "@numba_library.part_in_memory"  # nothing can be written
    exec(source.replace("@numba_library.part\n", f"{not_kept}\n"), names)
    return Part(name, names[name], given)


@functools.cache
def library() -> str:
    """Return what parts call, as text."""
    names = ("native_library", "numba_library")
    files = (Path(__file__).with_name(f"{name}.py") for name in names)
    return "".join(file.read_text(encoding="utf-8") for file in files)


def written(path: Path, source: str) -> Path:
    """Write a file, unless it is there; another process never sees half of it."""
    if path.exists() and path.read_text(encoding="utf-8") == source:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, other = tempfile.mkstemp(suffix=".py", dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(source)
    os.replace(other, path)
    return path


def is_of_numba(error: Exception) -> bool:
    """Tell whether Numba could not compile a part: a mistake of ours, not of the user."""
    return type(error).__module__.split(".")[0] == "numba"
