"""Live progress of a run in the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from solver.__main__ import progress_printer
from solver.board import Snapshot
from solver.deadline import format_duration


@contextmanager
def live_view() -> Iterator[Callable[[Snapshot], None]]:
    """Tasks done, time left and how each was answered; a line now and then without a terminal."""
    console = Console()
    if not console.is_terminal:
        yield progress_printer()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[states]}"),
        TextColumn("{task.fields[left]} left"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("tasks tried", total=None, states="", left="")

        def watch(now: Snapshot) -> None:
            states = ", ".join(f"{n} {state}" for state, n in sorted(now.states.items()))
            left = format_duration(now.left_s)
            progress.update(bar, completed=now.attempted, total=now.total, states=states, left=left)

        yield watch
