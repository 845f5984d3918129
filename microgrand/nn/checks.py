"""What layers, losses and dropout refuse, and what to do instead.

Each function returns, or raises an error that says what was given, what was expected and how to
mend it.
"""

from __future__ import annotations

import functools
import numbers
import warnings
from collections import UserDict, UserList, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from types import FunctionType, MappingProxyType, MemberDescriptorType, ModuleType, NoneType
from typing import Any

import numpy as np

from ..checks import is_integer
from ..dispatch import library_of
from ..kinds import Array, DTypeLike, Shape
from ..random import generator
from ..tensor import Tensor


def integer(who: str, value: Any, least: int) -> int:
    """Return an integer as Python's own; raise for anything else, or less than `least`."""
    if not is_integer(value):
        raise TypeError(f"{who} must be an integer, got {value!r}")
    if value < least:
        raise ValueError(f"{who} must be at least {least}, got {value}")
    return int(value)


class Checked:
    """An attribute that is checked when it is assigned.

    It is kept in the instance's own dict, where Python finds it.
    """

    def __init__(self, check: Callable[[Any], Any]) -> None:
        self.check = check

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __set__(self, instance: Any, value: Any) -> None:
        vars(instance)[self.name] = self.check(value)


# ------------------------------------------------------------------------ functions and losses


def check_float(dtype: DTypeLike, kinds: str = "f") -> None:
    """Raise if numbers are not of a kind that a layer computes with."""
    if dtype.kind not in kinds:
        raise TypeError(
            f"expected floating-point numbers, got dtype {dtype}; convert an array of other "
            "numbers with x.astype(np.float32)"
        )


def check_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    """Raise if the shapes of an affine map do not fit."""
    given, shape = x._array.shape, weight._array.shape
    if len(shape) != 2:
        raise ValueError(f"linear needs a weight of shape (out_features, in_features), got {shape}")
    if given[-1:] != shape[1:]:
        raise ValueError(
            f"linear got an input of shape {given} for a weight of shape {shape}, which "
            f"is (out_features, in_features); the input's last axis must be {shape[1]}"
        )
    if bias is not None and bias._array.shape != shape[:1]:
        raise ValueError(
            f"linear got a bias of shape {bias.shape} for a weight of shape {shape}, "
            f"which is (out_features, in_features); the bias must be of shape {shape[:1]}"
        )


#: What losses of a classification call their first argument.
SCORES = {
    "cross_entropy": "logits",
    "multi_margin_loss": "logits",
    "nll_loss": "log_probabilities",
}


def check_label_dtype(who: str, labels: Array) -> None:
    """Raise if labels of a classification are not integers."""
    if labels.dtype.kind not in "iu" and labels.size:  # the empty list has no dtype of its own
        raise TypeError(
            f"{who}({SCORES[who]}, labels) needs integer labels, got dtype {labels.dtype} and "
            f"shape {labels.shape}; if these are the {SCORES[who]}, they come first; else convert "
            "them with labels.astype(int), or one-hot rows with labels.argmax(axis=1)"
        )


def check_labels(who: str, scores: Any, labels: Array) -> None:
    """Raise if the shapes of scores and labels do not fit."""
    if scores.ndim == 0 or labels.shape != scores.shape[: scores.ndim > 1] + scores.shape[2:]:
        raise ValueError(
            f"{who} needs {SCORES[who]} of shape (n, classes) and labels of shape (n,), or "
            f"(n, classes, ...) and (n, ...), or (classes,) and (), got {scores.shape} and "
            f"{labels.shape}{mend_labels(who, scores, labels)}"
        )


def mend_labels(who: str, scores: Any, labels: Array) -> str:
    """Return what to do with labels that look like rows of zeros and a one, or like a column."""
    if scores.shape == labels.shape:
        probabilities = ", probabilities are floats" if who == "cross_entropy" else ""
        return f"; one-hot rows are made labels with labels.argmax(axis=1){probabilities}"
    if scores.ndim == 2 and labels.shape == (len(scores), 1):
        return "; a column is made labels with labels[:, 0]"
    return ""


def check_same_shape(prediction: Any, target: Any, who: str) -> None:
    """Raise if a prediction is to be compared with a target of another shape."""
    if prediction.shape != target.shape:
        raise ValueError(
            f"{who} needs equal shapes, got a prediction of shape {prediction.shape} and a "
            f"target of shape {target.shape}; give one the other's shape with reshape"
        )


def features(who: str, in_features: Any, out_features: Any) -> tuple[int, int]:
    """Return the sizes of a linear layer, or raise if it cannot have them."""
    return (
        integer(f"{who}'s in_features", in_features, 1),
        integer(f"{who}'s out_features", out_features, 1),
    )


def check_bias(who: str, bias: Any) -> None:
    """Raise if it is not known whether there is a bias."""
    check_flag(f"{who}'s bias", bias)


def check_flag(what: str, value: Any) -> None:
    """Raise if what is True or False is something else."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{what} is True or False, got {value!r}")


# ----------------------------------------------------------------------------------- modules


def check_stays(kind: type, module: Any, name: str, value: Any) -> None:
    """Raise if a parameter or buffer is to be replaced by what would not be trained or saved."""
    if value is not None and not isinstance(value, kind):
        lost = "trained" if kind.__name__ == "Parameter" else "saved"
        raise TypeError(
            f"{type(module).__name__}.{name} is a {kind.__name__}, and {type(value).__name__} in "
            f"its place would not be {lost}; change its values with .{name}.data = array (of a "
            f"tensor, .detach().numpy()), or assign nn.{kind.__name__}(data)"
        )


def check_name_is_new(name: str, names: Set[str]) -> None:
    """Raise if two parameters or buffers would be saved by one name."""
    if name in names:
        raise ValueError(f"two parameters have the name {name!r}; rename one")


def names_of_no_state(module: Any) -> set[str]:
    """Return the attributes that a module's classes say need not be saved, or raise."""
    names: set[str] = set()
    for cls in type(module).__mro__:
        given = vars(cls).get("not_state", ())
        if isinstance(given, str) or not all(isinstance(name, str) for name in given):
            raise TypeError(
                f"{cls.__name__}.not_state is a tuple of attributes' names, got {given!r}; for "
                'one, write ("name",)'
            )
        names.update(given)
    return names


def warn_of_lost_state(prefix: str, name: str, value: Any, saved: tuple[type, ...]) -> None:
    """Warn if a value is, or holds, what may be a module's state and is not saved."""
    if type(value) in HOLD_NONE or isinstance(value, saved):
        return
    for part in parts_in(value, (*saved, np.ndarray, Tensor)):
        is_array = isinstance(part, np.ndarray) and part.dtype.kind in "fc"
        is_constant = isinstance(part, Tensor) and not part.requires_grad
        if is_array or (is_constant and not isinstance(part, saved)):
            attribute = name.partition(".")[0]
            warnings.warn(
                f"{prefix}{'.' if prefix else ''}{name} {'is' if part is value else 'holds'} "
                f"{'an array' if is_array else 'a Tensor'} that state_dict() does not save; make "
                "it nn.Buffer(data) if it changes in training, or else say "
                f'not_state = ("{attribute}",) in its class',
                UserWarning,
                stacklevel=3,
            )
            return


def check_is_parameter(name: str, value: Any) -> None:
    """Raise if an attribute is a tensor that no optimizer would be given."""
    if isinstance(value, Tensor) and is_trained(value):
        raise TypeError(
            f"attribute {name!r} is a Tensor that requires a gradient but not a Parameter, so it "
            "would not be trained; make it nn.Parameter(data), or nn.Buffer(data) to keep it"
        )


#: The types of most attributes, which hold no modules.
HOLD_NONE = frozenset([bool, int, float, str, NoneType, FunctionType, property])


def check_hides_nothing(module: Any, kinds: tuple[type, ...], found: Set[int]) -> None:
    """Raise if a module has others, or parameters, only where they are not looked for."""
    for place, name, value in places_in(module, kinds):
        if type(value) in HOLD_NONE or id(value) in found:
            continue
        for part in parts_in(value, kinds):
            if id(part) not in found:
                raise TypeError(
                    f"{place} {name!r} of {type(module).__name__}, of type {type(value).__name__}, "
                    f"holds a {type(part).__name__} that is not found there, so it would be "
                    "neither trained nor saved; assign it to an attribute in __init__, also within "
                    "lists, tuples and dicts. To keep it out, hold a function that calls it"
                )


def places_in(module: Any, kinds: tuple[type, ...]) -> Iterator[tuple[str, str, Any]]:
    """Yield all that a module has by name: where it is, the name and the value."""
    own = vars(module)
    yield from (("attribute", *pair) for pair in own.items())
    yield from (("attribute in __slots__", *pair) for pair in slots_of(module))
    for cls in type(module).__mro__:
        if issubclass(cls, kinds) and cls not in kinds:
            for name, value in vars(cls).items():
                if name not in own and not name.startswith("__"):  # which are Python's
                    yield "class attribute", name, value


#: The types of what a dict's own methods return.
VIEWS: tuple[type, ...] = type({}.keys()), type({}.values()), type({}.items())


def parts_in(value: Any, kinds: tuple[type, ...]) -> Iterator[Any]:
    """Yield modules and parameters in containers of any kind, and in the attributes of an object.

    Does not look into iterators, functions or nested objects.
    """
    seen = set()
    stack = [(value, False)]
    while stack:
        item, in_object = stack.pop()
        is_partial = isinstance(item, functools.partial)  # it has `__get__` from Python 3.13 on
        is_method = hasattr(type(item), "__get__") and not is_partial
        if isinstance(item, type) or is_method or id(item) in seen:
            continue
        seen.add(id(item))
        below: Any = ()
        if isinstance(item, kinds) or (isinstance(item, Tensor) and is_trained(item)):
            yield item
        elif isinstance(item, (dict, UserDict, MappingProxyType)):
            below = (*item.keys(), *item.values())
        elif isinstance(item, (list, tuple, set, frozenset, deque, UserList, *VIEWS)):
            below = item
        elif is_partial:
            below = (item.func, *item.args, *item.keywords.values())
        elif isinstance(item, np.ndarray):
            below = item.flat if item.dtype.hasobject else ()
        elif not (in_object or isinstance(item, ModuleType)):
            below = [*getattr(item, "__dict__", {}).values(), *dict(slots_of(item)).values()]
            in_object = True
        stack.extend((part, in_object) for part in below)


def slots_of(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the names and values of an object's ``__slots__``."""
    if hasattr(type(value), "__slots__"):
        for cls in type(value).__mro__:
            for name, member in vars(cls).items():
                if isinstance(member, MemberDescriptorType) and hasattr(value, name):
                    yield name, getattr(value, name)


def is_trained(tensor: Tensor) -> bool:
    """Tell whether an optimizer should be given a tensor."""
    return tensor.requires_grad and tensor.is_leaf


def check_mode(mode: Any) -> None:
    """Raise if `train` is asked to train."""
    if not isinstance(mode, (bool, np.bool_)):
        raise TypeError(
            f"train() sets the training mode, True or False, got {type(mode).__name__}; the "
            "loop that trains is written by hand, with an optimizer"
        )


def check_is_mapping(state: Any) -> None:
    """Raise if a state is not a mapping."""
    if not isinstance(state, Mapping):
        raise TypeError(
            "load_state_dict takes a mapping from names to arrays, got "
            f"{type(state).__name__}; microgrand.checkpoint.load reads a file into a model"
        )


#: The kinds of dtypes whose numbers a parameter or buffer of a kind can hold.
LOADED_INTO = {"f": "fiu", "c": "fiuc", "i": "iu", "u": "iu", "b": "b"}


def as_plain_array(given: Any, like: Any = None) -> Array:
    """Return the values of an entry of a state dict, which may be a tensor of PyTorch's.

    They are in the library of the array `like`; None stands for NumPy.
    """
    given = given.data if isinstance(given, Tensor) else given
    check_is_whole(given)
    if str(getattr(given, "dtype", "")) == "torch.bfloat16":  # which NumPy has not
        given = given.float()
    if like is None or library_of(given) is None:
        given = on_host(given)
    array = np.asarray(given, like=like)
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array  # of ml_dtypes


def on_host(given: Any) -> Array:
    """Make an array of NumPy's, or raise where another library refuses that."""
    try:
        return np.asarray(given)
    except TypeError:
        if library_of(given) is None:
            raise
        raise TypeError(where_to_bring(given)) from None


def where_to_bring(array: Any) -> str:
    """Tell what to do with an array of another library where NumPy's are expected."""
    return f"this is a {type(array).__name__}; bring it to the host first, as by x.get()"


def check_is_whole(array: Any) -> None:
    """Raise if an array has a mask, which would be lost."""
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(
            "this is a masked array, whose mask would be lost; give x.filled(value), or its data "
            "and its mask as two arrays"
        )


def as_value_of(tensor: Any, given: Any) -> Array:
    """Convert an entry of a state dict to a new array for a tensor, or raise."""
    array = as_plain_array(given, like=library_of(tensor))
    if not getattr(tensor.data.flags, "writeable", True):
        raise ValueError("the parameter's array is read-only")
    if array.shape != tensor.shape:
        raise ValueError(f"shape {array.shape}, expected {tensor.shape}")
    if array.dtype.kind not in LOADED_INTO[tensor.dtype.kind]:
        raise TypeError(f"dtype {array.dtype}, expected {tensor.dtype}")
    with np.errstate(over="ignore"):
        value = array.astype(tensor.dtype)
    is_whole = value.dtype.kind in "iu"
    if (value != array).any() if is_whole else np.isinf(value).any() and not np.isinf(array).any():
        raise ValueError(f"numbers beyond the range of {tensor.dtype}")
    return value


def refuse_state(module: Any, problems: list[str]) -> None:
    """Raise if entries of a state are missing, unknown or of another shape."""
    if problems:
        raise ValueError(
            f"load_state_dict refused, nothing was changed in {type(module).__name__}; "
            + "; ".join(sorted(problems))
        )


# ----------------------------------------------------------------------------------- dropout


def probability(p: Any) -> float:
    """Return a drop probability as a Python float, which changes no dtype, or raise."""
    is_number = isinstance(p, numbers.Real) and not isinstance(p, bool)
    if not is_number or not 0 <= p <= 1:
        raise (ValueError if is_number else TypeError)(
            f"dropout's p, the probability of dropping a unit, is a number from 0 to 1, got {p!r}; "
            "from a probability of keeping one, p = 1 - keep_prob"
        )
    return float(p)


def probability_below_1(p: Any) -> float:
    """Return Gaussian dropout's p, or raise."""
    if probability(p) == 1:
        raise ValueError(
            "GaussianDropout's p is less than 1: the variance of its noise is p / (1 - p)"
        )
    return float(p)


def generator_or_none(rng: Any) -> np.random.Generator | None:
    """Return what draws a layer's masks; None for the library's generator; or raise."""
    generator(rng)
    return rng


def check_mask(mask: Any) -> None:
    """Raise if a mask is not boolean."""
    if mask.dtype.kind != "b":
        raise TypeError(f"a mask is a boolean array, got dtype {mask.dtype}; compare, as in x > 0")


def check_noise(noise: Any) -> None:
    """Raise if Gaussian dropout was given a mask instead of its noise."""
    if noise.dtype.kind != "f":
        raise TypeError(
            f"GaussianDropout was given a mask of dtype {noise.dtype}; its noise is of floats"
        )


def check_training(training: Any) -> None:
    """Raise if a function of dropout is not told whether it is training."""
    if not isinstance(training, bool):
        raise TypeError(f"dropout's training is True or False, got {training!r}")


def axes_of_a_mask(who: str, shared_axes: Any) -> tuple[int, ...]:
    """Return the axes along which elements share a mask's, or raise."""
    several = tuple(shared_axes) if isinstance(shared_axes, Iterable) else (shared_axes,)
    for axis in several:
        if not is_integer(axis):
            raise TypeError(
                f"{who}'s shared_axes are numbers of axes, got {axis!r}; for "
                "one mask over all time steps of (batch, time, features), shared_axes=1"
            )
    return tuple(int(axis) for axis in several)


def check_axis(layer: Any, shape: Shape, axis: int) -> None:
    """Raise if an input has no such axis."""
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"{layer!r} got an input of shape {shape}: it has no axis {axis}")


def when_to_scale(scaling: Any) -> str:
    """Return when dropout scales, or raise."""
    if scaling not in ("inverted", "classic"):
        raise ValueError(
            "dropout's scaling is 'inverted', by 1/(1-p) in training, or 'classic', by 1-p in "
            f"evaluation, got {scaling!r}"
        )
    return str(scaling)


def check_channels(shape: Shape, spatial_axes: int) -> None:
    """Raise if an input does not have a channel axis before its spatial axes."""
    batched, single = spatial_axes + 2, spatial_axes + 1
    # (a, b, c) may be a batch of sequences or one image; we refuse to guess.
    ambiguous = spatial_axes == 2
    if len(shape) != batched and (len(shape) != single or ambiguous):
        places = ("length", "height, width", "depth, height, width")[spatial_axes - 1]
        expected = f"(n, channels, {places})" + ("" if ambiguous else f" or (channels, {places})")
        mend = (
            "; give one image a batch axis, x[None], and a batch of sequences to dropout1d"
            if ambiguous and len(shape) == single
            else "; which axes share a mask is up to you in nn.Dropout(p, shared_axes=...)"
        )
        raise ValueError(
            f"dropout{spatial_axes}d got an input of shape {shape}, expected {expected}{mend}"
        )


def check_features_axis(shape: Shape) -> None:
    """Raise if an input has no channels."""
    if len(shape) < 2:
        raise ValueError(
            f"feature_alpha_dropout got an input of shape {shape}, expected (n, channels, ...)"
        )


def check_examples(shape: Shape) -> None:
    """Raise if an input has no examples."""
    if not shape:
        raise ValueError("DropPath got a number; its input's first axis is that of the batch")


def check_embedding(shape: Shape) -> None:
    """Raise if word dropout is not given the embedding matrix."""
    if len(shape) != 2:
        raise ValueError(
            f"WordDropout takes the embedding matrix (vocabulary, features), got {shape}; "
            "look the words up afterwards, word_dropout(weight)[words]"
        )


# ------------------------------------------------------------------------------ held masks


def check_several_masks(masks: Any) -> None:
    """Raise if `DropoutMasks` is given one mask, or none at all."""
    if not isinstance(masks, Iterable) or isinstance(masks, np.ndarray):
        got = "one array" if isinstance(masks, np.ndarray) else repr(masks)
        raise TypeError(
            f"DropoutMasks takes a list of masks, one for each call of dropout, got {got}; "
            "wrap it in a list, DropoutMasks([mask])"
        )


def check_given_mask(i: int, mask: Array) -> None:
    """Raise if a given mask has neither booleans nor floats."""
    if mask.dtype.kind not in "bf":
        raise TypeError(
            f"mask {i} is of dtype {mask.dtype}, expected booleans, True where a unit is "
            "kept, or floats for the noise of GaussianDropout; compare, as in mask == 1"
        )


def check_can_be_held(function: Any) -> None:
    """Raise if what should be called inside a block cannot be called."""
    if not callable(function):
        raise TypeError(
            "DropoutMasks.hold takes a module or a function, to be called inside the block, "
            f"got {function!r}; write masks.hold(net)(x)"
        )


def check_replayed_mask(replayed: Any, i: int, layer: Any, shape: Shape) -> None:
    """Raise if the masks are not those of this pass: a call has none, or that of another."""
    if i >= len(replayed.masks):
        raise RuntimeError(
            f"DropoutMasks ran out: there are {i}, and {layer!r} asks for another. A block is "
            "one pass through the net: enter the block again for each pass, or let hold(net) do so"
        )
    known = any(layer is other for other in replayed.owners)  # not one that a function has made
    if known and layer is not replayed.owners[i]:
        raise RuntimeError(
            f"DropoutMasks: mask {i} was drawn for another module of this net than {layer!r}, "
            "which asks for it now; each pass must call the modules in the same order"
        )
    if replayed.masks[i].shape != shape:
        raise RuntimeError(
            f"DropoutMasks: mask {i} has shape {replayed.masks[i].shape}, and {layer!r} needs "
            f"{shape}; use an input of the shape that the masks were drawn for, or give a mask of "
            f"that shape, as in np.broadcast_to(mask, {shape})"
        )


def check_all_masks_used(used: int, number: int) -> None:
    """Raise if masks of a pass are left over."""
    if used < number:
        raise RuntimeError(
            f"DropoutMasks: the pass used {used} of {number} masks; "
            "is a module in evaluation mode, or the net another one?"
        )


def check_drawn_once(masks: Any) -> None:
    """Raise if two passes drew at once."""
    if masks is not None:
        raise RuntimeError(
            "DropoutMasks: two passes drew masks at once, one within the other or in another "
            "thread; end the first before the next begins"
        )


def refuse_order_of_blocks() -> None:
    """Raise because blocks ended in another order than they began."""
    raise RuntimeError(
        "a block of DropoutMasks ended in another order than it began, or in another context, "
        "so that masks of several blocks were mixed up; that happens if a generator yields "
        "inside the block: enter the block again for each item, and leave it before the yield"
    )


# ------------------------------------------------------------------------------ Monte Carlo


def check_not_held(replaying: bool) -> None:
    """Raise if samples are to be drawn where masks are held."""
    if replaying:
        raise RuntimeError(
            "mc_dropout draws masks of its own for every sample, and was called in a block of "
            "DropoutMasks, which would record none of them; call it outside"
        )


def check_one_output(out: Any) -> None:
    """Raise if a model does not return one array."""
    if not hasattr(out, "shape"):
        raise TypeError(
            f"mc_dropout's model returns one array or tensor, got {type(out).__name__}; wrap "
            "it in a function that returns one, lambda x: model(x)[0]"
        )


def check_drew_masks(drawn: list[int]) -> None:
    """Raise if a sample drew no mask, or fewer than the first."""
    if drawn[0] == 0:
        raise ValueError(
            "mc_dropout's model called no dropout, so all samples would be the same; it sees the "
            "layers of microgrand.nn and the functions of microgrand.nn.functional"
        )
    if drawn[-1] < drawn[0]:
        raise ValueError(
            f"mc_dropout's model drew {drawn[0]} masks in the first sample and "
            f"{drawn[-1]} in a later one, so that the samples would vary less than the "
            "thinned nets do; let it draw all its masks in each call, without "
            "DropoutMasks.hold"
        )


# ------------------------------------------------------------------------------ schedules


def check_step(step: Any) -> float:
    """Return a step, or raise if it is not a number, negative or nan."""
    if not isinstance(step, numbers.Real):
        raise TypeError(
            f"a schedule is called with the number of steps taken so far, got {step!r}; for "
            "several steps, [schedule(step) for step in steps]"
        )
    if not float(step) >= 0:
        raise ValueError(f"a schedule is called with the number of steps taken so far, got {step}")
    return float(step)


def check_has_dropout(model: Any, layers: list[Any], module: type) -> None:
    """Raise if a model has no dropout layer to set."""
    if not isinstance(model, module):
        raise TypeError(f"set_dropout takes a module, got {type(model).__name__}")
    if not layers:
        raise ValueError(f"set_dropout found no dropout layer in {type(model).__name__}")
