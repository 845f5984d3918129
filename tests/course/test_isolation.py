"""Whatever a student's file does, there is a report, within seconds, at the student's line."""

import sys
import textwrap
from pathlib import Path

import pytest
from harness import some

from microgrand.course import reference
from microgrand.course.report import report
from microgrand.course.runner import examine_file

RIGHT = Path(reference.__file__).read_text(encoding="utf-8")
ADD = "        other = as_tensor(other)\n        return node(self.data + other.data"
LINE = RIGHT[: RIGHT.index(ADD)].count("\n") + 1


def fault_of(tmp_path, source, stages=(1,), name="mygrad.py", **options):
    path = tmp_path / name
    path.write_text(source, encoding="utf-8")
    result = examine_file(path, stages, **{"patience": 0.2, **options})
    assert all(len(line) < 200 for line in report(result, None, "en").splitlines())
    return result["stages"][-1]["fault"]


def inside_add(*lines):
    """Return the reference with more lines at the beginning of `__add__`."""
    return RIGHT.replace(ADD, textwrap.indent("\n".join(lines), " " * 8) + "\n" + ADD)


LOOPS = {
    "in a function": (inside_add("while True:", "    pass"), LINE),
    "with all exceptions swallowed": (
        inside_add(
            "while True:",
            "    try:",
            "        int('x')",
            "    except BaseException:",
            "        pass",
        ),
        LINE,
    ),
    "at import": ("x = 0\nwhile True: x += 1\n", 2),
}


@pytest.mark.parametrize("kind", some(LOOPS, lambda kind: kind != "in a function"))
def test_an_endless_loop_is_told_at_its_line(tmp_path, kind):
    source, line = LOOPS[kind]
    fault = fault_of(tmp_path, source)
    assert "still running" in fault["found"]
    assert line <= fault["line"]["line"] <= line + 4


def test_an_endless_loop_is_told_once_in_a_stage(tmp_path):
    source = RIGHT.replace("    net.train()\n", "    while True:\n        pass\n")
    assert source != RIGHT
    path = tmp_path / "mygrad.py"
    path.write_text(source, encoding="utf-8")
    (stage,) = examine_file(path, [14], go_on=True, patience=0.2)["stages"]
    assert "still running after" in stage["fault"]["found"]
    assert [p["status"] for p in stage["properties"]].count("fault") == 1


@pytest.mark.slow
def test_a_call_of_c_without_an_end_is_told_at_its_line(tmp_path):
    fault = fault_of(tmp_path, inside_add("import itertools", "sum(itertools.repeat(1))"))
    assert "does not return" in fault["found"]
    assert fault["line"]["line"] == LINE + 1


def test_what_sleeps_is_ended_by_the_clock(tmp_path):
    fault = fault_of(tmp_path, "import time\ntime.sleep(1000)\n", patience=0.1)
    assert "still running" in fault["found"]
    assert fault["line"]["line"] == 2


ENDS = {
    "sys.exit": (["import sys", "sys.exit(0)"], "sys.exit was called", LINE + 1),
    "os._exit": (["import os", "os._exit(0)"], "os._exit was called", LINE + 1),
    "recursion": (["return self + other"], "RecursionError", LINE),
}


@pytest.mark.parametrize("kind", ENDS)
def test_an_end_of_the_process_is_no_pass(tmp_path, kind):
    lines, words, line = ENDS[kind]
    fault = fault_of(tmp_path, inside_add(*lines))
    assert words in fault["found"]
    assert fault["line"]["line"] == line


@pytest.mark.parametrize(
    "call", some(["sys.exit(0)", "os._exit(0)", "raise SystemExit"], lambda call: "os" in call)
)
def test_an_end_at_import_is_no_pass(tmp_path, call):
    fault = fault_of(tmp_path, f"import os, sys\n\n{call}\n")
    assert "ends the process" in fault["found"]
    assert fault["line"]["line"] == 3


def test_a_crash_of_python_is_told_at_its_line(tmp_path):
    fault = fault_of(tmp_path, inside_add("import ctypes", "ctypes.string_at(0)"))
    assert "segmentation fault" in fault["found"] or "signal" in fault["found"]
    if sys.platform == "linux":
        assert fault["line"]["line"] == LINE + 1


@pytest.mark.skipif(sys.platform != "linux", reason="addresses are limited on Linux only")
def test_memory_is_limited(tmp_path):
    fault = fault_of(tmp_path, inside_add("bytearray(1 << 34)"))
    assert "MemoryError" in fault["found"]
    assert fault["line"]["line"] == LINE


def test_floods_of_prints_are_cut_and_the_last_lines_shown(tmp_path):
    lines = ["for i in range(20000):", "    print('line', i, 'x' * 100)", "return None"]
    fault = fault_of(tmp_path, inside_add(*lines), patience=2)
    assert "None" in fault["found"]
    assert "line 19999" in fault["printed"]
    assert len(fault["printed"]) < 5000


def test_what_is_printed_without_a_console_is_no_harm(tmp_path):
    fault = fault_of(tmp_path, inside_add(r"print('\u4f60\u597d \ud800')", "return None"))
    assert "None" in fault["found"]
    assert "\u4f60\u597d" in fault["printed"]


def test_a_verdict_that_is_printed_or_written_does_not_count(tmp_path):
    lines = [
        "import glob, json, tempfile",
        "print(json.dumps({'event': 'done'}))",
        "for path in glob.glob(tempfile.gettempdir() + '/microgrand-course-*/records'):",
        "    open(path, 'a').write(json.dumps({'event': 'done', 'nonce': 'x'}) + '\\n')",
        "import os; os._exit(0)",
    ]
    fault = fault_of(tmp_path, inside_add(*lines))
    assert fault is not None


SYNTAX = "class Tensor:\n    def __init__(self:\n        pass\n"
BROKEN = {
    "an error of syntax": (SYNTAX, "SyntaxError", 2),
    "an error at import": ("x = 1\ny = x / 0\n", "ZeroDivisionError", 2),
    "a module that is not there": ("import no_such_module\n", "ModuleNotFoundError", 1),
    "a name that is not there": ("def f():\n    return g()\nf()\n", "NameError", 2),
}


@pytest.mark.parametrize("kind", some(BROKEN, lambda kind: kind.startswith("an error")))
def test_a_file_that_cannot_be_imported(tmp_path, kind):
    source, words, line = BROKEN[kind]
    fault = fault_of(tmp_path, source)
    assert words in fault["found"]
    assert fault["line"]["line"] == line
    assert fault["property"] == "the file can be imported"


def test_a_file_that_replaces_parts_of_numpy(tmp_path):
    fault = fault_of(tmp_path, RIGHT + "\nnp.add = None\n")
    assert fault["found"] == "the file replaces numpy.add"


@pytest.mark.parametrize(
    "source", some(["", "\n\n", "# nothing\n", "x = 1\n"], lambda source: source == "")
)
def test_an_empty_file_is_not_written_yet(tmp_path, source):
    (tmp_path / "mygrad.py").write_text(source, encoding="utf-8")
    result = examine_file(tmp_path / "mygrad.py")
    assert [stage["status"] for stage in result["stages"]] == ["missing"]


def test_grading_goes_on_after_what_ends_the_process(tmp_path):
    path = tmp_path / "mygrad.py"
    path.write_text(
        RIGHT.replace("def log(self):", "def log(self):\n        import os; os._exit(0)"),
        encoding="utf-8",
    )
    result = examine_file(path, [8, 10], go_on=True, patience=1, examples=2, whole=True)
    assert [stage["status"] for stage in result["stages"]] == ["fault", "substituted, passed"]
    statuses = [p["status"] for p in result["stages"][0]["properties"]]
    assert statuses[0] == "passed"
    assert statuses.count("fault") >= 2
