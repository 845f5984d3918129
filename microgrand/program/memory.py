"""The memory of arrays that native parts make, and that nobody else will see.

It is made once. In a run, a piece of it is used again when what was in it is no longer read.
"""

from __future__ import annotations

import numpy as np

from .calls import Call, Program, Storage, Variable
from .native_library import LINE, addresses, memory_of


class Memory:
    """Finds room for arrays, knowing when each is first and last needed."""

    def __init__(self) -> None:
        self.time = 0
        self.arrays: dict[Variable, list[int]] = {}  # with the first time and the last
        self.of_storage: dict[Storage, Variable] = {}
        #: The tables of addresses, with the arrays whose addresses they hold.
        self.tables: list[tuple[Variable, list[Variable]]] = []

    def holds(self, array: Variable) -> bool:
        """Tell whether an array is in this memory."""
        return array in self.arrays

    def add(self, array: Variable) -> None:
        """Take an array in."""
        self.arrays[array] = []
        self.of_storage[array.storage] = array

    def use(self, array: Variable | None) -> None:
        """Note that an array, or a view of one, is read or written now.

        None lets time pass: what was done before is over.
        """
        if array is None:
            self.time += 1
            return
        found = self.of_storage.get(array.storage)
        if found is not None:
            times = self.arrays[found]
            times[:] = [min([*times, self.time]), self.time]

    def arrange(self, program: Program, others: set[Variable]) -> None:
        """Make the memory once, with the arrays that others than parts use, and the tables."""
        placed: list[tuple[int, int, Variable]] = []  # from and to which byte
        start_of: dict[Variable, int] = {}
        for array, times in sorted(self.arrays.items(), key=lambda item: item[1] or [-1]):
            if not times:
                continue
            living = [(a, b) for a, b, v in placed if self.arrays[v][1] >= times[0]]
            start, length = 0, -(-array.nbytes // LINE) * LINE
            for low, high in sorted(living):
                if start + length <= low:
                    break
                start = max(start, high)
            start_of[array] = start
            placed.append((start, start + length, array))
        size = max((high for _, high, _ in placed), default=0)
        memory = Variable(np.ndarray, (size,), np.dtype(np.uint8), (1,), Storage(), "memory")
        if placed:
            program.once.append(Call(memory_of, (size,), {}, memory))
        for array, start in start_of.items():
            if array in others:
                args = (array.shape, array.dtype, memory, start, array.strides)
                program.once.append(Call(np.ndarray, args, {}, array))
                program.buffers.add(array)
        for table, arrays in self.tables:
            places = [(memory, start_of[v]) if v in start_of else v for v in arrays]
            program.once.append(Call(addresses, tuple(places), {}, table))
