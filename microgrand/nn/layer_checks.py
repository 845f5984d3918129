"""What activations, embeddings, recurrent nets and attention refuse, and what to do instead.

Each function returns, or raises an error that says what was given, what was expected and how to
mend it.
"""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

# ------------------------------------------------------------------------------ options


def one_of(who: str, given: Any, allowed: Sequence[str]) -> None:
    """Raise if an option is none of the names that it may have."""
    if given not in allowed:
        raise ValueError(f"{who} is one of {', '.join(map(repr, allowed))}, got {given!r}")


def number(who: str, given: Any) -> float:
    """Return a real number as Python's own, which changes no dtype, or raise."""
    if not isinstance(given, numbers.Real) or isinstance(given, bool):
        raise TypeError(f"{who} is a number, got {given!r}")
    return float(given)


def positive(who: str, given: Any) -> float:
    """Return a positive number, or raise."""
    if not number(who, given) > 0:
        raise ValueError(f"{who} is a positive number, got {given!r}")
    return float(given)


def check_limits(low: Any, high: Any) -> None:
    """Raise if `hardtanh` has no room between its limits."""
    if not number("hardtanh's min_val", low) < number("hardtanh's max_val", high):
        raise ValueError(f"hardtanh needs min_val < max_val, got {low} and {high}")
