"""The documentation is true: its commands run, its links and settings exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from typer.core import TyperGroup as Group
from typer.main import get_command

from solver import __version__
from solver.config import Config, Stage
from submission.cli import app
from tests.control import paced
from tests.runs import PATIENCE_S, ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "models/README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
BIN = Path(sys.executable).parent
SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```(?:sh)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SETTINGS = re.compile(r"^```toml\n(# kaggle\.toml\n.*?)^```$", re.MULTILINE | re.DOTALL)


def lines(page: Path, blocks: re.Pattern[str]) -> list[list[str]]:
    """The words of the `arcsub` lines in a page's blocks."""
    found = "".join(blocks.findall(page.read_text())).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in found if line.startswith("arcsub ")]


def commands(page: Path) -> list[list[str]]:
    """The `arcsub` lines of a page's shell blocks, with a short budget for one worker."""
    found = lines(page, SHELL)
    for words in found:
        if "--budget" in words:
            del words[words.index("--budget") : words.index("--budget") + 2]
        if words[1] == "solve":
            words += ["--budget", paced(4), "--workers", "1"]
    return found


def test_the_readme_holds_commands() -> None:
    assert len(commands(ROOT / "README.md")) >= 3


@pytest.mark.parametrize("page", [p for p in PAGES if commands(p)], ids=lambda page: page.name)
def test_the_commands_of_a_page_run_one_after_the_other(page: Path, tmp_path: Path) -> None:
    for text in SETTINGS.findall(page.read_text()):
        (tmp_path / "kaggle.toml").write_text(text)
    for program, *arguments in commands(page):
        done = subprocess.run(
            [str(BIN / program), *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), shlex.join([program, *arguments])
        assert done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_has_the_options_it_is_given(page: Path) -> None:
    group = get_command(app)
    assert isinstance(group, Group)
    for _, name, *words in lines(page, BLOCK):
        group.commands[name].make_context(name, words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page: Path) -> None:
    files = re.findall(r"\b(?:solver|submission|scripts|tests|docs)/[\w/.-]*\w", page.read_text())
    assert [file for file in files if not (ROOT / file).exists()] == []


def test_the_changelog_begins_with_this_version() -> None:
    versions = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == __version__
    assert len(versions) > 1


def test_make_targets_that_are_named_exist() -> None:
    pages = "".join((ROOT / name).read_text() for name in ("README.md", "CONTRIBUTING.md"))
    named = set(re.findall(r"\bmake ([a-z]+)\b", pages))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"solve", "test"} <= named <= targets


def test_the_table_of_settings_is_complete() -> None:
    text = (ROOT / "docs" / "run.md").read_text().partition("\n## Settings\n")[2]
    explained = set(re.findall(r"^\| `([\w.]+)` \|", text, re.MULTILINE))
    of_the_command_line = {"budget_s", "steps", "seed", "profile", "stages"}
    settings = {field.name for field in fields(Config)} - of_the_command_line
    assert explained == settings | {f"stages.{field.name}" for field in fields(Stage)}
