"""Whether operations are recorded: `no_grad` and `enable_grad`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, ClassVar, TypeVar

from . import checks

# A context variable rather than a global: it holds for one thread or asyncio task only.
grad_enabled: ContextVar[bool] = ContextVar("grad_enabled", default=True)
#: The blocks that are open in the thread or task, the innermost one first: that decides.
open_blocks: ContextVar[tuple[GradMode, ...]] = ContextVar("open_blocks", default=())

Function = TypeVar("Function", bound=Callable[..., Any])


def is_grad_enabled() -> bool:
    """Tell whether operations are being recorded in this thread or task.

    >>> with no_grad():
    ...     is_grad_enabled()
    False
    """
    return grad_enabled.get()


class GradMode:
    """What `no_grad` and `enable_grad` share: each is a context manager and a decorator."""

    enabled: ClassVar[bool]

    def __init__(self, *misplaced: Any) -> None:
        checks.check_no_argument(self, misplaced)

    def __enter__(self) -> None:
        open_blocks.set((self, *open_blocks.get()))
        grad_enabled.set(self.enabled)

    def __exit__(self, *exception: Any) -> None:
        # A generator may leave a block that is not the innermost one, or is another thread's.
        blocks = list(open_blocks.get())
        if self in blocks:
            blocks.remove(self)
            open_blocks.set(tuple(blocks))
            grad_enabled.set(blocks[0].enabled if blocks else True)

    def __call__(self, function: Function) -> Function:
        """Return `function` with its whole body inside such a block."""
        checks.check_runs_in_its_call(self, function)

        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with type(self)():
                return function(*args, **kwargs)

        return inside  # type: ignore[return-value]  # it has the signature of `function`


class no_grad(GradMode):
    """Record nothing inside the block; also a decorator, ``@no_grad()``.

    Holds for the current thread or asyncio task only: evaluation in one thread must not switch off
    training in another.

    >>> from microgrand import Tensor
    >>> w = Tensor([1.0, 2.0], requires_grad=True)
    >>> with no_grad():
    ...     (2 * w).requires_grad
    False
    """

    enabled = False


class enable_grad(GradMode):
    """Record again inside the block, also within `no_grad`; also a decorator.

    >>> from microgrand import Tensor
    >>> w = Tensor([1.0, 2.0], requires_grad=True)
    >>> with no_grad(), enable_grad():
    ...     (2 * w).requires_grad
    True
    """

    enabled = True
