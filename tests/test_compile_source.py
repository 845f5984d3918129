"""The source of a program: it can be read, and saved it runs with NumPy alone."""

import collections
import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from compiled import assert_same_bits

from microgrand import compile, manual_seed, nn, optim
from microgrand.nn import functional as F


class Net(nn.Module):
    def __init__(self, p=0.5):
        self.hidden = nn.Linear(3, 4)
        self.dropout = nn.Dropout(p)
        self.output = nn.Linear(4, 2)

    def forward(self, x):
        return self.output(self.dropout(F.relu(self.hidden(x))))


X = np.arange(15, dtype=np.float32).reshape(5, 3) / 7 - 1
LABELS = np.array([0, 1, 1, 0, 1])
OPTIMIZERS = {
    "SGD": lambda p: optim.SGD(p, lr=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "Adam": lambda p: optim.Adam(p, lr=0.1),
    "AdamW": lambda p: optim.AdamW(p, lr=0.1),
    "groups": lambda p: optim.Adam([{"params": [q], "lr": 0.1} for q in p]),
    "RMSprop": lambda p: optim.RMSprop(p, lr=0.1, momentum=0.5, centered=True),
    "Adagrad": lambda p: optim.Adagrad(p, lr=0.1, lr_decay=0.1),
    "Lion": lambda p: optim.Lion(p, lr=0.1, weight_decay=0.1),
}


def training(optimizer, p=0.5):
    manual_seed(0)
    net = Net(p)
    optimizer = OPTIMIZERS[optimizer](net.parameters())

    @compile
    def step(x, labels):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(3):
        step(X, LABELS)
    return net, step


def test_it_is_named_after_parameters_and_layers_in_sections():
    _, step = training("SGD")
    source = step.source
    for name in ("hidden_weight_grad", "dropout_mask", "output_bias", "hidden_grad"):
        assert re.search(rf"\b{name}\b", source)
    assert re.findall("# ---- (.*)", source)[-4:] == ["forward", "loss", "backward", "update"]
    assert "# VJP of affine, from hidden_grad" in source
    assert "np.dot(x, hidden_T, out=hidden)  # (5, 4)" in source


def test_one_mask_is_used_twice():
    _, step = training("SGD")
    forward, backward = step.source.split("# ---- backward")
    assert "dropout_mask_as_int32," in forward.split("# ---- forward")[-1]
    assert "dropout_mask_as_int32," in backward


@pytest.mark.parametrize("p", [0.5, 0.3])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_saved_it_gives_the_same_numbers(optimizer, p, tmp_path):
    net, step = training(optimizer, p)
    step.save(tmp_path / "program.py")
    np.savez(tmp_path / "batch.npz", x=X, labels=LABELS)
    run = (
        "import numpy as np, sys, program\n"
        "batch = np.load('batch.npz')\n"
        "losses = [program.step(batch['x'], batch['labels']) for _ in range(3)]\n"
        "assert not any(name.startswith('microgrand') for name in sys.modules)\n"
        "np.savez('after.npz', losses=losses, **program.state)\n"
    )
    subprocess.run([sys.executable, "-c", run], cwd=tmp_path, check=True)
    losses = [step(X, LABELS).data for _ in range(3)]
    after = np.load(tmp_path / "after.npz")
    assert np.array_equal(after["losses"], losses)
    for name, parameter in net.named_parameters():
        name = name.replace(".", "_")
        assert np.array_equal(after[name], parameter.data)
        assert np.array_equal(after[f"{name}_grad"], parameter.grad)
    assert np.array_equal(after["dropout_mask"], net.dropout.mask)


def test_what_is_not_numpys_cannot_be_saved(tmp_path):
    def total(row):
        return sum(row)

    compiled = compile(lambda x: np.apply_along_axis(total, 0, x))
    for _ in range(3):
        compiled(X)
    with pytest.raises(TypeError, match="total"):
        compiled.save(tmp_path / "program.py")


Pair = collections.namedtuple("Pair", "first second")


def saved(function, *args, path):
    """Compile a function, save its program, and import that."""
    compiled = compile(function)
    for _ in range(3):
        compiled(*args)
    compiled.save(path / "saved_program.py")
    spec = importlib.util.spec_from_file_location("saved_program", path / "saved_program.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_saved_program_returns_what_the_function_returns(tmp_path):
    def f(x, state, k, power, unused):
        return {
            "list": [x * k, state["w"].sum()],
            "numbers": (3, None, "text", 1.5, np.float32(2.5), np.inf, x.dtype),
            "pair": Pair(x**power, [state["parts"][1] + 1]),
        }

    state = {"w": np.arange(3.0), "parts": (np.ones(2), np.zeros(2))}
    module = saved(f, X, state, 2.0, 3, X + 1, path=tmp_path)
    result, expected = module.step(2 * X, state, 7.0, 3, X), f(2 * X, state, 7.0, 3, X)
    assert type(result["pair"]).__name__ == "Pair"
    assert_same_bits(tuple(result.pop("pair")), tuple(expected.pop("pair")))
    assert_same_bits(result, expected)


@np.errstate(invalid="ignore")
def test_a_saved_program_has_numbers_of_every_kind(tmp_path):
    def f(x):
        limited = np.clip(x, -np.inf, np.inf) + complex(np.inf, -1) * x
        return np.where(x > 0, limited, np.nan), complex(1, -np.inf)

    module = saved(f, X, path=tmp_path)
    for result, expected in zip(module.step(X), f(X), strict=True):
        assert_same_bits(result, expected)


def test_a_saved_program_takes_one_array_twice(tmp_path):
    module = saved(lambda x, y: x * y, X, X, path=tmp_path)
    assert_same_bits(module.step(X, X), X * X)
    with pytest.raises(ValueError, match="x and y are one array"):
        module.step(X, 2 * X)


def test_a_saved_program_checks_its_arguments(tmp_path):
    module = saved(lambda x, n, nest: x * n + nest["a"], X, 2, {"a": X}, path=tmp_path)
    nest = {"a": X}
    for args, error, match in (
        ((X.astype(np.float64), 2, nest), TypeError, "x is an array of shape .* got"),
        ((X[:2], 2, nest), TypeError, "x is an array of shape"),
        ((np.asfortranarray(X), 2, nest), TypeError, "strides"),
        ((X.tolist(), 2, nest), TypeError, "x is an array"),
        ((X, 3, nest), ValueError, "n is 2, as when it was traced; got 3"),
        ((X, 2, {"b": X}), ValueError, "nest has the keys"),
    ):
        with pytest.raises(error, match=match):
            module.step(*args)


def test_the_example(capsys, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "examples"))
    importlib.import_module("compiled_step").main(["--save", str(tmp_path / "step.py")])
    printed = capsys.readouterr().out
    assert "the same to the last bit" in printed
    assert len(re.findall(r"dropout_mask_as_int32, out=", printed)) == 2
    assert (tmp_path / "step.npz").exists()
