"""The page that explains dropout: it runs, and what it says is what it computes."""

import os
import runpy
from pathlib import Path

import numpy as np
import pytest

PAGE = Path(__file__).parents[1] / "examples" / "dropout_explained.py"


@pytest.fixture(scope="module")
def page():
    """Run it once; return its names, with what it prints as ``printed``."""
    with pytest.MonkeyPatch.context() as patch:
        # The page sets this variable where it is unset; undo it for the tests to come.
        patch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
        printed = []
        namespace = runpy.run_path(
            str(PAGE), {"print": lambda *parts, sep=" ": printed.append(sep.join(map(str, parts)))}
        )
        return {**namespace, "printed": "\n".join(printed)}


def test_the_ten_lines_are_ten():
    source = PAGE.read_text(encoding="utf-8")
    lines = source[source.index("class Dropout:") :].split("\n\n\n")[0].splitlines()
    assert len([line for line in lines if line]) == 10


def test_a_dropped_unit_is_out_of_both_passes(page):
    kept = np.array([1, 1, 1, 0, 1, 1, 1, 0], bool)
    np.testing.assert_allclose(page["tried"], page["backward"], atol=1e-9)
    np.testing.assert_array_equal(page["backward"] != 0, kept)
    np.testing.assert_allclose(page["backward"][kept], (page["cotangent"] / 0.7)[0, kept])
    assert "after    1.43   2.86   4.29   0.00   7.14   8.57  10.00   0.00" in page["printed"]
    weights_that_learn, rng = page["weights_that_learn"], np.random.default_rng
    for seed in range(20):
        to, away = weights_that_learn(page["Dropout"](0.3, rng(seed)))
        np.testing.assert_array_equal(to, away)
    to, away = weights_that_learn(page["RedrawnInBackward"](0.3, rng(page["SEED"])))
    assert (to & ~away).any()
    assert (~to & away).any()


def test_a_mask_that_is_not_held_still_is_noticed(page):
    assert page["not_held"].startswith("the function is not deterministic")
    assert page["held"] == ""


def test_each_mistake_is_found_by_one_test_and_each_test_finds_one(page):
    board = page["board"]
    failed = {
        title: [name for name, (_, right) in results.items() if not right]
        for title, results in board.items()
    }
    assert failed == {
        "ten lines": [],
        "one mask for the batch": ["correlation of two examples' masks"],
        "redrawn in backward": ["gradient check"],
        "no scale": ["mean output for an input of 1"],
        "no scale in backward": ["gradient check"],
        "ignores the mode": ["change in evaluation mode"],
        "keeps with probability p": ["share of dropped units"],
        "nn.Dropout": [],
    }
    assert {name for names in failed.values() for name in names} == set(page["TESTS"])
    # "The gradient check is blind to four of the six."
    mistakes = [names for names in failed.values() if names]
    assert len(mistakes) == 6
    assert sum("gradient check" not in names for names in mistakes) == 4
    for line in (
        "correlation of two examples' masks is 1.000, expected 0",
        "mean output for an input of 1 is 0.698, expected 1",
        "share of dropped units is 0.699, expected 0.3",
        "found by backward: 1\n      expected from differences: 1.428571429",
        "nn.Dropout: all 5 tests pass",
    ):
        assert line in page["printed"]
    rows = page["printed"].split("9. Which test finds")[1].split("10. What they")[0]
    assert rows.count("FAIL") == 6
    assert rows.count("pass") == 7 * 5 - 6


def test_the_shares_of_a_redrawn_mask(page):
    # Five standard deviations of shares of 100,000 units.
    for name in ("untold", "innocent"):
        assert abs(page[name] - 0.3 * 0.7) < 5 * np.sqrt(0.21 * 0.79 / 1e5)
    assert abs(page["cosine"] - 0.7) < 0.01


def test_all_versions_learn_and_the_right_one_is_not_worst(page):
    costs = page["costs"]
    assert set(costs) == {"without dropout", *page["board"]} - {"nn.Dropout"}
    assert all(accuracy > 0.9 for accuracy, _ in costs.values())
    accuracy, loss = costs["ten lines"]
    assert loss < costs["without dropout"][1]
    # "A percent or two", and a loss that is higher by a third.
    for title in (
        "redrawn in backward", "no scale", "ignores the mode", "keeps with probability p"
    ):  # fmt: skip
        assert 0 < accuracy - costs[title][0] < 0.03
        assert costs[title][1] > 1.25 * loss
    # Missing in backward only, the scale costs nothing here.
    assert abs(costs["no scale in backward"][0] - accuracy) < 0.005
    assert abs(costs["no scale in backward"][1] - loss) < 0.02


def test_what_the_ten_lines_still_get_wrong(page):
    assert page["twice"].startswith("wrong derivative")
    assert np.isnan(page["infinite"]).any()
    assert np.isinf(page["infinite"]).any()
    assert page["found"] == ""
    assert set(page["finite"]) == {0.0, np.inf}
    assert "called twice before backward: no complaint" in page["printed"]
