"""Comparison of modules with what PyTorch's have computed, in tests/recorded/nn.json."""

import json
from pathlib import Path

import numpy as np
from recorded.nested import flat

from microgrand import Tensor, nn

RECORDED = json.loads((Path(__file__).parent / "recorded" / "nn.json").read_text())


def recorded_modules(*names):
    """List the titles of the recorded cases of some modules."""
    return [title for title, case in RECORDED["modules"].items() if case["module"] in names]


def assert_as_pytorch(title):
    """Compare a module's repr, names of parameters, outputs and gradients."""
    case = RECORDED["modules"][title]
    module = getattr(nn, case["module"])(**case["arguments"], dtype=np.float64)
    if "\n" not in case["repr"]:  # of what has parts, PyTorch shows inner classes, too
        assert repr(module) == case["repr"]
    assert list(module.state_dict()) == list(case["state"])
    module.load_state_dict(case["state"])
    inputs = [Tensor(np.array(x, float), requires_grad=True) for x in case["inputs"]]
    is_pair = case["module"].startswith("LSTM") and len(inputs) > 1
    given = (inputs[0], tuple(inputs[1:])) if is_pair else inputs
    outputs = flat(module(*given, **case["options"]))
    total = 0
    for out, expected, g in zip(outputs, case["outputs"], case["cotangents"], strict=True):
        np.testing.assert_allclose(out.data, expected, rtol=1e-11, atol=1e-13)
        total = total + np.sum(out * np.array(g))
    total.backward()
    for x, expected in zip([*inputs, *module.parameters()], case["gradients"], strict=True):
        np.testing.assert_allclose(x.grad, expected, rtol=1e-10, atol=1e-12)
