"""What a second process brings: data-parallel steps against steps of independent copies.

    python -m tests.benchmarks.distributed

Each round runs, one after another, one process alone, two processes that share nothing, two that
exchange gradients in buckets while the backward pass goes on, and two that exchange all of them
after it. Then the time of sums of several sizes gives latency and bandwidth, and from these
follows, on paper, what many machines would do.
"""

import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

WIDTHS = (784, 1024, 1024, 10)
EXAMPLES = 256  # of each rank
VARIANTS = {
    "alone": (1, 0),
    "two copies": (2, 0),
    "two ranks, buckets": (2, 1 << 20),
    "two ranks, waiting": (2, 1 << 40),
}


def measure(bucket_bytes: int, steps: int) -> float:
    """Return the seconds of a step: of copies if `bucket_bytes` is 0, else of ranks."""
    from mpi4py import MPI

    from microgrand import manual_seed, nn
    from microgrand.distributed import DistributedDataParallel
    from microgrand.nn.functional import cross_entropy
    from microgrand.optim import SGD

    manual_seed(0)
    layers = []
    for inputs, outputs in itertools.pairwise(WIDTHS):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    net = nn.Sequential(*layers[:-1])
    ddp = DistributedDataParallel(net, bucket_bytes=bucket_bytes) if bucket_bytes else None
    optimizer = SGD(net.parameters(), lr=0.01)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(EXAMPLES, WIDTHS[0])).astype(np.float32)
    labels = rng.integers(WIDTHS[-1], size=EXAMPLES)
    times = []
    for _ in range(steps):
        MPI.COMM_WORLD.Barrier()
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = cross_entropy(net(images), labels)
        if ddp is None:
            loss.backward()
        else:
            ddp.backward(loss, examples=EXAMPLES)
        optimizer.step()
        MPI.COMM_WORLD.Barrier()  # the slower one counts
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


def time_of_sums() -> list[tuple[int, float]]:
    """Return the seconds that a sum over all ranks takes, for several sizes in bytes."""
    from mpi4py import MPI

    found = []
    for size in (1 << 10, 1 << 14, 1 << 18, 1 << 20, 1 << 22):
        buffer = np.ones(size // 4, np.float32)
        times = []
        for _ in range(30):
            MPI.COMM_WORLD.Barrier()
            start = time.perf_counter()
            MPI.COMM_WORLD.Iallreduce(MPI.IN_PLACE, buffer, MPI.SUM).Wait()
            times.append(time.perf_counter() - start)
        found.append((size, statistics.median(times)))
    return found


def mpiexec() -> str | None:
    """Find the program that starts processes: beside this Python's first, as pip puts it there."""
    folders = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return shutil.which("mpiexec", path=folders)


def launch(processes: int, *options: object) -> object:
    """Run this program by mpiexec; return what rank 0 prints."""
    command = [mpiexec(), "-n", str(processes)]
    command += [sys.executable, "-m", __spec__.name, *map(str, options)]
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, env=os.environ | threads, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def efficiency(ranks: int, step: float, size: float, latency: float, bandwidth: float) -> float:
    """Return the share of `ranks` times one process's throughput, without any overlap.

    A ring sends each byte twice around, less one part: ``2 (p - 1) / p * size / bandwidth``, in
    ``2 (p - 1)`` messages; a tree needs ``2 log2 p`` latencies. Libraries choose the better one.
    """
    moved = 2 * (ranks - 1) / ranks * size / bandwidth
    return step / (step + moved + 2 * np.log2(ranks) * latency)


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.distributed",
        description=__doc__.split("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns of each variant")
    parser.add_argument("--steps", type=int, default=12, help="of training in a turn")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rounds < 1 or options.steps < 3:
        parser.error("--rounds is at least 1, and --steps at least 3: the first two are no measure")
    if options.worker is not None:
        found = time_of_sums() if options.worker < 0 else measure(options.worker, options.steps)
        from mpi4py import MPI

        if MPI.COMM_WORLD.Get_rank() == 0:
            print(json.dumps(found))
        return
    if mpiexec() is None:
        parser.error('there is no mpiexec, which starts the processes: pip install ".[mpi]"')
    times: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(options.rounds):
        for name, (processes, bucket_bytes) in VARIANTS.items():
            step = launch(processes, "--worker", bucket_bytes, "--steps", options.steps)
            times[name].append(float(step))  # type: ignore[arg-type]
    copies = times["two copies"]
    print(f"{'-'.join(map(str, WIDTHS))}, {EXAMPLES} examples a rank, one thread each\n")
    print(f"{'':20}{'ms a step':>12}{'throughput of two copies':>28}")
    for name, own in times.items():
        processes = VARIANTS[name][0]
        share = statistics.median(c / t * processes / 2 for c, t in zip(copies, own, strict=True))
        print(f"{name:20}{1e3 * statistics.median(own):12.1f}{share:28.2f}")
    sums = launch(2, "--worker", -1)
    sizes, seconds = np.array(sums, float).T
    latency, per_byte = np.linalg.lstsq(
        np.stack([1 / seconds, sizes / seconds], axis=1), np.ones(len(sizes)), rcond=None
    )[0]
    print(f"\nA sum of two ranks here: {1e6 * latency:.0f} us, and {1e-9 / per_byte:.1f} GB/s.")
    size = 4 * sum((i + 1) * o for i, o in itertools.pairwise(WIDTHS))
    step = statistics.median(times["alone"])
    networks = {
        "this machine": (latency, 1 / per_byte),
        "10 Gb Ethernet, 30 us": (30e-6, 1.25e9),
        "100 Gb network, 2 us": (2e-6, 12.5e9),
    }
    print(
        f"\nOn paper, {size / 1e6:.1f} MB of gradients, nothing overlapped: efficiency of p ranks"
    )
    print(f"{'':24}" + "".join(f"{p:>8}" for p in (2, 8, 64, 1024)))
    for name, (delay, speed) in networks.items():
        cells = [f"{efficiency(p, step, size, delay, speed):8.2f}" for p in (2, 8, 64, 1024)]
        print(f"{name:24}" + "".join(cells))


if __name__ == "__main__":
    main()
