"""What an experiment prints and draws: its table, its claims with their verdicts, its picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .claims import LEVEL
from .runs import Results


def report(experiment: Any, results: Results) -> None:
    """Print what the paper found and what was found here."""
    print(f"\n{experiment.show(results)}\n\nWhat the paper found\n{experiment.PAPER}\n")
    print("Whether the numbers agree")
    for claim in experiment.claims(results):
        print(f"  {claim}")
    print(
        "(Mean over the seeds ± its standard error. Chance: how often luck alone puts the mean at\n"
        "least as far from zero, by a sign-flip test over the seeds. It may be up to 5 %, and for\n"
        "one of n numbers to refute a claim up to 5 % / n. Both cover the differences between\n"
        "seeds, not the choice of test examples.)"
    )
    seeds = len(results.settings("seed"))
    if 2 / 2**seeds > LEVEL:
        print(f"With {seeds} seeds no claim can be decided; it takes at least 6.")


def draw(path: Path, experiment: Any, results: Results) -> None:
    """Save the picture, if matplotlib is installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("\nNo picture was drawn; install matplotlib to have one.")
        return
    figure = Figure(figsize=(8, 5), layout="constrained")
    experiment.draw(figure, results)
    figure.savefig(path, dpi=100)
    print(f"\nThe picture is in {path}.")
