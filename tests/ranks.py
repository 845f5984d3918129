"""What test_distributed.py lets several processes do: ``mpiexec -n 2 python ranks.py NAME ...``.

Each function is one check, run by all ranks. A check that fails raises, which ends all ranks.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from mpi4py import MPI

from microgrand import (
    Tensor,
    checkpoint,
    compile,
    defvjp,
    manual_seed,
    nn,
    no_grad,
    optim,
    primitive,
)
from microgrand.distributed import DistributedDataParallel
from microgrand.nn.functional import cross_entropy

COMM = MPI.COMM_WORLD
RANK, SIZE = COMM.rank, COMM.size


@contextmanager
def raises(kind: type[Exception] | tuple[type[Exception], ...], *words: str) -> Iterator[None]:
    """Ask for an error whose message has the words."""
    try:
        yield
    except kind as error:
        message = str(error)
    else:
        raise AssertionError(f"{kind} was not raised")
    assert all(word in message for word in words), message


def make_net(dtype=np.float64, seed=0, p=0.0):
    manual_seed(seed)
    return nn.Sequential(
        nn.Linear(3, 5, dtype=dtype), nn.ReLU(), nn.Dropout(p), nn.Linear(5, 4, dtype=dtype)
    )


def make_batches(lengths, dtype=np.float64):
    rng = np.random.default_rng(7)
    return [(rng.normal(size=(n, 3)).astype(dtype), rng.integers(4, size=n)) for n in lengths]


def states(net):
    return np.concatenate([value.ravel() for value in net.state_dict().values()])


# ------------------------------------------------------------------------------------- checks


def ranks_do_what_one_process_does():
    """Unequal parts, empty ones, several optimizers' steps, every size of bucket."""
    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 2e-5), (np.float16, 2e-2)):
        for bucket_bytes in (1, 100, 1 << 20):
            alone, shared = make_net(dtype), make_net(dtype, seed=RANK)
            ddp = DistributedDataParallel(shared, bucket_bytes=bucket_bytes, check_every=2)
            steps = [optim.Adam(net.parameters(), lr=0.01, eps=1e-3) for net in (alone, shared)]
            for x, y in make_batches([8, 7, 1, 5], dtype):
                steps[0].zero_grad()
                steps[1].zero_grad()
                one = cross_entropy(alone(x), y)
                one.backward()
                x, y = ddp.shard(x, y)
                loss = ddp.backward(
                    cross_entropy(shared(x), y) if len(y) else None, examples=len(y)
                )
                assert isinstance(loss, float)
                np.testing.assert_allclose(loss, one.item(), rtol=tolerance, atol=tolerance)
                for a, b in zip(alone.parameters(), shared.parameters(), strict=True):
                    assert b.grad.dtype == dtype
                    np.testing.assert_allclose(b.grad, a.grad, rtol=tolerance, atol=tolerance)
                for optimizer in steps:
                    optimizer.step()
            np.testing.assert_allclose(states(shared), states(alone), rtol=0, atol=10 * tolerance)
            everywhere = COMM.allgather(states(shared).tobytes())
            assert len(set(everywhere)) == 1


def ignored_labels_are_weighted():
    alone, shared = make_net(), make_net()
    ddp = DistributedDataParallel(shared)
    ((x, y),) = make_batches([9])
    kept = np.arange(9) % 4 != 0  # rank 0 has more of the ignored
    cross_entropy(alone(x[kept]), y[kept]).backward()
    x, y, kept = ddp.shard(x, y, kept)
    ddp.backward(cross_entropy(shared(x[kept]), y[kept]), examples=kept.sum())
    for a, b in zip(alone.parameters(), shared.parameters(), strict=True):
        np.testing.assert_allclose(b.grad, a.grad, rtol=1e-12)


def gradients_accumulate_and_may_be_missing():
    """A parameter that only one rank uses has a gradient everywhere; an unused one has none."""
    net = make_net()
    net.spare, net.unused = nn.Parameter(np.ones(2)), nn.Parameter(np.ones(2))
    ddp = DistributedDataParallel(net, bucket_bytes=1)
    for times in (1, 2):
        loss = net.spare.sum() if RANK == 0 else net(np.ones((1, 3))).sum()
        ddp.backward(loss, examples=1)
        np.testing.assert_allclose(net.spare.grad, times / SIZE)
        assert net.unused.grad is None
    net.spare.requires_grad = False
    net.spare.grad = None
    ddp.backward(net(np.ones((1, 3))).sum() + net.spare.sum(), examples=1)
    assert net.spare.grad is None
    net.spare.requires_grad, net.unused.requires_grad = True, False  # as many as before
    ddp.backward(net.spare.sum(), examples=1)
    net.spare.requires_grad, net.unused.requires_grad = False, True
    ddp.backward(net.unused.sum(), examples=1)
    np.testing.assert_allclose(net.unused.grad, 1)


def masks_follow_from_one_seed():
    """Each rank draws its own, the same in each run; rank 0 goes on as without this."""
    runs = []
    for _ in range(2):
        net = make_net(seed=RANK, p=0.5)
        own = np.random.default_rng(5)
        net.own = nn.Dropout(0.5, rng=own)
        DistributedDataParallel(net)
        net.own(np.ones(64))
        net(np.ones((64, 3)))
        runs.append([net.own.mask.tobytes(), list(net.modules())[3].mask.tobytes()])
    assert runs[0] == runs[1]
    for masks in zip(*COMM.allgather(runs[0]), strict=True):
        assert len(set(masks)) == SIZE
    alone = make_net(p=0.5)
    alone(np.ones((64, 3)))
    assert RANK or list(alone.modules())[3].mask.tobytes() == runs[0][1]


def disagreements_are_told():
    with raises(RuntimeError, "different models", "weight"):
        DistributedDataParallel(nn.Linear(2 + RANK, 3))
    net = make_net()
    ddp = DistributedDataParallel(net, check_every=1)
    ((x, y),) = make_batches([8])
    before = states(net)

    def step():
        parts = ddp.shard(x, y)
        return ddp.backward(cross_entropy(net(parts[0]), parts[1]), examples=len(parts[1]))

    with raises(RuntimeError, "batches", "one seed"):
        ddp.shard(x[::-1] if RANK == 1 else x, y)
        ddp.backward(net(x).sum(), examples=1)
    if RANK == 1:
        next(net.parameters()).requires_grad = False
    with raises(RuntimeError, "require a gradient"):
        step()
    next(net.parameters()).requires_grad = True
    if RANK == 1:
        next(net.parameters()).data[0, 0] += 1e-9
    with raises(RuntimeError, "0.weight", "rank 1"):
        step()
    ddp.broadcast()
    with raises(ValueError, "no rank has an example"):
        ddp.backward(None, examples=0)
    ddp.steps += RANK
    with raises(RuntimeError, "different steps"):
        step()
    ddp.steps = 0
    assert all(p.grad is None for p in net.parameters())
    step()
    assert np.array_equal(states(net), before)


@primitive
def fragile(x):
    return x * 1.0


def fragile_vjp(g, out, x):
    if RANK == 1:
        raise ArithmeticError("broken on rank 1")
    return g


defvjp(fragile, fragile_vjp)


def a_failure_is_all_or_nothing():
    """In the middle of the backward pass of one rank; afterwards, all go on."""
    net = make_net()
    ddp = DistributedDataParallel(net, bucket_bytes=1)
    x = Tensor(np.ones((1, 3)))
    hidden = list(net.modules())[1](x)
    loss = list(net.modules())[4](fragile(hidden)).sum()
    kind, words = (ArithmeticError, "broken") if RANK == 1 else (RuntimeError, "1 other rank has")
    with raises(kind, words):
        ddp.backward(loss, examples=1)
    assert all(p.grad is None for p in net.parameters())
    stranger = Tensor(np.ones(()), requires_grad=True)
    kind, words = (RuntimeError, "1 other") if RANK else (ValueError, "no parameter of the model")
    with raises(kind, words):
        ddp.backward(net(x).sum() * (stranger if RANK == 0 else 1.0), examples=1)
    assert all(p.grad is None for p in net.parameters())
    ddp.backward(net(x).sum(), examples=1)
    assert all(p.grad is not None for p in net.parameters())


def misuse_is_refused():
    with raises(TypeError, "Module"):
        DistributedDataParallel(3)
    with raises(ValueError, "nothing to learn"):
        DistributedDataParallel(nn.ReLU())
    net = make_net()
    with raises(TypeError, "bucket_bytes", "1.5"):
        DistributedDataParallel(net, bucket_bytes=1.5)
    with raises(ValueError, "check_every"):
        DistributedDataParallel(net, check_every=0)
    ddp = DistributedDataParallel(net)
    with raises(ValueError, "one length", "[2, 3]"):
        ddp.shard(np.ones(2), np.ones(3))
    loss = net(np.ones((2, 3)))
    with raises(ValueError, "scalar", "(2, 4)"):
        ddp.backward(loss, examples=2)
    with raises(TypeError, "float"):
        ddp.backward(1.0, examples=2)
    with raises(TypeError, "len(labels)"):
        ddp.backward(loss.sum(), examples=0.5)
    with raises(RuntimeError, "without a graph"):
        with no_grad():
            loss = net(np.ones((2, 3))).sum()
        ddp.backward(loss, examples=1)
    compiled = compile(lambda x: ddp.backward(net(x).sum(), examples=1))
    with raises(TypeError, "compiled function"):
        compiled(np.ones((2, 3)))
        compiled(np.ones((2, 3)))


def buffers_are_rank_0s():
    class Center(nn.Module):
        def __init__(self):
            self.weight, self.mean = nn.Parameter(np.ones(2)), nn.Buffer(np.full(2, float(RANK)))

        def forward(self, x):
            self.mean.data = 0.5 * self.mean.data + 0.5 * x.mean(axis=0)
            return (x - self.mean) * self.weight

    net = Center()
    ddp = DistributedDataParallel(net)
    assert np.array_equal(net.mean.data, [0, 0])
    ddp.backward(net(np.full((1, 2), 1.0 + RANK)).sum(), examples=1)
    assert np.array_equal(net.mean.data, [0.5, 0.5])


def a_checkpoint_is_resumed_by_as_many_ranks_and_by_others():
    """Rank 0 saves after two steps of four; then all ranks go on together, and each alone."""
    batches = make_batches([8, 7, 6, 5])

    def new(p):
        net = make_net(seed=3 + RANK, p=p)
        return net, optim.Adam(net.parameters(), lr=0.05)

    def train(net, optimizer, batches, comm):
        ddp = DistributedDataParallel(net, comm=comm)
        for x, y in batches:
            optimizer.zero_grad()
            x, y = ddp.shard(x, y)
            ddp.backward(cross_entropy(net(x), y), examples=len(y))
            optimizer.step()
        return states(net), list(net.modules())[3].mask

    with tempfile.TemporaryDirectory() as folder:
        path = Path(COMM.bcast(folder)) / "half.npz"
        for p in (0.0, 0.5):
            net, optimizer = new(p)
            train(net, optimizer, batches[:2], COMM)
            if RANK == 0:
                checkpoint.save(path, model=net, optimizer=optimizer)
            COMM.Barrier()
            expected, mask = train(net, optimizer, batches[2:], COMM)
            for comm in (COMM, COMM.Split(RANK)):
                net, optimizer = new(p)
                checkpoint.load(path, model=net, optimizer=optimizer)
                found, resumed_mask = train(net, optimizer, batches[2:], comm)
                if p == 0:
                    tolerance = 0 if comm is COMM else 1e-12
                    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
                elif comm is COMM and RANK == 0:
                    np.testing.assert_array_equal(resumed_mask, mask)
        COMM.Barrier()


def a_loss_that_is_none_fails_on_all_ranks():
    net = make_net()
    ddp = DistributedDataParallel(net)
    for number in range(2):
        loss = net(np.ones((2, 3)))
        with raises((ValueError, RuntimeError), "scalar" if RANK == SIZE - 1 else "failed"):
            ddp.backward(loss if RANK == SIZE - 1 else loss.sum(), examples=2)
        assert all(p.grad is None for p in net.parameters()), number
    ddp.backward(net(np.ones((2, 3))).sum(), examples=2)


def generators_in_lists_diverge():
    net = make_net()
    net.own = [np.random.default_rng(1)]
    DistributedDataParallel(net)
    assert len(set(COMM.allgather(net.own[0].integers(2**60)))) == SIZE


# ------------------------------------------------------------------- what must end all of them


def one_rank_raises():
    ddp = DistributedDataParallel(make_net())
    if RANK == 1:
        raise LookupError("this rank is lost")
    ddp.backward(ddp.model(np.ones((1, 3))).sum(), examples=1)


def one_rank_leaves_early():
    ddp = DistributedDataParallel(make_net())
    for _ in range(3 if RANK else 5):
        ddp.backward(ddp.model(np.ones((1, 3))).sum(), examples=1)


def one_rank_exits():
    ddp = DistributedDataParallel(make_net())
    if RANK == 1:
        sys.exit(0)
    ddp.backward(ddp.model(np.ones((1, 3))).sum(), examples=1)


def one_rank_makes_nothing():
    if RANK == 1:
        sys.exit("no data on this rank")
    DistributedDataParallel(make_net())


def one_rank_ends_with_two_models():
    first, _ = DistributedDataParallel(make_net()), DistributedDataParallel(make_net())
    if RANK == 1:
        sys.exit(0)
    first.backward(first.model(np.ones((1, 3))).sum(), examples=1)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        globals()[name]()
    if RANK == 0:
        print("done")
