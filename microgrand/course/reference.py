"""The course's own framework, stage by stage: it stands in for parts that are faulty or missing.

Every expected value and gradient of the course is computed with it; the course's tests check it
with microgrand's gradcheck. An operation is written with `node`, and its derivative is a closure.
"""

# mypy: ignore-errors
# ruff: noqa: D101, D102, D103

import contextlib

import numpy as np

RECORDING = [True]


class Tensor:
    """An array that remembers how it was computed."""

    __array_ufunc__ = None  # NumPy on the left leaves the operation to us

    def __init__(self, data):
        self.data = np.asarray(getattr(data, "data", data) if is_tensor(data) else data, float)
        self.parents, self.vjp, self.grad = (), None, None

    # ------------------------------------------------------------------ 1, 2: operators

    def __add__(self, other):
        other = as_tensor(other)
        return node(self.data + other.data, (self, other), lambda g: (g, g))

    def __sub__(self, other):
        other = as_tensor(other)
        return node(self.data - other.data, (self, other), lambda g: (g, -g))

    def __mul__(self, other):
        other = as_tensor(other)
        a, b = self.data, other.data
        return node(a * b, (self, other), lambda g: (g * b, g * a))

    def __truediv__(self, other):
        other = as_tensor(other)
        a, b = self.data, other.data
        return node(a / b, (self, other), lambda g: (g / b, -g * a / b**2))

    def __neg__(self):
        return node(-self.data, (self,), lambda g: (-g,))

    def __pow__(self, n):
        x = self.data
        return node(x**n, (self,), lambda g: (g * n * x ** (n - 1),))

    def __radd__(self, other):
        return as_tensor(other) + self

    def __rsub__(self, other):
        return as_tensor(other) - self

    def __rmul__(self, other):
        return as_tensor(other) * self

    def __rtruediv__(self, other):
        return as_tensor(other) / self

    # ------------------------------------------------------------------ 2, 3: the way back

    def backward(self, g=None):
        start = np.ones_like(self.data) if g is None else np.array(g, float)
        gradients = {id(self): start}
        for tensor in reversed(in_order(self)):
            g = gradients.pop(id(tensor))
            if tensor.vjp is None:
                tensor.grad = g.copy() if tensor.grad is None else tensor.grad + g
                continue
            for parent, part in zip(tensor.parents, tensor.vjp(g), strict=True):
                part = undo_broadcasting(part, parent.data.shape)
                if id(parent) in gradients:
                    part = gradients[id(parent)] + part
                gradients[id(parent)] = part

    # ------------------------------------------------------------------ 6: sums and shapes

    def sum(self, axis=None, keepdims=False):
        shape = self.data.shape

        def vjp(g):
            if axis is not None and not keepdims:
                g = np.expand_dims(g, axis)
            return (np.broadcast_to(g, shape),)

        return node(self.data.sum(axis=axis, keepdims=keepdims), (self,), vjp)

    def mean(self, axis=None, keepdims=False):
        total = self.sum(axis, keepdims)
        return total * (total.data.size / self.data.size)

    def reshape(self, *shape):
        old = self.data.shape
        return node(self.data.reshape(*shape), (self,), lambda g: (g.reshape(old),))

    def transpose(self, *axes):
        value = self.data.transpose(*axes)
        if len(axes) == 1 and isinstance(axes[0], (tuple, list)):
            axes = axes[0]
        if not axes or axes[0] is None:
            return node(value, (self,), lambda g: (g.transpose(),))
        back = np.argsort(np.array(axes) % value.ndim)
        return node(value, (self,), lambda g: (g.transpose(back),))

    def __getitem__(self, index):
        shape = self.data.shape

        def vjp(g):
            total = np.zeros(shape)
            np.add.at(total, index, g)
            return (total,)

        return node(self.data[index], (self,), vjp)

    # ------------------------------------------------------------------ 7: products

    def __matmul__(self, other):
        other = as_tensor(other)
        a, b = self.data, other.data

        def vjp(g):
            row, column = np.atleast_2d(a), b[:, None] if b.ndim == 1 else b
            g = np.expand_dims(g, -1) if b.ndim == 1 else g
            g = np.expand_dims(g, -2) if a.ndim == 1 else g
            ga = undo_broadcasting(g @ np.swapaxes(column, -1, -2), row.shape)
            gb = undo_broadcasting(np.swapaxes(row, -1, -2) @ g, column.shape)
            return ga.reshape(a.shape), gb.reshape(b.shape)

        return node(a @ b, (self, other), vjp)

    def __rmatmul__(self, other):
        return as_tensor(other) @ self

    # ------------------------------------------------------------------ 8: functions

    def relu(self):
        positive = self.data > 0
        value = np.where(positive, self.data, 0.0)
        return node(value, (self,), lambda g: (np.where(positive, g, 0.0),))

    def exp(self):
        out = np.exp(self.data)
        return node(out, (self,), lambda g: (g * out,))

    def log(self):
        x = self.data
        return node(np.log(x), (self,), lambda g: (g / x,))

    def tanh(self):
        out = np.tanh(self.data)
        return node(out, (self,), lambda g: (g * (1 - out**2),))

    # ---------------------------------- for students' code that looks at more than the contract

    @property
    def shape(self):
        return self.data.shape

    @property
    def ndim(self):
        return self.data.ndim

    @property
    def size(self):
        return self.data.size

    @property
    def T(self):
        return self.transpose()

    def __len__(self):
        return len(self.data)

    def __float__(self):
        return float(self.data)

    def item(self):
        return self.data.item()


def is_tensor(given):
    return isinstance(given, Tensor)


def as_tensor(given):
    return given if isinstance(given, Tensor) else Tensor(given)


def node(value, parents, vjp):
    """Make a Tensor of a value that was computed from parents; `vjp(g)` gives their gradients."""
    out = Tensor(value)
    if RECORDING[-1]:
        out.parents, out.vjp = tuple(as_tensor(parent) for parent in parents), vjp
    return out


def in_order(last):
    """Return the graph with every tensor after its parents, without recursion: it may be deep."""
    order, seen, stack = [], set(), [(last, False)]
    while stack:
        tensor, done = stack.pop()
        if done:
            order.append(tensor)
        elif id(tensor) not in seen:
            seen.add(id(tensor))
            stack.append((tensor, True))
            stack.extend((parent, False) for parent in tensor.parents)
    return order


# ---------------------------------------------------------------------- 4: a check of your own


def numerical_gradient(f, x):
    x = np.array(x, float)
    gradient = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        old, h = x[i], 6e-6
        x[i] = old + h
        ahead = f(x.copy())
        x[i] = old - h
        gradient[i] = (ahead - f(x.copy())) / (2 * h)
        x[i] = old
    return gradient


def check_gradient(f, x):
    tensor = Tensor(np.array(x, float))
    f(tensor).backward()
    expected = numerical_gradient(lambda a: float(f(Tensor(a)).data), x)
    size = np.maximum(np.abs(expected), np.abs(tensor.grad)).max()
    assert np.all(np.abs(tensor.grad - expected) <= 1e-5 * size), "the gradient is wrong"
    return True


# ---------------------------------------------------------------------- 5: broadcasting


def undo_broadcasting(g, shape):
    """Sum a gradient over the axes along which its operand was repeated."""
    if g.shape == shape:
        return g
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    stretched = tuple(i for i, n in enumerate(shape) if n == 1 and g.shape[i] != 1)
    return g.sum(axis=stretched, keepdims=True)


# ---------------------------------------------------------------------- 9: layers


class Module:
    training = True

    def parameters(self):
        return list(dict.fromkeys(found_in(self, Tensor)))

    def train(self, mode=True):
        for module in found_in(self, Module):
            module.training = mode
        return self

    def eval(self):
        return self.train(False)

    def __call__(self, x):
        return self.forward(x)


def found_in(place, kind):
    """Yield all of a kind in a module's attributes, in lists, tuples and dicts, at any depth."""
    if isinstance(place, kind):
        yield place
    if isinstance(place, Module):
        place = vars(place)
    if isinstance(place, dict):
        place = list(place.values())
    if isinstance(place, (list, tuple)):
        for value in place:
            yield from found_in(value, kind)


class Linear(Module):
    def __init__(self, n_in, n_out, rng=None):
        rng = np.random.default_rng(rng)
        self.weight = Tensor(rng.normal(0, np.sqrt(1 / n_in), (n_in, n_out)))
        self.bias = Tensor(np.zeros(n_out))

    def __call__(self, x):
        return x @ self.weight + self.bias


class ReLU(Module):
    def __call__(self, x):
        return x.relu()


class Sequential(Module):
    def __init__(self, *layers):
        self.layers = list(layers)

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


# ---------------------------------------------------------------------- 10: losses


def mse(prediction, target):
    return ((prediction - target) ** 2).mean()


def cross_entropy(logits, labels):
    n = len(labels)
    rows = np.arange(n)
    z = logits.data - logits.data.max(axis=1, keepdims=True)
    logp = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    loss = -logp[rows, labels].mean()

    def vjp(g):
        p = np.exp(logp)
        p[rows, labels] -= 1
        return (g * p / n,)

    return node(loss, (logits,), vjp)


# ---------------------------------------------------------------------- 11: optimizers


class SGD:
    def __init__(self, parameters, lr, momentum=0):
        self.parameters, self.lr, self.momentum = list(parameters), lr, momentum
        self.v = [np.zeros_like(p.data) for p in self.parameters]

    def zero_grad(self):
        for p in self.parameters:
            p.grad = None

    def step(self):
        for i, p in enumerate(self.parameters):
            if p.grad is None:
                continue
            self.v[i] = self.momentum * self.v[i] + p.grad
            p.data = p.data - self.lr * self.v[i]


class Adam:
    def __init__(self, parameters, lr, betas=(0.9, 0.999), eps=1e-8):
        self.parameters, self.lr, self.betas, self.eps = list(parameters), lr, betas, eps
        self.m = [np.zeros_like(p.data) for p in self.parameters]
        self.v = [np.zeros_like(p.data) for p in self.parameters]
        self.t = 0

    def zero_grad(self):
        for p in self.parameters:
            p.grad = None

    def step(self):
        self.t += 1
        b1, b2 = self.betas
        for i, p in enumerate(self.parameters):
            if p.grad is None:
                continue
            g = p.grad
            self.m[i] = b1 * self.m[i] + (1 - b1) * g
            self.v[i] = b2 * self.v[i] + (1 - b2) * g**2
            m, v = self.m[i] / (1 - b1**self.t), self.v[i] / (1 - b2**self.t)
            p.data = p.data - self.lr * m / (np.sqrt(v) + self.eps)


# ---------------------------------------------------------------------- 12: dropout


class Dropout(Module):
    def __init__(self, p=0.5, rng=None):
        self.p, self.rng, self.training = p, np.random.default_rng(rng), True

    def __call__(self, x):
        if not self.training:
            return x
        kept = self.rng.random(x.data.shape) >= self.p
        scale = 1 / (1 - self.p) if self.p < 1 else 0.0
        value = np.where(kept, x.data * scale, 0.0)
        return node(value, (x,), lambda g: (np.where(kept, g * scale, 0.0),))


# ---------------------------------------------------------------------- 14: digits


def fit(net, x, y, epochs, rng):
    rng = np.random.default_rng(rng)
    optimizer = Adam(net.parameters(), lr=0.01)
    net.train()
    for _ in range(epochs):
        order = rng.permutation(len(x))
        for start in range(0, len(x), 32):
            batch = order[start : start + 32]
            optimizer.zero_grad()
            cross_entropy(net(Tensor(x[batch])), y[batch]).backward()
            optimizer.step()


def accuracy(net, x, y):
    before = net.training
    net.eval()
    answers = net(Tensor(x)).data.argmax(axis=1)
    net.train(before)
    return float(np.mean(answers == y))


# ---------------------------------------------------------------------- 15: long and lean


@contextlib.contextmanager
def no_grad():
    RECORDING.append(False)
    try:
        yield
    finally:
        RECORDING.pop()
