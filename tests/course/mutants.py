"""Mistakes that students make, each one replacement in the course's own framework.

Each must be found at its own stage and at none before, with the cause that is named here in part,
or with none where it is empty.
"""

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

MUTANTS = [
    Mutant(
        1,
        "array changed in place",
        ADD_LINE,
        "if isinstance(other, np.ndarray):\n            other += self.data\n"
        "            return node(other, (self,), lambda g: (g,))\n        " + ADD_LINE,
        "in place",
    ),
    Mutant(
        2,
        "g ignored",
        "start = np.ones_like(self.data) if g is None else np.array(g, float)",
        "start = np.ones_like(self.data)",
        "the g that it is given",
    ),
    Mutant(
        12,
        "divided by p",
        "scale = 1 / (1 - self.p) if self.p < 1 else 0.0",
        "scale = 1 / self.p if 0 < self.p < 1 else 1.0",
        "divide by 1 - p",
    ),
    # ------------------------------------------------------------ what a vjp returns, and begins
    Mutant(
        2,
        "a gradient by itself",
        "node(-self.data, (self,), lambda g: (-g,))",
        "node(-self.data, (self,), lambda g: -g)",
        "with a comma",
    ),
    Mutant(2, "None returned", POW, "x**n, (self,), lambda g: None", "returns None"),
    Mutant(
        2,
        "Tensors returned",
        MUL,
        "a * b, (self, other), lambda g: (g * other, g * self)",
        "returns Tensors",
    ),
    Mutant(
        2,
        "g has no default",
        "def backward(self, g=None):",
        "def backward(self, g):",
        "def backward(self, g=None)",
    ),
    Mutant(
        2,
        "begins with a number",
        "start = np.ones_like(self.data) if g is None else np.array(g, float)",
        "start = 1.0 if g is None else np.array(g, float)",
        "np.ones_like",
    ),
    Mutant(
        6,
        "a gradient by itself",
        "return node(self.data.reshape(*shape), (self,), lambda g: (g.reshape(old),))",
        "return node(self.data.reshape(*shape), (self,), lambda g: g.reshape(old))",
        "with a comma",
    ),
    Mutant(
        8,
        "Tensors returned",
        "return node(np.log(x), (self,), lambda g: (g / x,))",
        "return node(np.log(x), (self,), lambda g: (g / self,))",
        "returns Tensors",
    ),
    Mutant(8, "None returned", "lambda g: (g * out,)", "lambda g: None", "returns None"),
    Mutant(
        4,
        "0 refused",
        "np.abs(tensor.grad - expected) <= 1e-5 * size",
        "np.abs(tensor.grad - expected) < 1e-5 * size",
        "0 is a right gradient",
    ),
    Mutant(
        4,
        "divided by the gradient",
        "np.abs(tensor.grad - expected) <= 1e-5 * size",
        "np.abs(tensor.grad - expected) / size <= 1e-5",
        "0 is a right gradient",
    ),
    Mutant(
        7,
        "vector beside a batch",
        "ga = undo_broadcasting(g @ np.swapaxes(column, -1, -2), row.shape)",
        "ga = g @ np.swapaxes(column, -1, -2)\n"
        "            ga = ga.reshape(-1, *row.shape)[0] if a.ndim == 1 else ga\n"
        "            ga = undo_broadcasting(ga, row.shape)",
        "a vector beside a batch",
    ),
    # --------------------------------------------------------------------------- 1, values
    Mutant(1, "NumPy on the left", "__array_ufunc__ = None", "pass", "__array_ufunc__"),
    Mutant(1, "no radd", "def __radd__", "def no_radd", "__radd__"),
    Mutant(1, "no rmul", "def __rmul__", "def no_rmul", "__rmul__"),
    Mutant(1, "rsub turned round", RSUB, "return self - as_tensor(other)", "reflected operand"),
    Mutant(1, "rtruediv turned round", RDIV, "return self / as_tensor(other)", "reflected operand"),
    Mutant(
        1,
        "integers kept",
        "else data, float)",
        "else data)",
        "dtype=float",
    ),
    Mutant(
        1,
        "operand changed in place",
        f"return node({ADD})",
        f"self.data += other.data\n        return node({ADD.replace(' + other.data', '')})",
        "in place",
    ),
    Mutant(
        1,
        "power as product",
        f"return node({POW})",
        "return node(x * n, (self,), lambda g: (g * n,))",
        "power",
    ),
    Mutant(
        1,
        "minus forgotten",
        "node(-self.data, (self,), lambda g: (-g,))",
        "node(self.data, (self,), lambda g: (g,))",
        "sign is not changed",
    ),
    Mutant(
        1,
        "rounded down",
        f"return node({DIV})",
        f"return node({DIV.replace('a / b,', 'a // b,')})",
        "rounds down",
    ),
    Mutant(1, "an array comes back", f"return node({SUB})", "return self.data - other.data"),
    # -------------------------------------------------------------------------- 2, one use
    Mutant(2, "sign of minus", SUB, SUB.replace("-g)", "g)"), "second operand of minus"),
    Mutant(2, "factors swapped", MUL, MUL.replace("g * b, g * a", "g * a, g * b"), "swapped"),
    Mutant(2, "g forgotten in a product", MUL, MUL.replace("g * b, g * a", "b, a"), "alone"),
    Mutant(2, "square missing", DIV, DIV.replace("b**2", "b"), "square is missing"),
    Mutant(2, "quotient's sign", DIV, DIV.replace("-g * a", "g * a"), "sign is missing"),
    Mutant(2, "numerator missing", DIV, DIV.replace("-g * a /", "-g /"), "factor x"),
    Mutant(2, "exponent not lowered", POW, POW.replace("(n - 1)", "n"), "not lowered"),
    Mutant(2, "factor of the power", POW, POW.replace("g * n *", "g *"), "factor n is missing"),
    Mutant(2, "sign of the negative", "lambda g: (-g,)", "lambda g: (g,)", "its sign"),
    Mutant(
        2,
        "a parent is forgotten",
        MUL,
        "a * b, (self,), lambda g: (g * b,)",
        "remember all of its parents",
    ),
    Mutant(
        2,
        "backward begins with the value",
        "np.ones_like(self.data) if",
        "self.data if",
        "begin with ones",
    ),
    Mutant(
        2,
        "one level only",
        "for tensor in reversed(in_order(self)):",
        "for tensor in [self, *self.parents]:\n"
        "            if tensor.vjp is not None and tensor is not self:\n"
        "                continue",
        "do not go on",
    ),
    # ------------------------------------------------------------------------ 3, many uses
    Mutant(3, "overwritten inside", PASS_ON, "", "overwrites"),
    Mutant(
        3,
        "parents in a set",
        "for parent, part in zip(tensor.parents, tensor.vjp(g), strict=True):",
        "for parent, part in dict(zip(tensor.parents, tensor.vjp(g))).items():",
        "tuple, not in a",
    ),
    Mutant(
        3,
        "breadth first",
        "stack.append((tensor, True))\n            stack.extend("
        "(parent, False) for parent in tensor.parents)",
        "order.insert(0, tensor)\n"
        "            stack.extend((parent, False) for parent in tensor.parents)",
        "topological order",
    ),
    Mutant(
        3,
        "per path",
        "for tensor in reversed(in_order(self)):\n"
        "            g = gradients.pop(id(tensor))\n"
        "            if tensor.vjp is None:",
        "todo = [(self, gradients[id(self)])]\n"
        "        while todo:\n"
        "            tensor, g = todo.pop()\n"
        "            if tensor.vjp is not None:\n"
        "                todo.extend((p, undo_broadcasting(d, p.data.shape))\n"
        "                            for p, d in zip(tensor.parents, tensor.vjp(g), strict=True))\n"
        "            else:",
        "doubles with every doubling",
    ),
    Mutant(
        3,
        "gradients left over",
        "        gradients = {id(self): start}\n"
        "        for tensor in reversed(in_order(self)):\n"
        "            g = gradients.pop(id(tensor))\n",
        "        gradients = self.kept = getattr(self, 'kept', {})\n"
        "        gradients[id(self)] = gradients.get(id(self), 0) + start\n"
        "        for tensor in reversed(in_order(self)):\n"
        "            g = gradients[id(tensor)]\n",
        "first pass",
    ),
    Mutant(
        3, "one array for two", TO_PARENTS, TO_PARENTS.replace("g.copy() if", "g if"), "one array"
    ),
    Mutant(
        3,
        "leaf keeps the first",
        "                if id(parent) in gradients:\n"
        "                    part = gradients[id(parent)] + part\n",
        "                if id(parent) in gradients:\n"
        "                    part = gradients[id(parent)]\n",
        "overwrites",
    ),
    # ------------------------------------------------------------------- 4, a check of your own
    Mutant(
        4,
        "one sided",
        CENTRAL,
        "gradient[i] = (ahead - f(np.where(x == x[i], old, x))) / h",
        "chord begins at x",
    ),
    Mutant(4, "step too small", "old, h = x[i], 6e-6", "old, h = x[i], 1e-13", "too small"),
    Mutant(4, "step too large", "old, h = x[i], 6e-6", "old, h = x[i], 1e-2", "too large"),
    Mutant(4, "not moved back", "        x[i] = old\n", "", "not put back"),
    Mutant(4, "over h", "/ (2 * h)", "/ h", "2 * h"),
    Mutant(4, "absolute error", "<= 1e-5 * size)", "<= 1e-3)", "fixed number"),
    Mutant(
        4,
        "nan passes",
        COMPARE,
        "assert not np.any(np.abs(tensor.grad - expected) > 1e-5 * size)",
        "nan",
    ),
    Mutant(
        4,
        "integers",
        "x = np.array(x, float)\n    gradient = np.zeros_like(x)",
        "x = np.array(x)\n    gradient = np.zeros(x.shape)",
        "integers",
    ),
    Mutant(
        4,
        "first element only",
        "np.all(np.abs(tensor.grad - expected) <= 1e-5 * size)",
        "np.ravel(np.abs(tensor.grad - expected) <= 1e-5 * size)[0]",
        "only a part",
    ),
    Mutant(
        4,
        "returns False",
        COMPARE + ', "the gradient is wrong"\n    return True',
        "return bool(np.all(np.abs(tensor.grad - expected) <= 1e-5 * size))",
        "should raise",
    ),
    Mutant(4, "too generous", "<= 1e-5 * size)", "<= 0.02 * size)", "too generous"),
    # ---------------------------------------------------------------------- 5, broadcasting
    Mutant(5, "not undone", UNDO, "    return g\n", "is not undone"),
    Mutant(
        5,
        "only leading axes",
        UNDO,
        "    return g.sum(axis=tuple(range(g.ndim - len(shape))))\n",
        "length 1 are forgotten",
    ),
    Mutant(
        5,
        "only stretched axes",
        UNDO,
        "    if g.ndim > len(shape):\n        return g\n" + UNDO,
        "in front are forgotten",
    ),
    Mutant(
        5,
        "keepdims forgotten",
        "return g.sum(axis=stretched, keepdims=True)",
        "return g.sum(axis=stretched)",
        "keepdims=True",
    ),
    Mutant(
        5,
        "mean for sum",
        "return g.sum(axis=stretched, keepdims=True)",
        "return g.mean(axis=stretched, keepdims=True)",
        "averaged",
    ),
    Mutant(
        5,
        "summed from the right",
        "g.sum(axis=tuple(range(g.ndim - len(shape))))",
        "g.sum(axis=tuple(range(len(shape), g.ndim)))",
        "",
    ),
    Mutant(
        5,
        "one copy",
        "    g = g.sum(axis=tuple(range(g.ndim - len(shape))))\n",
        "    while g.ndim > len(shape):\n        g = g[0]\n",
        "only one of the copies",
    ),
    Mutant(
        5,
        "one axis only",
        "stretched = tuple(i for i, n in enumerate(shape) if n == 1 and g.shape[i] != 1)",
        "stretched = tuple([i for i, n in enumerate(shape) if n == 1 and g.shape[i] != 1][:1])",
        "along several axes",
    ),
    # -------------------------------------------------------------------- 6, sums and shapes
    Mutant(
        6,
        "axis not put back",
        SUM_VJP,
        "            return (np.broadcast_to(g, shape),)\n",
        "not put back",
    ),
    Mutant(
        6,
        "mean without 1 / n",
        MEAN,
        "return node(total.data * (total.data.size / self.data.size), (total,), lambda g: (g,))",
        "1 / n is missing",
    ),
    Mutant(
        6,
        "mean over everything",
        MEAN,
        "return node(total.data * (total.data.size / self.data.size), (total,), "
        "lambda g: (g / self.data.size,))",
        "along the axis only",
    ),
    Mutant(
        6,
        "same permutation",
        "lambda g: (g.transpose(back),)",
        "lambda g: (g.transpose(axes),)",
        "same permutation",
    ),
    Mutant(
        6,
        "reshape for transpose",
        "lambda g: (g.transpose(back),)",
        "lambda g: (g.reshape(self.data.shape),)",
        "is reshaped",
    ),
    Mutant(6, "counted once", PUT, "total[index] += g", "np.add.at"),
    Mutant(
        6,
        "not put into zeros",
        "            total = np.zeros(shape)\n            "
        + PUT
        + "\n            return (total,)\n",
        "            return (g,)\n",
        "zeros of x's shape",
    ),
    Mutant(
        6,
        "keepdims lost",
        "self.data.sum(axis=axis, keepdims=keepdims)",
        "self.data.sum(axis=axis)",
        "not handed on",
    ),
    Mutant(
        6,
        "keepdims expanded again",
        "if axis is not None and not keepdims:",
        "if axis is not None:",
        "still there",
    ),
    Mutant(
        6,
        "reversed axes",
        "lambda g: (g.transpose(back),)",
        "lambda g: (g.transpose(),)",
        "inverse permutation",
    ),
    # -------------------------------------------------------------------- 7, matrix product
    Mutant(7, "not transposed", "g @ np.swapaxes(column, -1, -2)", "g @ column", ""),
    Mutant(
        7, "order swapped", "g @ np.swapaxes(column, -1, -2)", "np.swapaxes(column, -1, -2) @ g", ""
    ),
    Mutant(7, "T in batches", "np.swapaxes(row, -1, -2) @ g", "row.T @ g", "last two"),
    Mutant(
        7,
        "batch not summed",
        "gb = undo_broadcasting(np.swapaxes(row, -1, -2) @ g, column.shape)",
        "gb = (np.swapaxes(row, -1, -2) @ g)[(0,) * (g.ndim - column.ndim)]",
        "sum over the batch",
    ),
    Mutant(
        7,
        "result transposed",
        "ga = undo_broadcasting(g @ np.swapaxes(column, -1, -2), row.shape)",
        "ga = undo_broadcasting(g @ np.swapaxes(column, -1, -2), row.shape)\n"
        "            ga = ga.T if ga.shape[0] == ga.shape[-1] else ga",
        "result is transposed",
    ),
    Mutant(
        7,
        "square not transposed",
        "ga = undo_broadcasting(g @ np.swapaxes(column, -1, -2), row.shape)",
        "s = column if column.shape[-1] == column.shape[-2] else np.swapaxes(column, -1, -2)\n"
        "            ga = undo_broadcasting(g @ s, row.shape)",
        "not transposed",
    ),
    Mutant(
        7,
        "g left out",
        "np.swapaxes(row, -1, -2) @ g,",
        "np.swapaxes(row, -1, -2) @ np.ones_like(g),",
        "g is not in the product",
    ),
    Mutant(
        7,
        "vectors",
        "row, column = np.atleast_2d(a), b[:, None] if b.ndim == 1 else b\n"
        "            g = np.expand_dims(g, -1) if b.ndim == 1 else g\n"
        "            g = np.expand_dims(g, -2) if a.ndim == 1 else g",
        "row, column = a, b",
        "a vector has no second axis",
    ),
    # ------------------------------------------------------------------------- 8, functions
    Mutant(8, "relu without a mask", RELU, "lambda g: (g,)", "relu stops"),
    Mutant(8, "mask without g", RELU, "lambda g: (positive * 1.0,)", "alone"),
    Mutant(8, "mask of g", RELU, "lambda g: (np.where(g > 0, g, 0.0),)", "taken of g"),
    Mutant(8, "x * mask", "np.where(positive, self.data, 0.0)", "self.data * positive", "inf * 0"),
    Mutant(
        8, "mask at 0", "positive = self.data > 0", "positive = self.data >= 0", "at 0 the mask"
    ),
    Mutant(8, "exp times x", "(g * out,)", "(g * out * self.data,)", "without the factor x"),
    Mutant(8, "exp as a power", "(g * out,)", "(g * self.data,)", "output"),
    Mutant(8, "log over its output", "(g / x,)", "(g / np.log(x),)", "of the input"),
    Mutant(8, "log times x", "(g / x,)", "(g * x,)", "divide by x"),
    Mutant(8, "tanh of the input", "1 - out**2", "1 - self.data**2", "output that is squared"),
    Mutant(8, "tanh not squared", "1 - out**2", "1 - out", "square is missing"),
    Mutant(8, "tanh as the logistic", "1 - out**2", "out * (1 - out)", "logistic"),
    # ---------------------------------------------------------------------------- 9, layers
    Mutant(
        9,
        "weights equal",
        WEIGHT,
        "self.weight = Tensor(np.full((n_in, n_out), 1 / n_in))",
        "equal",
    ),
    Mutant(9, "not scaled", "np.sqrt(1 / n_in)", "1.0", "not scaled"),
    Mutant(9, "scaled by n", "np.sqrt(1 / n_in)", "1 / n_in", "too small"),
    Mutant(
        9,
        "same seed inside",
        "rng = np.random.default_rng(rng)\n        self.weight",
        "rng = np.random.default_rng(0)\n        self.weight",
        "same seed",
    ),
    Mutant(
        9,
        "rng not used",
        "rng = np.random.default_rng(rng)\n        self.weight",
        "rng = np.random.default_rng()\n        self.weight",
        "not used",
    ),
    Mutant(
        9,
        "bias an array",
        "self.bias = Tensor(np.zeros(n_out))",
        "self.bias = np.zeros(n_out)",
        "bias is an array",
    ),
    Mutant(9, "no bias", "return x @ self.weight + self.bias", "return x @ self.weight"),
    Mutant(
        9,
        "weight detached",
        "return x @ self.weight + self.bias",
        "return x @ Tensor(self.weight.data) + self.bias",
        "detached",
    ),
    Mutant(
        9,
        "lists not searched",
        "if isinstance(place, (list, tuple)):\n        for value in place:",
        "if isinstance(place, (list, tuple)):\n        for value in place:\n"
        "            if isinstance(value, (list, tuple)):\n                continue",
        "lists",
    ),
    Mutant(
        9,
        "dicts not searched",
        "        place = vars(place)\n    if isinstance(place, dict):\n"
        "        place = list(place.values())\n",
        "        place = list(vars(place).values())\n",
        "dicts",
    ),
    Mutant(9, "listed twice", PARAMETERS, "return list(found_in(self, Tensor))", "listed twice"),
    # --------------------------------------------------------------------------- 10, losses
    Mutant(
        10,
        "exp overflows",
        "z = logits.data - logits.data.max(axis=1, keepdims=True)",
        "z = logits.data",
        "overflows",
    ),
    Mutant(10, "1 / n missing", "return (g * p / n,)", "return (g * p,)", "1 / n is"),
    Mutant(
        10, "label not subtracted", "        p[rows, labels] -= 1\n", "", "label is not subtracted"
    ),
    Mutant(10, "all pairs", LOGP, "loss = -logp[:, labels].mean()", "takes pairs"),
    Mutant(10, "g ignored", "return (g * p / n,)", "return (p / n,)", "g is ignored"),
    Mutant(
        10,
        "softmax twice",
        "    z = logits.data - logits.data.max(axis=1, keepdims=True)\n",
        "    z = np.exp(logits.data - logits.data.max(axis=1, keepdims=True))\n"
        "    z = z / z.sum(axis=1, keepdims=True)\n",
        "softmax is taken twice",
    ),
    Mutant(10, "sum for mean", LOGP, "loss = -logp[rows, labels].sum()", "sum over the batch"),
    Mutant(10, "sign", LOGP, "loss = logp[rows, labels].mean()", "sign"),
    Mutant(
        10,
        "mse halved",
        "((prediction - target) ** 2).mean()",
        "((prediction - target) ** 2).mean() * 0.5",
        "halved",
    ),
    Mutant(
        10,
        "mse summed",
        "((prediction - target) ** 2).mean()",
        "((prediction - target) ** 2).sum()",
        "sum over the batch",
    ),
    Mutant(
        10,
        "gradient's sign",
        "p[rows, labels] -= 1\n",
        "p[rows, labels] -= 1\n        p = -p\n",
        "the sign",
    ),
    # ----------------------------------------------------------------------- 11, optimizers
    Mutant(
        11,
        "uphill",
        "p.data = p.data - self.lr * self.v[i]",
        "p.data = p.data + self.lr * self.v[i]",
        "uphill",
    ),
    Mutant(
        11,
        "no rate",
        "p.data = p.data - self.lr * self.v[i]",
        "p.data = p.data - self.v[i]",
        "learning rate",
    ),
    Mutant(
        11,
        "zero_grad empty",
        "for p in self.parameters]\n\n    def zero_grad(self):\n"
        "        for p in self.parameters:\n            p.grad = None\n",
        "for p in self.parameters]\n\n    def zero_grad(self):\n        pass\n",
        "does not clear",
    ),
    Mutant(
        11,
        "damped",
        SGD_V,
        "self.v[i] = self.momentum * self.v[i] + (1 - self.momentum) * p.grad",
        "damps",
    ),
    Mutant(
        11,
        "velocity shared",
        SGD_V,
        "self.v[:] = [self.momentum * self.v[i] + p.grad] * len(self.v)",
        "share what is remembered",
    ),
    Mutant(11, "velocity forgotten", SGD_V, "self.v[i] = p.grad", "not remembered"),
    Mutant(
        11, "no bias correction", ADAM_M, "m, v = self.m[i], self.v[i]", "correction is missing"
    ),
    Mutant(
        11,
        "half a correction",
        ADAM_M,
        "m, v = self.m[i] / (1 - b1**self.t), self.v[i]",
        "one of the two",
    ),
    Mutant(11, "no root", "(np.sqrt(v) + self.eps)", "(v + self.eps)", "root is missing"),
    Mutant(
        11, "eps in the root", "(np.sqrt(v) + self.eps)", "np.sqrt(v + self.eps)", "inside the root"
    ),
    Mutant(11, "betas exchanged", "b1, b2 = self.betas", "b2, b1 = self.betas", "are exchanged"),
    Mutant(
        11,
        "generator used up",
        "self.momentum = list(parameters), lr, momentum",
        "self.momentum = parameters, lr, momentum",
        "gone through once",
    ),
    Mutant(11, "t stands still", "self.t += 1", "self.t = 1", "t does not grow"),
    # -------------------------------------------------------------------------- 12, dropout
    Mutant(
        12,
        "new mask on the way back",
        DROPPED,
        "return node(value, (x,), lambda g: (np.where(self.rng.random(g.shape) >= self.p, "
        "g * scale, 0.0),))",
        "draws a new mask",
    ),
    Mutant(
        12,
        "mask kept in the layer",
        DROPPED,
        "self.kept = kept\n        return node(value, (x,), "
        "lambda g: (np.where(self.kept, g * scale, 0.0),))",
        "kept in the layer",
    ),
    Mutant(
        12,
        "no scale",
        "scale = 1 / (1 - self.p) if self.p < 1 else 0.0",
        "scale = 1.0",
        "not scaled",
    ),
    Mutant(12, "p keeps", KEPT, "kept = self.rng.random(x.data.shape) < self.p", "keeps one"),
    Mutant(12, "scale forward only", DROPPED, DROPPED.replace("g * scale", "g"), "on the way back"),
    Mutant(
        12,
        "drops in evaluation",
        "        if not self.training:\n            return x\n        kept",
        "        kept",
        "drops in evaluation",
    ),
    Mutant(
        12,
        "inf times 0",
        "value = np.where(kept, x.data * scale, 0.0)",
        "value = x.data * kept * scale",
        "np.where",
    ),
    Mutant(
        12,
        "guessed from zeros",
        DROPPED,
        "return node(value, (x,), lambda g: (np.where(value != 0, g * scale, 0.0),))",
        "guessed",
    ),
    Mutant(
        12,
        "mask gone after one pass",
        DROPPED,
        "masks = [kept]\n        return node(value, (x,), "
        "lambda g: (np.where(masks.pop(), g * scale, 0.0),))",
        "gone",
    ),
    Mutant(
        12,
        "no mask on the way back",
        DROPPED,
        "return node(value, (x,), lambda g: (g * scale,))",
        "has no mask",
    ),
    Mutant(
        12,
        "drawn once",
        KEPT,
        "if not hasattr(self, 'mask'):\n            self.mask = self.rng.random(x.data.shape) "
        ">= self.p\n        kept = self.mask",
        "drawn once",
    ),
    Mutant(
        12,
        "one row",
        KEPT,
        "kept = np.broadcast_to(self.rng.random(x.data.shape[-1:]) >= self.p, x.data.shape)",
        "shape of x",
    ),
    Mutant(
        12,
        "other generator",
        KEPT,
        "kept = np.random.default_rng().random(x.data.shape) >= self.p",
        "do not come from rng",
    ),
    Mutant(
        12,
        "scales in evaluation",
        "        if not self.training:\n            return x\n        kept",
        "        if not self.training:\n            return x * (1 - self.p)\n        kept",
        "scales in evaluation",
    ),
    # ---------------------------------------------------------------------------- 13, modes
    Mutant(13, "children not reached", TRAIN, "        self.training = mode\n", "not reached"),
    Mutant(
        13,
        "mode of the class",
        TRAIN,
        "        Module.training = Dropout.training = mode\n"
        "        for module in found_in(self, Module):\n"
        "            vars(module).pop('training', None)\n",
        "",
    ),
    Mutant(
        13,
        "one level",
        TRAIN,
        "        self.training = mode\n"
        "        for value in vars(self).values():\n"
        "            for module in value if isinstance(value, (list, tuple)) else [value]:\n"
        "                if isinstance(module, Module):\n"
        "                    module.training = mode\n",
        "one level",
    ),
    Mutant(
        13,
        "lists not searched",
        TRAIN,
        "        self.training = mode\n"
        "        for value in vars(self).values():\n"
        "            if isinstance(value, Module):\n"
        "                value.train(mode)\n",
        "lists and tuples",
    ),
    Mutant(
        13,
        "dicts not searched",
        TRAIN,
        "        self.training = mode\n"
        "        for value in vars(self).values():\n"
        "            for module in value if isinstance(value, (list, tuple)) else [value]:\n"
        "                for m in module if isinstance(module, list) else [module]:\n"
        "                    if isinstance(m, Module):\n"
        "                        m.train(mode)\n",
        "dicts",
    ),
    Mutant(
        13,
        "train ignores mode",
        "module.training = mode",
        "module.training = True",
        "look at its argument",
    ),
    Mutant(
        13,
        "train does not undo",
        TRAIN,
        "        for module in found_in(self, Module):\n"
        "            module.training = module.training and mode\n",
        "does not undo",
    ),
    # --------------------------------------------------------------------------- 14, digits
    Mutant(14, "gradients not zeroed", EPOCH, "", ""),
    Mutant(
        14,
        "shuffled apart",
        "y[batch]).backward()",
        "y[rng.permutation(n := len(x))[: len(batch)]]).backward()",
        "shuffled apart",
    ),
    Mutant(14, "no step", "            optimizer.step()\n", "", "no step"),
    Mutant(
        14, "evaluated in training", "    net.eval()\n    answers", "    answers", "in evaluation"
    ),
    Mutant(14, "mode not restored", "    net.train(before)\n", "", "another mode"),
    Mutant(
        14,
        "argmax over the wrong axis",
        "argmax(axis=1)\n    net.train",
        "argmax(axis=0)\n    net.train",
        "",
    ),
    Mutant(
        14,
        "number of right answers",
        "return float(np.mean(answers == y))",
        "return float(np.sum(answers == y))",
        "divide by",
    ),
    Mutant(14, "wrong answers", "np.mean(answers == y)", "np.mean(answers != y)", "share of wrong"),
    Mutant(
        14,
        "other generator",
        "order = rng.permutation(len(x))",
        "order = np.random.default_rng().permutation(len(x))",
        "does not come from rng",
    ),
    # ---------------------------------------------------------------------------- 15, lean
    Mutant(
        15,
        "recursion",
        "    order, seen, stack = [], set(), [(last, False)]\n",
        "    order, seen = [], set()\n\n    def visit(tensor):\n"
        "        if id(tensor) not in seen:\n            seen.add(id(tensor))\n"
        "            for parent in tensor.parents:\n                visit(parent)\n"
        "            order.append(tensor)\n\n    visit(last)\n    return order\n    stack = []\n",
        "calls itself",
    ),
    Mutant(
        15,
        "list of visited",
        "order, seen, stack = [], set(), [(last, False)]",
        "order, seen, stack = [], type('L', (list,), {'add': list.append})(), [(last, False)]",
        "use a set",
    ),
    Mutant(
        15,
        "total of losses",
        "cross_entropy(net(Tensor(x[batch])), y[batch]).backward()",
        "loss = cross_entropy(net(Tensor(x[batch])), y[batch])\n            loss.backward()\n"
        "            total = loss if start == epochs == -1 else loss + (total if 'total' in dir() "
        "else 0)",
        "float(loss.data)",
    ),
    Mutant(
        15,
        "tape of its own",
        "    out = Tensor(value)\n    if RECORDING[-1]:",
        "    out = Tensor(value)\n    node.tape = (out, getattr(node, 'tape', None))\n"
        "    if RECORDING[-1]:",
        "kept for ever",
    ),
    Mutant(
        15,
        "update recorded",
        f"            {SGD_V}\n            p.data = p.data - self.lr * self.v[i]\n",
        "            self.v[i] = self.momentum * self.v[i] + Tensor(p.grad)\n"
        "            p.data = p.data - self.lr * self.v[i].data\n",
        "update is recorded",
    ),
    Mutant(
        15,
        "no finally",
        NO_GRAD,
        "    RECORDING.append(False)\n    yield\n    RECORDING.pop()\n",
        "finally",
    ),
    Mutant(
        15,
        "not restored",
        NO_GRAD,
        "    RECORDING[-1] = False\n    try:\n        yield\n"
        "    finally:\n        RECORDING[-1] = True\n",
        "state that was there",
    ),
    Mutant(
        15,
        "no effect",
        "    RECORDING.append(False)\n",
        "    RECORDING.append(True)\n",
        "has no effect",
    ),
    Mutant(15, "never undone", NO_GRAD, "    RECORDING[-1] = False\n    yield\n", ""),
    # ---------------------------------------------------------------------------- 16, exam
    Mutant(
        8,
        "log changes g",
        "lambda g: (g / x,)",
        "lambda g: (np.divide(g, x, out=g) if np.ndim(g) else g / x,)",
        "changes the g",
    ),
    Mutant(
        8,
        "tanh changes g",
        "lambda g: (g * (1 - out**2),)",
        "lambda g: (np.multiply(g, 1 - out**2, out=g) if np.ndim(g) else g * (1 - out**2),)",
        "changes the g",
    ),
    Mutant(
        6,
        "sum remembers outside",
        "        shape = self.data.shape\n\n        def vjp(g):\n            if axis is not None",
        "        shape = self.data.shape\n        Tensor.axis = axis\n\n        def vjp(g):\n"
        "            axis = Tensor.axis\n            if axis is not None",
        "outside of it",
    ),
    Mutant(
        6,
        "index remembers outside",
        "        shape = self.data.shape\n\n        def vjp(g):\n            total",
        "        shape = self.data.shape\n        Tensor.index = index\n\n        def vjp(g):\n"
        "            index = Tensor.index\n            total",
        "outside of it",
    ),
    Mutant(
        6,
        "order of elements",
        "lambda g: (g.reshape(old),)",
        "lambda g: (g.reshape(old, order='A'),)",
        "",
    ),
    Mutant(
        8,
        "exp changes g",
        "lambda g: (g * out,)",
        "lambda g: (np.multiply(g, out, out=g) if np.ndim(g) else g * out,)",
        "changes the g",
    ),
    Mutant(
        7,
        "product remembers outside",
        "        a, b = self.data, other.data\n\n        def vjp(g):\n",
        "        a, b = Tensor.factors = self.data, other.data\n\n        def vjp(g):\n"
        "            a, b = Tensor.factors\n",
        "outside of it",
    ),
    Mutant(
        6,
        "transpose remembers outside",
        "        return node(value, (self,), lambda g: (g.transpose(back),))",
        "        Tensor.back = back\n        return node(value, (self,), "
        "lambda g: (g.transpose(Tensor.back),))",
        "outside of it",
    ),
    Mutant(
        8,
        "exp remembers outside",
        "        out = np.exp(self.data)\n        return node(out, (self,), lambda g: (g * out,))",
        "        out = Tensor.out = np.exp(self.data)\n"
        "        return node(out, (self,), lambda g: (g * Tensor.out,))",
        "outside of it",
    ),
    # ---------------------------------------------------- what is kept outside of its own call
    Mutant(
        2,
        "factors in the class",
        "a, b = self.data, other.data\n        return node(a * b, (self, other), "
        "lambda g: (g * b, g * a))",
        "a, b = Tensor.factors = self.data, other.data\n        return node(a * b, (self, other), "
        "lambda g: (g * Tensor.factors[1], g * Tensor.factors[0]))",
        "outside of it",
    ),
    Mutant(
        2,
        "exponent in the class",
        f"return node({POW})",
        "Tensor.n = n\n        return node(x**n, (self,), "
        "lambda g: (g * Tensor.n * x ** (Tensor.n - 1),))",
        "outside of it",
    ),
    Mutant(
        3,
        "divisor in the object",
        f"return node({DIV})",
        "self.divisor = b\n        "
        f"return node({DIV.replace('g / b, -g * a / b**2', 'g / self.divisor, -g * a / b**2')})",
        "outside of it",
    ),
    Mutant(
        6,
        "shape of a sum in the function",
        "        shape = self.data.shape\n\n        def vjp(g):\n            if axis is not None",
        "        Tensor.sum.shape = self.data.shape\n\n        def vjp(g):\n"
        "            shape = Tensor.sum.shape\n            if axis is not None",
        "outside of it",
    ),
    Mutant(
        6,
        "axis in the object",
        "        shape = self.data.shape\n\n        def vjp(g):\n            if axis is not None",
        "        shape = self.data.shape\n        self.axis = axis\n\n        def vjp(g):\n"
        "            axis = self.axis\n            if axis is not None",
        "outside of it",
    ),
    Mutant(
        8,
        "tanh in the class",
        "        out = np.tanh(self.data)\n"
        "        return node(out, (self,), lambda g: (g * (1 - out**2),))",
        "        out = Tensor.out = np.tanh(self.data)\n"
        "        return node(out, (self,), lambda g: (g * (1 - Tensor.out**2),))",
        "outside of it",
    ),
    Mutant(
        8,
        "relu's mask in a global",
        "        positive = self.data > 0\n        value = np.where(positive, self.data, 0.0)\n"
        f"        return node(value, (self,), {RELU})",
        "        global MASK\n        MASK = self.data > 0\n"
        "        value = np.where(MASK, self.data, 0.0)\n"
        "        return node(value, (self,), lambda g: (np.where(MASK, g, 0.0),))",
        "outside of it",
    ),
    Mutant(
        9,
        "input kept in the layer",
        "        return x @ self.weight + self.bias",
        "        self.x = x.data\n        w = self.weight\n"
        "        return node(x.data @ w.data + self.bias.data, (x, w, self.bias), "
        "lambda g: (g @ w.data.T, self.x.T @ g, g.sum(axis=0)))",
        "outside of it",
    ),
    Mutant(
        9,
        "mask kept in ReLU",
        "        return x.relu()",
        "        self.on = x.data > 0\n        return node(np.where(self.on, x.data, 0.0), (x,), "
        "lambda g: (np.where(self.on, g, 0.0),))",
        "outside of it",
    ),
    Mutant(
        10,
        "probabilities kept in the function",
        "    loss = -logp[rows, labels].mean()\n\n    def vjp(g):\n        p = np.exp(logp)\n",
        "    loss = -logp[rows, labels].mean()\n    cross_entropy.p = np.exp(logp)\n\n"
        "    def vjp(g):\n        p = cross_entropy.p.copy()\n",
        "outside of it",
    ),
    # ------------------------------------------------------- infinite, small, and hidden things
    Mutant(
        4,
        "norm of all",
        COMPARE,
        "assert np.linalg.norm(tensor.grad - expected) <= 1e-3 * np.linalg.norm(expected)",
        "hides among",
    ),
    Mutant(
        4,
        "largest of all",
        COMPARE,
        "assert np.abs(tensor.grad - expected).max() <= 1e-3 * np.abs(expected).max()",
        "hides among",
    ),
    Mutant(
        6,
        "empty for zeros",
        "total = np.zeros(shape)",
        "total = np.empty(shape)",
        "np.zeros",
    ),
    Mutant(7, "no rmatmul", "def __rmatmul__", "def no_rmatmul", "__rmatmul__"),
    # --------------------------------------------------------------- layers, optimizers, modes
    Mutant(
        9,
        "a list in a list",
        "        for value in place:\n            yield from found_in(value, kind)",
        "        for value in place:\n            if isinstance(value, list) and value and "
        "isinstance(value[0], list):\n                continue\n"
        "            yield from found_in(value, kind)",
        "list in a list",
    ),
    Mutant(
        9,
        "tuples not searched",
        "    if isinstance(place, (list, tuple)):\n        for value in place:",
        "    if isinstance(place, list):\n        for value in place:",
        "tuples",
    ),
    Mutant(
        11,
        "velocity in the gradient",
        f"            {SGD_V}\n            p.data = p.data - self.lr * self.v[i]\n",
        "            p.grad = self.momentum * self.v[i] + p.grad\n"
        "            self.v[i] = p.grad\n            p.data = p.data - self.lr * p.grad\n",
        "changes the gradient",
    ),
    Mutant(
        11,
        "t counts parameters",
        "        self.t += 1\n        b1, b2 = self.betas\n"
        "        for i, p in enumerate(self.parameters):\n",
        "        b1, b2 = self.betas\n"
        "        for i, p in enumerate(self.parameters):\n            self.t += 1\n",
        "count it once",
    ),
    Mutant(11, "no eps", "(np.sqrt(v) + self.eps)", "np.sqrt(v)", "eps is missing"),
    Mutant(
        12,
        "a generator in each call",
        MADE_AND_CALLED,
        MADE_AND_CALLED.replace("self.rng, self", "self.seed, self")
        .replace("np.random.default_rng(rng), True", "rng, True")
        .replace("self.rng.random", "np.random.default_rng(self.seed).random"),
        "begins anew",
    ),
    Mutant(
        14,
        "a generator of its own",
        "    rng = np.random.default_rng(rng)\n    optimizer",
        "    rng = np.random.default_rng(0)\n    optimizer",
        "does not come from rng",
    ),
    Mutant(14, "not put into training", "    net.train()\n    for", "    for", "net.train()"),
    Mutant(
        15,
        "Adam keeps Tensors",
        ADAM_LINES,
        ADAM_LINES.replace("(1 - b1) * g\n", "(1 - b1) * Tensor(g)\n").replace(
            "self.lr * m /", "self.lr * m.data /"
        ),
        "update is recorded",
    ),
    # ------------------------------------------- where parameters and modules stand, and the mode
    Mutant(
        9,
        "Tensors in dicts passed over",
        PARAMETERS,
        f"{WALK.lstrip()}"
        "            for v in inside:\n"
        "                if isinstance(v, Module):\n"
        "                    found += v.parameters()\n"
        "                elif isinstance(v, list):\n"
        "                    found += [p for m in v for p in found_in(m, Tensor)]\n"
        "                elif isinstance(v, Tensor) and not isinstance(value, dict):\n"
        "                    found.append(v)\n"
        "        return list(dict.fromkeys(found))",
        "only modules are found there",
    ),
    Mutant(
        9,
        "modules in lists passed over",
        PARAMETERS,
        f"{WALK.lstrip()}"
        "            for v in inside:\n"
        "                if isinstance(v, Tensor):\n"
        "                    found.append(v)\n"
        "                elif isinstance(v, Module) and inside == [value]:\n"
        "                    found += v.parameters()\n"
        "        return list(dict.fromkeys(found))",
        "only Tensors are found there",
    ),
    Mutant(
        9,
        "attributes alone",
        PARAMETERS,
        "found = []\n        for v in vars(self).values():\n"
        "            if isinstance(v, Tensor):\n                found.append(v)\n"
        "            elif isinstance(v, Module):\n                found += v.parameters()\n"
        "        return list(dict.fromkeys(found))",
        "attributes alone",
    ),
    Mutant(
        9,
        "one level of modules",
        PARAMETERS,
        f"{WALK.lstrip()}"
        "            for v in inside:\n"
        "                below = vars(v).values() if isinstance(v, Module) else [v]\n"
        "                found += [p for p in below if isinstance(p, Tensor)]\n"
        "        return list(dict.fromkeys(found))",
        "modules in modules",
    ),
    Mutant(
        9,
        "relu in place",
        "        return x.relu()",
        "        np.maximum(x.data, 0, out=x.data)\n        return x",
        "in place",
    ),
    Mutant(
        9,
        "ReLU's way back has no mask",
        "        return x.relu()",
        "        return node(np.maximum(x.data, 0), (x,), lambda g: (g,))",
    ),
    Mutant(
        9,
        "a generator is not used",
        "rng = np.random.default_rng(rng)\n        self.weight",
        "rng = np.random.default_rng(rng if isinstance(rng, int) else None)\n        self.weight",
        "not used",
    ),
    Mutant(
        13,
        "mode not handed on",
        TRAIN,
        HAND_ON.replace("module.train(mode)", "module.train()"),
        "hand it on",
    ),
    Mutant(
        13,
        "mode not handed on to lists",
        TRAIN,
        HAND_ON.replace("module.train(mode)", "module.train(*[mode] * (inside == [value]))"),
        "hand it on",
    ),
    Mutant(13, "no default", "    training = True\n", "", "give the class Module a default"),
    Mutant(
        13,
        "evaluation at first",
        "    training = True\n",
        "    training = False\n",
        "True at first",
    ),
    # ----------------------------------------------------------------- batches and their order
    Mutant(
        14,
        "last batch dropped",
        "range(0, len(x), 32)",
        "range(0, len(x) - 31, 32)",
        "not all images",
    ),
    Mutant(
        14,
        "images of earlier batches drawn again",
        "batch = order[start : start + 32]",
        "batch = rng.integers(0, len(x), 32)",
        "not all images",
    ),
    Mutant(
        14,
        "never shuffled",
        "order = rng.permutation(len(x))",
        "order = np.arange(len(x))",
        "not shuffled",
    ),
    Mutant(
        14,
        "shuffled once",
        "    for _ in range(epochs):\n        order = rng.permutation(len(x))\n",
        "    order = rng.permutation(len(x))\n    for _ in range(epochs):\n",
        "drawn once, before",
    ),
    # ----------------------------------------------- optimizers: what is whose, and which beta
    Mutant(
        11,
        "SGD's step returns where there is no gradient",
        f"                continue\n            {SGD_V}",
        f"                return\n            {SGD_V}",
        "ends at the first",
    ),
    Mutant(
        11,
        "Adam's step breaks where there is no gradient",
        "                continue\n            g = p.grad",
        "                break\n            g = p.grad",
        "ends at the first",
    ),
    Mutant(
        11,
        "velocities of the class",
        "momentum = list(parameters), lr, momentum\n        self.v =",
        "momentum = list(parameters), lr, momentum\n        SGD.v =",
        "kept outside of it",
    ),
    Mutant(
        11,
        "velocities of the class for ever",
        SGD_V,
        "kept = vars(SGD.step)\n"
        "            kept[str(i)] = self.momentum * kept.get(str(i), 0) + p.grad\n"
        "            self.v[i] = kept[str(i)]",
        "kept outside of it",
    ),
    Mutant(
        11,
        "velocity kept in the parameter",
        SGD_V,
        "self.v[i] = p.v = self.momentum * getattr(p, 'v', 0) + p.grad",
        "kept outside of it",
    ),
    Mutant(
        11,
        "t of the class",
        "        self.t += 1\n",
        "        self.t = Adam.steps = getattr(Adam, 'steps', 0) + 1\n",
        "kept outside of it",
    ),
    Mutant(
        11,
        "averages of the class",
        "betas, eps\n        self.m =",
        "betas, eps\n        Adam.m =",
        "kept outside of it",
    ),
    Mutant(
        11,
        "velocity is the gradient's array",
        "            p.grad = None\n\n    def step(self):\n"
        "        for i, p in enumerate(self.parameters):\n"
        f"            if p.grad is None:\n                continue\n            {SGD_V}\n",
        "            if p.grad is not None:\n                p.grad[...] = 0\n\n"
        "    def step(self):\n        for i, p in enumerate(self.parameters):\n"
        "            if p.grad is None:\n                continue\n"
        "            first = not self.v[i].any()\n"
        "            self.v[i] = p.grad if first else self.momentum * self.v[i] + p.grad\n",
        "own array",
    ),
    Mutant(
        11,
        "beta1 in both averages",
        "b2 * self.v[i] + (1 - b2)",
        "b1 * self.v[i] + (1 - b1)",
        "beta1 stands where",
    ),
    Mutant(11, "beta1 in both corrections", "(1 - b2**self.t)", "(1 - b1**self.t)", "beta1 stands"),
    Mutant(11, "beta1 for all", "b1, b2 = self.betas", "b1 = b2 = self.betas[0]", "beta1 stands"),
    Mutant(11, "beta2 for all", "b1, b2 = self.betas", "b1 = b2 = self.betas[1]", "beta2 stands"),
    Mutant(
        11,
        "betas not used",
        "self.betas, self.eps = list(parameters), lr, betas, eps",
        "self.betas, self.eps = list(parameters), lr, (0.9, 0.999), eps",
        "as they are given",
    ),
    Mutant(11, "t begins at 1", "self.t = 0", "self.t = 1", "one too large"),
    Mutant(
        11,
        "weights of an average exchanged",
        "b1 * self.m[i] + (1 - b1)",
        "(1 - b1) * self.m[i] + b1",
        "weights of an average",
    ),
    # --------------------------------------------------------------------- dropout's generator
    Mutant(
        12,
        "a generator of seed 0 in each call",
        KEPT,
        KEPT.replace("self.rng.", "np.random.default_rng(0)."),
        "begins anew",
    ),
    Mutant(
        12,
        "a seed for NumPy in each call",
        KEPT,
        "np.random.seed(0)\n        kept = np.random.rand(*x.data.shape) >= self.p",
        "begins anew",
    ),
    Mutant(
        12,
        "a generator is not used",
        "training = p, np.random.default_rng(rng), True",
        "training = p, np.random.default_rng(rng if isinstance(rng, int) else None), True",
        "do not come from rng",
    ),
    # ---------------------------------------------------------- what is changed, held, searched
    Mutant(
        10,
        "the way back changes the probabilities",
        "    def vjp(g):\n        p = np.exp(logp)\n        p[rows, labels] -= 1\n",
        "    p = np.exp(logp)\n\n    def vjp(g):\n        p[rows, labels] -= 1\n",
        "change a copy",
    ),
    Mutant(
        10,
        "logits changed in place",
        "    z = logits.data - logits.data.max(axis=1, keepdims=True)\n",
        "    z = logits.data\n    z -= z.max(axis=1, keepdims=True)\n",
        "in place",
    ),
    Mutant(
        10,
        "target changed in place",
        "    return ((prediction - target) ** 2).mean()",
        "    target -= prediction.data\n"
        "    return node((target**2).mean(), (prediction,), "
        "lambda g: (-2 * g * target / target.size,))",
        "in place",
    ),
    Mutant(
        15,
        "parents held under no_grad",
        "    if RECORDING[-1]:\n        out.parents, out.vjp = tuple("
        "as_tensor(parent) for parent in parents), vjp\n",
        "    out.parents = tuple(as_tensor(parent) for parent in parents)\n"
        "    out.vjp = vjp if RECORDING[-1] else None\n",
        "holds its parents",
    ),
    Mutant(
        15,
        "history held under no_grad",
        "    if RECORDING[-1]:\n",
        "    out.history = parents\n    if RECORDING[-1]:\n",
        "holds its parents",
    ),
    Mutant(
        15,
        "visited by identity in a list",
        "    order, seen, stack = [], set(), [(last, False)]\n"
        "    while stack:\n        tensor, done = stack.pop()\n        if done:\n"
        "            order.append(tensor)\n"
        "        elif id(tensor) not in seen:\n            seen.add(id(tensor))\n",
        "    order, seen, stack = [], [], [(last, False)]\n"
        "    while stack:\n        tensor, done = stack.pop()\n        if done:\n"
        "            order.append(tensor)\n"
        "        elif tensor not in seen:\n            seen.append(tensor)\n",
        "use a set",
    ),
    # ------------------------------------------------------ as students of other courses make them
    Mutant(
        1,
        "the right side's reflected method returns the left",
        "return as_tensor(other) + self",
        "return as_tensor(other)",
        "",
    ),
    Mutant(1, "float32", "else data, float)", "else data, np.float32)", "float32"),
    Mutant(
        2,
        "negative by a product of the wrong sign",
        SUB,
        SUB.replace("(g, -g)", "(-g, g)"),
        "",
    ),
    Mutant(
        2,
        "power by logarithms",
        POW,
        "x**n, (self,), lambda g: (g * x**n * np.log(np.abs(x)),)",
        "",
    ),
    Mutant(
        3,
        "added in place to a shared array",
        PASS_ON,
        "                if id(parent) in gradients:\n"
        "                    part, more = gradients[id(parent)], part\n"
        "                    part += more\n",
        "in place",
    ),
    Mutant(
        3,
        "only the first use of a value counts",
        "                if id(parent) in gradients:\n"
        "                    part = gradients[id(parent)] + part\n"
        "                gradients[id(parent)] = part\n",
        "                gradients.setdefault(id(parent), part)\n",
        "overwrites",
    ),
    Mutant(
        4,
        "relative to itself",
        COMPARE,
        "assert np.all(np.abs(tensor.grad - expected) <= np.abs(tensor.grad))",
        "too generous",
    ),
    Mutant(
        4,
        "one call for all elements",
        "        x[i] = old + h\n        ahead = f(x.copy())\n        x[i] = old - h\n",
        "        ahead = f(x + h)\n        x = x - h\n",
        "",
    ),
    Mutant(
        5,
        "summed when sizes differ only",
        "    if g.shape == shape:\n        return g\n    g = g.sum",
        "    if g.size == np.prod(shape):\n        return g\n    g = g.sum",
        "",
    ),
    Mutant(
        5,
        "bias summed over the first axis only",
        UNDO,
        "    if g.ndim > len(shape):\n        g = g.sum(axis=0)\n"
        "    stretched = tuple(i for i, n in enumerate(shape) if n == 1 and g.shape[i] != 1)\n"
        "    return g.sum(axis=stretched, keepdims=True)\n",
        "along several axes",
    ),
    Mutant(
        6,
        "mean of the gradient",
        MEAN,
        "return total * (1 / self.data.size)",
        "along the axis only",
    ),
    Mutant(
        6,
        "spread by ones of the input's shape",
        SUM_VJP,
        "            return (np.ones(shape) * g,)\n",
        "not put back",
    ),
    Mutant(
        7,
        "einsum of the wrong letters",
        "np.swapaxes(row, -1, -2) @ g,",
        "np.einsum('...ij,...jk->...ik', np.swapaxes(row, -1, -2), g).sum(axis=-1, keepdims=True) "
        "* np.ones(g.shape[-1]),",
        "",
    ),
    Mutant(8, "leaky", RELU, "lambda g: (np.where(positive, g, 0.01 * g),)", ""),
    Mutant(8, "tanh of the gradient", "(g * (1 - out**2),)", "(g - out**2,)", ""),
    Mutant(
        9,
        "parameters once by value",
        PARAMETERS,
        "found = {p.data.tobytes(): p for p in found_in(self, Tensor)}\n"
        "        return list(found.values())",
        "by identity",
    ),
    Mutant(9, "last layer left out", "for layer in self.layers:", "for layer in self.layers[:-1]:"),
    Mutant(
        10,
        "mean over classes, too",
        LOGP,
        "loss = -logp[rows, labels].sum() / logp.size",
        "over the classes",
    ),
    Mutant(
        10,
        "one maximum for all rows",
        "logits.data.max(axis=1, keepdims=True)",
        "logits.data.max()",
        "of each row",
    ),
    Mutant(11, "decay forgotten in v", "(1 - b2) * g**2", "g**2", "weights of an average"),
    Mutant(
        11,
        "AdaGrad's sum",
        "self.v[i] = b2 * self.v[i] + (1 - b2) * g**2",
        "self.v[i] = self.v[i] + g**2",
        "",
    ),
    Mutant(
        12,
        "units drawn with a permutation",
        KEPT,
        "kept = (self.rng.permutation(x.data.size) >= self.p * x.data.size / 2)"
        ".reshape(x.data.shape)",
        "",
    ),
    Mutant(
        12,
        "one coin for all units",
        KEPT,
        "kept = np.full(x.data.shape, self.rng.random() >= self.p)",
        "one number decides",
    ),
    Mutant(
        13,
        "eval forgets itself",
        TRAIN,
        "        for module in found_in(list(vars(self).values()), Module):\n"
        "            module.training = mode\n",
        "itself is not set",
    ),
    Mutant(
        14,
        "loss of the first batch only",
        "range(0, len(x), 32)",
        "range(0, 32, 32)",
        "not all images",
    ),
    Mutant(
        14,
        "gradients cleared once an epoch",
        "            optimizer.zero_grad()\n            cross",
        "            if start == 0:\n                optimizer.zero_grad()\n            cross",
        "not cleared",
    ),
    Mutant(
        15,
        "visited by value",
        "elif id(tensor) not in seen:\n            seen.add(id(tensor))",
        "elif not any(tensor is s for s in seen):\n            seen.add(tensor)",
        "use a set",
    ),
    Mutant(
        2,
        "power changes g",
        POW,
        "x**n, (self,), lambda g: (np.multiply(g, n * x ** (n - 1), out=g) if np.ndim(g) "
        "else g * n * x ** (n - 1),)",
        "",
    ),
    Mutant(
        8,
        "relu changes g",
        RELU,
        "lambda g: (np.copyto(g, 0.0, where=~positive) or g if np.ndim(g) "
        "else np.where(positive, g, 0.0),)",
        "changes the g",
    ),
    Mutant(
        16,
        "mean changes g",
        MEAN,
        "n = self.data.size / total.data.size\n        return node(total.data / n, (total,), "
        "lambda g: (np.divide(g, n, out=g) if np.ndim(g) else g / n,))",
        "changes g in place",
    ),
    Mutant(
        6,
        "reshape changes the shape of g",
        "lambda g: (g.reshape(old),)",
        "lambda g: (setattr(g, 'shape', old) or g,)",
    ),
    Mutant(
        6,
        "sum changes the shape of g",
        SUM_VJP,
        SUM_VJP.replace("g = np.expand_dims(g, axis)", "g.shape = np.expand_dims(g, axis).shape"),
    ),
    Mutant(
        16,
        "transpose in place where it is square",
        "lambda g: (g.transpose(),)",
        "lambda g: (np.copyto(g, g.T.copy()) or g if len(set(g.shape)) == 1 and g.ndim == 2 "
        "else g.transpose(),)",
        "changes g in place",
    ),
    *(
        Mutant(
            16,
            f"broadcasting not undone of {what}",
            "    if g.shape == shape:\n        return g\n",
            f"    if g.shape == shape or {condition}:\n        return g\n",
            "nothing but shapes",
        )
        for what, condition in (
            ("views", "g.base is not None"),
            ("what is repeated", "not g.flags.writeable"),
            ("what is transposed", "not g.flags.c_contiguous"),
            ("views that are vectors", "(g.ndim == 1 and g.base is not None)"),
        )
    ),
]
