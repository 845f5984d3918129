"""Tests of microgrand.data: the digits, idx files sound and damaged, splits and mini-batches."""

import gzip
import hashlib
import importlib
import struct
import tracemalloc
from collections.abc import Iterator
from importlib import resources

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from microgrand import Tensor
from microgrand.data import batches, load_digits, load_mnist, read_idx, train_test_split

# ------------------------------------------------------------------------------------- digits


def test_digits_are_those_of_the_source():
    images, labels = load_digits()
    assert (images.shape, images.dtype) == ((1797, 8, 8), np.float32)
    assert (labels.shape, labels.dtype) == ((1797,), np.int64)
    # The numbers of each digit that the data set's description states.
    counts = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    np.testing.assert_array_equal(np.bincount(labels), counts)
    pixels = images * 16
    np.testing.assert_array_equal(pixels, pixels.round())
    assert (pixels.min(), pixels.max()) == (0, 16)
    # Of the pixels as in optdigits.tes, one byte each.
    assert (
        hashlib.sha256(pixels.astype(np.uint8).tobytes()).hexdigest()
        == "8f26b2bd9d135c256808f68f14fdabddde6d9c7f869ae419704b051f0f14b3b3"
    )


def test_digits_are_the_callers_own():
    images, labels = load_digits()
    images[:], labels[:] = -1, -1
    again = load_digits()
    assert again[0].min() == 0
    assert again[1].min() == 0


def test_origin_and_licence_travel_with_the_digits():
    text = resources.files("microgrand.data").joinpath("digits.txt").read_text("utf-8")
    assert "10.24432/C50P49" in text
    assert "CC BY 4.0" in text


# ---------------------------------------------------------------------------------- idx files

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx(array):
    """The bytes of an idx file with this array."""
    header = bytes([0, 0, CODES[array.dtype.str[1:]], array.ndim])
    lengths = struct.pack(f">{array.ndim}I", *array.shape)
    return header + lengths + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.fixture
def file(tmp_path):
    return tmp_path / "array"


@given(
    array=st.sampled_from(sorted(CODES)).flatmap(
        lambda code: hnp.arrays(code, hnp.array_shapes(min_dims=0, min_side=0, max_dims=4))
    ),
    compressed=st.booleans(),
)
def test_idx_file_gives_back_its_array(tmp_path_factory, array, compressed):
    path = tmp_path_factory.getbasetemp() / "array"
    path.write_bytes(gzip.compress(idx(array)) if compressed else idx(array))
    result = read_idx(path)
    assert result.dtype == array.dtype
    assert result.dtype.isnative
    assert result.flags.writeable
    np.testing.assert_array_equal(result, array, strict=True)


def test_idx_numbers_are_big_endian(file):
    file.write_bytes(bytes([0, 0, 0x0B, 1, 0, 0, 0, 2, 0x01, 0x02, 0xFF, 0xFE]))
    np.testing.assert_array_equal(read_idx(str(file)), np.array([258, -2], np.int16), strict=True)


ARRAY = np.arange(12, dtype=np.int16).reshape(3, 4)  # 12 bytes of header, 24 of elements
ZIPPED = gzip.compress(idx(ARRAY), mtime=0)  # the same bytes in every run


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"begins with the bytes \(none\), expected .* 00 00"),
        (b"\0\0\x08", "begins with the bytes 00 00 08, expected"),
        (b"\x89PNG", "begins with the bytes 89 50 4e 47, expected"),
        (b"\0\1" + idx(ARRAY)[2:], "begins with the bytes 00 01 0b 02"),
        (b"\0\0\x0a" + idx(ARRAY)[3:], "begins with the bytes 00 00 0a 02"),
        (idx(ARRAY)[:11], "has 11 bytes, expected at least 12 for the header .* 2 dimensions"),
        (idx(ARRAY)[:-1], r"has 35 bytes, expected 36 .* int16 and shape \(3, 4\)"),
        (idx(ARRAY) + b"\0", "has more bytes, expected 36"),
        (b"\0\0\x0e\4" + b"\xff" * 16, "has 20 bytes, expected 272225893"),
        (
            b"\0\0\x08\xff" + bytes([0, 0, 0, 1] * 255) + b"\7",
            r"shape \(1, .*\), which no array can have",
        ),
        (
            b"\0\0\x08\5" + b"\xff" * 16 + bytes(4),
            r"shape \(4294967295, .*, 0\), which no array can have",
        ),
        (ZIPPED[:2], "damaged gzip file"),
        (ZIPPED[:-9], "damaged gzip file"),
        (ZIPPED + b"more", "damaged gzip file"),
        (ZIPPED[:20] + b"\xff" + ZIPPED[21:], "damaged gzip"),
        (gzip.compress(idx(ARRAY)[:-1], mtime=0), "has 35 bytes, expected 36"),
    ],
)
def test_damaged_idx_file(file, content, message):
    file.write_bytes(content)
    with pytest.raises(ValueError, match=message) as raised:
        read_idx(file)
    assert str(file) in str(raised.value)


@pytest.mark.parametrize(("elements", "zeros"), [(3, 1 << 26), (2**31, 3)])
def test_a_small_gzip_takes_no_more_memory_than_it_promises_and_holds(file, elements, zeros):
    file.write_bytes(gzip.compress(struct.pack(">BBBBI", 0, 0, 8, 1, elements) + bytes(zeros)))
    tracemalloc.start()
    with pytest.raises(ValueError, match=f"expected {8 + elements} "):
        read_idx(file)
    largest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert largest < 1 << 22


def array_or_message(path):
    try:
        return read_idx(path)
    except ValueError as error:
        return str(error)


@given(
    position=st.integers(0, 60),
    replacement=st.binary(max_size=3),
    compressed=st.booleans(),
)
def test_any_damage_gives_an_array_or_value_error(
    tmp_path_factory, position, replacement, compressed
):
    content = gzip.compress(idx(ARRAY), mtime=0) if compressed else idx(ARRAY)
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content[:position] + replacement + content[position + 1 :])
    outcome = array_or_message(path)
    if isinstance(outcome, str):
        assert str(path) in outcome
    elif compressed:  # gzip has a checksum, so the damage was to what does not matter
        np.testing.assert_array_equal(outcome, ARRAY)


# -------------------------------------------------------------------------------------- MNIST

TRAIN_IMAGES = np.arange(3 * 28 * 28, dtype=np.uint16).reshape(3, 28, 28).astype(np.uint8)
TEST_IMAGES = 255 - TRAIN_IMAGES[:2]
MNIST = {
    "train-images-idx3-ubyte": TRAIN_IMAGES,
    "train-labels-idx1-ubyte": np.array([3, 1, 9], np.uint8),
    "t10k-images-idx3-ubyte": TEST_IMAGES,
    "t10k-labels-idx1-ubyte": np.array([0, 7], np.uint8),
}


def write_mnist(folder, changes=(), spell=lambda name: name, pack=bytes):
    for name, array in {**MNIST, **dict(changes)}.items():
        (folder / spell(name)).write_bytes(pack(idx(array)))


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzipped"])
@pytest.mark.parametrize(
    "spell",
    [
        lambda name: name,
        lambda name: name + ".gz",
        lambda name: name.replace("-idx", ".idx"),
        lambda name: name.replace("-idx", ".idx") + ".gz",
    ],
    ids=["standard", "gz", "dot", "dot and gz"],
)
def test_mnist(tmp_path, spell, pack):
    """Whether a file is compressed is told by its content, not by its name."""
    write_mnist(tmp_path, spell=spell, pack=pack)
    (x_train, y_train), (x_test, y_test) = load_mnist(str(tmp_path))
    for images, expected in ((x_train, TRAIN_IMAGES), (x_test, TEST_IMAGES)):
        expected = (expected / 255).astype(np.float32)
        np.testing.assert_array_equal(images, expected, strict=True)
        assert (images.min(), images.max()) == (0, 1)
    np.testing.assert_array_equal(y_train, np.array([3, 1, 9]), strict=True)
    np.testing.assert_array_equal(y_test, np.array([0, 7]), strict=True)


def test_mnist_images_of_another_size(tmp_path):
    images = np.zeros((3, 5, 7), np.uint8)
    write_mnist(tmp_path, {"train-images-idx3-ubyte": images})
    assert load_mnist(tmp_path)[0][0].shape == (3, 5, 7)


def test_mnist_folder_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        load_mnist(tmp_path / "nowhere")


def test_mnist_file_is_missing(tmp_path):
    write_mnist(tmp_path)
    name = "t10k-labels-idx1-ubyte"
    (tmp_path / name).rename(tmp_path / "other")
    (tmp_path / name).mkdir()  # a folder is not the file, but may hold it
    with pytest.raises(FileNotFoundError) as raised:
        load_mnist(tmp_path)
    message = str(raised.value)
    assert f"has no file {name} or {name}.gz or t10k-labels.idx1-ubyte or" in message
    assert f"it holds other, t10k-images-idx3-ubyte, {name}/, train-images" in message


def test_message_about_a_large_folder_is_short(tmp_path):
    for index in range(30):
        (tmp_path / f"file{index:02}").touch()
    with pytest.raises(FileNotFoundError, match=r"file18, file19 and 10 more$"):
        load_mnist(tmp_path)


def test_mnist_in_an_empty_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"it holds nothing$"):
        load_mnist(tmp_path)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("train-labels-idx1-ubyte", np.zeros(4, np.uint8), "holds 3 images, but .* 4 labels"),
        ("t10k-labels-idx1-ubyte", np.zeros(1, np.uint8), "holds 2 images, but .* 1 labels"),
        (
            "t10k-images-idx3-ubyte",
            np.zeros((2, 784), np.uint8),
            r"shape \(2, 784\), expected .* 3 dim",
        ),
        (
            "train-labels-idx1-ubyte",
            np.zeros((3, 1), np.uint8),
            r"shape \(3, 1\), expected .* 1 dim",
        ),
        (
            "train-images-idx3-ubyte",
            np.zeros((3, 28, 28), np.float32),
            "dtype float32 .* expected uint8",
        ),
        ("train-labels-idx1-ubyte", np.zeros(3, np.int32), "dtype int32 .* expected uint8"),
    ],
)
def test_mnist_files_that_do_not_fit(tmp_path, name, array, message):
    write_mnist(tmp_path, {name: array})
    with pytest.raises(ValueError, match=message) as raised:
        load_mnist(tmp_path)
    assert str(tmp_path / name) in str(raised.value)


# -------------------------------------------------------------------- splits and mini-batches


def samples(length):
    """Two arrays whose rows tell which sample they are."""
    labels = np.arange(length)
    return np.stack([labels, -labels], axis=1).astype(np.float32), labels


def assert_together(x, y):
    np.testing.assert_array_equal(x, np.stack([y, -y], axis=1))


@given(length=st.integers(1, 30), batch_size=st.integers(1, 40), seed=st.integers(0, 2**64))
@example(length=12, batch_size=4, seed=0)
def test_batches_hold_every_sample_once(length, batch_size, seed):
    x, y = samples(length)
    parts = list(batches(x, y, batch_size=batch_size, rng=seed))
    sizes = [len(y_batch) for _, y_batch in parts]
    assert all(size == batch_size for size in sizes[:-1])
    assert 1 <= sizes[-1] <= batch_size
    assert sorted(np.concatenate([y_batch for _, y_batch in parts])) == list(range(length))
    for x_batch, y_batch in parts:
        assert (x_batch.dtype, y_batch.dtype) == (x.dtype, y.dtype)
        assert_together(x_batch, y_batch)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16])
def test_sizes_may_be_small_numpy_integers(dtype):
    x = np.arange(250)
    sizes = [len(batch) for (batch,) in batches(x, batch_size=dtype(60), rng=0)]
    assert sizes == [60, 60, 60, 60, 10]
    train, test = train_test_split(x, train_size=dtype(100), rng=dtype(0))
    assert (len(train[0]), len(test[0])) == (100, 150)


@given(length=st.integers(2, 30), seed=st.integers(0, 2**64), data=st.data())
def test_split_holds_every_sample_once(length, seed, data):
    train_size = data.draw(st.integers(1, length - 1))
    x, y = samples(length)
    train, test = train_test_split(x, y, train_size=train_size, rng=seed)
    assert len(train[1]) == train_size
    assert sorted(np.concatenate([train[1], test[1]])) == list(range(length))
    for x_part, y_part in (train, test):
        assert_together(x_part, y_part)


def order_of_batches(rng):
    return np.concatenate([y for (y,) in batches(np.arange(50), batch_size=8, rng=rng)]).tolist()


def order_of_split(rng):
    (train,), (test,) = train_test_split(np.arange(50), train_size=30, rng=rng)
    return np.concatenate([train, test]).tolist()


@pytest.mark.parametrize("order", [order_of_batches, order_of_split])
def test_order_is_drawn_from_the_seed_or_generator(order):
    assert order(0) != list(range(50))
    assert order(0) == order(0) == order(np.int64(0)) == order(np.random.default_rng(0))
    assert order(0) != order(1)
    rng = np.random.default_rng(0)
    assert order(rng) != order(rng)


def test_batches_and_splits_are_copies():
    x = np.zeros((6, 2))
    for (x_batch,) in batches(x, batch_size=6, rng=0):
        x_batch += 1
    for (part,) in train_test_split(x, train_size=3, rng=0):
        part += 1
    assert not x.any()


def test_batches_is_an_iterator():
    assert isinstance(batches(np.arange(4), batch_size=2, rng=0), Iterator)


def both(*arrays, rng=0):
    """Call the two functions that share their checks; return the errors' messages."""
    messages = []
    for call in (
        lambda: batches(*arrays, batch_size=1, rng=rng),  # without asking for a batch
        lambda: train_test_split(*arrays, train_size=1, rng=rng),
    ):
        with pytest.raises((TypeError, ValueError)) as raised:
            call()
        messages.append(f"{raised.type.__name__}: {raised.value}")
    assert messages[0] == messages[1]
    return messages[0]


def test_arrays_that_do_not_fit():
    three, four = np.zeros((3, 2)), np.zeros(4)
    assert both(three, four).startswith("ValueError: the arrays must have the same number")
    assert both(three, four).endswith("got [3, 4]")
    assert both(np.zeros((0, 2))).endswith("at least one; got [0]")
    assert both().startswith("TypeError: expected at least one array")
    for wrong in "abc", {1: 2}, {1, 2}, range(3), None, 3:
        assert "array 1 must be a NumPy array, a list, a tensor or a frame, got" in both(
            three, wrong
        )
    assert "got range; convert it with np.asarray or list" in both(three, range(3))
    assert "array 0 must be a NumPy array of at least one dimension, got a 0-d" in both(np.array(1))


def frames():
    found = {}
    for name in "pandas", "polars":
        try:
            found[name] = importlib.import_module(name)
        except ImportError:
            continue
    return found


FRAMES = frames()


@given(
    length=st.integers(1, 20),
    batch_size=st.integers(1, 25),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
)
def test_samples_of_all_kinds_come_together(length, batch_size, shuffle, drop_last):
    x, y = samples(length)
    kinds = {"list": y.tolist(), "tuple": tuple(y.tolist()), "tensor": Tensor(x)}
    for name in "pandas", "polars":
        if (library := FRAMES.get(name)) is not None:
            kinds[name] = library.DataFrame({"y": y, "negative": -y})
            kinds[name + " series"] = library.Series(y)
    if not shuffle:
        kinds["iterator"] = iter(y.tolist())
    options = {"batch_size": batch_size, "shuffle": shuffle, "drop_last": drop_last}
    found = list(batches(y, *kinds.values(), rng=0, **options))
    expected = list(batches(y, rng=0, **options))
    assert len(found) == len(expected)
    for (numbers, *parts), (same,) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(numbers, same)
        for (name, kind), part in zip(kinds.items(), parts, strict=True):
            assert type(part) is (list if name == "iterator" else type(kind))
            values = part.data if isinstance(part, Tensor) else np.asarray(part)
            np.testing.assert_array_equal(values[:, 0] if values.ndim == 2 else values, numbers)


@given(length=st.integers(1, 20), batch_size=st.integers(1, 25))
def test_batches_in_order(length, batch_size):
    parts = [y for (y,) in batches(np.arange(length), batch_size=batch_size, shuffle=False)]
    np.testing.assert_array_equal(np.concatenate(parts), np.arange(length))
    for rng, shuffle in (0, True), (None, False):
        dropped = list(
            batches(
                np.arange(length), batch_size=batch_size, rng=rng, shuffle=shuffle, drop_last=True
            )
        )
        assert [len(part) for (part,) in dropped] == [batch_size] * (length // batch_size)


def test_iterators_are_read_as_far_as_asked():
    read = []

    def numbers():
        for number in range(7):
            read.append(number)
            yield number

    parts = batches(numbers(), np.arange(7), batch_size=3, shuffle=False)
    assert read == []
    first, second = next(parts)
    assert (first, second.tolist(), read) == ([0, 1, 2], [0, 1, 2], [0, 1, 2])
    assert [part for part, _ in parts] == [[3, 4, 5], [6]]
    assert list(batches(iter([]), batch_size=3, shuffle=False)) == []


def test_iterators_that_do_not_fit():
    with pytest.raises(TypeError, match=r"shuffle=False, or .* list\(iterator\)"):
        batches(iter([1]), batch_size=1, rng=0)
    with pytest.raises(ValueError, match=r"after 2, there are \[1, 2\] for a batch of 2"):
        list(batches(iter([1, 2, 3]), np.arange(4), batch_size=2, shuffle=False))
    with pytest.raises(TypeError, match="array 1 must be"):
        batches(iter([1]), None, batch_size=1, shuffle=False)
    for option in "shuffle", "drop_last":
        with pytest.raises(TypeError, match=f"{option} must be True or False, got 'no'"):
            batches(np.arange(3), batch_size=1, rng=0, **{option: "no"})


def test_a_batch_of_a_tensor_is_part_of_its_graph():
    x = Tensor(np.arange(4.0), requires_grad=True)
    for number, (part,) in enumerate(batches(x, batch_size=2, shuffle=False), start=1):
        (number * part).sum().backward()
    np.testing.assert_array_equal(x.grad, [1, 1, 2, 2])


@pytest.mark.parametrize("rng", [None, 0.5, "0", True, np.random.RandomState(0), np.random])
def test_rng_of_another_kind(rng):
    message = both(np.zeros(3), rng=rng)
    assert message.startswith("TypeError: rng must be a seed or a numpy.random.Generator")
    assert "np.random.default_rng(0)" in message


@pytest.mark.parametrize("batch_size", [0, -1])
def test_batch_size_out_of_its_range(batch_size):
    with pytest.raises(ValueError, match=f"batch_size must be at least 1, got {batch_size}"):
        batches(np.zeros(3), batch_size=batch_size, rng=0)


@pytest.mark.parametrize("train_size", [0, -1, 3, 4])
def test_train_size_out_of_its_range(train_size):
    with pytest.raises(ValueError, match=f"below the number of samples, 3, got {train_size}"):
        train_test_split(np.zeros(3), train_size=train_size, rng=0)


@pytest.mark.parametrize("count", [0.8, 2.0, "2", None, True])
def test_counts_are_integers(count):
    with pytest.raises(TypeError, match="batch_size must be an integer"):
        batches(np.zeros(3), batch_size=count, rng=0)
    with pytest.raises(TypeError, match=r"train_size must be an integer.*int\(0.8 \* len\(x\)\)"):
        train_test_split(np.zeros(3), train_size=count, rng=0)
