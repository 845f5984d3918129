"""A right solution with one tape for all, which the way back reads from its end, and clears."""

import numpy as np

TAPE = []


class Tensor:
    __array_ufunc__ = None
    __slots__ = ("data", "grad", "leaf")

    def __init__(self, data, leaf=True):
        self.data = np.asarray(data, dtype=np.float64)
        self.grad = None
        self.leaf = leaf

    def backward(self, g=None):
        grads = {id(self): np.ones(self.data.shape) if g is None else g}
        leaves = {}
        for out, parents, vjp in reversed(TAPE):
            if id(out) not in grads:
                continue
            for p, d in zip(parents, vjp(grads[id(out)]), strict=True):
                d = unb(np.asarray(d), p.data.shape)
                grads[id(p)] = grads.get(id(p), 0) + d
                if p.leaf:
                    leaves[id(p)] = p
        for k, p in leaves.items():
            p.grad = grads[k]
        TAPE.clear()


def unb(g, shape):
    if g.shape == shape:
        return g
    lead = g.ndim - len(shape)
    g = g.sum(tuple(range(lead)))
    return g.sum(tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True).reshape(shape)


REC = [True]


def node(value, parents, vjp):
    out = Tensor(value, False)
    if REC[0]:
        TAPE.append((out, tuple(parents), vjp))
    return out


def T(x):
    return x if isinstance(x, Tensor) else Tensor(x)


def op(f, df):
    def call(a, b):
        a, b = T(a), T(b)
        return node(f(a.data, b.data), (a, b), lambda g: df(g, a.data, b.data))

    return call


add = op(np.add, lambda g, a, b: (g, g))
sub = op(np.subtract, lambda g, a, b: (g, -g))
mul = op(np.multiply, lambda g, a, b: (g * b, g * a))
div = op(np.divide, lambda g, a, b: (g / b, -g * a / (b * b)))


def mm(g, a, b):
    if a.ndim == 1 and b.ndim == 1:
        return g * b, g * a
    A = a[None, :] if a.ndim == 1 else a
    B = b[:, None] if b.ndim == 1 else b
    G = g
    if a.ndim == 1:
        G = np.expand_dims(G, -2)
    if b.ndim == 1:
        G = np.expand_dims(G, -1)
    ga = G @ B.swapaxes(-1, -2)
    gb = A.swapaxes(-1, -2) @ G
    if a.ndim == 1:
        ga = unb(ga, A.shape)[0]
    if b.ndim == 1:
        gb = unb(gb, B.shape)[:, 0]
    return ga, gb


mat = op(np.matmul, mm)


def turned(f):
    return lambda self, other: f(other, self)


for name, f in {"add": add, "sub": sub, "mul": mul, "truediv": div, "matmul": mat}.items():
    setattr(Tensor, f"__{name}__", f)
    setattr(Tensor, f"__r{name}__", turned(f))
Tensor.__neg__ = lambda x: node(-x.data, (x,), lambda g: [-g])
Tensor.__pow__ = lambda x, n: node(x.data**n, (x,), lambda g: [g * n * x.data ** (n - 1)])


def tsum(x, axis=None, keepdims=False):
    def vjp(g):
        e = g if keepdims or axis is None else np.expand_dims(g, axis)
        return [np.zeros_like(x.data) + e]

    return node(np.sum(x.data, axis, keepdims=keepdims), [x], vjp)


Tensor.sum = tsum
Tensor.mean = lambda x, axis=None, keepdims=False: (
    lambda s: s / (x.data.size // max(s.data.size, 1))
)(x.sum(axis=axis, keepdims=keepdims))
Tensor.reshape = lambda x, *s: node(
    x.data.reshape(*s), [x], lambda g: [np.reshape(g, x.data.shape)]
)


def transpose(x, *axes):
    axes = axes[0] if len(axes) == 1 and isinstance(axes[0], (tuple, list)) else axes
    y = np.transpose(x.data, axes or None)
    return node(y, [x], lambda g: [np.transpose(g, np.argsort(axes) if axes else None)])


Tensor.transpose = transpose


def getitem(x, i):
    def vjp(g):
        z = np.zeros_like(x.data)
        np.add.at(z, i, g)
        return [z]

    return node(x.data[i], [x], vjp)


Tensor.__getitem__ = getitem
Tensor.relu = lambda x: node(np.clip(x.data, 0, None), [x], lambda g: [g * (x.data > 0)])


def fun(f, d):
    def call(x):
        y = f(x.data)
        return node(y, [x], lambda g: [g * d(x.data, y)])

    return call


Tensor.exp = fun(np.exp, lambda x, y: y)
Tensor.log = fun(np.log, lambda x, y: 1 / x)
Tensor.tanh = fun(np.tanh, lambda x, y: 1 - y * y)


def numerical_gradient(f, x):
    x = np.array(x, np.float64)
    return np.array(
        [
            (f((x.ravel() + e).reshape(x.shape)) - f((x.ravel() - e).reshape(x.shape))) / 2e-6
            for e in 1e-6 * np.eye(x.size)
        ]
    ).reshape(x.shape)


def check_gradient(f, x):
    t = Tensor(x)
    y = f(t)
    y.backward()
    n = numerical_gradient(lambda a: float(f(Tensor(a)).data), x)
    TAPE.clear()
    rel = np.abs(t.grad - n) / np.maximum(np.maximum(np.abs(t.grad), np.abs(n)), 1e-12)
    if not (rel < 1e-4).all():
        raise AssertionError(rel.max())
    return True


class Module:
    def parameters(self):
        seen = {}

        def go(v):
            if isinstance(v, Tensor):
                seen.setdefault(id(v), v)
            elif isinstance(v, Module):
                go(v.__dict__)
            elif isinstance(v, dict):
                go(list(v.values()))
            elif isinstance(v, (list, tuple)):
                list(map(go, v))

        go(self)
        yield from seen.values()

    def train(self, mode=True):
        def go(v):
            if isinstance(v, Module):
                v.training = mode
                go(v.__dict__)
            elif isinstance(v, dict):
                go(list(v.values()))
            elif isinstance(v, (list, tuple)):
                list(map(go, v))

        go(self)

    def eval(self):
        self.train(False)


class Linear(Module):
    def __init__(self, n_in, n_out, rng=None):
        rng = np.random.default_rng(rng)
        self.W = Tensor(rng.uniform(-1, 1, (n_in, n_out)) * (3 / n_in) ** 0.5)
        self.b = Tensor(np.zeros((n_out,)))

    def __call__(self, x):
        return x @ self.W + self.b


class ReLU(Module):
    __call__ = lambda self, x: x.relu()


class Sequential(Module):
    def __init__(self, *layers):
        self.layers = layers

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def mse(p, t):
    return ((p - t) ** 2).mean()


def cross_entropy(x, y):
    s = x - x.data.max(1)[:, None]
    return (s.exp().sum(axis=1).log().sum() - s[range(len(y)), y].sum()) / len(y)


class Opt:
    def __init__(self, ps, lr, **k):
        self.ps = list(ps)
        self.lr = lr
        self.s = [None] * len(self.ps)
        self.t = 0

    def zero_grad(self):
        for p in self.ps:
            p.grad = np.zeros_like(p.data)

    def step(self):
        self.t += 1
        for i, p in enumerate(self.ps):
            if p.grad is not None:
                p.data = p.data - self.lr * self.rule(i, p.grad)


class SGD(Opt):
    def __init__(self, ps, lr, momentum=0):
        super().__init__(ps, lr)
        self.mu = momentum

    def rule(self, i, g):
        self.s[i] = g if self.s[i] is None else self.mu * self.s[i] + g
        return self.s[i]


class Adam(Opt):
    def __init__(self, ps, lr, betas=(0.9, 0.999), eps=1e-8):
        super().__init__(ps, lr)
        self.b = betas
        self.eps = eps

    def rule(self, i, g):
        m, v = self.s[i] or (0, 0)
        a, b = self.b
        self.s[i] = m, v = a * m + (1 - a) * g, b * v + (1 - b) * g * g
        return m / (1 - a**self.t) / (np.sqrt(v / (1 - b**self.t)) + self.eps)


class Dropout(Module):
    training = True

    def __init__(self, p=0.5, rng=None):
        self.p = p
        self.rng = np.random.default_rng(rng)

    def __call__(self, x):
        if not self.training:
            return x
        m = self.rng.random(x.data.shape) >= self.p
        k = 1.0 / (1 - self.p) if self.p != 1 else 0
        return node(np.where(m, k * x.data, 0), [x], lambda g: [np.where(m, k * g, 0)])


def fit(net, x, y, epochs, rng):
    rng = np.random.default_rng(rng)
    net.train()
    o = SGD(net.parameters(), 0.1, momentum=0.9)
    for _ in range(epochs):
        for b in np.array_split(rng.permutation(len(x)), max(1, len(x) // 32)):
            o.zero_grad()
            cross_entropy(net(Tensor(x[b])), y[b]).backward()
            o.step()


def accuracy(net, x, y):
    mods = []

    def go(v):
        if isinstance(v, Module):
            mods.append((v, getattr(v, "training", True)))
            go(v.__dict__)
        elif isinstance(v, dict):
            go(list(v.values()))
        elif isinstance(v, (list, tuple)):
            list(map(go, v))

    go(net)
    net.eval()
    with no_grad():
        a = net(Tensor(x)).data.argmax(-1)
    for m, t in mods:
        m.training = t
    return sum(a == y) / len(y)


class no_grad:
    def __enter__(self):
        self.b = REC[0]
        REC[0] = False

    def __exit__(self, *a):
        REC[0] = self.b
