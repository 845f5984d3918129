"""Momenta that schedulers change: one program reads them at each run, as the learning rate."""

import numpy as np
import pytest
from compiled import assert_same_bits

from microgrand import compile, manual_seed, nn, optim
from microgrand.optim import lr_scheduler

X = np.arange(6, dtype=np.float32).reshape(3, 2) / 4 - 0.6
SHARED = 0.85
OPTIMIZERS = {
    "SGD": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "Nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "dampening": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.5),
    "RMSprop": lambda p: optim.RMSprop(p, lr=0.1, momentum=0.9),
    "Adam": lambda p: optim.Adam(p, lr=0.1),
    "a shared number": lambda p: optim.Adam(p, lr=0.1, betas=(SHARED, 0.9), weight_decay=SHARED),
    "amsgrad": lambda p: optim.Adam(p, lr=0.1, amsgrad=True),
    "AdamW": lambda p: optim.AdamW(p, lr=0.1),
    "RAdam": lambda p: optim.RAdam(p, lr=0.1),
    "Adamax": lambda p: optim.Adamax(p, lr=0.1),
    "Lion": lambda p: optim.Lion(p, lr=0.1),
    "groups": lambda p: optim.Adam([{"params": [q], "betas": (0.8, 0.9)} for q in p], lr=0.1),
}


def train(make, decorate, schedule, steps=12):
    manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    optimizer = make(net.parameters())
    change = schedule(optimizer)

    @decorate
    def step(x):
        optimizer.zero_grad()
        loss = (net(x) ** 2).sum()
        loss.backward()
        optimizer.step()
        return loss

    losses = []
    for _ in range(steps):
        losses.append(step(X))
        change()
    return step, [*losses, *(p.data for p in net.parameters())]


def one_cycle(optimizer):
    return lr_scheduler.OneCycleLR(optimizer, max_lr=0.5, total_steps=20).step


def one_cycle_of_rates(optimizer):
    options = {"max_lr": 0.5, "total_steps": 20, "cycle_momentum": False}
    return lr_scheduler.OneCycleLR(optimizer, **options).step


def up_and_down(optimizer):
    return lr_scheduler.CyclicLR(optimizer, 0.01, 0.5, 3).step


@pytest.mark.parametrize("schedule", [one_cycle, up_and_down])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_one_program_for_a_whole_cycle(name, schedule):
    step, found = train(OPTIMIZERS[name], compile, schedule)
    assert_same_bits(found, train(OPTIMIZERS[name], lambda f: f, schedule)[1])
    assert len(step.traces) == 1
    assert step.recordings <= 3


def switched(optimizer):
    values = iter([0.9, 0.9, 0.9, 0.0, 0.0, 0.0, 0.5, 0.7, 0.7, 0.0, 0.9, 0.9])

    def change():
        optimizer.momentum = next(values)

    return change


@pytest.mark.parametrize("name", ["SGD", "dampening", "RMSprop"])
def test_no_momentum_is_another_rule(name):
    _, found = train(OPTIMIZERS[name], compile, switched)
    assert_same_bits(found, train(OPTIMIZERS[name], lambda f: f, switched)[1])


class Halved(optim.SGD):
    def update(self, index):
        rule, memory, numbers = super().update(index)
        return rule, memory, tuple(x / 2 if self.momentum > 0.88 else x for x in numbers)


def test_a_users_optimizer_may_branch_on_momentum():
    def make(parameters):
        return Halved(parameters, lr=0.1, momentum=0.9)

    _, found = train(make, compile, one_cycle)
    assert_same_bits(found, train(make, lambda f: f, one_cycle)[1])


class Flagged(optim.SGD):
    def __init__(self, params, lr, weight_decay=0.0):
        super().__init__(params, lr, weight_decay=weight_decay)

    def update(self, index):
        self.steps[index] += 1
        flag = 0.0
        if self.steps[index] > 4:
            flag = 1.0
        return held, (), (self.group_of[index]["lr"], self.weight_decay, flag)


def held(data, grad, scratch, lr, weight_decay, flag):
    grad = grad + weight_decay * data
    data -= lr * flag * grad


def test_a_literal_in_an_update_is_no_option():
    def make(parameters):
        return Flagged(parameters, lr=0.1)

    _, found = train(make, compile, one_cycle_of_rates)
    assert_same_bits(found, train(make, lambda f: f, one_cycle_of_rates)[1])


def test_betas_of_another_kind_are_another_program():
    def integers(optimizer):
        values = iter([(0.9, 0.9)] * 3 + [(0, 0.9)] * 3 + [(0.5, 0.8)] * 6)

        def change():
            optimizer.betas = next(values)

        return change

    _, found = train(OPTIMIZERS["Adam"], compile, integers)
    assert_same_bits(found, train(OPTIMIZERS["Adam"], lambda f: f, integers)[1])
