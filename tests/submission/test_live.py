"""The terminal's and the browser's views of a run that is not finished."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from rich.console import Console

from solver.config import Config, Stage
from solver.data.arcio import Source
from solver.runtime.board import Snapshot
from solver.runtime.run import solve
from submission.report.watch import Pages
from submission.runs.live import live_view, picture
from tests.fakes import toy_tasks
from tests.journals import made_up_run
from tests.runs import PATIENCE_S, ROOT, write_challenges

TASKS = toy_tasks(4)
NOW = Snapshot(
    total=30,
    attempted=20,
    ended=3,
    states={"program": 12, "fallback": 18},
    left_s=100.0,
    tried={"synth": 20, "model": 5},
    doing=("synth 0ca9ddb6 1.2s", "starting"),
)


def drawn(now: Snapshot, elapsed_s: float) -> str:
    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(picture(now, elapsed_s))
    return console.export_text()


def test_tasks_engines_workers_and_the_end_are_shown() -> None:
    text = drawn(NOW, 60.0)
    for line in ("tasks tried", "20/30", "model", "5/30", "18 fallback, 12 program"):
        assert line in text
    assert "worker 0  synth 0ca9ddb6 1.2s" in text
    assert "1m40s left, ends by " in text
    assert "every task tried in about 30.0s" in text


def test_no_finish_is_promised_that_lies_behind_the_end() -> None:
    assert "every task" not in drawn(NOW, 600.0)


def test_many_workers_do_not_fill_the_screen() -> None:
    many = Snapshot(30, 0, 0, {}, 9.0, {}, doing=("idle",) * 100)
    assert "and 92 more workers" in drawn(many, 1.0)


def test_a_run_tells_what_its_workers_are_at(tmp_path: Path) -> None:
    told: list[Snapshot] = []
    stage = Stage("tests.fakes:slow")
    solve(Source("toy", TASKS), Config(4, (stage,)), tmp_path / "run", watch=told.append)
    assert any(at.startswith("tests.fakes:slow t00") for now in told for at in now.doing)
    assert told[-1].doing == ("idle",)
    assert told[-1].tried == {"tests.fakes:slow": 4}
    terminal = Console(file=io.StringIO(), force_terminal=True, width=100)
    with live_view(terminal) as view:
        for now in told:
            view(now)


def test_the_page_is_made_anew_when_there_is_news(tmp_path: Path) -> None:
    challenges = write_challenges(tmp_path / "c.json", TASKS)
    pages = Pages(tmp_path / "run", str(challenges), None)
    assert b"no run here" in pages.page()
    before = pages.state()
    made_up_run(tmp_path / "run", Source(str(challenges), TASKS), cut=True)
    pages.over = True
    assert pages.state() != before
    assert b'<script id="data"' in pages.page()
    assert pages.told_end


@pytest.fixture
def watched_run(tmp_path: Path) -> subprocess.Popen[str]:
    """`arcsub solve --watch` over toy tasks."""
    challenges = write_challenges(tmp_path / "c.json", TASKS)
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "submission.cli", "solve", str(challenges), "--watch"),
            *("--engines", "tests.fakes:slow", "--budget", "60s", "--workers", "1"),
            *("--run", str(tmp_path / "run")),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_run_is_watched_on_loopback(watched_run: subprocess.Popen[str], tmp_path: Path) -> None:
    with watched_run as run:
        assert run.stdout
        address = run.stdout.readline().split()[1]
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address, timeout=PATIENCE_S) as answer:
            assert b"ARC run" in answer.read()
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(address.rsplit("/", 2)[0] + "/", timeout=PATIENCE_S)
        run.terminate()
        assert run.wait(timeout=PATIENCE_S) == 0
    assert json.loads((tmp_path / "run/submission.json").read_text())
