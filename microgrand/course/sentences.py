"""The course's texts in English and Chinese: lessons, and every sentence that is printed.

A sentence is written in English where it is used, and is its own key: one without a translation, or
changed since, is shown in English. The lesson of a stage is ``text/<language>/NN.md``; a translated
one begins with the hash of the English text it was made from.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import locale
import os
import re
from pathlib import Path

TEXT = Path(__file__).parent / "text"
LANGUAGES = ("en", "zh")


def language(given: str | None = None) -> str:
    """Return the language to use: the one given, or that of MICROGRAND_LANG, or of the locale."""
    with contextlib.suppress(ValueError):  # a locale that Python does not know
        given = given or os.environ.get("MICROGRAND_LANG") or locale.getlocale()[0]
    return "zh" if (given or "en").lower().startswith(("zh", "chinese")) else "en"


@functools.cache
def translations(lang: str) -> dict[str, str]:
    """Return the sentences of a language, by their English ones."""
    path = TEXT / lang / "sentences.json"
    if not path.exists():
        return {}
    return {str(k): str(v) for k, v in json.loads(path.read_text(encoding="utf-8")).items()}


def say(sentence: str, lang: str) -> str:
    """Return a sentence in a language, or in English where it is not translated."""
    return translations(lang).get(sentence, sentence)


def say_filled(text: str, lang: str) -> str:
    """Translate a filled-in sentence, or return it as it is.

    The template of such a sentence is ``"{a} has shape {b}"``; what fills its places is translated
    on its own.
    """
    found = translations(lang).get(text)
    if found is not None or not translations(lang) or EXCEPTION.match(text):
        return found or text
    for pattern, translated in patterns(lang):
        match = pattern.fullmatch(text)
        if match:
            places = {place: say_filled(said, lang) for place, said in match.groupdict().items()}
            return translated.format(**places)
    return text


@functools.cache
def patterns(lang: str) -> list[tuple[re.Pattern[str], str]]:
    """Return the templates as patterns, the longest first, with their translations."""
    found = [text for text in translations(lang) if PLACE.search(text)]
    found.sort(key=lambda text: (-len(PLACE.sub("", text)), text))
    return [(pattern_of(text), translations(lang)[text]) for text in found]


def pattern_of(text: str) -> re.Pattern[str]:
    """Return a pattern that matches a filled-in template."""
    parts = PLACE.split(text)  # every second one is the name of a place
    return re.compile(
        "".join(f"(?P<{p}>.+?)" if i % 2 else re.escape(p) for i, p in enumerate(parts)), re.DOTALL
    )


#: How Python names an exception.
EXCEPTION = re.compile(r"[A-Z]\w*: ")
#: A place in a template: one letter. Other sentences are filled by their own code.
PLACE = re.compile(r"\{([a-h])\}")


def lesson(number: int, lang: str) -> str:
    """Return the text of a stage's lesson."""
    path = TEXT / lang / f"{number:02}.md"
    if not path.exists():
        path = TEXT / "en" / f"{number:02}.md"
    if not path.exists():
        return f"# Stage {number}\n\nIts lesson is not written yet.\n"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(lines[1:] if lines[0].startswith("<!--") else lines).lstrip("\n")


def fingerprint(text: str) -> str:
    """Return the hash that a translated lesson names: ``<!-- of HASH -->`` is its first line."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]
