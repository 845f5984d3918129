"""Layers, losses and their functions compute what PyTorch's do, which layers.json holds."""

import inspect
import json
from pathlib import Path

import numpy as np
import pytest
from recorded.nested import as_tuple, flat

from microgrand import Tensor, nn
from microgrand.nn import functional as F

RECORDED = json.loads((Path(__file__).parent / "recorded" / "layers.json").read_text())
#: In double precision, too, PyTorch differentiates by a single-precision 1 / 6.
INEXACT = {"Hardsigmoid": 1e-7}


def title(case):
    """Name a case by its call."""
    options = ", ".join(f"{key}={value}" for key, value in case["options"].items())
    shapes = [list(x) if isinstance(x, dict) else np.shape(x) for x in case["inputs"]]
    return f"{case['name']}({case['arguments']}, {options}), {shapes}"


@pytest.mark.parametrize("case", RECORDED["cases"], ids=title)
def test_they_give_what_pytorch_gives(case):
    arguments = [as_tuple(x) for x in case["arguments"]]
    options = {key: as_tuple(x) for key, x in case["options"].items()}
    given = [
        np.array(next(iter(x.values())))
        if isinstance(x, dict)
        else Tensor(np.array(x, float), requires_grad=True)
        for x in case["inputs"]
    ]
    leaves = [x for x in given if isinstance(x, Tensor)]
    if case["name"][0].isupper():
        make = getattr(nn, case["name"])
        has_dtype = "dtype" in inspect.signature(make).parameters
        module = make(*arguments, **options, **({"dtype": np.float64} if has_dtype else {}))
        if "\n" not in case["repr"]:  # of what has parts, PyTorch shows inner classes, too
            assert repr(module) == case["repr"]
        assert list(module.state_dict()) == list(case["state"])
        module.load_state_dict(case["state"])
        leaves += module.parameters()
        outputs = flat(module(*given))
    else:
        outputs = flat(getattr(F, case["name"])(*given, *arguments, **options))
    total = 0
    for out, expected, g in zip(outputs, case["outputs"], case["cotangents"], strict=True):
        assert out.shape == np.shape(expected)
        np.testing.assert_allclose(out.data, expected, rtol=1e-11, atol=1e-13)
        total = total + np.sum(out * np.array(g))
    total.backward()
    for x, expected in zip(leaves, case["gradients"], strict=True):
        np.testing.assert_allclose(
            x.grad, expected, rtol=INEXACT.get(case["name"], 1e-10), atol=1e-12
        )
