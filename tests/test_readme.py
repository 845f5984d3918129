"""What READMEs say is true: their code blocks run, and print what stands below them."""

import configparser
import contextlib
import io
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from source_lines import code_lines

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks_in(text):
    """List the code blocks: language, source, end and start."""
    return [(m[1], m[2], m.end(), m.start()) for m in BLOCK.finditer(text)]


README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [source for language, source, _, _ in blocks_in(README) if language == "sh"]


@pytest.mark.parametrize(("name", "least"), [("README.md", 4), ("microgrand/testing/README.md", 1)])
def test_python_blocks_print_what_the_readme_shows(name, least, monkeypatch):
    monkeypatch.chdir(ROOT)
    text = (ROOT / name).read_text(encoding="utf-8")
    blocks = blocks_in(text)
    namespace = {}  # one for all blocks: a reader pastes them into one session, from the top
    shown = 0
    for i, (language, source, end, _) in enumerate(blocks):
        if language != "python":
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(source, f"{name}, code block {i}", "exec"), namespace)
        following = blocks[i + 1] if i + 1 < len(blocks) else None
        if following and following[0] == "text" and not text[end : following[3]].strip():
            assert printed.getvalue() == following[1]
            shown += 1
        else:
            assert not printed.getvalue(), f"code block {i} prints something the README hides"
    assert shown >= least


def test_the_commands_are_one_line_each():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    install, *commands = COMMANDS
    assert install == "pip install .\n"
    runs = []
    for command in commands:
        assert command.count("\n") == 1
        install, _, run = command.partition(" && ")
        extra = re.fullmatch(r'pip install "\.\[(\w+)\]"', install)[1]
        assert extra in setup["options.extras_require"]
        runs.append(shlex.split(run))
    assert runs == [
        ["python", "examples/mlp_dropout.py"],
        ["python", "-m", "pytest"],
        ["mpiexec", "-n", "2", "python", "examples/mlp_distributed.py"],
        ["python", "-m", "microgrand.course", "start"],
    ]


def test_ci_finds_the_commands_of_the_tests_and_of_the_example():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    awk = re.search(r"command=\$\((awk .*?)\)$", script, re.DOTALL | re.MULTILINE)[1]
    words = re.findall(r"^run_from_readme (\S+)", script, re.MULTILINE)
    found = [
        subprocess.run(
            ["bash", "-c", f"word={word}; {awk}"], cwd=ROOT, capture_output=True, text=True
        ).stdout
        for word in words
    ]
    assert found == [COMMANDS[2], COMMANDS[1]]


def test_the_core_is_as_long_as_the_readme_says():
    core = README[README.index("## Where to start reading") :]
    said = int(re.search(r"about ([\d,]+) lines of code", core)[1].replace(",", ""))
    files = re.findall(r"^\| \[[^]]+\]\(([^)]+)\)", core, re.MULTILINE)
    lines = sum(code_lines((ROOT / name).read_text(encoding="utf-8")) for name in files)
    assert len(files) == 6
    assert lines == pytest.approx(said, rel=0.1)


def test_every_file_that_the_readme_links_to_is_there():
    targets = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert len(targets) > 10
    for target in targets:
        assert (ROOT / target).exists(), target
