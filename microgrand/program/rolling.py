"""Thousands of operations on numbers as loops over pieces that repeat.

A loop in the user's function is straight on when it is recorded: 200 steps of an ODE's solver are
200 times the same operations. Numba would compile each. So a long run of them is cut into pieces
where it repeats; each piece reads numbers in one table, and writes into it, at places that differ
from time to time; it is compiled once, and called in a loop.

    def piece_0(table, places, k):
        v0 = table[places[k, 0]]
        ...
        table[places[k, 7]] = v9
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .calls import Call, Storage, Variable
from .labels import with_names
from .native import is_native_elementwise
from .parts import PartWriter

#: How many calls a run must have to be cut, and about how many a piece has.
LONG, PIECE = 300, 60
#: For a period to be found, this many calls in a row must be the same as before: more than in the
#: small repetitions within a large one.
WINDOW = 48


def is_of_float64(call: Call) -> bool:
    """Tell whether a call computes a float64 number from others."""
    return (
        is_native_elementwise(call)
        and is_float64(call.result)
        and call.result.dtype is not None
        and all(map(is_float64, call.operands()))
    )


def is_float64(variable: Variable) -> bool:
    """Tell whether a variable is a number of 64 bits, NumPy's or Python's."""
    return not variable.is_array and variable.kind in (np.float64, float)


def arranged(group: list[Call]) -> tuple[list[Call], list[Call], list[Call]]:
    """Bring a group in another order: what is before a long run of numbers, the run, the rest.

    The rest is what depends on numbers in arrays, or comes after it in the same memory.
    """
    before: list[Call] = []
    run: list[Call] = []
    rest: list[Call] = []
    numbers: set[Variable] = set()
    touched: set[Storage] = set()  # by the rest
    if any(v.storage.external for call in group for v in call.writes):
        return group, [], []
    for call in group:
        operands = list(call.operands())
        late = any(v.storage in touched for v in (*operands, *call.writes))
        if not late and is_of_float64(call):
            run.append(call)
            numbers.add(call.result)
            continue
        if late or any(v in numbers for v in operands):
            rest.append(call)
            touched.update(v.storage for v in call.results())
            touched.update(v.storage for v in operands if v.is_array)
        else:
            before.append(call)
    return (before, run, rest) if len(run) >= LONG else (group, [], [])


def pieces(run: list[Call]) -> list[list[Call]]:
    """Cut a run into pieces: where it repeats, after whole periods."""
    known: dict[Any, int] = {}
    codes = [known.setdefault(code_of(call), len(known)) for call in run]
    periods = distances(codes)
    cut: list[list[Call]] = []
    done = i = 0

    def straight(end: int) -> None:
        cut.extend(run[k : min(k + PIECE, end)] for k in range(done, end, PIECE))

    while i < len(run):
        period, first = periods[i], i
        while i < len(run) and periods[i] == period:
            i += 1
        if not period:
            continue
        start, end = max(done, first - period), min(len(run), i - 1 + WINDOW)
        length = period * max(1, round(PIECE / period))
        count = (end - start) // length
        if count > 1:
            straight(start)
            done = start + count * length
            cut += [run[k : k + length] for k in range(start, done, length)]
            i = max(i, done)
    straight(len(run))
    return cut


def code_of(call: Call) -> Any:
    """Return a key that calls share if they do the same with other numbers."""
    return call.function, tuple("v" if isinstance(a, Variable) else repr(a) for a in call.args)


def distances(codes: list[int]) -> list[int]:
    """Return for each place how far back the next calls were the same, or 0."""
    last: dict[Any, int] = {}
    found = []
    for i in range(len(codes)):
        window = tuple(codes[i : i + WINDOW])
        found.append(i - last[window] if window in last and len(window) == WINDOW else 0)
        last[window] = i
    return found


class Rolled:
    """A run of operations on numbers, as one function with its pieces.

    Attributes
    ----------
    parameters
        The numbers that come from outside, and the tables of places.
    text, text_to_read
        The pieces and the function; the second with the program's names.
    """

    def __init__(self, run: list[Call], outputs: list[Variable]) -> None:
        cut = pieces(run)
        made = {call.result for call in run}
        makers = {call.result: i for i, piece in enumerate(cut) for call in piece}
        read_elsewhere = set(outputs)
        for i, piece in enumerate(cut):
            for call in piece:
                read_elsewhere.update(v for v in call.operands() if makers.get(v, i) != i)
        self.place: dict[Variable, int] = {}
        self.numbers: list[Variable] = []  # from outside
        self.made = made
        texts: dict[str, str] = {}
        to_read: dict[str, str] = {}
        calls: list[tuple[str, list[list[int]]]] = []
        for piece in cut:
            shown = [call.result for call in piece if call.result in read_elsewhere]
            writer = PartWriter(piece, shown, set())
            body = writer.body()
            given = list(writer.parameters)
            names = [writer.parameters[v] for v in given]
            read = [f"{name} = table[places[k, {i}]]" for i, name in enumerate(names)]
            written = [
                f"table[places[k, {i + len(given)}]] = {writer.name(v)}"
                for i, v in enumerate(shown)
            ]
            text = "".join(f"    {line}\n" for line in [*read, *body, *written, "return None"])
            name = texts.setdefault(text, f"piece_{len(texts)}")
            to_read.setdefault(name, with_names(text, writer.names))
            places = [self.place_of(v) for v in (*given, *shown)]
            if not calls or calls[-1][0] != name:
                calls.append((name, []))
            calls[-1][1].append(places)
        self.write(texts, to_read, calls, outputs)

    def place_of(self, variable: Variable) -> int:
        """Return the place of a number in the table."""
        if variable not in self.place:
            self.place[variable] = len(self.place)
            if variable not in self.made:
                self.numbers.append(variable)
        return self.place[variable]

    def write(
        self,
        texts: dict[str, str],
        to_read: dict[str, str],
        calls: Any,
        outputs: list[Variable],
    ) -> None:
        """Write the functions."""
        tables = []
        lines = [f"table = np.empty({len(self.place)})"]
        lines += [f"table[{self.place[v]}] = v{i}" for i, v in enumerate(self.numbers)]
        for i, (name, places) in enumerate(calls):
            value = np.array(places, np.int64).reshape(len(places), -1)
            storage = Storage(constant=True)
            shape, strides = value.shape, value.strides
            tables.append(
                Variable(np.ndarray, shape, value.dtype, strides, storage, f"places_{i}", value)
            )
            lines += [f"for k in range({len(places)}):", f"    {name}(table, places_{i}, k)"]
        lines.append("return (" + "".join(f"table[{self.place[v]}], " for v in outputs) + ")")
        parameters = [f"v{i}" for i in range(len(self.numbers))]
        parameters += [f"places_{i}" for i in range(len(tables))]
        body = "".join(f"    {line}\n" for line in lines)
        part = f"def part({', '.join(parameters)}):\n{body}"
        head = "def {}(table, places, k):\n{}\n"
        self.text = "".join(head.format(name, text) for text, name in texts.items()) + part
        names = {v: f"v{i}" for i, v in enumerate(self.numbers)}
        pieces_to_read = "".join(head.format(name, text) for name, text in to_read.items())
        self.text_to_read = pieces_to_read + with_names(part, names)
        self.parameters = [*self.numbers, *tables]
