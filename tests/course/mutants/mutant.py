"""What a planted mistake is, and lines of the course's framework that several of them change."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    stage: int
    name: str
    right: str
    wrong: str
    cause: str = ""

    def __str__(self):
        return f"{self.stage}-{self.name.replace(' ', '_')}"


ADD = "self.data + other.data, (self, other), lambda g: (g, g)"
ADD_LINE = "other = as_tensor(other)\n        return node(self.data + other.data"
SUB = "self.data - other.data, (self, other), lambda g: (g, -g)"
MUL = "a * b, (self, other), lambda g: (g * b, g * a)"
DIV = "a / b, (self, other), lambda g: (g / b, -g * a / b**2)"
POW = "x**n, (self,), lambda g: (g * n * x ** (n - 1),)"
LEAF = "tensor.grad = g.copy() if tensor.grad is None else tensor.grad + g"
RSUB = "return as_tensor(other) - self"
RDIV = "return as_tensor(other) / self"
TO_PARENTS = f"""\
                {LEAF}
                continue
            for parent, part in zip(tensor.parents, tensor.vjp(g), strict=True):
                part = undo_broadcasting(part, parent.data.shape)
"""
UNDO = """\
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    stretched = tuple(i for i, n in enumerate(shape) if n == 1 and g.shape[i] != 1)
    return g.sum(axis=stretched, keepdims=True)
"""
KEPT = "kept = self.rng.random(x.data.shape) >= self.p"
DROPPED = "return node(value, (x,), lambda g: (np.where(kept, g * scale, 0.0),))"
SUM_VJP = """\
            if axis is not None and not keepdims:
                g = np.expand_dims(g, axis)
            return (np.broadcast_to(g, shape),)
"""
MEAN = "return total * (total.data.size / self.data.size)"
PUT = "np.add.at(total, index, g)"
PAIR = """\
            ga = undo_broadcasting(g @ np.swapaxes(column, -1, -2), row.shape)
            gb = undo_broadcasting(np.swapaxes(row, -1, -2) @ g, column.shape)
"""
WEIGHT = "self.weight = Tensor(rng.normal(0, np.sqrt(1 / n_in), (n_in, n_out)))"
RELU = "lambda g: (np.where(positive, g, 0.0),)"
CENTRAL = "gradient[i] = (ahead - f(x.copy())) / (2 * h)"
COMPARE = "assert np.all(np.abs(tensor.grad - expected) <= 1e-5 * size)"
PARAMETERS = "return list(dict.fromkeys(found_in(self, Tensor)))"
EPOCH = "            optimizer.zero_grad()\n"
LOGP = "loss = -logp[rows, labels].mean()"
SGD_V = "self.v[i] = self.momentum * self.v[i] + p.grad"
ADAM_M = "m, v = self.m[i] / (1 - b1**self.t), self.v[i] / (1 - b2**self.t)"
ADAM_STEP = "p.data = p.data - self.lr * m / (np.sqrt(v) + self.eps)"
TRAIN = """\
        for module in found_in(self, Module):
            module.training = mode
"""
WALK = """\
        found = []
        for value in vars(self).values():
            inside = [value]
            if isinstance(value, dict):
                inside = list(value.values())
            if isinstance(value, (list, tuple)):
                inside = value
"""
HAND_ON = f"""\
{WALK.replace("found = []", "self.training = mode")}\
            for module in inside:
                if isinstance(module, Module):
                    module.train(mode)
"""
PASS_ON = """\
                if id(parent) in gradients:
                    part = gradients[id(parent)] + part
"""
MADE_AND_CALLED = """\
        self.p, self.rng, self.training = p, np.random.default_rng(rng), True

    def __call__(self, x):
        if not self.training:
            return x
        kept = self.rng.random(x.data.shape) >= self.p
"""
ADAM_LINES = f"""\
            self.m[i] = b1 * self.m[i] + (1 - b1) * g
            self.v[i] = b2 * self.v[i] + (1 - b2) * g**2
            {ADAM_M}
            {ADAM_STEP}
"""
NO_GRAD = """\
    RECORDING.append(False)
    try:
        yield
    finally:
        RECORDING.pop()
"""
