"""Results as other programs want them: JSON, Gradescope, JUnit, GitHub's annotations."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from .report import fault_lines, status_lines

Result = dict[str, Any]


def text(result: Result, lang: str) -> str:
    """Return a line a stage, the points, and the faults."""
    lines = [result["file"], status_lines(result, lang, only=True)]
    for stage in result["stages"]:
        if stage["fault"]:
            lines += ["", f"Stage {stage['stage']}:", *fault_lines(stage["fault"], lang)]
    return "\n".join([*lines, "", f"score: {result['score']:g} of {result['max_score']:g}"])


def as_json(results: list[Result], options: Any) -> str:
    """Return one object, or a list of them for several files."""
    return json.dumps(results[0] if len(results) == 1 else results, indent=1)


def output_of(stage: Result, entry: Result) -> str:
    """Describe in words why a property does not pass."""
    fault = entry.get("fault")
    if fault is None and not any("fault" in other for other in stage["properties"]):
        fault = stage["fault"]  # of the whole file
    if fault:
        return "\n".join(fault_lines(fault, "en"))
    if stage["status"] == "missing":
        return f"not written yet: {', '.join(stage['missing'])}"
    return str(entry["status"])


def gradescope(results: list[Result], options: Any) -> str:
    """Return Gradescope's results.json of one file."""
    result = results[0]
    tests = []
    for stage in result["stages"]:
        for i, entry in enumerate(stage["properties"], 1):
            passed = entry["score"] == entry["max_score"]
            tests.append(
                {
                    "name": f"Stage {stage['stage']}, {stage['name']}: {entry['name']}",
                    "number": f"{stage['stage']}.{i}",
                    "score": entry["score"],
                    "max_score": entry["max_score"],
                    "status": "passed" if passed else "failed",
                    "output": "" if passed else output_of(stage, entry),
                    "visibility": "visible",
                    "tags": [f"stage {stage['stage']}"],
                }
            )
    return json.dumps(
        {
            "execution_time": result["seconds"],
            "output_format": "text",
            "stdout_visibility": "hidden",
            "score": result["score"],
            "tests": tests,
        },
        indent=1,
    )


def gradescope_failure(message: str) -> str:
    """Return a results.json for a failure of the grader itself."""
    return json.dumps(
        {
            "score": 0,
            "output_format": "text",
            "output": "The grader itself has failed; your file is not to blame. Tell your teacher.",
            "stdout_visibility": "hidden",
            "tests": [],
            "extra_data": {"error": message},
        }
    )


def junit(results: list[Result], options: Any) -> str:
    """Return JUnit's XML: a suite a stage, a case a property."""
    root = ElementTree.Element("testsuites", name="microgrand.course")
    for result in results:
        for stage in result["stages"]:
            statuses = [entry["score"] == entry["max_score"] for entry in stage["properties"]]
            suite = ElementTree.SubElement(
                root,
                "testsuite",
                name=f"stage {stage['stage']}, {stage['name']}",
                tests=str(len(statuses)),
                failures=str(statuses.count(False)),
                file=result["file"],
            )
            for entry, passed in zip(stage["properties"], statuses, strict=True):
                case = ElementTree.SubElement(
                    suite, "testcase", name=entry["name"], classname=f"stage{stage['stage']}"
                )
                if not passed:
                    said = output_of(stage, entry)
                    failure = ElementTree.SubElement(case, "failure", message=entry["status"])
                    failure.text = "".join(c if c.isprintable() or c == "\n" else "?" for c in said)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True)


def escaped(text: str) -> str:
    """Escape a text for a command of GitHub's workflows."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def github(results: list[Result], options: Any) -> str:
    """Return annotations; write a table to the step's summary and points to its outputs."""
    lines, rows = [], ["| stage | status | points |", "|---|---|---|"]
    for result in results:
        for stage in result["stages"]:
            title = f"Stage {stage['stage']}, {stage['name']}"
            points = f"{stage['score']:g} / {stage['max_score']:g}"
            rows.append(f"| {title} | {stage['status']} | {points} |")
            if stage["status"].endswith("passed"):
                continue
            line = (stage["fault"] or {}).get("line") or {}
            place = f",line={line['line']}" if line.get("line") else ""
            said = output_of(stage, {"status": stage["status"], "fault": stage["fault"]})
            name = title.replace(",", "").replace(":", "")
            lines.append(f"::error file={result['file']}{place},title={name}::{escaped(said)}")
    score = sum(result["score"] for result in results)
    best = sum(result["max_score"] for result in results)
    lines.append(f"score: {score:g} of {best:g}")
    append_to("GITHUB_STEP_SUMMARY", "\n".join([*rows, "", f"**{score:g} of {best:g}**"]))
    append_to("GITHUB_OUTPUT", f"score={score:g}\nmax_score={best:g}")
    return "\n".join(lines)


def append_to(variable: str, text: str) -> None:
    """Append to the file that an environment variable names, if it is set."""
    path = os.environ.get(variable)
    if path:
        with Path(path).open("a", encoding="utf-8") as stream:
            stream.write(text + "\n")


FORMATS: dict[str, Callable[[list[Result], Any], str]] = {
    "text": lambda results, options: "\n\n".join(text(r, options.lang) for r in results),
    "json": as_json,
    "gradescope": gradescope,
    "junit": junit,
    "github": github,
}
