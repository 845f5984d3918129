"""Right solutions by other hands pass, whatever their style; and their mistakes are found."""

from pathlib import Path

import pytest
from harness import FEW, SOURCE, examined, first_fault, some, statuses

from microgrand.course.examine import Examination, make_module
from microgrand.course.stages import STAGES

STYLES = Path(__file__).parent / "styles"
WHOLE = ("closures", "operations", "generations", "tape")
#: The stages that a style passes, where that is not all.
PARTS = {"scalars": [1, 2, 3, 4], "layers": [9, 12, 13]}


def source_of(style):
    return (STYLES / f"{style}.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("style", WHOLE)
def test_a_whole_solution_passes(style):
    trained = (14, 15) if style == WHOLE[0] else ()  # the others are trained below
    stages = [n for n in STAGES if n not in (14, 15) or n in trained]
    records = examined(source_of(style), stages, go_on=True, examples=FEW)
    assert first_fault(records) == (None, None)
    assert statuses(records) == dict.fromkeys(stages, "passed")


@pytest.mark.parametrize("style", PARTS)
def test_a_part_passes(style):
    found = statuses(examined(source_of(style), go_on=True))
    assert [n for n in found if found[n].endswith("passed")] == PARTS[style]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("style", [*WHOLE, *PARTS])
def test_no_right_solution_is_ever_called_wrong(style, seed):
    source = source_of(style)
    assert first_fault(examined(source, PARTS.get(style), go_on=True, seed=seed)) == (None, None)


BOTH = """
class Linear(Module):
    def __init__(self, n_in, n_out, rng=None):
        rng = np.random.default_rng(rng)
        self.weight = Tensor(rng.normal(0, np.sqrt(1 / n_in), (n_in, n_out)))
        self.bias = Tensor(np.zeros(n_out))

    def __call__(self, x):
        return self.forward(x)

    def forward(self, x):
        return x @ self.weight + self.bias

    def backward(self, y, g):
        y.backward(g)


class ReLU(Module):
    def __call__(self, x):
        return node(self.forward(x.data), (x,), lambda g: (self.backward(x.data, g),))

    def forward(self, x):
        return np.where(x > 0, x, 0.0)

    def backward(self, x, g):
        return np.where(x > 0, g, 0.0)


class Dropout(Module):
    def __init__(self, p=0.5, rng=None):
        self.p, self.rng, self.training = p, np.random.default_rng(rng), True

    def __call__(self, x):
        if not self.training:
            return x
        kept = self.rng.random(x.data.shape) >= self.p
        return node(self.forward(x.data, kept), (x,), lambda g: (self.backward(g, kept),))

    def forward(self, x, kept):
        return np.where(kept, x / (1 - self.p if self.p < 1 else 1), 0.0)

    backward = forward
"""


def test_layers_that_map_tensors_may_have_methods_of_any_name():
    records = examined(SOURCE + BOTH, [9, 10, 12, 13], go_on=True, examples=FEW)
    assert statuses(records) == dict.fromkeys([9, 10, 12, 13], "passed")


def test_layers_that_hold_a_cache_may_be_called_with_arrays():
    call = "    def __call__(self, x):\n        return self.forward(x)\n\n    def forward(self, x):"
    layers = source_of("layers").replace("    def forward(self, x):", call)
    engine = SOURCE[: SOURCE.index("class Module")]
    found = statuses(examined(engine + layers, [9, 12, 13], go_on=True, examples=FEW))
    assert found == dict.fromkeys([9, 12, 13], "passed")


# (style, stage, right, wrong): mistakes as they look there.
MISTAKES = [
    ("closures", 1, "__array_priority__ = 1000", "pass"),
    ("closures", 1, "return Tensor(other) - self", "return self - Tensor(other)"),
    (
        "closures",
        2,
        "self._get(g * other.data)\n            other._get(g * self.data)",
        "self._get(g * self.data)\n            other._get(g * other.data)",
    ),
    ("closures", 3, "        self.grad += g\n", "        self.grad = g\n"),
    (
        "closures",
        5,
        "                g = g.sum(axis=i, keepdims=True)",
        "                g = g.mean(axis=i, keepdims=True)",
    ),
    ("closures", 6, "np.add.at(self.grad, index, g)", "self.grad[index] += g"),
    ("closures", 7, "self._get(g @ b.swapaxes(-1, -2))", "self._get(g @ b.T)"),
    ("closures", 8, "g * (1 - t * t)", "g * (1 - t)"),
    ("closures", 9, "math.sqrt(2 / n_in)", "1.0"),
    ("closures", 10, "logits - logits.data.max(axis=1, keepdims=True)", "logits - 0.0"),
    (
        "closures",
        11,
        "v = self.mu * self.vs.get(id(p), 0.0) + p.grad",
        "v = self.mu * self.vs.get(0, 0.0) + p.grad",
    ),
    ("closures", 12, "lambda g: (factor * g,)", "lambda g: (g / (1 - self.p),)"),
    ("operations", 1, "return lift(other) / self", "return self / lift(other)"),
    ("operations", 2, "-(g * a) / b**2", "-(g * a) / b"),
    (
        "operations",
        3,
        "for more in total[1:]:\n                    grad = grad + more",
        "for more in total[1:]:\n                    grad = more",
    ),
    ("operations", 4, "if not error < 1e-4:", "if error > 1e-4:"),
    ("operations", 5, "if n == 1 and self.to[i + extra] != 1", "if False"),
    ("operations", 6, "tuple(np.argsort(self.axes))", "self.axes"),
    (
        "operations",
        7,
        "return g @ b.transpose(swap), a.transpose(swap) @ g",
        "return g @ b.transpose(swap), (g.transpose(swap) @ a)",
    ),
    ("operations", 9, "seen.append(value)", "seen.insert(0, value) if len(seen) < 3 else None"),
    ("operations", 11, "(v**0.5 + self.eps)", "(v + self.eps)"),
    (
        "operations",
        12,
        "np.where(drop, 0, g / keep if keep else 0)",
        "np.where(self.rng.random(g.shape) < self.p, 0, g / keep if keep else 0)",
    ),
    (
        "operations",
        13,
        "            if isinstance(v, Module):\n                yield from v.modules()",
        "            if isinstance(v, Module):\n                yield v",
    ),
    ("operations", 14, "            opt.step()\n", ""),
    ("generations", 2, "return g, -g", "return g, g"),
    (
        "generations",
        3,
        "heapq.heappush(queue, (-x.creator.generation,",
        "heapq.heappush(queue, (0,",
    ),
    ("generations", 4, "(f(x + e) - f(x - e)) / (2 * eps)", "(f(x + e) - f(x)) / eps"),
    ("generations", 5, "gx = sum_to(np.asarray(gx), x.shape)", "gx = np.asarray(gx)"),
    (
        "generations",
        6,
        "            g = g.reshape(kept)\n",
        "            g = g.reshape(kept[::-1])\n",
    ),
    ("generations", 8, "return np.where(self.inputs[0].data > 0, g, 0)", "return g"),
    ("generations", 10, "return (g * d / len(labels),)", "return (g * d,)"),
    ("generations", 11, "        for p in self.params:\n            p.cleargrad()", "        pass"),
    (
        "generations",
        12,
        "kept = self.rng.uniform(size=x.data.shape) > self.ratio",
        "kept = self.rng.uniform(size=x.data.shape) < self.ratio",
    ),
    (
        "generations",
        13,
        "            if isinstance(item, Module):\n                item.train(mode)",
        "            if isinstance(item, Dropout):\n                item.training = mode",
    ),
    ("generations", 14, "    net.train(mode)\n    return", "    return"),
    (
        "generations",
        15,
        "    try:\n        yield\n    finally:\n        setattr(Config, name, old)",
        "    yield\n    setattr(Config, name, old)",
    ),
    ("scalars", 1, "return other * self**-1", "return self * other**-1"),
    ("scalars", 1, "def __rmul__", "def no_rmul"),
    ("scalars", 3, "            if v._prev:\n                v.grad = 0.0", "            pass"),
    ("tape", 2, "lambda g, a, b: (g, -g)", "lambda g, a, b: (g, g)"),
    ("tape", 3, "grads[id(p)] = grads.get(id(p), 0) + d", "grads[id(p)] = d"),
    ("tape", 4, "/ 2e-6", "/ 1e-6"),
    ("tape", 5, "if n == 1), keepdims", "if n == 9), keepdims"),
    ("tape", 6, "np.argsort(axes) if axes", "axes if axes"),
    ("tape", 8, "1 - y * y", "1 - y"),
    ("tape", 10, "x - x.data.max(1)[:, None]", "x * 1.0"),
    ("tape", 11, "self.mu * self.s[i] + g", "self.mu * self.s[i] + (1 - self.mu) * g"),
    ("tape", 12, "lambda g: [np.where(m, k * g, 0)]", "lambda g: [np.where(m, g, 0)]"),
    ("tape", 14, "net(Tensor(x[b])), y[b]", "net(Tensor(x[b])), y[: len(b)]"),
    ("scalars", 1, "return other + (-self)", "return self + (-other)"),
    ("scalars", 2, "(other * self.data ** (other - 1))", "(other * self.data**other)"),
    ("scalars", 2, "self.grad += other.data * out.grad", "self.grad += self.data * out.grad"),
    (
        "scalars",
        3,
        "            self.grad += out.grad\n            other.grad += out.grad",
        "            self.grad = out.grad\n            other.grad = out.grad",
    ),
    (
        "scalars",
        3,
        "                for child in v._prev:\n                    build_topo(child)\n"
        "                topo.append(v)\n",
        "                topo.insert(0, v)\n"
        "                for child in v._prev:\n                    build_topo(child)\n",
    ),
    (
        "scalars",
        4,
        "values = []\n        for h in (1e-5, -1e-5):\n            x[i] = keep + h",
        "values = []\n        for h in (1e-5, 0.0):\n            x[i] = keep + h",
    ),
    ("scalars", 4, "    assert abs(v.grad - slope) <= 1e-3 * max(abs(v.grad), abs(slope))\n", ""),
    ("layers", 9, "self.cache.T @ dout", "self.cache.T @ np.ones_like(dout)"),
    ("layers", 9, 'return x @ self.params["W"] + self.params["b"]', 'return x @ self.params["W"]'),
    ("layers", 9, "/ np.sqrt(n_in)", "/ n_in"),
    (
        "layers",
        9,
        "for layer in reversed(self.layers):\n            dout",
        "for layer in self.layers[:1]:\n            dout",
    ),
    (
        "layers",
        12,
        "return np.where(self.mask, dout / (1 - self.p if self.p < 1 else 1.0), 0)",
        "return dout",
    ),
    ("layers", 12, "return np.where(self.mask, x / keep, 0)", "return np.where(self.mask, x, 0)"),
    (
        "layers",
        12,
        "        self.mask = None\n        return x\n",
        "        self.mask = None\n        return x * self.p\n",
    ),
    ("layers", 12, "np.where(self.mask, x / keep, 0)", "x * self.mask / keep"),
    (
        "layers",
        13,
        '            if hasattr(layer, "train"):\n                layer.train(mode)',
        "            layer.training = mode",
    ),
    (
        "layers",
        13,
        "        self.train(False)\n\n\nclass Seq",
        "        self.train(True)\n\n\nclass Seq",
    ),
]


@pytest.mark.parametrize(
    "mistake",
    some(MISTAKES, lambda mistake: MISTAKES.index(mistake) % 4 == 0),
    ids=[f"{style}-{stage}-{i}" for i, (style, stage, _, _) in enumerate(MISTAKES)],
)
def test_mistakes_of_other_hands_are_found_at_their_stage(mistake):
    style, stage, right, wrong = mistake
    source = source_of(style)
    assert source.count(right) == 1
    records = examined(source.replace(right, wrong), [stage])
    assert first_fault(records)[0] == stage


@pytest.mark.slow
@pytest.mark.parametrize(("style", "stage", "right", "wrong"), MISTAKES)
def test_and_at_none_before(style, stage, right, wrong):
    wanted = [n for n in PARTS.get(style, list(STAGES)) if n < stage]
    records = examined(source_of(style).replace(right, wrong), wanted)
    assert first_fault(records) == (None, None)


# ------------------------------------------------------------------- names that are one's own


class OwnDoor:
    """What a file `door.py` says of tensors whose attributes have other names."""

    def __init__(self, module):
        self.tensor = module.Tensor
        self.value = lambda t: t.numbers
        self.gradient = lambda t: t.slope
        self.backward = lambda t, g: t.go_back(g)


def test_a_door_of_ones_own_explains_other_names():
    source = source_of("generations")
    start, end = source.index("class Variable"), source.index("class Module")
    engine = source[start:end].replace("self.data", "self.numbers").replace(".grad ", ".slope ")
    for old, new in (
        (".data", ".numbers"),
        (".grad", ".slope"),
        (".backward()", ".go_back()"),
        ("def backward(self, g=None)", "def go_back(self, g=None)"),
    ):
        engine = engine.replace(old, new)
    source = source[:start] + engine
    path = Path("mygrad.py").resolve()
    module = make_module(path, source)
    records = []
    examination = Examination(
        path,
        source,
        module,
        lambda event, **r: records.append({"event": event, **r}),
        own=OwnDoor(module),
    )
    examination.run(range(1, 9), go_on=True)
    assert set(statuses(records).values()) == {"passed"}
    assert first_fault(records) == (None, None)
