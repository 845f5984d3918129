"""Record what torch.nn's layers for images and sequences compute, and normalisation: images.json.

Run by hand, ``python tests/recorded/record_images.py``, where PyTorch is installed; the tests only
read the file. It was made with PyTorch 2.13.0 on a CPU.
"""

import json
from pathlib import Path

import numpy as np
from nested import as_tuple

STEPS = 5
LEARNING_RATE = 0.2

#: Module, arguments, shape of the input; in evaluation if the last is False.
CASES = [
    ("Conv1d", [2, 3, 2], {}, (2, 2, 5)),
    ("Conv1d", [2, 4, 3], {"stride": 2, "padding": 1, "groups": 2, "bias": False}, (2, 2, 6)),
    ("Conv1d", [1, 2, 3], {"padding": "same", "dilation": 2}, (1, 1, 5)),
    ("Conv1d", [2, 1, 2], {}, (2, 4)),
    ("Conv2d", [2, 3, 3], {}, (2, 2, 4, 5)),
    ("Conv2d", [2, 1, [2, 3]], {"stride": [2, 1], "padding": 2, "dilation": [1, 2]}, (1, 2, 4, 3)),
    ("Conv2d", [4, 2, 2], {"groups": 2, "padding": "same"}, (1, 4, 3, 3)),
    ("Conv2d", [1, 1, 3], {"padding": "valid"}, (1, 3, 4)),
    ("ConvTranspose1d", [2, 3, 3], {"stride": 2, "padding": 1, "output_padding": 1}, (2, 2, 3)),
    ("ConvTranspose1d", [2, 2, 2], {"groups": 2, "dilation": 2, "bias": False}, (2, 3)),
    ("ConvTranspose2d", [2, 1, [2, 3]], {"stride": [1, 2], "dilation": [2, 1]}, (2, 2, 2, 3)),
    ("ConvTranspose2d", [2, 4, 2], {"stride": 2, "output_padding": 1, "groups": 2}, (1, 2, 2, 2)),
    ("MaxPool1d", [2], {}, (2, 2, 5)),
    ("MaxPool1d", [3], {"stride": 2, "padding": 1, "dilation": 2, "ceil_mode": True}, (1, 1, 8)),
    ("MaxPool2d", [[2, 3]], {"stride": [1, 2], "padding": [0, 1]}, (1, 2, 3, 5)),
    ("MaxPool2d", [2], {"ceil_mode": True}, (1, 3, 5)),
    ("AvgPool1d", [3], {"stride": 2, "padding": 1, "ceil_mode": True}, (1, 2, 6)),
    ("AvgPool2d", [2], {}, (1, 2, 4, 5)),
    ("AvgPool2d", [3], {"stride": 2, "padding": 1, "ceil_mode": True}, (1, 1, 4, 6)),
    ("AvgPool2d", [[2, 3]], {"padding": 1, "count_include_pad": False}, (1, 2, 3, 4)),
    ("AdaptiveAvgPool1d", [3], {}, (1, 2, 7)),
    ("AdaptiveAvgPool2d", [[2, None]], {}, (1, 2, 5, 3)),
    ("AdaptiveAvgPool2d", [2], {}, (2, 4, 4)),
    ("AdaptiveMaxPool1d", [4], {}, (1, 1, 6)),
    ("AdaptiveMaxPool2d", [[3, 2]], {}, (1, 1, 4, 5)),
    ("Upsample", [], {"scale_factor": 2.0}, (1, 2, 2, 3)),
    ("Upsample", [], {"scale_factor": 1.5}, (1, 1, 5)),
    ("Upsample", [[5, 2]], {}, (1, 1, 3, 4)),
    ("Flatten", [], {}, (2, 2, 3)),
    ("Flatten", [0, 1], {}, (2, 2, 3)),
    ("BatchNorm1d", [3], {}, (4, 3)),
    ("BatchNorm1d", [2], {"momentum": None, "eps": 0.1}, (3, 2, 3)),
    ("BatchNorm1d", [3], {"affine": False}, (2, 3), False),
    ("BatchNorm2d", [2], {"momentum": 0.3}, (2, 2, 2, 3)),
    ("BatchNorm2d", [2], {}, (1, 2, 2, 3), False),
    ("BatchNorm2d", [2], {"track_running_stats": False}, (2, 2, 1, 2), False),
    ("LayerNorm", [4], {}, (2, 3, 4)),
    ("LayerNorm", [[2, 3]], {"eps": 0.1, "bias": False}, (2, 2, 3)),
    ("LayerNorm", [3], {"elementwise_affine": False}, (3,)),
    ("GroupNorm", [2, 4], {}, (2, 4, 3)),
    ("GroupNorm", [1, 2], {"affine": False}, (2, 2, 2, 2)),
    ("RMSNorm", [4], {}, (2, 3, 4)),
    ("RMSNorm", [[2, 3]], {"eps": 0.1, "elementwise_affine": False}, (2, 2, 3)),
    ("InstanceNorm1d", [2], {}, (2, 2, 4)),
    ("InstanceNorm2d", [2], {"affine": True}, (2, 2, 2, 3)),
]  # fmt: skip


def parts_of_a_net():
    """List the layers of a small net, with their arguments."""
    return [
        ("Conv2d", [1, 4, 3], {"padding": 1}), ("BatchNorm2d", [4], {}), ("ReLU", [], {}),
        ("MaxPool2d", [2], {}), ("Conv2d", [4, 4, 2], {"groups": 2, "bias": False}),
        ("GroupNorm", [2, 4], {}), ("AvgPool2d", [2], {"stride": 1}), ("Flatten", [], {}),
        ("BatchNorm1d", [4], {"momentum": None}), ("Linear", [4, 3], {}),
    ]  # fmt: skip


def made(name, arguments, options):
    """Make a module of torch.nn; JSON has no tuples."""
    arguments = list(map(as_tuple, arguments))
    options = {key: as_tuple(x) for key, x in options.items()}
    return getattr(torch.nn, name)(*arguments, **options).double()


def set_state(module, rng):
    """Give a module a state of round numbers, and return that."""
    state = {}
    for name, value in module.state_dict().items():
        drawn = rng.uniform(0.5, 1.5, tuple(value.shape)).round(3)
        drawn *= rng.choice([1, -1], drawn.shape) if "running_var" not in name else 1
        state[name] = 7 if "tracked" in name else np.asarray(drawn).tolist()
    module.load_state_dict(
        {name: torch.tensor(value, dtype=torch.float64) for name, value in state.items()}
    )
    return state


def run_case(rng, name, arguments, options, shape, training=True):
    """Return what a module is given and what comes out of it, as lists for JSON."""
    module = made(name, arguments, options).train(training)
    state = set_state(module, rng)
    x = rng.permutation(int(np.prod(shape))).reshape(shape) / 8 - 1  # no ties
    tensor = torch.tensor(x, requires_grad=True)
    out = module(tensor)
    cotangent = rng.normal(size=tuple(out.shape)).round(3)
    out.backward(torch.tensor(cotangent))
    return {
        "module": name,
        "arguments": arguments,
        "options": options,
        "training": training,
        "repr": repr(module),
        "state": state,
        "x": x.tolist(),
        "cotangent": cotangent.tolist(),
        "output": out.tolist(),
        "gradients": [t.grad.tolist() for t in (tensor, *module.parameters())],
        "end": {key: value.tolist() for key, value in module.named_buffers()},
    }


def run_training(rng):
    """Train a small net by gradient descent."""
    net = torch.nn.Sequential(*[made(*part) for part in parts_of_a_net()])
    start = set_state(net, rng)
    x, labels = rng.normal(size=(6, 1, 6, 6)).round(3), rng.integers(0, 3, 6)
    optimizer = torch.optim.SGD(net.parameters(), lr=LEARNING_RATE)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(torch.tensor(x)), torch.tensor(labels))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return {
        "parts": parts_of_a_net(),
        "x": x.tolist(),
        "labels": labels.tolist(),
        "learning_rate": LEARNING_RATE,
        "start": start,
        "losses": losses,
        "end": {name: value.tolist() for name, value in net.state_dict().items()},
        "evaluated": net.eval()(torch.tensor(x)).tolist(),
    }


def main():
    """Write images.json, a case a line."""
    rng = np.random.default_rng(0)
    cases = ",\n".join(json.dumps(run_case(rng, *case)) for case in CASES)
    training = json.dumps(run_training(rng))
    Path(__file__).with_name("images.json").write_text(
        f'{{\n"torch": "{torch.__version__}",\n"cases": [\n{cases}\n],\n'
        f'"training": {training}\n}}\n'
    )


if __name__ == "__main__":
    import torch  # not above: pytest imports this file when it looks for doctests

    main()
