"""A result in words: at most about twenty lines of plain text."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from .sentences import say, say_filled
from .stages import STAGES

WIDTH, INDENT = 80, 11
COMMAND = "python -m microgrand.course"

#: The property that comes before all stages.
IMPORTED = "the file can be imported"

#: How lines begin, and other sentences of reports.
WORDS = {
    "Stage {number} of {total}, {name}: fault.",
    "Stages passed: {numbers}.",
    "No stage passes yet.",
    "property",
    "case",
    "found",
    "expected",
    "cause",
    "line",
    "printed",
    "nothing",
    "next",
    "note",
    "Stage {number} of {total}, {name}: not written yet.",
    "missing",
    "All stages pass.",
    "Stage {number}, {name}: {status}.",
    "passed",
    "cannot be checked alone",
    "substituted, passed",
    "not checked",
    "waits",
    "fault",
    "not written yet",
    "Checked with the course's parts in the place of stages {numbers}, as yours are faulty or "
    "missing.",
    "Line {line} uses the inside of your Tensor: write it with node(), or mend stage {stage}.",
    "It looks at what stage {stage} makes: mend that first.",
    IMPORTED,
    "The file cannot be imported: no stage can be checked, and hints cannot help.",
}

#: Templates for what is said about cases and processes.
CASES = {
    "an array of shape {a}",
    "shape {a}",
    "{a} = array {b}",
    "{a} of shape {b}",
    "{a} of shape {b} from {c} to {d}",
    "{a} an array of shape {b}",
    "{a} an array of shape {b} from {c} to {d}",
    "{a} at {b}",
    "{a} (shapes there: {b})",
    "{a}, an error of {b}",
    "the step is {a}",
    "the second step is {a}",
    "step {a} is {b}",
    "after the first step p is {a}",
    "after two steps {a} has moved by {b}",
    "the file as it is imported",
    "the import of the file",
    "unknown: the process has ended",
    "that the call ends, and the process does not",
    "a file that Python can run",
    "still running after {a} s",
    "still running, in a call that does not return",
    "the code crashes Python: segmentation fault",
    "the code crashes Python: the stack is full, by too deep a recursion",
    "the code takes more than 2 GiB of memory",
    "the process was ended by signal {a}",
    "the code ends the process, with status {a}",
    "the code ends the process: os._exit was called",
    "the code ends the process: sys.exit was called",
    "the file ends the process: sys.exit was called",
    "the file replaces numpy.{a}",
}


def stage_of(result: dict[str, Any], number: int | None = None) -> dict[str, Any] | None:
    """Return the stage to report: the one asked for, or the first that does not pass."""
    for stage in result["stages"]:
        if number is None and not stage["status"].endswith("passed"):
            return dict(stage)
        if stage["stage"] == number:
            return dict(stage)
    return None


def spans(numbers: list[int]) -> str:
    """Write numbers in short: 1-4, 7."""
    parts: list[list[int]] = []
    for n in numbers:
        if parts and parts[-1][-1] == n - 1:
            parts[-1].append(n)
        else:
            parts.append([n])
    return ", ".join(str(p[0]) if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in parts)


#: A Chinese character, a word with the space after it, or a space.
PIECES = re.compile("[{0}]|[^\\s{0}]+\\s*|\\s+".format("\u3000-\u9fff\uff00-\uffef"))


def width(text: str) -> int:
    """Return how many columns a text takes: Chinese characters take two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def folded(text: str, columns: int) -> list[str]:
    """Fold a line at spaces, and between Chinese characters."""
    lines = [""]
    for piece in PIECES.findall(text):
        if lines[-1] and width(lines[-1] + piece.rstrip()) > columns:
            lines.append("")
        lines[-1] += piece
    return [line.rstrip() for line in lines]


def entry(name: str, text: str, lang: str) -> str:
    """Write a line ``name: value``, folded to the width."""
    head = f"{say(name, lang)}:"
    head += " " * (INDENT - width(head))
    lines = [line for given in text.splitlines() or [""] for line in folded(given, WIDTH - INDENT)]
    return "\n".join(f"{head if i == 0 else ' ' * INDENT}{line}" for i, line in enumerate(lines))


def passed_in(result: dict[str, Any], lang: str) -> str:
    """Say which stages pass."""
    if not result["passed"]:
        return say("No stage passes yet.", lang)
    return say("Stages passed: {numbers}.", lang).format(numbers=spans(result["passed"]))


def report(result: dict[str, Any], number: int | None, lang: str, rung: int = 0) -> str:
    """Return the report of the stage asked for, or of the first that does not pass."""
    stage = stage_of(result, number)
    if stage is None:
        return "\n".join([say("All stages pass.", lang), *notes_of(result["stages"], lang)])
    name = say(stage["name"], lang)
    facts = {"number": stage["stage"], "total": len(STAGES), "name": name}
    if stage["status"] == "missing":
        title = say("Stage {number} of {total}, {name}: not written yet.", lang).format(**facts)
        lines = [f"{title} {passed_in(result, lang)}"]
        lines.append(entry("missing", ", ".join(stage["missing"]), lang))
        n = stage["stage"]
        lines.append(entry("next", f"{COMMAND} lesson {n}\n{COMMAND} add {n}", lang))
    elif stage["fault"] and stage["fault"]["property"] == IMPORTED:
        lines = import_lines(stage["fault"], lang)
    elif stage["fault"]:
        title = say("Stage {number} of {total}, {name}: fault.", lang).format(**facts)
        lines = [f"{title} {passed_in(result, lang)}", *fault_lines(stage["fault"], lang, rung)]
    else:
        status = say(stage["status"].split(" for ")[0], lang)
        title = say("Stage {number}, {name}: {status}.", lang)
        lines = [title.format(**{**facts, "status": status})]
        if stage["status"] == "cannot be checked alone":
            text = say(
                "Line {line} uses the inside of your Tensor: write it with node(), or mend stage "
                "{stage}.",
                lang,
            )
            faulty = next(iter(stage["replaced"] or first_faulty(result)), 1)
            lines.append(text.format(line=stage["line"], stage=faulty))
        if stage["status"].startswith("waits"):
            text = say("It looks at what stage {stage} makes: mend that first.", lang)
            lines.append(text.format(stage=stage["status"].split()[-1]))
    if stage["replaced"] and stage["status"] != "cannot be checked alone":
        text = say(
            "Checked with the course's parts in the place of stages {numbers}, as yours are faulty "
            "or missing.",
            lang,
        )
        lines += folded(text.format(numbers=spans(stage["replaced"])), WIDTH)
    looked_at = [s for s in result["stages"] if number is None or s["stage"] == number]
    return "\n".join([*lines, *notes_of(looked_at, lang)])


def first_faulty(result: dict[str, Any]) -> list[int]:
    """Return the stages that do not pass."""
    return [s["stage"] for s in result["stages"] if not s["status"].endswith("passed")]


def notes_of(stages: list[dict[str, Any]], lang: str) -> list[str]:
    """Return the lines of what is not a fault."""
    return [entry("note", say(text, lang), lang) for stage in stages for text in stage["notes"]]


def fault_lines(fault: dict[str, Any], lang: str, rung: int = 0) -> list[str]:
    """Return the lines of a fault."""
    lines = [
        entry("property", say(fault["property"], lang), lang),
        entry("case", "; ".join(say_filled(p, lang) for p in fault["case"].split("; ")), lang),
        entry("found", say_filled(fault["found"], lang), lang),
        entry("expected", say_filled(fault["expected"], lang), lang),
    ]
    if fault["cause"]:
        lines.append(entry("cause", say(fault["cause"], lang), lang))
    lines += place_lines(fault, lang)
    if fault["property"] == IMPORTED:
        return lines
    rungs = say("({number} of 4)", lang).format(number=min(rung + 1, 4))
    following = [f"{COMMAND} hint     {rungs}"]
    if fault["program"]:
        following.append(f"{COMMAND} case     {say('writes it to case.py', lang)}")
    return [*lines, entry("next", "\n".join(following), lang)]


def import_lines(fault: dict[str, Any], lang: str) -> list[str]:
    """Return the lines of a file that cannot be imported."""
    title = say(
        "The file cannot be imported: no stage can be checked, and hints cannot help.", lang
    )
    found = entry("found", say_filled(fault["found"], lang), lang)
    return [*folded(title, WIDTH), found, *place_lines(fault, lang)]


def place_lines(fault: dict[str, Any], lang: str) -> list[str]:
    """Return where to look, and what was printed."""
    lines = []
    place = fault["line"]
    if place:
        within = f", in {place['function']}" if place["function"] != "<module>" else ""
        text = f":  {place['text']}" if place["text"] else ""
        lines.append(entry("line", f"{place['file']}, {place['line']}{within}{text}", lang))
    printed = fault["printed"].splitlines()[-4:]
    return [*lines, entry("printed", "\n".join(printed) or say("nothing", lang), lang)]


def status_lines(result: dict[str, Any], lang: str, only: bool = False) -> str:
    """Return a line for each stage, or for those `only` that were looked at."""
    stages = {stage["stage"]: stage for stage in result["stages"]}
    lines = []
    for number, stage in STAGES.items():
        if only and number not in stages:
            continue
        found = stages.get(number, {"status": "not checked"})["status"]
        status = {"missing": "not written yet"}.get(found, found.split(" for ")[0])
        title = say("Stage {number}, {name}: {status}.", lang)
        lines.append(
            title.format(number=number, name=say(stage.name, lang), status=say(status, lang))
        )
    return "\n".join(lines)
