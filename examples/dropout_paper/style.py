"""How tables and pictures look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

ORANGE, BLUE, GREEN, GREY = "#D55E00", "#0072B2", "#009E73", "0.45"  # safe for colour-blind readers


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table with its columns aligned to the right.

    Examples
    --------
    >>> print(table(("p", "error"), [("0", "4.25"), ("0.5", "11.00")]))
      p  error
      0   4.25
    0.5  11.00
    """
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines if i < len(line)) for i in range(len(header))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=False)).rstrip()
        for line in lines
    )


def error_curve(axes: Any, x: Any, values: Any, color: str, label: str, style: str = "o-") -> None:
    """Draw the mean over the seeds with its standard error; `values` is (points, seeds)."""
    spread = values.std(axis=1, ddof=1) / values.shape[1] ** 0.5
    axes.errorbar(x, values.mean(axis=1), spread, fmt=style, color=color, label=label, capsize=3)


def net_rows(axes: Any, values: Mapping[str, Any], color: str) -> None:
    """Draw a row for each net: the mean over the seeds with its standard error, and each seed.

    The first net is what the others are compared with.
    """
    for i, of_seeds in enumerate(values.values()):
        shade = color if i else GREY
        spread = of_seeds.std(ddof=1) / len(of_seeds) ** 0.5
        axes.plot(of_seeds, [i] * len(of_seeds), ".", color=shade, alpha=0.4)
        axes.errorbar(of_seeds.mean(), i, xerr=spread, fmt="o", color=shade, capsize=3)
    axes.axvline(next(iter(values.values())).mean(), color=GREY, linewidth=0.8)
    axes.set_yticks(range(len(values)), values)
    axes.invert_yaxis()


def logarithmic(axes: Any, which: str) -> None:
    """Make the axis "x" or "y" logarithmic, with 1, 2, 5, 10, 20, ... written beside it."""
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set(**{f"{which}scale": "log"})
    axis = getattr(axes, f"{which}axis")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())
