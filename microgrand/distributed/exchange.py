"""Speed: gradients are summed over the ranks in buckets, during the backward pass.

The pass completes the gradients of the last layers first. So the parameters are put into buckets in
reverse order, and a bucket's sum begins when its last gradient is complete. All ranks begin
their buckets in one order, as MPI asks: a bucket waits for those before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine import Node
from ..kinds import Array
from ..nn.module import Parameter
from . import checks

#: MPI sums no float16, and the sum of many is better in float32.
SUMMED_IN = {np.dtype(np.float16): np.dtype(np.float32)}


class Bucket:
    """Gradients that are sent together, and after them one number each: how many ranks have it."""

    def __init__(self, parameters: Sequence[Parameter], dtype: np.dtype[Any]) -> None:
        ends = np.cumsum([0, *(parameter.size for parameter in parameters)])
        self.numbers = np.zeros(ends[-1] + len(parameters) + 1, dtype)
        self.counts = self.numbers[ends[-1] : -1]
        self.failed = self.numbers[-1:]  # how many ranks have failed in this step
        self.parts = {
            parameter: self.numbers[start:end].reshape(parameter.shape)
            for parameter, start, end in zip(parameters, ends[:-1], ends[1:], strict=True)
        }
        self.missing = 0
        self.request: Any = None

    def put(self, i: int, parameter: Parameter, gradient: Array) -> None:
        """Take the gradient of the i-th parameter."""
        self.parts[parameter][...] = gradient
        self.counts[i] = 1
        self.missing -= 1


class Exchange:
    """The sums of one backward pass; used again in the next one."""

    def __init__(self, comm: Any, parameters: Sequence[Parameter], bucket_bytes: int) -> None:
        self.comm = comm
        self.parameters = list(parameters)
        self.buckets: list[Bucket] = []
        self.places: dict[Node, tuple[int, int]] = {}  # a parameter's bucket, and its number there
        group: list[Parameter] = []
        for parameter in reversed(self.parameters):
            dtype = self.dtype_of(parameter)
            if group and (
                dtype != self.dtype_of(group[-1])
                or sum(p.size for p in [*group, parameter]) * dtype.itemsize > bucket_bytes
            ):
                self.add(group)
                group = []
            group.append(parameter)
        self.add(group)

    @staticmethod
    def dtype_of(parameter: Parameter) -> np.dtype[Any]:
        """Return the dtype in which a parameter's gradients are summed."""
        dtype: np.dtype[Any] = parameter.dtype
        return SUMMED_IN.get(dtype, dtype)

    def add(self, group: list[Parameter]) -> None:
        """Make a bucket; the last has at least the count of the failed."""
        for i, parameter in enumerate(group):
            self.places[parameter] = (len(self.buckets), i)
        dtype = self.dtype_of(group[-1]) if group else np.dtype(np.float32)
        self.buckets.append(Bucket(group, dtype))

    def __enter__(self) -> Exchange:
        for bucket in self.buckets:
            bucket.numbers[...] = 0
            bucket.missing = len(bucket.parts)
        self.begun = 0
        return self

    def take(self, node: Node, cotangent: Array) -> None:
        """Observe that the backward pass has completed a cotangent; send a bucket that is full."""
        if node in self.places:
            k, i = self.places[node]
            self.buckets[k].put(i, node, cotangent)  # type: ignore[arg-type]
            while self.begun < len(self.buckets) - 1 and not self.buckets[self.begun].missing:
                self.begin()
        elif self.begun:
            self.buckets[self.begun - 1].request.Test()  # MPI works only while it is called

    def begin(self) -> None:
        """Begin the sum of the next bucket."""
        bucket = self.buckets[self.begun]
        mpi = checks.import_mpi()
        bucket.request = self.comm.Iallreduce(mpi.IN_PLACE, bucket.numbers, op=mpi.SUM)
        self.begun += 1

    def __exit__(self, exception: Any, *details: Any) -> None:
        """Send what has no gradient here, and whether this rank has failed; wait for all sums."""
        self.buckets[-1].failed[...] = exception is not None
        while self.begun < len(self.buckets):
            self.begin()
        for bucket in self.buckets:
            bucket.request.Wait()
        if exception is None:
            checks.check_none_failed(int(self.buckets[-1].failed[0].real))

    def gradients(self) -> dict[Node, Array]:
        """Return the sum for each parameter that has a gradient on any rank."""
        return {
            parameter: part.astype(parameter.dtype)
            for bucket in self.buckets
            for (parameter, part), count in zip(bucket.parts.items(), bucket.counts, strict=True)
            if count
        }
