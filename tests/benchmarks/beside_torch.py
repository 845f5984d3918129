"""Compare layers with PyTorch's: ``python -m tests.benchmarks.beside_torch [part of a name ...]``.

The names are PyTorch's, so each net is written once, for either library. Each contender runs in a
process of its own, with one thread; they take turns, and the CPU time of their steps is compared.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np

ROUNDS = 9
#: How long the steps of one turn take, in seconds.
TURN = 0.15
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


# ------------------------------------------------------------------------------------ the nets


def of_layer(make, *shape, inputs=1):
    """Run a layer forward and backward, on inputs whose gradients are wanted, too."""

    def prepare(lib):
        layer, xs = make(lib), [lib.tensor(normal(*shape)) for _ in range(inputs)]
        g = None

        def step():
            nonlocal g
            out = layer(*xs)
            out = out[0] if isinstance(out, tuple) else out
            g = lib.constant(normal(*out.shape)) if g is None else g
            lib.forget(*xs, *(layer.parameters() if hasattr(layer, "parameters") else ()))
            out.backward(g)

        return step

    return prepare


def normal(*shape):
    """Draw numbers, the same for each contender."""
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def attention(lib):
    """Return causal attention as a function of queries, keys and values."""
    attend = lib.F.scaled_dot_product_attention
    return lambda q, k, v: attend(q, k, v, is_causal=True)


def multihead(lib):
    """Return the layer as a function of one input."""
    attention = lib.nn.MultiheadAttention(128, 4, batch_first=True)

    class OneInput(lib.nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = attention

        def forward(self, x):
            return self.attention(x, x, x, need_weights=False)

    return OneInput()


def embedding(lib):
    """Look words up."""
    layer = lib.nn.Embedding(30000, 64)
    words = lib.integers(np.random.default_rng(0).integers(0, 30000, 4096))
    g = lib.constant(normal(4096, 64))

    def step():
        lib.forget(layer.weight)
        layer(words).backward(g)

    return step


def gpt(dropout, backend=None):
    """Train a GPT of four layers, with 128 features, 4 heads, 64 tokens, in batches of 16.

    With a backend, microgrand compiles the step.
    """

    def prepare(lib):
        nn, functional = lib.nn, lib.F

        class Block(nn.Module):
            def __init__(self):
                super().__init__()
                self.norm1, self.norm2 = nn.LayerNorm(128), nn.LayerNorm(128)
                self.qkv, self.out = nn.Linear(128, 384), nn.Linear(128, 128)
                self.up, self.down = nn.Linear(128, 512), nn.Linear(512, 128)
                self.gelu, self.dropout = nn.GELU(), nn.Dropout(dropout)

            def forward(self, x):
                qkv = self.qkv(self.norm1(x)).reshape(16, 64, 3, 4, 32)
                q, k, v = (lib.swapaxes(qkv[:, :, i], 1, 2) for i in range(3))
                heads = functional.scaled_dot_product_attention(
                    q, k, v, dropout_p=dropout, is_causal=True
                )
                x = x + self.dropout(self.out(lib.swapaxes(heads, 1, 2).reshape(16, 64, 128)))
                return x + self.dropout(self.down(self.gelu(self.up(self.norm2(x)))))

        class GPT(nn.Module):
            def __init__(self):
                super().__init__()
                self.words, self.places = nn.Embedding(96, 128), nn.Embedding(64, 128)
                self.blocks = nn.Sequential(*(Block() for _ in range(4)))
                self.norm, self.head = nn.LayerNorm(128), nn.Linear(128, 96)

            def forward(self, words):
                x = self.words(words) + self.places(lib.integers(np.arange(64)))
                return self.head(self.norm(self.blocks(x)))

        model = GPT()
        optimizer = lib.optim.AdamW(model.parameters(), lr=1e-3)
        text = np.random.default_rng(0).integers(0, 96, (16, 65))
        words, following = lib.integers(text[:, :-1]), lib.integers(text[:, 1:].reshape(-1))

        def step():
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(words).reshape(1024, 96), following)
            loss.backward()
            optimizer.step()

        return lib.compile(step, backend=backend) if backend else step

    return prepare


CASES = {
    "LayerNorm, (16, 64, 128)": of_layer(lambda lib: lib.nn.LayerNorm(128), 16, 64, 128),
    "GELU, (16, 64, 512)": of_layer(lambda lib: lib.nn.GELU(), 16, 64, 512),
    "scaled_dot_product_attention, batch 16, 4 heads, 64 tokens of 32, causal": of_layer(
        attention, 16, 4, 64, 32, inputs=3
    ),
    "MultiheadAttention, batch 16, 64 tokens of 128, 4 heads": of_layer(multihead, 16, 64, 128),
    "LSTM of 128, batch 32, 64 steps": of_layer(lambda lib: lib.nn.LSTM(128, 128), 64, 32, 128),
    "Embedding (30000, 64), 4096 words": embedding,
    "Conv2d, (32, 8, 8, 8) to 16 by 3x3": of_layer(
        lambda lib: lib.nn.Conv2d(8, 16, 3), 32, 8, 8, 8
    ),
    "Conv2d, (32, 8, 8, 8) to 16 by 3x3, padding 1": of_layer(
        lambda lib: lib.nn.Conv2d(8, 16, 3, padding=1), 32, 8, 8, 8
    ),
    "Conv2d, (64, 16, 14, 14) to 32 by 3x3": of_layer(
        lambda lib: lib.nn.Conv2d(16, 32, 3), 64, 16, 14, 14
    ),
    "Conv2d, (64, 16, 14, 14) to 32 by 3x3, padding 1": of_layer(
        lambda lib: lib.nn.Conv2d(16, 32, 3, padding=1), 64, 16, 14, 14
    ),
    "GPT, a training step": gpt(0.0),
    "GPT with dropout 0.1, a training step": gpt(0.1),
    "GPT, a training step, microgrand's compiled": gpt(0.0, "numpy"),
    "GPT with dropout 0.1, a training step, microgrand's compiled": gpt(0.1, "numpy"),
    "GPT, a training step, microgrand's as machine code": gpt(0.0, "numba"),
    "GPT with dropout 0.1, a training step, microgrand's as machine code": gpt(0.1, "numba"),
}


# --------------------------------------------------------------------------- the two libraries


def forget(*tensors):
    """Clear the gradients: both libraries' tensors have them in ``grad``."""
    for tensor in tensors:
        tensor.grad = None


def microgrand_library():
    """Return what the nets need of microgrand."""
    import microgrand
    from microgrand.nn import functional

    return SimpleNamespace(
        nn=microgrand.nn,
        F=functional,
        optim=microgrand.optim,
        compile=microgrand.compile,
        swapaxes=np.swapaxes,
        tensor=lambda x: microgrand.Tensor(x, requires_grad=True),
        constant=np.asarray,
        integers=np.asarray,
        forget=forget,
    )


def torch_library():
    """Return what the nets need of PyTorch, eager."""
    import torch

    torch.set_num_threads(1)

    return SimpleNamespace(
        nn=torch.nn,
        F=torch.nn.functional,
        optim=torch.optim,
        compile=lambda step, backend: step,
        swapaxes=lambda x, i, j: x.transpose(i, j),
        tensor=lambda x: torch.tensor(x, requires_grad=True),
        constant=torch.tensor,
        integers=torch.tensor,
        forget=forget,
    )


# ------------------------------------------------------------------------------------ measuring


def serve(library):
    """Answer each line, a case's name and a number of steps, by the CPU time of a step."""
    lib = {"microgrand": microgrand_library, "torch": torch_library}[library]()
    steps = {}
    for line in sys.stdin:
        name, _, count = line.rpartition("\t")
        step = steps.get(name) or steps.setdefault(name, CASES[name](lib))
        step()
        start = time.process_time()
        for _ in range(int(count)):
            step()
        print((time.process_time() - start) / int(count), flush=True)


def main():
    """Measure the cases that the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.beside_torch",
        description="Compare layers' forward and backward passes with PyTorch's, in turns.",
    )
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help="of the names of cases to measure (default: all of them)",
    )
    parts = parser.parse_args().parts
    unknown = [part for part in parts if not any(part in name for name in CASES)]
    if unknown:
        parser.error(f"no case has {unknown[0]!r} in its name; there are {'; '.join(CASES)}")
    if importlib.util.find_spec("torch") is None:
        parser.error("there is no PyTorch to compare with: pip install torch")
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.beside_torch", "--serve", library],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | THREADS,
        )
        for library in ("microgrand", "torch")
    ]

    def seconds(worker, name, count):
        worker.stdin.write(f"{name}\t{count}\n")
        worker.stdin.flush()
        return float(worker.stdout.readline())

    for name in [name for name in CASES if not parts or any(part in name for part in parts)]:
        [seconds(worker, name, 2) for worker in workers]
        counts = [max(1, int(TURN / seconds(worker, name, 1))) for worker in workers]
        times = [[seconds(*turn) for turn in zip(workers, [name] * 2, counts, strict=True)]
                 for _ in range(ROUNDS)]  # fmt: skip
        low, ratio, high = statistics.quantiles([ours / theirs for ours, theirs in times])
        ours, theirs = (1000 * statistics.median(column) for column in zip(*times, strict=True))
        print(f"{ratio:5.2f} ({low:.2f} to {high:.2f})  {ours:.2f} ms, {theirs:.2f} ms  {name}")
    for worker in workers:
        worker.stdin.close()
        worker.wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2])
    else:
        main()
