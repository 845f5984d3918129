"""What a stage of the course is: a contract, properties, suspects for its faults, and hints."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Check = Callable[[Any, Any], None]


class Fault(Exception):  # noqa: N818 (it is what the student reads, not an error of ours)
    """A property does not hold: what was found, and what was expected.

    Parameters
    ----------
    found, expected
        In words, without a full stop.
    where
        The contract's name of the code to look at, such as ``"Tensor.__mul__"``.
    data
        Anything that a suspect may want to look at.
    """

    def __init__(self, found: str, expected: str, where: str = "", **data: Any) -> None:
        super().__init__(found, expected)
        self.found, self.expected, self.where, self.data = found, expected, where, data


@dataclass(frozen=True)
class Property:
    """Something that holds for right code, whatever its style.

    Parameters
    ----------
    sentence
        What the student is shown.
    check
        Called as ``check(door, draw)``; raises `Fault`.
    needs
        Earlier stages without which it cannot be checked.
    points
        Its weight among the properties of its stage.
    arrays
        Whether it is meaningless for an engine of single numbers.
    layers
        Whether it can be checked for layers that have ``forward`` and ``backward``.
    examples
        How many cases are drawn, if not the usual number; 1 for what draws nothing.
    seconds
        After how much processor time it is stopped.
    call_seconds
        The same for a single call of a function that calls no other in the file.
    """

    sentence: str
    check: Check
    needs: tuple[int, ...] = ()
    points: int = 1
    arrays: bool = False
    layers: bool = False
    examples: int | None = None
    seconds: float = 5.0
    call_seconds: float = 2.5


@dataclass(frozen=True)
class Suspect:
    """A cause, and an experiment that tells whether it explains a fault.

    Parameters
    ----------
    cause
        One sentence that says how to mend it.
    explains
        Called as ``explains(door, fault)``; an error counts as no.
    where
        The contract's name of the code to look at, if the fault does not say so.
    """

    cause: str
    explains: Callable[[Any, Fault], bool]
    where: str = ""


@dataclass
class Stage:
    """A step of the course.

    Parameters
    ----------
    number, name
        Its place, and what it is called.
    contract
        The names that the student writes in it, such as ``"Tensor.sum"``.
    hints
        A question, the idea, and the shape of the code.
    skeleton
        What ``add`` appends to the student's file.
    lines
        The reference's names that are shown as the solution, if not those of the contract.
    needs
        Earlier stages that its properties use, if they say nothing else.
    optional
        Names of the contract that may be missing: there are other ways to do the same.
    """

    number: int
    name: str
    contract: tuple[str, ...]
    hints: tuple[str, str, str]
    skeleton: str
    lines: tuple[str, ...] = ()
    needs: tuple[int, ...] = ()
    optional: tuple[str, ...] = ()
    properties: list[Property] = field(default_factory=list)
    suspects: list[Suspect] = field(default_factory=list)

    def property(self, sentence: str, **options: Any) -> Callable[[Check], Check]:
        """Add a property: a decorator for its check."""

        def add(check: Check) -> Check:
            self.properties.append(Property(sentence, check, **{"needs": self.needs, **options}))
            return check

        return add

    def suspect(self, cause: str, where: str = "") -> Callable[[Callable[[Any, Fault], bool]], Any]:
        """Add a suspect: a decorator for its experiment."""

        def add(explains: Callable[[Any, Fault], bool]) -> Any:
            self.suspects.append(Suspect(cause, explains, where))
            return explains

        return add

    def sentences(self) -> Iterator[str]:
        """Yield all sentences of this stage, in English; their translations are elsewhere."""
        yield self.name
        yield from self.hints
        yield from dict.fromkeys(p.sentence for p in self.properties)
        yield from dict.fromkeys(suspect.cause for suspect in self.suspects)
