"""run.json: what a run saw, whole at every moment, and without a secret."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from solver.kit import folder_print
from solver.notebook.mounts import CHALLENGES
from solver.notebook.record import RUN_FILE, SAID, Record, image_names, read_record
from solver.notebook.session import Session, begin, summary
from tests.fakes import toy_tasks
from tests.runs import ROOT, wait_for, write_challenges

TASKS = toy_tasks(3)


@pytest.fixture
def outside() -> Iterator[tuple[str, int]]:
    """An address that answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()


@pytest.fixture
def nowhere() -> tuple[str, int]:
    """An address that refuses."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address: tuple[str, int] = closed.getsockname()
    return address


@pytest.fixture
def session(tmp_path: Path) -> Session:
    for name in ("input/competitions/some", "input/datasets/me/model", "working"):
        (tmp_path / name).mkdir(parents=True)
    write_challenges(tmp_path / "input/competitions/some" / CHALLENGES, TASKS)
    (tmp_path / "input/datasets/me/model/config.json").write_text("{}")
    return Session(
        *("some", "cpu", "", "12h", "60s"),
        seed=0,
        wheels="",
        model="datasets/*/model",
        digest="",
        started=time.monotonic() - 5,
        id="0123456789abcdef",
        working=tmp_path / "working",
        input=tmp_path / "input",
        scratch=tmp_path / "scratch",
    )


def test_a_run_says_what_it_saw_in_its_record_and_in_its_log(
    session: Session, nowhere: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_DOCKER_IMAGE", "registry/python@sha256:1")
    monkeypatch.setenv("KAGGLE_USER_SECRETS_TOKEN", "a-secret")
    said: list[str] = []
    begin(session, nowhere, said.append)
    record = read_record(session.working / RUN_FILE)
    assert record["id"] == "0123456789abcdef"
    assert record["image"]["KAGGLE_DOCKER_IMAGE"] == "registry/python@sha256:1"
    assert (record["internet"], record["scored"]) == (False, False)
    assert record["packages"]["numpy"]
    assert record["tasks"]["number"] == 3
    assert record["tasks"]["path"].endswith(CHALLENGES)
    (model,) = record["sources"]
    assert model["source"] == "datasets/*/model"
    assert model["print"] == folder_print(session.input / "datasets/me/model")
    assert record["stages"]["files"]["from_s"] == 0
    assert record["stages"]["session"]["from_s"] >= record["stages"]["files"]["to_s"] >= 5
    (line,) = said
    printed = json.loads(line.removeprefix(SAID))
    assert printed == {name: value for name, value in record.items() if name != "packages"}
    assert "a-secret" not in (session.working / RUN_FILE).read_text()


def test_an_open_network_and_a_missing_source_are_seen(
    session: Session, outside: tuple[str, int]
) -> None:
    begin(replace(session, model="datasets/me/gone", competition="gone"), outside, print)
    record = read_record(session.working / RUN_FILE)
    assert record["internet"] is True
    assert record["sources"][0]["path"].endswith("model")  # by a search: the print tells
    assert record["sources"][0]["layout"].startswith("search")


def test_every_stage_has_its_time_and_a_broken_one_too(session: Session) -> None:
    record = session.record
    with record.stage("first"):
        pass
    with pytest.raises(ZeroDivisionError), record.stage("second"):
        _ = 1 / 0
    stages = read_record(session.working / RUN_FILE)["stages"]
    assert list(stages) == ["first", "second"]
    assert all(5 <= times["from_s"] <= times["to_s"] for times in stages.values())
    (session.working / RUN_FILE).write_text("torn{")
    record.note(id="again")
    assert read_record(session.working / RUN_FILE)["id"] == "again"


def test_a_folder_that_cannot_be_written_costs_the_record_only(session: Session) -> None:
    Record(session.working / "gone", session.started).note(id="x")
    (session.input / "competitions/some" / CHALLENGES).unlink()
    assert summary(session) == ()


def test_a_record_is_whole_whenever_its_process_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from solver.notebook.record import Record\n"
        "record = Record(Path(sys.argv[1]), 0.0)\n"
        "for number in range(10**6): record.note(number=number, long='x' * 20_000)"
    )
    for pause in (0.02, 0.05, 0.11):
        (tmp_path / RUN_FILE).unlink(missing_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        wait_for((tmp_path / RUN_FILE).exists)
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert len(json.loads((tmp_path / RUN_FILE).read_text())["long"]) == 20_000


def test_a_print_sees_names_sizes_and_ends_of_files(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/a.bin").write_bytes(bytes(5))
    first = folder_print(tmp_path)
    (tmp_path / ".hidden").write_text("x")
    (tmp_path / "deep.zip").write_text("x")
    assert folder_print(tmp_path) == first
    (tmp_path / "deep/a.bin").write_bytes(bytes(4) + b"1")
    second = folder_print(tmp_path)
    (tmp_path / "deep/a.bin").rename(tmp_path / "deep/b.bin")
    assert len({first, second, folder_print(tmp_path)}) == 3


def test_an_images_names_are_few_and_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILD_DATE", "x" * 1000)
    monkeypatch.delenv("KAGGLE_DOCKER_IMAGE", raising=False)
    names = image_names()
    assert len(names["BUILD_DATE"]) <= 200
    assert "KAGGLE_DOCKER_IMAGE" not in names
