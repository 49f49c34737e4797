"""The ledger's file: whole lines whatever is killed, and every line of two commands at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from solver.grid import DataError
from submission.kaggle.ledger import LEDGER_FILE, Ledger
from tests.runs import ROOT, wait_for

WRITE = """
import sys
from pathlib import Path
from submission.kaggle.ledger import Ledger
name, lines = sys.argv[2], int(sys.argv[3])
for number in range(lines):
    Ledger(Path(sys.argv[1])).add("pushed", by=name, number=number, long="x" * 1500)
"""


def writer(path: Path, name: str, lines: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITE, str(path), name, str(lines)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_two_commands_at_once_lose_no_line(tmp_path: Path) -> None:
    path = tmp_path / LEDGER_FILE
    writers = [writer(path, name, 60) for name in "ab"]
    assert [process.wait(120) for process in writers] == [0, 0]
    events = Ledger(path).events()
    for name in "ab":
        numbers = [event["number"] for event in events if event["by"] == name]
        assert numbers == list(range(60))
    assert Ledger(path).broken() == 0


def test_whatever_is_killed_what_was_written_stays(tmp_path: Path) -> None:
    path = tmp_path / LEDGER_FILE
    before = 0
    for pause in (0.0, 0.01, 0.03):
        process = writer(path, "killed", 10**6)
        wait_for(lambda seen=before: len(Ledger(path).events()) > seen)  # type: ignore[misc]
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.wait()
        Ledger(path).add("pushed", by="after")
        events = Ledger(path).events()
        assert events[-1]["by"] == "after"
        assert len(events) > before
        before = len(events)
    numbers = [event["number"] for event in Ledger(path).events() if event["by"] == "killed"]
    assert all(now == before + 1 or now == 0 for before, now in pairwise(numbers))


LINE = '{"kind":"pushed","at":"2026-11-28T10:00:00+00:00","version":1}\n'


@given(cut=st.integers(0, len(LINE)))
def test_a_line_cut_anywhere_loses_only_itself(cut: int, tmp_path: Path) -> None:
    path = tmp_path / LEDGER_FILE
    path.write_text(LINE + LINE[:cut])
    Ledger(path).add("ran", version=2)
    events = Ledger(path).events()
    whole = cut >= len(LINE) - 1  # the end of the line need not have come
    assert [event["kind"] for event in events] == ["pushed"] * (1 + whole) + ["ran"]
    assert Ledger(path).broken() == (cut > 0 and not whole)


@pytest.mark.parametrize(
    "line", ["[]", "7", '{"kind": 3, "at": ""}', '{"at": ""}', "\xff", "{" * 5000]
)
def test_foreign_lines_are_broken_ones(line: str, tmp_path: Path) -> None:
    path = tmp_path / LEDGER_FILE
    path.write_text(f"{line}\n{LINE}", "latin-1")
    assert len(Ledger(path).events()) == 1
    assert Ledger(path).broken() == 1


def test_long_texts_are_cut_and_a_missing_ledger_is_empty(tmp_path: Path) -> None:
    ledger = Ledger.beside(tmp_path / "kaggle.toml")
    assert (ledger.events(), ledger.broken()) == ((), 0)
    ledger.add("ran", deep={"list": ["x" * 10**5]})
    assert len(ledger.events()[0]["deep"]["list"][0]) == 2000
    assert json.loads(ledger.path.read_text())["at"].endswith("+00:00")


def test_a_ledger_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / LEDGER_FILE).mkdir()
    with pytest.raises(DataError, match=r"ledger\.jsonl: cannot be written: Is a directory"):
        Ledger(tmp_path / LEDGER_FILE).add("pushed")
    with pytest.raises(DataError, match="cannot be read"):
        Ledger(tmp_path / LEDGER_FILE).events()
