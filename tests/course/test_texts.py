"""Skeletons, solutions and sentences: all there, and giving nothing away."""

import ast
import builtins
import inspect
import json
import subprocess
import sys

import pytest
from harness import FEW, examined, statuses

from microgrand.course import reference, sentences
from microgrand.course.door import Door
from microgrand.course.report import WORDS
from microgrand.course.solution import first_file, lines_of, without_names
from microgrand.course.stages import STAGES

ENGLISH = [*WORDS, *(text for stage in STAGES.values() for text in stage.sentences())]


def test_sentences_are_ascii_and_their_own():
    assert all(text.isascii() for text in ENGLISH)
    for stage in STAGES.values():
        own = [p.sentence for p in stage.properties]
        assert len(set(own)) == len(own)


def test_an_unknown_sentence_is_said_in_english():
    assert sentences.say("no such sentence", "zh") == "no such sentence"


@pytest.mark.parametrize(
    ("given", "lang"), [(None, "en"), ("zh", "zh"), ("zh_CN.UTF-8", "zh"), ("de_DE", "en")]
)
def test_the_language(given, lang, monkeypatch):
    monkeypatch.setenv("MICROGRAND_LANG", "en")
    assert sentences.language(given) == lang


# ------------------------------------------------------------------- skeletons and solutions


def tokens(line):
    return [t for t in line.replace("(", " ( ").split() if t]


@pytest.mark.parametrize("stage", STAGES.values(), ids=lambda stage: str(stage.number))
def test_neither_skeletons_nor_hints_have_lines_of_the_reference(stage):
    given = {line.strip() for line in stage.skeleton.splitlines()}
    contract = ("def ", "class ", "@", '"""', "self.p, self.rng")
    own = {
        line.strip()
        for line in inspect.getsource(reference).splitlines()
        if len(tokens(line)) >= 3 and not line.strip().startswith(contract)
    }
    assert not given & own
    assert not any(line == hint for line in own for hint in stage.hints)


def test_an_unwritten_stage_never_passes():
    text = first_file()
    for number, stage in STAGES.items():
        if number > 1:
            text += "\n\n" + without_names(stage.skeleton, text)
        ast.parse(text)
    found = statuses(examined("import contextlib\n" + text, go_on=True))
    assert "passed" not in found.values()
    assert {n for n, status in found.items() if status == "missing"} >= {1, 2, 4, 9, 10, 11, 12, 15}


@pytest.mark.parametrize("stage", STAGES.values(), ids=lambda stage: str(stage.number))
def test_every_stage_has_lines_to_show(stage):
    ast.parse(lines_of(stage))
    assert len(stage.hints) == 3
    assert len(stage.properties) >= 1
    assert all(n < stage.number for p in stage.properties for n in p.needs)


@pytest.mark.parametrize("number", [n for n in STAGES if n not in (14, 15, 16)])
def test_checks_use_names_of_their_own_and_earlier_stages_only(number):
    earlier = {name for n in STAGES if n <= number for name in STAGES[n].contract}
    later = {name for n in STAGES for name in STAGES[n].contract} - earlier
    removed = sorted(later - {"Module", "node"})  # which its own classes rest on
    source = inspect.getsource(reference) + "\n" + "\n".join(f"del {name}" for name in removed)
    assert statuses(examined(source, [number], examples=FEW)) == {number: "passed"}


def test_the_lines_of_a_stage_use_names_of_it_and_of_earlier_ones_only():
    known = {"np", "contextlib", "Module", *dir(builtins)}  # the skeleton has class Module
    for stage in STAGES.values():
        tree = list(ast.walk(ast.parse(lines_of(stage))))
        known |= {n.name for n in tree if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
        names = [n for n in tree if isinstance(n, ast.Name)]
        made = {n.arg for n in tree if isinstance(n, ast.arg)}
        made |= {n.id for n in names if isinstance(n.ctx, ast.Store)}
        assert {n.id for n in names} <= known | made, stage.number
        known |= made & {"RECORDING"}


# -------------------------------------------------------------------------------- the package


def test_nothing_else_imports_the_course():
    code = (
        "import sys, microgrand, microgrand.nn, microgrand.optim, microgrand.data, "
        "microgrand.testing.strategies; "
        "sys.exit(any(name.startswith('microgrand.course') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_contract_is_what_the_reference_has():
    door = Door(reference)
    assert all(door.has(name) for stage in STAGES.values() for name in stage.contract)


def test_translations_are_text():
    for lang in sentences.LANGUAGES[1:]:
        path = sentences.TEXT / lang / "sentences.json"
        if path.exists():
            found = json.loads(path.read_text(encoding="utf-8"))
            assert all(isinstance(text, str) and text for text in found.values())
