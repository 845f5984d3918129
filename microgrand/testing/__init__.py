"""For tests: gradients against finite differences, and Hypothesis strategies.

`gradcheck` needs NumPy only. ``from microgrand.testing import strategies`` needs Hypothesis, too.

Any framework with a backward pass can be checked: an `Adapter` says how, and may be guessed.
Here is a framework that can only multiply:

>>> import numpy as np
>>> class Variable:
...     def __init__(self, data, parents=()):
...         self.data, self.parents, self.grad = data, parents, np.zeros_like(data)
...     def __mul__(self, other):
...         return Variable(self.data * other.data, [(self, other.data), (other, self.data)])
...     def backward(self, g):
...         self.grad = self.grad + g
...         for parent, factor in self.parents:
...             parent.backward(g * factor)

>>> from microgrand.testing import Adapter, gradcheck
>>> mine = Adapter.guess(Variable)
>>> x, y = np.array([1.0, 2.0]), np.array([3.0, 4.0])
>>> gradcheck(lambda x, y: x * y * x, x, y, adapter=mine)
True

Broadcasting is the classic mistake, and this framework makes it:

>>> gradcheck(lambda x, y: x * y, x, np.array(3.0), adapter=mine)
Traceback (most recent call last):
    ...
microgrand.testing.point.GradcheckError: the gradient of input 1 has shape (2,), expected ()
cause: broadcasting is not undone; sum the gradient over the axes along which the input was repeated

Best read in this order: `point`, `differences`, `gradcheck`, then `evidence`, `probes` and
`causes`, which find out why, and `adapters`.
"""

from .adapters import MICROGRAND, Adapter
from .gradcheck import gradcheck
from .point import GradcheckError

__all__ = ["MICROGRAND", "Adapter", "GradcheckError", "gradcheck"]
