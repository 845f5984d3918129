"""The refusals of distributed training: what ranks disagree about, and runs that would hang."""

from __future__ import annotations

import atexit
import functools
import operator
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..kinds import Array
from ..nn.module import Module
from ..tensor import Tensor
from ..traced import is_traced

#: How launchers tell a process how many they have started.
LAUNCHERS = {
    "OMPI_COMM_WORLD_SIZE": "Open MPI's mpiexec",
    "PMI_SIZE": "MPICH's or Intel MPI's mpiexec",
    "MV2_COMM_WORLD_SIZE": "MVAPICH's mpiexec",
    "SLURM_STEP_NUM_TASKS": "Slurm's srun",
    "WORLD_SIZE": "torchrun",
}


@functools.cache
def import_mpi() -> Any:
    """Return mpi4py's module, or say how to get it."""
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise ImportError(
            "microgrand.distributed needs mpi4py: pip install 'microgrand[mpi]' installs it and an "
            "MPI; on a cluster, pip install mpi4py uses the cluster's own"
        ) from error
    except RuntimeError as error:  # there is no library to load
        raise ImportError(
            f"mpi4py finds no MPI ({error}): pip install mpich, or load the cluster's module"
        ) from error
    return MPI


def check_launcher(size: int) -> None:
    """Raise if this process is one of several, and MPI does not know."""
    if size > 1:
        return
    for variable, launcher in LAUNCHERS.items():
        started = os.environ.get(variable, "1")
        if started.isdigit() and int(started) > 1:
            library = import_mpi().Get_library_version().split("\n")[0].strip(" \0")
            raise RuntimeError(
                f"{launcher} has started {started} processes ({variable}={started}), but to "
                f"mpi4py, which uses {library}, each of them is alone. Start them by the mpiexec "
                "of that library: the one that pip install mpich puts beside python. To run alone "
                f"on purpose, unset {variable}"
            )


def check_model(model: Any) -> None:
    """Raise if it is not a module that learns."""
    if not isinstance(model, Module):
        raise TypeError(f"expected a Module, got {type(model).__name__}")
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if not isinstance(tensor.data, np.ndarray):
            raise TypeError(
                f"{name} is an array of {type(tensor.data).__module__.split('.')[0]}; the ranks "
                "exchange NumPy's arrays only, so the model must be on the host"
            )
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError(
            "the model has no parameter that requires a gradient, so there is nothing to learn"
        )


def at_least_one(name: str, value: Any) -> int:
    """Return a count."""
    try:
        count = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is an integer from 1, got {value!r}") from None
    if count < 1:
        raise ValueError(f"{name} is an integer from 1, got {value}")
    return count


# --------------------------------------------------------------------------- ends that all see

#: The tag of the message by which a rank tells the others that it has ended.
ENDED = 1729
#: How long a message of a rank may take that has ended since, and how often one looks for the end.
GRACE, EVERY = 3.0, 0.05
#: What will never be complete, and yet must not be freed.
unfinished: list[Any] = []


def abort_on_errors() -> None:
    """End all processes when this one ends by an exception: else they wait for it for ever."""
    try:
        comm = import_mpi().COMM_WORLD
    except ImportError:  # raised again where MPI is needed
        return
    show = sys.excepthook

    def show_and_abort(*error: Any) -> None:
        show(*error)
        abort(comm)

    if comm.Get_size() > 1:
        sys.excepthook = show_and_abort
        atexit.register(say_that_it_ends, comm)


def abort(comm: Any) -> None:
    """End all processes, after what was printed has been written."""
    sys.stdout.flush()
    sys.stderr.flush()
    time.sleep(1)  # the launcher passes on what was printed, unless it ends first
    comm.Abort(1)


def say_that_it_ends(comm: Any) -> None:
    """Tell the other ranks that this one takes part in nothing any more, and hear it from them.

    A message that nobody has received when MPI ends may kill the process. A rank that goes on, or
    sends none, is waited for no longer than `GRACE`.
    """
    if import_mpi().Is_finalized():
        return
    others = [rank for rank in range(comm.Get_size()) if rank != comm.Get_rank()]
    unfinished.extend([comm.Isend(np.zeros(0), dest=rank, tag=ENDED) for rank in others])
    latest = time.monotonic() + GRACE
    while others and time.monotonic() < latest:
        for rank in [rank for rank in others if comm.Iprobe(source=rank, tag=ENDED)]:
            comm.Recv(np.zeros(0), source=rank, tag=ENDED)
            others.remove(rank)
        time.sleep(0.001)


def wait(comm: Any, request: Any, buffers: Any, doing: str) -> None:
    """Wait for what all ranks take part in; raise if one of them has ended instead."""
    looked, gone = time.monotonic(), None
    while not request.Test():
        now = time.monotonic()
        if gone is not None:
            if now > looked + GRACE:
                unfinished.append((request, buffers))
                raise RuntimeError(
                    f"rank {gone} has ended, and rank {comm.Get_rank()} {doing}: all ranks must "
                    "make the same objects and the same number of steps. Share each batch by "
                    "shard(), or give all ranks equally many batches"
                )
        elif now > looked + EVERY:
            looked, gone = now, rank_that_has_ended(comm)


def rank_that_has_ended(comm: Any) -> int | None:
    """Return a rank of this communicator that has told that it has ended."""
    mpi = import_mpi()
    world, group = mpi.COMM_WORLD, comm.Get_group()
    ranks = list(range(comm.Get_size()))
    for rank, name in zip(ranks, group.Translate_ranks(ranks, world.Get_group()), strict=True):
        if name != world.Get_rank() and world.Iprobe(source=name, tag=ENDED):
            return rank
    return None


# ------------------------------------------------------------------------- what ranks agree about


def check_models_agree(layouts: Sequence[Sequence[Any]]) -> None:
    """Raise if ranks have parameters or buffers of other names, shapes or dtypes."""
    for rank, layout in enumerate(layouts):
        if layout != layouts[0]:
            first = next(
                ((a, b) for a, b in zip(layouts[0], layout, strict=False) if a != b),
                (f"{len(layouts[0])} tensors", f"{len(layout)} tensors"),
            )
            raise RuntimeError(
                f"the ranks have different models: rank 0 has {first[0]}, rank {rank} has "
                f"{first[1]}. All must make the same model"
            )


def check_heads_agree(heads: Array) -> None:
    """Raise if the ranks do not all take the same step, or one was given something else."""
    steps, batches, which, failed, examples = heads[:, :5].T
    check_none_failed(int(np.sum(failed)))
    if np.any(steps != steps[0]):
        raise RuntimeError(
            f"the ranks are in different steps: {steps.astype(int).tolist()}. One of them has "
            "called backward() more often than others"
        )
    for values, message in (
        (
            batches,
            "the batches given to shard() differ. All ranks must hold the same batch: shuffle "
            "with a generator of one seed, from which dropout draws nothing",
        ),
        (which, "different parameters require a gradient"),
    ):
        if np.any(values != values[0]):
            other = int(np.argmax(values != values[0]))
            raise RuntimeError(f"ranks 0 and {other} disagree: {message}")
    if not np.sum(examples):
        raise ValueError("no rank has an example in this batch, so there is no mean loss")


def check_parameters_agree(checksums: Sequence[Mapping[str, int]], step: int) -> None:
    """Raise if parameters differ by a bit."""
    for rank, own in enumerate(checksums):
        different = [name for name, value in own.items() if value != checksums[0].get(name)]
        if different:
            raise RuntimeError(
                f"before step {step}, {', '.join(different[:3])}"
                f"{' and others' if len(different) > 3 else ''} of rank {rank} "
                f"{'differs' if len(different) == 1 else 'differ'} from rank 0's: something "
                "changes parameters on one rank only. Make the same optimizer with the same "
                "settings on all ranks, and change nothing by hand"
            )


def check_none_failed(failed: int) -> None:
    """Raise if the step has failed on other ranks."""
    if failed:
        raise RuntimeError(
            f"{failed} other {'rank has' if failed == 1 else 'ranks have'} failed in this step; "
            "no gradient has changed here"
        )


# --------------------------------------------------------------------------- what a step is given


def common_length(arrays: Sequence[Any]) -> int:
    """Return the length of the arrays of a batch."""
    if not arrays:
        raise TypeError("shard() takes the arrays of a batch, got none")
    lengths = [len(array) for array in arrays]
    if len(set(lengths)) > 1:
        raise ValueError(f"the arrays of a batch have one length, got {lengths}")
    return lengths[0]


def number_of_examples(examples: Any) -> int:
    """Return of how many examples a loss is the mean."""
    try:
        count = operator.index(examples)
    except TypeError:
        raise TypeError(f"examples is a number, such as len(labels), got {examples!r}") from None
    if count < 0:
        raise ValueError(f"examples must be at least 0, got {count}")
    return count


def check_loss(loss: Any, examples: int) -> None:
    """Raise if it is not a scalar loss, unless there are no examples."""
    if examples == 0:
        return
    if not isinstance(loss, Tensor):
        raise TypeError(
            f"loss must be a tensor, the mean loss of {examples} examples, got "
            f"{type(loss).__name__}"
        )
    if loss.size != 1:
        raise ValueError(f"loss must be a scalar, a mean, got a tensor of shape {loss.shape}")
    if is_traced(loss._array):
        raise TypeError(
            "a compiled function cannot exchange gradients with other processes: run the step that "
            "calls DistributedDataParallel's backward() without compile"
        )


def check_only_parameters(found: Iterable[Any], parameters: Sequence[Any]) -> None:
    """Raise if a loss depends on leaves whose gradients the ranks do not exchange."""
    known = set(parameters)
    for node in found:
        if node.primitive is None and node not in known:
            raise ValueError(
                f"the loss depends on a leaf of shape {node.shape} that requires a gradient and is "
                "no parameter of the model, so the ranks would not share its gradient: make it a "
                "Parameter of the model, or detach() it"
            )
