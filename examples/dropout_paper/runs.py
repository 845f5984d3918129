"""Runs are done once: each outcome is kept in a file, so nothing finished is lost."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from shared import progress

import microgrand

from . import training

Run = dict[str, Any]
Outcome = dict[str, Any]


class Store:
    """The outcomes of finished runs, in a file with a line of JSON for each.

    A run's key is everything that decides its outcome: with other options, data or code, it is
    another run. A line is on disk before the next run begins; a line cut off by a crash counts as
    not written.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     Store(Path(folder, "runs.jsonl")).add({"p": 0.5, "seed": 1}, {"error": 2.25})
    ...     Store(Path(folder, "runs.jsonl")).get({"seed": 1, "p": 0.5})
    {'error': 2.25}
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.outcomes: dict[str, Outcome] = {}
        content = path.read_bytes() if path.exists() else b""
        self.torn = bool(content) and not content.endswith(b"\n")
        for line in content.split(b"\n"):
            try:
                record = json.loads(line)
                self.outcomes[as_key(record["run"])] = record["outcome"]
            except (ValueError, KeyError, TypeError):  # cut off, or empty after the last line
                continue

    def get(self, run: Run) -> Outcome | None:
        """Return the outcome of a run, or None if it is not done."""
        return self.outcomes.get(as_key(run))

    def add(self, run: Run, outcome: Outcome) -> None:
        """Write down the outcome of a run."""
        line = json.dumps({"run": run, "outcome": outcome}, allow_nan=False)
        with open(self.path, "ab") as file:
            file.write(b"\n" * self.torn + line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self.torn = False
        self.outcomes[as_key(run)] = json.loads(line)["outcome"]


class Results(list[tuple[Run, Outcome]]):
    """Runs with their outcomes.

    Examples
    --------
    >>> results = Results([({"p": 0, "seed": seed}, {"error": 5 - seed}) for seed in (0, 1)])
    >>> results.over_seeds("error", p=0)
    array([5, 4])
    """

    def over_seeds(self, measure: str, **where: Any) -> Any:
        """Return what the runs with these entries measured, for each seed in turn."""
        chosen = [
            (run["seed"], outcome[measure])
            for run, outcome in self
            if all(run[name] == value for name, value in where.items())
        ]
        if len({seed for seed, _ in chosen}) != len(chosen) or not chosen:
            raise ValueError(f"{len(chosen)} runs have {where}, expected one for each seed")
        return np.array([value for _, value in sorted(chosen, key=lambda pair: pair[0])])

    def settings(self, name: str) -> list[Any]:
        """Return the values that an entry has among the runs, in their order."""
        return list(dict.fromkeys(run[name] for run, _ in self))


def as_key(run: Run) -> str:
    """Write a run as JSON, whatever the order of its entries."""
    return json.dumps(run, sort_keys=True)


def code_digest(experiment: ModuleType) -> str:
    """Return a short text that changes with the code that decides an outcome.

    That is the library, the shared training, and the part of the experiment's file above its
    ``claims``; the claims, tables and pictures below only read the outcomes.
    """
    above, _, _ = inspect.getsource(experiment).partition("\ndef claims(")
    digest = hashlib.sha256((inspect.getsource(training) + above).encode())
    for path in sorted(Path(microgrand.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def finish(
    experiment: ModuleType, runs: Sequence[Run], data: training.Data, store: Store
) -> Results:
    """Do the runs that are not done, and return the outcomes of all."""
    origin = {"data": data.digest, "code": code_digest(experiment)}
    todo = [run for run in runs if store.get(run | origin) is None]
    if done := len(runs) - len(todo):
        print(f"{done} of {len(runs)} runs are done already, in {store.path}.")
    for run in progress(todo, runs[0]["experiment"]):
        store.add(run | origin, experiment.measure(data, run))
    return Results((run, store.get(run | origin) or {}) for run in runs)
