"""The source of a program: it can be read, and saved it runs with NumPy alone."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

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
    assert "np.dot(x, hidden_T, out=hidden_product)  # (5, 4)" in source


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
    compiled = compile(lambda x: np.apply_along_axis(sorted, 0, x))
    for _ in range(3):
        compiled(X)
    with pytest.raises(TypeError, match="sorted"):
        compiled.save(tmp_path / "program.py")


def test_the_example(capsys, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "examples"))
    importlib.import_module("compiled_step").main(["--save", str(tmp_path / "step.py")])
    printed = capsys.readouterr().out
    assert "the same to the last bit" in printed
    assert len(re.findall(r"dropout_mask_as_int32, out=", printed)) == 2
    assert (tmp_path / "step.npz").exists()
