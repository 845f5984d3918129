"""A right solution in dlsys' manner: operation classes whose gradients are Tensors themselves."""

import contextlib

import numpy as np

LAZY = {"record": True}


class Op:
    def __call__(self, *inputs):
        out = Tensor.make(self.compute(*(t.realized for t in inputs)))
        if LAZY["record"]:
            out.op, out.inputs = self, inputs
        return out


class Tensor:
    __array_ufunc__ = None

    def __init__(self, array):
        self.realized = np.array(
            array.realized if isinstance(array, Tensor) else array, dtype=float
        )
        self.op, self.inputs, self.grad = None, (), None

    @staticmethod
    def make(array):
        out = Tensor.__new__(Tensor)
        out.realized = np.asarray(array, dtype=float)
        out.op, out.inputs, out.grad = None, (), None
        return out

    @property
    def data(self):
        return self.realized

    @data.setter
    def data(self, value):
        self.realized = np.asarray(value.realized if isinstance(value, Tensor) else value)

    @property
    def shape(self):
        return self.realized.shape

    def backward(self, g=None):
        if g is None:
            g = Tensor(np.ones(self.shape))
        out_grads = {self: [g if isinstance(g, Tensor) else Tensor(g)]}
        with no_grad():
            for tensor in reversed(topological(self)):
                total = out_grads.pop(tensor)
                grad = total[0]
                for more in total[1:]:
                    grad = grad + more
                if tensor.op is None:
                    tensor.grad = Tensor(grad)  # begins anew
                    continue
                parts = tensor.op.gradient(grad, tensor)
                parts = parts if isinstance(parts, tuple) else (parts,)
                for t, part in zip(tensor.inputs, parts, strict=True):
                    out_grads.setdefault(t, []).append(part)

    def __add__(self, other):
        return broadcasting(Add(), self, other)

    def __sub__(self, other):
        return broadcasting(Add(), self, -lift(other))

    def __mul__(self, other):
        return broadcasting(Mul(), self, other)

    def __truediv__(self, other):
        return broadcasting(Div(), self, other)

    def __rsub__(self, other):
        return lift(other) - self

    def __rtruediv__(self, other):
        return lift(other) / self

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self):
        return Scale(-1.0)(self)

    def __pow__(self, n):
        return Power(n)(self)

    def __matmul__(self, other):
        a, b = self, lift(other)
        flat_a, flat_b = a.realized.ndim == 1, b.realized.ndim == 1
        a = a.reshape(1, -1) if flat_a else a
        b = b.reshape(-1, 1) if flat_b else b
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        a, b = spread(a, batch + a.shape[-2:]), spread(b, batch + b.shape[-2:])
        out = MatMul()(a, b)
        if flat_a or flat_b:
            shape = out.shape[:-2]
            shape += () if flat_a else out.shape[-2:-1]
            shape += () if flat_b else out.shape[-1:]
            out = out.reshape(shape)
        return out

    def __rmatmul__(self, other):
        return lift(other) @ self

    def sum(self, axis=None, keepdims=False):
        return Sum(axis, keepdims)(self)

    def mean(self, axis=None, keepdims=False):
        out = self.sum(axis, keepdims)
        return Scale(out.realized.size / self.realized.size)(out)

    def reshape(self, *shape):
        return Reshape(shape)(self)

    def transpose(self, *axes):
        return Transpose(axes)(self)

    def __getitem__(self, index):
        return Index(index)(self)

    def relu(self):
        return Relu()(self)

    def exp(self):
        return Exp()(self)

    def log(self):
        return Log()(self)

    def tanh(self):
        return Tanh()(self)


def lift(x):
    return x if isinstance(x, Tensor) else Tensor(x)


def spread(t, shape):
    return t if t.shape == tuple(shape) else Spread(shape)(t)


def broadcasting(op, a, b):
    a, b = lift(a), lift(b)
    shape = np.broadcast_shapes(a.shape, b.shape)
    return op(spread(a, shape), spread(b, shape))


def topological(last):
    order, state, stack = [], {}, [last]
    while stack:
        t = stack[-1]
        if state.get(t) is None:
            state[t] = "open"
            stack.extend(p for p in t.inputs if p not in state)
        else:
            stack.pop()
            if state[t] == "open":
                state[t] = "done"
                order.append(t)
    return order


class Add(Op):
    def compute(self, a, b):
        return a + b

    def gradient(self, g, node):
        return g, g


class Mul(Op):
    def compute(self, a, b):
        return a * b

    def gradient(self, g, node):
        a, b = node.inputs
        return g * b, g * a


class Div(Op):
    def compute(self, a, b):
        return a / b

    def gradient(self, g, node):
        a, b = node.inputs
        return g / b, -(g * a) / b**2


class Scale(Op):
    def __init__(self, c):
        self.c = c

    def compute(self, a):
        return self.c * a

    def gradient(self, g, node):
        return Scale(self.c)(g)


class Power(Op):
    def __init__(self, n):
        self.n = n

    def compute(self, a):
        return a**self.n

    def gradient(self, g, node):
        return g * Scale(self.n)(node.inputs[0] ** (self.n - 1))


class Spread(Op):
    def __init__(self, shape):
        self.to = tuple(shape)

    def compute(self, a):
        return np.broadcast_to(a, self.to).copy()

    def gradient(self, g, node):
        shape = node.inputs[0].shape
        extra = len(self.to) - len(shape)
        axes = tuple(range(extra)) + tuple(
            i + extra for i, n in enumerate(shape) if n == 1 and self.to[i + extra] != 1
        )
        return Sum(axes, False)(g).reshape(shape)


class Sum(Op):
    def __init__(self, axis, keepdims):
        self.axis, self.keepdims = axis, keepdims

    def compute(self, a):
        return a.sum(axis=self.axis, keepdims=self.keepdims)

    def gradient(self, g, node):
        shape = list(node.inputs[0].shape)
        axes = range(len(shape)) if self.axis is None else np.atleast_1d(self.axis)
        for i in axes:
            shape[i] = 1
        return spread(g.reshape(tuple(shape)), node.inputs[0].shape)


class Reshape(Op):
    def __init__(self, shape):
        self.shape = shape

    def compute(self, a):
        return a.reshape(*self.shape)

    def gradient(self, g, node):
        return g.reshape(node.inputs[0].shape)


class Transpose(Op):
    def __init__(self, axes):
        self.axes = tuple(axes[0]) if axes and np.ndim(axes[0]) else tuple(axes)

    def compute(self, a):
        return a.transpose(self.axes) if self.axes else a.T

    def gradient(self, g, node):
        return g.transpose(tuple(np.argsort(self.axes))) if self.axes else g.transpose()


class Index(Op):
    def __init__(self, index):
        self.index = index

    def compute(self, a):
        return a[self.index]

    def gradient(self, g, node):
        return Put(self.index, node.inputs[0].shape)(g)


class Put(Op):
    def __init__(self, index, shape):
        self.index, self.shape = index, shape

    def compute(self, g):
        out = np.zeros(self.shape)
        np.add.at(out, self.index, g)
        return out

    def gradient(self, g, node):
        return g[self.index]


class MatMul(Op):
    def compute(self, a, b):
        return a @ b

    def gradient(self, g, node):
        a, b = node.inputs
        swap = (*range(a.realized.ndim - 2), a.realized.ndim - 1, a.realized.ndim - 2)
        return g @ b.transpose(swap), a.transpose(swap) @ g


class Relu(Op):
    def compute(self, a):
        return np.where(a > 0, a, 0)

    def gradient(self, g, node):
        return g * Tensor(node.realized > 0)


class Exp(Op):
    def compute(self, a):
        return np.exp(a)

    def gradient(self, g, node):
        return g * Tensor(node.realized)


class Log(Op):
    def compute(self, a):
        return np.log(a)

    def gradient(self, g, node):
        return g / node.inputs[0]


class Tanh(Op):
    def compute(self, a):
        return np.tanh(a)

    def gradient(self, g, node):
        return g * Tensor(1 - node.realized**2)


class Custom(Op):
    def __init__(self, value, vjp):
        self.value, self.vjp = value, vjp

    def compute(self, *arrays):
        return self.value

    def gradient(self, g, node):
        return tuple(Tensor(part) for part in self.vjp(g.realized))


def node(value, parents, vjp):
    return Custom(value, vjp)(*parents)


def numerical_gradient(f, x):
    x = np.array(x, dtype=float)
    flat = x.reshape(-1)
    found = np.zeros_like(flat)
    for i in range(flat.size):
        before = flat[i]
        flat[i] = before + 1e-5
        up = float(f(x))
        flat[i] = before - 1e-5
        down = float(f(x))
        flat[i] = before
        found[i] = (up - down) / 2e-5
    return found.reshape(x.shape)


def check_gradient(f, x):
    t = Tensor(x)
    f(t).backward()
    numeric = numerical_gradient(lambda a: f(Tensor(a)).realized, x)
    error = np.linalg.norm(t.grad.realized - numeric) / max(np.linalg.norm(numeric), 1e-12)
    if not error < 1e-4:
        raise AssertionError(f"relative error {error}")
    return True


class Module:
    def __init__(self):
        self.training = True

    def parameters(self):
        seen = []
        for value in unpack(self.__dict__):
            if not any(value is s for s in seen):
                seen.append(value)
        return iter(seen)

    def modules(self):
        yield self
        stack = list(self.__dict__.values())
        while stack:
            v = stack.pop()
            if isinstance(v, Module):
                yield from v.modules()
            elif isinstance(v, dict):
                stack.extend(v.values())
            elif isinstance(v, (list, tuple)):
                stack.extend(v)

    def train(self, mode=True):
        for m in self.modules():
            m.training = mode
        return self

    def eval(self):
        return self.train(mode=False)

    def __call__(self, *args):
        return self.forward(*args)


def unpack(value):
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Module):
        return unpack(value.__dict__)
    if isinstance(value, dict):
        return [p for v in value.values() for p in unpack(v)]
    if isinstance(value, (list, tuple)):
        return [p for v in value for p in unpack(v)]
    return []


class Linear(Module):
    def __init__(self, n_in, n_out, rng=None):
        super().__init__()
        rng = np.random.default_rng(rng)
        bound = 1 / np.sqrt(n_in)
        self.weight = Tensor(rng.uniform(-bound, bound, (n_in, n_out)))
        self.bias = Tensor(rng.uniform(-bound, bound, n_out))

    def forward(self, x):
        return x @ self.weight + self.bias


class ReLU(Module):
    def forward(self, x):
        return x.relu()


class Sequential(Module):
    def __init__(self, *modules):
        super().__init__()
        self.list = list(modules)

    def forward(self, x):
        for m in self.list:
            x = m(x)
        return x


def mse(prediction, target):
    return ((prediction - lift(target)) ** 2).mean()


def cross_entropy(logits, labels):
    top = Tensor(logits.realized.max(axis=1, keepdims=True))
    lse = (logits - top).exp().sum(axis=1, keepdims=True).log() + top
    one_hot = np.eye(logits.shape[1])[labels]
    return ((lse - logits) * one_hot).sum() / len(labels)


class SGD:
    def __init__(self, parameters, lr, momentum=0):
        self.params, self.lr, self.momentum, self.u = [*parameters], lr, momentum, {}

    def zero_grad(self):
        for p in self.params:
            p.grad = None

    def step(self):
        for i, p in enumerate(self.params):
            if p.grad is not None:
                self.u[i] = self.momentum * self.u.get(i, 0) + p.grad.realized
                p.data = p.realized - self.lr * self.u[i]


class Adam(SGD):
    def __init__(self, parameters, lr, betas=(0.9, 0.999), eps=1e-8):
        super().__init__(parameters, lr)
        self.betas, self.eps, self.t = betas, eps, 0
        self.m, self.v = {}, {}

    def step(self):
        self.t += 1
        one, two = self.betas
        for i, p in enumerate(self.params):
            if p.grad is None:
                continue
            g = p.grad.realized
            self.m[i] = one * self.m.get(i, 0) + (1 - one) * g
            self.v[i] = two * self.v.get(i, 0) + (1 - two) * g * g
            m, v = self.m[i] / (1 - one**self.t), self.v[i] / (1 - two**self.t)
            p.data = p.realized - self.lr * m / (v**0.5 + self.eps)


class Dropout(Module):
    def __init__(self, p=0.5, rng=None):
        super().__init__()
        self.p, self.rng = p, np.random.default_rng(rng)

    def forward(self, x):
        if not self.training:
            return x
        keep = 1 - self.p
        drop = self.rng.binomial(1, self.p, x.realized.shape).astype(bool)
        value = np.where(drop, 0, x.realized / keep if keep else 0)
        return node(value, [x], lambda g: (np.where(drop, 0, g / keep if keep else 0),))


def fit(net, x, y, epochs, rng):
    rng = rng if isinstance(rng, np.random.Generator) else np.random.default_rng(rng)
    net.train()
    opt = Adam(net.parameters(), 0.005)
    for _ in range(epochs):
        p = rng.permutation(len(x))
        xs, ys = x[p], y[p]
        for i in range(0, len(x), 40):
            loss = cross_entropy(net(Tensor(xs[i : i + 40])), ys[i : i + 40])
            opt.zero_grad()
            loss.backward()
            opt.step()


def accuracy(net, x, y):
    before = [(m, m.training) for m in net.modules()]
    net.eval()
    with no_grad():
        right = int((net(Tensor(x)).realized.argmax(1) == y).sum())
    for m, mode in before:
        m.training = mode
    return right / len(y)


@contextlib.contextmanager
def no_grad():
    before = LAZY["record"]
    LAZY["record"] = False
    try:
        yield
    finally:
        LAZY["record"] = before
