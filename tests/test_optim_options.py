"""Options that all optimizers have, closures and gradients of zero."""

import inspect

import numpy as np
import pytest
from compiled import assert_same_bits
from helpers import leaf
from test_optim import OPTIMIZERS, every_optimizer

from microgrand import compile, nn, no_grad, optim
from microgrand.optim import SGD, Adam


@every_optimizer
def test_up_the_gradients_is_down_their_negatives(kind):
    p, q = leaf(1.0, 2.0), leaf(1.0, 2.0)
    up, down = OPTIMIZERS[kind]([p]), OPTIMIZERS[kind]([q])
    up.maximize = True
    for grad in np.random.default_rng(0).normal(size=(4, 2)):
        p.grad, q.grad = grad, -grad
        up.step()
        down.step()
        np.testing.assert_array_equal(p.grad, grad)
    assert_same_bits(p.data, q.data)


def test_a_group_may_go_up():
    p, q = leaf(1.0), leaf(1.0)
    optimizer = SGD([{"params": [p], "maximize": True}, {"params": [q]}], lr=0.5)
    (p + q).sum().backward()
    optimizer.step()
    assert (p.item(), q.item()) == (1.5, 0.5)


KINDS = ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "RAdam"]


@pytest.mark.parametrize("kind", KINDS)
def test_arguments_are_pytorchs(kind):
    torch = pytest.importorskip("torch")
    ours = inspect.signature(getattr(optim, kind)).parameters
    theirs = inspect.signature(getattr(torch.optim, kind)).parameters
    for (name, one), other in zip(ours.items(), theirs, strict=False):
        if one.kind is one.POSITIONAL_OR_KEYWORD:
            assert name == other
        assert one.default == theirs[name].default


def test_the_positions_are_pytorchs():
    assert SGD(params=[leaf(1.0)], lr=0.5).lr == 0.5
    optimizer = SGD([leaf(1.0)], 0.1, 0.9, 0.25, 1e-4, False)
    assert (optimizer.dampening, optimizer.weight_decay) == (0.25, 1e-4)
    assert SGD([leaf(1.0)]).lr == 1e-3


@pytest.mark.parametrize("name", ["foreach", "fused", "capturable", "differentiable"])
def test_options_that_tell_how_to_compute_are_refused(name):
    with pytest.raises(TypeError, match=rf"AdamW has no option '{name}'.*leave it out"):
        optim.AdamW([leaf(1.0)], **{name: True})


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda p: SGD(p, 0.1, 0.9, 0.5, nesterov=True), ValueError, "no dampening, got damp.*0.5"),
        (lambda p: SGD(p, 0.1, 0.9, -0.5), ValueError, "dampening must be at least 0"),
        (lambda p: SGD(p, maximize=1), TypeError, "maximize must be True or False"),
        (lambda p: Adam(p, amsgrad=None), TypeError, "amsgrad must be True or False"),
        (lambda p: Adam(p, momentun=0.9), TypeError, "unexpected keyword argument 'momentun'"),
    ],
)
def test_misuse(make, error, words):
    with pytest.raises(error, match=words):
        make([leaf(1.0)])


def test_the_first_gradient_is_whole_also_after_a_state_of_before_it():
    p, q, r, s = (leaf(1.0) for _ in range(4))
    both = [SGD(pair, 1.0, momentum=0.5, dampening=0.5) for pair in ([p, r], [q, s])]
    r.grad = q.grad = np.ones(1)
    for optimizer in both:
        optimizer.step()
    q.data = np.ones(1)
    assert list(both[0].state_dict()["state"]) == [1]  # p's velocity has not begun
    both[1].load_state_dict(both[0].state_dict())
    for x, optimizer in zip((p, q), both, strict=True):
        for _ in range(2):
            x.grad = np.ones(1)
            optimizer.step()
    assert p.item() == q.item() == 1 - 1 - (0.5 + 0.5)
    assert SGD([p], momentum=0.5).state_dict()["state"] == {}


# ----------------------------------------------------------------------------- step and zero_grad


def test_a_closure_is_called_before_the_step():
    net = nn.Linear(2, 1)
    optimizer = SGD(net.parameters(), lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (net(np.ones((3, 2))) ** 2).mean()
        loss.backward()
        return loss

    with no_grad():  # as PyTorch's, it is recorded nevertheless
        first = optimizer.step(closure)
    assert first.item() > optimizer.step(closure).item()
    assert optimizer.step() is None
    for wrong in first, 1.0:
        with pytest.raises(
            TypeError, match=r"step takes a function.*call loss\.backward\(\) before"
        ):
            optimizer.step(wrong)


def test_a_step_with_a_closure_is_compiled():
    def losses(compiled):
        p = leaf(1.0, 2.0)
        optimizer = Adam([p], lr=0.1)

        def step(x):
            def closure():
                optimizer.zero_grad(set_to_none=False)
                loss = ((p * x) ** 2).sum()
                loss.backward()
                return loss

            return optimizer.step(closure)

        run = compile(step) if compiled else step
        return [run(np.array([1.0, i])).data.copy() for i in range(5)]

    assert_same_bits(losses(True), losses(False))


@pytest.mark.parametrize("make", [lambda p: SGD(p, 0.1), lambda p: holder(p)])
def test_gradients_become_zeros_where_there_are_some(make):
    p, q = nn.Parameter([1.0, 2.0]), nn.Parameter([3.0])
    owner = make([p, q])
    loss = (p * p).sum()
    loss.backward()
    old = p.grad
    owner.zero_grad(set_to_none=False)
    np.testing.assert_array_equal(p.grad, [0.0, 0.0])
    assert q.grad is None
    assert old.all()
    owner.zero_grad(set_to_none=True)
    assert p.grad is None
    with pytest.raises(TypeError, match="zero_grad's set_to_none is True or False, got 'no'"):
        owner.zero_grad("no")


def holder(parameters):
    module = nn.Module()
    module.parameters_of = parameters
    return module
