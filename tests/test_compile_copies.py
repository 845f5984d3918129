"""`compile` of functions that copy modules, optimizers and generators."""

import copy

import numpy as np
import pytest
from compiled import assert_same_bits

from microgrand import compile, manual_seed, no_grad
from microgrand.nn import Linear, Module, Parameter
from microgrand.optim import Adam


class Scaled(Module):
    """A module with a number of its own, and with a copy method."""

    def __init__(self):
        self.weight = Parameter(np.ones(2))
        self.scale = 1.0

    def forward(self, x):
        return self.weight * x * self.scale

    def clone(self):
        new = object.__new__(type(self))
        vars(new).update(vars(self))
        return new


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, Scaled.clone])
def test_a_copy_of_a_module_computes_with_its_own_state(make):
    net, kept = Scaled(), []

    def f(x):
        fast = make(net)
        fast.scale = 3.0
        fast.weight = Parameter(fast.weight.data * 2)
        if not kept:
            kept.append(fast)
        with no_grad():
            return fast(x), net(x)

    f(np.ones(2))
    (eager,) = kept
    compiled = compile(f)
    for n in range(4):
        x = np.full(2, float(n))
        assert_same_bits(compiled(x), f(x))
    assert compiled.traces
    assert type(make(net)) is type(eager) is Scaled


def test_a_copy_that_is_kept_is_of_its_own_class():
    net, kept = Linear(2, 1), {}
    put = kept.__setitem__

    def f(x):
        put("copy", copy.deepcopy(net))
        return x * 1

    compile(f)(np.ones(2))
    assert type(kept["copy"]) is Linear


def test_copies_of_a_net_and_its_optimizer():
    manual_seed(0)
    net = Linear(2, 1)
    optimizer = Adam(net.parameters())

    def step(x):
        fast, its_optimizer = copy.deepcopy((net, optimizer))
        its_optimizer.zero_grad()
        loss = (fast(x) ** 2).sum()
        loss.backward()
        its_optimizer.step()
        return loss, fast.weight.data

    compiled = compile(step)
    for n in range(4):
        x = np.full((1, 2), n + 1, np.float32)
        assert_same_bits(compiled(x), step(x))
    assert compiled.traces
    assert optimizer.steps == [0, 0]
