"""The page of `arcsub compare`: gained and lost tasks in pictures, in one offline file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from solver.data.svg import PALETTE
from solver.grid import COLORS, Grid, Task, same
from submission.lab.compare import Comparison, Contest, Entry, circumstances
from submission.runs.stats import interval

SIDE = 150  # pixels of a picture's longer side
CELL = (5, 18)  # the fewest and the most pixels of a cell


@dataclass(frozen=True)
class Picture:
    """A captioned grid. `right` is None unless the grid is an attempt."""

    caption: str
    svg: Markup
    right: bool | None = None


@dataclass(frozen=True)
class TestInput:
    """One test input of a task: the input, the truth, and the attempts of two runs."""

    asked: tuple[Picture, ...]
    answers: tuple[tuple[str, tuple[Picture, ...]], ...]  # (name of the run, attempts)


@dataclass(frozen=True)
class Card:
    """A task on which two runs have different scores."""

    task: str
    demonstrations: tuple[tuple[Picture, Picture], ...]
    inputs: tuple[TestInput, ...]


def page(found: Comparison) -> str:
    """The whole page as HTML. Names of tasks and folders are escaped."""
    loader = jinja2.PackageLoader("submission.report", "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    sections = [(contest, _cards(found, contest)) for contest in found.contests]
    template = environment.get_template("compare.html.j2")
    return template.render(
        found=found, sections=sections, rows=list(map(_row, found.entries)), palette=PALETTE
    )


def _row(entry: Entry) -> dict[str, Any]:
    low, high = interval(entry.scores)
    return {"entry": entry, "settings": circumstances(entry), "low": low, "high": high}


def _cards(found: Comparison, contest: Contest) -> dict[str, list[Card]]:
    tasks = {task.id: i for i, task in enumerate(found.tasks)}
    pair = (found.entries[0], contest.entry)

    def cards(ids: Sequence[str]) -> list[Card]:
        return [_card(found.tasks[i], found.truth[i], pair) for i in map(tasks.__getitem__, ids)]

    return {"gained": cards(contest.gained), "lost": cards(contest.lost)}


def _card(task: Task, truth: Sequence[Grid], runs: Sequence[Entry]) -> Card:
    shown = tuple(
        (Picture("input", draw(pair.input)), Picture("output", draw(pair.output)))
        for pair in task.train
    )
    inputs = tuple(
        TestInput(
            (Picture("test input", draw(grid)), Picture("truth", draw(output))),
            tuple((run.name, _attempts(run, task.id, test, output)) for run in runs),
        )
        for test, (grid, output) in enumerate(zip(task.tests, truth, strict=True))
    )
    return Card(task.id, shown, inputs)


def _attempts(run: Entry, task: str, test: int, output: Grid) -> tuple[Picture, ...]:
    return tuple(
        Picture(f"attempt {number}", draw(grid, output), same(grid, output))
        for number, grid in enumerate(run.submission[task][test], start=1)
    )


def draw(grid: Grid, truth: Grid | None = None) -> Markup:
    """A grid as inline SVG: one path for each colour, in classes `c0` to `c9`.

    Cells that differ from `truth` are crossed out if the grid and `truth` have the same shape.
    """
    height, width = grid.shape
    cell = min(CELL[1], max(CELL[0], SIDE // max(height, width)))
    marks = ""
    if truth is not None and truth.shape == grid.shape:
        places = np.argwhere(grid != truth).tolist()
        marks = "".join(f"M{x}.3 {y}.3l.4.4m0-.4l-.4.4" for y, x in places)
    lines = "".join(f"M{x} 0v{height}" for x in range(width + 1))
    lines += "".join(f"M0 {y}h{width}" for y in range(height + 1))
    return Markup(
        f'<svg role="img" aria-label="{height} by {width} cells" viewBox="0 0 {width} {height}" '
        f'width="{width * cell}" height="{height * cell}">{_colors(grid)}'
        f'<path class="line" d="{lines}"/>'
        + (f'<path class="under" d="{marks}"/><path class="mark" d="{marks}"/>' if marks else "")
        + "</svg>"
    )


def _colors(grid: Grid) -> str:
    """SVG paths of the cells; neighbours of one colour in a row are one rectangle."""
    paths = [""] * COLORS
    for y, row in enumerate(grid.tolist()):
        x = 0
        for color, group in groupby(row):
            wide = len(list(group))
            paths[color] += f"M{x} {y}h{wide}v1h-{wide}z"
            x += wide
    return "".join(f'<path class="c{i}" d="{path}"/>' for i, path in enumerate(paths) if path)
