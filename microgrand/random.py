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

    Examples
    --------
    >>> from microgrand import manual_seed
    >>> first = manual_seed(0).random()
    >>> first == manual_seed(0).random()
    True
    """
    default_rng.bit_generator.state = np.random.default_rng(seed).bit_generator.state
    return default_rng
