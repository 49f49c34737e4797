"""Drawing a task, its views and its attempts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from solver.data.arcio import read_source
from solver.data.svg import PALETTE
from solver.grid import DataError, Grid
from solver.views import sample_views
from submission.runs.show import show_task

TASK: dict[str, Any] = {
    "train": [{"input": [[1, 2], [3, 4]], "output": [[5, 6, 7], [8, 9, 0]]}],
    "test": [{"input": [[2, 2]], "output": [[7, 7]]}, {"input": [[3, 3]], "output": [[8, 8]]}],
}
RIGHT_THEN_WRONG = [
    {"attempt_1": [[0, 0]], "attempt_2": [[7, 7]]},
    {"attempt_1": [[1, 1]], "attempt_2": [[8]]},
]


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "100")
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps({"aa": TASK, "[b]x[/b][/]": TASK}))
    return path


def without_outputs(path: Path) -> None:
    tests = [{"input": test["input"]} for test in TASK["test"]]
    path.write_text(json.dumps({"aa": TASK | {"test": tests}}))


def rows(grid: Grid) -> list[str]:
    return [" ".join(map(str, row)) for row in grid.tolist()]


def test_every_grid_is_drawn_in_digits(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_task(str(source), "aa")
    lines = [re.sub(r"[│ ]+", " ", line).strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[1:4] == ["demonstration 0", "1 2 -> 5 6 7", "3 4 8 9 0"]
    place = lines.index("test input 0")
    assert lines[place + 1] == "2 2"
    assert lines[lines.index("test input 1") + 1] == "3 3"


def test_a_large_pair_keeps_its_rows_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    tasks = read_source("arc-agi-1:evaluation").tasks
    task = next(t for t in tasks if t.train[0].input.shape == t.train[0].output.shape == (30, 30))
    show_task("arc-agi-1:evaluation", task.id)
    drawn = capsys.readouterr().out
    for grid in (task.train[0].input, task.train[0].output, task.tests[0]):
        assert all(row in drawn for row in rows(grid))


def test_colors_are_those_of_the_arc_viewer(
    source: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TERM", "xterm-256color")
    show_task(str(source), "aa")
    drawn = capsys.readouterr().out
    for color in (1, 5, 9):
        red, green, blue = (int(PALETTE[color][i : i + 2], 16) for i in (1, 3, 5))
        assert f"48;2;{red};{green};{blue}m{color} " in drawn


def test_views_are_named_and_drawn(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_task(str(source), "aa", views=3, seed=5)
    drawn = capsys.readouterr().out
    task = read_source(str(source)).tasks[0]
    views = sample_views(task, 4, 5)
    assert re.findall(r"view (\S+)", drawn) == [view.name for view in views[1:]]
    for view in views:
        assert all(row in drawn for row in rows(view.apply(task.tests[1])))


def test_attempts_are_told_right_from_wrong(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "submission.json"
    path.write_text(json.dumps({"aa": RIGHT_THEN_WRONG}))
    show_task(str(source), "aa", submission=str(path))
    drawn = capsys.readouterr().out
    verdicts = re.findall(r"test (\d), attempt (\d): (right|wrong)", drawn)
    expected = [("0", "1", "wrong"), ("0", "2", "right"), ("1", "1", "wrong"), ("1", "2", "wrong")]
    assert verdicts == expected


def test_without_solutions_attempts_are_drawn_without_a_verdict(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "submission.json"
    path.write_text(json.dumps({"aa": RIGHT_THEN_WRONG}))
    without_outputs(source)
    show_task(str(source), "aa", submission=str(path))
    drawn = capsys.readouterr().out
    assert "test 1, attempt 2" in drawn
    assert not re.search("right|wrong", drawn)


def test_an_id_is_never_read_as_markup(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_task(str(source), "[b]x[/b][/]")
    assert "task [b]x[/b][/]" in capsys.readouterr().out


def test_nothing_is_drawn_if_anything_is_wrong(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        show_task(str(source), "aa", submission="nowhere.json")
    assert capsys.readouterr().out == ""


def test_a_program_is_shown_with_the_grids_it_goes_through(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_task("arc-agi-1:training", "1190e5a7", program=True)
    shown = capsys.readouterr().out
    parts = "split_lines(input, 'separators')"
    steps = ("input", parts, f"overview({parts}, 'commonest color')")
    program = shown[shown.index("test 0: ") :]
    assert all(step in program for step in steps)
    assert "1 1 1" in program


@pytest.mark.parametrize("columns", [20, 33, 40, 60])
def test_a_narrow_terminal_keeps_rows_whole(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    show_task("arc-agi-1:training", "0dfd9992")  # grids of 21 by 21
    lines = capsys.readouterr().out.splitlines()
    task = next(t for t in read_source("arc-agi-1:training").tasks if t.id == "0dfd9992")
    drawn = [re.sub(r"[│ ]|->", "", line) for line in lines]
    for row in task.tests[0].tolist():
        whole = "".join(map(str, row))
        assert (whole if columns > 25 else whole[: columns - 5] + "…") in drawn
