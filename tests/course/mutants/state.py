"""Mistakes about what calls, layers and optimizers keep: what is whose, and when it changes."""

from .mutant import (
    ADAM_LINES,
    COMPARE,
    DIV,
    HAND_ON,
    KEPT,
    MADE_AND_CALLED,
    PARAMETERS,
    POW,
    RELU,
    SGD_V,
    TRAIN,
    WALK,
    Mutant,
)

STATE = [
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
]
