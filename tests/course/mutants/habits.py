"""Mistakes that come from habit: what is changed, held and searched, as in other courses."""

from .mutant import (
    COMPARE,
    KEPT,
    LOGP,
    MEAN,
    PARAMETERS,
    PASS_ON,
    POW,
    RELU,
    SUB,
    SUM_VJP,
    TRAIN,
    UNDO,
    Mutant,
)

HABITS = [
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
