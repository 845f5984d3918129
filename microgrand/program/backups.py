"""What a run has changed is put back where a call fails afterwards: then eager code does it all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .binding import Binding
from .optimizers import own_numbers
from .slots import Slot


class Backup:
    """Copies of what a program changes, for programs in which late calls may fail."""

    def __init__(self, binding: Binding) -> None:
        made = binding.made
        written = {v.storage for call in made.program.calls for v in call.writes}
        self.bound = [i for i, v in enumerate(binding.bound) if v.storage in written]
        self.inputs = [i for i, v in enumerate(binding.inputs) if v.storage in written]
        given = {key: i for i, key in enumerate(binding.arg_tensors)}
        self.slots = [(slot, given.get(id(slot.holder))) for slot, _ in made.early_slots]
        changes = made.version_changes
        self.tensors = [
            (tensor, given.get(key))
            for key, (tensor, _) in made.state.tensors.items()
            if changes.get(key) or any(tensor is x for x, _ in made.requirements)
        ]
        optimizers = [optimizer for optimizer, _ in made.state.optimizers.values()]
        self.slots += [(slot, None) for x in optimizers for slot in own_numbers(x)]

    def take(self, arrays: Any, inputs: Any, given: Any) -> Callable[[], None]:
        """Copy what the run is about to change; return the function that puts it back."""
        written = [*(arrays[i] for i in self.bound), *(inputs[i] for i in self.inputs)]
        copies = [(x, x.copy()) for x in written if isinstance(x, np.ndarray)]
        places = [
            Slot(slot.holder if i is None else given[i], slot.key, "") for slot, i in self.slots
        ]
        held = [(place, place.get()) for place in places]
        tensors = [tensor if i is None else given[i] for tensor, i in self.tensors]
        facts = [(tensor, tensor.version, tensor._requires_grad) for tensor in tensors]

        def put_back() -> None:
            for place, value in held:
                place.set(value)
            for array, copy in copies:
                array[...] = copy
            for tensor, version, requires_grad in facts:
                tensor.version, tensor._requires_grad = version, requires_grad

        return put_back
