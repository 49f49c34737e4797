"""Comparing runs: what is said of two that differ, and of two that do not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given

from solver.data.journal import JOURNAL_FILE
from solver.data.svg import PALETTE
from solver.grid import DataError, Grid, Task, as_grid
from submission.lab.compare import Comparison, compare, summary
from submission.lab.compare_command import run_compare
from submission.lab.compare_page import draw, page
from submission.runs.history import read_history
from tests.fakes import toy_tasks
from tests.recordings import CONFIG, Heard, Script, job, noisy, program, write_run, wrong
from tests.strategies import grids

PATIENCE_MS = 180_000  # on a machine that is busy with other things


def solving(solved: set[int], cost_s: float = 2.0) -> Script:
    """A program for every task, right for these."""

    def script(task: Task, truth: Grid) -> Iterable[Heard]:
        grid = truth if int(task.id[1:]) in solved else wrong(truth, 1)
        yield job(task, "synth", cost_s=cost_s), [program(task, grid, "p")]

    return script


def compared(*folders: Path) -> Comparison:
    return compare([read_history(str(folder)) for folder in folders])


def test_two_seeds_of_one_configuration_do_not_differ(tmp_path: Path) -> None:
    """Ten pairs of runs that solve a task by chance; one in twenty may look different."""
    tasks = toy_tasks(40)
    folders = [
        write_run(tmp_path / str(seed), noisy(seed), tasks, replace(CONFIG, seed=seed))
        for seed in range(6)
    ]
    pairs = [compared(a, b) for i, a in enumerate(folders[:5]) for b in folders[i + 1 : i + 3]]
    verdicts = [pair.contests[0].verdict for pair in pairs]
    assert len(verdicts) == 9
    assert sum("no significant difference" in verdict for verdict in verdicts) >= 8
    assert all(pair.contests[0].gained and pair.contests[0].lost for pair in pairs)


def test_what_is_gained_and_lost_and_what_it_cost_by_hand(tmp_path: Path) -> None:
    before = write_run(tmp_path / "before", solving({0, 1, 2, 3}))
    after = write_run(tmp_path / "after", solving({1, 2, 3, 4, 5}, cost_s=3.0))
    found = compared(before, after)
    (contest,) = found.contests
    assert (contest.gained, contest.lost) == (("t004", "t005"), ("t000",))
    assert contest.change.mean == pytest.approx(1 / 8)
    assert [entry.per_solved_s for entry in found.entries] == [16 / 4, 24 / 5]
    assert contest.verdict == "no significant difference; 186 tasks like these would tell"


def test_a_real_difference_is_called_one_either_way(tmp_path: Path) -> None:
    tasks = toy_tasks(20)
    worse = write_run(tmp_path / "worse", solving({0, 1}), tasks)
    better = write_run(tmp_path / "better", solving(set(range(12))), tasks)
    assert compared(worse, better).contests[0].verdict == "significantly better"
    assert compared(better, worse).contests[0].verdict == "significantly worse"
    assert any("significantly better" in line for line in summary(compared(worse, better)))


def test_only_common_tasks_count_and_the_rest_is_named(tmp_path: Path) -> None:
    one = write_run(tmp_path / "one", solving({0, 1}), toy_tasks(6))
    other = write_run(tmp_path / "other", solving({0, 4}), toy_tasks(6)[2:])
    found = compared(one, other)
    assert [task.id for task in found.tasks] == ["t002", "t003", "t004", "t005"]
    assert found.contests[0].gained == ("t004",)
    assert "2 tasks of one are left out: another run has not got them" in list(summary(found))


def test_a_task_of_the_same_name_with_other_grids_is_another_task(tmp_path: Path) -> None:
    one = write_run(tmp_path / "one", solving({0}), toy_tasks(3))
    with pytest.raises(DataError, match="no task in common"):
        compared(one, write_run(tmp_path / "other", solving({0}), toy_tasks(3, seed=1)))


def test_a_killed_run_is_compared_by_what_it_had_handed_in(tmp_path: Path) -> None:
    one = write_run(tmp_path / "one", solving({0, 1}))
    killed = write_run(tmp_path / "killed", solving({0, 1}), finished=False)
    found = compared(one, killed)
    assert found.entries[1].scores.sum() == 0
    assert found.entries[1].per_solved_s is None
    assert found.contests[0].lost == ("t000", "t001")


def test_runs_that_cannot_be_compared_are_refused(tmp_path: Path) -> None:
    one = write_run(tmp_path / "one", solving({0}))
    with pytest.raises(DataError, match="two runs or more"):
        compared(one)
    (one / "submission.json").unlink()
    other = write_run(tmp_path / "other", solving({0}))
    with pytest.raises(DataError, match=r"submission\.json: cannot be read"):
        compared(one, other)


def test_several_runs_are_each_held_against_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [write_run(tmp_path / name, solving({i})) for i, name in enumerate("abc")]
    out = tmp_path / "page.html"
    run_compare([str(run) for run in runs], html=str(out))
    shown = capsys.readouterr().out
    assert "b against a: +0.0 points, 97.5 % interval" in shown
    assert "c against a" in shown
    assert "  gained  1: t002" in shown
    assert out.read_text().count("<section>") == 2
    with pytest.raises(DataError, match="cannot be written"):
        run_compare([str(run) for run in runs], html="/proc/page.html")


# --- the page -------------------------------------------------------------------------


@given(grids(12))
def test_a_picture_has_the_cells_of_its_grid(grid: Grid) -> None:
    picture = ElementTree.fromstring(draw(grid))
    cells = np.full(grid.shape, 255, dtype=np.uint8)
    for path in picture.iter("path"):
        name = path.get("class") or ""
        if re.fullmatch(r"c\d", name):
            for x, y, wide in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\3z", path.get("d") or ""):
                cells[int(y), int(x) : int(x) + int(wide)] = int(name[1])
    assert (cells == grid).all()


def test_cells_that_differ_are_crossed_out() -> None:
    truth = as_grid([[1, 2], [3, 4]])
    assert 'class="mark"' not in draw(truth, truth)
    assert 'class="mark"' not in draw(as_grid([[1]]), truth)
    assert 'class="mark" d="M1.3 0.3l.4.4m0-.4l-.4.4"' in draw(as_grid([[1, 9], [3, 4]]), truth)


def hostile(tmp_path: Path, name: str, solved: set[int]) -> Path:
    """A run over tasks whose ids are HTML."""
    nasty = '<script>alert("x")</script>&amp;{{ 7 * 7 }}'
    tasks = [replace(task, id=nasty + task.id) for task in toy_tasks(2)]

    def script(task: Task, truth: Grid) -> Iterable[Heard]:
        right = int(task.id[-1]) in solved
        grid = truth if right else wrong(truth, 1)
        yield job(task, "synth"), [program(task, grid, "p")]

    return write_run(tmp_path / name, script, tasks)


def test_the_page_escapes_ids_and_folders_and_asks_for_nothing(tmp_path: Path) -> None:
    runs = hostile(tmp_path, "<b>one", {0}), hostile(tmp_path, "two&", {1})
    text = page(compared(*runs))
    assert "<script" not in text
    assert "<b>one" not in text
    assert "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;&amp;amp;{{ 7 * 7 }}t000" in text
    assert "default-src 'none'" in text
    assert not re.search(r"(?:src|href)=(?!\"data:,)", text)
    assert "http:" not in text.replace("http-equiv", "")
    assert "https:" not in text


def test_the_page_opens_in_a_browser(tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = Path("/usr/bin/chromium")
    if not chromium.exists():
        pytest.skip("no chromium here")
    path = tmp_path / "page.html"
    path.write_text(page(compared(hostile(tmp_path, "one", {0}), hostile(tmp_path, "two", {1}))))
    said: list[str] = []
    asked: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"], timeout=PATIENCE_MS
        )
        for width in (360, 800, 1400):
            tab = browser.new_page(viewport={"width": width, "height": 800})
            tab.on("console", lambda message: said.append(message.text))
            tab.on("pageerror", lambda error: said.append(str(error)))
            tab.on("request", lambda request: asked.append(request.url))
            tab.set_default_timeout(PATIENCE_MS)
            tab.goto(path.as_uri())
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            assert tab.locator("article").count() == 2
        assert tab.locator("svg path.c1").first.evaluate(
            "path => getComputedStyle(path).fill"
        ) == rgb(PALETTE[1])
        browser.close()
    assert said == []
    assert set(asked) <= {path.as_uri(), "data:,"}


def rgb(color: str) -> str:
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgb({red}, {green}, {blue})"


def test_a_journal_without_jobs_is_compared_too(tmp_path: Path) -> None:
    one = write_run(tmp_path / "one", solving({0}))
    other = write_run(tmp_path / "other", solving({0}))
    header = (other / JOURNAL_FILE).read_text().splitlines(keepends=True)[0]
    assert json.loads(header)["kind"] == "run"
    (other / JOURNAL_FILE).write_text(header)
    found = compared(one, other)
    assert found.entries[1].work_s == 0
