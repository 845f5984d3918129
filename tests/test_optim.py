"""Tests of microgrand.optim: trajectories recorded from PyTorch, textbook formulas, misuse."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import by_pickle, leaf
from hypothesis import given
from hypothesis import strategies as st

from microgrand import Tensor
from microgrand.optim import (
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Lion,
    RAdam,
    RMSprop,
    blocks,
    project_max_norm,
)

# Made by record_optim.py beside it.
RECORDED = json.loads(Path(__file__).with_name("recorded").joinpath("optim.json").read_text())
CLASSES = {
    kind.__name__: kind for kind in (SGD, Adam, AdamW, RMSprop, Adagrad, Adadelta, Adamax, RAdam)
}

# One optimizer of each kind; `textbook` below knows their options.
OPTIMIZERS = {
    "SGD": lambda parameters: SGD(parameters, 0.1),
    "Nesterov": lambda parameters: SGD(parameters, 0.1, 0.9, weight_decay=0.2, nesterov=True),
    "Dampened": lambda parameters: SGD(parameters, 0.1, 0.9, 0.25, weight_decay=0.2),
    "Adam": lambda parameters: Adam(parameters, 0.1, weight_decay=0.2),
    "AMSGrad": lambda parameters: Adam(parameters, 0.1, (0.5, 0.5), weight_decay=0.2, amsgrad=True),
    "AdamW": lambda parameters: AdamW(parameters, 0.1, weight_decay=0.2),
    "RMSprop": lambda parameters: RMSprop(parameters, 0.1, weight_decay=0.2),
    "RMSprop with all": lambda parameters: RMSprop(
        parameters, 0.1, weight_decay=0.2, eps=0.5, momentum=0.9, centered=True
    ),
    "Adagrad": lambda parameters: Adagrad(parameters, 0.1, weight_decay=0.2, lr_decay=0.1),
    "Adadelta": lambda parameters: Adadelta(parameters, 0.1, 0.5, 0.5, weight_decay=0.2),
    "Adamax": lambda parameters: Adamax(parameters, 0.1, (0.5, 0.8), weight_decay=0.2),
    "RAdam": lambda parameters: RAdam(parameters, 0.1, weight_decay=0.2),
    "Lion": lambda parameters: Lion(parameters, 0.1, weight_decay=0.2),
}
every_optimizer = pytest.mark.parametrize("kind", OPTIMIZERS)


# ---------------------------------------------------------------------------- against PyTorch


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", RECORDED["cases"], ids=lambda case: case["name"])
def test_trajectory_is_that_of_pytorch(case, dtype):
    parameters = [
        Tensor(np.array(values, dtype), requires_grad=True) for values in RECORDED["initial"]
    ]
    optimizer = CLASSES[case["optimizer"]](parameters, **case["options"])
    expected = iter(case[dtype])
    for step, grads in enumerate(RECORDED["grads"]):
        if case["loop"].get("lr_changes"):
            optimizer.lr = 0.1 / (1 + step)
        for index, (tensor, grad) in enumerate(zip(parameters, grads, strict=True)):
            tensor.grad = np.array(grad, dtype) * case["loop"].get("grad_scale", 1)
            if case["loop"].get("some_none") and (step + index) % 3 == 0:
                tensor.grad = None
        optimizer.step()
        if step + 1 in RECORDED["recorded_after"]:
            values = np.concatenate([tensor.data.reshape(-1) for tensor in parameters])
            assert values.dtype == dtype
            # A few roundings of the largest values on the way, about 2.
            atol = 8 * np.finfo(dtype).eps
            np.testing.assert_allclose(values, next(expected), rtol=0, atol=atol)
    assert next(expected, None) is None


# ------------------------------------------------------------------------- against the formulas


def textbook(kind, data, grads):
    """What the optimizer does, in the words of the papers and over whole arrays."""
    lr, decay = 0.1, 0.2
    velocity = first = second = largest = 0
    for step, grad in enumerate(grads, start=1):
        if kind not in ("SGD", "AdamW", "Lion"):
            grad = grad + decay * data
        if kind == "SGD":
            data = data - lr * grad
        if kind == "Nesterov":
            velocity = 0.9 * velocity + grad
            data = data - lr * (grad + 0.9 * velocity)
        if kind == "Dampened":
            velocity = 0.9 * velocity + (0.75 if step > 1 else 1) * grad
            data = data - lr * velocity
        if kind == "AMSGrad":
            first = 0.5 * first + 0.5 * grad
            second = 0.5 * second + 0.5 * grad**2
            largest = np.maximum(largest, second)
            unbiased = first / (1 - 0.5**step), largest / (1 - 0.5**step)
            data = data - lr * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)
        if kind == "AdamW":
            data = data - lr * decay * data
        if kind in ("Adam", "AdamW"):
            first = 0.9 * first + 0.1 * grad
            second = 0.999 * second + 0.001 * grad**2
            unbiased = first / (1 - 0.9**step), second / (1 - 0.999**step)
            data = data - lr * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)
        if kind.startswith("RMSprop"):
            second = 0.99 * second + 0.01 * grad**2
            if kind == "RMSprop":
                data = data - lr * grad / (np.sqrt(second) + 1e-8)
            else:
                first = 0.99 * first + 0.01 * grad
                velocity = 0.9 * velocity + grad / (np.sqrt(second - first**2) + 0.5)
                data = data - lr * velocity
        if kind == "Adagrad":
            second = second + grad**2
            data = data - lr / (1 + 0.1 * (step - 1)) * grad / (np.sqrt(second) + 1e-10)
        if kind == "Adadelta":
            second = 0.5 * second + 0.5 * grad**2
            change = np.sqrt(first + 0.5) / np.sqrt(second + 0.5) * grad
            first = 0.5 * first + 0.5 * change**2
            data = data - lr * change
        if kind == "Adamax":
            first = 0.5 * first + 0.5 * grad
            largest = np.maximum(0.8 * largest, abs(grad) + 1e-8)
            data = data - lr * first / (1 - 0.5**step) / largest
        if kind == "RAdam":  # the first five steps; those of PyTorch go on
            first = 0.9 * first + 0.1 * grad
            data = data - lr * first / (1 - 0.9**step)
        if kind == "Lion":
            data = data - lr * decay * data
            data = data - lr * np.sign(0.9 * first + 0.1 * grad)
            first = 0.99 * first + 0.01 * grad
    return data


def laid_out(array, layout):
    """Give a copy of the array other strides."""
    if layout == "fortran":
        return np.array(array, order="F")
    if layout == "reversed":
        return np.array(array[..., ::-1])[..., ::-1] if array.ndim else array.copy()
    if layout == "spread":
        wide = np.zeros([2 * length for length in array.shape], array.dtype)
        view = wide[tuple(slice(None, None, 2) for _ in array.shape)] if array.ndim else wide
        view[...] = array
        return view
    return array.copy()


@every_optimizer
@given(
    shape=st.lists(st.integers(0, 5), max_size=3),
    layout=st.sampled_from(["C", "fortran", "reversed", "spread"]),
    grad_layout=st.sampled_from(["C", "fortran", "reversed", "spread"]),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
    seed=st.integers(0, 2**32 - 1),
)
def test_update_is_the_formula_for_any_shape_and_strides(
    kind, shape, layout, grad_layout, dtype, seed
):
    rng = np.random.default_rng(seed)
    start, *grads = rng.uniform(0.5, 2, size=(4, *shape)).astype(dtype)
    start, grads = np.asarray(start), [np.asarray(grad) for grad in grads]
    data = laid_out(start, layout)
    tensor = Tensor(data, requires_grad=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_BYTES", 64)  # several blocks also for small arrays
        optimizer = OPTIMIZERS[kind]([tensor])
        for grad in grads:
            # Set past the property, which copies: a gradient from the engine may have any strides.
            tensor._grad = laid_out(grad, grad_layout)
            optimizer.step()
            np.testing.assert_array_equal(tensor.grad, grad)
    assert tensor.data is data
    assert data.dtype == dtype
    expected = textbook(kind, start.astype(float), [grad.astype(float) for grad in grads])
    np.testing.assert_allclose(data, expected, rtol=0, atol=16 * np.finfo(dtype).eps)


@every_optimizer
def test_large_parameter_is_updated_to_its_last_element(kind):
    size = 2 * blocks.BLOCK_BYTES // 8 + 3
    start, grad = np.random.default_rng(0).uniform(0.5, 2, size=(2, size))
    tensor = leaf(*start)
    optimizer = OPTIMIZERS[kind]([tensor])
    tensor.grad = grad
    optimizer.step()
    np.testing.assert_allclose(tensor.data, textbook(kind, start, [grad]), rtol=1e-14, atol=1e-14)


# --------------------------------------------------------------------------------- behaviour


@every_optimizer
def test_step_without_gradients_changes_nothing(kind):
    tensor = leaf(1.0, 2.0)
    optimizer = OPTIMIZERS[kind]([tensor])
    optimizer.step()
    np.testing.assert_array_equal(tensor.data, [1.0, 2.0])
    assert tensor.version == 0


@every_optimizer
def test_step_is_seen_by_a_graph_that_saved_the_values(kind):
    tensor = leaf(1.0, 2.0)
    loss = (tensor * tensor).sum()
    tensor.grad = np.ones(2)
    OPTIMIZERS[kind]([tensor]).step()
    with pytest.raises(RuntimeError):
        loss.backward()


def test_zero_grad_sets_every_grad_to_none():
    tensors = [leaf(1.0, 2.0), leaf(3.0)]
    optimizer = SGD(tensors, 0.1)
    (tensors[0].sum() * tensors[1]).backward()
    assert all(tensor.grad is not None for tensor in tensors)
    optimizer.zero_grad()
    assert [tensor.grad for tensor in tensors] == [None, None]


def test_generator_of_parameters_is_read_once():
    tensors = [leaf(1.0, 2.0), leaf(3.0)]
    optimizer = SGD((tensor for tensor in tensors), 0.1)
    for _ in range(2):
        optimizer.zero_grad()
        (tensors[0].sum() * tensors[1]).backward()
        optimizer.step()
    # d/dx = y, d/dy = sum(x): y = 3, 2.7 and sum(x) = 3, 2.4 at the two steps
    np.testing.assert_allclose(tensors[0].data, [1 - 0.57, 2 - 0.57])
    np.testing.assert_allclose(tensors[1].data, 3 - 0.54)


@every_optimizer
def test_numpy_number_as_lr_keeps_float32(kind):
    """A float64 scalar, as a schedule of np.cos returns, would make all arithmetic float64."""
    results = []
    for lr in (0.01, np.float64(0.01)):
        tensor = leaf(*np.linspace(-1, 1, 1000), dtype=np.float32)
        optimizer = OPTIMIZERS[kind]([tensor])
        optimizer.lr = lr
        tensor.grad = np.linspace(1, 3, 1000, dtype=np.float32)
        optimizer.step()
        results.append(tensor.data)
    np.testing.assert_array_equal(*results)
    assert type(optimizer.lr) is float


@every_optimizer
def test_pickle_keeps_parameters_and_optimizer_together(kind):
    tensor = leaf(1.0, 2.0)
    optimizer = OPTIMIZERS[kind]([tensor])
    tensor.grad = np.array([0.5, -1.0])
    optimizer.step()
    loaded_tensor, loaded = by_pickle((tensor, optimizer))
    assert loaded.parameters[0] is loaded_tensor
    for each, its_optimizer in ((tensor, optimizer), (loaded_tensor, loaded)):
        each.grad = np.array([0.25, 3.0])
        its_optimizer.step()
    np.testing.assert_array_equal(loaded_tensor.data, tensor.data)


@every_optimizer
def test_minimum_is_found(kind):
    tensor = leaf(4.0, -3.0)
    optimizer = OPTIMIZERS[kind]([tensor])
    optimizer.weight_decay = 0
    if kind == "Adagrad":
        optimizer.lr, optimizer.lr_decay = 1, 0
    for _ in range(400):
        optimizer.zero_grad()
        ((tensor - np.array([1.0, 2.0])) ** 2).sum().backward()
        optimizer.step()
    np.testing.assert_allclose(tensor.data, [1.0, 2.0], atol=1e-2)


# ------------------------------------------------------------------------------ max-norm


@given(
    shape=st.sampled_from([(6, 1), (6, 5), (6, 2, 3), (6, 2, 1, 2), (0, 3), (3, 0)]),
    layout=st.sampled_from(["C", "fortran", "reversed", "spread"]),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
    max_norm=st.sampled_from([0, 0.3, 1.0, 4.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_max_norm_shortens_what_is_too_long_and_nothing_else(shape, layout, dtype, max_norm, seed):
    scales = np.array([0, 1e-3, 0.5, 1, 2, 300])[: shape[0]]
    before = np.random.default_rng(seed).normal(0, scales, shape[::-1]).T.astype(dtype)
    data = laid_out(before, layout)
    tensor = Tensor(data, requires_grad=True)
    project_max_norm([tensor], max_norm)
    assert tensor.data is data
    assert data.dtype == dtype
    rounding = 4 * np.finfo(dtype).eps
    changed = False
    for row, old in zip(data.astype(float), before.astype(float), strict=True):
        if np.linalg.norm(old) <= max_norm:
            np.testing.assert_array_equal(row, old)
        else:
            changed = True
            # The nearest point of the ball has the same direction and lies on its surface.
            tiny = np.finfo(dtype).smallest_subnormal
            expected = old * (max_norm / np.linalg.norm(old))
            np.testing.assert_allclose(row, expected, rtol=rounding, atol=tiny)
    assert tensor.version == changed
    # What lies within the ball, but for rounding, is projected to itself.
    once = data.copy()
    project_max_norm([tensor], max_norm)
    np.testing.assert_allclose(data.astype(float), once.astype(float), rtol=rounding)


def test_max_norm_does_not_hide_nan():
    tensor = leaf([np.nan, 1.0], [3.0, 4.0])
    project_max_norm([tensor], 1)
    np.testing.assert_allclose(tensor.data, [[np.nan, 1.0], [0.6, 0.8]])


@pytest.mark.parametrize("dtype", [np.float64, np.longdouble])
@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1.0, 1e200, 1e307])
def test_max_norm_of_what_has_no_square(dtype, scale):
    row = np.array([[3.0, 4.0, 12.0]], dtype) * dtype(scale)
    rounding = 1e-3 if scale == 1e-320 else 1e-14
    for max_norm in 1e-300, 1e-200, 1.0, float(6.5 * scale), float(13.1 * scale):
        tensor = Tensor(row.copy(), requires_grad=True)
        project_max_norm([tensor], max_norm)
        if max_norm > 13.05 * scale:
            np.testing.assert_array_equal(tensor.data, row)
        else:
            expected = np.array([[3, 4, 12]], dtype) / 13 * dtype(max_norm)
            np.testing.assert_allclose(tensor.data, expected, rtol=rounding)


def test_max_norm_of_longdouble_beyond_float64():
    row = np.array([[3, 4]], np.longdouble) * np.longdouble(10) ** 400
    tensor = Tensor(row, requires_grad=True)
    project_max_norm([tensor], 1)
    np.testing.assert_allclose(tensor.data, np.array([[3, 4]], np.longdouble) / 5, rtol=1e-18)


def test_max_norm_refuses_an_infinity_and_changes_nothing():
    first, second = leaf([3.0, 4.0]), leaf([1.0, -np.inf])
    with pytest.raises(ValueError, match=r"weights\[1\] holds an infinity"):
        project_max_norm([first, second], 1)
    np.testing.assert_array_equal(first.data, [[3, 4]])
    assert first.version == second.version == 0


def test_max_norm_is_seen_by_a_graph_that_saved_the_values():
    for max_norm, noticed in ((10, False), (1, True)):
        tensor = leaf([3.0, 4.0])
        loss = (tensor * tensor).sum()
        project_max_norm([tensor], max_norm)
        if noticed:
            with pytest.raises(RuntimeError):
                loss.backward()
        else:
            loss.backward()


@pytest.mark.parametrize(
    ("weights", "max_norm", "error", "message"),
    [
        ([leaf([3.0]), leaf(3.0)], 1, ValueError, r"weights\[1\] has shape \(1,\)"),
        ([leaf([3.0])], -1, ValueError, "max_norm must be at least 0 and finite, got -1"),
        ([leaf([3.0])], "1", TypeError, "max_norm must be a number, got '1'"),
        (leaf([3.0]), 1, TypeError, "got one Tensor"),
        ([Tensor([[3.0]])], 1, ValueError, "does not require a gradient"),
    ],
)
def test_max_norm_of_another_kind_changes_nothing(weights, max_norm, error, message):
    with pytest.raises(error, match=message):
        project_max_norm(weights, max_norm)
    first = weights if isinstance(weights, Tensor) else weights[0]
    assert first.item() == 3
    assert first.version == 0


# ------------------------------------------------------------------------------------ misuse


class Model:
    """Looks like a module."""

    def parameters(self):
        return [leaf(1.0)]


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        (leaf(1.0), TypeError, r"got one Tensor; write \[tensor\]"),
        (Model(), TypeError, r"got a module of type Model; pass module\.parameters\(\)"),
        (Model().parameters, TypeError, r"got method; pass model\.parameters\(\)"),
        (3.0, TypeError, "got float"),
        ([np.ones(2)], TypeError, r"parameters\[0\] must be a Tensor, got ndarray"),
        ([leaf(1.0), ("w", leaf(1.0))], TypeError, r"parameters\[1\] .* got tuple"),
        ([], ValueError, r"no parameters; pass model\.parameters\(\)"),
        (iter(()), ValueError, "no parameters"),
        ([Tensor([1.0])], ValueError, r"parameters\[0\] does not require a gradient; .*=True"),
        ([leaf(1.0) * 0.1], ValueError, r"parameters\[0\] must be a leaf, .* wrap them"),
        (
            [Tensor(np.broadcast_to(1.0, 3), requires_grad=True)],
            ValueError,
            r"parameters\[0\] is read-only .* copy",
        ),
    ],
)
def test_parameters_of_another_kind(parameters, error, message):
    with pytest.raises(error, match=message):
        SGD(parameters, 0.1)


def test_same_parameter_twice():
    one, two = leaf(1.0), leaf(1.0)
    with pytest.raises(ValueError, match=r"parameters\[2\] is the same tensor as parameters\[0\]"):
        Adam([one, two, one])


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (SGD, "lr"),
        (SGD, "momentum"),
        (SGD, "weight_decay"),
        (Adam, "lr"),
        (Adam, "eps"),
        (Adam, "weight_decay"),
        (AdamW, "lr"),
        (AdamW, "weight_decay"),
    ],
)
def test_number_out_of_its_range(kind, name, value):
    with pytest.raises(ValueError, match=rf"{name} must be .*, got {value}"):
        kind([leaf(1.0)], **{"lr": 0.1, name: value})


@pytest.mark.parametrize("value", ["0.1", None, 1j, True, [0.1], Tensor(0.1), np.array(0.1)])
@pytest.mark.parametrize(
    ("kind", "name"),
    [(SGD, "lr"), (SGD, "momentum"), (SGD, "weight_decay"), (Adam, "eps"), (AdamW, "lr")],
)
def test_not_a_number(kind, name, value):
    with pytest.raises(TypeError, match=f"{name} must be a number"):
        kind([leaf(1.0)], **{"lr": 0.1, name: value})


@pytest.mark.parametrize(
    ("betas", "error", "message"),
    [
        ((1.0, 0.999), ValueError, r"betas\[0\] must be in \[0, 1\), got 1.0"),
        ((0.9, 1.5), ValueError, r"betas\[1\] must be in \[0, 1\), got 1.5"),
        ((-0.9, 0.5), ValueError, r"betas\[0\]"),
        ((0.9, float("nan")), ValueError, r"betas\[1\]"),
        ((0.9, "0.999"), TypeError, r"betas\[1\] must be a number"),
        (0.9, TypeError, "betas must be a pair .* got 0.9"),
        ((0.9, 0.99, 0.999), TypeError, "betas must be a pair"),
    ],
)
def test_betas_out_of_their_ranges(betas, error, message):
    with pytest.raises(error, match=message):
        Adam([leaf(1.0)], betas=betas)


def test_momentum_of_one_would_never_forget():
    with pytest.raises(ValueError, match=r"momentum must be in \[0, 1\), got 1"):
        SGD([leaf(1.0)], 0.1, momentum=1)


def test_momentum_may_be_set_later():
    p, q = leaf(1.0), leaf(1.0)
    early, late = SGD([p], 0.1, momentum=0.5), SGD([q], 0.1)
    late.momentum = 0.5
    for _ in range(3):
        for optimizer, x in (early, p), (late, q):
            x.grad = np.ones(1)
            optimizer.step()
    assert p.item() == q.item()


def test_nesterov_without_momentum():
    with pytest.raises(ValueError, match="nesterov=True needs a momentum above 0"):
        SGD([leaf(1.0)], 0.1, nesterov=True)


@pytest.mark.parametrize(
    ("lr", "error"), [(-1, ValueError), (np.nan, ValueError), ("1", TypeError)]
)
def test_lr_is_checked_when_it_changes(lr, error):
    optimizer = Adam([leaf(1.0)])
    with pytest.raises(error, match="lr must be"):
        optimizer.lr = lr
    assert optimizer.lr == 1e-3


@pytest.mark.parametrize("optimizer", [Adam, AdamW])
def test_adam_does_not_overflow_in_float16(optimizer):
    parameter = Tensor(np.ones(1, np.float16), requires_grad=True)
    optimizer = optimizer([parameter], lr=0.01)
    for _ in range(300):
        parameter.grad = np.full(1, 20.0, np.float16)
        optimizer.step()
    assert parameter.dtype == np.float16
    assert parameter.item() < -1.5  # 1 - 300 * 0.01, apart from rounding; with decay, less


@pytest.mark.parametrize("optimizer", [Adam, AdamW])
@pytest.mark.parametrize("grad", [300.0, 1e-4])
@pytest.mark.parametrize("size", [(), 4, 2**20])
def test_adam_squares_float16_gradients_in_float32(optimizer, grad, size):
    # The squares are beyond the largest float16, or below the smallest. 2**20 take several blocks.
    parameter = Tensor(np.ones(size, np.float16), requires_grad=True)
    parameter.grad = np.full(size, grad, np.float16)
    optimizer([parameter], lr=0.25, weight_decay=0).step()
    np.testing.assert_allclose(parameter.data, 0.75, rtol=1e-3)


def test_radam_goes_along_the_mean_where_squares_overflow():
    weight = Tensor(np.ones(2, np.float32), requires_grad=True)
    optimizer = RAdam([weight], lr=0.5)
    weight.grad = np.array([1e25, -2e25], np.float32)
    with np.errstate(over="ignore"):
        optimizer.step()
    np.testing.assert_allclose(weight.data, [-5e24, 1e25], rtol=1e-6)
