"""Schedules of the learning rate: PyTorch's numbers, states, misuse."""

import functools
import json
from pathlib import Path

import numpy as np
import pytest
from helpers import by_pickle, leaf
from hypothesis import given
from hypothesis import strategies as st
from test_compile_steps import assert_trains_as_eager

from microgrand import compile, nn
from microgrand.optim import SGD, Adagrad, Adam, lr_scheduler

# Made by record_lr_scheduler.py beside it.
RECORDED = json.loads(
    Path(__file__).with_name("recorded").joinpath("lr_scheduler.json").read_text()
)
CASES = {case["name"]: case for case in RECORDED["cases"]}
every_case = pytest.mark.parametrize("name", CASES)


def make_optimizer(kind="SGD"):
    groups = [{"params": [leaf(0.0)], **group} for group in RECORDED["groups"]]
    return SGD(groups, lr=0.5, momentum=0.9) if kind == "SGD" else Adam(groups, lr=0.5)


def make_scheduler(name, optimizer):
    case = CASES[name]
    options = dict(case["options"])
    if "schedulers" in options:
        options["schedulers"] = [make_scheduler(n, optimizer) for n in options["schedulers"]]
    return getattr(lr_scheduler, case["scheduler"])(optimizer=optimizer, **options)


def options_of(optimizer):
    return [
        [g["lr"], g["momentum"] if "momentum" in g else g["betas"][0]]
        for g in optimizer.param_groups
    ]


def step(name, scheduler, number):
    metric = [RECORDED["metrics"][number]] * (CASES[name]["scheduler"] == "ReduceLROnPlateau")
    scheduler.step(*metric)


@every_case
def test_rates_are_pytorchs(name):
    optimizer = make_optimizer(CASES[name]["optimizer"])
    scheduler = make_scheduler(name, optimizer)
    scheduler, optimizer = by_pickle((scheduler, optimizer))
    for number, expected in enumerate(CASES[name]["recorded"]):
        found = options_of(optimizer)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15, err_msg=str(number))
        assert scheduler.get_last_lr() == [lr for lr, _ in found]
        step(name, scheduler, number)


@every_case
@given(st.integers(0, 12))
def test_a_loaded_scheduler_goes_on(name, before):
    optimizer = make_optimizer(CASES[name]["optimizer"])
    scheduler = make_scheduler(name, optimizer)
    for number in range(before):
        step(name, scheduler, number)
    other = make_optimizer(CASES[name]["optimizer"])
    other.lr = 0.125  # forgotten
    loaded = make_scheduler(name, other)
    states = [json.loads(json.dumps(x.state_dict())) for x in (scheduler, optimizer)]
    loaded.load_state_dict(states[0])
    other.load_state_dict(states[1])
    for number in range(before, 20):
        assert options_of(other) == options_of(optimizer)
        step(name, scheduler, number)
        step(name, loaded, number)


def test_a_schedule_of_dropout_is_one_of_the_learning_rate():
    optimizer = SGD([leaf(0.0)], lr=0.5)
    schedule = nn.cosine_schedule(1.0, 0.0, steps=4, delay=2)
    scheduler = lr_scheduler.LambdaLR(optimizer, schedule)
    for number in range(8):
        assert optimizer.lr == 0.5 * schedule(number)
        scheduler.step()


def test_a_function_for_each_group():
    optimizer = make_optimizer()
    scheduler = lr_scheduler.LambdaLR(optimizer, [lambda step: 1 / (1 + step), lambda step: 2.0])
    scheduler.step()
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.04]


def test_a_group_that_is_added_later_is_scheduled_too():
    optimizer = SGD([leaf(0.0)], lr=0.5)
    scheduler = lr_scheduler.ExponentialLR(optimizer, 0.5)
    scheduler.step()
    optimizer.add_param_group({"params": [leaf(1.0)], "lr": 0.25})
    scheduler.step()
    assert [group["lr"] for group in optimizer.param_groups] == [0.125, 0.0625]


def test_factors_of_each_step_are_multiplied_also_after_a_checkpoint():
    def make():
        optimizer = SGD([{"params": [leaf(0.0)]}, {"params": [leaf(0.0)], "lr": 2.0}], lr=1.0)
        functions = [lambda step: 1 / (1 + step), lambda step: 0.5]
        return optimizer, lr_scheduler.MultiplicativeLR(optimizer, functions)

    (optimizer, scheduler), (other, loaded) = make(), make()
    expected = [1.0, 2.0]
    for step in range(1, 6):
        scheduler.step()
        expected = [expected[0] / (1 + step), expected[1] / 2]
        np.testing.assert_allclose(scheduler.get_last_lr(), expected, rtol=1e-15)
    other.load_state_dict(optimizer.state_dict())
    loaded.load_state_dict(scheduler.state_dict())
    scheduler.step()
    loaded.step()
    assert loaded.get_last_lr() == scheduler.get_last_lr()
    assert lr_scheduler.ChainedScheduler([loaded]).get_last_lr() == [1.0, 2.0]


def test_states_of_pytorch_with_what_its_schedulers_keep():
    optimizer = SGD([leaf(0.0)], 0.5, momentum=0.9)
    (group,) = optimizer.state_dict()["param_groups"]
    kept = {"initial_lr": 0.02, "max_lr": 0.5, "min_lr": 1e-6}
    kept |= {"max_momentum": 0.95, "base_momentum": 0.85}
    state = {"state": {}, "param_groups": [{**group, **kept, "lr": 0.04, "momentum": 0.875}]}
    optimizer.load_state_dict(state)
    assert (optimizer.lr, optimizer.momentum) == (0.04, 0.875)
    assert not {"max_lr", "max_momentum"} & optimizer.param_groups[0].keys()

    optimizer = SGD([leaf(0.0)], 0.5)
    parts = [lr_scheduler.ConstantLR(optimizer, 0.5, 2), lr_scheduler.ExponentialLR(optimizer, 0.5)]
    chain = lr_scheduler.ChainedScheduler(parts)
    chain.load_state_dict({"_schedulers": [{"last_epoch": 3}] * 2, "_last_lr": [0.0625]})
    chain.step()
    assert optimizer.lr == 0.5**5
    with pytest.raises(ValueError, match="missing: last_epoch"):
        chain.load_state_dict({"_schedulers": []})


def test_compiled_steps_read_the_learning_rate_at_each_call():
    schedulers = {}

    def between(training, number):
        if number == 0:
            schedulers[training] = lr_scheduler.CosineAnnealingLR(training.optimizer, 6)
        else:
            schedulers[training].step()

    assert_trains_as_eager("dropout", "groups of Adam", np.float32, between, traces=None)


@pytest.mark.parametrize(
    "make",
    [
        lambda optimizer: lr_scheduler.CyclicLR(optimizer, 0.01, 0.5, 2, cycle_momentum=False),
        lambda optimizer: lr_scheduler.ChainedScheduler(
            [lr_scheduler.ConstantLR(optimizer), lr_scheduler.ExponentialLR(optimizer, 0.5)]
        ),
        lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 2),
    ],
)
def test_compiled_steps_follow_each_scheduler(make):
    net = nn.Linear(2, 1)
    optimizer = SGD(net.parameters(), 0.5, momentum=0.9)
    scheduler = make(optimizer)

    @functools.partial(compile, check=True)
    def train(x):
        optimizer.zero_grad()
        loss = (net(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    for x in np.random.default_rng(0).normal(size=(8, 4, 2)).astype(np.float32):
        train(x)
        scheduler.step()
    assert len(train.traces) == 1


@pytest.mark.parametrize("mode", ["cycle", "iterations"])
def test_a_cycle_of_ones_own_height(mode):
    optimizer, seen = SGD([leaf(0.0)], 0.5), []

    def height(number):
        seen.append(number)
        return 1 / number if number else 1.0

    scheduler = lr_scheduler.CyclicLR(
        optimizer, 0.25, 1.25, 2, 1, scale_fn=height, scale_mode=mode, cycle_momentum=False
    )
    rates = []
    for _ in range(6):
        rates.append(optimizer.lr)
        scheduler.step()
    steps = [1, 1, 1, 2, 2, 2] if mode == "cycle" else [0, 1, 2, 3, 4, 5]
    assert seen[:6] == steps
    parts = [0, 0.5, 1, 0, 0.5, 1]
    assert rates == [
        0.25 + part * (1 / n if n else 1) for part, n in zip(parts, steps, strict=True)
    ]


def test_a_warm_up_before_a_cycle_is_that_of_the_optimizers_rate():
    optimizer = SGD([leaf(0.0)], 0.5)
    warm_up = lr_scheduler.ConstantLR(optimizer, 0.5, 2)
    cycle = lr_scheduler.CyclicLR(optimizer, 0.125, 1.125, 2, cycle_momentum=False)
    scheduler = lr_scheduler.SequentialLR(optimizer, [warm_up, cycle], [1])
    rates = []
    for _ in range(5):
        rates.append(optimizer.lr)
        scheduler.step()
    assert rates == [0.25, 0.125, 0.625, 1.125, 0.625]


def test_the_metric_may_be_a_tensor():
    scheduler = lr_scheduler.ReduceLROnPlateau(SGD([leaf(0.0)], 0.1))
    scheduler.step((leaf(1.0, 2.0) ** 2).sum())
    assert scheduler.best == 5
    for wrong in "0.5", None, np.ones(2), True:
        with pytest.raises(TypeError, match="number to be watched"):
            scheduler.step(wrong)
    scheduler.step(np.nan)
    assert (scheduler.best, scheduler.num_bad_epochs) == (5, 1)


def test_a_cycle_ends():
    optimizer = SGD([leaf(0.0)], 0.1)
    scheduler = lr_scheduler.OneCycleLR(optimizer, 1.0, 3, cycle_momentum=False)
    for _ in range(3):
        scheduler.step()
    with pytest.raises(ValueError, match=r"OneCycleLR is over.*total_steps=3"):
        scheduler.step()


optimizer = make_optimizer()
L = lr_scheduler


@pytest.mark.parametrize(
    ("use", "error", "words"),
    [
        (lambda: L.StepLR([1], 3), TypeError, r"StepLR takes an optimizer, got list"),
        (lambda: L.LambdaLR(nn.ReLU(), abs), TypeError, "takes an optimizer, got ReLU"),
        (lambda: L.StepLR(optimizer, 0), ValueError, "step_size must be at least 1, got 0"),
        (lambda: L.StepLR(optimizer, 1.5), TypeError, "step_size must be an integer"),
        (lambda: L.ExponentialLR(optimizer, "a"), TypeError, "gamma must be a number"),
        (lambda: L.MultiStepLR(optimizer, 3), TypeError, "milestones must be a list"),
        (lambda: L.MultiStepLR(optimizer, [5, 3]), ValueError, "milestones must increase"),
        (lambda: L.LambdaLR(optimizer, 0.5), TypeError, "lr_lambda must be a function"),
        (lambda: L.LambdaLR(optimizer, [abs]), ValueError, "1 functions for 2 groups"),
        (lambda: L.LambdaLR(optimizer, lambda s: -1.0), ValueError, "lr must be"),
        (lambda: L.OneCycleLR(optimizer, 1.0), TypeError, "needs total_steps"),
        (lambda: L.OneCycleLR(optimizer, [1.0], 5), ValueError, "max_lr has 1 numbers for 2"),
        (lambda: L.OneCycleLR(optimizer, 1.0, 5, pct_start=2), ValueError, "from 0 to 1"),
        (lambda: L.OneCycleLR(optimizer, 1.0, 5, div_factor=0), ValueError, "above 0"),
        (lambda: L.OneCycleLR(optimizer, 1.0, 5, anneal_strategy="x"), ValueError, "'cos' or"),
        (
            lambda: L.OneCycleLR(Adagrad([leaf(1.0)]), 1.0, 5),
            ValueError,
            "Adagrad has no momentum.*cycle_momentum=False",
        ),
        (lambda: L.ReduceLROnPlateau(optimizer, "best"), ValueError, "mode must be 'min' or 'max'"),
        (lambda: L.ReduceLROnPlateau(optimizer, factor=1), ValueError, r"factor must be in \[0, 1"),
        (lambda: L.SequentialLR(optimizer, [], []), TypeError, "list of schedulers"),
        (
            lambda: L.SequentialLR(optimizer, [L.ReduceLROnPlateau(optimizer)], []),
            TypeError,
            "not a function of the step",
        ),
        (
            lambda: L.SequentialLR(optimizer, [L.LinearLR(optimizer)], [3]),
            ValueError,
            "1 schedulers need 0 milestones",
        ),
        (
            lambda: L.SequentialLR(optimizer, [L.LinearLR(make_optimizer())], []),
            ValueError,
            "another optimizer",
        ),
        (
            lambda: L.SequentialLR(optimizer, [L.OneCycleLR(optimizer, 1.0, 5)], []),
            ValueError,
            "cycle_momentum=False",
        ),
        (lambda: L.ConstantLR(optimizer, 2), ValueError, "factor must be from 0 to 1"),
        (lambda: L.PolynomialLR(optimizer, 0), ValueError, "total_iters must be at least 1"),
        (lambda: L.CosineAnnealingWarmRestarts(optimizer, 0), ValueError, "T_0 must be at least 1"),
        (lambda: L.CosineAnnealingWarmRestarts(optimizer, 1, 0.5), TypeError, "T_mult must be an"),
        (lambda: L.CyclicLR(optimizer, 0.1, [1.0]), ValueError, "max_lr has 1 numbers for 2"),
        (lambda: L.CyclicLR(optimizer, 0.1, 1, 3, 0), ValueError, "step_size_down must be at"),
        (lambda: L.CyclicLR(optimizer, 0.1, 1, mode="x"), ValueError, "mode must be 'triangular'"),
        (lambda: L.CyclicLR(optimizer, 0.1, 1, scale_fn=1), TypeError, "scale_fn must be a func"),
        (
            lambda: L.CyclicLR(Adagrad([leaf(1.0)]), 0.1, 1),
            ValueError,
            "no momentum that CyclicLR could change",
        ),
        (lambda: L.ChainedScheduler([]), TypeError, "takes a list of schedulers"),
        (lambda: L.ChainedScheduler(optimizer), TypeError, r"ChainedScheduler\(\[one, other\]\)"),
        (
            lambda: L.ChainedScheduler([L.CosineAnnealingLR(optimizer, 9, eta_min=0.1)]),
            TypeError,
            r"schedulers\[0\] is of type CosineAnnealingLR.*eta_min.*SequentialLR",
        ),
        (
            lambda: L.ChainedScheduler([L.LinearLR(optimizer), L.ReduceLROnPlateau(optimizer)]),
            TypeError,
            r"schedulers\[1\] is of type ReduceLROnPlateau",
        ),
        (
            lambda: L.ChainedScheduler([L.LinearLR(optimizer), L.LinearLR(make_optimizer())]),
            ValueError,
            r"schedulers\[1\] belongs to another",
        ),
        (lambda: L.LinearLR(optimizer).load_state_dict([]), TypeError, "mapping, got list"),
        (lambda: L.LinearLR(optimizer).load_state_dict({}), ValueError, "missing: last_epoch"),
        (
            lambda: L.LinearLR(optimizer).load_state_dict({"last_epoch": -1}),
            ValueError,
            "nothing was changed in LinearLR; last_epoch is -1",
        ),
    ],
)
def test_misuse(use, error, words):
    with pytest.raises(error, match=words):
        use()
