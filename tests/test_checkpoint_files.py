"""Files that are not checkpoints, or hostile ones: each is refused, and nothing is changed."""

import io
import json
import struct
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_checkpoint import needs_safetensors

from microgrand import checkpoint, nn


def npy(array, **options):
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(array), **options)
    return file.getvalue()


def npy_header(text, data=b""):
    body = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(body)) + body + data


def archive(*entries, method=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as opened, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that occur twice
        for name, content in entries:
            opened.writestr(zipfile.ZipInfo(name), content, method)
    return file.getvalue()


GOOD = archive(("weight.npy", npy(np.ones((1, 2)))), ("bias.npy", npy(np.ones(1))))
BAD_NPZ = {
    "empty": (b"", "not a zip"),
    "text": (b"hello", "not a zip"),
    "truncated": (GOOD[:-30], "zip"),
    "pickled": (
        archive(("weight.npy", npy(np.array([print], object), allow_pickle=True))),
        "Python objects, which are pickled",
    ),
    "texts": (archive(("weight.npy", npy(np.array(["a"])))), "of dtype <U1, expected numbers"),
    "records": (archive(("weight.npy", npy(np.zeros(2, "i4,f8")))), "expected numbers"),
    "times": (archive(("weight.npy", npy(np.zeros(2, "M8[s]")))), "expected numbers"),
    "promise": (
        archive(
            (
                "weight.npy",
                npy_header("{'descr': '<f8', 'fortran_order': False, 'shape': (2**40,)}"),
            )
        ),
        "Cannot parse header|malformed",
    ),
    "huge": (
        archive(
            (
                "weight.npy",
                npy_header("{'descr':'<f8','fortran_order':False,'shape':(9999999999999,)}", b"1"),
            )
        ),
        "takes 79999999999992 bytes, and there are 1",
    ),
    "negative": (
        archive(
            (
                "weight.npy",
                npy_header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -1)}", b"1" * 8),
            )
        ),
        r"has the shape \(-1, -1\)",
    ),
    "empty and huge": (
        archive(
            (
                "weight.npy",
                npy_header(f"{{'descr':'<f8','fortran_order':False,'shape':(0,{2**70})}}"),
            )
        ),
        "which no array can have|maximum|too large|not convert",
    ),
    "short": (archive(("weight.npy", npy(np.ones((1, 2)))[:-1])), "takes 16 bytes, .* are 15"),
    "long": (archive(("weight.npy", npy(np.ones((1, 2))) + b"0")), "takes 16 bytes, .* are 17"),
    "no array": (archive(("weight.npy", b"hello")), "magic"),
    "no header": (archive(("weight.npy", b"\x93NUMPY\x01\x00")), "expected"),
    "version": (archive(("weight.npy", b"\x93NUMPY\x09\x00" + b" " * 90)), "version"),
    "another file": (archive(("weight.txt", b"hello")), "'weight.txt' is not an array's name"),
    "path": (archive(("../weight.npy", npy(1.0))), "'../weight.npy' is not an array's name"),
    "absolute path": (archive(("/weight.npy", npy(1.0))), "is not an array's name"),
    "windows path": (archive(("a\\weight.npy", npy(1.0))), "is not an array's name"),
    "twice": (
        archive(("weight.npy", npy(1.0)), ("weight.npy", npy(2.0))),
        "'weight' occurs twice",
    ),
    "bomb": (
        archive(("weight.npy", npy(np.zeros(10**6))), method=zipfile.ZIP_DEFLATED),
        "more bytes than the file has",
    ),
    "compressed": (
        archive(("weight.npy", npy(1.0)), method=zipfile.ZIP_BZIP2) + b" " * 500,
        "compressed|zip",
    ),
    "checksum": (GOOD.replace(npy(np.ones(1)), npy(np.full(1, 2.0))), "CRC"),
    "wrong text": (
        archive(("microgrand.checkpoint.npy", npy(np.frombuffer(b"{", np.uint8)))),
        "expecting property name",
    ),
    "deep text": (
        archive(("microgrand.checkpoint.npy", npy(np.frombuffer(b"[" * 10**5, np.uint8)))),
        "recursion",
    ),
}


def with_text(**changes):
    """An archive of a checkpoint whose text has been changed."""
    state = {
        key: value if not isinstance(value, dict) else dict(value)
        for key, value in np.random.PCG64(0).state.items()
    }
    content = {
        "version": 1,
        "model": False,
        "random": {"library": state, "forks": 0, "modules": {}},
        "extra": None,
        **changes,
    }
    text = np.frombuffer(json.dumps(content).encode(), np.uint8)
    return archive(("microgrand.checkpoint.npy", npy(text)))


MERSENNE = np.random.MT19937(0).state
BAD_TEXTS = {
    "version": ({"version": 2}, "another version"),
    "no generators": ({"random": None}, "no states of generators"),
    "a kind": ({"extra": {"!": "module", "name": "os"}}, "an unknown kind, 'module'"),
    "an array": ({"extra": {"!": "array", "name": "weight"}}, "weight"),
    "a list": ({"extra": {"!": "tuple", "items": 3}}, "not iterable"),
    "a generator": (
        {"extra": {"!": "generator", "state": {"bit_generator": "SeedSequence"}}},
        "generator of an unknown kind, 'SeedSequence'",
    ),
    "a position": (
        {
            "extra": {
                "!": "generator",
                "state": {
                    "bit_generator": "MT19937",
                    "state": {"key": MERSENNE["state"]["key"].tolist(), "pos": 10**6},
                },
            }
        },
        "'pos' is 1000000",
    ),
    "a short key": (
        {
            "extra": {
                "!": "generator",
                "state": {"bit_generator": "MT19937", "state": {"key": [1], "pos": 0}},
            }
        },
        "not a list of 624 numbers",
    ),
    "other parts": (
        {"extra": {"!": "generator", "state": {"bit_generator": "PCG64", "state": 1}}},
        "other parts",
    ),
}
BAD_NPZ |= {f"text, {key}": (with_text(**text), words) for key, (text, words) in BAD_TEXTS.items()}


def assert_refused(file, content, words):
    file.write_bytes(content)
    net = nn.Linear(2, 1)
    before = net.state_dict()
    for load in (lambda: checkpoint.load(file), lambda: checkpoint.load(file, model=net)):
        with pytest.raises(ValueError, match=words) as raised:
            load()
        assert str(raised.value).startswith(f"{file} was refused, nothing was changed: ")
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize(("content", "words"), BAD_NPZ.values(), ids=BAD_NPZ)
def test_bad_npz_files_are_refused(tmp_path, content, words):
    tracemalloc.start()
    assert_refused(tmp_path / "bad.npz", content, f"(?i){words}")
    largest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert largest < 1 << 24


def test_the_archive_of_these_tests_is_read_unless_it_is_bad(tmp_path):
    net = nn.Linear(2, 1)
    (tmp_path / "good.npz").write_bytes(GOOD)
    checkpoint.load(tmp_path / "good.npz", model=net)
    assert (net.weight.data == 1).all()
    (tmp_path / "good.npz").write_bytes(with_text(extra=5))
    assert checkpoint.load(tmp_path / "good.npz")["extra"] == 5


def safe_file(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(shape=(1, 2), dtype="F32", offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


BAD_SAFE = {
    "empty": (b"", "promises a header of 0 bytes, and has 0"),
    "short": (b"\1\0\0", "promises a header"),
    "huge header": (safe_file({}, length=2**62), "promises a header of 4611686018427387904 bytes"),
    "no header": (safe_file(b"[]"), "does not begin with a header"),
    "no JSON": (safe_file(b"{oops"), "property name"),
    "no text": (safe_file(b"{\xff\xfe"), "utf-8"),
    "deep": (safe_file(b'{"a":' * 10**5), "recursion"),
    "twice": (
        safe_file(
            b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
            b'"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
            b"0000",
        ),
        "'w' occurs twice",
    ),
    "unknown dtype": (
        safe_file({"w": entry((8,), "F8_E4M3")}, b"0" * 8),
        "dtype 'F8_E4M3', which is not known",
    ),
    "shape": (safe_file({"w": entry((3,))}, b"0" * 8), "takes 12 bytes, and there are 8"),
    "negative": (safe_file({"w": entry((-1, -2))}, b"0" * 8), "has the shape"),
    "no shape": (safe_file({"w": {**entry(), "shape": 2}}, b"0" * 8), "has the shape 2"),
    "fraction": (safe_file({"w": entry((1.0, 2))}, b"0" * 8), "has the shape"),
    "huge": (
        safe_file({"w": entry((2**40,), offsets=(0, 2**42))}),
        "have 4398046511104 bytes, and the file has 0",
    ),
    "gap": (safe_file({"w": entry(offsets=(4, 12))}, b"0" * 12), "begins at byte 4, where 0"),
    "overlap": (
        safe_file({"v": entry(), "w": entry(offsets=(4, 12))}, b"0" * 12),
        "begins at byte 4, where 8",
    ),
    "truncated": (safe_file({"w": entry()}, b"0" * 7), "have 8 bytes, and the file has 7"),
    "too long": (safe_file({"w": entry()}, b"0" * 9), "have 8 bytes, and the file has 9"),
    "more keys": (
        safe_file({"w": {**entry(), "code": "x"}}, b"0" * 8),
        "does not describe an array",
    ),
    "no entry": (safe_file({"w": 3}), "does not describe an array"),
    "places": (safe_file({"w": {**entry(), "data_offsets": [0]}}, b"0" * 8), "has the place"),
    "metadata": (safe_file({"__metadata__": {"a": 1}}), "metadata are not strings"),
}


@needs_safetensors
@pytest.mark.parametrize(("content", "words"), BAD_SAFE.values(), ids=BAD_SAFE)
def test_bad_safetensors_files_are_refused(tmp_path, content, words):
    assert_refused(tmp_path / "bad.safetensors", content, words)


@pytest.mark.parametrize("ending", ["npz", pytest.param("safetensors", marks=needs_safetensors)])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1), replacement=st.binary(max_size=3), cut=st.booleans())
def test_any_damage_is_refused_or_does_no_harm(tmp_path_factory, ending, where, replacement, cut):
    file = tmp_path_factory.getbasetemp() / f"damaged.{ending}"
    net = nn.Linear(2, 2)
    checkpoint.save(file, model=net, extra={"numbers": [1, 2.5], "array": np.arange(3)})
    content = file.read_bytes()
    place = int(where * len(content))
    file.write_bytes(content[:place] + replacement + (b"" if cut else content[place + 1 :]))
    other = nn.Linear(2, 2)
    before = other.state_dict()
    refusal = ""
    try:
        checkpoint.load(file, model=other, generators=False)
    except ValueError as error:
        refusal = str(error)
    assert not refusal or str(file) in refusal
    for name, value in other.state_dict().items():
        assert not refusal or np.array_equal(value, before[name])
        assert value.shape == before[name].shape
