"""The page that explains dropout: it runs, and what it says is what it computes."""

import runpy
import sys

import numpy as np
import pytest
from scripts import ROOT, importing_examples, run_in_a_pipe

PAGE = ROOT / "examples" / "dropout_explained.py"


@pytest.fixture(scope="module")
def page():
    """Run it once; return its names, with what it prints as ``printed``."""
    with importing_examples() as patch:
        patch.setattr(sys, "argv", [str(PAGE)])
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


def test_each_mistake_lets_the_wrong_weights_learn(page):
    def learn(name):
        layer = page[name](0.3, np.random.default_rng(page["SEED"]))
        return layer, *page["weights_that_learn"](layer)

    _, to, away = learn("RedrawnInBackward")
    assert (to & ~away).any()
    assert (~to & away).any()
    layer, to, away = learn("NoMaskInBackward")
    np.testing.assert_array_equal(away, layer.mask)
    assert to.all()
    assert not away.all()
    layer, to, away = learn("ResultNotUsed")
    assert to.all()
    assert away.all()
    assert not layer.mask.all()


def test_backward_without_a_mask_blames_dropped_units_where_differences_say_zero(page):
    layer = page["NoMaskInBackward"](0.3, np.random.default_rng(page["SEED"]))
    layer.forward(page["units"])
    gradient = layer.backward(page["cotangent"])[0]
    np.testing.assert_array_equal(layer.mask[0], page["tried"] != 0)
    dropped = page["tried"] == 0
    assert dropped.any()
    assert (gradient[dropped] != 0).all()
    np.testing.assert_allclose(gradient[~dropped], page["tried"][~dropped])


def test_a_mask_of_the_labels_shape_drops_whole_examples(page):
    out = page["MaskOfTheLabels"](0.3, np.random.default_rng(0)).forward(np.ones((100, 7)))
    dropped = (out == 0).sum(axis=1)
    assert set(dropped) == {0, 7}


def test_a_result_that_is_not_used_is_no_dropout(page):
    layer = page["ResultNotUsed"](0.3, np.random.default_rng(page["SEED"]))
    np.testing.assert_array_equal(layer.forward(page["units"]), page["units"])
    np.testing.assert_array_equal(
        page["costs"]["result not used"], page["costs"]["without dropout"]
    )


def test_the_wrong_operand_leaves_the_second_weights_without_a_gradient(page):
    assert page["outcomes"] == {
        3: "NumPy refuses to multiply",
        4: "gradients: one for weights_1, none for weights_2",
    }


def test_help_is_all_that_is_printed_if_asked_for(tmp_path):
    shown = run_in_a_pipe(PAGE.name, "--help", folder=tmp_path)
    assert "--seeds" in shown
    assert "Eight units" not in shown


def test_a_mask_that_is_not_held_still_is_noticed(page):
    assert page["not_held"].startswith("the function is not deterministic")
    assert page["held"] == ""


def test_each_mistake_is_found_and_each_test_finds_what_no_other_does(page):
    board = page["board"]
    failed = {
        title: [name for name, right in results.items() if not right]
        for title, results in board.items()
    }
    assert failed == {
        "ten lines": [],
        "one mask for the batch": ["correlation of two examples' masks"],
        "mask of the labels' shape": ["share of dropped units", "mean output for an input of 1"],
        "no mask in backward": ["gradient check"],
        "redrawn in backward": ["gradient check"],
        "result not used": ["share of dropped units"],
        "no scale": ["mean output for an input of 1"],
        "no scale in backward": ["gradient check"],
        "ignores the mode": ["change in evaluation mode"],
        "keeps with probability p": ["share of dropped units"],
        "nn.Dropout": [],
    }
    assert {names[0] for names in failed.values() if len(names) == 1} == set(board["ten lines"])
    # "The gradient check is blind to six of the nine."
    mistakes = [names for names in failed.values() if names]
    assert len(mistakes) == 9
    assert sum("gradient check" not in names for names in mistakes) == 6
    for line in (
        "correlation of two examples' masks is 1.001, expected 0",
        "mask of the labels' shape: share of dropped units is 1.000, expected 0.3",
        "mask of the labels' shape: mean output for an input of 1 is 0.000, expected 1",
        "result not used: share of dropped units is 0.000, expected 0.3",
        "found by backward: 1.428571429\n      expected from differences: 0",
        "mean output for an input of 1 is 0.698, expected 1",
        "share of dropped units is 0.699, expected 0.3",
        "found by backward: 1\n      expected from differences: 1.428571429",
        "nn.Dropout: all 5 tests pass",
    ):
        assert line in page["printed"]
    rows = page["printed"].split("10. Which test finds")[1].split("11. What they")[0]
    assert rows.count("FAIL") == 10
    assert rows.count("pass") == 10 * 5 - 10


def test_the_shares_of_a_missing_and_of_a_redrawn_mask(page):
    def bound(share):  # five standard deviations of a share of 100,000 units
        return 5 * np.sqrt(share * (1 - share) / 1e5)

    untold, blamed, cosine = page["strays"]["no mask"]
    assert untold == 0
    assert abs(blamed - 0.3) < bound(0.3)
    assert abs(cosine - np.sqrt(0.7)) < 0.01
    untold, blamed, cosine = page["strays"]["redrawn"]
    assert abs(untold - 0.21) < bound(0.21)
    assert abs(blamed - 0.21) < bound(0.21)
    assert abs(cosine - 0.7) < 0.01


def test_all_versions_learn_and_the_right_one_is_not_worst(page):
    costs = page["costs"]
    assert set(costs) == {"without dropout", *page["board"]} - {"nn.Dropout"}
    assert all(accuracy > 0.9 for accuracy, _ in costs.values())
    accuracy, loss = costs["ten lines"]
    assert loss < costs["without dropout"][1]
    # "A percent or two", and a loss that is higher by a third.
    for title in (
        "no mask in backward",
        "redrawn in backward",
        "no scale",
        "ignores the mode",
        "keeps with probability p",
    ):
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
