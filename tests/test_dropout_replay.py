"""Masks held still: what a block of `DropoutMasks` records, replays and refuses."""

import asyncio
import contextvars
import copy
import threading

import numpy as np
import pytest
from helpers import REJECTED
from planting import plant

from microgrand import Tensor, manual_seed, nn
from microgrand.nn import checks
from microgrand.nn import functional as F
from microgrand.nn.dropout.masks import chance, source
from microgrand.nn.dropout.replay import Pass
from microgrand.testing import GradcheckError, gradcheck


def two_calls(module):
    """A net that calls one module twice."""
    return lambda x: module(x) + 10 * module(x)


X = np.linspace(1, 2, 12).reshape(3, 4)


def check_a_pass_is_repeated():
    module = nn.Dropout(0.5)
    net = two_calls(module)
    masks = nn.DropoutMasks()
    with masks:
        first = net(X)
    assert len(masks) == 2
    assert not np.array_equal(masks[0], masks[1]), "a module called twice has two masks"
    np.testing.assert_array_equal(first.data, 2 * X * (masks[0] + 10 * masks[1]))
    for _ in range(3):
        net(X)  # in between, chance rules
        with masks:
            np.testing.assert_array_equal(net(X).data, first.data)
        np.testing.assert_array_equal(module.mask, masks[1])
    assert not np.array_equal(net(X).data, first.data)


def check_too_many_calls_are_an_error():
    masks = nn.DropoutMasks()
    module = nn.Dropout(0.5)
    with masks:
        module(X)
    with (
        pytest.raises(RuntimeError, match=r"ran out: there are 1, and Dropout\(p=0.5\) asks"),
        masks,
    ):
        two_calls(module)(X)
    with pytest.raises(RuntimeError, match=r"Dropout\(p=0.5\) asks"), nn.DropoutMasks([]):
        F.dropout(X)


def check_too_few_calls_are_an_error():
    masks = nn.DropoutMasks()
    module = nn.Dropout(0.5)
    with masks:
        two_calls(module)(X)
    with pytest.raises(RuntimeError, match="used 1 of 2 masks"), masks:
        module(X)
    with pytest.raises(RuntimeError, match="evaluation mode"), masks:
        two_calls(module.eval())(X)


def check_another_shape_is_an_error():
    masks = nn.DropoutMasks()
    with masks:
        nn.Dropout(0.5)(X)
    for shape in (3, 1), (4,), (1, 3, 4), (12,), ():
        with pytest.raises(RuntimeError, match=r"needs .*np\.broadcast_to"), masks:
            nn.Dropout(0.5)(np.ones(shape))


def check_another_order_is_an_error():
    first, second = nn.Dropout(0.5), nn.Dropout(0.5)
    masks = nn.DropoutMasks()
    with masks:
        second(first(X))
    with pytest.raises(RuntimeError, match="for another module of this net"), masks:
        first(second(X))


def check_a_block_ends():
    masks = nn.DropoutMasks()
    module = nn.Dropout(0.5)
    with masks:
        held = module(X)
    with pytest.raises(KeyError), masks:
        raise KeyError
    assert source.get() is chance
    assert any(not np.array_equal(module(X).data, held.data) for _ in range(9))


def check_a_failed_first_pass_keeps_nothing():
    masks = nn.DropoutMasks()
    module = nn.Dropout(0.5)
    with pytest.raises(TypeError), masks:
        module(module(X).data > 1)
    with masks:
        two_calls(module)(X)
    assert len(masks) == 2


def check_nested_blocks():
    module = nn.Dropout(0.5)
    outer, inner = nn.DropoutMasks(), nn.DropoutMasks()
    with outer:
        a = module(X)
        with inner:
            b = module(X)  # drawn from the block around, which has it, too
        c = module(X)
    assert len(outer) == 3
    np.testing.assert_array_equal(outer[1], inner[0])
    with outer:
        np.testing.assert_array_equal(module(X).data, a.data)
        again = nn.DropoutMasks()
        with again:
            np.testing.assert_array_equal(module(X).data, b.data)
        np.testing.assert_array_equal(module(X).data, c.data)
    with nn.DropoutMasks([np.zeros(X.shape, bool)]):
        with inner:  # the innermost counts
            np.testing.assert_array_equal(module(X).data, b.data)
        assert not module(X).data.any()


def check_other_threads_draw_by_chance():
    module = nn.Dropout(0.5)
    zeros = nn.DropoutMasks([np.zeros(X.shape, bool)])
    seen = []
    with zeros:
        thread = threading.Thread(target=lambda: seen.append(module(X).data.any()))
        thread.start()
        thread.join()
        assert not module(X).data.any()
    assert seen == [True]


CHECKED = "checks.check_replayed_mask(self, i, layer, shape)"


def drawn_if(condition):
    """Draw a mask, where the right version raises."""
    drawn = "self.outer.next_mask(layer, shape)"
    return f"if {condition}:\n            return {drawn}\n        {CHECKED}"


HELD = {
    check_a_pass_is_repeated: [
        ("next_mask", "self.calls += 1", "self.calls += 2"),
        ("next_mask", "self.masks.append(mask)", "self.masks[:] = [mask]"),
        ("next_mask", "if not self.records:", "if False:"),
        ("next_mask", "self.masks[i]", "self.masks[0]"),
    ],
    check_too_many_calls_are_an_error: [
        ("next_mask", CHECKED, drawn_if("i >= len(self.masks)")),
        ("next_mask", "i = self.calls", "i = self.calls % max(len(self.masks), 1)"),
    ],
    check_too_few_calls_are_an_error: [("check_all_masks_used", "used < number", "False")],
    check_another_shape_is_an_error: [
        ("check_replayed_mask", "replayed.masks[i].shape != shape", "False"),
        ("check_replayed_mask", ".shape != shape", ".size != np.prod(shape)"),
        ("next_mask", CHECKED, drawn_if("self.masks[i].shape != shape")),
    ],
    check_another_order_is_an_error: [
        ("check_replayed_mask", "layer is not replayed.owners[i]", "False")
    ],
    check_nested_blocks: [
        (
            "next_mask",
            "mask = self.outer.next_mask(layer, shape)",
            "mask = MaskSource().next_mask(layer, shape)",
        )
    ],
    check_a_block_ends: [],
    check_a_failed_first_pass_keeps_nothing: [],
    check_other_threads_draw_by_chance: [],
}


@pytest.mark.parametrize("check", HELD, ids=lambda check: check.__name__)
def test_masks_held_still(check):
    check()


@pytest.mark.parametrize(
    ("check", "mistake"),
    [
        pytest.param(check, mistake, id=f"{check.__name__}-{i}")
        for check, mistakes in HELD.items()
        for i, mistake in enumerate(mistakes)
    ],
)
def test_the_checks_of_held_masks_reject(check, mistake, monkeypatch):
    owner = checks if hasattr(checks, mistake[0]) else Pass
    plant(monkeypatch, (owner, *mistake))
    with pytest.raises((*REJECTED, RuntimeError)):
        check()


def test_a_gradient_check_of_a_net_in_training():
    net = nn.Sequential(
        nn.Linear(4, 5, dtype=np.float64),
        nn.Dropout(0.5),
        nn.DropConnect(5, 6, dtype=np.float64),
        nn.AlphaDropout(0.3),
        nn.GaussianDropout(0.3),
    )
    assert gradcheck(nn.DropoutMasks().hold(net), X, order=2)
    assert gradcheck(nn.DropoutMasks().hold(net), X, order=2, mode="fast")
    with pytest.raises(GradcheckError, match=r"nn\.DropoutMasks\(\)\.hold\(fn\)"):
        gradcheck(net, X)


def test_two_nets_under_one_mask():
    plain, wide = (nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, n)) for n in (1, 7))
    masks = nn.DropoutMasks()
    with masks:
        plain(X)
    with masks:
        wide(X)
    np.testing.assert_array_equal(plain[1].mask, wide[1].mask)
    with masks, pytest.raises(RuntimeError, match="needs"):
        nn.Dropout(0.5)(np.ones((3, 9)))


def test_the_whole_family_and_the_functions_are_covered():
    masks = nn.DropoutMasks()
    x = np.ones((2, 3, 2, 2))

    def run():
        outs = [
            module(x)
            for module in (
                nn.Dropout(0.5), nn.Dropout2d(0.5), nn.DropPath(0.5), nn.GaussianDropout(0.5),
                nn.AlphaDropout(0.5), nn.FeatureAlphaDropout(0.5), nn.DropConnect(2, 2),
            )
        ]  # fmt: skip
        outs += [nn.WordDropout(0.5)(x[0, 0]), F.dropout(x), F.dropout2d(x), F.dropout1d(x[0])]
        outs += [F.alpha_dropout(x), F.dropout3d(x)]
        return outs

    manual_seed(1)
    first = masks.hold(run)()
    manual_seed(1)
    drawn_again = run()
    for a, b in zip(first, drawn_again, strict=True):
        np.testing.assert_array_equal(a.data, b.data), "a block draws what would have been drawn"
    assert len(masks) == len(first)
    assert [mask.dtype.kind for mask in masks].count("f") == 1
    del first[6], drawn_again
    manual_seed(2)
    again = masks.hold(run)()
    del again[6]  # another weight
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.data, b.data)


def test_given_masks_are_applied():
    mask = np.array([[True, False], [False, True]])
    masks = nn.DropoutMasks([mask, mask.tolist()])
    mask[:] = False  # a copy has been taken
    module = nn.Dropout(0.5)
    with masks:
        x = Tensor(np.full((2, 2), np.inf), requires_grad=True)
        out = module(x)
        np.testing.assert_array_equal(out.data, [[np.inf, 0], [0, np.inf]])
        out.backward(np.ones((2, 2)))
        np.testing.assert_array_equal(x.grad, [[2, 0], [0, 2]])
        assert module.mask is masks[0]
        F.dropout(np.ones((2, 2)))
    with pytest.raises(ValueError, match="read-only"):
        masks[0][...] = True
    assert repr(masks) == "DropoutMasks() of shapes (2, 2), (2, 2)"
    with nn.DropoutMasks([np.broadcast_to([True, False], (3, 2))]):
        np.testing.assert_array_equal(nn.Dropout(0.5)(np.ones((3, 2))).data, [[2, 0]] * 3)
    with nn.DropoutMasks([np.full(2, 3.0)]):
        np.testing.assert_array_equal(nn.GaussianDropout(0.5)(np.ones(2, np.float32)).data, [3, 3])


@pytest.mark.parametrize("module", [nn.Dropout(), nn.AlphaDropout(), nn.DropPath()])
def test_noise_is_no_mask(module):
    shape = (2, 1)
    with pytest.raises(TypeError, match="boolean"), nn.DropoutMasks([np.ones(shape)]):
        module(np.ones(shape))
    with pytest.raises(TypeError, match="floats"), nn.DropoutMasks([np.ones(shape, bool)]):
        nn.GaussianDropout()(np.ones(shape))


@pytest.mark.parametrize("mask", [[0, 1], np.ones(3, np.uint8), "mask", [1j], None])
def test_only_masks_are_accepted(mask):
    with pytest.raises(TypeError, match="mask 0 is of dtype"):
        nn.DropoutMasks([mask])


def test_no_module_asks_for_a_mask_in_evaluation():
    masks = nn.DropoutMasks()
    net = nn.Sequential(nn.Dropout(0.5), nn.DropConnect(4, 2), nn.GaussianDropout(0.5)).eval()
    with masks:
        net(X)
        assert repr(masks) == "DropoutMasks(), to be drawn in the first pass"
    assert len(masks) == 0
    with pytest.raises(RuntimeError, match="ran out"), masks:
        net.train()(X)


def a_generator(masks, module):
    with masks:
        yield module(X)
        yield module(X)


def test_a_block_that_outlives_another_ends_with_an_error():
    module = nn.Dropout(0.5)
    # The generator begins first, and ends first.
    outer, inner = nn.DropoutMasks(), nn.DropoutMasks()
    outputs = a_generator(outer, module)
    next(outputs)
    with inner:
        module(X)
        next(outputs)
        with pytest.raises(RuntimeError, match="leave it before the yield"):
            next(outputs)
        module(X)
    assert len(inner) == 3
    assert len(outer) == 0
    assert source.get() is chance
    # It begins last, and ends last.
    outer, inner = nn.DropoutMasks(), nn.DropoutMasks()
    outputs = a_generator(inner, module)
    with pytest.raises(RuntimeError, match="in another order than it began"), outer:
        next(outputs)
    outputs.close()
    assert source.get() is chance
    # Two generators, turn by turn.
    first, second = (a_generator(nn.DropoutMasks(), module) for _ in range(2))
    with pytest.raises(RuntimeError, match="masks of several blocks were mixed up"):
        for _ in zip(first, second, strict=True):
            pass
    second.close()
    assert source.get() is chance


@pytest.mark.parametrize("order", ["abc", "aac"])
def test_the_outermost_of_three_blocks_may_end_first(order):
    masks = {name: nn.DropoutMasks() for name in order}
    first, second, third = (masks[name] for name in order)

    def run():
        for block in first, second, third:
            block.__enter__()
        with pytest.raises(RuntimeError, match="in another order than it began"):
            first.__exit__(None)
        assert source.get().store is third
        third.__exit__(None)
        assert source.get().store is second
        second.__exit__(None)
        assert source.get() is chance

    contextvars.copy_context().run(run)


def test_a_block_that_ends_in_another_context_is_an_error():
    masks = nn.DropoutMasks()
    context = contextvars.copy_context()
    context.run(masks.__enter__)
    with pytest.raises(RuntimeError, match="in another context"):
        masks.__exit__(None)
    assert source.get() is chance


def test_masks_are_kept_where_p_changes():
    module, masks = nn.Dropout(0.5), nn.DropoutMasks()
    with masks:
        module(X)
    module.p = 0.75
    with masks:
        np.testing.assert_array_equal(module(X).data, 4 * X * masks[0])


def test_two_first_passes_at_once_are_an_error():
    masks = nn.DropoutMasks()
    module = nn.Dropout(0.5)
    with pytest.raises(RuntimeError, match="two passes drew masks at once"), masks:
        masks.hold(module)(X)
    assert source.get() is chance
    # But one that has its masks may begin again within itself.
    with masks:
        module(X)
        with masks:
            module(X)


def test_tasks_have_blocks_of_their_own():
    module = nn.Dropout(0.5)
    masks = [nn.DropoutMasks([np.full(X.shape, kept)]) for kept in (True, False)]

    async def run(masks):
        with masks:
            await asyncio.sleep(0)
            return module(X).data.any()

    async def run_both():
        return await asyncio.gather(*map(run, masks))

    assert asyncio.run(run_both()) == [True, False]


def test_what_was_begun_in_a_block_and_outlives_it_changes_nothing():
    module = nn.Dropout(0.5)
    masks = nn.DropoutMasks()
    with masks:
        expected = module(X).data
        context = contextvars.copy_context()  # as asyncio.create_task does
    context.run(module, X)
    assert len(masks) == 1
    np.testing.assert_array_equal(masks.hold(module)(X).data, expected)


def test_threads_may_share_masks():
    module = nn.Dropout(0.5)
    net = two_calls(module)
    masks = nn.DropoutMasks()
    expected = masks.hold(net)(X).data
    failures, done = [], []

    def work():
        for _ in range(50):
            if not np.array_equal(masks.hold(net)(X).data, expected):
                failures.append("other masks")
        done.append(True)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(done) == 4


def test_one_mask_over_the_steps_of_a_loop():
    """Variational dropout of a recurrent net that is written by hand."""
    cell, dropout = nn.Linear(3, 3, dtype=np.float64), nn.Dropout(0.5)
    seen = []

    def run(x):
        h = np.zeros((2, 3))
        masks = nn.DropoutMasks()
        for _ in range(4):
            with masks:
                h = np.tanh(cell(dropout(h) + x))
            seen.append(dropout.mask)
        return h

    x = np.linspace(-1, 1, 6).reshape(2, 3)
    run(x)
    assert all(mask is seen[0] for mask in seen)
    run(x)
    assert not np.array_equal(seen[0], seen[-1])
    assert gradcheck(nn.DropoutMasks().hold(run), x, order=2)


class Held(nn.Module):
    def __init__(self, layer, registered=True):
        if registered:
            self.layer = layer
        self.call = nn.DropoutMasks().hold(layer)

    def forward(self, x):
        return self.call(x)


def test_a_copy_of_a_module_holds_its_own_layer():
    net = Held(nn.Linear(2, 2, dtype=float))
    other = copy.deepcopy(net)
    other(np.ones((1, 2))).sum().backward()
    np.testing.assert_array_equal(other.layer.bias.grad, [1, 1])
    assert net.layer.bias.grad is None


def test_a_layer_that_is_held_here_only_is_an_error():
    with pytest.raises(TypeError, match="holds a Linear that is not found there"):
        list(Held(nn.Linear(2, 2), registered=False).parameters())
