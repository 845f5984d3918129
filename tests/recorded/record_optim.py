"""Record what torch.optim does, for tests/test_optim.py to compare with: writes optim.json.

Run by hand, ``python tests/recorded/record_optim.py``, where PyTorch is installed; the tests only
read the file. It was made with PyTorch 2.13.0 on a CPU.
"""

import json
from pathlib import Path

import numpy as np

SHAPES = [(2, 3), (4,), ()]
STEPS = 10
RECORDED_AFTER = [1, 4, 10]  # steps

# name of the case: the optimizer, its options, and what the loop below does besides
CASES = {
    "SGD": ("SGD", {"lr": 0.1}, {}),
    "SGD, weight decay": ("SGD", {"lr": 0.1, "weight_decay": 0.2}, {}),
    "momentum": ("SGD", {"lr": 0.1, "momentum": 0.9}, {}),
    "momentum, weight decay": ("SGD", {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.2}, {}),
    "Nesterov": ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}, {}),
    "Nesterov, weight decay, lr changes, some gradients are None": (
        "SGD",
        {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.2},
        {"lr_changes": True, "some_none": True},
    ),
    "momentum, lr changes": ("SGD", {"lr": 0.1, "momentum": 0.9}, {"lr_changes": True}),
    "dampening": ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.25}, {}),
    "dampening, maximize, weight decay, lr changes, some gradients are None": (
        "SGD",
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "maximize": True, "weight_decay": 0.2},
        {"lr_changes": True, "some_none": True},
    ),
    "Adam, defaults": ("Adam", {}, {}),
    "Adam, betas": ("Adam", {"lr": 0.1, "betas": [0.5, 0.8]}, {}),
    "Adam, betas of 0": ("Adam", {"lr": 0.1, "betas": [0.0, 0.0]}, {}),
    "Adam, large eps": ("Adam", {"lr": 0.1, "eps": 0.5}, {}),
    "Adam, gradients near eps": ("Adam", {"lr": 0.1, "eps": 1e-8}, {"grad_scale": 1e-8}),
    "Adam, weight decay": ("Adam", {"lr": 0.1, "weight_decay": 0.2}, {}),
    "Adam, weight decay, lr changes, some gradients are None": (
        "Adam",
        {"lr": 0.1, "weight_decay": 0.2},
        {"lr_changes": True, "some_none": True},
    ),
    "Adam, amsgrad": ("Adam", {"lr": 0.1, "betas": [0.5, 0.5], "amsgrad": True}, {}),
    "Adam, maximize": ("Adam", {"lr": 0.1, "maximize": True}, {}),
    "AdamW, defaults": ("AdamW", {}, {}),
    "AdamW, weight decay": ("AdamW", {"lr": 0.1, "weight_decay": 0.2}, {}),
    "AdamW, no weight decay": ("AdamW", {"lr": 0.1, "weight_decay": 0.0}, {}),
    "AdamW, amsgrad, maximize, some gradients are None": (
        "AdamW",
        {"lr": 0.1, "betas": [0.5, 0.5], "amsgrad": True, "maximize": True},
        {"some_none": True},
    ),
    "AdamW, lr changes, some gradients are None": (
        "AdamW",
        {"lr": 0.1, "weight_decay": 0.2},
        {"lr_changes": True, "some_none": True},
    ),
    "RMSprop, defaults": ("RMSprop", {}, {}),
    "RMSprop, alpha": ("RMSprop", {"lr": 0.1, "alpha": 0.5, "eps": 0.1}, {}),
    "RMSprop, weight decay": ("RMSprop", {"lr": 0.1, "weight_decay": 0.2}, {}),
    "RMSprop, momentum": ("RMSprop", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.2}, {}),
    "RMSprop, centered": ("RMSprop", {"lr": 0.1, "alpha": 0.9, "centered": True, "eps": 0.1}, {}),
    "RMSprop, all, lr changes, some gradients are None": (
        "RMSprop",
        {"lr": 0.1, "momentum": 0.5, "centered": True, "weight_decay": 0.2, "eps": 0.1},
        {"lr_changes": True, "some_none": True},
    ),
    "Adagrad, defaults": ("Adagrad", {}, {}),
    "Adagrad, weight decay, initial value": (
        "Adagrad",
        {"lr": 0.1, "weight_decay": 0.2, "initial_accumulator_value": 0.5},
        {},
    ),
    "Adadelta, defaults": ("Adadelta", {}, {}),
    "Adadelta, all, lr changes, some gradients are None": (
        "Adadelta",
        {"lr": 0.1, "rho": 0.5, "eps": 0.1, "weight_decay": 0.2, "maximize": True},
        {"lr_changes": True, "some_none": True},
    ),
    "Adamax, defaults": ("Adamax", {}, {}),
    "Adamax, all, lr changes, some gradients are None": (
        "Adamax",
        {"lr": 0.1, "betas": [0.5, 0.8], "eps": 0.1, "weight_decay": 0.2, "maximize": True},
        {"lr_changes": True, "some_none": True},
    ),
    "RAdam, defaults": ("RAdam", {}, {}),
    "RAdam, weight decay, lr changes, some gradients are None": (
        "RAdam",
        {"lr": 0.1, "betas": [0.5, 0.9], "eps": 0.1, "weight_decay": 0.2},
        {"lr_changes": True, "some_none": True},
    ),
    "RAdam, decoupled weight decay, maximize": (
        "RAdam",
        {"lr": 0.1, "weight_decay": 0.2, "decoupled_weight_decay": True, "maximize": True},
        {},
    ),
    "RAdam, never divided": ("RAdam", {"lr": 0.1, "betas": [0.5, 0.5]}, {}),
    "Adagrad, all, lr changes, some gradients are None": (
        "Adagrad",
        {"lr": 0.1, "lr_decay": 0.3, "weight_decay": 0.2, "eps": 0.1},
        {"lr_changes": True, "some_none": True},
    ),
}


def record(name, options, initial, grads, dtype, lr_changes=False, some_none=False, grad_scale=1):
    """Return the values of all parameters, one after the other, after some of the steps."""
    parameters = [torch.nn.Parameter(torch.tensor(values, dtype=dtype)) for values in initial]
    optimizer = getattr(torch.optim, name)(parameters, **options)
    recorded = []
    for step in range(STEPS):
        if lr_changes:
            optimizer.param_groups[0]["lr"] = 0.1 / (1 + step)
        for index, parameter in enumerate(parameters):
            parameter.grad = grad_scale * torch.tensor(grads[step][index], dtype=dtype)
            if some_none and (step + index) % 3 == 0:
                parameter.grad = None
        optimizer.step()
        if step + 1 in RECORDED_AFTER:
            digits = 9 if dtype == torch.float32 else 17  # enough to tell every float apart
            values = torch.cat([parameter.detach().reshape(-1) for parameter in parameters])
            recorded.append([float(f"{value:.{digits}g}") for value in values.tolist()])
    return recorded


GROUPS = [{"lr": 0.2}, {"weight_decay": 0.3}, {}]  # beside the optimizer's own options
#: Optimizers whose state is recorded after three steps, with what seven more lead to.
STATES = {
    "SGD": ("SGD", {"lr": 0.1, "momentum": 0.9}),
    "SGD, dampening": ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.25}),
    "Adam": ("Adam", {"lr": 0.1}),
    "Adam, amsgrad": ("Adam", {"lr": 0.1, "amsgrad": True}),
    "AdamW": ("AdamW", {"lr": 0.1}),
    "RMSprop": ("RMSprop", {"lr": 0.1, "momentum": 0.5, "centered": True, "eps": 0.1}),
    "Adadelta": ("Adadelta", {"rho": 0.5}),
    "Adamax": ("Adamax", {"lr": 0.1}),
    "RAdam": ("RAdam", {"lr": 0.1, "betas": [0.9, 0.95]}),
    "Adagrad": ("Adagrad", {"lr": 0.1, "initial_accumulator_value": 0.5}),
}


def plain(value):
    """Return a state with lists in the place of tensors."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value.tolist() if isinstance(value, torch.Tensor) else value


def record_state(name, options, initial, grads):
    """Return a state dict after three steps in groups, and the values then and after ten."""
    parameters = [torch.nn.Parameter(torch.tensor(v, dtype=torch.float64)) for v in initial]
    groups = [{"params": [p], **group} for p, group in zip(parameters, GROUPS, strict=True)]
    optimizer = getattr(torch.optim, name)(groups, **options)
    found = {"optimizer": name, "options": options}
    for step in range(STEPS):
        for index, parameter in enumerate(parameters):
            parameter.grad = torch.tensor(grads[step][index], dtype=torch.float64)
        optimizer.step()
        if step + 1 in (3, STEPS):
            values = torch.cat([parameter.detach().reshape(-1) for parameter in parameters])
            found[f"after_{step + 1}"] = values.tolist()
        if step + 1 == 3:
            found["state"] = plain(optimizer.state_dict())
    return found


def main():
    """Write optim.json."""
    rng = np.random.default_rng(0)
    initial = [rng.normal(size=shape).round(3).tolist() for shape in SHAPES]
    grads = [[rng.normal(size=shape).round(3).tolist() for shape in SHAPES] for _ in range(STEPS)]
    cases = [
        {"name": name, "optimizer": optimizer, "options": options, "loop": loop}
        | {
            str(dtype).removeprefix("torch."): record(
                optimizer, options, initial, grads, dtype, **loop
            )
            for dtype in (torch.float32, torch.float64)
        }
        for name, (optimizer, options, loop) in CASES.items()
    ]
    states = [
        {"name": title} | record_state(name, options, initial, grads)
        for title, (name, options) in STATES.items()
    ]
    head = {"torch": torch.__version__, "recorded_after": RECORDED_AFTER}
    data = ",\n".join(
        [f'"{key}": {json.dumps(value)}' for key, value in head.items()]
        + [f'"initial": {json.dumps(initial)}', f'"grads": {json.dumps(grads)}']
        + [f'"groups": {json.dumps(GROUPS)}']
        + [
            f'"{key}": [\n' + ",\n".join(json.dumps(case) for case in found) + "\n]"
            for key, found in (("states", states), ("cases", cases))
        ]
    )
    Path(__file__).with_name("optim.json").write_text("{\n" + data + "\n}\n")


if __name__ == "__main__":
    import torch  # not above: pytest imports this file when it looks for doctests

    main()
