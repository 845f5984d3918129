"""What a training step is, when all of it is written down: a net of two layers with dropout.

This prints the program that `microgrand.compile` makes of the step. Look for the one mask: it is
drawn once, and used twice, in the forward pass and on the way back.

    python examples/compiled_step.py
    python examples/compiled_step.py --save step.py     # the program as a module; needs NumPy only
"""

import argparse
import time
from pathlib import Path

import numpy as np

from microgrand import compile, manual_seed, nn, optim
from microgrand.nn import functional as F

BATCH, FEATURES, UNITS, CLASSES = 32, 8, 16, 3


class Net(nn.Module):
    """Two layers, and dropout between them."""

    def __init__(self):
        self.hidden = nn.Linear(FEATURES, UNITS)
        self.dropout = nn.Dropout(0.5)
        self.output = nn.Linear(UNITS, CLASSES)

    def forward(self, x):
        """Return the logits."""
        return self.output(self.dropout(F.relu(self.hidden(x))))


def make_step():
    """Make a net, an optimizer, and the training step that closes over them."""
    manual_seed(0)
    net = Net()
    optimizer = optim.SGD(net.parameters(), lr=0.1)

    def step(x, labels):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    return step


def microseconds(step, *batch):
    """Return how long a step takes, at best."""
    best = np.inf
    for _ in range(200):
        start = time.perf_counter()
        step(*batch)
        best = min(best, time.perf_counter() - start)
    return 1e6 * best


def main(argv=None):
    """Compile, print, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--save", metavar="FILE", help="write the program as a module, too")
    options = parser.parse_args(argv)
    if options.save and not Path(options.save).parent.is_dir():
        parser.error(f"--save: there is no folder {Path(options.save).parent}; make it first")
    rng = np.random.default_rng(0)
    batch = rng.normal(size=(BATCH, FEATURES)).astype(np.float32), rng.integers(0, CLASSES, BATCH)

    eager, compiled = make_step(), compile(make_step())
    manual_seed(1)
    expected = [eager(*batch).item() for _ in range(10)]
    manual_seed(1)
    losses = [compiled(*batch).item() for _ in range(10)]
    assert losses == expected  # every digit
    print(compiled.source)
    print(f"Ten steps, eager and compiled: loss {losses[-1]:.6f}, the same to the last bit.")
    times = microseconds(eager, *batch), microseconds(compiled, *batch)
    print(f"A step takes {times[0]:.0f} us eagerly, {times[1]:.0f} us compiled.")
    if options.save:
        compiled.save(options.save)
        print(f"Written to {options.save}, and its parameters beside it.")


if __name__ == "__main__":
    main()
