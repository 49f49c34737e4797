"""Scores find back to the versions that made them, and differences are explained."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from solver.grid import DataError
from solver.runtime.run import RunError
from submission.kaggle import scores as kaggle_scores
from submission.kaggle.entries import Entries, entries_of, mark
from submission.kaggle.history import compared_lines, history_lines
from submission.kaggle.ledger import LEDGER_FILE, Ledger
from submission.kaggle.runs import logs, status
from submission.kaggle.service import connect
from submission.kaggle.settings import read_settings
from submission.runs.rerun import RERUN_SHARE, compare_scores, pooled_spread
from tests.runs import ROOT, wait_for
from tests.submission.kaggle_stub import KEY, Kaggle
from tests.submission.pushing import pushed, soon
from tests.submission.test_readback import fetched, identified, left, seen

ONE, TWO = "1" * 16, "2" * 16


def ledger(place: Path) -> Ledger:
    return Ledger(place / LEDGER_FILE)


def entries(place: Path) -> Entries:
    return entries_of(ledger(place).events())


def submitted(place: Path, version: int, wait: bool = False) -> list[str]:
    said: list[str] = []
    settings = read_settings(place / "kaggle.toml")
    kaggle_scores.submit(
        *(settings, version, "a note", ledger(place), lambda question: True),
        *(soon(), said.append),
        wait=wait,
    )
    return said


def scored(ref: int, note: str, score: str, state: str = "COMPLETE", **more: Any) -> dict[str, Any]:
    """A submission as Kaggle lists it."""
    date = "2026-11-28T10:00:00Z"
    return {
        "ref": ref,
        "description": note,
        "publicScore": score,
        "status": state,
        "date": date,
        **more,
    }


def refreshed(place: Path) -> list[str]:
    settings = read_settings(place / "kaggle.toml")
    return kaggle_scores.fetch_scores(connect(soon()), settings, ledger(place), soon())


def two_versions(place: Path) -> None:
    """Two versions that were pushed and submitted, the second before the first had run."""
    for version, id in ((1, ONE), (2, TWO)):
        identified(place, id)
        pushed(place)
        submitted(place, version)


def notes(kaggle: Kaggle) -> list[str]:
    return [one["submissionDescription"] for one in kaggle.submissions]


def test_scores_that_arrive_late_and_out_of_order_find_their_versions(
    place: Path, kaggle: Kaggle
) -> None:
    two_versions(place)
    first, second = notes(kaggle)
    kaggle.scores = [scored(2, second, "31.2"), scored(1, first, "", "PENDING")]
    refreshed(place)
    kaggle.outputs = {"v1": left(seen(place, ONE)), "v2": left(seen(place, TWO))}
    fetched(place, 2)  # the later version's output first
    fetched(place, 1)
    kaggle.scores = [scored(2, second, "31.2"), scored(1, first, "28.5", privateScore="27.0")]
    (line,) = refreshed(place)
    assert line == f"submission 1 ({first}): score 28.5, private 27.0"
    assert refreshed(place) == []  # nothing is new
    one, two = entries(place).all
    assert [(e.version, e.id, e.seen["id"]) for e in (one, two)] == [(1, ONE, ONE), (2, TWO, TWO)]
    assert [(s.ref, s.public, s.private) for e in (one, two) for s in e.scores] == [
        *((1, "28.5", "27.0"), (2, "31.2", "")),
    ]
    lines = history_lines(ledger(place))
    assert any("me/arc-kit, version 1  id 11111111" in line for line in lines)
    assert any("score 28.5, private 27.0" in line for line in lines)


def test_a_score_without_its_submission_is_matched_by_its_note(place: Path, kaggle: Kaggle) -> None:
    two_versions(place)
    first, second = notes(kaggle)
    path = place / LEDGER_FILE
    kept = [line for line in path.read_text().splitlines() if '"submitted"' not in line]
    path.write_text("\n".join(kept) + "\n")
    kaggle.scores = [scored(71, second, "31.2"), scored(70, first, "28.5"), scored(3, "other", "9")]
    refreshed(place)
    assert [e.scores[0].public for e in entries(place).all] == ["28.5", "31.2"]
    assert [score.ref for score in entries(place).strays] == [3]
    assert any(line.startswith("stray     submission 3") for line in history_lines(ledger(place)))


def test_the_same_notebook_pushed_twice_has_two_scores(place: Path, kaggle: Kaggle) -> None:
    identified(place, ONE)
    for version in (1, 2):
        pushed(place)
        submitted(place, version)
    kaggle.scores = [scored(2, notes(kaggle)[1], "30"), scored(1, notes(kaggle)[0], "29")]
    refreshed(place)
    assert [e.scores[0].public for e in entries(place).all] == ["29", "30"]


def test_every_page_of_submissions_is_read(place: Path, kaggle: Kaggle) -> None:
    kaggle.scores, kaggle.page = [scored(ref, "", str(ref)) for ref in range(1, 8)], 3
    assert len(refreshed(place)) == 7
    assert len(kaggle.made("ListSubmissions")) == 3


def test_before_the_rules_are_accepted_there_are_no_scores(place: Path, kaggle: Kaggle) -> None:
    kaggle.faults["ListSubmissions"] = [403]
    assert refreshed(place) == []


KILLED = """
import sys
from pathlib import Path
from submission.kaggle.push import push
from solver.deadline import Deadline
push(Path("notebook.ipynb"), Path("kaggle.toml"), Deadline.after(60), print)
"""


@pytest.mark.parametrize("method", ["SaveKernel", "GetKernel"])
def test_a_push_that_is_killed_anywhere_leaves_a_trace_and_its_run_is_matched(
    place: Path, kaggle: Kaggle, method: str
) -> None:
    identified(place, ONE)
    pushed(place)  # the dataset is there from now on
    identified(place, TWO)
    kaggle.stuck = method
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: kaggle.held)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kaggle.stuck = ""
    cut_off = entries(place).all[-1]
    assert (cut_off.id, cut_off.version) == (TWO, None if method == "SaveKernel" else 2)
    kaggle.kernels["me/arc-kit"]["version"] = 2
    kaggle.files = left(seen(place, TWO))
    kaggle.scores = [scored(9, f"x {mark(TWO, 2)}", "30")]
    refreshed(place)
    matched = entries(place).all[-1]
    assert (matched.id, matched.version, matched.scores[0].public) == (TWO, 2, "30")


def test_nothing_secret_is_in_the_ledger(place: Path, kaggle: Kaggle) -> None:
    two_versions(place)
    kaggle.files = left(seen(place, TWO))
    fetched(place)
    kaggle.scores = [scored(1, notes(kaggle)[0], "28.5")]
    refreshed(place)
    kaggle.faults["SaveKernel"] = [{"error": "no"}]
    with pytest.raises(RunError):
        pushed(place)
    text = (place / LEDGER_FILE).read_text()
    assert KEY not in text
    assert "Basic" not in text
    assert str(place) not in text
    kinds = {json.loads(line)["kind"] for line in text.splitlines()}
    assert {
        "pushing",
        "pushed",
        "read",
        "ran",
        "submitting",
        "submitted",
        "scored",
        "refused",
    } <= kinds


def test_two_commands_at_once_each_have_their_entry(place: Path, kaggle: Kaggle) -> None:
    identified(place, ONE)
    pushed(place)
    command = [sys.executable, "-c", KILLED]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    both = [subprocess.Popen(command, cwd=place, env=environment) for _ in range(2)]
    ends = sorted(process.wait(120) for process in both)
    assert ends[0] == 0  # the other one may find that a push came between
    assert [
        entry.version for entry in sorted(entries(place).all, key=lambda e: e.version or 0)
    ] == [
        *(1, 2, 3),
    ]


# --- waiting, logs, quota -------------------------------------------------------------


def test_a_score_is_waited_for(place: Path, kaggle: Kaggle) -> None:
    identified(place, ONE)
    pushed(place)
    pending, done = scored(1, "n", "", "PENDING"), scored(1, "n", "28.5")
    kaggle.faults["GetSubmission"] = [404, pending, pending, done]
    assert submitted(place, 1, wait=True)[-1] == "submission 1 (n): score 28.5"
    assert entries(place).all[0].scores[0].public == "28.5"
    kaggle.faults["GetSubmission"] = [pending] * 100
    with pytest.raises(RunError, match="submission 2: not scored yet"):
        submitted(place, 1, wait=True)


def test_the_end_of_a_run_is_waited_for(place: Path, kaggle: Kaggle) -> None:
    identified(place, ONE)
    pushed(place)
    settings = read_settings(place / "kaggle.toml")
    kaggle.faults["GetKernelSessionStatus"] = [{"status": "QUEUED"}, {"status": "RUNNING"}]
    said = status(connect(soon()), settings, ledger(place), soon(), wait=True)
    assert said == "me/arc-kit, version 1: complete"
    assert entries(place).all[0].state == "complete"
    kaggle.run = {"status": "RUNNING"}
    with pytest.raises(RunError, match="still running"):
        status(connect(soon()), settings, ledger(place), soon(), wait=True)


def test_a_log_goes_on_after_its_connection_broke(place: Path, kaggle: Kaggle) -> None:
    kaggle.log = [{"stream_name": "stdout", "time": 1.5, "data": f"{n}\n"} for n in range(4)]
    kaggle.cuts = 3
    said: list[str] = []
    logs(read_settings(place / "kaggle.toml"), soon(), said.append)
    assert said == ["0\n", "1\n", "2\n", "3\n"]


def test_a_log_that_breaks_again_and_again_is_an_error(place: Path, kaggle: Kaggle) -> None:
    kaggle.log, kaggle.cuts = [], 100
    with pytest.raises(RunError, match="cannot be reached"):
        logs(read_settings(place / "kaggle.toml"), soon(), print)


def test_the_hours_of_gpu_that_are_left_are_said(place: Path, kaggle: Kaggle) -> None:
    kaggle.quota = {"gpuQuota": {"timeUsed": "36000s", "totalTimeAllowed": "108000s"}}
    assert "quota     20.0 of 30.0 h of GPU left this week" in pushed(place)
    kaggle.quota = {}
    assert not any(line.startswith("quota") for line in pushed(place))


# --- comparisons ----------------------------------------------------------------------


def test_two_entries_say_what_differs_and_whether_it_is_chance(place: Path, kaggle: Kaggle) -> None:
    two_versions(place)
    first, second = notes(kaggle)
    kaggle.scores = [scored(2, second, "34.2"), scored(1, first, "28.5")]
    refreshed(place)
    kaggle.outputs = {
        "v1": left(seen(place, ONE)),
        "v2": left(seen(place, TWO, packages_digest="q")),
    }
    fetched(place, 1)
    fetched(place, 2)
    lines = compared_lines(ledger(place), 1, 2)
    assert lines[0] == "1 (me/arc-kit, version 1) -> 2 (me/arc-kit, version 2)"
    assert f"{'identity.commit':24} {ONE[:7]} -> {TWO[:7]}" in lines
    assert f"{'seen.packages_digest':24} p -> q" in lines
    assert "score     28.5 % -> 34.2 %: +5.7 points, more than chance" in lines
    same = compared_lines(ledger(place), 1, 1)
    assert same[1] == "nothing that the ledger knows is different"
    assert "+0.0 points, no more than chance" in same[2]
    with pytest.raises(DataError, match="there are entries 1 to 2"):
        compared_lines(ledger(place), 1, 3)


def test_an_empty_ledger_says_how_to_begin(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no entries yet; arcsub push"):
        history_lines(Ledger(tmp_path / LEDGER_FILE))


def test_chance_is_that_of_public_reruns_unless_ones_own_are_known() -> None:
    assert 0.4 < RERUN_SHARE < 0.5
    small, large = (compare_scores([0.2925], [0.2925 + gain], 240) for gain in (0.013, 0.06))
    assert not small.more_than_chance
    assert large.more_than_chance
    assert small.deviation == pytest.approx(0.0136 * 2**0.5, rel=0.05)
    repeated = compare_scores([0.28, 0.29, 0.30], [0.31, 0.32, 0.33], 240)
    assert repeated.more_than_chance  # where single runs would not show it
    assert not compare_scores([0.29], [0.32], 240).more_than_chance
    assert not compare_scores([0.0], [0.0], 240).more_than_chance
    assert pooled_spread([[0.1, 0.2], [0.3]]) is None
    assert pooled_spread([[0.1, 0.3, 0.2, 0.2, 0.2]]) == pytest.approx(0.0707, abs=1e-3)
    with pytest.raises(ValueError, match="no scores"):
        compare_scores([], [0.1], 240)
