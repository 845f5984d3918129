"""Hooks that see each recorded value while a block is open: several at once, in any thread."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from . import engine

Hook = Callable[[Any], Any]

changing = threading.Lock()
hooks: tuple[Hook, ...] = ()


@contextlib.contextmanager
def watch_recording(hook: Hook) -> Iterator[None]:
    """Inside the block, call ``hook(node)`` with each recorded value; it returns the value.

    It is called for those of other threads, too, and checks itself which are its own.
    """
    with changing:
        set_hooks((*hooks, hook))
    try:
        yield
    finally:
        with changing:
            place = hooks.index(hook)  # one: it may be there several times
            set_hooks(hooks[:place] + hooks[place + 1 :])


def set_hooks(new: tuple[Hook, ...]) -> None:
    """Let the engine call these hooks."""
    global hooks
    hooks = new
    engine.on_record = call_all if hooks else None


def call_all(node: Any) -> Any:
    """Give a recorded value to each hook."""
    for hook in hooks:
        node = hook(node)
    return node
