"""Stage 13, modes: training is a state of the whole net."""

from __future__ import annotations

import numpy as np

from ..case import Plain
from ..compare import numbers
from ..stage import Fault, Stage

stage = Stage(
    number=13,
    name="modes",
    contract=("Module.train", "Module.eval"),
    lines=("Module.train", "Module.eval", "found_in"),
    needs=(9,),
    hints=(
        "Who else in the net has a mode?",
        "Every layer inside: set the mode of the net, then ask the layers in it to do the same, "
        "wherever parameters() finds them.",
        "One method walks through attributes, lists and dicts and sets `training`; "
        "`eval` is `self.train(False)`.",
    ),
    skeleton="""\
# Stage 13. Two more methods of Module:
#
#     def train(self, mode=True): ...  # of this module, and of all modules in it
#     def eval(self): ...
""",
)

D = "Dropout(0.5, rng={})"
NETS = {
    "a layer": D.format(1),
    "layers in a Sequential": f"Sequential({D.format(1)}, ReLU(), {D.format(2)})",
    "a nest": f"Sequential(ReLU(), Sequential(Sequential({D.format(1)}), ReLU()))",
}
PLACES = {
    "an attribute": ("self.a = drop", "self.a(x)"),
    "a list": ("self.a = [ReLU(), drop]", "self.a[1](x)"),
    "a tuple": ("self.a = (ReLU(), drop)", "self.a[1](x)"),
    "a dict": ("self.a = {'d': drop, 'n': 3}", "self.a['d'](x)"),
    "an attribute of an attribute": ("self.a = Sequential(drop)", "self.a(x)"),
    "a list in a list": ("self.a = [[drop]]", "self.a[0][0](x)"),
}


def nets(door, draw):
    """Yield a case for each net, and say where in it the Dropout is."""
    x = np.abs(numbers(draw, (8, 10)))
    for where in (*NETS, *(() if door.layer_style else PLACES)):
        yield a_net(door, where, x), where


def a_net(door, where, x):
    run = door.start(x=x)
    if where in NETS:
        return run(f"net = {NETS[where]}")
    line, call = PLACES[where]
    run(
        f"drop = {D.format(1)}",
        f"class Net(Module):\n    def __init__(self):\n        {line}\n\n"
        f"    def __call__(self, x):\n        return {call}",
    )
    return run("net = Net()")


def drops(run, net="net"):
    return bool((run(f"y = {net}(x)").value("y") == 0).any())


@stage.property(
    "after eval() nothing is dropped, wherever the layer is in the net", layers=True, examples=3
)
def evaluation(door, draw):
    for run, where in nets(door, draw):
        run("net.eval()")
        if drops(run):
            raise Fault(
                f"units are dropped after eval(), by a layer in {where}",
                "none",
                "Module.eval",
                net=where,
            )


@stage.property("after eval() two passes are equal", layers=True, examples=2)
def equal_passes(door, draw):
    for run, where in nets(door, draw):
        run("net.eval()", "a = net(x)", "b = net(x)")
        if not np.array_equal(run.value("a"), run.value("b")):
            raise Fault("two passes differ", "the same output twice", "Module.eval", net=where)


@stage.property("train() undoes it: units are dropped again", layers=True, examples=3)
def training(door, draw):
    for run, where in nets(door, draw):
        run("net.eval()", "net.train()")
        if not drops(run):
            raise Fault(
                "nothing is dropped after eval() and train()",
                "about half",
                "Module.train",
                again=True,
                net=where,
            )


@stage.property("train(False) is eval(), and train(True) is train()", layers=True, examples=2)
def modes(door, draw):
    for run, where in nets(door, draw):
        run("net.train(False)")
        if drops(run):
            raise Fault(
                "units are dropped after train(False)",
                "none",
                "Module.train",
                ignores=True,
                net=where,
            )
        run("net.train(True)")
        if not drops(run):
            raise Fault(
                "nothing is dropped after train(True)",
                "about half",
                "Module.train",
                again=True,
                net=where,
            )


@stage.property("other nets keep their mode", layers=True, examples=3)
def other_nets(door, draw):
    for where in NETS:
        run = a_net(door, where, np.abs(numbers(draw, (8, 10))))
        run(f"other = Sequential({D.format(7)})", "net.eval()")
        if not drops(run, "other"):
            raise Fault(
                "eval() of one net reaches another",
                "the other keeps dropping",
                "Module.eval",
                shared=True,
            )
        run("net.train()", f"third = Sequential({D.format(8)})", "other.eval()")
        if not drops(run, "net") or not drops(run, "third"):
            raise Fault(
                "eval() of one net reaches another",
                "the others keep dropping",
                "Module.eval",
                shared=True,
            )


@stage.property("parameters are the same before and after", examples=4)
def same_parameters(door, draw):
    run = door.start()("net = Sequential(Linear(2, 3, rng=1), Dropout(0.5), Linear(3, 1, rng=2))")
    before = list(run("a = list(net.parameters())")["a"])
    run("net.eval()")
    after = list(run("b = list(net.parameters())")["b"])
    if len(before) != len(after) or {*map(id, before)} != {*map(id, after)}:
        raise Fault(
            f"{len(after)} parameters after eval(), or other ones",
            f"the same {len(before)}",
            "Module.eval",
        )
    if run("c = net.eval()")["c"] is not run["net"]:
        door.note("eval() does not return the net, so net = Net().eval() would not work.")
    if run("c = net.train()")["c"] is not run["net"]:
        door.note("train() does not return the net, so net.train().parameters() would not work.")


BARE = "class Net(Module):\n    def __call__(self, x):\n        return x * 1.0"


@stage.property("a new net is in training, before train() or eval() is called", examples=1)
def from_the_beginning(door, draw):
    run = door.start()(BARE, "a = Net()", "b = Sequential(Linear(2, 3), Dropout(0.5))")
    # A default of the class, and what `__init__` sets, are both right; one may miss a net.
    modes = [run[name].training for name in "ab" if hasattr(run[name], "training")]
    if not modes and not read_with_a_default(door):
        raise Fault("a new net has no attribute training", "True", "Module.train", unset=True)
    if not all(modes):
        raise Fault("training of a new net is False", "True", "Module.train", begins=True)


def read_with_a_default(door):
    """Tell whether the file has an accuracy that minds nets without the attribute: all is well."""
    case = door.case
    try:
        run = door.start(x=Plain(np.eye(2)), y=Plain(np.arange(2)))(BARE)
        return float(run("found = accuracy(Net(), x, y)")["found"]) == 1
    except Exception:
        return False
    finally:
        door.case = case


# ------------------------------------------------------------------------------- suspects


def suspect_places(cause):
    """Add a suspect that is asked what becomes of a Dropout in each place, when one goes wrong.

    That is "fine", "missed", or "trains" where it is put into training instead.
    """

    def add(explains):
        @stage.suspect(cause)
        def of_places(door, fault):
            call = "net.train(False)" if "ignores" in fault.data else "net.eval()"
            if "net" not in fault.data or "again" in fault.data:
                return False
            return explains({where: outcome(door, where, call) for where in (A_LAYER, *PLACES)})

    return add


A_LAYER = "a layer"


def outcome(door, where, call):
    if not drops(a_net(door, where, np.ones((8, 10)))(call)):
        return "fine"
    run = a_net(door, where, np.ones((8, 10)))
    drop = run["net" if where == A_LAYER else "drop"]
    drop.training = False
    run(call)
    return "trains" if drop.training else "missed"


def all_are(seen, what, *places):
    return all(seen[where] == what for where in places)


@suspect_places("eval() sets the mode of the net alone: the layers inside are not reached")
def not_reached(seen):
    return seen[A_LAYER] == "fine" and all_are(seen, "missed", *PLACES)


@suspect_places("the mode of the module itself is not set, only that of what is in it")
def not_itself(seen):
    return seen[A_LAYER] == "missed" and seen["an attribute"] == "fine"


@suspect_places(
    "the layers inside are reached, but put into training whatever the mode is: hand it on, "
    "`v.train(mode)`"
)
def not_handed_on(seen):
    return seen[A_LAYER] == "fine" and "trains" in seen.values()


@suspect_places("only one level is reached: layers may be inside layers, so ask each to go on")
def one_level(seen):
    inside = seen["an attribute of an attribute"]
    return inside == "missed" and all_are(seen, "fine", "an attribute", "a list")


@suspect_places("lists and tuples are not searched for layers")
def lists_not_searched(seen):
    return seen["an attribute"] == "fine" and all_are(seen, "missed", "a list", "a tuple")


@suspect_places("tuples are not searched for layers, as lists are")
def tuples_not_searched(seen):
    return seen["a list"] == "fine" and seen["a tuple"] == "missed"


@suspect_places("a list in a list is not searched: let the walk continue into what it finds")
def lists_in_lists(seen):
    last = "a list in a list"
    return seen[last] == "missed" and all_are(seen, "fine", *(set(seen) - {last}))


@suspect_places("dicts are not searched for layers")
def dicts_not_searched(seen):
    others = ("a list", "a tuple", "an attribute of an attribute")
    return seen["a dict"] == "missed" and all_are(seen, "fine", *others)


@suspect_places("train() does not look at its argument: train(False) has to evaluate")
def ignores_argument(seen):
    return all_are(seen, "trains", *seen)


@stage.suspect(
    "the mode is an attribute of the class, shared by all: set it in the object, "
    "self.training = mode"
)
def shared(door, fault):
    return "shared" in fault.data


@stage.suspect(
    "nothing sets `training` before train() or eval() does: give the class Module a default, or "
    "set it in `__init__`"
)
def unset(door, fault):
    return "unset" in fault.data


@stage.suspect("a new net is in evaluation: `training` has to be True at first")
def begins_in_evaluation(door, fault):
    return "begins" in fault.data


@stage.suspect("train() does not undo eval(): it has to reach the same layers")
def does_not_undo(door, fault):
    if "again" not in fault.data:
        return False
    run = door.start(x=np.ones((8, 10)))(f"net = {NETS['a layer']}", "net.eval()", "net.train()")
    inside = door.start(x=np.ones((8, 10)))
    inside(f"net = {NETS['a nest']}", "net.eval()", "net.train()")
    return not (drops(run) and drops(inside))
