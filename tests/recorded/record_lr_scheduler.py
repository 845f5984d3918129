"""Record torch.optim.lr_scheduler, for tests/test_lr_scheduler.py: writes lr_scheduler.json.

Run by hand, ``python tests/recorded/record_lr_scheduler.py``, where PyTorch is installed; the tests
only read the file. It was made with PyTorch 2.13.0 on a CPU.
"""

import json
from pathlib import Path

STEPS = 24
GROUPS = [{}, {"lr": 0.02}]  # beside the optimizer's lr of 0.5
METRICS = [1.0, 0.9, 0.9, 0.89999, 0.95, 0.7, 0.71, 0.72, 0.73, 0.74, 0.75, 0.76] * 2

#: name of the case: the scheduler, its options, the optimizer
CASES = {
    "StepLR": ("StepLR", {"step_size": 5}, "SGD"),
    "StepLR, gamma": ("StepLR", {"step_size": 3, "gamma": 0.7}, "SGD"),
    "MultiStepLR": ("MultiStepLR", {"milestones": [2, 7, 7], "gamma": 0.5}, "SGD"),
    "ExponentialLR": ("ExponentialLR", {"gamma": 0.9}, "SGD"),
    "LinearLR": ("LinearLR", {}, "SGD"),
    "LinearLR, factors": ("LinearLR", {"start_factor": 0.1, "end_factor": 0.6}, "SGD"),
    "CosineAnnealingLR": ("CosineAnnealingLR", {"T_max": 24}, "SGD"),
    "CosineAnnealingLR, up again": ("CosineAnnealingLR", {"T_max": 7, "eta_min": 0.01}, "SGD"),
    "OneCycleLR": ("OneCycleLR", {"max_lr": 2.0, "total_steps": 24}, "SGD"),
    "OneCycleLR, groups": ("OneCycleLR", {"max_lr": [2.0, 1.0], "total_steps": 30}, "Adam"),
    "OneCycleLR, linear": (
        "OneCycleLR",
        {"max_lr": 2.0, "epochs": 5, "steps_per_epoch": 6, "anneal_strategy": "linear"},
        "SGD",
    ),
    "OneCycleLR, three phases": (
        "OneCycleLR",
        {"max_lr": 2.0, "total_steps": 24, "three_phase": True, "pct_start": 0.4},
        "Adam",
    ),
    "OneCycleLR, factors": (
        "OneCycleLR",
        {"max_lr": 2.0, "total_steps": 24, "div_factor": 5.0, "final_div_factor": 10.0,
         "pct_start": 0.0, "cycle_momentum": False},
        "SGD",
    ),
    "SequentialLR": (
        "SequentialLR",
        {"schedulers": ["LinearLR, factors", "CosineAnnealingLR", "ExponentialLR"],
         "milestones": [5, 15]},
        "SGD",
    ),
    "ConstantLR": ("ConstantLR", {}, "SGD"),
    "ConstantLR, factor": ("ConstantLR", {"factor": 0.5, "total_iters": 7}, "SGD"),
    "PolynomialLR": ("PolynomialLR", {}, "SGD"),
    "PolynomialLR, power": ("PolynomialLR", {"total_iters": 20, "power": 2.5}, "SGD"),
    "CosineAnnealingWarmRestarts": ("CosineAnnealingWarmRestarts", {"T_0": 5}, "SGD"),
    "CosineAnnealingWarmRestarts, longer": (
        "CosineAnnealingWarmRestarts", {"T_0": 2, "T_mult": 3, "eta_min": 0.01}, "SGD",
    ),
    "CyclicLR": ("CyclicLR", {"base_lr": 0.1, "max_lr": 1.0, "step_size_up": 4}, "SGD"),
    "CyclicLR, groups, triangular2": (
        "CyclicLR",
        {"base_lr": [0.1, 0.2], "max_lr": [1.0, 0.3], "step_size_up": 2, "step_size_down": 5,
         "mode": "triangular2", "base_momentum": 0.5, "max_momentum": 0.75},
        "Adam",
    ),
    "CyclicLR, exp_range": (
        "CyclicLR",
        {"base_lr": 0.1, "max_lr": 1.0, "step_size_up": 3, "mode": "exp_range", "gamma": 0.9,
         "cycle_momentum": False},
        "SGD",
    ),
    "ChainedScheduler": (
        "ChainedScheduler",
        {"schedulers": ["ConstantLR, factor", "ExponentialLR", "LinearLR, factors", "StepLR",
                        "CosineAnnealingLR", "PolynomialLR, power", "MultiStepLR"]},
        "SGD",
    ),
    "SequentialLR, polynomial": (
        "SequentialLR",
        {"schedulers": ["ConstantLR, factor", "PolynomialLR, power"], "milestones": [3]},
        "SGD",
    ),
    "ReduceLROnPlateau": ("ReduceLROnPlateau", {"patience": 1, "factor": 0.5}, "SGD"),
    "ReduceLROnPlateau, cooldown": (
        "ReduceLROnPlateau",
        {"patience": 1, "factor": 0.5, "cooldown": 3, "min_lr": [0.1, 0.01]},
        "SGD",
    ),
    "ReduceLROnPlateau, max, abs": (
        "ReduceLROnPlateau",
        {"mode": "max", "patience": 2, "threshold": 0.05, "threshold_mode": "abs"},
        "SGD",
    ),
    "ReduceLROnPlateau, max, rel": (
        "ReduceLROnPlateau",
        {"mode": "max", "patience": 0, "threshold": 0.1, "eps": 0.001},
        "SGD",
    ),
}  # fmt: skip


def make(module, optimizer, kind, options):
    """Make a scheduler; those in it are named after their cases."""
    if "schedulers" in options:
        inner = [make(module, optimizer, *CASES[name][:2]) for name in options["schedulers"]]
        options = {**options, "schedulers": inner, "optimizer": optimizer}
        return getattr(module, kind)(**options)
    return getattr(module, kind)(optimizer, **options)


def record(kind, options, optimizer_kind):
    """Return each group's learning rate and momentum in each step."""
    options_of = {"SGD": {"momentum": 0.9}, "Adam": {}}[optimizer_kind]
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], **group} for group in GROUPS]
    optimizer = getattr(torch.optim, optimizer_kind)(groups, lr=0.5, **options_of)
    scheduler = make(torch.optim.lr_scheduler, optimizer, kind, options)
    found = []
    for step in range(STEPS):
        found.append(
            [[g["lr"], g["momentum"] if "momentum" in g else g["betas"][0]]
             for g in optimizer.param_groups]
        )  # fmt: skip
        optimizer.step()
        scheduler.step(*[METRICS[step]] * (kind == "ReduceLROnPlateau"))
    return found


def main():
    """Write lr_scheduler.json."""
    cases = [
        {"name": name, "scheduler": kind, "options": options, "optimizer": optimizer,
         "recorded": record(kind, options, optimizer)}
        for name, (kind, options, optimizer) in CASES.items()
    ]  # fmt: skip
    head = {"torch": torch.__version__, "groups": GROUPS, "metrics": METRICS}
    text = ",\n".join(f'"{key}": {json.dumps(value)}' for key, value in head.items())
    text += ',\n"cases": [\n' + ",\n".join(json.dumps(case) for case in cases) + "\n]"
    Path(__file__).with_name("lr_scheduler.json").write_text("{\n" + text + "\n}\n")


if __name__ == "__main__":
    import torch  # not above: pytest imports this file when it looks for doctests

    main()
