"""Numba's side of the native backend: it compiles parts, and keeps them on disk."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

HEAD = '"""A part of a compiled function."""\n\nimport numba\nimport numpy as np\n\n\n'
#: Division by zero gives inf, as NumPy's does.
OPTIONS = 'error_model="numpy", nogil=True'


def folder() -> Path:
    """Return the folder in the user's cache in which parts are kept."""
    if os.name == "nt":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home()))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "microgrand" / "numba"


def build(name: str, text: str) -> Callable[..., Any]:
    """Make a native function of its source.

    Numba keeps machine code for functions that stand in a file, so the source is written into one:
    its name depends on what is in it, and on the versions.
    """
    import numba

    decorator = f"@numba.njit(cache=True, {OPTIONS})\n"
    source = HEAD + re.sub(r"^def ", f"{decorator}def ", text, flags=re.MULTILINE)
    key = f"{source}{numba.__version__}{np.__version__}{sys.version}"
    module = f"part_{hashlib.sha256(key.encode()).hexdigest()[:32]}"
    with contextlib.suppress(OSError):
        path = written(folder() / f"{module}.py", source)
        spec: Any = importlib.util.spec_from_file_location(module, path)
        made = importlib.util.module_from_spec(spec)
        sys.modules[module] = made  # what Numba has kept imports it
        spec.loader.exec_module(made)
        function: Callable[..., Any] = getattr(made, name)
        return function
    names: dict[str, Any] = {}
    exec(source.replace("cache=True, ", ""), names)  # nothing can be written
    made_in_memory: Callable[..., Any] = names[name]
    return made_in_memory


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
