"""Groups of parameters, state dicts and reprs of optimizers: PyTorch's numbers, misuse."""

import numpy as np
import pytest
from helpers import leaf
from hypothesis import given
from hypothesis import strategies as st
from test_optim import CLASSES, OPTIMIZERS, RECORDED, every_optimizer

from microgrand import Tensor, compile, nn
from microgrand.optim import SGD, Adagrad, Adam, Lion, Optimizer


def in_groups(case):
    """Make parameters in groups, as those of a recorded state, and their optimizer."""
    parameters = [Tensor(np.array(v), requires_grad=True) for v in RECORDED["initial"]]
    groups = [
        {"params": [p], **group} for p, group in zip(parameters, RECORDED["groups"], strict=True)
    ]
    return parameters, CLASSES[case["optimizer"]](groups, **case["options"])


def steps(parameters, optimizer, numbers):
    for number in numbers:
        for tensor, grad in zip(parameters, RECORDED["grads"][number], strict=True):
            tensor.grad = np.array(grad)
        optimizer.step()
    return np.concatenate([tensor.data.reshape(-1) for tensor in parameters])


every_state = pytest.mark.parametrize("case", RECORDED["states"], ids=lambda case: case["name"])


@every_state
def test_groups_have_options_of_their_own_and_states_are_pytorchs(case):
    parameters, optimizer = in_groups(case)
    result = steps(parameters, optimizer, range(3))
    np.testing.assert_allclose(result, case["after_3"], rtol=1e-13)
    ours, theirs = optimizer.state_dict(), case["state"]
    assert [str(i) for i in ours["state"]] == list(theirs["state"])
    for i, entry in ours["state"].items():
        assert entry.keys() == theirs["state"][str(i)].keys()
        for name, value in entry.items():
            np.testing.assert_allclose(value, theirs["state"][str(i)][name], rtol=1e-12)
    for mine, other in zip(ours["param_groups"], theirs["param_groups"], strict=True):
        assert {k: other[k] for k in mine} == {
            k: list(v) if isinstance(v, tuple) else v for k, v in mine.items()
        }
    np.testing.assert_allclose(
        steps(parameters, optimizer, range(3, 10)), case["after_10"], rtol=1e-13
    )


@every_state
def test_pytorchs_state_is_gone_on_from(case):
    parameters, optimizer = in_groups(case)
    steps(parameters, optimizer, range(2))
    for group in optimizer.param_groups:
        group["lr"] = 0.7
    values = iter(case["after_3"])
    for tensor in parameters:
        tensor.data = np.reshape([next(values) for _ in range(tensor.size)], tensor.shape)
    optimizer.load_state_dict(case["state"])
    result = steps(parameters, optimizer, range(3, 10))
    np.testing.assert_allclose(result, case["after_10"], rtol=1e-13)


@every_optimizer
@given(st.integers(0, 3), st.sampled_from([np.float16, np.float32, np.float64]))
def test_a_loaded_optimizer_goes_on_with_the_same_bits(kind, before, dtype):
    grads = np.random.default_rng(0).normal(size=(6, 3)).astype(dtype)
    one, two = (Tensor(np.ones(3, dtype), requires_grad=True) for _ in range(2))
    first, second = OPTIMIZERS[kind]([one]), OPTIMIZERS[kind]([two])

    def train(tensor, optimizer, grads):
        for grad in grads:
            tensor.grad = grad
            optimizer.step()

    train(one, first, grads[:before])
    train(two, second, grads[3:])  # in other ways, which are forgotten
    two.data[...] = one.data
    state = first.state_dict()
    second.load_state_dict(state)
    train(one, first, grads[before:])
    train(two, second, grads[before:])
    np.testing.assert_array_equal(one.data, two.data)
    assert str(first.state_dict()) == str(second.state_dict())


@every_optimizer
def test_a_group_that_is_added_later(kind):
    p, q, r = leaf(1.0, 2.0), leaf(1.0, 2.0), leaf(3.0)
    optimizer, alone = OPTIMIZERS[kind]([r]), OPTIMIZERS[kind]([q])
    for number in range(4):
        if number == 1:
            optimizer.add_param_group({"params": [p]})
        for x in (p, q, r):
            x.grad = np.full(x.shape, 0.5 + number)
        optimizer.step()
        if number:
            alone.step()
    np.testing.assert_array_equal(p.data, q.data)
    assert optimizer.parameters == [r, p]


def test_lr_of_all_groups_and_of_one():
    optimizer = SGD([{"params": [leaf(1.0)]}, {"params": [leaf(2.0)], "lr": 0.5}], lr=0.1)
    with pytest.raises(ValueError, match=r"groups differ in lr: \[0\.1, 0\.5\].*param_groups\[0\]"):
        optimizer.lr  # noqa: B018
    optimizer.param_groups[1]["lr"] = np.float64(0.25)
    assert type(optimizer.param_groups[1]["lr"]) is float
    optimizer.lr = 0.2
    assert [group["lr"] for group in optimizer.param_groups] == [0.2, 0.2]
    assert optimizer.lr == 0.2
    with pytest.raises(ValueError, match="lr must be"):
        optimizer.param_groups[0]["lr"] = -1
    assert optimizer.lr == 0.2


def test_reprs():
    assert repr(SGD([leaf(1.0)], 0.5)) == (
        "SGD(lr=0.5, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False, maximize=False)"
    )
    assert repr(Lion([{"params": [leaf(1.0)]}, {"params": [leaf(1.0), leaf(2.0)], "lr": 1}])) == (
        "Lion(\n"
        "  (0): 1 parameters, lr=0.0001, betas=(0.9, 0.99), weight_decay=0.0, maximize=False\n"
        "  (1): 2 parameters, lr=1.0, betas=(0.9, 0.99), weight_decay=0.0, maximize=False\n"
        ")"
    )


p = leaf(1.0)


@pytest.mark.parametrize(
    ("groups", "error", "words"),
    [
        ({"params": [p]}, TypeError, r"got one dict; write \[group\]"),
        ([{"params": [p]}, p], TypeError, r"parameters\[1\] is of type Tensor among groups"),
        ([{"lr": 0.1}], TypeError, 'with tensors as "params"'),
        ([{"params": p}], TypeError, r"write \[tensor\]"),
        ([{"params": []}], ValueError, "there are no parameters"),
        ([{"params": [p], "learning_rate": 1}], TypeError, "'learning_rate'.*options are lr, mom"),
        ([{"params": [p], "lr": "1"}], TypeError, "lr must be a number"),
        ([{"params": [p], "momentum": 1}], ValueError, r"momentum must be in \[0, 1\)"),
        ([{"params": [p], "nesterov": True}], ValueError, "needs a momentum above 0"),
        ([{"params": [p]}, {"params": [p]}], ValueError, "same tensor as one of another group"),
        ([], ValueError, "there are no parameters"),
    ],
)
def test_groups_that_are_refused(groups, error, words):
    with pytest.raises(error, match=words):
        SGD(groups, 0.1)


def test_a_refused_group_changes_nothing():
    p, q = leaf(1.0), leaf(2.0)
    optimizer = Adam([p])
    with pytest.raises(ValueError, match="lr must be"):
        optimizer.add_param_group({"params": [q], "lr": -1})
    assert (optimizer.parameters, len(optimizer.param_groups)) == ([p], 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda groups: groups[0]["params"].append(leaf(3.0)),
        lambda groups: groups[0]["params"].pop(),
        lambda groups: groups[1].update(params=[leaf(3.0)]),
        lambda groups: groups[0]["params"].reverse(),
        lambda groups: groups.append({"params": [leaf(3.0)], "lr": 0.1}),
        lambda groups: groups.pop(),
    ],
)
def test_tensors_in_groups_that_are_changed_by_hand_are_refused(change):
    p, q, r = leaf(1.0), leaf(2.0), leaf(3.0)
    optimizer = Adam([{"params": [p, q]}, {"params": [r]}])
    change(optimizer.param_groups)
    p.grad = np.ones(1)
    for use in optimizer.step, optimizer.state_dict:
        with pytest.raises(ValueError, match=r"Adam's param_groups list other.*add_param_group\("):
            use()
    assert p.item() == 1


def adams_state(**changes):
    state = {"step": 2, "exp_avg": np.ones(2), "exp_avg_sq": np.ones(2)}
    return {**state, **changes}


GROUP = Adam([leaf(1.0)]).state_dict()["param_groups"][0]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"state": {}}, "expected a mapping 'state' and a list 'param_groups'"),
        ({"state": {}, "param_groups": []}, r"groups of \[\] parameters, expected \[1\]"),
        ({"state": {}, "param_groups": [{**GROUP, "params": [0, 1]}]}, r"groups of \[2\]"),
        ({"state": {}, "param_groups": [{"params": [0], "lr": 0.1}]}, "has no betas"),
        ({"state": {}, "param_groups": [{**GROUP, "lr": -1}]}, r"param_groups\[0\]: lr must be"),
        ({"state": {}, "param_groups": [{**GROUP, "centered": True}]}, "centered=True, which Adam"),
        ({"state": {}, "param_groups": [{**GROUP, "decoupled_weight_decay": True}]}, "decoupled"),
        ({"state": {7: {}}, "param_groups": [GROUP]}, r"state\[7\] is of no parameter"),
        ({"state": {0: adams_state(step=None)}, "param_groups": [GROUP]}, "has no 'step'"),
        ({"state": {0: adams_state(step=-1)}, "param_groups": [GROUP]}, "number of steps is -1"),
        ({"state": {0: adams_state(step=0.5)}, "param_groups": [GROUP]}, "number of steps is 0.5"),
        ({"state": {0: adams_state(sum=1)}, "param_groups": [GROUP]}, "'sum'; Adam remembers step"),
        (
            {"state": {0: adams_state(exp_avg=np.ones(3))}, "param_groups": [GROUP]},
            r"\['exp_avg'\] has shape \(3,\), expected \(2,\)",
        ),
        (
            {"state": {0: adams_state(exp_avg=np.array(["a", "b"]))}, "param_groups": [GROUP]},
            "of dtype <U1, expected floats",
        ),
        (
            {"state": {0: adams_state(exp_avg=np.full(2, 1e300))}, "param_groups": [GROUP]},
            "beyond the range of float32",
        ),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(state, words):
    tensor = leaf(1.0, 2.0, dtype=np.float32)
    optimizer = Adam([tensor], lr=0.5)
    tensor.grad = np.ones(2, np.float32)
    optimizer.step()
    before = str(optimizer.state_dict())
    with pytest.raises(ValueError, match=words):
        optimizer.load_state_dict(state)
    assert str(optimizer.state_dict()) == before
    with pytest.raises(TypeError, match="takes a mapping"):
        optimizer.load_state_dict([state])


@every_optimizer
def test_states_of_before_there_were_all_options_are_loaded(kind):
    optimizer = OPTIMIZERS[kind]([leaf(1.0)])
    state = optimizer.state_dict()
    for name in "maximize", "dampening", "amsgrad":
        state["param_groups"][0].pop(name, None)
    optimizer.maximize = True
    optimizer.load_state_dict(state)
    assert not optimizer.maximize


def test_a_state_is_a_copy():
    net = nn.Linear(2, 1)
    optimizer = Adam(net.parameters())
    net(np.ones((1, 2))).sum().backward()
    optimizer.step()
    state = optimizer.state_dict()
    state["state"][0]["exp_avg"][...] = 7
    assert not (optimizer.memory["exp_avg"][0] == 7).any()
    optimizer.load_state_dict(state)
    state["state"][0]["exp_avg"][...] = 9
    assert (optimizer.memory["exp_avg"][0] == 7).all()


def test_pytorch_loads_our_state_and_goes_on():
    torch = pytest.importorskip("torch")
    for case in RECORDED["states"]:
        parameters, optimizer = in_groups(case)
        steps(parameters, optimizer, range(3))
        theirs = [torch.nn.Parameter(torch.tensor(p.data)) for p in parameters]
        groups = [
            {"params": [p], **group} for p, group in zip(theirs, RECORDED["groups"], strict=True)
        ]
        loaded = getattr(torch.optim, case["optimizer"])(groups, **case["options"])
        state = optimizer.state_dict()
        state["state"] = {
            i: {k: torch.as_tensor(v, dtype=float) for k, v in entry.items()}
            for i, entry in state["state"].items()
        }
        loaded.load_state_dict(state)
        for number in range(3, 10):
            for p, grad in zip(theirs, RECORDED["grads"][number], strict=True):
                p.grad = torch.tensor(grad, dtype=torch.float64)
            loaded.step()
        values = torch.cat([p.detach().reshape(-1) for p in theirs])
        np.testing.assert_allclose(values.numpy(), case["after_10"], rtol=1e-12)


def test_a_users_own_optimizer():
    class SignDescent(Optimizer):
        def __init__(self, parameters, lr):
            super().__init__(parameters, lr=lr)

        def update(self, index):
            def rule(data, grad, scratch, lr):
                data -= lr * np.sign(grad)

            return rule, (), (self.group_of[index]["lr"],)

    tensor = leaf(1.0, 2.0)
    optimizer = SignDescent([{"params": [tensor], "lr": 0.5}], lr=0.1)
    (tensor**2).sum().backward()
    optimizer.step()
    np.testing.assert_array_equal(tensor.data, [0.5, 1.5])
    optimizer.load_state_dict(optimizer.state_dict())


def test_adagrads_sums_restart_at_their_initial_value():
    one, two = leaf(1.0, 2.0), leaf(1.0, 2.0)
    first, second = (Adagrad([p], initial_accumulator_value=0.5) for p in (one, two))
    two.grad = np.ones(2)
    second.step()
    two.data[...] = one.data
    second.load_state_dict(first.state_dict())
    for p, optimizer in (one, first), (two, second):
        p.grad = np.ones(2)
        optimizer.step()
    np.testing.assert_array_equal(one.data, two.data)


def test_a_compiled_step_notices_tensors_put_in_by_hand():
    p, q = leaf(1.0), leaf(2.0)
    optimizer = SGD([p], 0.1)

    @compile
    def step():
        optimizer.zero_grad()
        (p * q).sum().backward()
        optimizer.step()

    for _ in range(3):
        step()
    optimizer.param_groups[0]["params"].append(q)
    with pytest.raises(ValueError, match="list other tensors"):
        step()
