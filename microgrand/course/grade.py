"""Grading, for course authors: several files, weights, hidden cases, formats of platforms."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from . import formats
from .report import stage_of
from .runner import GraderError, examine_file, nothing_found
from .stages import EDITION, STAGES
from .templates import TEMPLATES, write_template

#: How many cases are drawn of each property where marks depend on it.
EXAMPLES = 200

Result = dict[str, Any]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``grade``."""
    parser.add_argument("files", nargs="*", help="the files to grade")
    parser.add_argument("--stages", default=None, help="such as 1-9,12; by default all")
    parser.add_argument("--weights", default=None, help='points by stage: {"1": 5, "12": 15}')
    parser.add_argument("--seed-env", default=None, help="a variable that holds the seed")
    parser.add_argument("--format", choices=list(formats.FORMATS), default="text")
    parser.add_argument("--out", default=None, help="a file to write to")
    parser.add_argument(
        "--table", action="store_true", help="what failed how often, over all files"
    )
    parser.add_argument(
        "--no-substitute",
        action="store_true",
        help="a stage fails where an earlier one that it rests on does",
    )
    parser.add_argument("--edition", type=int, choices=[EDITION], default=EDITION)
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="cases of each property")
    parser.add_argument(
        "--template", choices=list(TEMPLATES), help="write the folder of a platform"
    )


def numbers_of(text: str | None) -> list[int]:
    """Return the stages of a text such as ``"1-9,12"``; raise ValueError if it is not one."""
    if text is None:
        return list(STAGES)
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        found += range(int(first), int(last if dash else first) + 1)
    unknown = [n for n in found if n not in STAGES]
    if unknown or not found:
        raise ValueError(f"there are stages {min(STAGES)} to {max(STAGES)}, got {text!r}")
    return sorted(set(found))


def weights_of(path: str | None) -> dict[int, float]:
    """Return the points of stages from a file; raise ValueError if it is not as it should be."""
    if path is None:
        return {}
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        weights = {int(n): float(points) for n, points in found.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f'{path} should be like {{"1": 5, "12": 15}}: {error}') from error
    if not set(weights) <= set(STAGES) or min(weights.values(), default=0) < 0:
        raise ValueError(f"{path} has stages or points that there are not: {found}")
    return weights


def grade_file(file: str, options: Any, seed: int | None, numbers: list[int]) -> Result:
    """Grade one file; whatever is wrong with it, there is a result with all points to be had."""
    start = time.perf_counter()
    path = Path(file)
    last = max(numbers)
    if path.is_file():
        result = examine_file(
            path,
            [n for n in STAGES if n <= last],
            go_on=True,
            seed=seed,
            examples=options.examples,
            substitute=not options.no_substitute,
            whole=True,
        )
    else:
        result = nothing_found(path, numbers, f"there is no file {file}")
    result["stages"] = [stage for stage in result["stages"] if stage["stage"] in numbers]
    result["passed"] = [n for n in result["passed"] if n in numbers]
    weigh(result, options.weighted)
    result["seconds"] = round(time.perf_counter() - start, 2)
    result["file"] = file
    return result


def weigh(result: Result, weights: dict[int, float]) -> None:
    """Give each property its points: inside a stage by their own, stages by their weights."""
    for stage in result["stages"]:
        points = [p.points for p in STAGES[stage["stage"]].properties]
        unit = weights.get(stage["stage"], sum(points)) / sum(points)
        right = stage["status"].endswith("passed")
        for entry, worth in zip(stage["properties"], points, strict=True):
            counts = entry["status"] == "passed" or (right and entry["status"] == "not checked")
            entry["max_score"] = round(worth * unit, 4)
            entry["score"] = entry["max_score"] if counts else 0.0
        stage["max_score"] = round(sum(entry["max_score"] for entry in stage["properties"]), 4)
        stage["score"] = round(sum(entry["score"] for entry in stage["properties"]), 4)
    for key in ("score", "max_score"):
        result[key] = round(sum(stage[key] for stage in result["stages"]), 4)


def hidden_seed(options: Any) -> int | None:
    """Return the seed for other cases; it leaves the environment before student's code is run."""
    if options.seed_env is None:
        return None if options.seed is None else int(options.seed)
    text = os.environ.pop(options.seed_env, None)
    if text is None or not text.strip().isdigit():
        raise ValueError(f"the variable {options.seed_env} should hold a number, as a seed")
    return int(text)


def grade(options: Any) -> int:
    """Grade files, and print or write what was found."""
    if options.template:
        for path in write_template(options.template, Path.cwd()):
            print(f"{path} is written.")
        return 0
    try:
        numbers, options.weighted = numbers_of(options.stages), weights_of(options.weights)
        seed = hidden_seed(options)
    except ValueError as error:
        print(f"grade: {error}", file=sys.stderr)
        return 2
    files = options.files or [options.file]
    kind = "json" if options.json else options.format
    results = []
    for file in files:
        try:
            results.append(grade_file(file, options, seed, numbers))
        except GraderError as error:
            if kind == "gradescope" and options.out:
                write(formats.gradescope_failure(str(error)), options.out)
            raise
    if options.table:
        write(table(results), options.out)
    elif kind == "text":
        write("\n\n".join(formats.text(result, options.lang) for result in results), options.out)
    else:
        write(formats.FORMATS[kind](results, options), options.out)
    if seed is not None and kind != "gradescope":
        print(f"seed: {seed}", file=sys.stderr)
    if any(not Path(file).is_file() for file in files):
        return 2
    return 0 if all(stage_of(result) is None for result in results) else 1


def write(text: str, out: str | None) -> None:
    """Print a text, or write it to a file."""
    if out is None:
        print(text)
    else:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        Path(out).write_text(text + "\n", encoding="utf-8")


def table(results: list[Result]) -> str:
    """Say how many failed each property, and which causes were named."""
    lines = [f"{len(results)} files"]
    for number in sorted({s["stage"] for result in results for s in result["stages"]}):
        stage = STAGES[number]
        faults: Counter[str] = Counter()
        causes: Counter[str] = Counter()
        for result in results:
            for found in result["stages"]:
                if found["stage"] == number:
                    faults.update(p["name"] for p in found["properties"] if p["status"] == "fault")
                    if found["fault"]:
                        causes[found["fault"]["cause"] or "no cause named"] += 1
        passed = sum(number in result["passed"] for result in results)
        lines.append(f"stage {number}, {stage.name}: {passed} passed")
        lines += [f"    failed by {n}: {name}" for name, n in faults.most_common()]
        lines += [f"    cause, {n}: {name}" for name, n in causes.most_common()]
    return "\n".join(lines)
