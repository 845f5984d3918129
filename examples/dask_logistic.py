"""Logistic regression on data four times as large as the memory it may use.

The data never exist all at once. The worker of a local cluster draws each chunk from its own seed
when it is needed, uses it forward and backward, and drops it. The gradient is microgrand's,
the minimiser SciPy's L-BFGS, and nothing in the loss says that its arrays are Dask's.

    pip install ".[dask]"
    python examples/dask_logistic.py
"""

import argparse
import logging
import resource
import sys
import time

import numpy as np

from microgrand import Tensor

try:
    import dask
    import dask.array as da
    from dask.distributed import Client, LocalCluster
    from scipy.optimize import minimize
except ImportError as error:
    sys.exit(f'This example needs Dask and SciPy ({error}): pip install ".[dask]" in a clone')

MIB = 2**20
CHUNK = 16 * MIB  # the memory of a chunk, of which a few copies exist at a time
#: A worker that needs too much memory fails with an error; it neither waits nor uses the disk.
STRICT = {f"distributed.worker.memory.{name}": False for name in ("target", "spill", "pause")}


def draw(seeds, rows, weights):
    """Draw a chunk: features from -1 to 1, and labels 0 and 1 from the true model, as a column."""
    rng = np.random.default_rng(seeds.item())
    x = 2 * rng.random((rows, len(weights)), np.float32) - 1
    labels = rng.random(rows, np.float32) * (1 + np.exp(-x @ weights)) < 1
    return np.concatenate([x, labels[:, None]], 1, dtype=np.float32)


def make_data(chunks, rows, weights):
    """Describe data of `chunks` chunks; nothing is drawn yet."""
    seeds = da.arange(chunks, chunks=1)[:, None]
    data = seeds.map_blocks(
        draw, rows, weights, chunks=((rows,) * chunks, (len(weights) + 1,)), dtype=np.float32
    )
    return data[:, :-1], data[:, -1]


def loss_of(weight, x, y):
    """Return the mean negative log-likelihood."""
    z = x @ weight
    return np.mean(np.logaddexp(0, z) - y * z)


def value_and_gradient(weight, x, y):
    """Return both as numbers, from one pass over the data."""
    tensor = Tensor(da.from_array(weight.astype(np.float32), chunks=-1), requires_grad=True)
    loss = loss_of(tensor, x, y)
    loss.backward()  # describes the gradient; still nothing is computed
    value, gradient = dask.compute(loss.data, tensor.grad)
    return float(value), gradient.astype(float)


def peak_memory():
    """Return the most memory that this process has held, in MiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB


def main(argv=None):
    """Fit the model; print what it took."""
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--threads", type=int, default=2, help="threads of the worker")
    parser.add_argument("--memory", type=int, default=384, help="memory of the worker, in MiB")
    parser.add_argument("--features", type=int, default=63, help="features of an example")
    parser.add_argument(
        "--times",
        type=float,
        default=4.0,
        help="how many times larger than that memory the data are",
    )
    options = parser.parse_args(argv)

    rows = CHUNK // (4 * (options.features + 1))
    chunks = int(np.ceil(options.times * options.memory * MIB / CHUNK))
    truth = np.random.default_rng(0).normal(size=options.features)
    truth = (4 * truth / np.sqrt(options.features)).astype(np.float32)
    print(
        f"data: {chunks * rows:,} rows, {chunks * CHUNK // MIB} MiB; memory allowed: "
        f"{options.memory} MiB",
        flush=True,
    )
    start = time.perf_counter()
    with (
        dask.config.set(STRICT),
        LocalCluster(
            n_workers=1,
            threads_per_worker=options.threads,
            memory_limit=options.memory * MIB,
            dashboard_address=None,
            silence_logs=logging.ERROR,
        ) as cluster,
        Client(cluster) as client,
    ):
        x, y = make_data(chunks, rows, truth)
        fit = minimize(
            value_and_gradient,
            np.zeros(options.features),
            args=(x, y),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 6},
        )
        (peak,) = client.run(peak_memory).values()
    print(f"loss {fit.fun:.6f} after {fit.nfev} passes over the data, {fit.nit} steps")
    print(f"largest error of a weight: {np.max(np.abs(fit.x - truth)):.4f}")
    print(f"peak memory of the worker: {peak:.0f} MiB of {options.memory}")
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
