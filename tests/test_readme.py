"""What the README says is true: its code blocks run, and print what stands below them."""

import configparser
import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [(m[1], m[2], m.end(), m.start()) for m in BLOCK.finditer(README)]
PYTHON = [i for i, block in enumerate(BLOCKS) if block[0] == "python"]


@pytest.fixture(scope="module")
def namespace():
    """One for all blocks: a reader pastes them into one session, from the top."""
    return {}


def test_python_blocks_print_what_the_readme_shows(namespace, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert len(PYTHON) >= 3
    shown = 0
    for i in PYTHON:
        _, source, end, _ = BLOCKS[i]
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(source, f"README.md, code block {i}", "exec"), namespace)
        following = BLOCKS[i + 1] if i + 1 < len(BLOCKS) else None
        if following and following[0] == "text" and not README[end : following[3]].strip():
            assert printed.getvalue() == following[1]
            shown += 1
        else:
            assert not printed.getvalue(), f"code block {i} prints something the README hides"
    assert shown >= 3


def test_the_first_two_blocks_are_the_two_commands():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    commands = []
    for language, source, _, _ in BLOCKS[:2]:
        assert language == "sh"
        assert source.count("\n") == 1
        install, _, run = source.partition(" && ")
        extra = re.fullmatch(r'pip install "\.\[(\w+)\]"', install)[1]
        assert extra in setup["options.extras_require"]
        commands.append(shlex.split(run))
    assert commands == [["python", "examples/mlp_dropout.py"], ["python", "-m", "pytest"]]


def test_every_file_that_the_readme_names_is_there():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
    block = README[README.index("## The files") :]
    named = re.findall(r"^\| `([^`]+)`", block, re.MULTILINE)
    assert len(named) > 10
    for name in named:
        assert (ROOT / name).exists(), name
