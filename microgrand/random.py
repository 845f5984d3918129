"""The library's random generator, which draws where no other was given."""

from __future__ import annotations

import os

import numpy as np

from .checks import is_integer

#: The one generator; `manual_seed` changes its state, so every holder of it sees the change.
default_generator = np.random.default_rng()
#: How many processes were forked since it was seeded: each draws its own numbers.
forks = 0


def manual_seed(seed: int) -> np.random.Generator:
    """Restart the library's generator from `seed`, so that a run can be repeated.

    It draws the initial parameters of layers and the masks of dropout, unless a module was
    given a generator of its own. Each forked process draws different numbers from its parent and
    siblings, all determined by the seed: by what the parent had drawn before, and by how many
    children it had.

    Parameters
    ----------
    seed
        A non-negative integer.

    Returns
    -------
    numpy.random.Generator
        The library's generator.

    Raises
    ------
    TypeError, ValueError
        If `seed` is not an integer, or negative.

    Examples
    --------
    >>> from microgrand import manual_seed
    >>> first = manual_seed(0).random()
    >>> first == manual_seed(0).random()
    True
    """
    if not is_integer(seed):
        raise TypeError(f"a seed is a non-negative integer, got {seed!r}")
    if seed < 0:
        raise ValueError(f"a seed is a non-negative integer, got {seed}")
    global forks
    forks = 0
    default_generator.bit_generator.state = np.random.default_rng(seed).bit_generator.state
    return default_generator


def generator(rng: np.random.Generator | None) -> np.random.Generator:
    """Return the generator that a module was given, or the library's if that is None.

    Other libraries' that draw in the same way are taken, too: CuPy's draws on its device.
    """
    if rng is None:
        return default_generator
    if not isinstance(rng, np.random.Generator) and not all(
        hasattr(rng, name) for name in ("random", "integers", "standard_normal")
    ):
        raise TypeError(
            f"rng is a numpy.random.Generator, got {rng!r}; make one with "
            "np.random.default_rng(seed), or for arrays on a device with "
            "cupy.random.default_rng(seed)"
        )
    return rng


def diverge(rng: np.random.Generator, *numbers: int) -> None:
    """Continue from a state derived from the generator's state and some numbers."""
    state = rng.integers(2**32, size=8).tolist()
    sequence = np.random.SeedSequence([*numbers, *state])
    rng.bit_generator.state = type(rng.bit_generator)(sequence).state


def before_fork() -> None:
    """Count the child, and hold the generator's lock at the fork: else the child could deadlock."""
    global forks
    forks += 1
    default_generator.bit_generator.lock.acquire()


def after_fork_in_parent() -> None:
    """Go on."""
    default_generator.bit_generator.lock.release()


def after_fork_in_child() -> None:
    """Continue from a state derived from the parent's state and the child's number."""
    default_generator.bit_generator.lock.release()
    diverge(default_generator, forks)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=before_fork,
        after_in_parent=after_fork_in_parent,
        after_in_child=after_fork_in_child,
    )
