"""No NumPy function loses a gradient without a word.

Every public function of NumPy is called with a tensor in each place where it takes floats. Then
the result has a graph, or does not depend on the tensor, or there is an exception.
"""

import inspect
import itertools
import warnings

import numpy as np

from microgrand import Tensor

VECTOR, MATRIX = np.array([0.7, 1.6, 2.4]), np.array([[3.3, 0.6], [0.4, 4.1]])
MASK, NUMBERS = np.array([True, False, True]), np.array([0, 2, 1])

CALLS = [
    (VECTOR,),
    (MATRIX,),
    ([VECTOR, VECTOR],),
    (VECTOR, VECTOR),
    (MATRIX, MATRIX),
    (MATRIX, VECTOR[:2]),
    (VECTOR, 1),
    (MATRIX, 0),
    (1, VECTOR),
    (VECTOR, NUMBERS),
    (NUMBERS, VECTOR),
    (NUMBERS, [VECTOR, VECTOR, VECTOR]),
    (MASK, VECTOR),
    ([MASK], [VECTOR]),
    ([VECTOR, VECTOR], 1),
    (VECTOR, VECTOR, VECTOR),
    (VECTOR, 1, VECTOR),
    (MASK, VECTOR, VECTOR),
    (VECTOR, NUMBERS, VECTOR),
    (NUMBERS, VECTOR, 5),
    ("i,i", VECTOR, VECTOR),
]
# They write files, change NumPy's settings or give memory that nobody has written.
UNSAFE = {"as_strided", "save", "savez", "savez_compressed", "savetxt", "fromfile", "load"}
UNSAFE |= {"loadtxt", "genfromtxt", "fromregex", "set_printoptions", "seterr", "seterrcall"}
UNSAFE |= {"setbufsize", "empty", "empty_like", "info", "test", "show_config", "show_runtime"}


def public_functions():
    seen = set()
    modules = {"np": np, "np.linalg": np.linalg, "np.fft": np.fft, "np.emath": np.emath}
    modules["np.lib.stride_tricks"] = np.lib.stride_tricks
    for module_name, module in modules.items():
        for name in sorted(set(dir(module)) - UNSAFE):
            function = getattr(module, name)
            if name.startswith("_") or not callable(function) or isinstance(function, type):
                continue
            if id(function) not in seen:
                seen.add(id(function))
                yield f"{module_name}.{name}", function
            if isinstance(function, np.ufunc) and function.nin == 2:
                for method in ("reduce", "accumulate", "outer", "reduceat", "at"):
                    yield f"{module_name}.{name}.{method}", getattr(function, method)
    for name in ("dot", "clip", "searchsorted", "put", "choose", "itemset", "__setitem__"):
        if hasattr(np.ndarray, name):
            yield f"ndarray.{name}", getattr(np.ndarray, name)


def replace_floats(value, function):
    """Copy an argument, and apply `function` to each array of floats in it."""
    if isinstance(value, list):
        return [replace_floats(item, function) for item in value]
    if isinstance(value, dict):
        return {key: replace_floats(item, function) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return function(value.copy()) if value.dtype == float else value.copy()
    return value


def flatten(value):
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in flatten(item)]
    return [value]


def numbers_in(value):
    values = [item.data if isinstance(item, Tensor) else item for item in flatten(value)]
    return [
        np.asarray(v) for v in values if isinstance(v, (np.ndarray, np.generic, float, complex))
    ]


def attempt(function, args, kwargs):
    """Return the result and the arguments, which may have been written into; None if it fails."""
    try:
        return function(*args, **kwargs), args, kwargs
    except Exception:
        return None


def loses_gradient(function, args, kwargs, place):
    """Call with a tensor at `place`; if there is no graph, see whether values depend on it."""

    def call(change):
        def change_at(key, value):
            changes = change if key == place or place == "everywhere" else (lambda array: array)
            # Distinct values, so that nothing that competes is equal.
            factor = 1 + 0.137 * (key if isinstance(key, int) else 3)
            return replace_floats(value, lambda array: changes(array * factor))

        return attempt(
            function,
            [change_at(i, arg) for i, arg in enumerate(args)],
            {name: change_at(name, arg) for name, arg in kwargs.items()},
        )

    with_tensor = call(lambda array: Tensor(array, requires_grad=True))
    if with_tensor is None:
        return False
    if any(isinstance(item, Tensor) and item.requires_grad for item in flatten(with_tensor[0])):
        return False
    if with_tensor[0] is None and not any(isinstance(a, np.ndarray) for a in args[:1]):
        return False
    plain = call(lambda array: array)
    moved = call(
        lambda array: array * (1 + 1e-7) + 1e-7 * np.cos(np.arange(array.size)).reshape(array.shape)
    )
    if plain is None or moved is None:
        return False

    def observed(outcome):
        others = [arg for i, arg in enumerate(outcome[1]) if i != place != "everywhere"]
        return numbers_in([outcome[0], others if with_tensor[0] is None else []])

    return any(
        a.shape != b.shape or not np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        for a, b in zip(observed(plain), observed(moved), strict=True)
    )


def find_losses(name, function):
    if name == "np.bmat":
        return []  # returns None for what is neither text, a list nor an array
    losses = []
    for args in CALLS:
        if isinstance(args[0], str) != name.endswith("einsum"):
            continue
        if attempt(function, [replace_floats(arg, np.copy) for arg in args], {}) is None:
            continue
        places = [i for i, arg in enumerate(args) if any(a.dtype == float for a in numbers_in(arg))]
        losses += [
            f"{name}(" + ", ".join(map(str, args)) + f"), tensor {place}"
            for place in [*places, "everywhere"]
            if loses_gradient(function, args, {}, place)
        ]
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (ValueError, TypeError):
        return losses
    keywords = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    keywords = [keyword for keyword in keywords if keyword not in ("dtype", "out", "like")]
    for keyword, args in itertools.product(keywords, [(), (VECTOR,), (NUMBERS,), (VECTOR, VECTOR)]):
        losses += [
            f"{name}({args}, {keyword}={value})"
            for value in (VECTOR, [VECTOR, VECTOR])
            if attempt(function, *replace_floats([[*args], {keyword: value}], np.copy)) is not None
            and loses_gradient(function, args, {keyword: value}, keyword)
        ]
    return losses


# They are in the set of constant functions, though not constant in every argument.
def all_losses(functions):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [loss for name, function in functions for loss in find_losses(name, function)]


def test_no_numpy_function_loses_a_gradient_silently():
    functions = list(public_functions())
    assert len(functions) > 300
    losses = all_losses(functions)
    assert not losses, "\n".join(losses)


def test_the_search_for_losses_finds_one():
    def loses(x, y):
        return np.sum(x) + np.sum(y.detach().numpy() if isinstance(y, Tensor) else y)

    def writes(array, y):
        array[...] = y.detach().numpy() if isinstance(y, Tensor) else y

    assert loses_gradient(loses, (NUMBERS, VECTOR), {}, 1)
    assert loses_gradient(loses, (NUMBERS,), {"y": VECTOR}, "y")
    assert loses_gradient(writes, (np.zeros(3), VECTOR), {}, 1)
    assert not loses_gradient(np.add, (NUMBERS, VECTOR), {}, 1)
    assert not loses_gradient(np.floor, (VECTOR,), {}, 0)
