"""A right solution in micrograd's manner: closures that add to `grad`, arrays, in-place updates."""

import math

import numpy as np


class Tensor:
    __array_priority__ = 1000
    recording = True

    def __init__(self, data, _children=()):
        self.data = np.array(data, dtype=np.float64)
        self.grad = np.zeros_like(self.data)
        self._backward = lambda: None
        self._prev = tuple(_children) if Tensor.recording else ()

    def _result(self, value, children, backward):
        out = Tensor(value, children)
        if Tensor.recording:
            out._backward = lambda: backward(out.grad)
        return out

    def _get(self, g):
        while g.ndim > self.data.ndim:
            g = g.sum(axis=0)
        for i, n in enumerate(self.data.shape):
            if n == 1:
                g = g.sum(axis=i, keepdims=True)
        self.grad += g

    def __add__(self, other):
        other = other if isinstance(other, Tensor) else Tensor(other)

        def backward(g):
            self._get(g)
            other._get(g)

        return self._result(self.data + other.data, (self, other), backward)

    def __mul__(self, other):
        other = other if isinstance(other, Tensor) else Tensor(other)

        def backward(g):
            self._get(g * other.data)
            other._get(g * self.data)

        return self._result(self.data * other.data, (self, other), backward)

    def __pow__(self, n):
        return self._result(
            self.data**n, (self,), lambda g: self._get(g * (n * self.data ** (n - 1)))
        )

    def __neg__(self):
        return self * -1

    def __sub__(self, other):
        return self + -(other if isinstance(other, Tensor) else Tensor(other))

    def __truediv__(self, other):
        return self * (other if isinstance(other, Tensor) else Tensor(other)) ** -1

    __radd__ = __add__
    __rmul__ = __mul__

    def __rsub__(self, other):
        return Tensor(other) - self

    def __rtruediv__(self, other):
        return Tensor(other) / self

    def __matmul__(self, other):
        other = other if isinstance(other, Tensor) else Tensor(other)
        a, b = self.data, other.data

        def backward(g):
            if a.ndim == 1 and b.ndim == 1:
                self._get(g * b)
                other._get(g * a)
            elif b.ndim == 1:
                self._get(g[..., None] * b)
                other._get((g[..., None] * a).reshape(-1, len(b)).sum(axis=0))
            elif a.ndim == 1:
                self._get((b * g[..., None, :]).sum(axis=-1).reshape(-1, len(a)).sum(axis=0))
                other._get(a[:, None] * g[..., None, :])
            else:
                self._get(g @ b.swapaxes(-1, -2))
                other._get(a.swapaxes(-1, -2) @ g)

        return self._result(a @ b, (self, other), backward)

    def __rmatmul__(self, other):
        return Tensor(other) @ self

    def sum(self, axis=None, keepdims=False):
        axes = tuple(range(self.data.ndim)) if axis is None else axis
        axes = (axes,) if isinstance(axes, int) else axes
        axes = tuple(i % self.data.ndim for i in axes)

        def backward(g):
            if not keepdims:
                for i in sorted(axes):
                    g = np.expand_dims(g, i)
            self._get(np.ones_like(self.data) * g)

        return self._result(self.data.sum(axis=axes, keepdims=keepdims), (self,), backward)

    def mean(self, axis=None, keepdims=False):
        total = self.sum(axis, keepdims)
        return total / (self.data.size / total.data.size)

    def reshape(self, *shape):
        return self._result(
            self.data.reshape(*shape), (self,), lambda g: self._get(g.reshape(self.data.shape))
        )

    def transpose(self, *axes):
        if len(axes) == 1 and not isinstance(axes[0], int):
            axes = tuple(axes[0])
        axes = axes or tuple(reversed(range(self.data.ndim)))
        back = [axes.index(i) for i in range(len(axes))]
        return self._result(
            self.data.transpose(axes), (self,), lambda g: self._get(g.transpose(back))
        )

    def __getitem__(self, index):
        def backward(g):
            np.add.at(self.grad, index, g)

        return self._result(self.data[index], (self,), backward)

    def relu(self):
        return self._result(
            np.maximum(self.data, 0), (self,), lambda g: self._get(g * (self.data > 0))
        )

    def exp(self):
        out = np.exp(self.data)
        return self._result(out, (self,), lambda g: self._get(g * out))

    def log(self):
        return self._result(np.log(self.data), (self,), lambda g: self._get(g / self.data))

    def tanh(self):
        t = np.tanh(self.data)
        return self._result(t, (self,), lambda g: self._get(g * (1 - t * t)))

    def backward(self, g=None):
        order, seen, stack = [], set(), [(self, iter(self._prev))]
        seen.add(self)
        while stack:
            tensor, parents = stack[-1]
            for parent in parents:
                if parent not in seen:
                    seen.add(parent)
                    stack.append((parent, iter(parent._prev)))
                    break
            else:
                order.append(tensor)
                stack.pop()
        for tensor in order:  # what is left of an earlier pass, except in leaves
            if tensor._prev:
                tensor.grad = np.zeros_like(tensor.data)
        self.grad = self.grad + (1.0 if g is None else g)
        for tensor in reversed(order):
            tensor._backward()


def node(value, parents, vjp):
    out = Tensor(value, parents)

    def backward():
        for parent, part in zip(out._prev, vjp(out.grad), strict=True):
            parent._get(part)

    if Tensor.recording:
        out._backward = backward
    return out


def numerical_gradient(f, x):
    x = np.asarray(x).astype(float)
    grad = np.empty(x.shape)
    it = np.nditer(x, flags=["multi_index"])
    for _ in it:
        step = np.zeros(x.shape)
        step[it.multi_index] = 1e-5
        grad[it.multi_index] = (f(x + step) - f(x - step)) / 2e-5
    return grad


def check_gradient(f, x):
    t = Tensor(x)
    f(t).backward()
    numeric = numerical_gradient(lambda a: f(Tensor(a)).data, x)
    np.testing.assert_allclose(t.grad, numeric, rtol=1e-4, atol=1e-7 * np.abs(numeric).max())
    return True


class Module:
    training = True

    def children(self):
        def walk(value):
            if isinstance(value, (Module, Tensor)):
                yield value
            elif isinstance(value, dict):
                for v in value.values():
                    yield from walk(v)
            elif isinstance(value, (list, tuple)):
                for v in value:
                    yield from walk(v)

        for value in self.__dict__.values():
            yield from walk(value)

    def parameters(self):
        found = []
        for child in self.children():
            below = [child] if isinstance(child, Tensor) else child.parameters()
            found += [p for p in below if not any(p is q for q in found)]
        return found

    def train(self, mode=True):
        self.training = mode
        for child in self.children():
            if isinstance(child, Module):
                child.train(mode)

    def eval(self):
        self.train(False)


class Linear(Module):
    def __init__(self, n_in, n_out, rng=None):
        rng = np.random.default_rng(rng)
        self.w = Tensor(rng.standard_normal((n_out, n_in)) * math.sqrt(2 / n_in))
        self.b = Tensor(np.zeros((1, n_out)))

    def __call__(self, x):
        return x @ self.w.transpose() + self.b


class ReLU(Module):
    def __call__(self, x):
        return x.relu()


class Sequential(Module):
    def __init__(self, *layers):
        self.layers = layers

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def mse(prediction, target):
    d = prediction - target
    return (d * d).mean()


def cross_entropy(logits, labels):
    shifted = logits - logits.data.max(axis=1, keepdims=True)
    log_z = shifted.exp().sum(axis=1).log()
    return (log_z - shifted[np.arange(len(labels)), labels]).mean()


class SGD:
    def __init__(self, parameters, lr, momentum=0):
        self.ps = list(parameters)
        self.lr, self.mu = lr, momentum
        self.vs = {}

    def zero_grad(self):
        for p in self.ps:
            p.grad = np.zeros_like(p.data)

    def step(self):
        for p in self.ps:
            v = self.mu * self.vs.get(id(p), 0.0) + p.grad
            self.vs[id(p)] = v
            p.data -= self.lr * v


class Adam:
    def __init__(self, parameters, lr, betas=(0.9, 0.999), eps=1e-8):
        self.ps = list(parameters)
        self.lr, self.eps = lr, eps
        self.b1, self.b2 = betas
        self.state = [[0.0, 0.0] for _ in self.ps]
        self.t = 0

    def zero_grad(self):
        for p in self.ps:
            p.grad = np.zeros_like(p.data)

    def step(self):
        self.t += 1
        rate = self.lr * np.sqrt(1 - self.b2**self.t) / (1 - self.b1**self.t)
        eps = self.eps * np.sqrt(1 - self.b2**self.t)
        for p, s in zip(self.ps, self.state, strict=True):
            s[0] = self.b1 * s[0] + (1 - self.b1) * p.grad
            s[1] = self.b2 * s[1] + (1 - self.b2) * p.grad**2
            p.data -= rate * s[0] / (np.sqrt(s[1]) + eps)


class Dropout(Module):
    def __init__(self, p=0.5, rng=None):
        self.p, self.rng = p, np.random.default_rng(rng)

    def __call__(self, x):
        if not self.training or self.p == 0:
            return x
        mask = self.rng.random(x.data.shape) < 1 - self.p
        factor = np.where(mask, 1 / max(1 - self.p, 1e-300), 0.0)
        value = np.zeros(x.data.shape)
        value[mask] = x.data[mask] / (1 - self.p)
        return node(value, (x,), lambda g: (factor * g,))


def fit(net, x, y, epochs, rng):
    rng = np.random.default_rng(rng)
    net.train()
    optimizer = SGD(net.parameters(), lr=0.1, momentum=0.9)
    for _ in range(epochs):
        order = rng.permutation(len(x))
        for batch in np.array_split(order, max(1, len(x) // 50)):
            optimizer.zero_grad()
            loss = cross_entropy(net(Tensor(x[batch])), y[batch])
            loss.backward()
            optimizer.step()
    return net


def accuracy(net, x, y):
    modes = {}

    def remember(module):
        modes[module] = module.training
        for child in module.children():
            if isinstance(child, Module):
                remember(child)

    remember(net)
    net.eval()
    answers = np.argmax(net(Tensor(x)).data, axis=-1)
    for module, mode in modes.items():
        module.training = mode
    return (answers == y).mean()


class no_grad:
    def __enter__(self):
        self.before, Tensor.recording = Tensor.recording, False

    def __exit__(self, *exception):
        Tensor.recording = self.before
