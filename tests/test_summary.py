"""nn.summary: what it counts, and that it leaves the model as it was."""

import numpy as np
import pytest

from microgrand import manual_seed, nn, no_grad
from microgrand.random import default_generator


def rows(text):
    """The cells of each line by the layer's name."""
    lines = [line.split("  ") for line in text.splitlines()]
    return {cells[0]: [cell.strip() for cell in cells[1:] if cell] for cells in lines}


def test_counts_of_a_net_are_those_of_its_shapes():
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2, bias=False))
    found = rows(nn.summary(net, np.ones((3, 4), np.float32)))
    assert found["0: Linear"] == ["(3, 8)", "40", "96", "96"]
    assert found["2: Linear"] == ["(3, 2)", "16", "48", "24"]
    assert found["total"] == ["56", "144", "216"]


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (nn.Conv2d(2, 3, 2, bias=False), (1, 2, 4, 4), 3 * 3 * 3 * 2 * 2 * 2),
        (nn.ConvTranspose2d(2, 3, 2, bias=False), (1, 2, 4, 4), 2 * 4 * 4 * 3 * 2 * 2),
        (nn.RNN(3, 4), (5, 2, 3), 5 * 2 * 4 * (3 + 4)),
    ],
)
def test_multiplications_of_convolutions_and_recurrent_nets(layer, shape, expected):
    found = rows(nn.summary(layer, np.ones(shape, np.float32)))
    assert int(found["total"][1].replace(",", "")) == expected


class Twice(nn.Module):
    def __init__(self):
        self.layer = nn.Linear(5, 5)
        self.scale = nn.Parameter(np.ones(5))

    def forward(self, x):
        hidden = self.layer(self.layer(x))
        return {"out": (hidden @ np.ones((5, 3), np.float32)), "hidden": [hidden * self.scale]}


def test_a_layer_called_twice_counts_its_parameters_once_and_its_work_twice():
    text = nn.summary(Twice(), np.ones((2, 5)))
    lines = [line for line in text.splitlines() if "Linear" in line]
    assert [" (30) " in line for line in lines] == [False, True]
    found = rows(text)
    assert found["total"][:2] == ["35", str(2 * 50 + 30)]
    assert found["model: Twice"][0] == "(2, 3), (2, 5)"


def test_the_model_is_as_before():
    manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5))
    net[1].eval()
    state = default_generator.bit_generator.state
    nn.summary(net, np.ones((3, 4)))
    assert [module.training for module in net.modules()] == [True, True, False]
    assert default_generator.bit_generator.state == state
    assert net[1].mask is None
    assert all(p.grad is None for p in net.parameters())
    assert "forward" not in vars(net[0])
    with pytest.raises(ValueError, match="last axis must be 4"):
        nn.summary(net, np.ones((3, 5)))
    assert [module.training for module in net.modules()] == [True, True, False]
    assert "forward" not in vars(net[0])


def test_work_is_counted_where_nothing_is_recorded_too():
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
    with no_grad():
        inside = nn.summary(net, np.ones((3, 4), np.float32))
    assert inside == nn.summary(net, np.ones((3, 4), np.float32))
    assert "96" in inside


def test_only_modules_are_accepted():
    with pytest.raises(TypeError, match="summary"):
        nn.summary(lambda x: x, np.ones(3))


def test_work_is_counted_for_the_module_that_does_it():
    class Outer(nn.Module):
        def __init__(self):
            self.drop = nn.Dropout(0.5)

        def forward(self, x):
            return self.drop(x @ np.ones((5, 5), np.float32))

    found = rows(nn.summary(Outer(), np.ones((2, 5), np.float32)))
    assert found["drop: Dropout"][2] == "0"
    assert found["model: Outer"][2] == "50"
