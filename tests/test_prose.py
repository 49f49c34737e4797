"""Docstrings read at once: how they begin, and how long their sentences are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.runs import ROOT

WORDS = 25  # of a sentence; code and brackets count as one word
BEGINNINGS = re.compile(r"(What|How|Where|Whether|By|Which|As|Who|Whoever|Those|That|It|If)\b")
PARAGRAPHS = re.compile(r"\n\s*\n|\n(?=\s*[-*|])|\n(?=\w+(?:, \w+)*: )")
SENTENCES = re.compile(r"(?<=[.:;])\s+")
CODE = re.compile(r"`[^`]*`|\([^)]*\)")


def docstrings(*folders: str) -> Iterator[tuple[str, str]]:
    """The place and the text of every docstring below some folders."""
    for path in sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = ast.get_docstring(node)
                if text:
                    yield f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}", text


def sentences(text: str) -> Iterator[str]:
    for paragraph in PARAGRAPHS.split(text):
        yield from SENTENCES.split(paragraph.replace("\n", " "))


def test_a_docstring_begins_with_a_verb_or_a_noun() -> None:
    every = docstrings("solver", "submission", "scripts", "tests")
    assert [place for place, text in every if BEGINNINGS.match(text)] == []


def test_a_sentence_of_a_docstring_is_short() -> None:
    long = [
        (place, sentence)
        for place, text in docstrings("solver", "submission")
        for sentence in sentences(text)
        if len(CODE.sub("X", sentence).split()) > WORDS
    ]
    assert long == []


def test_a_long_sentence_is_found() -> None:
    (found,) = sentences(" ".join(["word"] * (WORDS + 1)))
    assert len(found.split()) > WORDS
    assert BEGINNINGS.match("What it does.")
    assert not BEGINNINGS.match("Whatever fits.")
