"""Mistakes in layers, losses, optimizers, dropout and training: stages 9 to 16."""

from .mutant import (
    ADAM_M,
    DROPPED,
    EPOCH,
    KEPT,
    LOGP,
    NO_GRAD,
    PARAMETERS,
    SGD_V,
    TRAIN,
    WEIGHT,
    Mutant,
)

NETS = [
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
        "kept forever",
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
]
