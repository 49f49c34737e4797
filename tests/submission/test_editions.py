"""Editions of the competition: one table, and files of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from solver.data.submissions import Form, check_submission, dump_task, read_submission
from solver.data.template import template
from solver.grid import DataError
from submission.kaggle.editions import (
    edition_facts,
    edition_of,
    editions,
    machines_of,
    recorded_edition,
)
from submission.kaggle.settings import read_settings
from submission.notebook.build import build
from submission.notebook.settings import Settings
from tests.fakes import toy_tasks

OWN = """
slug = "arc-prize-2027"
challenges = "hidden_tasks.json"
submission = "answers.json"
attempts = 3
tasks = 400
limit = "9h"
machines = ["cpu", "NvidiaB200"]

[machine.NvidiaB200]
accelerator = "nvidiaB200"
gpu = "B200"
gpus = 8
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "2027.toml"
    path.write_text(OWN)
    return path


def test_the_table_has_the_years_and_every_machine_of_them() -> None:
    slugs = [edition.slug for edition in editions()]
    assert slugs == ["arc-prize-2024", "arc-prize-2025", "arc-prize-2026-arc-agi-2"]
    assert [edition_of(text).tasks for text in ("2024", "arc-prize-2025", "2026")] == [
        100,
        240,
        240,
    ]
    assert list(machines_of(edition_of("2024"))) == ["cpu", "NvidiaTeslaT4"]
    assert all(set(edition.machines) == set(machines_of(edition)) for edition in editions())
    assert {edition.form for edition in editions()} == {Form()}


def test_a_slug_that_is_not_known_has_the_newest_rules() -> None:
    another = edition_of("another-slug")
    assert (another.slug, another.limit_s) == ("another-slug", 12 * 3600)
    assert edition_facts(another) | {"name": "", "slug": ""} == edition_facts(editions()[-1]) | {
        "name": "",
        "slug": "",
    }


def test_a_file_of_ones_own_decides_the_notebook(own: Path) -> None:
    edition = edition_of(str(own))
    assert edition.form == Form("answers.json", 3)
    assert (edition.tasks, edition.limit_s) == (400, 9 * 3600)
    settings = Settings(engines="synth", competition=str(own), budget="8h", machine="NvidiaB200")
    notebook = json.loads(build(settings, "0123"))
    first = notebook["cells"][1]["source"]
    for line in ('CHALLENGES = "hidden_tasks.json"', 'SUBMISSION = "answers.json"', "ATTEMPTS = 3"):
        assert line in first
    assert notebook["metadata"]["kaggle"]["accelerator"] == "nvidiaB200"
    about = notebook["metadata"]["arcsub"]
    assert about["sources"]["competition"] == "competitions/arc-prize-2027"
    assert edition_facts(recorded_edition(about["edition"])) == edition_facts(edition)
    assert str(own.parent) not in json.dumps(notebook)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('slug = "arc-prize-2027"', "", "slug: is missing"),
        ("attempts = 3", "attempts = 0", "attempts: must be at least 1"),
        ("tasks = 400", 'tasks = "many"', "tasks: must be a whole number"),
        ('limit = "9h"', 'limit = "long"', "limit 'long' is no duration"),
        ('"answers.json"', '"../answers.json"', "submission: must be a name such as a.json"),
        ("[machine.NvidiaB200]", "[machine.Other]", r"no table \[machine.NvidiaB200\]"),
        ("tasks = 400", "hidden = 400", "hidden: no such setting"),
    ],
)
def test_a_file_with_a_fault_is_named(own: Path, old: str, new: str, said: str) -> None:
    own.write_text(OWN.replace(old, new))
    with pytest.raises(DataError, match=said) as fault:
        edition_of(str(own))
    assert str(own) in str(fault.value)


def test_a_budget_beyond_the_limit_and_a_machine_of_no_edition_are_refused(own: Path) -> None:
    with pytest.raises(DataError, match="--budget 10h: the competition's limit is 9h"):
        build(Settings(engines="synth", competition=str(own)), "0123")
    with pytest.raises(DataError, match="--machine NvidiaL4: there are cpu, NvidiaTeslaT4"):
        build(Settings(engines="synth", competition="2024", machine="NvidiaL4"), "0123")


def test_the_settings_of_a_push_name_an_edition_of_ones_own(own: Path) -> None:
    text = 'owner = "me"\ntitle = "ARC kit"\ncompetition = "arc-prize-2027"\n'
    settings = own.with_name("kaggle.toml")
    settings.write_text(f'{text}machine = "NvidiaB200"\nedition = "2027.toml"\n')
    chosen = read_settings(settings)
    assert (chosen.hardware.gpu, chosen.hardware.gpus) == ("B200", 8)
    assert chosen.rules.form == Form("answers.json", 3)
    settings.write_text(f'{text}machine = "NvidiaB200"\n')
    with pytest.raises(DataError, match="machine: there is no 'NvidiaB200'"):
        read_settings(settings)
    settings.write_text(
        f'{text}machine = "cpu"\nedition = "2027.toml"\n'.replace("prize-2027", "prize")
    )
    with pytest.raises(DataError, match=r"competition: .*2027\.toml is about arc-prize-2027"):
        read_settings(settings)


@pytest.mark.parametrize("attempts", [1, 2, 3])
def test_a_submission_has_as_many_attempts_as_the_edition_asks_for(
    attempts: int, tmp_path: Path
) -> None:
    (task,) = toy_tasks(1)
    path = tmp_path / "answers.json"
    path.write_text(f'{{"{task.id}": {dump_task(template(task), attempts)}}}')
    check_submission(path, [task], attempts)
    (entry,) = json.loads(path.read_text())[task.id]
    assert list(entry) == [f"attempt_{i + 1}" for i in range(attempts)]
    assert len(read_submission(path, attempts)[task.id][0]) == attempts
    with pytest.raises(DataError, match=f"attempt_{attempts + 1} is missing"):
        check_submission(path, [task], attempts + 1)
