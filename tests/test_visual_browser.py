"""The stepper in a real browser: its steps are right, keys work, everyone can use it."""

import importlib.util
import os
import shutil

import numpy as np
import pytest

from microgrand import Tensor, compile, manual_seed, nn, optim
from microgrand.nn import functional as F
from microgrand.visual import boxes as graph_of
from microgrand.visual import graph, program, stepper
from microgrand.visual.steps import steps_of

NEEDED = ("igraph", "playwright", "axe_core_python")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
if MISSING or BROWSER is None:
    reason = f"not tested in a browser: {', '.join(MISSING) or 'chromium'} is not installed"
    pytest.skip(reason, allow_module_level=True)

from axe_core_python.sync_playwright import Axe  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as player:
        options = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        try:
            opened = player.chromium.launch(executable_path=BROWSER, args=options)
        except Exception as error:  # a browser that is there, but cannot run here
            pytest.skip(f"not tested in a browser: {str(error).splitlines()[0]}")
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def net_and_steps(tmp_path_factory):
    """A page of a net with dropout, and what the engine says of its steps."""
    manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 2))
    x = np.random.default_rng(0).normal(size=(5, 3))
    loss = F.cross_entropy(net(x), np.array([0, 1, 0, 1, 1]))
    folder = tmp_path_factory.mktemp("pages")
    names = {"x": x, "<img src=x onerror=alert(1)>": loss}
    stepper(loss, folder / "stepper.html", net, names=names)
    graph(loss, net).save(folder / "graph.html")
    return folder, net, steps_of(loss, graph_of.boxes_of(loss, net, names))


def opened(browser, path, **options):
    """Open a page; collect what goes wrong, and what it asks the network for."""
    page = browser.new_page(**options)
    page.troubles = []
    page.on("pageerror", lambda error: page.troubles.append(str(error)))
    page.on("dialog", lambda dialog: page.troubles.append(dialog.message))
    page.on(
        "request", lambda r: r.url.startswith(("file:", "data:")) or page.troubles.append(r.url)
    )
    page.goto(path.as_uri())
    return page


def sentence(page):
    return page.inner_text("#sentence")


def numbers(page, head):
    """The numbers of the table below the first line that begins with a text."""
    line = page.locator(".head", has_text=head).first
    table = page.locator(f"table[aria-labelledby={line.get_attribute('id')}]")
    return [[float(x) for x in row.split("\t")] for row in table.inner_text().splitlines()]


def test_every_step_shows_the_engines_numbers(browser, net_and_steps):
    folder, _, steps = net_and_steps
    page = opened(browser, folder / "stepper.html")
    for i, step in enumerate(steps):
        assert sentence(page).startswith(f"Step {i + 1} of {len(steps)}. ")
        assert step.box.name in sentence(page)
        if step.cotangent is None:
            shown, expected = numbers(page, step.box.name), step.box.array
        else:
            head = "g, its cotangent" if step.gifts else "d loss / d"
            shown, expected = numbers(page, head), step.cotangent
        np.testing.assert_allclose(shown, np.atleast_2d(expected), rtol=0.006)
        for gift in step.gifts:
            shown = numbers(page, f"adds to the cotangent of {gift.to.name}")
            np.testing.assert_allclose(shown, np.atleast_2d(gift.contribution), rtol=0.006)
        page.keyboard.press("ArrowRight")
    assert not page.troubles
    page.close()


def test_the_mask_is_drawn_over_the_same_units_both_ways(browser, net_and_steps):
    folder, net, steps = net_and_steps
    mask = list(net.modules())[3].mask
    at = [i for i, step in enumerate(steps) if step.box.layer == "2"]
    page = opened(browser, folder / "stepper.html")
    for i, head in zip(at, (steps[at[0]].box.name, "adds to the cotangent"), strict=True):
        page.evaluate("i => go(i)", i)
        line = page.locator(".head", has_text=head).last
        cells = page.locator(f"table[aria-labelledby={line.get_attribute('id')}] td")
        kinds = [cell.get_attribute("class") == "dropped" for cell in cells.all()]
        np.testing.assert_array_equal(np.reshape(kinds, mask.shape), ~mask)
        assert f"{int((~mask).sum())}" in sentence(page)
    assert "does not depend on it through here: the gradient that it gets is 0" in sentence(page)
    page.close()


def test_keys_alone_are_enough(browser, net_and_steps):
    folder, _, steps = net_and_steps
    page = opened(browser, folder / "stepper.html")
    last = f"Step {len(steps)} of {len(steps)}."
    for key, begins in (
        ("End", last),
        ("Home", "Step 1 of"),
        ("ArrowRight", "Step 2 of"),
        ("ArrowLeft", "Step 1 of"),
        ("ArrowLeft", "Step 1 of"),
    ):
        page.keyboard.press(key)
        assert sentence(page).startswith(begins)
    page.keyboard.press(" ")
    assert page.inner_text("#play") == "Pause"
    page.keyboard.press(" ")
    assert page.inner_text("#play") == "Play"
    page.focus("#turn")
    page.keyboard.press("Enter")
    assert "Backward begins" in sentence(page)
    page.focus("#box-1")
    page.keyboard.press(" ")  # chooses, as it does on every button
    assert page.inner_text("#play") == "Play"
    assert "0.weight is a leaf" in sentence(page)
    page.focus(f"#box-{len(page.locator('.mg g').all()) - 1}")
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    assert "mean_cross_entropy" in sentence(page)
    page.close()


def test_arrows_scroll_what_is_wider_than_its_frame(browser, net_and_steps):
    folder, _, _ = net_and_steps
    page = opened(browser, folder / "stepper.html", viewport={"width": 360, "height": 800})
    page.evaluate("document.getElementById('graph').scrollLeft = 0")
    page.focus("#graph")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.getElementById('graph').scrollLeft > 0")
    assert sentence(page).startswith("Step 1 of")
    page.close()


def test_a_long_name_does_not_widen_the_page(browser, tmp_path):
    x = Tensor([1.0, 2.0], requires_grad=True)
    stepper((x * x).sum(), tmp_path / "page.html", names={"x" * 200: x})
    page = opened(browser, tmp_path / "page.html", viewport={"width": 360, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.close()


def test_a_layer_of_a_long_name_opens_by_a_click(browser, tmp_path):
    class Net(nn.Module):
        def __init__(self):
            self.the_first_of_all_hidden_layers = nn.Linear(2, 2)
            self.the_first_of_all_heads = nn.Linear(2, 2)

        def forward(self, x):
            return self.the_first_of_all_heads(self.the_first_of_all_hidden_layers(x))

    net = Net()
    graph(net(np.ones((1, 2))).sum(), net).save(tmp_path / "graph.html")
    page = opened(browser, tmp_path / "graph.html")
    page.locator(".picture:visible .layer").last.click()
    pressed = page.locator("button[aria-pressed=true]")
    assert pressed.inner_text() == "open the_first_of_all_heads"
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360])
def test_axe_finds_nothing_and_a_phone_does_not_scroll_sideways(
    browser, net_and_steps, scheme, width
):
    folder, _, steps = net_and_steps
    for name in ("stepper", "graph"):
        page = opened(
            browser,
            folder / f"{name}.html",
            color_scheme=scheme,
            viewport={"width": width, "height": 800},
        )
        for i in (0, len(steps) - 3) if name == "stepper" else (0,):
            if name == "stepper":
                page.evaluate("i => go(i)", i)
            assert not Axe().run(page)["violations"]
        if width == 360 and name == "stepper":
            assert page.locator("#graph").bounding_box()["height"] <= 401  # half of the screen
        wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        assert page.evaluate(wide)
        assert not page.troubles
        page.close()


def test_a_folded_layer_opens_by_a_click(browser, net_and_steps):
    folder, _, _ = net_and_steps
    page = opened(browser, folder / "graph.html")
    assert page.locator(".picture:visible .layer").count() == 4
    page.locator(".picture:visible .layer").first.click()
    assert page.locator(".picture:visible .layer").count() == 3
    page.get_by_role("button", name="all open").click()
    assert page.locator(".picture:visible .layer").count() == 0
    page.close()


def test_a_line_of_a_program_shows_its_box_and_a_box_its_lines(browser, tmp_path):
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    x, labels = np.ones((5, 3), np.float32), np.array([0, 1, 0, 1, 1])

    def step(x, labels):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), labels)
        loss.backward()
        optimizer.step()

    compiled = compile(step)
    for _ in range(3):
        compiled(x, labels)
    program(compiled, F.cross_entropy(net(x), labels), tmp_path / "program.html", net)
    page = opened(browser, tmp_path / "program.html", viewport={"width": 1200, "height": 800})
    page.locator("#program button", has_text="_weight_grad =").first.click()
    assert "affine in 2" in sentence(page)
    chosen = page.locator(".mg .now")
    assert chosen.count() == 1
    page.locator("#program button", has_text="_weight_grad =").last.focus()
    page.keyboard.press("Enter")
    assert "affine in 0" in sentence(page)
    chosen.click()
    assert page.locator("#program .now").count() >= 4
    assert not Axe().run(page)["violations"]
    assert not page.troubles
    page.close()
