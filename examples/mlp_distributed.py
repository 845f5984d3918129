"""One net trained by several processes: the loss is that of one process, and the time is less.

    python examples/mlp_distributed.py
    mpiexec -n 2 python examples/mlp_distributed.py     # pip install ".[mpi]" brings mpiexec, too

Every process holds the whole data set and runs this whole program. Three lines, which are marked,
differ from a program for one process. Without dropout, the last line printed is the same, up to
rounding, for any number of processes. With ``--p 0.5`` it is not: each process draws its own masks.
"""

import argparse
import os
import time

# One thread for each process, so that they share the processors rather than fight for them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from shared import DATA_HELP, load

from microgrand import manual_seed, nn
from microgrand.data import batches
from microgrand.distributed import DistributedDataParallel
from microgrand.nn.functional import cross_entropy
from microgrand.optim import SGD


def main(argv=None):
    """Train, and let rank 0 print the losses and the throughput."""
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--data", default="digits", help=DATA_HELP)
    parser.add_argument("--epochs", type=int, default=5, help="passes over the images")
    parser.add_argument(
        "--batch-size", type=int, default=256, help="images of a step, over all processes"
    )
    parser.add_argument(
        "--width", type=int, default=512, help="units of each of the two hidden layers"
    )
    parser.add_argument("--p", type=float, default=0.0, help="probability of dropping a unit")
    options = parser.parse_args(argv)
    if not 0 <= options.p <= 1:
        parser.error(f"--p is a probability, from 0 to 1, got {options.p}")
    for count in ("epochs", "batch_size", "width"):
        if getattr(options, count) < 1:
            option = count.replace("_", "-")
            parser.error(f"--{option} is at least 1, got {getattr(options, count)}")
    try:
        name, (images, labels), _ = load(options.data)
    except (OSError, ValueError) as error:
        parser.error(f"--data: {error}")

    manual_seed(0)
    width, classes = options.width, int(labels.max()) + 1
    net = nn.Sequential(
        nn.Linear(images.shape[1], width),
        nn.ReLU(),
        nn.Dropout(options.p),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Dropout(options.p),
        nn.Linear(width, classes),
    )
    ddp = DistributedDataParallel(net)  # (1) all ranks have the parameters of rank 0
    optimizer = SGD(net.parameters(), lr=0.1, momentum=0.9)
    order = np.random.default_rng(1)  # one seed: all ranks see the same batches
    if ddp.rank == 0:
        print(f"{ddp.size} process{'es' if ddp.size > 1 else ''}, {len(labels)} images of {name}")
    for epoch in range(1, options.epochs + 1):
        start, total = time.perf_counter(), 0.0
        for x, y in batches(images, labels, batch_size=options.batch_size, rng=order):
            n = len(y)
            x, y = ddp.shard(x, y)  # (2) this rank's part of the batch
            optimizer.zero_grad()
            loss = ddp.backward(cross_entropy(net(x), y), examples=len(y))  # (3) for backward()
            optimizer.step()
            total += n * loss
        seconds = time.perf_counter() - start
        if ddp.rank == 0:
            print(
                f"epoch {epoch}: loss {total / len(labels):.6f}, "
                f"{len(labels) / seconds:,.0f} images a second"
            )


if __name__ == "__main__":
    main()
