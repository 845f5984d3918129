"""Stage 9, layers: a layer is a function with things to learn."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from ..compare import OUTSIDE, OWN_CALL, check_gradients, close, differing, numbers, shown
from ..door import Bridge
from ..stage import Fault, Stage

stage = Stage(
    number=9,
    name="layers",
    contract=("Module", "Module.parameters", "Linear", "ReLU", "Sequential"),
    lines=("Module.parameters", "found_in", "Linear", "ReLU", "Sequential"),
    hints=(
        "If all weights were equal, what would tell two units apart?",
        "Weights are random, of variance about 1 / inputs, so that sizes neither grow nor shrink "
        "from layer to layer. parameters() walks through attributes, lists, dicts and layers.",
        "`for value in vars(self).values(): ...` and below; `dict.fromkeys(found)` keeps the first "
        "of each.",
    ),
    skeleton='''\
class Module:
    """Something with parameters: Tensors in attributes, in lists and dicts, in other modules."""

    def parameters(self):
        ...  # stage 9: each Tensor once


class Linear(Module):
    """x @ weight + bias."""

    def __init__(self, n_in, n_out, rng=None):
        ...  # rng: None, a seed or a generator, as np.random.default_rng takes it

    def __call__(self, x):
        ...


class ReLU(Module):
    def __call__(self, x):
        ...


class Sequential(Module):
    """One layer after another."""

    def __init__(self, *layers):
        ...

    def __call__(self, x):
        ...
''',
)


def a_linear(door, draw, **more):
    n_in, n_out = draw(st.integers(2, 4)), draw(st.integers(1, 3))
    seed = draw(st.integers(0, 1000))
    inputs = {"x": numbers(draw, (5, n_in)), **more}
    run = door.start(**inputs)(f"layer = Linear({n_in}, {n_out}, rng={seed})")
    return run, n_in, n_out


def by_size(door, layer):
    """Return a Linear's parameters, the bias first: they are listed in any order."""
    return sorted(door.parameters(layer), key=lambda p: door.value(p, "a parameter").size)


@stage.property("Linear(n_in, n_out) maps (n, n_in) to (n, n_out), and is affine", layers=True)
def affine(door, draw):
    run, _, n_out = a_linear(door, draw)
    run("x2 = x * x")
    run("a = layer(x)", "b = layer(x2)", "c = layer(x * 0.25 + x2 * 0.75)")
    a, b, c = (run.value(name) for name in "abc")
    if a.shape != (5, n_out):
        raise Fault(f"the output has shape {a.shape}", f"shape {(5, n_out)}", "Linear.__call__")
    if not close(c, a * 0.25 + b * 0.75):
        raise Fault(
            "between two inputs the output is not between the outputs",
            "layer(x / 4 + 3 * x2 / 4) is layer(x) / 4 + 3 * layer(x2) / 4",
            "Linear.__call__",
        )
    if close(a, b):
        raise Fault("the output is the same for all x", "it depends on x", "Linear.__call__")


@stage.property(
    "a Linear has n_in * n_out weights and n_out biases, all of them parameters", layers=True
)
def all_are_parameters(door, draw):
    run, n_in, n_out = a_linear(door, draw)
    run("y = layer(x)")
    sizes = [door.value(p).size for p in by_size(door, run["layer"])]
    if sizes != sorted([n_in * n_out, n_out]):
        raise Fault(
            f"parameters() has arrays of {sizes} numbers",
            f"{sorted([n_in * n_out, n_out])}: a weight and a bias",
            "Linear.__init__",
            sizes=sizes,
            expected_sizes=(n_in * n_out, n_out),
        )


@stage.property("every parameter gets its gradient, and changes the output", layers=True)
def parameters_learn(door, draw):
    run, n_in, n_out = a_linear(door, draw)
    g = numbers(draw, (5, n_out))
    run("y = layer(x)")
    run.value("y")
    run.backward("y", g)
    x = run.value("x")
    for p in door.parameters(run["layer"]):
        value, found = door.value(p), door.gradient(p)
        is_weight = value.size == n_in * n_out and not (value.size == n_out and value.ndim == 1)
        if found is None:
            raise Fault(
                f"the {'weight' if is_weight else 'bias'}'s grad is None",
                "its gradient",
                "Linear.__call__",
                nothing=True,
                weight=is_weight,
            )
        right = [x.T @ g, (x.T @ g).T] if is_weight else [g.sum(0)]
        if found.shape != value.shape or not any(
            close(found.reshape(value.shape), r.reshape(value.shape))
            for r in right
            if r.size == value.size
        ):
            raise Fault(
                f"the {'weight' if is_weight else 'bias'}'s gradient is {shown(found)}",
                shown(right[0]),
                "Linear.__call__",
                nothing=not found.any(),
                weight=is_weight,
            )
        before = run["layer"](run["x"])
        door.assign(p, value + 1.0)
        after = run["layer"](run["x"])
        if close(door.value(before), door.value(after)):
            raise Fault(
                "a parameter changes, and the output does not",
                "another output",
                "Linear.__call__",
                unused=True,
            )


@stage.property(
    "the output's spread does not depend on the number of inputs", layers=True, examples=2
)
def spread(door, draw):
    def spread_of(n, layers):
        run = door.start()(f"x = Tensor(np.random.default_rng({n}).standard_normal((64, {n})))")
        run(f"layers = [Linear({n}, {n}, rng=k) for k in range({layers})]")
        run.case.shown.append("np.std(layers[0](x).data)")
        outputs = [door.value(layer(run["x"]), "the output") for layer in run["layers"]]
        return float(np.std(outputs))

    small, large = spread_of(4, 40), spread_of(400, 2)
    if not small or not 1 / 2.5 < large / small < 2.5:
        raise Fault(
            f"standard deviation {small:.3g} for 4 inputs, {large:.3g} for 400",
            "about the same, for as many outputs as inputs",
            "Linear.__init__",
            ratio=large / small if small else np.nan,
        )


@stage.property("units differ, and so do two layers without a seed", layers=True, examples=3)
def differ(door, draw):
    run = door.start()("a = Linear(4, 3)", "b = Linear(4, 3)")
    a, b = (max((door.value(p) for p in door.parameters(run[name])), key=np.size) for name in "ab")
    if np.ptp(a) == 0:
        raise Fault("all weights are equal", "random ones", "Linear.__init__", equal="weights")
    if np.array_equal(a, b):
        raise Fault(
            "two layers have the same weights", "random ones", "Linear.__init__", equal="layers"
        )


@stage.property(
    "rng may be a seed or a generator, and decides about the weights", layers=True, examples=3
)
def seeded(door, draw):
    run = door.start()
    run(
        "a = Linear(4, 3, rng=5)",
        "b = Linear(4, 3, rng=np.random.default_rng(5))",
        "c = Linear(4, 3, rng=6)",
        "d = Linear(4, 3, rng=5)",
        "e = Linear(4, 3, rng=np.random.default_rng(5))",
    )
    values = {
        name: np.concatenate([door.value(p).ravel() for p in by_size(door, run[name])])
        for name in "abcde"
    }
    if not np.array_equal(values["a"], values["d"]) or not np.array_equal(values["b"], values["e"]):
        raise Fault(
            "one seed gives two different layers",
            "the same weights",
            "Linear.__init__",
            unseeded=True,
        )
    if np.array_equal(values["a"], values["c"]):
        raise Fault(
            "two seeds give the same weights", "other ones", "Linear.__init__", equal="layers"
        )


@stage.property(
    "parameters() finds Tensors in attributes, lists, tuples, dicts, and below", examples=1
)
def found_everywhere(door, draw):
    for place in PLACES:
        for thing in THINGS:
            found, expected = found_in(door, place, thing)
            if found != expected:
                raise Fault(
                    f"{found} parameters, of a module with {thing} in {place}",
                    f"{expected}",
                    "Module.parameters",
                    place=place,
                    twice=found > expected,
                )


#: What holds Tensors, and the places where it may stand.
THINGS = {"a Linear": ("Linear(3, 4, rng=1)", 2), "a Tensor": ("Tensor(np.ones(2))", 1)}
PLACES = {
    "an attribute": "self.a = {}",
    "a list": "self.a = [None, {}]",
    "a tuple": "self.a = (1, {})",
    "a dict": "self.a = {{'n': 3, 'a': {}}}",
    "a module": "self.a = Inner({})",
    "a Sequential": "self.a = Sequential(ReLU(), Sequential({}))",
    "a list in a list": "self.a = [[1], [{}]]",
}


def found_in(door, place, thing):
    """Return how many parameters are found of something in a place, and how many it has."""
    text, expected = THINGS[thing]
    run = door.start()
    if place == "a module":
        run("class Inner(Module):\n    def __init__(self, a):\n        self.b = a")
    line = PLACES[place].format(text)
    run(f"class Net(Module):\n    def __init__(self):\n        {line}")
    found = list(run("found = list(Net().parameters())")["found"])
    for p in found:
        door.value(p, "a parameter")
    return len(found), expected


@stage.property("and each of them once, also where a layer is shared", examples=3)
def each_once(door, draw):
    run = door.start()("layer = Linear(3, 3, rng=1)", "net = Sequential(layer, ReLU(), layer)")
    found = run("found = list(net.parameters())")["found"]
    if len(found) != 2:
        raise Fault(
            f"{len(found)} parameters of one shared layer",
            "2: weight and bias",
            "Module.parameters",
            shared=True,
        )
    run = door.start()("net = Sequential(Linear(3, 3, rng=1), Linear(3, 3, rng=1))")
    found = run("found = list(net.parameters())")["found"]
    if len(found) != 4:
        raise Fault(
            f"{len(found)} parameters of two layers with the same numbers",
            "4: two weights and two biases",
            "Module.parameters",
            equal_numbers=True,
        )


@stage.property("Sequential applies its layers in order, and ReLU is relu", layers=True, examples=8)
def in_order(door, draw):
    run = door.start(x=numbers(draw, (5, 3)))
    run("a, b = Linear(3, 4, rng=1), Linear(4, 2, rng=2)", "net = Sequential(a, ReLU(), b)")
    h = run("h = a(x)").value("h").copy()
    run("r = ReLU()(h)", "y = b(r)", "z = net(x)")
    if not close(run.value("r"), np.maximum(h, 0)):
        raise Fault("ReLU()(h) is not h.relu()", "0 where h is below 0", "ReLU.__call__")
    if not np.array_equal(run.value("h"), h):
        raise Fault(
            "h.data has changed", "the same numbers as before", "ReLU.__call__", changed=True
        )
    if run.value("z").shape != run.value("y").shape or not close(run.value("z"), run.value("y")):
        raise Fault(
            "net(x) is not b(ReLU()(a(x)))", "the layers one after another", "Sequential.__call__"
        )
    check_gradients(door, "z = ReLU()(x)", where="ReLU.__call__", x=numbers(draw, (5, 3)))
    g = numbers(draw, (5, 2))
    run = door.start(x=run.value("x"))
    run("net = Sequential(Linear(3, 4, rng=1), ReLU(), Linear(4, 2, rng=2))", "z = net(x)")
    run.backward("z", g)
    parameters = door.parameters(run["net"])
    silent = [p for p in parameters if door.gradient(p) is None]
    if silent or run.gradient("x") is None:
        raise Fault(
            f"no gradient arrives at {len(silent)} of {len(parameters)} parameters, or at x",
            "a gradient for each",
            "Sequential.__call__",
            nothing=True,
        )


def weighed(door, layer, calls, **inputs):
    """Run calls of a layer, and go back from the weighed sum; return all gradients."""
    run = door.start(**inputs)(f"layer = {layer}")
    for name, text in calls.items():
        run(f"{name} = {text}")
    run("z = " + " + ".join(f"{name} * {w}" for name, w in zip(calls, (1.5, 1.0), strict=False)))
    run.backward("z", np.arange(1.0, 1 + run.value("z").size).reshape(run.value("z").shape))
    found = [run.gradient(name) for name in inputs]
    return [*found, *(door.gradient(p) for p in by_size(door, run["layer"]))]


@stage.property(OWN_CALL, examples=3)
def own_calls(door, draw):
    x, u = numbers(draw, (4, 3)), numbers(draw, (4, 3))
    for layer in ("ReLU()", "Linear(3, 3, rng=1)", "Sequential(Linear(3, 3, rng=1), ReLU())"):
        none = np.zeros_like(x)
        apart = [
            weighed(door, layer, {"a": "layer(x)"}, x=x),
            weighed(door, layer, {"a": "layer(u) * (1 / 1.5)"}, u=u),
        ]
        expected = [apart[0][0], apart[1][0]]
        expected += [p + q for p, q in zip(apart[0][1:], apart[1][1:], strict=True)]
        found = weighed(door, layer, {"a": "layer(x)", "b": "layer(u)"}, x=x, u=u)
        for name, f, e in zip(("x", "u", *["a parameter"] * 9), found, expected, strict=False):
            f = none if f is None else f
            if f.shape != e.shape or not close(f, e):
                said = differing(f, e)
                raise Fault(
                    f"the gradient of {name} is {said[0]}",
                    f"{said[1]}, as each call has alone",
                    f"{layer.partition('(')[0]}.__call__",
                    calls=True,
                )


# ------------------------------------------------------------------------------- suspects


@stage.suspect(OUTSIDE)
def outside(door, fault):
    return "calls" in fault.data


@stage.suspect("all weights are equal, so all units stay equal forever: draw them at random")
def equal(door, fault):
    return fault.data.get("equal") == "weights" or (
        "ratio" in fault.data and np.ptp(weights_of(door)) == 0
    )


def weights_of(door, n=4, seed=1):
    layer = door.names["Linear"](n, n, rng=seed)
    return max((door.value(p) for p in door.parameters(layer)), key=np.size)


@stage.suspect(
    "the weights are not scaled: their variance has to be about 1 / n_in, a standard deviation of "
    "1 / sqrt(n_in)"
)
def not_scaled(door, fault):
    return "ratio" in fault.data and 5 < fault.data["ratio"] < 20 and np.ptp(weights_of(door)) > 0


@stage.suspect("the weights are too small: 1 / n_in is their variance, its root their spread")
def scaled_too_much(door, fault):
    small = "ratio" in fault.data and 0.05 < fault.data["ratio"] < 0.2
    return small and np.ptp(weights_of(door)) > 0


@stage.suspect("every layer has the same seed inside: draw from the rng that is given")
def same_seed(door, fault):
    return fault.data.get("equal") == "layers"


@stage.suspect("the rng that is given is not used: draw with np.random.default_rng(rng)")
def rng_not_used(door, fault):
    return "unseeded" in fault.data


@stage.suspect("the bias is an array: only a Tensor gets a gradient and is a parameter")
def bias_is_an_array(door, fault):
    if "sizes" not in fault.data:
        return False
    layer = door.names["Linear"](7, 3)
    layer = layer.layer if isinstance(layer, Bridge) else layer
    return len(fault.data["sizes"]) == 1 and any(
        isinstance(v, np.ndarray) and v.size == 3 for v in vars(layer).values()
    )


@stage.suspect("there is no bias: the output is x @ weight + bias")
def no_bias(door, fault):
    if "sizes" not in fault.data:
        return False
    run = door.start(x=np.zeros((1, 7)))("layer = Linear(7, 3)", "y = layer(x)")
    arrays = [v for v in vars(run["layer"]).values() if isinstance(v, np.ndarray)]
    return len(fault.data["sizes"]) == 1 and not run.value("y").any() and not arrays


@stage.suspect(
    "the weight is detached: compute with the Tensor itself, not with its data, and make no new "
    "Tensor of it in a call"
)
def detached(door, fault):
    return bool(fault.data.get("nothing")) and "weight" in fault.data and fault.data["weight"]


@stage.suspect("the bias takes no part in the output: it is x @ weight + bias")
def bias_not_used(door, fault):
    return bool(fault.data.get("nothing")) and fault.data.get("weight") is False


CONTAINERS = ("a list", "a tuple", "a dict")


def suspect_places(cause):
    """Add a suspect that is asked in which places nothing is found, if something is missing."""

    def add(explains):
        @stage.suspect(cause)
        def of_places(door, fault):
            if "place" not in fault.data or fault.data["twice"]:
                return False
            missed = {place: set() for place in PLACES}
            for place, things in missed.items():
                for thing in THINGS:
                    found, expected = found_in(door, place, thing)
                    things |= {thing} if found < expected else set()
            return explains(missed, [c for c in CONTAINERS if missed[c] == set(THINGS)])

    return add


@suspect_places("not every attribute is looked at: it may be a Tensor, or a module")
def attributes(missed, containers):
    return missed["an attribute"]


@suspect_places(
    "attributes alone are searched for parameters: they may stand in a list, a tuple or a dict"
)
def containers_missed(missed, containers):
    return not missed["an attribute"] and containers == [*CONTAINERS]


@suspect_places("lists and tuples are not searched for parameters")
def lists_missed(missed, containers):
    return not missed["an attribute"] and containers == ["a list", "a tuple"]


@suspect_places("tuples are not searched for parameters, as lists are")
def tuples_missed(missed, containers):
    return not missed["an attribute"] and containers == ["a tuple"]


@suspect_places("dicts are not searched for parameters")
def dicts_missed(missed, containers):
    return not missed["an attribute"] and containers == ["a dict"]


def only(missed, thing):
    """Tell whether some containers are searched, but not for one of the things."""
    return not missed["an attribute"] and any(missed[c] == {thing} for c in CONTAINERS)


@suspect_places(
    "a Tensor that stands in a list, a tuple or a dict is passed over, and only modules are "
    "found there"
)
def tensors_missed(missed, containers):
    return only(missed, "a Tensor")


@suspect_places(
    "a module that stands in a list, a tuple or a dict is passed over, and only Tensors are "
    "found there"
)
def modules_missed(missed, containers):
    return only(missed, "a Linear")


@suspect_places(
    "modules in modules in modules are not reached: let the walk continue into what it finds"
)
def nests_missed(missed, containers):
    return missed["a module"] and not any(missed[c] for c in ("an attribute", *CONTAINERS))


@suspect_places("a list in a list is not searched: let the walk continue into what it finds")
def nested_lists_missed(missed, containers):
    places = ("an attribute", "a module", *CONTAINERS)
    return missed["a list in a list"] and not any(missed[place] for place in places)


@stage.suspect("x is changed in place: compute a new array")
def changed_in_place(door, fault):
    return "changed" in fault.data


@stage.suspect(
    "parameters that have the same numbers are taken for one: tell them apart by identity, `is` "
    "or `id`"
)
def told_by_value(door, fault):
    return "equal_numbers" in fault.data


@stage.suspect("a parameter is listed twice: keep each once, by identity")
def listed_twice(door, fault):
    return "shared" in fault.data or bool(fault.data.get("twice"))
