"""Substitutions by Kaggle are found: after a push, and by what the run itself saw."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from solver.grid import DataError
from solver.kit import folder_print
from solver.notebook.record import RUN_FILE, said_line
from solver.runtime.run import RunError
from submission.kaggle.entries import entries_of
from submission.kaggle.ledger import LEDGER_FILE, Ledger
from submission.kaggle.notebook import asked_of, metadata, read_built
from submission.kaggle.readback import after_push, after_run
from submission.kaggle.runs import output
from submission.kaggle.settings import read_settings
from tests.submission.kaggle_stub import Kaggle
from tests.submission.pushing import NOTEBOOK, pushed, soon

ID = "0123456789abcdef"
SLUG = "arc-prize-2026-arc-agi-2"
MOUNT = f"/kaggle/input/competitions/{SLUG}/arc-agi_test_challenges.json"


@pytest.fixture
def built(place: Path) -> Path:
    """The folder with a notebook that has an id, and the competition's answer of a run."""
    identified(place, ID)
    return place


def identified(place: Path, id: str) -> None:
    notebook = copy.deepcopy(NOTEBOOK)
    notebook["metadata"]["arcsub"] |= {"id": id, "identity": {"commit": id[:7]}}  # type: ignore[index]
    (place / "notebook.ipynb").write_text(json.dumps(notebook))


def seen(place: Path, id: str = ID, **change: Any) -> dict[str, Any]:
    """The record of a run that is as the settings ask for, apart from a change."""
    return {
        "id": id,
        "devices": ["NVIDIA L4"] * 4,
        "internet": False,
        "image": {"KAGGLE_DOCKER_IMAGE": "registry/one@sha256:1"},
        "tasks": {"path": MOUNT, "number": 240, "digest": "d"},
        "sources": [
            {
                "source": "datasets/*/arc-kit-model",
                "path": "/kaggle/input/datasets/me/arc-kit-model",
                "print": folder_print(place / "model"),
            }
        ],
        "packages": {"numpy": "2.0.2"},
        "packages_digest": "p",
        **change,
    }


def left(run: dict[str, Any]) -> dict[str, bytes]:
    """The files that a run leaves."""
    two = {"attempt_1": [[1]], "attempt_2": [[2]]}
    submission = json.dumps({"a": [two]}).encode()
    return {"submission.json": submission, RUN_FILE: json.dumps(run).encode()}


def fetched(place: Path, version: int | None = None) -> list[str]:
    """The output of a download that succeeds."""
    said: list[str] = []
    settings = read_settings(place / "kaggle.toml")
    ledger = Ledger(place / LEDGER_FILE)
    output(settings, place / "out", ledger, soon(), said.append, version=version)
    return said


# --- after a push ---------------------------------------------------------------------


AFTER_PUSH = [
    ("machineShape", "NvidiaTeslaP100", "machine_shape is 'NvidiaTeslaP100', not 'NvidiaL4'"),
    ("machineShape", None, "machine_shape is '', not 'NvidiaL4'"),
    ("enableInternet", True, "enable_internet is True, not False"),
    ("enableGpu", False, "enable_gpu is False, not True"),
    ("enableTpu", True, "enable_tpu is True, not False"),
    ("isPrivate", False, "is_private is False, not True"),
    ("datasetDataSources", [], "dataset_sources is"),
    ("datasetDataSources", ["me/arc-kit-model", "me/old"], "dataset_sources is"),
    ("modelDataSources", ["a/b/transformers/c/1"], "model_sources is"),
    ("competitionDataSources", ["arc-prize-2025"], "competition_sources is"),
    ("kernelDataSources", ["me/other"], "kernel_sources is"),
    ("text", '{"cells": []}', "its cells are not the ones sent"),
    ("version", 7, "its version is 7, not 2"),
]


@pytest.mark.parametrize(("field", "value", "said"), AFTER_PUSH)
def test_a_substitution_after_a_push_is_an_error_with_a_way_out(
    built: Path, kaggle: Kaggle, field: str, value: Any, said: str
) -> None:
    pushed(built)
    kaggle.kernels["me/arc-kit"] |= {"version": 2, field: value}
    kaggle.faults["SaveKernel"] = [{"versionNumber": 2}]  # and keeps what it had
    with pytest.raises(RunError) as changed:
        pushed(built)
    (found,) = str(changed.value).split("Kaggle changed it: ")[1:]
    assert said in found
    assert "(" in found.split(";")[0]
    assert "push again" in found
    assert "version 2 is saved and runs: do not submit it unseen" in found
    entry = entries_of(Ledger(built / LEDGER_FILE).events()).all[-1]
    assert (entry.version, len(entry.differences)) == (2, 1)


def test_another_image_than_the_pinned_one_is_a_difference(built: Path) -> None:
    text = (built / "kaggle.toml").read_text()
    (built / "kaggle.toml").write_text('image = "registry/one@sha256:1"\n' + text)
    settings, notebook = read_settings(built / "kaggle.toml"), read_built(built / "notebook.ipynb")
    wanted = {**metadata(notebook, settings), "version": 1, "cells": notebook.cells}
    assert after_push(wanted, wanted) == []
    (found,) = after_push(wanted, wanted | {"docker_image": "registry/one@sha256:2"})
    assert "docker_image is 'registry/one@sha256:2', not 'registry/one@sha256:1'" in str(found)


@pytest.mark.parametrize(("field", "value", "said"), AFTER_PUSH[:-2])
def test_a_substitution_between_the_push_and_the_end_of_the_run_is_an_error(
    built: Path, kaggle: Kaggle, field: str, value: Any, said: str
) -> None:
    pushed(built)
    kaggle.kernels["me/arc-kit"][field] = value
    kaggle.files = left(seen(built))
    with pytest.raises(RunError) as changed:
        fetched(built)
    assert f"me/arc-kit, version 1: {said}" in str(changed.value)


# --- after the run --------------------------------------------------------------------


OLD = {"source": "datasets/*/arc-kit-model", "path": "/kaggle/input/arc-kit-model", "print": "old"}
AFTER_RUN = [
    ({"devices": ["Tesla P100-PCIE-16GB"]}, "it ran on Tesla P100-PCIE-16GB, not on NvidiaL4"),
    ({"devices": ["Tesla T4"] * 2}, "it ran on Tesla T4, Tesla T4, not on NvidiaL4"),
    ({"devices": ["NVIDIA L4"] * 2}, "it ran on NVIDIA L4, NVIDIA L4, not on NvidiaL4"),
    ({"devices": ["NVIDIA L40S"] * 4}, "not on NvidiaL4"),
    ({"devices": []}, "it ran on no GPU, not on NvidiaL4"),
    ({"internet": True}, "it had the internet"),
    ({"tasks": {}}, f"it found no tasks of {SLUG}"),
    ({"tasks": {"path": "/kaggle/input/arc-prize-2025/a.json"}}, "its tasks came from /kaggle"),
    ({"sources": [OLD]}, "has other files than were uploaded"),
    ({"sources": [{"source": "datasets/*/arc-kit-model"}]}, "was not mounted"),
    ({"id": "fedcba9876543210"}, "this is the output of another notebook, id fedcba9876543210"),
    ({"id": ""}, "the run left no run.json"),
]


@pytest.mark.parametrize(("change", "said"), AFTER_RUN)
def test_a_substitution_that_the_run_saw_is_an_error_with_a_way_out(
    built: Path, kaggle: Kaggle, change: dict[str, Any], said: str
) -> None:
    pushed(built)
    kaggle.files = left(seen(built, **change))
    with pytest.raises(RunError, match=r"me/arc-kit, version 1: ") as changed:
        fetched(built)
    assert said in str(changed.value)
    assert str(changed.value).endswith(")")  # the way out
    entry = entries_of(Ledger(built / LEDGER_FILE).events()).all[-1]
    assert len(entry.differences) == (change.get("id", ID) == ID)  # of this version, or of another
    kaggle.files = left(seen(built))
    assert fetched(built)[-1] == f"version 1: it ran as asked for, notebook id {ID}"
    entry = entries_of(Ledger(built / LEDGER_FILE).events()).all[-1]
    assert entry.differences == ()


MODEL = "models/a/b/transformers/c/2"


def test_another_image_and_another_version_of_a_model_are_seen_by_the_run(built: Path) -> None:
    settings, notebook = read_settings(built / "kaggle.toml"), read_built(built / "notebook.ipynb")
    asked = asked_of(notebook, settings) | {"image": "mirror/one@sha256:1"}
    assert after_run(asked, seen(built)) == []
    (other,) = after_run(asked | {"image": "registry/one@sha256:2"}, seen(built))
    assert "it ran in the image registry/one@sha256:1, not registry/one@sha256:2" in str(other)
    for path, wrong in (
        ("/kaggle/input/models/a/b/transformers/c/2", 0),
        ("/kaggle/input/b/transformers/c/2/deep", 0),
        ("/kaggle/input/models/a/b/transformers/c/1", 1),
        ("/kaggle/input/b/transformers/c/1", 1),
    ):
        found = after_run(asked, seen(built, sources=[{"source": MODEL, "path": path}]))
        assert len(found) == wrong, path
        assert all("is mounted as version 1" in str(one) for one in found)


def test_without_a_record_the_log_proves_what_the_run_saw(built: Path, kaggle: Kaggle) -> None:
    pushed(built)
    line = said_line(seen(built))
    events = [{"stream_name": "stdout", "time": 1.0, "data": f"{part}\n"} for part in ("hi", line)]
    for log in (json.dumps(events), f"hi\n{line}\n"):
        kaggle.files = {"arc-kit.log": log.encode()}
        assert fetched(built)[-1] == f"version 1: it ran as asked for, notebook id {ID}"
        (built / "out" / "arc-kit.log").unlink()


def test_the_output_of_an_earlier_version_is_not_taken_for_the_last(
    built: Path, kaggle: Kaggle
) -> None:
    pushed(built)
    identified(built, "f" * 16)
    pushed(built)
    kaggle.files = left(seen(built))  # of the first version
    with pytest.raises(RunError, match=r"version 2: this is the output of version 1 \(wait for"):
        fetched(built)
    kaggle.outputs = {"v1": left(seen(built)), "v2": left(seen(built, "f" * 16))}
    assert fetched(built, 1)[-1].startswith("version 1: it ran as asked for")
    assert fetched(built, 2)[-1].startswith("version 2: it ran as asked for")
    entries = entries_of(Ledger(built / LEDGER_FILE).events()).all
    assert [entry.seen["id"] for entry in entries] == [ID, "f" * 16]
    assert "packages" not in entries[0].seen


def test_a_notebook_of_an_older_kit_is_only_downloaded(place: Path, kaggle: Kaggle) -> None:
    kaggle.files = left({})
    assert fetched(place)[-1].endswith("submission.json is valid: 1 tasks")
    pushed(place)
    assert fetched(place)[-1].endswith("submission.json is valid: 1 tasks")


def test_every_page_of_files_is_downloaded(built: Path, kaggle: Kaggle) -> None:
    pushed(built)
    more = {f"more-{number}.txt": b"x" for number in range(7)}
    kaggle.files, kaggle.page = {**left(seen(built)), **more}, 2
    fetched(built)
    assert {path.name for path in (built / "out").glob("more-*")} == set(more)


def test_a_run_without_files_is_bad_input(built: Path, kaggle: Kaggle) -> None:
    pushed(built)
    with pytest.raises(DataError, match="its run left nothing, or still runs"):
        fetched(built)
