"""Stages looked at one by one, in this process: each property, its smallest case, and the cause."""

from __future__ import annotations

import ast
import functools
import io
import sys
import traceback
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
from hypothesis import HealthCheck, Phase, strategies

from .case import Case
from .compare import DRAWN
from .door import Door
from .stages import STAGES, Fault, Property, Stage, Suspect
from .substitution import GROUPS, contract_names, fresh_reference, substituted_module
from .vjps import VJPS

Emit = Callable[..., None]

#: How many cases are drawn of each property, unless it says otherwise.
EXAMPLES = 8

DOOR = Door.start.__code__.co_filename

#: The first stage that an engine of single numbers cannot pass.
ARRAYS_FROM = 5


class NotAlone(Exception):  # noqa: N818 (a verdict)
    """A stage that uses the inside of a Tensor which is the course's now."""

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


class Examination:
    """All that is found out about one file.

    Parameters
    ----------
    path
        The student's file.
    source
        Its text.
    module
        What it made when it was imported.
    emit
        Called with each record: ``emit("property", stage=1, index=0)``.
    seed
        None for the cases that are the same in every run.
    examples
        How many cases are drawn of each property.
    own
        A module ``door`` of the student's, if there is one.
    printed
        Returns what was printed since it was last asked.
    """

    def __init__(
        self,
        path: Path,
        source: str,
        module: types.ModuleType,
        emit: Emit,
        seed: int | None = None,
        examples: int = EXAMPLES,
        own: Any = None,
        printed: Callable[[], str] = lambda: "",
    ) -> None:
        self.path, self.source, self.emit = path, source, emit
        self.seed, self.examples, self.printed = seed, examples, printed
        self.own = own
        self.module = module
        self.door = Door(module, own)
        self.layers = Door(module, own, layers=True)
        #: What is known of properties from an earlier process, by stage and index.
        self.known: dict[tuple[int, int], str] = {}
        #: Whether a fault was found already in what is looked at: then all may be expected.
        self.shaky = False
        #: The stages of which not all is right, or known.
        self.faulty: set[int] = set()

    # ------------------------------------------------------------------------- the stages

    def run(
        self,
        numbers: Sequence[int],
        go_on: bool = False,
        substitute: bool = True,
        first: int | None = None,
        whole: bool = False,
    ) -> None:
        """Look at stages in order, up to the first fault unless `go_on`; at `first` before all.

        A stage's first fault ends it, but if it is looked at as a `whole`.
        """
        done = {n: self.stage(STAGES[n], whole, substitute) for n in numbers if n == first}
        for number in numbers:
            status = done.get(number) or self.stage(STAGES[number], whole, substitute)
            if not status.endswith("passed"):
                self.faulty.add(number)
                if not go_on:
                    break

    def stage(self, stage: Stage, whole: bool = False, substitute: bool = True) -> str:
        """Look at one stage; return its status."""
        number = stage.number
        missing = self.missing(stage)
        if missing:
            self.emit("stage", stage=number, status="missing", names=missing)
            return "missing"
        door = self.layers if number > GROUPS[0][-1] else self.door
        replaced: set[int] = set()
        if number > GROUPS[0][-1] and self.faulty and substitute:
            replaced = {n for n in self.faulty if n not in stage.needs and n < number}
            if set(stage.needs) & set(GROUPS[0]):  # it is about the student's own engine
                replaced -= set(GROUPS[0])
        if replaced:
            module = substituted_module(self.path, self.source, replaced, stage)
            door = Door(module, self.own, sorted(replaced), layers=True, number=number)
        statuses: list[str] = []
        for index, prop in enumerate(stage.properties):
            self.shaky = "fault" in statuses or (bool(self.faulty) and not replaced)
            status = self.property(stage, index, prop, door)
            statuses.append(status)
            if status == "fault" and not whole:
                break
            if status == "cannot be checked alone":
                break
        status = summary(statuses, bool(replaced))
        self.emit("stage", stage=number, status=status, replaced=sorted(replaced))
        for note in door.notes:
            self.emit("note", stage=number, text=note)
        door.notes.clear()
        return status

    def missing(self, stage: Stage) -> list[str]:
        """Return the names of a stage that are not there, or not written yet."""
        unwritten = unwritten_in(self.source)
        missing = [
            name
            for name in stage.contract
            if (not self.door.has(name) and name not in stage.optional) or name in unwritten
        ]
        if self.door.scalar and "node" in missing:
            missing.remove("node")
        if self.layers.layer_style and stage.number > GROUPS[0][-1]:
            missing = [name for name in missing if "." not in name and name != "Module"]
        return missing

    def about_caches(self, stage: Stage, door: Door) -> bool:
        """Tell whether layers of a stage hold a cache: then a part of it can be checked."""
        late = stage.number > GROUPS[0][-1]
        return late and (door.layer_style or bool(set(stage.contract) & set(door.bridged)))

    # --------------------------------------------------------------------- the properties

    def property(self, stage: Stage, index: int, prop: Property, door: Door) -> str:
        """Look at one property; return its status."""
        waits = [n for n in prop.needs if n in self.faulty]
        if door.scalar and stage.number in GROUPS[0][ARRAYS_FROM:]:
            waits = [ARRAYS_FROM]  # whose first property asks for arrays
        skipped = (door.scalar and (prop.arrays or (stage.number == ARRAYS_FROM and index))) or (
            self.about_caches(stage, door) and not prop.layers
        )
        record: dict[str, Any] = {"stage": stage.number, "index": index}
        if waits or skipped:
            status = f"waits for stage {waits[0]}" if waits else "not checked"
            self.emit("result", **record, status=status)
            return status
        if (stage.number, index) in self.known:
            return self.known[stage.number, index]
        self.emit("property", **record, seconds=prop.seconds, call_seconds=prop.call_seconds)
        self.printed()
        try:
            fault = self.fault_of(stage, prop, door)
        except NotAlone as error:
            status = "cannot be checked alone"
            self.emit("result", **record, status=status, line=error.line)
            return status
        if fault is None:
            self.emit("result", **record, status="passed")
            return "passed"
        self.emit("result", **record, status="fault", fault=self.describe(stage, prop, door, fault))
        return "fault"

    def fault_of(self, stage: Stage, prop: Property, door: Door) -> Fault | None:
        """Return the smallest fault that is found, with its case; None if the property holds."""
        last: list[tuple[Fault, Case]] = []

        def check(data: Any) -> None:
            door.case = Case(door.stem, {})
            DRAWN.clear()
            self.printed()
            try:
                with np.errstate(all="ignore"):
                    prop.check(door, data.draw)
            except BaseException as error:
                fault = self.as_fault(error, door)
                last.append((fault, door.case))
                raise fault from None

        settings = hypothesis.settings(
            derandomize=self.seed is None,
            database=None,
            deadline=None,
            max_examples=self.number_of_cases(prop),
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
            report_multiple_bugs=False,
            print_blob=False,
            verbosity=hypothesis.Verbosity.quiet,
        )
        # Its cases are made of its name, and of its text, unless there is none to be found.
        check.__qualname__ = f"{stage.number}: {prop.sentence}"
        check.__code__ = check.__code__.replace(co_filename="<check>")
        test = settings(hypothesis.given(strategies.data())(check))
        if self.seed is not None:
            test = hypothesis.seed(self.seed)(test)
        try:
            test()
        except Fault as fault:
            door.case = last[-1][1]
            self.mind_substitutes(fault, door)
            return fault
        except hypothesis.errors.HypothesisException:
            if not last:
                raise
            first, door.case = last[0]  # it does not come up every time
            self.mind_substitutes(first, door)
            return first
        return None

    def number_of_cases(self, prop: Property) -> int:
        """Return how many cases to draw: what draws little needs no more of them in grading."""
        if prop.examples is None or self.examples < EXAMPLES:
            return min(self.examples, prop.examples or self.examples)
        return max(prop.examples, self.examples) if prop.examples > EXAMPLES else prop.examples

    def as_fault(self, error: BaseException, door: Door) -> Fault:
        """Return what the student is told of an exception; raise it if it is ours."""
        if isinstance(error, Fault):
            return error
        if type(error).__module__.split(".")[0] == "hypothesis":
            raise error
        frame = self.frame_of(error)
        files = [f.filename for f in traceback.extract_tb(error.__traceback__)]
        # The door calls what is theirs, so what is raised in it is theirs, too.
        theirs = {"<case>", str(self.path)} & {*files} or files[-1] == DOOR
        if isinstance(error, KeyboardInterrupt) and files[-1] != str(self.path):
            raise error  # Ctrl-C
        if not theirs and not isinstance(error, (MemoryError, SystemExit, RecursionError)):
            if not self.shaky:
                raise error
            return Fault("it cannot be checked, because an earlier check fails", "that first")
        name = type(error).__name__
        if isinstance(error, SystemExit):
            text = "the code ends the process: sys.exit was called"
        else:
            text = f"{name}: {first_line(error)}"
        return Fault(
            text + shapes_in(frame),
            "no exception",
            error=error,
            at=(frame.f_lineno, frame.f_code.co_name) if frame else None,
            lines=tuple(door.case.lines),
            kind=name,
        )

    def frame_of(self, error: BaseException) -> types.FrameType | None:
        """Return the student's innermost frame in a traceback, as it was."""
        found = None
        for frame, line in traceback.walk_tb(error.__traceback__):
            if frame.f_code.co_filename == str(self.path):
                found = (frame, line)
        if found is None:
            return None
        return Frozen(*found)  # type: ignore[return-value]

    def mind_substitutes(self, fault: Fault, door: Door) -> None:
        """Raise if it is not the student's fault that their code does not suit the course's."""
        if not door.substituted:
            return
        error = fault.data.get("error")
        place = fault.data.get("at")
        mixed = isinstance(error, ValueError) and "array element with a sequence" in str(error)
        if isinstance(error, (AttributeError, TypeError)) or mixed:
            raise NotAlone(place[0] if place else 0)
        if fault.data.get("nothing"):
            code = door.place(fault.where)
            raise NotAlone(code.co_firstlineno if code else 0)

    # -------------------------------------------------------------------------- the report

    def describe(self, stage: Stage, prop: Property, door: Door, fault: Fault) -> dict[str, Any]:
        """Return a fault as a record: the case, what was found and expected, cause and line."""
        case = door.case
        printed = self.printed()
        suspect = self.suspect_of(stage, door, fault, case)
        title = f"Stage {stage.number}, {stage.name}: {prop.sentence}."
        return {
            "property": prop.sentence,
            "case": case.text(),
            "program": case.program(title, fault.found, fault.expected),
            "found": fault.found,
            "expected": fault.expected,
            "cause": suspect.cause if suspect else None,
            "line": self.line_of(door, fault, suspect.where if suspect else ""),
            "printed": printed,
        }

    def suspect_of(self, stage: Stage, door: Door, fault: Fault, case: Case) -> Suspect | None:
        """Return the one cause that explains a fault; None if there is none, or are several.

        What a vjp returns is seen, so a stage's own suspects are asked only where that is right.
        """
        for suspects in (VJPS, stage.suspects):
            causes: dict[str, Suspect] = {}
            for suspect in suspects:
                door.case = case
                try:
                    with np.errstate(all="ignore"):
                        explained = suspect.explains(door, fault)
                except (Exception, SystemExit):  # an experiment that fails tells nothing
                    continue
                if explained:
                    causes[suspect.cause] = suspect
            door.case = case
            if causes:
                return next(iter(causes.values())) if len(causes) == 1 else None
        return None

    def line_of(self, door: Door, fault: Fault, otherwise: str = "") -> dict[str, Any] | None:
        """Return the line to look at: of an exception, or of the code that the case is about."""
        if fault.data.get("at"):
            number, name = fault.data["at"]
            return {
                "file": self.path.name,
                "line": number,
                "function": name,
                "text": self.text(number),
            }
        where = fault.where or otherwise
        code = door.place(where) if where else None
        if code is None or code.co_filename != str(self.path):
            return None
        return {
            "file": self.path.name,
            "line": code.co_firstlineno,
            "function": code.co_name,
            "text": self.text(code.co_firstlineno),
        }

    def text(self, number: int) -> str:
        """Return a line of the student's file."""
        lines = self.source.splitlines()
        return lines[number - 1].strip() if 0 < number <= len(lines) else ""


class Frozen:
    """What is looked at of a frame, with the line at which an exception passed it."""

    def __init__(self, frame: types.FrameType, line: int) -> None:
        self.f_code, self.f_lineno, self.f_locals = frame.f_code, line, dict(frame.f_locals)


def summary(statuses: Sequence[str], replaced: bool) -> str:
    """Return the status of a stage, from those of its properties."""
    for status in ("fault", "cannot be checked alone"):
        if status in statuses:
            return status
    waiting = [status for status in statuses if status.startswith("waits")]
    if waiting:
        return waiting[0]
    if "passed" not in statuses:
        return "not checked"
    return "substituted, passed" if replaced else "passed"


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, not too long."""
    try:
        lines = str(error).splitlines()
    except Exception:
        lines = []
    return lines[0][:200] if lines else "(no message)"


def shapes_in(frame: Any) -> str:
    """Tell the shapes of the arrays among a frame's variables."""
    if frame is None:
        return ""
    arrays = {k: v.shape for k, v in frame.f_locals.items() if isinstance(v, np.ndarray)}
    said = [f"{name} {shape}" for name, shape in list(arrays.items())[:4]]
    return f" (shapes there: {', '.join(said)})" if said else ""


@functools.cache
def unwritten_in(source: str) -> set[str]:
    """Return the contract's names of functions and classes with a body that is only ``...``."""

    def is_dots(line: ast.AST) -> bool:
        value = getattr(line, "value", None)
        return isinstance(value, ast.Constant) and value.value is ...

    def is_empty(function: ast.FunctionDef) -> bool:
        body = function.body[1:] if ast.get_docstring(function) is not None else function.body
        raises = len(body) == 1 and "NotImplementedError" in ast.dump(body[0])
        return len(body) == 1 and (is_dots(body[0]) or raises)

    found: set[str] = set()
    for top in ast.parse(source).body:
        if isinstance(top, ast.FunctionDef) and is_empty(top):
            found.add(top.name)
        if not isinstance(top, ast.ClassDef):
            continue
        for function in top.body:
            if not isinstance(function, ast.FunctionDef):
                continue
            if is_empty(function):
                found.add(f"{top.name}.{function.name}")
            is_init = function.name == "__init__" and any(map(is_dots, function.body))
            if is_init or (is_empty(function) and top.name not in ("Tensor", "Module")):
                found.add(top.name)
    return found


class Tail(io.TextIOBase):
    """A place for what is printed: the first million characters, and the latest lines."""

    LIMIT = 1_000_000

    def __init__(self, stream: Any = None) -> None:
        self.stream, self.written, self.recent = stream, 0, ""

    def writable(self) -> bool:
        """Say that it can be written to."""
        return True

    def write(self, text: str) -> int:
        """Keep the end of what is written, and pass on what there is room for."""
        if self.stream is not None and self.written < self.LIMIT:
            self.stream.write(text[: self.LIMIT - self.written])
            self.stream.flush()
        self.written += len(text)
        self.recent = (self.recent + text[-4000:])[-4000:]
        return len(text)

    def take(self) -> str:
        """Return the last lines that were printed since the last call."""
        recent, self.recent = self.recent, ""
        lines = recent.splitlines()
        return "\n".join(line[:200] for line in lines[-20:])


@contextmanager
def prints_kept(tail: Tail) -> Iterator[Tail]:
    """Send what is printed to a `Tail`."""
    before = sys.stdout
    sys.stdout = tail
    try:
        yield tail
    finally:
        sys.stdout = before


def make_module(path: Path, source: str) -> types.ModuleType:
    """Run a student's file as a module, known by its name while it runs and afterwards.

    While it runs, the contract's names that it has not are the course's: a file with nothing but
    ``class Dropout(Module)`` can be checked.
    """
    module = types.ModuleType(path.stem)
    module.__file__ = str(path)
    sys.modules[path.stem] = module
    code = compile(source, str(path), "exec")
    course = vars(fresh_reference())
    lent = {name: course[name] for name in contract_names()}
    vars(module).update(lent)
    exec(code, vars(module))
    for name, value in lent.items():
        if vars(module).get(name) is value:
            delattr(module, name)
    return module
