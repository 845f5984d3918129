"""A right solution in DeZero's manner: creators, generations, and functions as objects."""

import contextlib
import heapq
import itertools

import numpy as np


class Config:
    enable_backprop = True


@contextlib.contextmanager
def using_config(name, value):
    old = getattr(Config, name)
    setattr(Config, name, value)
    try:
        yield
    finally:
        setattr(Config, name, old)


def no_grad():
    return using_config("enable_backprop", False)


class Variable:
    __array_priority__ = 200

    def __init__(self, data):
        self.data = np.array(data.data if isinstance(data, Variable) else data, dtype=np.float64)
        self.grad = None
        self.creator = None
        self.generation = 0

    @property
    def shape(self):
        return self.data.shape

    def backward(self, g=None):
        grads = {id(self): np.ones_like(self.data) if g is None else np.asarray(g, float)}
        if self.creator is None:
            self.grad = grads[id(self)]
            return
        ticket = itertools.count()
        queue, seen = [(-self.creator.generation, next(ticket), self.creator)], {self.creator}
        while queue:
            _, _, f = heapq.heappop(queue)
            gxs = f.backward(grads.pop(id(f.output())))
            for x, gx in zip(f.inputs, gxs if isinstance(gxs, tuple) else (gxs,), strict=True):
                gx = sum_to(np.asarray(gx), x.shape)
                if x.creator is None:
                    x.grad = gx.copy() if x.grad is None else x.grad + gx
                    continue
                grads[id(x)] = grads[id(x)] + gx if id(x) in grads else gx
                if x.creator not in seen:
                    seen.add(x.creator)
                    heapq.heappush(queue, (-x.creator.generation, next(ticket), x.creator))

    def cleargrad(self):
        self.grad = None

    def reshape(self, *shape):
        return Reshape(shape)(self)

    def transpose(self, *axes):
        return Transpose(axes)(self)

    def sum(self, axis=None, keepdims=False):
        return Sum(axis, keepdims)(self)

    def mean(self, axis=None, keepdims=False):
        y = self.sum(axis, keepdims)
        return y * (y.data.size / self.data.size)

    def __getitem__(self, slices):
        return GetItem(slices)(self)

    def relu(self):
        return ReLUFunction()(self)

    def exp(self):
        return Exp()(self)

    def log(self):
        return Log()(self)

    def tanh(self):
        return Tanh()(self)


Tensor = Variable


class Parameter(Variable):
    pass


def as_variable(x):
    return x if isinstance(x, Variable) else Variable(x)


def sum_to(x, shape):
    lead = x.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(i + lead for i, n in enumerate(shape) if n == 1)
    y = x.sum(axis=axes, keepdims=True) if axes else x
    return y.squeeze(tuple(range(lead))) if lead else y


class Function:
    def __call__(self, *inputs):
        inputs = [as_variable(x) for x in inputs]
        output = Variable(self.forward(*(x.data for x in inputs)))
        if Config.enable_backprop:
            self.generation = max(x.generation for x in inputs)
            output.generation = self.generation + 1
            output.creator = self
            self.inputs = inputs
            self.output = lambda: output
        return output


class Add(Function):
    def forward(self, a, b):
        return a + b

    def backward(self, g):
        return g, g


class Sub(Function):
    def forward(self, a, b):
        return a - b

    def backward(self, g):
        return g, -g


class Mul(Function):
    def forward(self, a, b):
        return a * b

    def backward(self, g):
        a, b = (x.data for x in self.inputs)
        return g * b, g * a


class Div(Function):
    def forward(self, a, b):
        return a / b

    def backward(self, g):
        a, b = (x.data for x in self.inputs)
        return g / b, g * (-a / b**2)


class Neg(Function):
    def forward(self, a):
        return -a

    def backward(self, g):
        return -g


class Pow(Function):
    def __init__(self, c):
        self.c = c

    def forward(self, a):
        return a**self.c

    def backward(self, g):
        return self.c * self.inputs[0].data ** (self.c - 1) * g


class MatMul(Function):
    def forward(self, a, b):
        return a @ b

    def backward(self, g):
        a, b = (x.data for x in self.inputs)
        if a.ndim == b.ndim == 1:
            return g * b, g * a
        if a.ndim == 1:
            return (b @ g[..., None])[..., 0], a[:, None] * g[..., None, :]
        if b.ndim == 1:
            return g[..., None] * b, (np.swapaxes(a, -1, -2) @ g[..., None])[..., 0]
        return g @ np.swapaxes(b, -1, -2), np.swapaxes(a, -1, -2) @ g


class Sum(Function):
    def __init__(self, axis, keepdims):
        self.axis, self.keepdims = axis, keepdims

    def forward(self, a):
        return a.sum(axis=self.axis, keepdims=self.keepdims)

    def backward(self, g):
        shape = self.inputs[0].shape
        if self.axis is not None:
            kept = [
                1 if i in {k % len(shape) for k in np.atleast_1d(self.axis)} else n
                for i, n in enumerate(shape)
            ]
            g = g.reshape(kept)
        return np.broadcast_to(g, shape)


class Reshape(Function):
    def __init__(self, shape):
        self.shape = shape[0] if len(shape) == 1 else shape

    def forward(self, a):
        return np.reshape(a, self.shape)

    def backward(self, g):
        return np.reshape(g, self.inputs[0].shape)


class Transpose(Function):
    def __init__(self, axes):
        if len(axes) == 1 and isinstance(axes[0], (tuple, list)):
            axes = axes[0]
        self.axes = tuple(axes) or None

    def forward(self, a):
        return np.transpose(a, self.axes)

    def backward(self, g):
        return np.transpose(g, None if self.axes is None else np.argsort(self.axes))


class GetItem(Function):
    def __init__(self, slices):
        self.slices = slices

    def forward(self, a):
        return a[self.slices]

    def backward(self, g):
        gx = np.zeros(self.inputs[0].shape)
        np.add.at(gx, self.slices, g)
        return gx


class ReLUFunction(Function):
    def forward(self, a):
        return np.maximum(a, 0.0)

    def backward(self, g):
        return np.where(self.inputs[0].data > 0, g, 0)


class Exp(Function):
    def forward(self, a):
        return np.exp(a)

    def backward(self, g):
        return g * self.output().data


class Log(Function):
    def forward(self, a):
        return np.log(a)

    def backward(self, g):
        return g / self.inputs[0].data


class Tanh(Function):
    def forward(self, a):
        return np.tanh(a)

    def backward(self, g):
        return g * (1 - self.output().data ** 2)


class Own(Function):
    def __init__(self, value, vjp):
        self.value, self.vjp = value, vjp

    def forward(self, *arrays):
        return self.value

    def backward(self, g):
        return tuple(self.vjp(g))


def node(value, parents, vjp):
    return Own(value, vjp)(*parents)


def reflected(f):
    return lambda self, other: f(other, self)


def binary(function):
    return lambda a, b: function()(a, b)


Variable.__add__ = Variable.__radd__ = binary(Add)
Variable.__mul__ = Variable.__rmul__ = binary(Mul)
Variable.__sub__, Variable.__rsub__ = binary(Sub), reflected(binary(Sub))
Variable.__truediv__, Variable.__rtruediv__ = binary(Div), reflected(binary(Div))
Variable.__matmul__, Variable.__rmatmul__ = binary(MatMul), reflected(binary(MatMul))
Variable.__neg__ = lambda self: Neg()(self)
Variable.__pow__ = lambda self, c: Pow(c)(self)


def numerical_gradient(f, x, eps=1e-5):
    x = np.asarray(x, dtype=np.float64)
    g = np.zeros_like(x)
    for i in np.ndindex(*x.shape):
        e = np.zeros_like(x)
        e[i] = eps
        g[i] = (f(x + e) - f(x - e)) / (2 * eps)
    return g


def check_gradient(f, x):
    v = Variable(x)
    f(v).backward()
    expected = numerical_gradient(lambda a: f(Variable(a)).data, x)
    ok = np.allclose(v.grad, expected, rtol=1e-3, atol=1e-6 * np.max(np.abs(expected)))
    assert ok, (v.grad, expected)
    return ok


class Module:
    def __init__(self):
        self.training = True

    def _walk(self):
        queue = list(vars(self).values())
        while queue:
            item = queue.pop(0)
            if isinstance(item, (Module, Variable)):
                yield item
            elif isinstance(item, dict):
                queue += item.values()
            elif isinstance(item, (list, tuple, set)):
                queue += item

    def parameters(self):
        found = {}
        for item in self._walk():
            for p in item.parameters() if isinstance(item, Module) else [item]:
                found[id(p)] = p
        return found.values()

    def train(self, mode=True):
        self.training = mode
        for item in self._walk():
            if isinstance(item, Module):
                item.train(mode)
        return self

    def eval(self):
        return self.train(False)


class Linear(Module):
    def __init__(self, n_in, n_out, rng=None):
        super().__init__()
        rng = np.random.default_rng(rng)
        limit = np.sqrt(6 / (n_in + n_out))
        self.W = Parameter(rng.uniform(-limit, limit, (n_in, n_out)))
        self.b = Parameter(np.zeros(n_out))

    def __call__(self, x):
        return x @ self.W + self.b


class ReLU(Module):
    def __call__(self, x):
        return as_variable(x).relu()


class Sequential(Module):
    def __init__(self, *layers):
        super().__init__()
        for i, layer in enumerate(layers):
            setattr(self, f"l{i}", layer)
        self.n = len(layers)

    def __call__(self, x):
        for i in range(self.n):
            x = getattr(self, f"l{i}")(x)
        return x


def mse(prediction, target):
    diff = prediction.data - as_variable(target).data
    return node((diff**2).mean(), (prediction,), lambda g: (2 * diff * g / diff.size,))


def cross_entropy(logits, labels):
    m = logits.data.max(axis=1, keepdims=True)
    p = np.exp(logits.data - m)
    total = p.sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    loss = np.mean(np.log(total[:, 0]) + m[:, 0] - logits.data[rows, labels])

    def vjp(g):
        d = p / total
        np.subtract.at(d, (rows, labels), 1.0)
        return (g * d / len(labels),)

    return node(loss, [logits], vjp)


class Optimizer:
    def __init__(self, parameters, lr):
        self.params, self.lr = tuple(parameters), lr

    def zero_grad(self):
        for p in self.params:
            p.cleargrad()

    def step(self):
        self.begin()
        for p in self.params:
            if p.grad is not None:
                self.update_one(p)

    def begin(self):
        pass


class SGD(Optimizer):
    def __init__(self, parameters, lr, momentum=0):
        super().__init__(parameters, lr)
        self.momentum, self.vs = momentum, {}

    def update_one(self, p):
        v = self.vs.setdefault(id(p), np.zeros_like(p.data))
        v *= self.momentum
        v -= self.lr * p.grad
        p.data = p.data + v


class Adam(Optimizer):
    def __init__(self, parameters, lr, betas=(0.9, 0.999), eps=1e-8):
        super().__init__(parameters, lr)
        self.betas, self.eps, self.t, self.ms, self.vs = betas, eps, 0, {}, {}

    def begin(self):
        self.t += 1

    def update_one(self, p):
        b1, b2 = self.betas
        m = self.ms.setdefault(id(p), np.zeros_like(p.data))
        v = self.vs.setdefault(id(p), np.zeros_like(p.data))
        m += (1 - b1) * (p.grad - m)
        v += (1 - b2) * (p.grad * p.grad - v)
        p.data -= self.lr * (m / (1 - b1**self.t)) / (np.sqrt(v / (1 - b2**self.t)) + self.eps)


class Dropout(Module):
    def __init__(self, p=0.5, rng=None):
        super().__init__()
        self.ratio, self.rng = p, np.random.default_rng(rng)

    def __call__(self, x):
        x = as_variable(x)
        if not self.training:
            return x
        kept = self.rng.uniform(size=x.data.shape) > self.ratio
        keep = 1.0 - self.ratio

        def scaled(a):
            out = np.zeros(a.shape)
            np.divide(a, keep, out=out, where=kept)
            return out

        return node(scaled(x.data), (x,), lambda g: (scaled(g),))


def fit(net, x, y, epochs, rng):
    rng = np.random.default_rng(rng)
    net.train()
    optimizer = Adam(net.parameters(), lr=0.01)
    for _ in range(epochs):
        index = rng.permutation(len(x))
        total = 0.0
        for i in range(0, len(x), 30):
            rows = index[i : i + 30]
            loss = cross_entropy(net(Variable(x[rows])), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.data) * len(rows)
    return total / len(x)


def accuracy(net, x, y):
    mode = net.training
    net.eval()
    with no_grad():
        y_hat = net(Variable(x)).data.argmax(axis=1)
    net.train(mode)
    return np.mean(y_hat == y)
