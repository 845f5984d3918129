"""The commands: ``python -m microgrand.course ...``."""

from __future__ import annotations

import argparse
import ast
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

from . import doctor, grade, watch
from .child import in_a_line
from .progress import Progress
from .report import COMMAND, IMPORTED, import_lines, passed_in, report, stage_of, status_lines
from .runner import GraderError, examine_file
from .sentences import LANGUAGES, language, lesson, say
from .solution import first_file, lines_of, without_names
from .stages import STAGES

PASSED, FAULT, USAGE, GRADER = 0, 1, 2, 3


class UsageError(Exception):
    """A command that cannot be followed: what was given, and what to do."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    options = parser().parse_args(arguments)
    try:
        options.lang = language(options.lang)
        return int(COMMANDS[options.command or "check"](options))
    except UsageError as error:
        print(error, file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        return PASSED
    except BrokenPipeError:  # as of `| head`: who reads has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PASSED
    except Exception as error:
        print("The grader itself has failed. Your file is not to blame.", file=sys.stderr)
        print(error if isinstance(error, GraderError) else in_a_line(error), file=sys.stderr)
        return GRADER


def common_options() -> argparse.ArgumentParser:
    """Make the options that stand before or after the command; each parser needs its own."""
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--file", help="your file, mygrad.py by default")
    common.add_argument("--lang", choices=LANGUAGES, help="English or Chinese")
    common.add_argument("--seed", type=int, help="other cases than the usual ones")
    common.add_argument("--json", action="store_true", help="print one object of JSON")
    return common


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(
        prog=COMMAND,
        description="Build your own framework, stage by stage: each check names its first fault.",
        parents=[common_options()],
        epilog="Exit status: 0 all passed, "
        "1 a fault in your file or not all written, 2 wrong usage or no file, 3 the grader itself "
        "failed.",
    )
    top.set_defaults(command=None, file="mygrad.py", lang=None, seed=None, json=False, stage=None)
    commands = top.add_subparsers(dest="command", metavar="COMMAND")

    def command(name: str, text: str, stage: str | None = None) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = commands.add_parser(
            name, help=text, parents=[common_options()]
        )
        if stage:
            added.add_argument("stage", type=int, nargs=stage, choices=list(STAGES))
        return added

    command("start", "write mygrad.py unless it is there, and show lesson 1")
    command("check", "check all stages up to the first fault, or one", "?")
    command("watch", "check after each save")
    command("lesson", "show the lesson of a stage", "?")
    command("hint", "show the next hint for the last fault", "?")
    command("case", "write the case of the last fault to case.py")
    command("add", "append the skeleton of a stage to your file", "?")
    solution = command("solution", "show the course's lines for a stage", "?")
    solution.add_argument("--yes", action="store_true", help="do not ask")
    command("status", "one line a stage")
    command("doctor", "look at what the course runs on")
    grade.add_options(command("grade", "grade files, for course authors"))
    return top


# ------------------------------------------------------------------------------ commands


def the_file(options: Any) -> Path:
    """Return the student's file; raise if there is none."""
    path = Path(options.file)
    if not path.is_file():
        text = say(
            "There is no file {path} in {folder}: begin with `{command} start`, or name yours with "
            "--file.",
            options.lang,
        )
        raise UsageError(text.format(path=path, folder=Path.cwd(), command=COMMAND))
    return path


def start(options: Any) -> int:
    """Write the student's file, and show the first lesson."""
    path = Path(options.file)
    if path.exists():
        text = say("{path} is there already, and left as it is.", options.lang)
    else:
        path.write_text(first_file(), encoding="utf-8")
        text = say("{path} is written: fill in its lines. Lesson 1 says how.", options.lang)
    print(text.format(path=path))
    print()
    print(lesson(1, options.lang))
    return PASSED


def check(options: Any) -> int:
    """Check all stages up to the first fault, or one stage."""
    path = the_file(options)
    result = result_for(options)
    shown = stage_of(result, options.stage)
    progress = Progress(path.resolve().parent)
    open_yet = shown is not None and not shown["status"].endswith("passed")
    progress.remember(result, shown if open_yet else None)
    if options.json:
        if options.stage:
            result["stages"] = [s for s in result["stages"] if s["stage"] == options.stage]
        print(json.dumps(result))
    else:
        rung = progress.rung(shown) if shown else 0
        print(report(result, options.stage, options.lang, rung))
        count = sum(len(s["properties"]) for s in result["stages"])
        text = say(
            "({path}, {hash}; {count} properties of the stages that were looked at)", options.lang
        )
        print(text.format(path=path, hash=result["hash"], count=count))
    return FAULT if shown and not shown["status"].endswith("passed") else PASSED


def result_for(options: Any) -> dict[str, Any]:
    """Run the checks that a command asks for."""
    stages = [n for n in STAGES if options.stage is None or n <= options.stage]
    return examine_file(options.file, stages, go_on=options.stage is not None, seed=options.seed)


def number_for(options: Any) -> int:
    """Return the stage that a command is about: given, that of the last fault, or the next one."""
    if options.stage is not None:
        return int(options.stage)
    progress = Progress(Path(options.file).resolve().parent)
    last = progress.data["last"]
    if last is None or last["stage"] not in STAGES or last.get("property") == IMPORTED:
        return progress.next_stage() or max(STAGES)
    return int(last["stage"])


def show_lesson(options: Any) -> int:
    """Show a lesson."""
    print(lesson(number_for(options), options.lang))
    return PASSED


def hint(options: Any) -> int:
    """Show the next rung of the ladder."""
    number = number_for(options)
    progress = Progress(Path(options.file).resolve().parent)
    last = progress.data["last"] or {}
    if last.get("property") == IMPORTED and options.stage is None:
        print("\n".join(import_lines(last, options.lang)))
        return PASSED
    if options.stage is None and not last.get("property"):
        text = say("No fault is known. Stage {number}, {name}, is next.", options.lang)
        if progress.next_stage() is None:
            text = say("All stages pass.", options.lang)
        print(text.format(number=number, name=say(STAGES[number].name, options.lang)))
        if progress.next_stage() is None:
            return PASSED
    shown = last if last.get("stage") == number else {"stage": number}
    rung = progress.rung(shown)
    hints = STAGES[number].hints
    if rung < len(hints):
        print(f"{number}.{rung + 1}: {say(hints[rung], options.lang)}")
    elif rung == len(hints):
        print(
            say("The last hint is the lines themselves: ask once more to see them.", options.lang)
        )
    else:
        print(lines_of(STAGES[number]))
    progress.climb(shown, len(hints) + 2)
    return PASSED


def case(options: Any) -> int:
    """Write the last fault's case as a program."""
    path = the_file(options)
    last = Progress(path.resolve().parent).data["last"]
    if not last or not last.get("program"):
        text = say(
            "There is no case of a fault: `{command} check` finds the first one.", options.lang
        )
        raise UsageError(text.format(command=COMMAND))
    target = path.resolve().parent / "case.py"
    target.write_text(last["program"], encoding="utf-8")
    text = say("{path} is written: run it with python, and shorten it.", options.lang)
    print(text.format(path=target))
    return PASSED


def add(options: Any) -> int:
    """Append a stage's skeleton to the student's file."""
    path = the_file(options)
    try:
        text = path.read_text(encoding="utf-8")
        ast.parse(text)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        said = say("{path} has an error in line {line}: mend that first.", options.lang)
        if line is None:
            said = say("{path} is not text in UTF-8: save it as such first.", options.lang)
        raise UsageError(said.format(path=path, line=line)) from error
    if options.stage is None:
        shown = stage_of(result_for(options))
        if shown is None:
            print(say("All stages pass.", options.lang))
            return PASSED
        if shown["fault"] and shown["fault"]["property"] == IMPORTED:
            raise UsageError("\n".join(import_lines(shown["fault"], options.lang)))
        options.stage = shown["stage"]
    stage = STAGES[options.stage]
    skeleton = without_names(stage.skeleton, text)
    if not skeleton.strip() or skeleton.strip() in text:
        said = say("All names of stage {number} are in {path} already.", options.lang)
        print(said.format(number=stage.number, path=path))
        return PASSED
    title = "\n\n"
    if not skeleton.startswith("#"):
        title += f"# Stage {stage.number}, {stage.name}\n\n"
    path.write_text(text.rstrip("\n") + "\n" + title + skeleton, encoding="utf-8")
    said = say("The skeleton of stage {number}, {name}, is at the end of {path}.", options.lang)
    print(said.format(number=stage.number, name=say(stage.name, options.lang), path=path))
    return PASSED


def solution(options: Any) -> int:
    """Show the course's lines for a stage."""
    number = number_for(options)
    if not options.yes:
        question = say(
            "Show the course's lines for stage {number}? It is remembered. [y/N]", options.lang
        )
        try:
            answer = input(question.format(number=number) + " ")
        except EOFError:
            answer = ""
        if answer.strip().lower() not in ("y", "yes"):
            return PASSED
    progress = Progress(Path(options.file).resolve().parent)
    progress.stage(number)["solution"] = True
    progress.save()
    print(lines_of(STAGES[number]))
    return PASSED


def status(options: Any) -> int:
    """Show a line for each stage."""
    the_file(options)
    result = examine_file(options.file, go_on=True, seed=options.seed)
    first = result["stages"][0]["fault"]
    if options.json:
        print(json.dumps(result))
    elif first and first["property"] == IMPORTED:
        print("\n".join(import_lines(first, options.lang)))
    else:
        print(status_lines(result, options.lang))
        print(passed_in(result, options.lang))
    return PASSED if len(result["passed"]) == len(STAGES) else FAULT


COMMANDS = {
    "start": start,
    "check": check,
    "watch": lambda options: watch.watch(the_file(options), options),
    "lesson": show_lesson,
    "hint": hint,
    "case": case,
    "add": add,
    "solution": solution,
    "status": status,
    "doctor": lambda options: doctor.doctor(Path(options.file)),
    "grade": grade.grade,
}
