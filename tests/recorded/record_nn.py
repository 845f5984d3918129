"""Record what torch.nn computes, for the tests to compare with: writes nn.json.

Run by hand, ``python tests/recorded/record_nn.py``, where PyTorch is installed; the tests only
read the file. It was made with PyTorch 2.13.0 on a CPU.
"""

import json
from pathlib import Path

import numpy as np
from nested import flat

STEPS = 8
LEARNING_RATE = 0.5
INF, NAN = float("inf"), float("nan")
#: PyTorch's names of arguments that have others here.
NAMES = {"labels": "target"}


def function_cases(rng):
    """Give (name, function of microgrand.nn.functional, arrays with a gradient, constants)."""

    def normal(*shape):
        return rng.normal(size=shape).round(3)

    weight, bias = normal(3, 4), normal(3)
    yield "linear, no batch", "linear", [normal(4), weight, bias], {}
    yield "linear, batch", "linear", [normal(5, 4), weight, bias], {}
    yield "linear, two batch axes", "linear", [normal(2, 3, 4), weight, bias], {}
    yield "linear, no bias", "linear", [normal(5, 4), weight], {}
    yield "linear, empty batch", "linear", [np.zeros((0, 4)), weight, bias], {}
    yield "relu", "relu", [np.array([-2.0, -0.0, 0.0, 3.0, -INF, INF, NAN])], {}
    for name in "softmax", "log_softmax":
        yield f"{name}, last axis", name, [normal(2, 3)], {"dim": -1}
        yield f"{name}, first axis", name, [normal(2, 3, 2)], {"dim": 0}
        yield f"{name}, large", name, [np.array([[0.0, 1000.0], [-1e30, 1e30]])], {"dim": 1}
        yield f"{name}, masked", name, [np.array([-INF, 0.0, 1.0])], {"dim": 0}
    labels = {"labels": np.array([0, 2, 1, 2])}
    yield "cross_entropy", "cross_entropy", [normal(4, 3)], labels
    yield "cross_entropy, large", "cross_entropy", [1e30 * normal(4, 3)], labels
    yield "cross_entropy, confident", "cross_entropy", [40 * normal(4, 3)], labels
    yield "cross_entropy, one class", "cross_entropy", [normal(2, 1)], {"labels": np.zeros(2, int)}
    yield "cross_entropy, empty", "cross_entropy", [np.zeros((0, 3))], {"labels": np.zeros(0, int)}
    yield "mse_loss", "mse_loss", [normal(4, 2), normal(4, 2)], {}
    yield "mse_loss, 0-d", "mse_loss", [np.array(2.0), np.array(-1.0)], {}
    yield "mse_loss, empty", "mse_loss", [np.zeros((0, 2)), np.zeros((0, 2))], {}
    yield from activation_cases(rng)
    yield from loss_cases(rng)


def activation_cases(rng):
    """Give the activations with their options, at kinks, in between and far out."""
    x = np.array([-30.0, -4.0, -1.0, -0.5, -0.0, 0.0, 0.3, 0.5, 1.0, 1.5, 3.0, 19.0, 40.0])
    for name, options in [
        ("tanh", {}),
        ("sigmoid", {}),
        ("logsigmoid", {}),
        ("softplus", {}),
        ("softplus", {"beta": 0.5, "threshold": 10.0}),
        ("silu", {}),
        ("gelu", {}),
        ("gelu", {"approximate": "tanh"}),
        ("leaky_relu", {}),
        ("leaky_relu", {"negative_slope": 0.2}),
        ("elu", {}),
        ("elu", {"alpha": 0.5}),
        ("selu", {}),
        ("hardtanh", {}),
        ("hardtanh", {"min_val": -0.5, "max_val": 1.5}),
    ]:
        yield f"{name}, {options}", name, [x], options
    yield "logsumexp", "logsumexp", [rng.normal(size=(3, 4)).round(3)], {"dim": 0}
    x, y = np.array([0.0, 0.0, 1.0, -2.0]), np.array([0.5, 2.0, 0.25, 3.0])
    yield "xlogy", "xlogy", [x, y], {}


def loss_cases(rng):
    """Give the losses with their options."""

    def normal(*shape):
        return rng.normal(size=shape).round(3)

    weight = np.array([0.5, 2.0, 1.5])
    targets = {
        "batch": ((4, 3), np.array([0, 2, 1, 2])),
        "ignored": ((4, 3), np.array([0, -100, 1, -100])),
        "images": ((2, 3, 2, 2), np.array([[[0, 1], [2, -100]], [[1, 1], [0, 2]]])),
        "one": ((3,), np.array(1)),
    }
    for reduction in "mean", "sum", "none":
        for title, (shape, labels) in targets.items():
            for options in {}, {"weight": weight}:
                given = {"labels": labels, "reduction": reduction, **options}
                title_ = f"{title}, {reduction}, {list(options)}"
                scores = -np.abs(normal(*shape))
                yield f"nll_loss, {title_}", "nll_loss", [scores], given
                given = given | {"label_smoothing": 0.2}
                yield f"cross_entropy, {title_}, smooth", "cross_entropy", [normal(*shape)], given
        for shape in (4, 3), (2, 3, 2), (3,):
            target = np.abs(normal(*shape))
            for options in {}, {"weight": weight, "label_smoothing": 0.1}:
                title = f"cross_entropy, probabilities, {shape}, {reduction}, {list(options)}"
                given = {"reduction": reduction, **options}
                yield title, "cross_entropy", [normal(*shape), target], given
        given = {"reduction": reduction}
        p, t = rng.uniform(size=(3, 2)).round(3), rng.uniform(size=(3, 2)).round(3)
        yield f"binary_cross_entropy, {reduction}", "binary_cross_entropy", [p, t], given
        name, x = "binary_cross_entropy_with_logits", np.array([[-40.0, 3.0], [0.0, 1.0], [9, 2]])
        yield f"{name}, {reduction}", name, [x, t], given
        weights = {"weight": np.array([[1.0], [2.0], [3.0]]), "pos_weight": np.array([0.5, 3.0])}
        yield f"{name}, weights, {reduction}", name, [x, t], given | weights
        pair = [normal(4, 3) * 2, normal(4, 3)]
        for name, options in [
            ("mse_loss", {}),
            ("l1_loss", {}),
            ("huber_loss", {}),
            ("huber_loss", {"delta": 0.5}),
            ("smooth_l1_loss", {}),
            ("smooth_l1_loss", {"beta": 0.5}),
            ("smooth_l1_loss", {"beta": 0.0}),
        ]:
            yield f"{name}, {reduction}, {options}", name, pair, given | options
    p, t = np.log(rng.dirichlet(np.ones(3), 4)).round(3), rng.dirichlet(np.ones(3), 4).round(3)
    for reduction in "mean", "batchmean", "sum", "none":
        given = {"reduction": reduction}
        yield f"kl_div, {reduction}", "kl_div", [p, t], given
        given = given | {"log_target": True}
        yield f"kl_div, {reduction}, logarithms", "kl_div", [p, np.log(t)], given


def torch_function(name, tensors, constants):
    """Call PyTorch's function of the same meaning."""
    function = getattr(torch.nn.functional, name, None) or getattr(torch, name)
    options = {
        NAMES.get(key, key): torch.tensor(value) if isinstance(value, np.ndarray) else value
        for key, value in constants.items()
    }
    return function(*tensors, **options)


def run_function(name, arrays, constants, rng):
    """Return what one case is given and what comes out of it, as lists for JSON."""
    tensors = [torch.tensor(array.copy("C"), requires_grad=True) for array in arrays]
    out = torch_function(name, tensors, constants)
    cotangent = rng.normal(size=tuple(out.shape)).round(3)
    out.backward(torch.tensor(cotangent))
    return {
        "function": name,
        "shapes": [list(array.shape) for array in arrays],
        "arrays": [array.tolist() for array in arrays],
        "constants": {key: np.asarray(value).tolist() for key, value in constants.items()},
        "cotangent": np.asarray(cotangent).tolist(),
        "output": out.tolist(),
        "gradients": [tensor.grad.tolist() for tensor in tensors],
    }


def module_cases(rng):
    """Give (title, module, its arguments, inputs, options of the call).

    With ``{"is_pair": True}`` for options, all inputs but the first are given as a tuple.
    """

    def normal(*shape):
        return rng.normal(size=shape).round(3)

    for name, is_pair in ("RNN", False), ("LSTM", True), ("GRU", False):
        for options, x, state in [
            ({}, (4, 2, 3), None),
            ({}, (4, 2, 3), (1, 2, 2)),
            ({"num_layers": 2, "bidirectional": True}, (3, 2, 3), (4, 2, 2)),
            ({"batch_first": True, "bias": False}, (2, 4, 3), (1, 2, 2)),
            ({"num_layers": 2}, (4, 3), (2, 2)),
        ]:
            states = [normal(*state) for _ in range(1 + is_pair)] if state else []
            title = f"{name}, {options}, {len(states)} states"
            arguments = {"input_size": 3, "hidden_size": 2, **options}
            yield (
                title,
                name,
                arguments,
                [normal(*x), *states],
                {"is_pair": is_pair and bool(states)},
            )
        for shape in (2,), ():
            states = [normal(*shape, 2) for _ in range(1 + is_pair)]
            arguments = {"input_size": 3, "hidden_size": 2}
            inputs = [normal(*shape, 3), *states]
            options = {"is_pair": is_pair}
            yield f"{name}Cell, {shape}", f"{name}Cell", arguments, inputs, options
    relu = {"input_size": 3, "hidden_size": 2, "nonlinearity": "relu"}
    yield "RNN, relu", "RNN", relu, [normal(4, 2, 3)], {}
    yield from attention_cases(rng)


def attention_cases(rng):
    """Give attention and encoders with their options and masks."""

    def normal(*shape):
        return rng.normal(size=shape).round(3)

    heads, name = {"embed_dim": 4, "num_heads": 2}, "MultiheadAttention"
    causal = ~np.tri(3, 3, dtype=bool)
    padding = np.array([[False, False, True], [False, True, False]])
    x = [normal(3, 2, 4) for _ in range(3)]
    wide = [normal(2, 2, 4), normal(3, 2, 3), normal(3, 2, 5)]
    first = [np.swapaxes(array, 0, 1) for array in x]
    for title, arguments, inputs, options in [
        ("no mask", {}, x, {}),
        ("heads apart", {}, x, {"average_attn_weights": False}),
        ("no weights, no bias", {"bias": False}, x, {"need_weights": False}),
        ("causal", {}, x, {"attn_mask": causal}),
        ("batch first, padding", {"batch_first": True}, first, {"key_padding_mask": padding}),
        ("numbers for masks", {}, x, {"attn_mask": normal(4, 3, 3)}),
        ("both masks", {}, x, {"attn_mask": causal, "key_padding_mask": padding}),
        ("other widths", {"kdim": 3, "vdim": 5}, wide, {}),
        ("one sequence", {}, [array[:, 0] for array in x], {}),
    ]:
        yield f"{name}, {title}", name, heads | arguments, inputs, options
    name, size = "TransformerEncoderLayer", {"d_model": 4, "nhead": 2, "dim_feedforward": 5}
    size["dropout"] = 0.0
    for title, arguments, inputs, options in [
        ("relu", {}, [normal(3, 2, 4)], {}),
        ("gelu", {"activation": "gelu", "norm_first": True}, [normal(3, 2, 4)], {}),
        ("causal", {"batch_first": True}, [normal(2, 3, 4)], {"src_mask": causal}),
        ("padding", {"bias": False}, [normal(3, 2, 4)], {"src_key_padding_mask": padding}),
    ]:
        yield f"{name}, {title}", name, size | arguments, inputs, options


def run_module(name, arguments, inputs, options, rng):
    """Return a module's parameters, what it is given, what comes out, and all gradients."""
    module = getattr(torch.nn, name)(**arguments).double()
    state = {
        key: rng.normal(size=tuple(x.shape)).round(3) for key, x in module.state_dict().items()
    }
    module.load_state_dict({key: torch.tensor(value) for key, value in state.items()})
    tensors = [torch.tensor(array.copy("C"), requires_grad=True) for array in inputs]
    if options.pop("is_pair", False):
        out = module(tensors[0], tuple(tensors[1:]))
    else:
        given = {
            key: torch.tensor(value) if isinstance(value, np.ndarray) else value
            for key, value in options.items()
        }
        out = module(*tensors, **given)
    outputs = flat(out)
    cotangents = [rng.normal(size=tuple(x.shape)).round(3) for x in outputs]
    torch.autograd.backward(outputs, [torch.tensor(g) for g in cotangents])
    return {
        "module": name,
        "arguments": arguments,
        "repr": repr(module),
        "state": {key: value.tolist() for key, value in state.items()},
        "inputs": [array.tolist() for array in inputs],
        "options": {key: np.asarray(value).tolist() for key, value in options.items()},
        "outputs": [x.tolist() for x in outputs],
        "cotangents": [g.tolist() for g in cotangents],
        "gradients": [x.grad.tolist() for x in [*tensors, *module.parameters()]],
    }


def run_training(rng):
    """Train a small network without dropout by gradient descent."""
    net = torch.nn.Sequential(
        torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 5), torch.nn.ReLU(),
        torch.nn.Linear(5, 3),
    ).double()  # fmt: skip
    x, labels = rng.normal(size=(12, 4)).round(3), rng.integers(0, 3, 12)
    start = {
        name: rng.uniform(-0.6, 0.6, tuple(value.shape)).round(3)
        for name, value in net.state_dict().items()
    }
    net.load_state_dict({name: torch.tensor(value) for name, value in start.items()})
    loss_function = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=LEARNING_RATE)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = loss_function(net(torch.tensor(x)), torch.tensor(labels))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return {
        "x": x.tolist(),
        "labels": labels.tolist(),
        "learning_rate": LEARNING_RATE,
        "repr": repr(net),
        "start": {name: value.tolist() for name, value in start.items()},
        "losses": losses,
        "end": {name: value.tolist() for name, value in net.state_dict().items()},
    }


def main():
    """Write nn.json, a case a line."""
    rng = np.random.default_rng(0)
    functions = ",\n".join(
        f"{json.dumps(title)}: {json.dumps(run_function(name, arrays, constants, rng))}"
        for title, name, arrays, constants in function_cases(rng)
    )
    training = json.dumps(run_training(rng))
    modules = ",\n".join(
        f"{json.dumps(title)}: {json.dumps(run_module(*case, rng))}"
        for title, *case in module_cases(rng)
    )
    Path(__file__).with_name("nn.json").write_text(
        f'{{\n"torch": "{torch.__version__}",\n"functions": {{\n{functions}\n}},\n'
        f'"training": {training},\n"modules": {{\n{modules}\n}}\n}}\n'
    )


if __name__ == "__main__":
    import torch  # not above: pytest imports this file when it looks for doctests

    main()
