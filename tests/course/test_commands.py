"""The commands, as a student and a teacher use them: what they print, write, and end with."""

import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from harness import SOURCE, some

from microgrand.course import check, grade
from microgrand.course.__main__ import main
from microgrand.course.report import report
from microgrand.course.runner import examine_file
from microgrand.course.stages import STAGES

SWAPPED = SOURCE.replace("(g * b, g * a)", "(g * a, g * b)")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MICROGRAND_LANG", "en")
    return tmp_path


def write(folder, source, name="mygrad.py"):
    (folder / name).write_text(source, encoding="utf-8")


def printed(capsys, *arguments):
    """Run a command; return its status and what it printed."""
    status = main(list(arguments))
    return status, capsys.readouterr().out


def test_start_writes_a_file_that_is_not_written_yet(folder, capsys):
    status, text = printed(capsys, "start")
    assert status == 0
    assert "mygrad.py is written" in text
    assert len((folder / "mygrad.py").read_text().splitlines()) <= 36
    status, text = printed(capsys)
    assert status == 1
    assert f"Stage 1 of {len(STAGES)}, values: not written yet." in text
    write(folder, "mine = 1\n")
    assert "left as it is" in printed(capsys, "start")[1]
    assert (folder / "mygrad.py").read_text() == "mine = 1\n"


def test_a_fault_from_the_check_to_the_lines(folder, capsys):
    write(folder, SWAPPED)
    status, text = printed(capsys)
    assert status == 1
    assert text.startswith(f"Stage 2 of {len(STAGES)}, one use: fault. Stages passed: 1.")
    for word in ("property:", "case:", "found:", "expected:", "cause:", "line:", "printed:"):
        assert f"\n{word}" in text
    assert "in __mul__" in text
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= 90
    hints = [printed(capsys, "hint")[1] for _ in range(5)]
    assert hints[:3] == [f"2.{i + 1}: {STAGES[2].hints[i]}\n" for i in range(3)]
    assert "once more" in hints[3]
    assert "def backward" in hints[4]
    assert printed(capsys, "case")[0] == 0
    run = subprocess.run([sys.executable, "case.py"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "x.grad is" in run.stdout


def test_hints_start_over_with_another_fault_of_the_stage(folder, capsys):
    write(folder, SWAPPED)
    printed(capsys)
    assert [printed(capsys, "hint")[1][:3] for _ in range(2)] == ["2.1", "2.2"]
    assert "(3 of 4)" in printed(capsys)[1]
    write(folder, SOURCE.replace("g * n * x ** (n - 1)", "g * x ** (n - 1)"))
    assert "(1 of 4)" in printed(capsys)[1]
    assert printed(capsys, "hint")[1].startswith("2.1")
    write(folder, SWAPPED)
    assert "(3 of 4)" in printed(capsys)[1]


def test_hints_without_a_fault_are_of_the_stage_that_is_next(folder, capsys):
    said = printed(capsys, "hint")[1]
    assert said == f"No fault is known. Stage 1, values, is next.\n1.1: {STAGES[1].hints[0]}\n"
    write(folder, SOURCE)
    assert printed(capsys, "check", "1")[0] == 0
    assert "Stage 2, one use, is next.\n2.1: " in printed(capsys, "hint")[1]
    assert printed(capsys, "lesson")[1].startswith("# 2 ")


def test_a_file_that_cannot_be_imported_has_no_hints_of_a_stage(folder, capsys):
    write(folder, "x = 1\ny = x / 0\n")
    for command in ([], ["status"], ["hint"]):
        text = printed(capsys, *command)[1]
        assert text.startswith("The file cannot be imported")
        assert "ZeroDivisionError" in text
        assert "mygrad.py, 2:  y = x / 0" in text
        assert "course hint" not in text
    for command in (["add"], ["add", "2"]):
        write(folder, "x = 1 / 0\n" if command == ["add"] else "\xff")
        (folder / "mygrad.py").write_bytes((folder / "mygrad.py").read_text().encode("latin-1"))
        assert main(command) == 2
        said = capsys.readouterr().err
        assert said
        assert "Traceback" not in said


@pytest.mark.parametrize("command", ["lesson", "add", "status"])
def test_without_hypothesis_it_says_so(folder, command):
    code = (
        "import sys; sys.modules['hypothesis'] = None; "
        f"from microgrand.course.__main__ import main; sys.exit(main(['{command}']))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 3
    assert "the course needs Hypothesis" in run.stderr
    assert "Traceback" not in run.stderr


def test_a_report_in_chinese_is_chinese(folder, capsys):
    write(folder, SWAPPED)
    text = printed(capsys, "--lang", "zh")[1]
    said = [line.partition("  ")[2].strip() for line in text.splitlines()[1:]]
    assert "x.grad 是" in text
    assert "x = " in text
    assert not re.search(r"[A-Za-z]+ (is|of|array) ", " ".join(said))
    for command in (["start"], ["case"], ["add", "12"], ["add", "2"]):
        assert re.search("[\u4e00-\u9fff]", printed(capsys, *command, "--lang", "zh")[1])


def test_notes_are_no_faults(folder):
    source = SOURCE.replace("            module.training = mode\n        return self\n", TRAINED)
    assert source != SOURCE
    write(folder, source)
    text = report(examine_file(folder / "mygrad.py", [13]), None, "en")
    assert "pass" in text.splitlines()[0]
    assert text.count("note:") == 2
    assert "train() does not return the net" in text.replace("\n           ", " ")


TRAINED = "            module.training = mode\n"


def test_json_is_one_object(folder, capsys):
    write(folder, SWAPPED)
    status, text = printed(capsys, "check", "2", "--json")
    result = json.loads(text)
    assert status == 1
    assert result["edition"] == 1
    (stage,) = result["stages"]
    assert {"stage", "name", "status", "properties", "fault", "score", "max_score"} <= set(stage)
    assert stage["status"] == "fault"
    assert {"property", "case", "found", "expected", "cause", "line", "printed"} <= set(
        stage["fault"]
    )


def test_a_right_stage_with_faulty_ones_before_it(folder, capsys):
    write(folder, SWAPPED)
    status, text = printed(capsys, "check", "12")
    assert status == 0
    assert "Checked with the course's parts in the place of stages 2" in text


def test_what_uses_the_inside_of_a_tensor_cannot_be_checked_alone(folder, capsys):
    source = SWAPPED.replace(
        "kept = self.rng.random(x.data.shape) >= self.p",
        "kept = self.rng.random(x.my_own_shape) >= self.p",
    ).replace(
        "self.parents, self.vjp, self.grad = (), None, None",
        "self.parents, self.vjp, self.grad = (), None, None\n"
        "        self.my_own_shape = self.data.shape",
    )
    write(folder, source)
    status, text = printed(capsys, "check", "12")
    assert status == 1
    assert "cannot be checked alone" in text
    assert "node()" in text
    assert "fault" not in text


def test_wrong_usage_and_no_file(folder, capsys):
    assert main(["check"]) == 2
    assert "start" in capsys.readouterr().err
    assert main(["case"]) == 2
    with pytest.raises(SystemExit) as error:
        main(["check", "99"])
    assert error.value.code == 2


def test_a_failure_of_the_grader_is_never_the_students(folder, capsys, monkeypatch):
    write(folder, SOURCE)
    prop = STAGES[1].properties[0]
    monkeypatch.setitem(STAGES[1].__dict__, "properties", [])
    assert main(["check", "1"]) == 3
    said = capsys.readouterr().err
    assert "not to blame" in said
    assert "Traceback" not in said
    assert prop.sentence


@pytest.mark.parametrize("text", ["", "{", "[]", '{"stages": 3, "last": 1}', "\x00"])
def test_a_broken_progress_file_loses_nothing(folder, capsys, text):
    write(folder, "")
    write(folder, text, ".microgrand-course.json")
    assert main(["hint"]) == 0
    assert "a new one is begun" in capsys.readouterr().err
    assert main(["hint"]) == 0
    assert capsys.readouterr().err == ""


def test_add_appends_and_leaves_what_is_there(folder, capsys):
    write(folder, "import numpy as np\n\n\nclass ReLU:\n    pass\n")
    assert printed(capsys, "add", "9")[0] == 0
    text = (folder / "mygrad.py").read_text()
    assert text.count("class ReLU") == 1
    assert "class Linear(Module)" in text
    assert "already" in printed(capsys, "add", "9")[1]
    assert (folder / "mygrad.py").read_text() == text


def test_add_to_a_file_with_an_error_of_syntax(folder, capsys):
    write(folder, "def f(:\n")
    assert main(["add", "9"]) == 2


def test_the_solution_is_shown_after_a_question_and_remembered(folder, capsys, monkeypatch):
    write(folder, "")
    monkeypatch.setattr("builtins.input", lambda text: "n")
    assert "class Dropout" not in printed(capsys, "solution", "12")[1]
    assert "class Dropout" in printed(capsys, "solution", "12", "--yes")[1]
    progress = json.loads((folder / ".microgrand-course.json").read_text())
    assert progress["stages"]["12"]["solution"] is True


def test_check_in_a_notebook(folder):
    write(folder, SWAPPED)
    found = check(2)
    assert not found.passed
    assert "fault" in repr(found)
    with pytest.raises(FileNotFoundError, match="start"):
        check(file="other.py")


# --------------------------------------------------------------------------------- grading


def test_gradescope_has_all_points_even_if_there_is_no_file(folder, capsys):
    (folder / "weights.json").write_text('{"1": 5, "2": 15}')
    maximum = []
    for name, source in (("a.py", SWAPPED), ("b.py", "def f(:\n"), ("none.py", None)):
        if source is not None:
            write(folder, source, name)
        out = folder / "out" / f"{name}.json"
        main(
            [
                "grade",
                name,
                "--stages",
                "1-2",
                "--weights",
                "weights.json",
                "--format",
                "gradescope",
                "--out",
                str(out),
                "--examples",
                "2",
            ]
        )
        found = json.loads(out.read_text())
        assert {"tests", "execution_time", "output_format", "stdout_visibility"} <= set(found)
        for test in found["tests"]:
            assert {
                "name",
                "number",
                "score",
                "max_score",
                "status",
                "output",
                "visibility",
                "tags",
            } <= set(test)
            assert (test["status"] == "passed") == (test["score"] == test["max_score"])
            assert test["output"] or test["status"] == "passed"
            said = test["output"].replace("\n           ", " ")
            if "property:" in said and name == "a.py":
                assert f"property:  {test['name'].partition(': ')[2]}\n" in said
        maximum.append(round(sum(test["max_score"] for test in found["tests"]), 3))
        assert abs(sum(t["score"] for t in found["tests"]) - found["score"]) < 1e-3
    assert maximum == [20, 20, 20]


def test_formats_of_one_result(folder, capsys, monkeypatch):
    write(folder, SWAPPED, "a.py")
    arguments = ["grade", "a.py", "--stages", "1-2", "--examples", "2"]
    status, text = printed(capsys, *arguments, "--format", "junit")
    assert status == 1
    suites = ElementTree.fromstring(text)
    assert [suite.get("failures") != "0" for suite in suites] == [False, True]
    monkeypatch.setenv("GITHUB_OUTPUT", str(folder / "outputs"))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(folder / "summary.md"))
    text = printed(capsys, *arguments, "--format", "github")[1]
    assert text.startswith("::error file=a.py,line=")
    assert "%0A" in text
    assert "score=" in (folder / "outputs").read_text()
    assert "| Stage 1, values | passed |" in (folder / "summary.md").read_text()
    result = json.loads(printed(capsys, *arguments, "--format", "json")[1])
    assert result["passed"] == [1]


def test_hidden_cases_are_other_ones_and_their_seed_leaves_the_environment(
    folder, capsys, monkeypatch
):
    source = SOURCE.replace(
        "class Tensor:",
        "import os\nLEAK = os.environ.get('MG_SEED')\nassert LEAK is None, LEAK\n\n\nclass Tensor:",
    )
    write(folder, source)
    monkeypatch.setenv("MG_SEED", "123")
    assert main(["grade", "mygrad.py", "--stages", "1", "--seed-env", "MG_SEED"]) == 0
    assert "seed: 123" in capsys.readouterr().err
    assert main(["grade", "mygrad.py", "--stages", "1", "--seed-env", "MG_SEED"]) == 2


def test_a_table_over_several_files(folder, capsys):
    write(folder, SOURCE, "a.py")
    write(folder, SWAPPED, "b.py")
    _, text = printed(
        capsys, "grade", "a.py", "b.py", "--stages", "2", "--table", "--examples", "10"
    )
    assert "stage 2, one use: 1 passed" in text
    assert "cause, 1: the factors of the product are swapped" in text


@pytest.mark.parametrize("text", ["0", "17", "3-", "a", "5-3"])
def test_stages_that_there_are_not(text):
    with pytest.raises(ValueError, match=r"there are stages 1 to|invalid literal"):
        grade.numbers_of(text)


@pytest.mark.parametrize("text", ["", "[]", '{"99": 1}', '{"1": -1}', '{"1": "x"}'])
def test_weights_that_make_no_sense(tmp_path, text):
    (tmp_path / "w.json").write_text(text)
    with pytest.raises(ValueError, match=r"w\.json"):
        grade.weights_of(str(tmp_path / "w.json"))


@pytest.mark.parametrize(("name", "files"), [("gradescope", 3), ("github", 1)])
def test_templates_are_written_once(folder, capsys, name, files):
    assert printed(capsys, "grade", "--template", name)[1].count("is written") == files
    assert printed(capsys, "grade", "--template", name)[1].count("left as it is") == files


def test_a_file_with_one_late_stage_only(folder, capsys):
    write(folder, "import numpy as np\n")
    assert printed(capsys, "add", "12")[0] == 0
    assert "not written yet" in printed(capsys, "check", "12")[1]
    path = folder / "mygrad.py"
    line = "        ...  # stage 12: one mask for this call, used forward and backward\n"
    assert line in path.read_text()
    path.write_text(
        path.read_text().replace(
            line,
            """\
        kept = self.rng.random(x.data.shape) >= self.p
        return node(np.where(kept, x.data, 0), (x,), lambda g: (np.where(kept, g, 0),))
""",
        )
    )
    status, text = printed(capsys, "check", "12")
    assert status == 1
    assert "the kept units are not scaled" in text
    assert "in the place of stages 1-11" in text.replace("\n", " ")
    assert printed(capsys, "case")[0] == 0
    run = subprocess.run([sys.executable, "case.py"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "y.data is" in run.stdout


@pytest.mark.parametrize(
    "name", some(["my-grad.py", "a b.py", "layers.py"], lambda name: name != "my-grad.py")
)
def test_cases_run_whatever_the_files_name_and_style(folder, capsys, name):
    source = SWAPPED
    if name == "layers.py":
        source = (Path(__file__).parent / "styles" / name).read_text(encoding="utf-8")
        source = source.replace("np.where(self.mask, x / keep, 0)", "np.where(self.mask, x, 0)")
    write(folder, source, name)
    stage = ["check", "12"] if name == "layers.py" else ["check"]
    assert printed(capsys, *stage, "--file", name)[0] == 1
    assert printed(capsys, "case", "--file", name)[0] == 0
    run = subprocess.run([sys.executable, "case.py"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert " is" in run.stdout


@pytest.mark.parametrize("words", [["--file", "nope.py", "check"], ["check", "--file", "nope.py"]])
def test_options_may_stand_before_the_command(folder, capsys, words):
    code = printed(capsys, *words)[0]
    assert code == 2
    assert printed(capsys, "--lang", "zh", "lesson", "12") == printed(
        capsys, "lesson", "12", "--lang", "zh"
    )
