"""Checkpoints: resumed runs, kills at any moment, hostile files, PyTorch's files."""

import copy
import importlib.util
import io
import itertools
import os
import signal
import sys

import numpy as np
import pytest
from device_array import DeviceArray
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from microgrand import Tensor, checkpoint, manual_seed, nn, optim
from microgrand.checkpoint import files
from microgrand.data import batches
from microgrand.nn import functional as F
from microgrand.optim import lr_scheduler
from microgrand.random import default_generator

FORMATS = ["npz", "safetensors"]


@pytest.fixture(params=FORMATS)
def path(request, tmp_path):
    if request.param == "safetensors" and IS_MISSING:
        pytest.skip("needs the extra safetensors")
    return tmp_path / f"run.{request.param}"


IS_MISSING = not all(map(importlib.util.find_spec, ("safetensors", "ml_dtypes")))
needs_safetensors = pytest.mark.skipif(IS_MISSING, reason="needs the extra safetensors")

# ------------------------------------------------------------------------------- resumed runs


class Run:
    """A training with everything that has a state."""

    def __init__(self, seed, bits=np.random.PCG64):
        manual_seed(seed)
        own = np.random.Generator(bits(seed + 1))
        self.net = nn.Sequential(
            nn.Linear(3, 8), nn.ReLU(), nn.Dropout(0.5), nn.Dropout(0.25, rng=own), nn.Linear(8, 2)
        )
        groups = [
            {"params": [p], "lr": 0.01 * (1 + i)} for i, p in enumerate(self.net.parameters())
        ]
        self.optimizer = optim.Adam(groups)
        self.scheduler = lr_scheduler.CosineAnnealingLR(self.optimizer, 20)
        self.place = {"epoch": 0, "batch": 0, "order": np.random.default_rng(seed + 2)}
        self.seen = []

    def state(self):
        return {"model": self.net, "optimizer": self.optimizer, "scheduler": self.scheduler}

    def steps(self, number):
        x = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
        for _ in range(number):
            order = copy.deepcopy(self.place["order"])
            seen = self.place["batch"]
            parts = batches(x, np.arange(10) % 2, batch_size=4, rng=order)
            x_batch, labels = next(itertools.islice(parts, seen, None))
            self.optimizer.zero_grad()
            loss = F.cross_entropy(self.net(x_batch), labels)
            loss.backward()
            self.optimizer.step()
            self.scheduler.step()
            self.seen.append([loss.item(), self.net[2].mask, self.net[3].mask])
            if seen == 2:
                self.place = {"epoch": self.place["epoch"] + 1, "batch": 0, "order": order}
            else:
                self.place["batch"] += 1


@pytest.mark.parametrize("bits", [np.random.PCG64, np.random.MT19937, np.random.Philox])
@pytest.mark.parametrize("stop", [0, 1, 2, 3, 5])
def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one(path, stop, bits):
    whole = Run(0, bits)
    whole.steps(10)
    expected = [default_generator.random(), whole.net[3].rng.random()]

    first = Run(0, bits)
    first.steps(stop)
    checkpoint.save(path, **first.state(), extra=first.place)
    resumed = Run(7, bits)
    resumed.steps(3)
    resumed.seen = first.seen
    resumed.place = checkpoint.load(path, **resumed.state())["extra"]
    resumed.steps(10 - stop)
    for one, other in zip(resumed.seen, whole.seen, strict=True):
        assert one[0] == other[0]
        np.testing.assert_array_equal(one[1], other[1])
        np.testing.assert_array_equal(one[2], other[2])
    for one, other in zip(resumed.net.parameters(), whole.net.parameters(), strict=True):
        assert one.data.tobytes() == other.data.tobytes()
    assert str(resumed.optimizer.state_dict()) == str(whole.optimizer.state_dict())
    assert [default_generator.random(), resumed.net[3].rng.random()] == expected


def test_equal_contents_are_equal_files(tmp_path):
    run, path = Run(0), tmp_path / "run.npz"
    run.steps(2)
    found = []
    for _ in range(2):
        checkpoint.save(path, **run.state(), extra=run.place)
        found.append(path.read_bytes())
    assert found[0] == found[1]


def test_generators_may_stay_as_they_are(path):
    run = Run(0)
    checkpoint.save(path, model=run.net)
    manual_seed(5)
    before = [default_generator.bit_generator.state, run.net[3].rng.bit_generator.state]
    checkpoint.load(path)
    checkpoint.load(path, model=run.net, generators=False)
    assert [default_generator.bit_generator.state, run.net[3].rng.bit_generator.state] == before
    checkpoint.load(path, model=run.net)
    assert default_generator.bit_generator.state != before[0]


NUMBERS = st.floats() | st.integers(-(2**200), 2**200) | st.booleans() | st.none() | st.text()
ARRAYS = st.sampled_from(
    [
        np.arange(6.0).reshape(2, 3).T, np.float32(0.1), np.int8(-3), np.zeros((0, 3), np.float16),
        np.array(True), np.arange(3, dtype=">i4"), np.array([1 + 2j, np.nan]).astype(np.complex64),
    ]
)  # fmt: skip
EXTRAS = st.recursive(
    NUMBERS | ARRAYS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text() | st.integers() | st.just("!"), inner, max_size=3)
    ),
    max_leaves=8,
)


def assert_same(one, other):
    assert type(one) is type(other)
    if isinstance(other, dict):
        assert list(one) == list(other)
        assert_same(list(one.values()), list(other.values()))
    elif isinstance(other, (list, tuple)):
        assert len(one) == len(other)
        for x, y in zip(one, other, strict=True):
            assert_same(x, y)
    elif isinstance(other, (np.ndarray, np.generic)):
        assert one.dtype == other.dtype.newbyteorder("=")
        np.testing.assert_array_equal(one, other, strict=one.dtype == other.dtype)
    else:
        assert one == other or (one != one and other != other)


@pytest.mark.parametrize("ending", ["npz", pytest.param("safetensors", marks=needs_safetensors)])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(extra=EXTRAS)
def test_extra_comes_back_as_it_was(tmp_path_factory, ending, extra):
    file = tmp_path_factory.getbasetemp() / f"extra.{ending}"
    checkpoint.save(file, extra=extra)
    assert_same(checkpoint.load(file)["extra"], extra)


#: Few letters, so that joined keys meet, and those that lead elsewhere in an archive.
KEYS = st.text("01./\\\0\ud800é", max_size=3) | st.integers(0, 1)


@pytest.mark.parametrize("ending", ["npz", pytest.param("safetensors", marks=needs_safetensors)])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    nest=st.recursive(
        st.just(None), lambda inner: st.dictionaries(KEYS, inner, max_size=4), max_leaves=8
    ),
)
def test_any_keys_keep_their_arrays_apart(tmp_path_factory, ending, nest):
    counter = itertools.count()

    def with_arrays(nest):
        if nest is None:
            return np.full(1, next(counter))
        return {key: with_arrays(item) for key, item in nest.items()}

    file = tmp_path_factory.getbasetemp() / f"keys.{ending}"
    extra = with_arrays(nest)
    checkpoint.save(file, model={"extra.0": np.ones(1)}, extra=extra)
    content = checkpoint.load(file)
    assert_same(content["extra"], extra)
    assert_same(content["model"], {"extra.0": np.ones(1)})


@pytest.mark.parametrize(
    "extra",
    [
        {"loss/train": np.float64(1)},
        {"net": {"w": np.ones(1)}, "net.w": np.zeros(1)},
        {1: np.ones(1), "1": np.zeros(1)},
        {"": np.ones(1), "..": [np.zeros(1)], "\\": (np.ones(2), "x")},
    ],
)
def test_keys_that_files_cannot_have_or_that_meet_come_back(path, extra):
    checkpoint.save(path, extra=extra)
    assert_same(checkpoint.load(path)["extra"], extra)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.ma.array([1.0, 2.0], mask=[True, False]), r"w: .*masked.*x\.filled\(value\)"),
        (np.ma.masked, r"w: .*masked.*x\.filled\(value\)"),
        (DeviceArray(np.ones(2)), r"w: .*DeviceArray.*host first, as by x\.get\(\)"),
        (Tensor(DeviceArray(np.ones(2))), r"w: .*DeviceArray.*host first, as by x\.get\(\)"),
    ],
)
def test_arrays_that_would_lose_something_or_are_elsewhere_are_refused(path, value, words):
    for part in ("extra", "model"):
        with pytest.raises(TypeError, match=words):
            checkpoint.save(path, **{part: {"w": value}})
    assert os.listdir(path.parent) == []


@pytest.mark.parametrize("extra", [{1.5: 2}, object(), np.array(["a"]), np.array([None]), {1, 2}])
def test_what_cannot_be_saved_leaves_the_old_file(path, extra):
    checkpoint.save(path, extra=1)
    with pytest.raises(TypeError, match="checkpoint: "):
        checkpoint.save(path, extra=[extra])
    assert checkpoint.load(path)["extra"] == 1
    assert os.listdir(path.parent) == [path.name]


def nested(depth):
    nest = []
    for _ in range(depth):
        nest = [nest] if depth % 2 else {"a": (nest,)}
    return nest


def holds_itself():
    nest = {"deep": []}
    nest["deep"].append(nest)
    return nest


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (nested(10_001), r"extra has lists or dicts.*more than 100 deep.*flatter"),
        (nested(100), "more than 100 deep"),
        (holds_itself(), "or one holds itself"),
        ({"big": 10**5000}, r"extra\.big is, or has as a key, an integer of 16610 bits.*hex"),
        ({10**5000: 1}, r"extra is, or has as a key, an integer"),
    ],
    ids=range(5),
)
def test_nests_that_could_not_be_read_again_leave_the_old_file(path, extra, words):
    checkpoint.save(path, extra=1)
    with pytest.raises(ValueError, match=words):
        checkpoint.save(path, extra=extra)
    assert checkpoint.load(path)["extra"] == 1


def test_deep_nests_long_numbers_and_texts_of_any_kind_come_back(path):
    extra = [nested(99 - 2), -(2**11_999), {"a" * 70_000: "\ud800"}]
    names = {"ä": np.ones(1), "a" * 60_000: np.zeros(1)}
    checkpoint.save(path, extra=extra, model=names)

    def load(depth):
        return load(depth - 1) if depth else checkpoint.load(path)

    content = load(500)  # from deep within other calls
    assert content["extra"] == extra
    assert content["model"] == names


@pytest.mark.parametrize(
    ("use", "error", "words"),
    [
        (lambda f: checkpoint.save(f"{f}.pt"), ValueError, r"ends in \.npz or \.safetensors"),
        (lambda f: checkpoint.load(f"{f}.pt"), ValueError, r"ends in \.npz or \.safetensors"),
        (lambda f: checkpoint.load(f), FileNotFoundError, "No such file"),
        (lambda f: checkpoint.save(f, model=[1]), TypeError, "model is a module or a dict"),
        (lambda f: checkpoint.save(f, optimizer=1), TypeError, "optimizer is one of"),
        (
            lambda f: checkpoint.save(f, optimizer=[]),
            TypeError,
            "further one can be saved in extra",
        ),
        (lambda f: checkpoint.save(f, model={"a/b": np.ones(1)}), ValueError, "without slashes"),
        (lambda f: checkpoint.save(f, model={"..": np.ones(1)}), ValueError, "without slashes"),
        (
            lambda f: checkpoint.save(f, model={"microgrand.checkpoint.x": np.ones(1)}),
            ValueError,
            "are taken",
        ),
        (lambda f: checkpoint.save(f, model={"a": np.array("x")}), TypeError, "of dtype <U1"),
        (
            lambda f: checkpoint.save(f, model={"a\ud800": np.ones(1)}),
            ValueError,
            "'a.ud800'; names",
        ),
        (lambda f: checkpoint.save(f, model={"a" * 60_001: np.ones(1)}), ValueError, "60000 bytes"),
        (
            lambda f: checkpoint.save(f, model={"n": nn.ReLU()}),
            TypeError,
            r"model has a ReLU as 'n'.*nn\.ModuleDict\(",
        ),
        (
            lambda f: checkpoint.save(os.path.join(f, "a", "b.npz")),
            FileNotFoundError,
            r"a.b\.npz cannot be written, as there is no folder .*run\.npz.a; make it",
        ),
    ],
)
def test_misuse(tmp_path, use, error, words):
    with pytest.raises(error, match=words):
        use(str(tmp_path / "run.npz"))
    assert os.listdir(tmp_path) == []


def test_the_extra_is_named_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    (tmp_path / "run.safetensors").write_bytes(b"")
    for use in checkpoint.save, checkpoint.load:
        with pytest.raises(ModuleNotFoundError, match=r"microgrand\[safetensors\].*\.npz"):
            use(tmp_path / "run.safetensors")


# -------------------------------------------------------------------- all or nothing


def test_what_does_not_fit_changes_nothing(path):
    run = Run(0)
    run.steps(2)
    checkpoint.save(path, **run.state())
    alone, other = nn.Linear(3, 8), Run(1)
    wrong = {
        "model": nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)),
        "optimizer": optim.SGD(other.net.parameters(), 0.1, momentum=0.9),
        "scheduler": lr_scheduler.ReduceLROnPlateau(other.optimizer),
    }

    def everything():
        rngs = [default_generator, other.net[3].rng]
        return str(
            [other.net.state_dict(), other.optimizer.state_dict(), other.scheduler.state_dict()]
            + [rng.bit_generator.state for rng in rngs]
            + [p.version for p in other.net.parameters()]
        )

    before = everything()
    for name, part in wrong.items():
        with pytest.raises(ValueError, match=rf"{path.name} was refused, nothing was changed"):
            checkpoint.load(path, **{**other.state(), name: part})
        assert everything() == before
    with pytest.raises(ValueError, match=r"missing: bias.*unknown: 0\.bias"):
        checkpoint.load(path, model=alone)
    checkpoint.save(path, model=run.net)
    with pytest.raises(ValueError, match="holds no optimizer"):
        checkpoint.load(path, **other.state())
    assert everything() == before
    other.net[3].rng = None
    with pytest.raises(ValueError, match=r"own are 3\.rng there, and none here; generators=False"):
        checkpoint.load(path, model=other.net)
    other.net[3].rng = np.random.Generator(np.random.MT19937(0))
    with pytest.raises(ValueError, match="a generator"):
        checkpoint.load(path, model=other.net)


# ----------------------------------------------------------------------------------- kills

MOMENTS = range(60)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process")
def test_a_kill_at_any_moment_leaves_the_old_file_or_the_new_one(path, monkeypatch):
    old, new = np.zeros(3), np.ones(3)
    found = []
    for moment in MOMENTS:
        checkpoint.save(path, extra=old)
        child = os.fork()
        if child == 0:
            kill_at(moment)
            checkpoint.save(path, extra=new)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        content = checkpoint.load(path)["extra"]
        assert content.tolist() in (old.tolist(), new.tolist())
        found.append((os.WIFSIGNALED(status), content[0] == 1))
        if not os.WIFSIGNALED(status):
            break
    assert found[0] == (True, False)
    assert found[-1] == (False, True)
    assert (True, True) in found  # after the renaming
    assert len(found) > 5


def kill_at(moment):
    """Let this process be killed at the n-th call of the operating system in `replace_file`."""
    calls = itertools.count()

    def killing(function):
        def call(*args, **kwargs):
            if next(calls) == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return call

    class File(io.FileIO):
        write = killing(io.FileIO.write)

    def open_file(name, mode):
        return io.BufferedRandom(File(name, mode.replace("b", "")), 16)

    files.open = killing(open_file)
    for name in "fsync", "replace", "open":
        setattr(files.os, name, killing(getattr(os, name)))


def test_an_error_while_writing_leaves_the_old_file(path, monkeypatch):
    checkpoint.save(path, extra="old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            checkpoint.save(path, extra="new")
    assert checkpoint.load(path)["extra"] == "old"
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.skipif(os.name != "posix", reason="links and permissions are POSIX's")
def test_links_and_permissions_stay(path):
    checkpoint.save(path, extra=1)
    path.chmod(0o640)
    link = path.with_name(f"link{path.suffix}")
    link.symlink_to(path.name)
    checkpoint.save(link, extra=2)
    assert link.is_symlink()
    assert checkpoint.load(path)["extra"] == 2
    assert path.stat().st_mode & 0o777 == 0o640


# ---------------------------------------------------------------------------- other programs


def test_numpy_reads_what_was_saved_and_the_other_way_round(tmp_path):
    net, other = nn.Linear(2, 1), nn.Linear(2, 1)
    checkpoint.save(tmp_path / "net.npz", model=net)
    with np.load(tmp_path / "net.npz") as arrays:
        np.testing.assert_array_equal(arrays["weight"], net.weight.data)
    np.savez(tmp_path / "theirs.npz", **net.state_dict())
    content = checkpoint.load(tmp_path / "theirs.npz", model=other)
    np.testing.assert_array_equal(other.weight.data, net.weight.data)
    assert content["extra"] is content["optimizer"] is None


def test_a_folder_is_not_replaced(path):
    path.mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder; give a file in it a name"):
        checkpoint.save(path)
    assert os.listdir(path.parent) == [path.name]


@needs_safetensors
def test_a_name_that_only_safetensors_do_not_have_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no array has the name '__metadata__'"):
        checkpoint.save(tmp_path / "net.safetensors", model={"__metadata__": np.ones(1)})


@needs_safetensors
def test_safetensors_reads_what_was_saved_and_the_other_way_round(tmp_path):
    import ml_dtypes
    import safetensors.numpy

    net, other = nn.Linear(2, 1), nn.Linear(2, 1)
    checkpoint.save(tmp_path / "net.safetensors", model=net)
    arrays = safetensors.numpy.load_file(tmp_path / "net.safetensors")
    assert arrays.keys() == {"weight", "bias"}
    np.testing.assert_array_equal(arrays["weight"], net.weight.data)
    half = {name: value.astype(ml_dtypes.bfloat16) for name, value in arrays.items()}
    safetensors.numpy.save_file(half, tmp_path / "half.safetensors")
    content = checkpoint.load(tmp_path / "half.safetensors", model=other)
    np.testing.assert_array_equal(other.weight.data, half["weight"].astype(np.float32))
    assert content["model"]["weight"].dtype == np.float32
    other.load_state_dict(half)
    np.testing.assert_array_equal(other.bias.data, half["bias"].astype(np.float32))
    with pytest.raises(TypeError, match=r"dtype complex128.*\.npz"):
        checkpoint.save(tmp_path / "net.safetensors", extra=np.ones(1, complex))


def test_pytorchs_state_dicts_are_saved_and_loaded_by_their_names(path):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    ours = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    checkpoint.save(path, model=theirs.state_dict())
    checkpoint.load(path, model=ours)
    x = np.ones((2, 3), np.float32)
    np.testing.assert_allclose(
        ours(x).data, theirs(torch.tensor(x)).detach().numpy(), rtol=1e-5, atol=1e-6
    )
    ours[0].weight.data = np.ones((4, 3), np.float32)
    checkpoint.save(path, model=ours)
    state = {name: torch.tensor(value) for name, value in checkpoint.load(path)["model"].items()}
    theirs.load_state_dict(state)
    assert (theirs[0].weight == 1).all()
    checkpoint.save(path, model=theirs.to(torch.bfloat16).state_dict())
    checkpoint.load(path, model=ours)
