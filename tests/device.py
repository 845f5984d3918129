"""Run everything on a real device, with one command: ``python -m tests.device``, from the clone.

It needs CuPy, and a device; PyTorch is compared with if it is there. It runs the files
test_device*.py with CuPy's arrays, trains the same nets with them as they are, measures the steps
of three nets and of a small GPT, eager and compiled, and captures them in CUDA graphs, beside a
step without matrix products. Each part stands alone: one that fails is reported, and the others
run. ``--stand-in`` tries the script itself where there is no device.
"""

import argparse
import contextlib
import functools
import importlib.util
import itertools
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from device_array import DeviceArray, DeviceGenerator, on_host

from microgrand import Tensor, compile, manual_seed, nn, optim
from microgrand.nn import functional as F

#: The nets: lengths of the layers, and the batch.
NETS = {
    "tiny": ((2, 16, 16, 2), 32),
    "mid": ((64, 128, 128, 10), 64),
    "big": ((784, 1024, 1024, 10), 128),
}
#: The small GPT: words, width, heads, layers, steps, batch.
GPT = (64, 128, 4, 2, 64, 16)
TINY_GPT = (8, 8, 2, 1, 4, 2)


class CuPy:
    """A device, by CuPy."""

    def __init__(self) -> None:
        try:
            import cupy
        except ImportError:
            raise SystemExit("this needs CuPy and a device: pip install cupy-cuda13x") from None
        self.cupy = cupy
        self.name = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()

    def array(self, values: Any) -> Any:
        """Bring an array to the device."""
        return self.cupy.asarray(values)

    def generator(self, seed: int) -> Any:
        """Make a generator of the device."""
        return self.cupy.random.default_rng(seed)

    def wait(self) -> None:
        """Wait until all is computed."""
        self.cupy.cuda.Device().synchronize()

    def capture(self, step: Callable[[], Any]) -> Callable[[], Any]:
        """Capture a step in a CUDA graph; return what launches it."""
        stream = self.cupy.cuda.Stream(non_blocking=True)
        with stream:
            stream.begin_capture()
            try:
                kept = step()
            except BaseException:
                with contextlib.suppress(Exception):  # which would hide the first error
                    stream.end_capture()
                raise
            graph = stream.end_capture()
        return lambda: (graph.launch(stream), kept)


class StandIn:
    """No device, but arrays that behave as if they were on one."""

    name = "stand-in"
    array, generator = DeviceArray, DeviceGenerator

    def wait(self) -> None:
        """Do nothing: all is computed."""

    def capture(self, step: Callable[[], Any]) -> Callable[[], Any]:
        """Return the step itself."""
        return step


def host(array: Any) -> Any:
    """Bring an array back."""
    return on_host(array) if isinstance(array, DeviceArray) else array.get()


def to_device(device: Any, module: Any) -> Any:
    """Bring parameters and buffers to the device."""
    for tensor in [*module.parameters(), *module.buffers()]:
        tensor.data = device.array(tensor.data)
    return module


def mlp(lengths: tuple[int, ...]) -> nn.Sequential:
    """Make a net of linear layers and ReLUs."""
    layers: list[Any] = []
    for before, after in itertools.pairwise(lengths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def cross_entropy(logits: Tensor, one_hot: Any) -> Any:
    """Average the cross entropy, without a look at the labels."""
    return -np.sum(np.where(one_hot, F.log_softmax(logits), 0)) / one_hot.shape[0]


class SmallGPT(nn.Module):
    """Embedded words and places, layers of causal attention, scores of the next word."""

    def __init__(self, words: int, width: int, heads: int, layers: int, steps: int) -> None:
        self.words, self.places = nn.Embedding(words, width), nn.Embedding(steps, width)
        self.layers = [
            nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.0) for _ in range(layers)
        ]
        self.scores = nn.Linear(width, words)

    def forward(self, words: Any, places: Any, mask: Any) -> Any:
        """Map words ``(steps, n)`` to scores ``(steps * n, words)``."""
        x = self.words(words) + self.places(places)
        for layer in self.layers:
            x = layer(x, mask)
        return np.reshape(self.scores(x), (-1, self.scores.weight.shape[0]))


# ------------------------------------------------------------------------------ the steps


def mlp_step(device: Any, name: str) -> Callable[[], Any]:
    """Return a training step of one of the nets on the device."""
    lengths, batch = NETS[name]
    rng = np.random.default_rng(0)
    x = device.array(rng.standard_normal((batch, lengths[0])).astype(np.float32))
    labels = rng.integers(0, lengths[-1], batch)
    one_hot = device.array(np.equal(labels[:, None], np.arange(lengths[-1])))
    manual_seed(0)
    net = to_device(device, mlp(lengths))
    optimizer = optim.SGD(net.parameters(), lr=0.1)

    def step() -> Any:
        optimizer.zero_grad()
        loss = cross_entropy(net(x), one_hot)
        loss.backward()
        optimizer.step()
        return loss

    return step


def gpt_step(device: Any, sizes: tuple[int, ...]) -> Callable[[], Any]:
    """Return a training step of the small GPT on the device."""
    words, width, heads, layers, steps, batch = sizes
    text = np.random.default_rng(0).integers(0, words, (steps + 1, batch))
    one_hot = device.array(np.equal(text[1:].reshape(-1, 1), np.arange(words)))
    given, places = device.array(text[:-1]), device.array(np.arange(steps)[:, None])
    mask = device.array(np.triu(np.ones((steps, steps), bool), 1))
    manual_seed(0)
    net = to_device(device, SmallGPT(words, width, heads, layers, steps))
    optimizer = optim.SGD(net.parameters(), lr=0.1)

    def step() -> Any:
        optimizer.zero_grad()
        loss = cross_entropy(net(given, places, mask), one_hot)
        loss.backward()
        optimizer.step()
        return loss

    return step


def update_step(device: Any) -> Callable[[], Any]:
    """Return a step with momentum on the device, without matrix products; it returns the weight."""
    start = np.random.default_rng(0).standard_normal((1024, 1024)).astype(np.float32)
    weight = Tensor(device.array(start), requires_grad=True)
    optimizer = optim.SGD([weight], lr=0.1, momentum=0.9)

    def step() -> Any:
        optimizer.zero_grad()
        np.sum(np.square(weight)).backward()
        optimizer.step()
        return weight

    return step


def torch_mlp_step(name: str) -> Callable[[], Any]:
    """Return the same step by PyTorch, eager."""
    import torch

    lengths, batch = NETS[name]
    x = torch.randn(batch, lengths[0], device="cuda")
    labels = torch.randint(0, lengths[-1], (batch,), device="cuda")
    layers: list[Any] = []
    for before, after in itertools.pairwise(lengths):
        layers += [torch.nn.Linear(before, after), torch.nn.ReLU()]
    return torch_step(torch.nn.Sequential(*layers[:-1]).cuda(), (x,), labels)


def torch_gpt_step(sizes: tuple[int, ...]) -> Callable[[], Any]:
    """Return the same step by PyTorch, eager."""
    import torch

    words, width, heads, layers, steps, batch = sizes

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = torch.nn.Embedding(words, width)
            self.places = torch.nn.Embedding(steps, width)
            self.layers = torch.nn.ModuleList(
                [
                    torch.nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.0)
                    for _ in range(layers)
                ]
            )
            self.scores = torch.nn.Linear(width, words)

        def forward(self, given: Any, places: Any, mask: Any) -> Any:
            x = self.words(given) + self.places(places)
            for layer in self.layers:
                x = layer(x, mask)
            return self.scores(x).reshape(-1, words)

    text = torch.randint(0, words, (steps + 1, batch), device="cuda")
    places = torch.arange(steps, device="cuda")[:, None]
    mask = torch.triu(torch.ones(steps, steps, dtype=torch.bool, device="cuda"), 1)
    return torch_step(Net().cuda(), (text[:-1], places, mask), text[1:].reshape(-1))


def torch_step(net: Any, inputs: Any, labels: Any) -> Callable[[], Any]:
    """Return a training step of a PyTorch module."""
    import torch

    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

    def step() -> Any:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(*inputs), labels)
        loss.backward()
        optimizer.step()
        return loss

    return step


def milliseconds(step: Callable[[], Any], wait: Callable[[], None], seconds: float) -> float:
    """Return the median time of a step, of as many as `seconds` allow."""
    for _ in range(3):
        step()
    wait()
    times = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        step()
        wait()
        times.append(time.perf_counter() - start)
    return 1000 * sorted(times)[len(times) // 2]


# ------------------------------------------------------------------------------- the parts


def run_tests() -> str:
    """Run test_device*.py with CuPy's arrays, in several processes where pytest-xdist is there."""
    files = sorted(str(file) for file in Path(__file__).parent.glob("test_device*.py"))
    options = ["-q", "-p", "no:cacheprovider", "--tb=short"]
    if importlib.util.find_spec("xdist"):
        options += ["-n", "auto"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *files, *options],
        env={**os.environ, "MICROGRAND_DEVICE": "cupy"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return done.stdout.splitlines()[-1]


def operators(device: Any) -> str:
    """Arrays of the device meet tensors on both sides of operators and functions."""
    array = device.array(np.array([1.0, 2.0]))
    x = Tensor(device.array(np.array([3.0, 4.0])), requires_grad=True)
    loss = np.sum(array * x + x / array + np.maximum(array, x) + np.where(array > 1, x, array))
    loss.backward()
    np.testing.assert_allclose(host(x.grad), [3.0, 4.5])
    return "right"


def masks(device: Any) -> str:
    """A mask of the device's generator, again from the same seed."""
    x = device.array(np.ones((1000, 10)))
    first, again = (host(F.dropout(x, 0.3, rng=device.generator(5)).data) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(np.mean(first == 0), 0.3, atol=0.03)
    return "reproducible"


def agrees(device: Any, name: str) -> str:
    """The losses of ten steps are those of the host."""
    on_host_step, on_device_step = mlp_step(Host(), name), mlp_step(device, name)
    for _ in range(10):
        here, there = float(on_host_step().data), float(host(on_device_step().data))
        np.testing.assert_allclose(there, here, rtol=1e-3)
    return f"loss {there:.5f} after ten steps, on the host {here:.5f}"


class Host(StandIn):
    """NumPy itself."""

    @staticmethod
    def array(values: Any) -> Any:
        """Return the values."""
        return np.asarray(values)


def compiled(device: Any, make: Callable[[], Any], seconds: float) -> str:
    """Ten compiled steps have the losses of eager ones; measure both."""
    eager, program = make(), compile(make())
    for _ in range(10):
        here, there = float(host(eager().data)), float(host(program().data))
        np.testing.assert_allclose(there, here, rtol=1e-4)
    taken = [milliseconds(step, device.wait, seconds) for step in (program, eager)]
    return f"loss {there:.5f} after ten steps as eager; {taken[0]:.4f} ms, eager {taken[1]:.4f} ms"


def captured(device: Any, make: Callable[[], Any], seconds: float, form: Any = None) -> str:
    """Capture a step in a CUDA graph, check what it computes, and measure its launch."""
    expected, step = make(), (form or (lambda step: step))(make())
    for _ in range(3):
        step()  # kernels are compiled, memory is in the pool
    device.wait()
    try:
        launch = device.capture(step)
    except NotImplementedError as error:
        return f"CuPy cannot: {error}"
    except RuntimeError as error:  # an embedding looks whether it has all words
        if "transfers" not in str(error):
            raise
        return f"the step looks at numbers: {error}"
    for _ in range(2):
        launch()
    device.wait()
    for _ in range(6):
        there = expected()
    np.testing.assert_allclose(host(step().data), host(there.data), rtol=1e-4)
    return f"{milliseconds(launch, device.wait, seconds):.4f} ms a step"


def times(device: Any, seconds: float, ours: Callable[[], Any], theirs: Callable[[], Any]) -> str:
    """Measure a step, and PyTorch's."""
    line = f"{milliseconds(ours, device.wait, seconds):.4f} ms a step"
    with contextlib.suppress(ImportError):
        import torch

        if torch.cuda.is_available():
            taken = milliseconds(theirs(), torch.cuda.synchronize, seconds)
            line += f", PyTorch eager {taken:.4f} ms"
    return line


def main(words: list[str] | None = None) -> int:
    """Run all parts, and return how many failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stand-in", action="store_true", help="try the script without a device")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each measurement")
    given = parser.parse_args(words)
    device: Any = StandIn() if given.stand_in else CuPy()
    seconds, sizes = given.seconds, TINY_GPT if given.stand_in else GPT
    nets = ["tiny"] if given.stand_in else list(NETS)

    parts: dict[str, Callable[[], str]] = {
        "operators": lambda: operators(device),
        "masks": lambda: masks(device),
    }
    for name in nets:
        parts[f"{name}: agrees"] = lambda name=name: agrees(device, name)
        parts[f"{name}: times"] = lambda name=name: times(
            device, seconds, mlp_step(device, name), lambda: torch_mlp_step(name)
        )
    parts["GPT: times"] = lambda: times(
        device, seconds, gpt_step(device, sizes), lambda: torch_gpt_step(sizes)
    )
    steps: dict[str, Callable[[], Any]] = {
        "update": lambda: update_step(device),
        **{name: functools.partial(mlp_step, device, name) for name in nets},
        "GPT": lambda: gpt_step(device, sizes),
    }
    for name in (*nets, "GPT"):
        parts[f"{name}: compiled"] = functools.partial(compiled, device, steps[name], seconds)
    if not given.stand_in:
        parts["tests"] = run_tests
    for name, make in steps.items():  # last: a capture that fails may leave the device unusable
        for form, words in ((None, ""), (compile, " of the compiled step")):
            parts[f"{name}: CUDA graph{words}"] = functools.partial(
                captured, device, make, seconds, form
            )

    print(f"device: {device.name}", flush=True)
    failed = 0
    for part, run in parts.items():
        try:
            print(f"{part}: {run()}", flush=True)
        except Exception:
            failed += 1
            print(f"{part}: FAILED\n{traceback.format_exc(limit=-6)}", flush=True)
    print(f"{len(parts) - failed} of {len(parts)} parts done")
    return failed


if __name__ == "__main__":
    sys.exit(main())
