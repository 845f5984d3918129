"""A tape framework of the kind that people write, with switches for the mistakes they make."""

import numpy as np


class Toy:
    """A tensor. `fault` names a mistake of the engine: see `backward`."""

    fault = ""

    def __init__(self, data, parents=(), vjp=None):
        self.data = np.asarray(data, float)
        self.parents = parents
        self.vjp = vjp
        self.grad = None

    @property
    def shape(self):
        return self.data.shape

    def __add__(self, other):
        # Both get the same array.
        return Toy(self.data + other.data, (self, other), lambda g: (g, g))

    def __mul__(self, other):
        return Toy(self.data * other.data, (self, other), lambda g: (g * other.data, g * self.data))

    def sin(self):
        return Toy(np.sin(self.data), (self,), lambda g: (g * np.cos(self.data),))

    def sum(self):
        return Toy(np.sum(self.data), (self,), lambda g: (g * np.ones(self.shape),))

    def backward(self, g):
        order = []

        def visit(node):
            if node not in order:
                for parent in node.parents:
                    visit(parent)
                order.append(node)

        visit(self)
        self.grad = np.array(g, float)
        if self.fault == "order":
            # Breadth first from the end, so that a value may come before one that uses it.
            order = [self]
            for node in order:
                order += [p for p in node.parents if p not in order]
            order.reverse()
        for node in reversed(order):
            if node.vjp is None or node.grad is None:
                continue
            for parent, share in zip(node.parents, node.vjp(node.grad), strict=True):
                if self.fault != "broadcasting" and share.shape != parent.shape:
                    share = np.sum(share, tuple(range(share.ndim - len(parent.shape))))
                    ones = tuple(i for i, n in enumerate(parent.shape) if n < share.shape[i])
                    share = np.sum(share, ones, keepdims=True)
                if parent.grad is None or self.fault == "overwritten":
                    parent.grad = share if self.fault == "shared" else share.copy()
                elif self.fault == "shared":
                    parent.grad += share
                else:
                    parent.grad = parent.grad + share
        if self.fault == "broadcasting":
            for node in order:
                if node.grad is not None:
                    total = np.zeros(node.shape)
                    total += node.grad
                    node.grad = total
