"""Drawing of a task in the terminal, in the colours of the ARC viewer."""

from __future__ import annotations

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from solver.answers.select import SELECTORS
from solver.data.arcio import read_leniently
from solver.data.submissions import read_submission
from solver.data.svg import PALETTE
from solver.deadline import Deadline
from solver.engines import Context
from solver.grid import DataError, Grid, Task, same
from solver.synth.engine import synth
from solver.synth.interpret import trace
from solver.synth.program import parse
from solver.views import sample_views

SEARCH_S = 5.0
FRAME = 4  # columns of a panel's frame


def show_task(
    source: str,
    task_id: str,
    *,
    submission: str | None = None,
    views: int = 0,
    seed: int = 0,
    program: bool = False,
) -> None:
    """Print a task: demonstrations, test inputs, `views` random views, and attempts.

    Attempts are marked as right or wrong if the solutions are known. With `program`, search for a
    program for a few seconds, and print the program's intermediate grids.

    Raises `DataError` for an unknown source, task or submission.
    """
    loaded = read_leniently(source)
    task = next((task for task in loaded.tasks if task.id == task_id), None)
    if task is None:
        raise DataError(f"{source}: no task {task_id!r}")
    if task_id in loaded.faults:
        raise DataError(loaded.faults[task_id])
    console = Console()
    room = console.width - FRAME
    panels = [_draw_task(task, f"task {task.id}", room)]
    for view in sample_views(task, views + 1, seed)[1:]:
        panels.append(_draw_task(view.apply_task(task), f"view {view.name}", room))
    if submission is not None:
        panels.append(_draw_attempts(task, submission, (loaded.solutions or {}).get(task.id), room))
    if program:
        panels.append(_draw_program(task, room))
    console.print(*panels, sep="\n")


def _draw_task(task: Task, title: str, room: int) -> Panel:
    parts: list[RenderableType] = []
    for i, pair in enumerate(task.train):
        row = Columns([_draw(pair.input, room), Text("->"), _draw(pair.output, room)])
        parts += [Text(f"demonstration {i}"), row]
    for i, grid in enumerate(task.tests):
        parts += [Text(f"test input {i}"), _draw(grid, room)]
    return Panel(Group(*parts), title=Text(title), title_align="left")


def _draw_program(task: Task, room: int) -> Panel:
    found = list(synth(task, Deadline.after(SEARCH_S), Context(0, 0)))
    if not found:
        return Panel(Text(f"no program found within {SEARCH_S:g} s"), title="program")
    drawn: list[RenderableType] = []
    for test, grid in enumerate(task.tests):
        ranked = SELECTORS["programs"]([c for c in found if c.test == test])
        text = ranked[0].support[0].program or ""
        drawn.append(Text(f"test {test}: {text}", style="bold"))
        for step, shown in trace(parse(text), grid):
            drawn += [Text(step), _draw(shown, room) if shown is not None else Text("(no grid)")]
    return Panel(Group(*drawn), title="program", title_align="left")


def _draw_attempts(
    task: Task, submission: str, solutions: tuple[Grid, ...] | None, room: int
) -> Panel:
    answers = read_submission(submission)
    if task.id not in answers:
        raise DataError(f"{submission}: task {task.id!r} is missing")
    if len(answers[task.id]) != len(task.tests):
        have, want = len(answers[task.id]), len(task.tests)
        raise DataError(f"{submission}: task {task.id!r}: {have} entries for {want} test inputs")
    drawn = []
    for test, attempts in enumerate(answers[task.id]):
        for number, grid in enumerate(attempts, start=1):
            title = f"test {test}, attempt {number}"
            if solutions:
                title += ": right" if same(grid, solutions[test]) else ": wrong"
            drawn += [Text(title), _draw(grid, room)]
    return Panel(Group(*drawn), title=Text(f"attempts of {submission}"), title_align="left")


def _draw(grid: Grid, room: int) -> Text:
    """A grid as coloured text, with digits that stay readable without colour.

    A cell has two columns of the terminal, or one if `room` columns are too few. A row that is
    still too long ends in an ellipsis.
    """
    text = Text(no_wrap=True, overflow="ellipsis")
    gap = " " if 2 * grid.shape[1] <= room else ""
    for row in grid.tolist():
        for cell in row:
            ink = "#ffffff" if cell in (0, 1, 2, 9) else "#000000"
            text.append(f"{cell}{gap}", style=f"{ink} on {PALETTE[cell]}")
        text.append("\n")
    return text
