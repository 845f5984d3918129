"""Data-parallel training: every process runs the same step on its share of each batch.

The loss of a batch is the mean of its examples' losses, and a gradient is linear in the loss. If
rank ``r`` of several processes holds ``n_r`` of the batch's ``n`` examples, then

    loss = sum_r (n_r / n) loss_r,        grad = sum_r (n_r / n) grad_r.

So each rank begins its backward pass at the cotangent ``n_r / n`` rather than 1, and the sum of
what the ranks find is the gradient that one process would find on the whole batch. Every rank then
makes the same step, and the parameters stay the same everywhere.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import engine
from ..checkpoint import generators_in
from ..checks import check_backward_begins_here
from ..kinds import Array
from ..nn.module import Module
from ..random import default_generator, diverge
from ..tensor import Tensor, accumulate
from . import checks
from .exchange import Exchange


class DistributedDataParallel:
    """Let a model learn in several processes that share each batch.

    Every process runs the same program, with one model each. Making this object is collective: it
    gives the models of all ranks the parameters and buffers of rank 0. Then `shard` gives a rank
    its part of a batch, and `backward` takes the place of ``loss.backward()``.

    Parameters
    ----------
    model
        The module that learns; the same on all ranks.
    comm
        An mpi4py communicator; all processes of ``mpiexec`` by default.
    bucket_bytes
        Gradients are summed over the ranks in pieces of about this size, each as soon as the
        backward pass has completed it.
    check_every
        After how many steps it is checked that parameters have the same bits on all ranks.

    Attributes
    ----------
    rank, size
        The number of this process, from 0, and how many there are.

    Raises
    ------
    ImportError
        Without mpi4py or an MPI library.
    RuntimeError
        If the processes were started by the launcher of another MPI, and so would each be alone, or
        if their models differ.

    Notes
    -----
    Random numbers. The generators that dropout draws from, the library's and those of the model's
    modules, continue from the states of rank 0, but differently on each rank: all masks follow from
    one seed, and no two ranks draw the same. Rank 0 draws as it would without this object. The
    generator that shuffles the examples must be a different one, with one seed on all ranks.

    Batch normalisation normalises each rank's part by its own mean and variance, as in PyTorch, so
    its loss is not that of one process. All buffers of floats become those of rank 0 after each
    `backward`.

    Errors. An uncaught exception ends all ranks, with its traceback; otherwise the others would
    wait forever. A process that ends before the others ends them with an error, too.

    Saving. All ranks hold the same state, so one saves: ``if ddp.rank == 0: ...``. Load it on all
    ranks, however many, before this object is made. Without dropout, the same number of ranks
    continues with the same bits. With it, only rank 0 continues its sequence of masks; the others
    start new ones from its generators.

    Examples
    --------
    Three lines are added to a program, and ``mpiexec -n 2 python train.py`` runs it:

    .. code-block:: python

        ddp = DistributedDataParallel(model)
        for images, labels in batches(*data, batch_size=64, rng=np.random.default_rng(0)):
            images, labels = ddp.shard(images, labels)
            optimizer.zero_grad()
            loss = ddp.backward(cross_entropy(model(images), labels), examples=len(labels))
            optimizer.step()

    References
    ----------
    Li et al., "PyTorch Distributed: Experiences on Accelerating Data Parallel Training",
    VLDB 2020: buckets, and their exchange while the backward pass is running.
    """

    def __init__(
        self,
        model: Module,
        *,
        comm: Any = None,
        bucket_bytes: int = 1 << 20,
        check_every: int = 100,
    ) -> None:
        checks.check_model(model)
        mpi = checks.import_mpi()
        if comm is None:
            comm = mpi.COMM_WORLD
            checks.check_launcher(comm.Get_size())
        # A copy, so that no message of the program is taken for one of ours.
        self.comm, request = comm.Idup()
        checks.wait(comm, request, self.comm, "makes a DistributedDataParallel")
        self.rank, self.size = self.comm.Get_rank(), self.comm.Get_size()
        self.bucket_bytes = checks.at_least_one("bucket_bytes", bucket_bytes)
        self.check_every = checks.at_least_one("check_every", check_every)
        self.model = model
        self.steps = 0
        self.batch_checksum = 0
        self.exchange: Exchange | None = None
        self.broadcast()

    # ---- the state of all ranks

    def broadcast(self) -> None:
        """Give all ranks the parameters and buffers of rank 0, and masks of their own.

        Called when the object is made; afterwards only if the model has been changed by hand.
        """
        tensors = [*self.model.named_parameters(), *self.model.named_buffers()]
        layout = [(name, tensor.shape, str(tensor.dtype)) for name, tensor in tensors]
        checks.check_models_agree(self.comm.allgather(layout))
        for _, tensor in tensors:
            self.send_from_rank_0(tensor)
        for number, rng in enumerate(self.generators()):
            rng.bit_generator.state = self.comm.bcast(rng.bit_generator.state)
            if self.rank > 0:
                diverge(rng, self.rank, number)

    def send_from_rank_0(self, tensor: Tensor) -> None:
        """Give all ranks a tensor of rank 0."""
        values = np.ascontiguousarray(tensor.data)
        self.comm.Bcast(values.reshape(-1).view(np.uint8))
        if self.rank > 0:
            tensor.version += 1  # as for any change in place: graphs have saved the values
            tensor.data[...] = values

    def generators(self) -> Iterator[np.random.Generator]:
        """Yield the library's generator and those of the modules, each once."""
        found = {id(default_generator): default_generator}
        found |= {id(rng): rng for _, rng in generators_in(self.model)}
        yield from found.values()

    # ---- one step

    def shard(self, *arrays: Array) -> Any:
        """Return this rank's part of each array of a batch, which all ranks hold.

        The parts do not overlap, and together they are the batch. Their lengths differ by at most
        one; if there are fewer examples than ranks, some are empty.

        Raises
        ------
        ValueError
            If the arrays differ in length.
        """
        length = checks.common_length(arrays)
        ends = [array[i : i + 1] for array in arrays for i in (0, length - 1)]
        self.batch_checksum = checksum(ends)
        start, stop = (rank * length // self.size for rank in (self.rank, self.rank + 1))
        parts = tuple(array[start:stop] for array in arrays)
        return parts[0] if len(parts) == 1 else parts

    def backward(self, loss: Tensor | None, *, examples: int) -> float:
        """Add the gradient of the whole batch's loss to the ``grad`` of every parameter.

        As ``loss.backward()``, it is all or nothing, here and on all ranks: if one fails, all raise
        an error, and no ``grad`` has changed.

        Parameters
        ----------
        loss
            The mean loss of this rank's examples, a scalar. With ``examples=0`` it is not looked
            at, and may be None.
        examples
            Of how many examples `loss` is the mean: the length of the part, less the labels that
            the loss ignores.

        Returns
        -------
        float
            The mean loss of the whole batch.

        Raises
        ------
        RuntimeError
            If the ranks disagree: about the step, the batch, which parameters learn, or, every
            `check_every` steps, the bits of the parameters; or if another rank has failed.
        ValueError
            If the loss is the mean of no example on any rank, or depends on leaves that are not
            parameters of the model.
        """
        try:
            examples = checks.number_of_examples(examples)
            checks.check_loss(loss, examples)
        except Exception:
            self.tell(failed=1)
            raise
        loss = loss if examples else None
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        total, sum_of_losses = self.agree(loss, examples)
        if self.steps % self.check_every == 0:
            self.check_parameters()
        # By identity: == compares the values.
        if self.exchange is None or [*map(id, self.exchange.parameters)] != [*map(id, parameters)]:
            self.exchange = Exchange(self.comm, parameters, self.bucket_bytes)
        retained = {}
        with self.exchange as exchange:  # whatever happens, the other ranks are answered
            if loss is not None:
                retained = self.differentiate(loss, examples / total, exchange)
        accumulate(retained | self.exchange.gradients())
        if loss is not None:
            engine.free(loss)
        for buffer in self.model.buffers():
            if buffer.dtype.kind in "fc":
                self.send_from_rank_0(buffer)
        self.steps += 1
        return float(sum_of_losses / total)

    def differentiate(
        self, loss: Tensor, share: float, exchange: Exchange
    ) -> dict[engine.Node, Array]:
        """Run the backward pass, and let the exchange see each cotangent when it is complete.

        Return the cotangents of computed values that `backward` stores, too.
        """
        check_backward_begins_here(loss, None)
        token = engine.observer.set(exchange.take)
        try:
            cotangent = np.array(share, loss.dtype, ndmin=loss.ndim)
            found = engine.backpropagate(loss, cotangent)
        finally:
            engine.observer.reset(token)
        checks.check_only_parameters(found, exchange.parameters)
        return {node: g for node, g in found.items() if node.retains_grad}

    def agree(self, loss: Tensor | None, examples: int) -> Array:
        """Tell all ranks of this step; return the sums of the examples and of their losses."""
        part = examples * loss.item() if loss is not None else 0.0
        heads = self.tell(examples=examples, part=part)
        checks.check_heads_agree(heads)
        sums: Array = np.add.reduce(heads[:, 4:])
        return sums

    def tell(self, failed: int = 0, examples: int = 0, part: float = 0.0) -> Array:
        """Tell all ranks what this one has in this step; return what each of them has."""
        which = checksum(np.array([p.requires_grad for p in self.model.parameters()]))
        own = np.array([self.steps, self.batch_checksum, which, failed, examples, part], float)
        heads = np.empty((self.size, len(own)))
        request = self.comm.Iallgather(own, heads)
        checks.wait(self.comm, request, (own, heads), f"makes step {self.steps}")
        self.batch_checksum = 0
        return heads

    def check_parameters(self) -> None:
        """Raise if parameters are not bitwise equal on all ranks."""
        sums = {name: checksum([p.data]) for name, p in self.model.named_parameters()}
        checks.check_parameters_agree(self.comm.allgather(sums), self.steps)


def checksum(arrays: Any) -> int:
    """Return a number of 32 bits that is the same for the same bytes."""
    total = 0
    for array in arrays:
        total = zlib.crc32(np.ascontiguousarray(array).tobytes(), total)
    return total
