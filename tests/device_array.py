"""A stand-in for arrays on a device: NumPy's protocols, and no way to the host but by asking.

It holds an array, and behaves as CuPy's arrays do: implicit conversion is refused, so are operands
on the host, functions and keywords that CuPy lacks, and each look at a value (`item`, `bool`,
`get`, a boolean index, whose length depends on the values) is counted. With
``MICROGRAND_DEVICE=cupy`` in the environment it holds CuPy's arrays: then the same tests run on a
device.
"""

import importlib
import os

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

#: What CuPy 14 lacks of the functions in the table, and of the keywords of those that it has.
FUNCTIONS_LACKED = {
    *("block", "insert", "matvec", "vecmat", "vecdot", "nanpercentile", "nanquantile", "spacing"),
    *("unstack", "matrix_norm", "multi_dot", "svdvals", "vector_norm"),
}
KEYWORDS_LACKED = {
    "sum prod max min amax amin nansum nanprod nanmax nanmin": {"initial", "where"},
    "var std nanvar nanstd": {"where", "mean", "correction"},
    "mean nanmean all any": {"where"},
    "clip": {"min", "max"},
    "svd": {"hermitian"},
    "pinv": {"hermitian", "rtol"},
    "cholesky": {"upper"},
    "take": {"mode"},
    "sort": {"order", "stable"},
    "ones full eye identity tri": {"device"},  # which NumPy passes with like=
}
KEYWORDS_LACKED = {
    name: words for names, words in KEYWORDS_LACKED.items() for name in names.split()
}
#: Ufuncs whose ``reduce`` CuPy has.
REDUCED = {"add", "multiply"}
#: Functions that take no numbers in the place of arrays.
OF_ARRAYS = {"concatenate", "stack", "vstack", "hstack", "dstack", "column_stack", "vdot", "kron"}
#: Functions whose result has a length that depends on values.
LOOKING = {"nonzero", "flatnonzero", "argwhere", "bincount", "extract", "compress", "unique"}


class DeviceArray(NDArrayOperatorsMixin):
    """An array whose numbers are elsewhere."""

    looks = 0  # how often numbers were brought to the host
    moves = 0  # and how often to the device
    library = importlib.import_module(os.environ.get("MICROGRAND_DEVICE", "numpy"))
    __array_priority__ = 100

    def __init__(self, values):
        self._held = DeviceArray.library.asarray(values)

    # ---- NumPy's protocols

    def __array__(self, dtype=None, copy=None):
        raise TypeError("implicit conversion of a device's array to a host's; use .get()")

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if any(hasattr(x, "__array_ufunc__") and not is_known(x) for x in inputs):
            return NotImplemented  # a tensor computes it
        name = ufunc.__name__
        reduces = method in ("reduce", "accumulate", "reduceat")
        if reduces and (name not in REDUCED or kwargs.keys() & {"initial", "where"}):
            raise NotImplementedError(f"`{name}.{method}` is not supported by the device's library")
        refuse_lacked(name, kwargs)
        if any(isinstance(x, (list, tuple)) for x in inputs):
            raise TypeError("unsupported type <class 'list'> beside a device's array")
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        result = on_device(function, inputs, kwargs)
        return kwargs["out"][0] if kwargs.get("out", (None,))[0] is not None else result

    def __array_function__(self, function, types, args, kwargs):
        if not all(issubclass(kind, (DeviceArray, np.ndarray)) for kind in types):
            return NotImplemented
        if function in (np.asarray, np.array):
            return moved(*args, **kwargs)
        refuse_lacked(function.__name__, kwargs)
        if function.__name__ in OF_ARRAYS and any(isinstance(x, float) for x in leaves(args)):
            raise TypeError(f"{function.__name__} takes arrays of the device only")
        if function is np.tensordot and min(map(np.ndim, args[:2])) == 0:
            axes = args[2] if len(args) > 2 else kwargs.get("axes", 2)
            if axes not in (0, ((), ())):
                raise ValueError("An input is zero-dim while axes has dimensions")
        if function.__name__ in LOOKING or (function is np.where and len(args) == 1):
            DeviceArray.looks += 1
        result = on_device(function, args, kwargs, like=self._held)
        may_have_nothing_to_do = function in (np.squeeze, np.moveaxis)
        if may_have_nothing_to_do and (result.shape, result.strides) == (self.shape, self.strides):
            return self
        return result

    # ---- an array's attributes and methods

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        value = getattr(self._held, name)
        if callable(value):
            return lambda *args, **kwargs: on_device(value, args, kwargs)
        return value if name in ("data", "flags", "dtype", "shape", "strides") else wrapped(value)

    def __getitem__(self, index):
        return wrapped(self._held[counted(index)])

    def __setitem__(self, index, value):
        self._held[counted(index)] = held(value)

    def __len__(self):
        return len(self._held)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def get(self):
        """Bring the numbers to the host."""
        DeviceArray.looks += 1
        return on_host(self)

    def item(self):
        """Bring one number to the host."""
        return self.get().item()

    def tolist(self):
        """Bring the numbers to the host."""
        return self.get().tolist()

    def __bool__(self):
        return bool(self.get())

    def __float__(self):
        return float(self.get())

    def __int__(self):
        return int(self.get())

    def __index__(self):
        return self.get().__index__()

    def __complex__(self):
        return complex(self.get())

    def __repr__(self):
        return f"DeviceArray({self._held!r})"

    def __copy__(self):
        return DeviceArray(self._held.copy())

    def __deepcopy__(self, memo):
        return DeviceArray(self._held.copy())


class DeviceGenerator:
    """A generator as CuPy's: it draws on the device, and has no raw words."""

    def __init__(self, seed):
        self._rng = DeviceArray.library.random.default_rng(seed)
        self.bit_generator = object()  # which tells no state
        self.draws = 0

    def random(self, size=None, dtype=np.float64):
        """Draw from [0, 1)."""
        self.draws += 1
        return wrapped(self._rng.random(size, dtype))

    def integers(self, low, high=None, size=None, dtype=np.int64):
        """Draw whole numbers."""
        self.draws += 1
        return wrapped(self._rng.integers(low, high, size, dtype))

    def uniform(self, low=0.0, high=1.0, size=None):
        """Draw from an interval."""
        self.draws += 1
        return wrapped(self._rng.uniform(low, high, size))

    def standard_normal(self, size=None, dtype=np.float64):
        """Draw from the normal distribution."""
        self.draws += 1
        return wrapped(self._rng.standard_normal(size, dtype))


def on_host(value):
    """Return the numbers as NumPy's, uncounted: for a test to compare."""
    array = value._held if isinstance(value, DeviceArray) else value
    return array.get() if hasattr(array, "get") else np.asarray(array)


def moved(values, dtype=None, **options):
    """Bring numbers to the device, or take those that are there."""
    if not isinstance(values, DeviceArray):
        DeviceArray.moves += 1
        values = DeviceArray(np.asarray(values))
    return values if dtype in (None, values.dtype) else values.astype(dtype)


def is_known(value):
    """Tell whether this is an array that CuPy computes with, or refuses."""
    return isinstance(value, (DeviceArray, np.ndarray, np.generic))


def refuse_lacked(name, kwargs):
    """Raise for what CuPy lacks; CuPy itself does."""
    if DeviceArray.library is not np:
        return
    if name in FUNCTIONS_LACKED:
        raise TypeError(f"no implementation found for 'numpy.{name}' on types that implement "
                        "__array_function__: DeviceArray")  # fmt: skip
    for keyword in KEYWORDS_LACKED.get(name, set()) & kwargs.keys():
        raise TypeError(f"{name}() got an unexpected keyword argument '{keyword}'")


def on_device(function, args, kwargs, like=None):
    """Call a function of NumPy's where the numbers are."""
    args, kwargs = held(args), {name: held(value) for name, value in kwargs.items()}
    if like is not None and not any(isinstance(x, type(like)) for x in leaves((args, kwargs))):
        kwargs["like"] = like  # which NumPy has taken out
    return wrapped(function(*args, **kwargs))


def leaves(value):
    """Yield what is in lists, tuples and dicts."""
    if isinstance(value, (list, tuple, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from leaves(item)
    else:
        yield value


def counted(index):
    """Return an index for the arrays held; the length of a boolean one's result is a look."""
    for part in index if isinstance(index, tuple) else (index,):
        if getattr(part, "dtype", None) == np.bool_ and getattr(part, "ndim", 0):
            DeviceArray.looks += 1
    return held(index)


def held(value):
    """Unwrap arrays of the device; refuse those of the host."""
    if isinstance(value, DeviceArray):
        return value._held
    if isinstance(value, np.ndarray):
        raise TypeError("unsupported type <class 'numpy.ndarray'> beside a device's array")
    if isinstance(value, (list, tuple)):
        return in_container(value, [held(item) for item in value])
    return value


def wrapped(value):
    """Put results on the device: numbers, too, become arrays."""
    if isinstance(value, (np.generic, np.ndarray, DeviceArray.library.ndarray)):
        return DeviceArray(value)
    if isinstance(value, (list, tuple)):
        return in_container(value, [wrapped(item) for item in value])
    return value


def in_container(like, items):
    """Put items into a list, tuple or named tuple of the same kind."""
    return type(like)(*items) if hasattr(like, "_fields") else type(like)(items)
