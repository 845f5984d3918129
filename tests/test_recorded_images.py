"""Layers for images and sequences, and normalisation, compute what PyTorch's do."""

import json
from pathlib import Path

import numpy as np
import pytest
from recorded.nested import as_tuple

from microgrand import Tensor, nn, optim
from microgrand.nn import functional as F

RECORDED = json.loads((Path(__file__).parent / "recorded" / "images.json").read_text())
#: Those that have parameters or buffers, or may have.
TYPED = ("Conv", "BatchNorm", "LayerNorm", "GroupNorm", "RMSNorm", "InstanceNorm", "Linear")


def made(name, arguments, options):
    """Make a module in float64; JSON has no tuples."""
    arguments = list(map(as_tuple, arguments))
    options = {key: as_tuple(x) for key, x in options.items()}
    dtype = {"dtype": np.float64} if name.startswith(TYPED) else {}
    return getattr(nn, name)(*arguments, **options, **dtype)


def title(case):
    options = ", ".join(f"{key}={value}" for key, value in case["options"].items())
    return f"{case['module']}({case['arguments']}, {options}), {np.shape(case['x'])}"


@pytest.mark.parametrize("case", RECORDED["cases"], ids=title)
def test_modules_give_what_pytorch_gives(case):
    module = made(case["module"], case["arguments"], case["options"]).train(case["training"])
    if case["module"] != "AvgPool1d":  # PyTorch's tells tuples of one
        assert repr(module) == case["repr"]
    assert list(module.state_dict()) == list(case["state"])
    module.load_state_dict(case["state"])
    x = Tensor(np.array(case["x"]), requires_grad=True)
    out = module(x)
    assert out.shape == np.shape(case["output"])
    out.backward(np.array(case["cotangent"]))
    found = [out.data, *(tensor.grad for tensor in (x, *module.parameters()))]
    for array, expected in zip(found, [case["output"], *case["gradients"]], strict=True):
        np.testing.assert_allclose(array, expected, rtol=1e-10, atol=1e-12)
    for name, buffer in module.named_buffers():
        np.testing.assert_allclose(buffer.data, case["end"][name], rtol=1e-12)


def test_training_gives_what_pytorch_gives():
    recorded = RECORDED["training"]
    net = nn.Sequential(*[made(*part) for part in recorded["parts"]])
    net.load_state_dict(recorded["start"])
    x, labels = np.array(recorded["x"]), recorded["labels"]
    optimizer = optim.SGD(net.parameters(), lr=recorded["learning_rate"])
    losses = []
    for _ in recorded["losses"]:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    np.testing.assert_allclose(losses, recorded["losses"], rtol=1e-9)
    for name, value in net.state_dict().items():
        np.testing.assert_allclose(value, recorded["end"][name], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(net.eval()(x).data, recorded["evaluated"], rtol=1e-7)
