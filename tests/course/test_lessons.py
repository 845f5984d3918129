"""The course's texts: lessons say what a stage asks for, and are translated as they are now."""

import ast
import io
import re
import tokenize
import unicodedata
from pathlib import Path

import pytest

from microgrand import course
from microgrand.course import reference, sentences
from microgrand.course.report import CASES, WORDS
from microgrand.course.stages import STAGES
from microgrand.course.stages.s14_digits import EPOCHS, MADE
from microgrand.course.vjps import VJPS

TRANSLATED = [lang for lang in sentences.LANGUAGES if lang != "en"]
SPAN = re.compile(r"`[^`]+`")
FOLDER = Path(course.__file__).parent


def text(number, lang):
    return (sentences.TEXT / lang / f"{number:02}.md").read_text(encoding="utf-8")


def width(line):
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


def spoken():
    """Return every sentence that may be printed in another language."""
    found = dict.fromkeys(sorted(WORDS))
    for path in sorted(FOLDER.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args:
                called = getattr(node.func, "id", getattr(node.func, "attr", ""))
                given = node.args[0]
                if called in ("say", "note") and isinstance(given, ast.Constant):
                    found[given.value] = None
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Fault":
                found.update(dict.fromkeys(t for a in node.args[:2] for t in templates(a)))
    found.update(dict.fromkeys(suspect.cause for suspect in VJPS))
    found.update(dict.fromkeys(sorted(CASES)))
    for stage in STAGES.values():
        found.update(dict.fromkeys(stage.sentences()))
    return list(found)


def templates(node):
    """Yield the sentences of a fault, with places for what is filled in, if they have words."""
    if isinstance(node, ast.IfExp):
        yield from templates(node.body)
        yield from templates(node.orelse)
    parts = [node] if isinstance(node, ast.Constant) else getattr(node, "values", [])
    places = iter("abcdefgh")
    text = "".join(p.value if isinstance(p, ast.Constant) else f"{{{next(places)}}}" for p in parts)
    if re.search("[A-Za-z]", sentences.PLACE.sub("", text)):
        yield text


@pytest.mark.parametrize("number", STAGES)
class TestLessons:
    def test_is_short_plain_and_ends_with_a_question(self, number):
        lesson = text(number, "en")
        assert lesson.isascii()
        assert 200 <= len(lesson.split()) <= 300
        assert re.match(rf"# {number} \S", lesson)
        assert f"`python -m microgrand.course check {number}`" in lesson
        last = lesson.strip().split("\n\n")[-1]
        assert last.startswith("**Ask yourself:** ")
        assert last.endswith("?")

    def test_fits_a_terminal(self, number):
        for lang in sentences.LANGUAGES:
            assert max(map(width, text(number, lang).splitlines())) <= 80, lang

    def test_names_the_contract(self, number):
        said = "".join(text(n, "en") + STAGES[n].skeleton for n in range(1, number + 1))
        missing = [name for name in STAGES[number].contract if name.split(".")[-1] not in said]
        assert missing == []

    def test_shows_no_line_of_the_solution(self, number):
        said = " ".join(text(number, "en").split())
        assert [line for line in lines_of_reference() if line in said] == []

    @pytest.mark.parametrize("lang", TRANSLATED)
    def test_is_translated_as_it_is_now(self, number, lang):
        first, rest = text(number, lang).split("\n", 1)
        assert first == f"<!-- of {sentences.fingerprint(text(number, 'en'))} -->"
        assert sentences.lesson(number, lang) == rest.lstrip("\n")
        original = text(number, "en")
        assert spans(rest) == spans(original)
        assert rest.count("\n\n") == original.count("\n\n")  # the same paragraphs
        assert rest.strip()[-1] in "?\uff1f"


def spans(lesson):
    """Return what is code; a span may be folded over two lines."""
    return {" ".join(found.split()) for found in SPAN.findall(lesson)}


def lines_of_reference():
    """Return the lines of the course's framework, but for what the contract says."""
    found = set()
    for line in Path(reference.__file__).read_text(encoding="utf-8").splitlines():
        code = line.split("  #")[0].strip()
        if code.startswith(("def ", "class ", "import ", "@", "#", '"')):
            continue
        try:
            tokens = list(tokenize.generate_tokens(io.StringIO(code).readline))
        except (tokenize.TokenError, IndentationError):
            continue
        if sum(token.type in (tokenize.NAME, tokenize.NUMBER) for token in tokens) >= 3:
            found.add(code)
    return found


def test_the_grader_s_net_is_in_its_lesson():
    said = " ".join(text(14, "en").split())
    assert MADE.format("seed") in said
    assert f"epochs={EPOCHS}," in said


@pytest.mark.parametrize("lang", TRANSLATED)
class TestSentences:
    def test_are_all_translated(self, lang):
        assert [s for s in spoken() if s not in sentences.translations(lang)] == []

    def test_none_is_left_over(self, lang):
        assert sorted(set(sentences.translations(lang)) - set(spoken())) == []

    def test_code_and_places_are_kept(self, lang):
        for original, translated in sentences.translations(lang).items():
            assert spans(original) == spans(translated), original
            places = re.findall(r"{\w+}", original)
            assert sorted(places) == sorted(re.findall(r"{\w+}", translated)), original


@pytest.mark.parametrize("number", STAGES)
def test_hints_are_a_ladder_of_three(number):
    stage = STAGES[number]
    assert stage.hints[0].endswith("?")
    assert all(hint.isascii() for hint in stage.hints)
