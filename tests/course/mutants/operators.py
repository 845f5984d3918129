"""Mistakes in operators, the way back, and functions: stages 1 to 8."""

from .mutant import (
    ADD,
    ADD_LINE,
    CENTRAL,
    COMPARE,
    DIV,
    MEAN,
    MUL,
    PASS_ON,
    POW,
    PUT,
    RDIV,
    RELU,
    RSUB,
    SUB,
    SUM_VJP,
    TO_PARENTS,
    UNDO,
    Mutant,
)

OPERATORS = [
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
        "do not hand theirs on",
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
        "not passed on",
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
]
