"""The page about the architecture: every room and module is on it, and it answers questions."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.runs import ROOT

PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- rooms -->", "<!-- end of rooms -->"

QUESTIONS = 20


def part(begin: str, end: str) -> str:
    """The text of the page between two marks."""
    return PAGE.read_text("utf-8").partition(begin)[2].partition(end)[0]


def test_every_module_is_on_the_page_with_the_first_sentence_of_its_docstring() -> None:
    command = [sys.executable, str(ROOT / "scripts/architecture.py"), "--check"]
    assert subprocess.run(command, check=False).returncode == 0, "run: scripts/architecture.py"
    assert "| `solver/synth/grids/primitives.py` | The primitives of" in part(BEGIN, END)


def test_the_page_says_where_things_are() -> None:
    found = re.findall(
        r"^\| (.+\?) \| `(.+)` \|$", part("\n## Where is it?\n", "\n## "), re.MULTILINE
    )
    assert len({question for question, _ in found}) >= QUESTIONS
    listed = part(BEGIN, END)
    assert [module for _, module in found if f"| `{module}` |" not in listed] == []
    assert [module for _, module in found if not (ROOT / module).is_file()] == []


def test_the_vocabulary_has_the_words_of_a_run() -> None:
    words = set(re.findall(r"^\| (\w+) \|", part("\n## Vocabulary\n", "\n## "), re.MULTILINE))
    named = "stage slice pass slot rung view turn candidate guess program pair attempt job task"
    assert set(named.split()) <= words
