"""A page of pictures: what dropout does to a net, which units it takes, what the net learns.

    python examples/gallery.py              # writes gallery/index.html and opens nothing

The pictures need matplotlib, the page that plays a backward pass the extra ``visual``.
"""

import argparse
import html
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from microgrand import manual_seed, nn, no_grad
from microgrand.data import batches, load_digits
from microgrand.nn.functional import cross_entropy, softmax
from microgrand.optim import Adam

try:
    from matplotlib.figure import Figure
except ImportError:
    sys.exit("The gallery draws with matplotlib: pip install matplotlib")

RATES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
COLORS = "PuOr"
UNITS = 32  # of each hidden layer

# ------------------------------------------------------------------------------- two moons


def two_moons(n, noise, rng):
    """Return points on two half circles that reach into each other, and their classes."""
    angle = rng.uniform(0, np.pi, n)
    labels = np.arange(n) % 2
    x = np.where(labels == 0, np.cos(angle), 1 - np.cos(angle))
    y = np.where(labels == 0, np.sin(angle), 0.5 - np.sin(angle))
    points = np.stack([x, y], axis=1) + rng.normal(0, noise, (n, 2))
    return points.astype(np.float32), labels


def train_on_moons(points, labels, p, steps):
    """Train a net that could learn every point by heart."""
    manual_seed(0)
    net = nn.Sequential(
        nn.Linear(2, UNITS),
        nn.ReLU(),
        nn.Dropout(p),
        nn.Linear(UNITS, UNITS),
        nn.ReLU(),
        nn.Dropout(p),
        nn.Linear(UNITS, 2),
    )
    optimizer = Adam(net.parameters(), lr=0.005)
    for _ in range(steps):
        optimizer.zero_grad()
        cross_entropy(net(points), labels).backward()
        optimizer.step()
    return net


GRID_X, GRID_Y = np.meshgrid(np.linspace(-1.6, 2.6, 100), np.linspace(-1.2, 1.7, 70))
GRID = np.stack([GRID_X.ravel(), GRID_Y.ravel()], axis=1).astype(np.float32)


def probability(net):
    """Return the probability of the second class on a grid of points."""
    with no_grad():
        return softmax(net(GRID)).numpy()[:, 1].reshape(GRID_X.shape)


def show_boundary(panel, values, points, labels, title):
    """Draw how sure a net is where, the line where it is undecided, and the points."""
    panel.contourf(GRID_X, GRID_Y, values, np.linspace(0, 1, 11), cmap=COLORS, alpha=0.8)
    panel.contour(GRID_X, GRID_Y, values, [0.5], colors="black", linewidths=1.2)
    panel.scatter(*points.T, c=labels, cmap=COLORS, s=7, edgecolors="black", linewidths=0.3)
    panel.set(xticks=[], yticks=[], title=title)


def draw_thinned_nets(folder, points, labels, steps):
    """Draw the boundary of the whole net, of eight thinned ones, and of their average."""
    net = train_on_moons(points, labels, 0.5, steps)
    figure = Figure(figsize=(12, 5.2), layout="constrained")
    panels = figure.subplots(2, 5).ravel()
    whole = probability(net.eval())
    show_boundary(panels[0], whole, points, labels, "the whole net (evaluation)")
    net.train()
    thinned = []
    for i in range(8):
        with nn.DropoutMasks(one_mask_for_all(net, i)):
            thinned.append(probability(net))
        show_boundary(panels[i + 1], thinned[i], points, labels, f"thinned net {i + 1}")
    many = [*thinned]
    for i in range(8, 64):
        with nn.DropoutMasks(one_mask_for_all(net, i)):
            many.append(probability(net))
    show_boundary(panels[9], np.mean(many, axis=0), points, labels, "average of 64 thinned nets")
    figure.savefig(folder / "thinned_nets.png", dpi=90)
    return float(np.abs(np.mean(many, axis=0) - whole).mean())


def one_mask_for_all(net, seed):
    """Return a mask for each dropout layer that takes the same units from every point."""
    rng = np.random.default_rng(seed)
    layers = [module for module in net.modules() if isinstance(module, nn.Dropout)]
    units = [rng.random(UNITS) >= layer.p for layer in layers]
    return [np.broadcast_to(kept, (len(GRID), UNITS)) for kept in units]


def draw_rates(folder, points, labels, steps):
    """Draw the boundary of nets that were trained with more and more dropout."""
    for p in RATES:
        net = train_on_moons(points, labels, p, steps).eval()
        figure = Figure(figsize=(5, 3.6), layout="constrained")
        show_boundary(figure.subplots(), probability(net), points, labels, f"p = {p}")
        figure.savefig(folder / f"moons_{RATES.index(p)}.png", dpi=90)


# ------------------------------------------------------------------------------------ masks


def masks_of(layer, x, calls):
    """Call a layer several times, and return what it let through, scaled to the input."""
    return [np.array(layer(x).numpy()) for _ in range(calls)]


def draw_masks(folder):
    """Draw what each kind of dropout takes, in four calls one after another."""
    ones = np.ones((8, 12), np.float32)
    channels = np.ones((4, 6, 8), np.float32)
    images = np.ones((2, 4, 4, 4), np.float32)
    residual = np.ones((8, 12), np.float32)
    kinds = (
        ("Dropout: units", nn.Dropout(0.5), ones),
        ("Dropout(shared_axes=0):\none mask for all rows", nn.Dropout(0.5, shared_axes=0), ones),
        ("Dropout1d: whole rows\nof a sequence", nn.Dropout1d(0.5), channels),
        ("Dropout2d: whole\nchannels", nn.Dropout2d(0.5), images),
        ("DropPath: whole\nexamples", nn.DropPath(0.5), residual),
        ("WordDropout: rows of the\nembedding, words", nn.WordDropout(0.5), ones),
        ("GaussianDropout:\nnoise, nothing is zero", nn.GaussianDropout(0.5), ones),
        ("AlphaDropout: another\nvalue, not zero", nn.AlphaDropout(0.3), ones),
    )
    figure = Figure(figsize=(9, 12), layout="constrained")
    rows = figure.subplots(len(kinds), 4)
    for panels, (title, layer, x) in zip(rows, kinds, strict=True):
        for i, (panel, out) in enumerate(zip(panels, masks_of(layer, x, 4), strict=True)):
            if out.ndim == 4:  # channels side by side, images below each other
                out = np.concatenate([np.concatenate([*image], axis=1) for image in out])
            shown = out.reshape(-1, out.shape[-1])
            panel.imshow(shown, cmap="cividis", vmin=min(0, shown.min()), aspect="auto")
            panel.set(xticks=[], yticks=[])
            if i == 0:
                panel.set_ylabel(title, rotation=0, ha="right", va="center")
    for i, panel in enumerate(rows[0]):
        panel.set_title(f"call {i + 1}")
    figure.savefig(folder / "masks.png", dpi=80)


# ------------------------------------------------------------------------------------ features


def draw_features(folder, epochs):
    """Draw what the hidden units of an autoencoder of digits look for, without and with dropout.

    After Srivastava et al. (2014), figure 7: alone, few units see anything; with dropout, each one
    must be of use without its neighbours.
    """
    images = load_digits()[0].reshape(-1, 64)
    figure = Figure(figsize=(10, 5.4), layout="constrained")
    agreements = []
    for part, p in zip(figure.subfigures(1, 2), (0.0, 0.5), strict=True):
        manual_seed(0)
        net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(p), nn.Linear(64, 64))
        net[0].weight.data *= 0.1  # what is not learned should be invisible
        optimizer = Adam(net.parameters(), lr=0.002)
        rng = np.random.default_rng(0)
        loss_of = nn.MSELoss()
        for _ in range(epochs):
            for (x,) in batches(images, batch_size=50, rng=rng):
                optimizer.zero_grad()
                loss_of(net(x), x).backward()
                optimizer.step()
        weights = net[0].weight.data.reshape(-1, 8, 8)
        agreements.append(agreement(weights))
        part.suptitle("without dropout" if p == 0 else f"with dropout, p = {p}")
        most = abs(weights).max() / 2
        for panel, weight in zip(part.subplots(8, 8).ravel(), weights, strict=True):
            panel.imshow(weight, cmap=COLORS, vmin=-most, vmax=most)
            panel.set(xticks=[], yticks=[])
    figure.savefig(folder / "features.png", dpi=80)
    return agreements


def agreement(weights):
    """Return the correlation of a unit's weights with those one pixel beside, over all units."""
    here = np.concatenate([weights[:, :, 1:].ravel(), weights[:, 1:].ravel()])
    beside = np.concatenate([weights[:, :, :-1].ravel(), weights[:, :-1].ravel()])
    return float(np.corrcoef(here, beside)[0, 1])


# ---------------------------------------------------------------------------------------- page


def write_backward(folder):
    """Write the graph of a small loss, and the page that plays it; tell whether that worked."""
    from microgrand.visual import graph, stepper

    manual_seed(3)
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 2))
    x = np.random.default_rng(0).normal(size=(4, 3))
    loss = cross_entropy(net(x), np.array([0, 1, 1, 0]))
    try:
        graph(loss, net, names={"x": x, "loss": loss}).save(folder / "graph.svg")
        stepper(loss, folder / "backward.html", net, names={"x": x, "loss": loss})
    except ImportError as error:
        print(error)
        return False
    return True


def write_page(folder, difference, agreements, played):
    """Write the page around the pictures."""
    sections = [
        (
            "One net is many",
            "A net that could learn 160 points by heart was trained with dropout. Each mask leaves "
            "a thinned net with a boundary of its own. The whole net, with all its units, is "
            "close to their average: the probabilities differ by "
            f"{difference:.3f} in the mean over the picture.",
            picture("thinned_nets.png", "Decision boundaries of the whole net, thinned nets, mean"),
        ),
        (
            "How much dropout",
            "The same net, trained with more and more of it. Without dropout, the boundary bends "
            "around single points; with too much, it no longer follows the two moons.",
            '<label for="rate">p = <output id="p">0.5</output></label> <input id="rate" '
            f'type="range" min="0" max="{len(RATES) - 1}" value="{RATES.index(0.5)}">'
            + picture(f"moons_{RATES.index(0.5)}.png", "Decision boundary of the net", "moons"),
        ),
        (
            "What each kind takes",
            "Four calls of each layer on an input of ones, with a mask of its own for each call. "
            "Dark is zero, and what is kept is enlarged, so that the mean stays. The last two "
            "rows are others: GaussianDropout's noise is darker the smaller it is, and where "
            "AlphaDropout drops, dark is a negative value.",
            picture("masks.png", "Outputs of eight kinds of dropout in four calls each"),
        ),
        (
            "What the units learn",
            "The weights of the hidden units of an autoencoder of digits. Without dropout, a unit "
            "need not mean anything by itself; with it, it must be of use whatever else is there. "
            "The correlation of neighbouring weights, near 0 for noise, is "
            f"{agreements[0]:.2f} without dropout and {agreements[1]:.2f} with it. Pale units have "
            "weights near 0.",
            picture("features.png", "Weights of 64 hidden units without and with dropout"),
        ),
    ]
    if played:
        sections.append(
            (
                "The way back",
                'The graph of a loss, and <a href="backward.html">the same, played step by step'
                "</a>: see where the mask zeroes units, forward and backward.",
                picture("graph.svg", "Graph of a small net with dropout"),
            )
        )
    body = "".join(
        f"<section><h2>{title}</h2><p>{text}</p>{content}</section>"
        for title, text, content in sections
    )
    rates = str(list(RATES))
    (folder / "index.html").write_text(PAGE.format(body=body, rates=rates), encoding="utf-8")


def picture(name, text, identity=""):
    """Write the element of a picture."""
    identity = f' id="{identity}"' if identity else ""
    return f'<img src="{name}" alt="{html.escape(text)}"{identity}>'


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>What dropout does</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root{{color-scheme:light dark}}
body{{max-width:70rem;margin:0 auto;padding:1rem;font:1rem/1.5 system-ui,sans-serif;
background:Canvas;color:CanvasText}}
img{{max-width:100%;height:auto;display:block;background:white}}
p{{max-width:42rem}}input{{vertical-align:middle;min-width:12rem}}
</style></head><body><main><h1>What dropout does</h1>{body}</main>
<script>
const rates={rates},slider=document.getElementById("rate");
slider.oninput=()=>{{document.getElementById("moons").src=`moons_${{slider.value}}.png`;
document.getElementById("p").textContent=rates[slider.value];}};
</script></body></html>
"""


def main(argv=None):
    """Draw all pictures and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("gallery"),
        help="where the page is written; made if missing",
    )
    parser.add_argument("--steps", type=int, default=1500, help="training steps on the two moons")
    parser.add_argument("--epochs", type=int, default=60, help="passes over the digits")
    options = parser.parse_args(argv)
    if options.steps < 1 or options.epochs < 1:
        parser.error("--steps and --epochs are at least 1")
    folder = options.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--folder: {error}")
    points, labels = two_moons(160, 0.25, np.random.default_rng(1))
    difference = draw_thinned_nets(folder, points, labels, options.steps)
    draw_rates(folder, points, labels, options.steps)
    draw_masks(folder)
    agreements = draw_features(folder, options.epochs)
    write_page(folder, difference, agreements, write_backward(folder))
    print(f"The page is {folder / 'index.html'}.")


if __name__ == "__main__":
    main()
