"""The comparisons: what is done, by whom, and what microgrand should reach."""

from __future__ import annotations

from dataclasses import dataclass, field

#: Everyone that microgrand can be compared with, beside hand-written NumPy.
PEERS = (
    *("microgrand-compiled", "microgrand-numba", "torch", "torch-compiled", "jax", "mygrad"),
    *("autograd", "tangent"),
)
#: Those that keep a graph of single operations.
RECORDERS = ("microgrand", "torch", "mygrad", "autograd")


@dataclass(frozen=True)
class Case:
    """One comparison of microgrand with others.

    `task` and `arguments` are what every contender, microgrand and the `others`, is asked to make.
    """

    title: str
    task: str
    arguments: dict
    others: tuple[str, ...]
    #: The ratio of microgrand's time (and memory) to the other's is to be at most this.
    targets: dict[str, float] = field(default_factory=dict)
    #: The same for microgrand's compiled steps.
    compiled_targets: dict[str, float] = field(default_factory=dict)
    #: The same for those that Numba compiles.
    numba_targets: dict[str, float] = field(default_factory=dict)
    #: How many operations a step consists of: time and memory are given for one of them.
    operations: int = 1
    #: Seconds that an operation may take longer than NumPy's; measured instead of ratios.
    overhead_target: float | None = None
    #: Measure a graph's memory, too, after a small one has warmed up: made with these arguments.
    small_graph: dict | None = None
    #: Bytes of mask that an element may cost.
    mask_target: float | None = None
    #: Whether the number of threads could matter.
    threaded: bool = True
    #: The scaling series that this is a point of, and the point.
    series: tuple[str, int] | None = None


TINY = {"widths": [2, 16, 16, 2], "batch": 32}
MID = {"widths": [64, 128, 128, 10], "batch": 64}
BIG = {"widths": [784, 1024, 1024, 10], "batch": 128}


def training(net, targets, compiled_targets, numba_targets=None):
    shape = "-".join(map(str, net["widths"]))
    title = f"training {shape}, batch {net['batch']}"
    others = ("numpy", *PEERS, "numpy products")
    return Case(title, "training", net, others, targets, compiled_targets, numba_targets or {})


def chain(length, shape, others, targets, series=None):
    return Case(
        f"chain of {length}, shape {tuple(shape)}",
        "chain",
        {"length": length, "shape": shape},
        others,
        targets,
        operations=length,
        small_graph={"length": 1000},
        threaded=False,
        series=series,
    )


def overhead(title, task, arguments, operations):
    return Case(
        title,
        task,
        arguments,
        ("numpy",),
        operations=operations,
        overhead_target=1e-6,
        threaded=False,
    )


def scaling(name, at, widths, batch):
    return Case(
        f"training, {name} {at}",
        "training",
        {"widths": widths, "batch": batch},
        ("numpy", "torch", "jax"),
        small_graph={"widths": [64, 16, 16, 10], "batch": 16},
        series=(name, at),
    )


#: From the names on the command line to the cases.
BENCHMARKS = {
    "tiny": [
        training(
            TINY,
            {"torch": 0.40, "numpy": 1.6, "jax": 1.0},
            {"torch": 0.15, "numpy": 0.60, "jax": 0.40},
            {"torch": 0.03, "numpy": 0.15, "jax": 0.10},
        )
    ],
    "mid": [
        training(
            MID,
            {"torch": 0.50, "numpy": 1.2, "jax": 1.0},
            {"torch": 0.27, "numpy": 0.80, "jax": 0.55},
            {"torch": 0.25, "numpy": 0.75, "jax": 0.50},
        )
    ],
    "big": [
        training(
            BIG,
            {"torch": 0.75, "numpy": 0.90, "jax": 1.1, "numpy products": 1.3},
            {"torch": 0.75, "numpy": 0.95, "jax": 1.0},
        )
    ],
    "dropout": [
        Case(
            "dropout of a million, forward and backward",
            "dropout",
            {"size": 1_000_000},
            ("microgrand-compiled", "torch", "torch-compiled"),
            {"torch": 0.15},
            mask_target=1.0,
        )
    ],
    "adam": [
        Case(
            "Adam, 1.86 million parameters",
            "adam",
            {"widths": BIG["widths"]},
            (
                *("microgrand-compiled", "torch", "torch foreach", "torch fused"),
                "torch-compiled",
            ),
            {"torch": 1.0, "torch foreach": 1.0, "torch fused": 4.0},
            {"torch foreach": 1.0},
        )
    ],
    "runge-kutta": [
        Case(
            "gradient of 200 steps of Runge and Kutta",
            "runge-kutta",
            {"steps": 200},
            ("numpy", "microgrand-compiled", "microgrand-numba", "torch", "tangent"),
            compiled_targets={"numpy": 3.0, "torch": 0.05},
            numba_targets={"torch": 0.005},
            threaded=False,
        )
    ],
    "chain": [chain(100_000, shape, RECORDERS[1:], {"torch": 0.3}) for shape in ([4], [])],
    "no_grad": [
        overhead("no_grad chain, shape (4,)", "inference", {"length": 1000, "shape": [4]}, 1000),
        overhead("no_grad chain, shape ()", "inference", {"length": 1000, "shape": []}, 1000),
        overhead("no_grad tiny net, a layer", "prediction", TINY, 5),
    ],
    "import": [],  # no contenders that take turns: it is measured in its own way
    "length": [
        chain(10**digits, [4], ("torch",), {}, ("length", 10**digits)) for digits in (3, 4, 5, 6)
    ],
    "width": [scaling("width", n, [64, n, n, 10], 64) for n in (16, 64, 256, 1024)],
    "batch": [scaling("batch", n, MID["widths"], n) for n in (16, 64, 256, 1024, 4096)],
}
