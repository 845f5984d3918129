"""Pictures of graphs: what they show, what they fold, and what cannot be drawn."""

import itertools
import json
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from microgrand import Tensor, compile, defvjp, manual_seed, nn, optim, primitive
from microgrand.nn import functional as F
from microgrand.visual import boxes as graph_of
from microgrand.visual import graph, program, stepper
from microgrand.visual.layout import HEIGHT, WIDTH, lay_out
from microgrand.visual.program import boxes_of_lines
from microgrand.visual.rules import text_of
from microgrand.visual.steps import steps_of

pytest.importorskip("igraph", reason="the extra visual is not installed")

SVG = "{http://www.w3.org/2000/svg}"


class Net(nn.Module):
    def __init__(self, p=0.5):
        self.hidden = nn.Linear(3, 4)
        self.act = nn.ReLU()
        self.drop = nn.Dropout(p)
        self.head = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))

    def forward(self, x):
        return self.head(self.drop(self.act(self.hidden(x))))


def make_loss(p=0.5):
    manual_seed(0)
    net = Net(p)
    x = np.random.default_rng(0).normal(size=(5, 3))
    return F.cross_entropy(net(x), np.array([0, 1, 0, 1, 1])), net, x


def texts(picture):
    """All texts of a picture, which must be well-formed."""
    return ["".join(text.itertext()) for text in ET.fromstring(picture.svg()).iter(f"{SVG}text")]


# ------------------------------------------------------------------------------------ graph


def test_a_picture_shows_names_shapes_values_and_gradients():
    loss, net, x = make_loss()
    loss.backward(retain_graph=True)
    shown = texts(graph(loss, net, names={"x": x}))
    assert {"x", "hidden.weight", "head.2.bias", "mean_cross_entropy", "(5, 4) float32"} <= {*shown}
    assert f"{loss.item():.4g}" in shown
    bias = net.head.parameters()
    gradient = list(bias)[-1].grad
    assert "grad " + " ".join(f"{g:.4g}" for g in gradient) in shown


def test_arrows_go_from_each_box_to_those_that_need_it():
    x = Tensor([1.0, 2.0], requires_grad=True)
    boxes = graph((x * x + np.sin(x)).sum()).boxes
    assert [box.title for box in boxes] == ["leaf", "multiply", "sin", "add", "sum"]
    assert [[source.title for source in box.inputs] for box in boxes] == [
        [],
        ["leaf", "leaf"],
        ["leaf"],
        ["multiply", "sin"],
        ["add"],
    ]


def test_layers_fold_and_open_again():
    loss, net, _ = make_loss()
    picture = graph(loss, net)
    assert set(picture.layers) == {"hidden", "act", "drop", "head", "head.0", "head.1", "head.2"}
    titles = [box.title for box in picture.fold().boxes]
    assert titles[:4] == ["hidden", "act", "drop", "head"]
    opened = picture.fold().unfold("head")
    assert {"head.0", "head.1", "head.2"} <= {box.title for box in opened.boxes}
    assert len(picture.fold("hidden").unfold().boxes) == len(picture.boxes)
    assert len(graph(loss, net, fold=["head"]).boxes) < len(picture.boxes)
    assert graph(loss, net, fold=(name for name in ["head"])).folded == ["head"]
    assert any("in 7 boxes" in text for text in texts(picture.fold()))


def test_a_layer_called_twice_is_no_cycle():
    layer = nn.Linear(2, 2)
    net = nn.Sequential(layer, nn.ReLU(), layer)
    picture = graph(net(np.ones((1, 2))).sum(), net)
    for boxes in (picture.boxes, picture.fold().boxes):
        done = set()
        for box in boxes:
            assert done.issuperset(box.inputs)
            done.add(box)


def test_what_lies_between_a_modules_values_belongs_to_it():
    class Gate(nn.Module):
        def __init__(self):
            self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x):
            return self.b(np.tanh(self.a(x)) * 2)

    class Outer(nn.Module):
        def __init__(self):
            self.gate = Gate()

        def forward(self, x):
            return np.sum(self.gate(x))

    net = Outer()
    layers = {box.title: box.layer for box in graph(net(np.ones((1, 2))), net).boxes}
    assert layers["tanh"] == layers["multiply, 2"] == "gate"
    assert layers["sum"] == ""


def test_a_long_graph_is_folded_with_a_note():
    x = Tensor(0.5, requires_grad=True)
    y = x
    for _ in range(700):
        y = np.sin(y)
    picture = graph(y)
    assert len(picture.boxes) <= graph_of.LEGIBLE
    assert texts(picture)[-1].startswith("701 values in ")


def test_nan_infinity_empty_and_single_numbers_are_shown():
    x = Tensor([np.nan, np.inf, 1.0, 2.0, 3.0], requires_grad=True)
    assert "1 to 3, 1 nan, 1 inf" in texts(graph(x * 1.0))
    assert "empty" in texts(graph(Tensor(np.ones((0, 3)), requires_grad=True) * 2))
    assert "number float64" in texts(graph(Tensor(2.0, requires_grad=True) * 3))
    everything = Tensor(np.full(9, np.nan), requires_grad=True)
    assert "9 nan" in texts(graph(everything * 1.0))


def test_values_of_every_shape_and_type_have_a_page(tmp_path):
    float16 = np.ones((2, 2), np.float16)
    long = np.ones(5, np.longdouble)
    for values in (np.ones((2, 3, 0)), np.ones((2, 0, 3)), np.ones(0), np.ones(()), float16, long):
        loss = (Tensor(values, requires_grad=True) * 2).sum()
        stepper(loss, tmp_path / "page.html")
        shape = json.loads(data_of(tmp_path / "page.html"))["boxes"][0]["value"]["shape"]
        assert tuple(shape) == values.shape
    x = Tensor(np.ones(6), requires_grad=True)
    loss = np.abs(np.exp(1j * x)).sum()
    stepper(loss, tmp_path / "page.html")
    assert "complex" in texts(graph(loss))


def data_of(path):
    """The data of a page, as text."""
    return path.read_text(encoding="utf-8").split('id="data">')[1].split("</script>")[0]


def test_boxes_do_not_overlap_and_arrows_go_down():
    loss, net, _ = make_loss()
    boxes = graph(loss, net).boxes
    layout = lay_out(boxes)
    for box in boxes:
        x, y = layout.corners[box]
        for other in boxes:
            other_x, other_y = layout.corners[other]
            apart = abs(x - other_x) >= WIDTH or abs(y - other_y) >= HEIGHT
            assert box is other or apart
    for points in layout.arrows:
        assert all(y < below for (_, y), (_, below) in itertools.pairwise(points))


def test_a_folded_layer_has_its_arrows_and_its_gradient():
    x = Tensor(np.ones((2, 3)), requires_grad=True)
    net = nn.Sequential(nn.Linear(3, 2))
    out = net(x.astype(np.float32)).retain_grad()
    out.sum().backward(retain_graph=True)
    folded = graph(out.sum(), net, fold=True)
    layer = next(box for box in folded.boxes if box.kind == "layer")
    assert [source.title for source in layer.inputs] == ["cast"]
    np.testing.assert_array_equal(layer.grad, np.ones((2, 2)))
    assert folded.dot().count(" -> ") == 3


def test_of_a_long_array_the_beginning_is_shown(tmp_path):
    x = Tensor(np.ones((50, 40)), requires_grad=True)
    stepper((x * 2).sum(), tmp_path / "page.html")
    rows = json.loads(data_of(tmp_path / "page.html"))["boxes"][0]["value"]["rows"]
    assert (len(rows), len(rows[0])) == (12, 16)


def test_a_layer_within_another_has_a_picture_that_opens_both(tmp_path):
    net = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.Linear(2, 2))
    graph(net(np.ones((1, 2), np.float32)).sum(), net).save(tmp_path / "page.html")
    picture = (tmp_path / "page.html").read_text().split('id="picture-1"')[1].split("</svg>")[0]
    assert "0.0.weight" in picture


def test_an_input_is_named_by_its_values_and_a_parameter_is_not():
    net = nn.Linear(2, 2)
    net.bias.data[:] = 0
    x = np.array([[np.nan, 1.0]])
    names = {"z": np.array([1j]), "zeros": np.zeros(2), "x": x}
    titles = [box.title for box in graph(net(x).sum(), names=names).boxes]
    assert titles == ["x", "leaf", "leaf", "affine", "sum"]


def test_constants_are_called_as_the_rule_calls_them():
    loss, net, _ = make_loss()
    names = {box.name for box in graph(loss, net).boxes if box.kind == "constant"}
    masks = {"mask in act (ReLU)", "mask in drop (Dropout)", "mask in head.1 (ReLU)"}
    assert names == masks | {"one_hot", "log_probabilities"}


def test_two_pictures_may_stand_in_one_page():
    loss, net, _ = make_loss()
    assert " id=" not in graph(loss, net)._repr_svg_()


def test_a_page_of_many_layers_has_no_picture_for_each(tmp_path):
    net = nn.Sequential(*[nn.Linear(1, 1) for _ in range(60)])
    graph(net(np.ones((1, 1), np.float32)).sum(), net).save(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") == page.count("<button") == 2


@pytest.mark.parametrize(
    "name", ["@data@", "@graph@", "{buttons}", "a\x00\x1b[1m", "\ud800", "é 🎉"]
)
def test_names_of_all_letters_leave_files_as_they_should_be(tmp_path, name):
    x = Tensor([1.0, 2.0], requires_grad=True)
    loss = (x * x).sum()
    picture = graph(loss, names={name: x})
    for suffix in (".svg", ".html", ".dot"):
        picture.save(tmp_path / f"graph{suffix}")
    ET.parse(tmp_path / "graph.svg")
    stepper(loss, tmp_path / "page.html", names={name: x})
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in name)
    assert json.loads(data_of(tmp_path / "page.html"))["boxes"][0]["name"] == shown
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<svg") == page.count('"boxes":') == 1


def test_names_are_text_everywhere(tmp_path):
    x = Tensor([1.0, 2.0], requires_grad=True)
    name = '<script>alert("1")</script>\\'
    picture = graph((x * x).sum(), names={name: x})
    assert name[:16] in "".join(texts(picture))
    for suffix in (".svg", ".html", ".dot"):
        picture.save(tmp_path / f"graph{suffix}")
    stepper((x * x).sum(), tmp_path / "page.html", names={name: x})
    for path in tmp_path.iterdir():
        content = path.read_text()
        assert "<script>alert" not in content or path.suffix == ".dot"
    assert '\\"' in (tmp_path / "graph.dot").read_text()


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: graph(3), TypeError, "expected a tensor"),
        (lambda: graph(Tensor([1.0])), ValueError, "no graph"),
        (lambda: graph(freed()), ValueError, "retain_graph=True"),
        (lambda: graph(make_loss()[0], 3), TypeError, "Module"),
        (lambda: graph(make_loss()[0], fold=["a"]), ValueError, "give graph() the model"),
        (lambda: graph(make_loss()[0], fold="a"), TypeError, "list of names"),
        (lambda: graph(make_loss()[0], fold=3), TypeError, "True, False or a list of names"),
        (lambda: graph(make_loss()[0], names=["x"]), TypeError, "a dict such as"),
        (lambda: graph(make_loss()[0], names={"x": "y"}), TypeError, "got str for 'x'"),
        (lambda: graph(make_loss()[0], names={"x": None}), TypeError, "got NoneType for 'x'"),
        (lambda: graph(*make_loss()[:2]).unfold("b"), ValueError, "no layer 'b'"),
        (lambda: graph(make_loss()[0]).save("x.png"), ValueError, ".svg, .html, .dot"),
        (lambda: stepper(make_loss()[0], "x.txt"), ValueError, ".html"),
        (lambda: stepper(chain(3, np.ones(2)), "x.html"), ValueError, "scalar"),
        (lambda: stepper(chain(300, 1.0), "x.html"), ValueError, "301 values"),
    ],
)
def test_what_cannot_be_drawn_says_so(call, kind, words):
    with pytest.raises(kind, match=re.escape(words)):
        call()


def freed():
    loss = make_loss()[0]
    loss.backward()
    return loss


def chain(length, start):
    x = Tensor(start, requires_grad=True)
    for _ in range(length):
        x = np.sin(x)
    return x


# ------------------------------------------------------------------------------------- steps


def test_steps_show_the_engines_own_numbers():
    """All contributions to a value add up to its cotangent; leaves end with their gradients."""
    loss, net, x = make_loss()
    boxes = graph_of.boxes_of(loss, net, {"x": x})
    steps = steps_of(loss, boxes)
    given = {}
    for step in steps:
        if step.cotangent is None:
            continue
        if step.uses:
            np.testing.assert_array_equal(given[step.box].total, step.cotangent)
            assert given[step.box].waits == 0
        for gift in step.gifts:
            given[gift.to] = gift
    loss.backward()
    for step in steps:
        if step.cotangent is not None and step.box.kind == "leaf":
            np.testing.assert_array_equal(step.cotangent, step.box.node.grad)
    assert sum(step.cotangent is None for step in steps) == sum(b.kind == "value" for b in boxes)


def test_several_uses_add_up_and_are_waited_for():
    x = Tensor([1.0, 2.0], requires_grad=True)
    loss = (x * x + x).sum()
    gifts = [
        gift for step in steps_of(loss, graph_of.boxes_of(loss, None, {})) for gift in step.gifts
    ]
    to_x = [gift for gift in gifts if gift.to.kind == "leaf"]
    assert [gift.waits for gift in to_x] == [2, 1, 0]
    np.testing.assert_array_equal(to_x[-1].total, [3.0, 5.0])
    assert x.grad is None


def test_the_mask_is_shown_both_ways():
    loss, net, _ = make_loss()
    boxes = graph_of.boxes_of(loss, net, {})
    masks = [step for step in steps_of(loss, boxes) if step.box.layer == "drop"]
    assert len(masks) == 2
    for step in masks:
        np.testing.assert_array_equal(step.mask, net.drop.mask)
    back = masks[1].gifts[0].contribution
    assert not np.any(back[~net.drop.mask])


def test_a_choice_is_no_mask_unless_it_puts_zeros():
    x, y = (Tensor([1.0, 2.0, 3.0], requires_grad=True) for _ in range(2))
    chosen = np.array([True, False, True])
    for other, expected in ((y, None), (-np.inf, None), (0.0, chosen)):
        loss = np.sum(np.where(chosen, x, other))
        step = steps_of(loss, graph_of.boxes_of(loss, None, {}))[0]
        np.testing.assert_array_equal(step.mask, expected)


def test_rules_are_shown_as_they_stand_in_the_table():
    x = Tensor([1.0], requires_grad=True)
    w = Tensor(np.ones((1, 1)), requires_grad=True)
    cases = [
        (np.tanh(x), "g * (1 - out**2)"),
        (np.exp(x), "g * out"),
        (F.linear(x, w), "np.dot(g_rows.T, rows(x))"),
    ]
    for loss, rule in cases:
        loss = loss.sum()
        steps = steps_of(loss, graph_of.boxes_of(loss, None, {}))
        rules = [gift.rule for step in steps for gift in step.gifts]
        assert any(rule in shown for shown in rules), rules


def test_rules_of_users_are_found_by_their_code_too():
    double, triple = (lambda g, out, x: g * 2), (lambda g, out, x: g * 3)
    assert [text_of(double), text_of(triple)] == ["g * 2", "g * 3"]

    def several(g, out, x):
        """Say nothing of this."""
        twice = g + g
        return twice * x

    assert text_of(several) == "twice = g + g\ntwice * x"
    assert text_of(abs) == "abs"
    made = primitive(lambda x: x * 2.0)
    defvjp(made, eval("lambda g, out, x: g * 2.0"))
    loss = made(Tensor(1.0, requires_grad=True))
    steps = steps_of(loss, graph_of.boxes_of(loss, None, {}))
    assert steps[1].gifts[0].rule == "<lambda>"


def test_pages_are_small_and_changed_nothing(tmp_path):
    loss, net, x = make_loss()
    stepper(loss, tmp_path / "page.html", net, names={"x": x})
    page = (tmp_path / "page.html").read_text()
    assert len(page) < 300_000
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page
    assert all(parameter.grad is None for parameter in net.parameters())
    loss.backward()


# ----------------------------------------------------------------------------------- program


class Functional(nn.Module):
    def __init__(self):
        self.hidden, self.drop, self.head = nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.drop(F.relu(self.hidden(x))))


def compiled_step():
    manual_seed(0)
    net = Functional()
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    x, labels = np.ones((5, 3), np.float32), np.array([0, 1, 0, 1, 1])

    def step(x, labels):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    compiled = compile(step)
    for _ in range(3):
        compiled(x, labels)
    return compiled, F.cross_entropy(net(x), labels), net


def test_each_line_of_a_program_finds_its_box():
    compiled, loss, net = compiled_step()
    boxes = graph_of.boxes_of(loss, net, {})
    found = boxes_of_lines(compiled.origins, boxes)
    lines = compiled.source.splitlines()
    names = {lines[i].strip().split(" = ")[0]: boxes[box].name for i, box in found.items()}
    assert names["drop_mask"] == "apply_mask in drop (Dropout)"
    assert names["head_weight_grad"] == names["head_bias_grad"] == "affine in head (Linear)"
    assert names["hidden_weight_grad"] == "affine in hidden (Linear)"
    relu = [boxes[box].name for i, box in found.items() if "np.less_equal" in lines[i]]
    assert relu == ["apply_mask"]
    updates = {boxes[box].name for box in found.values() if boxes[box].kind == "leaf"}
    assert updates == {name for name, _ in net.named_parameters()}


def test_a_page_of_a_program_has_all_of_it(tmp_path):
    compiled, loss, net = compiled_step()
    program(compiled, loss, tmp_path / "program.html", net)
    page = (tmp_path / "program.html").read_text()
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert [line for line, _ in data["lines"]] == compiled.source.splitlines()
    with pytest.raises(TypeError, match=r"microgrand\.compile"):
        program(len, loss, tmp_path / "program.html")
    with pytest.raises(RuntimeError, match="twice"):
        program(compile(np.sin), loss, tmp_path / "program.html")
