"""What the numbers say about a claim: they agree with it, they disagree, or they cannot tell."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

LEVEL = 0.05


@dataclass(frozen=True)
class Claim:
    """A sentence, and numbers that are above zero if it is true.

    Each contrast has a number for each seed, such as the error without dropout minus the error
    with it. The claim holds if all contrasts are positive.
    """

    sentence: str
    contrasts: Mapping[str, Any]

    @property
    def verdict(self) -> str:
        """Tell whether the contrasts are above zero, by a two-sided sign-flip test at 5 %.

        "agrees" if all of them are, "disagrees" if one is below zero, otherwise "undecided". All
        must pass to agree, so luck has no better chance than in a single test. One is enough to
        disagree, so n contrasts have n chances: each is tested at 5 % / n (Bonferroni).
        """
        tests = [(np.mean(x), chance(x)) for x in self.contrasts.values()]
        if any(mean < 0 and luck <= LEVEL / len(tests) for mean, luck in tests):
            return "disagrees"
        return "agrees" if all(mean > 0 and luck <= LEVEL for mean, luck in tests) else "undecided"

    def __str__(self) -> str:
        lines = [f"{self.verdict.upper()}: {self.sentence}"]
        for name, values in self.contrasts.items():
            lines.append(
                f"    {name}: {mean_and_error(values)}, chance {100 * chance(values):.3g} %"
            )
        return "\n".join(lines)


def chance(values: Any) -> float:
    """Return how often luck alone makes the mean at least this far from zero.

    If the two nets of a seed did not differ, each difference could as well have the other sign.
    All 2^n ways to choose the signs are tried (R. A. Fisher 1935, "The Design of Experiments",
    section 21).

    Examples
    --------
    >>> chance([1.0, 2.0, 0.5])  # two of the eight sums are as far from zero: +++ and ---
    0.25
    """
    sums = np.zeros(1)
    for value in np.asarray(values, float):
        sums = np.concatenate([sums + value, sums - value])
    observed = abs(np.sum(values))
    rounding = 1e-9 * np.abs(values).sum()
    return float(np.mean(np.abs(sums) >= observed - rounding))


def within(values: Any, margin: Any, name: str, margin_name: str) -> dict[str, Any]:
    """Return the contrasts that are positive if the mean is between -margin and margin.

    The margin may be a number, or one for each seed.
    """
    return {
        f"{margin_name} - ({name})": margin - np.asarray(values),
        f"{margin_name} + ({name})": margin + np.asarray(values),
    }


def mean_and_error(values: Any) -> str:
    """Write the mean with its standard error, to two digits of the error and at least to 0.01.

    Examples
    --------
    >>> mean_and_error([1.0, 2.0, 3.0]), mean_and_error([0.001, 0.002, 0.003])
    ('2.00 ± 0.58', '0.00200 ± 0.00058')
    """
    values = np.asarray(values, float)
    error = values.std(ddof=1) / math.sqrt(len(values))
    decimals = max(2, 1 - math.floor(math.log10(error))) if error > 0 else 2
    return f"{values.mean():.{decimals}f} ± {error:.{decimals}f}"
