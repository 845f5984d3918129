"""Right code that differs from the course's in what the contract leaves open is not a fault."""

import pytest
from harness import SOURCE, examined, first_fault, some, statuses
from mutants.mutant import DROPPED, EPOCH, PARAMETERS, SGD_V

IN_INIT = (
    "    training = True\n\n    def parameters",
    "    def __init__(self):\n        self.training = True\n\n    def parameters",
)
WITH_A_DEFAULT = ("    before = net.training\n", "    before = getattr(net, 'training', True)\n")
BATCHES = "        for start in range(0, len(x), 32):\n"

#: What differs, the stages that look at it, and replacements in the course's own framework.
VARIANTS = {
    "parameters in a set": ([9, 13], [(PARAMETERS, "return list(set(found_in(self, Tensor)))")]),
    "parameters in another order at each call": (
        [9, 13, 14],
        [
            (
                PARAMETERS,
                "Module.turn = not getattr(Module, 'turn', False)\n"
                "        return list(dict.fromkeys(found_in(self, Tensor)))"
                "[:: -1 if Module.turn else 1]",
            )
        ],
    ),
    "training set in every __init__": (
        [9, 12, 13, 14],
        [
            IN_INIT,
            (
                "        self.layers = list",
                "        super().__init__()\n        self.layers = list",
            ),
        ],
    ),
    "training set in an __init__ that not all call": ([13, 14], [IN_INIT, WITH_A_DEFAULT]),
    "training set by Dropout alone": (
        [12, 13, 14],
        [("    training = True\n\n    def parameters", "    def parameters"), WITH_A_DEFAULT],
    ),
    "velocities by identity": (
        [11],
        [
            (SGD_V, "self.v[i] = self.v[id(p)] = self.momentum * self.v.get(id(p), 0) + p.grad"),
            (
                "momentum = list(parameters), lr, momentum\n"
                "        self.v = [np.zeros_like(p.data) for p in self.parameters]",
                "momentum = list(parameters), lr, momentum\n        self.v = {}",
            ),
        ],
    ),
    "masks multiplied": (
        [12],
        [(DROPPED, "return node(value, (x,), lambda g: (g * kept * scale,))")],
    ),
    "all images at once, and often": (
        [14],
        [
            (BATCHES, "        for start in 20 * [0]:\n"),
            ("batch = order[start : start + 32]", "batch = order"),
        ],
    ),
    "the loss is looked at between steps": (
        [14, 15],
        [
            (
                EPOCH,
                "            with no_grad():\n"
                f"                float(cross_entropy(net(Tensor(x[:9])), y[:9]).data)\n{EPOCH}",
            )
        ],
    ),
}


@pytest.mark.parametrize("name", some(VARIANTS, lambda name: 14 not in VARIANTS[name][0]))
def test_is_no_fault(name):
    stages, replacements = VARIANTS[name]
    source = SOURCE
    for old, new in replacements:
        assert source.count(old) == 1
        source = source.replace(old, new)
    records = examined(source, stages, go_on=True, examples=6)
    assert first_fault(records) == (None, None)
    assert statuses(records) == dict.fromkeys(stages, "passed")
