"""The report command: what it writes, for runs of all kinds."""

from __future__ import annotations

import html
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from solver.data.arcio import Source
from solver.data.journal import JOURNAL_FILE
from solver.data.svg import PALETTE
from solver.deadline import Deadline, FakeClock
from solver.grid import as_grid, same
from submission.report.findings import findings
from submission.report.report import SAFE_PALETTE, render
from submission.report.traces import abbreviated, traces
from submission.runs.recorded import read_run
from tests.fakes import toy_tasks
from tests.journals import made_up_run
from tests.runs import ROOT, command, finish, journal_of, start, write_challenges

TASKS = toy_tasks(6)
ARCSUB = (sys.executable, "-m", "submission.cli", "report")


@pytest.fixture
def challenges(tmp_path: Path) -> Path:
    return write_challenges(tmp_path / "c.json", TASKS)


def data_of(page: str) -> dict[str, Any]:
    """The data that the page's script reads."""
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def arcsub(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ARCSUB, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_run_with_kills_and_errors_is_reported(challenges: Path, tmp_path: Path) -> None:
    finish(start(command(challenges, tmp_path / "run", "raises", "60s", "--workers", "1")))
    for job in journal_of(tmp_path / "run").jobs:
        assert job.given_s is not None
        assert 0 <= job.given_s <= job.started_s
    solutions = tmp_path / "s.json"
    solutions.write_text(json.dumps({t.id: [t.tests[0][::-1].tolist()] for t in TASKS}))
    done = arcsub(tmp_path / "run", "--solutions", solutions, "--out", tmp_path / "out.html")
    assert (done.returncode, done.stderr) == (0, "")
    page = (tmp_path / "out.html").read_text()
    assert str(tmp_path / "out.html") in done.stdout
    assert "an engine&#39;s bug" in page
    assert "Traceback" in page
    solved = [task["score"] for task in data_of(page)["tasks"]]
    assert solved == [0.0 if task.id == "t003" else 1.0 for task in TASKS]


def page_of(folder: Path) -> str:
    """The report without the programs' steps."""
    run = read_run(folder)
    return render(run, findings(run), {})


def test_a_page_names_nothing_outside_itself(challenges: Path, tmp_path: Path) -> None:
    page = page_of(made_up_run(tmp_path / "run", Source(str(challenges), TASKS)))
    assert (
        re.findall(r"""(?:src|action)=|(?:https?:)?//\w+\.\w+""", page.partition("<script")[0])
        == []
    )
    policy = html.unescape(page.partition('Policy" content="')[2].partition('"')[0]).split("; ")
    assert {"default-src 'none'", "connect-src 'none'", "img-src data:"} < set(policy)


def test_killed_and_resumed_runs_are_reported(challenges: Path, tmp_path: Path) -> None:
    folder = made_up_run(tmp_path / "run", Source(str(challenges), TASKS), cut=True)
    page = page_of(folder)
    assert "6 of 6 tasks have no terminal state" in page
    journal = (folder / JOURNAL_FILE).read_bytes()
    with open(folder / JOURNAL_FILE, "ab") as file:
        file.write(b'{"kind":"cand\n' + journal)
    page = page_of(folder)
    assert "1 broken line" in page
    assert "Process 2 of 2" in page


def test_journals_of_older_versions_are_reported(challenges: Path, tmp_path: Path) -> None:
    folder = made_up_run(tmp_path / "run", Source(str(challenges), TASKS))
    newer = {"given_s", "scores", "votes", "config", "versions", "at", "argv", "digest"}
    lines = map(json.loads, (folder / JOURNAL_FILE).read_text().splitlines())
    older = [{k: v for k, v in line.items() if k not in newer} for line in lines]
    (folder / JOURNAL_FILE).write_text("\n".join(map(json.dumps, older)) + "\n")
    page = page_of(folder)
    assert "broken" not in page.partition("<script")[0]
    assert len(data_of(page)["tasks"]) == 6


def test_bad_input_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = arcsub(tmp_path)
    assert done.returncode == 2
    assert done.stderr == f"arcsub: {tmp_path}: no run here (no {JOURNAL_FILE})\n"


# --- programs -------------------------------------------------------------------------


def test_a_program_is_traced_and_a_broken_one_costs_itself_alone() -> None:
    grid = as_grid([[1, 2], [3, 0]])
    texts = ("flip(input)", "turn(input, input)", "turn(", "turn(turn(input, 2), 2)")
    *bad, steps = traces([(text, grid) for text in texts], Deadline.after(120))
    assert bad == [None, None, None]
    assert steps is not None
    names, grids = zip(*steps, strict=True)
    assert names == ("#1 = input", "#2 = turn(#1, 2)", "#3 = turn(#2, 2)")
    shown = [as_grid(g) for g in grids if g is not None]
    assert same(shown[1], as_grid(grid[::-1, ::-1]))
    assert same(shown[2], grid)


def test_no_program_is_traced_after_the_deadline() -> None:
    assert traces([("input", as_grid([[1]]))], Deadline(0, FakeClock(1))) == [None]


def test_steps_are_named_where_they_are_used() -> None:
    steps = ["input", "f(input)", "g(f(input), 'input_x', f(input))"]
    assert abbreviated(steps)[2] == "#3 = g(#2, 'input_x', #2)"


# --- colours --------------------------------------------------------------------------

# What the eye makes of linear RGB (Machado, Oliveira and Fernandes 2009, severity 1).
EYES = {
    "all three cones": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "no long ones": (
        *((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216)),
        (-0.003882, -0.048116, 1.051998),
    ),
    "no middle ones": (
        *((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413)),
        (-0.011820, 0.042940, 0.968881),
    ),
    "no short ones": (
        *((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602)),
        (0.004733, 0.691367, 0.303900),
    ),
}


def lab(color: str, eye: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIELAB of a hex colour as an eye sees it."""
    rgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = to_xyz @ np.clip(eye @ linear, 0, 1) / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def nearest(palette: tuple[str, ...], eye: str) -> float:
    """The distance between the two most similar colours."""
    seen = [lab(color, np.array(EYES[eye])) for color in palette]
    return min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(seen, 2))


@pytest.mark.parametrize("eye", EYES)
def test_the_safe_colours_stay_apart_for_every_eye(eye: str) -> None:
    assert nearest(SAFE_PALETTE, eye) > 30
    assert nearest(SAFE_PALETTE, eye) > nearest(PALETTE, eye) or eye == "all three cones"
