"""The library's random generator: what draws where no generator was given."""

from __future__ import annotations

import numpy as np

#: The one generator; `manual_seed` changes its state, so that whoever holds it sees the change.
default_rng = np.random.default_rng()


def manual_seed(seed: int) -> np.random.Generator:
    """Restart the library's generator from `seed`, so that a run can be repeated.

    It draws the initial parameters of layers and the masks of dropout, unless a module was
    given a generator of its own.

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
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise TypeError(f"a seed is a non-negative integer, got {seed!r}")
    if seed < 0:
        raise ValueError(f"a seed is a non-negative integer, got {seed}")
    default_rng.bit_generator.state = np.random.default_rng(seed).bit_generator.state
    return default_rng


def generator(rng: np.random.Generator | None) -> np.random.Generator:
    """Return the generator that a module was given, or the library's if that is None."""
    if rng is None:
        return default_rng
    if not isinstance(rng, np.random.Generator):
        raise TypeError(
            f"rng is a numpy.random.Generator, got {rng!r}; make one with "
            "np.random.default_rng(seed)"
        )
    return rng
