"""Record what torch.nn's layers, losses and their functions compute: writes layers.json.

Run by hand, ``python tests/recorded/record_layers.py``, where PyTorch is installed; the tests only
read the file. It was made with PyTorch 2.13.0 on a CPU.

A case is a module or a function with its arguments, its options and what it is called with: shapes
of arrays that are drawn, lists of numbers with a gradient, or constants, ``{"labels": ...}``.
Each case has a generator of its own, so that a new one changes no other.
"""

import json
import zlib
from pathlib import Path

import numpy as np

#: Where activations bend, between, and far out.
LINE = [-30.0, -4.0, -3.0, -1.0, -0.5, -0.0, 0.0, 0.3, 0.5, 1.0, 1.5, 3.0, 6.0, 19.0, 40.0]

PADDING = [
    *[("pad", [[1, 2], mode], {}, [(2, 2, 4)]) for mode in ("constant", "reflect")],
    *[("pad", [[2, 3], mode], {}, [(2, 1, 4)]) for mode in ("replicate", "circular")],
    *[
        ("pad", [[1, 2, 0, 2], mode], {}, [(1, 2, 3, 4)])
        for mode in ("constant", "reflect", "replicate", "circular")
    ],
    *[
        ("pad", [[-1, 2], mode], {}, [(1, 2, 5)])
        for mode in ("constant", "reflect", "replicate", "circular")
    ],
    ("pad", [[1, 0, 2, -1, 0, 1]], {"value": 2.5}, [(2, 3, 2)]),
    ("ConstantPad1d", [2, 3.5], {}, [(1, 2, 3)]),
    ("ConstantPad2d", [[1, 2, 3, 0], -1.0], {}, [(1, 2, 3, 2)]),
    ("ZeroPad1d", [[0, 2]], {}, [(2, 3)]),
    ("ZeroPad2d", [1], {}, [(2, 3, 2)]),
    ("ReflectionPad1d", [2], {}, [(2, 2, 3)]),
    ("ReflectionPad2d", [[1, 0, 2, 1]], {}, [(1, 2, 3, 3)]),
    ("ReplicationPad1d", [[3, 0]], {}, [(2, 2, 2)]),
    ("ReplicationPad2d", [2], {}, [(1, 1, 2, 2)]),
    ("CircularPad1d", [3], {}, [(1, 2, 3)]),
    ("CircularPad2d", [[2, 0, 1, 1]], {}, [(1, 2, 3, 2)]),
    ("Conv1d", [2, 3, 3], {"padding": 2, "padding_mode": "circular"}, [(2, 2, 4)]),
    ("Conv1d", [2, 2, 2], {"padding": "same", "padding_mode": "replicate"}, [(2, 5)]),
    (
        *("Conv2d", [2, 3, [3, 2]]),
        {"padding": [2, 1], "padding_mode": "reflect", "stride": 2, "bias": False},
        [(1, 2, 4, 5)],
    ),
    ("Conv2d", [1, 2, 2], {"padding": "same", "dilation": 2, "padding_mode": "reflect"},
     [(1, 1, 4, 5)]),
    ("Conv2d", [1, 2, 2], {"padding": "valid", "padding_mode": "circular"}, [(1, 3, 3)]),
]  # fmt: skip

ACTIVATIONS = [
    *[
        (name, [], {}, [LINE])
        for name in (
            *("celu", "relu6", "hardswish", "softshrink", "hardshrink", "softsign"),
            *("tanhshrink", "mish"),
        )
    ],
    ("celu", [0.5], {}, [LINE]),
    ("softshrink", [1.5], {}, [LINE]),
    ("hardshrink", [1.5], {}, [LINE]),
    ("threshold", [0.5, 7.0], {}, [LINE]),
    ("softmin", [], {"dim": 1}, [(2, 3, 2)]),
    ("glu", [], {}, [(2, 3, 4)]),
    ("glu", [1], {}, [(2, 4, 3)]),
    ("prelu", [], {}, [LINE, [0.25]]),
    ("prelu", [], {}, [(2, 3, 2), (3,)]),
    ("PReLU", [], {}, [(3, 2)]),
    ("PReLU", [2], {"init": 0.5}, [(3, 2)]),
    ("GLU", [0], {}, [(4, 3)]),
    ("Softmin", [0], {}, [(2, 3)]),
    ("Softmax2d", [], {}, [(2, 3, 1, 2)]),
    ("Softmax2d", [], {}, [(3, 2, 2)]),
    ("Threshold", [0.1, 2.0], {}, [(3, 2)]),
    ("Softshrink", [0.3], {}, [(3, 2)]),
    *[
        (name, [], {}, [(3, 2)])
        for name in (
            *("CELU", "ReLU6", "Hardswish", "Hardshrink", "Softsign", "Tanhshrink"),
            *("Mish", "Hardsigmoid"),
        )
    ],
]

CASES = [*PADDING, *ACTIVATIONS]


def tuples(value):
    """Make tuples of lists, as PyTorch's layers want them."""
    return tuple(value) if isinstance(value, list) else value


def set_state(module, rng):
    """Give a module a state of round numbers, and return that."""
    state = {
        name: rng.normal(size=tuple(value.shape)).round(3)
        for name, value in module.state_dict().items()
    }
    module.load_state_dict({name: torch.tensor(value) for name, value in state.items()})
    return {name: value.tolist() for name, value in state.items()}


def flat(outputs):
    """List what is in nested tuples."""
    if isinstance(outputs, (tuple, list)):
        return [x for output in outputs for x in flat(output)]
    return [outputs]


def run_case(name, arguments, options, inputs):
    """Return what a case is given and what comes out of it, as lists for JSON."""
    title = f"{name}, {arguments}, {options}, {inputs}"
    rng = np.random.default_rng(zlib.crc32(title.encode()))
    given = [rng.normal(size=x).round(3).tolist() if isinstance(x, tuple) else x for x in inputs]
    tensors = [
        torch.tensor(next(iter(x.values())))
        if isinstance(x, dict)
        else torch.tensor(x, dtype=torch.float64, requires_grad=True)
        for x in given
    ]
    leaves = [x for x in tensors if x.requires_grad]
    case = {"name": name, "arguments": arguments, "options": options, "inputs": given}
    named = {key: tuples(value) for key, value in options.items()}
    if name[0].isupper():
        module = getattr(torch.nn, name)(*map(tuples, arguments), **named).double()
        case |= {"state": set_state(module, rng), "repr": repr(module)}
        leaves += module.parameters()
        outputs = flat(module(*tensors))
    else:
        function = getattr(torch.nn.functional, name)
        outputs = flat(function(*tensors, *map(tuples, arguments), **named))
    cotangents = [rng.normal(size=tuple(out.shape)).round(3) for out in outputs]
    torch.autograd.backward(outputs, [torch.tensor(g) for g in cotangents])
    return case | {
        "outputs": [out.tolist() for out in outputs],
        "cotangents": [np.asarray(g).tolist() for g in cotangents],
        "gradients": [x.grad.tolist() for x in leaves],
    }


def main():
    """Write layers.json, a case a line."""
    cases = ",\n".join(json.dumps(run_case(*case)) for case in CASES)
    Path(__file__).with_name("layers.json").write_text(
        f'{{\n"torch": "{torch.__version__}",\n"cases": [\n{cases}\n]\n}}\n'
    )


if __name__ == "__main__":
    import torch  # not above: pytest imports this file when it looks for doctests

    main()
