"""Live progress of a run in the terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from solver.__main__ import progress_printer
from solver.deadline import format_duration
from solver.runtime.board import Snapshot

MAX_WORKERS = 8  # lines for single workers; more do not fit into a terminal
BAR = 36


@contextmanager
def live_view(console: Console | None = None) -> Iterator[Callable[[Snapshot], None]]:
    """Show tasks, engines, workers and the expected end in the terminal, within a `with` block.

    The block gets the function that shows a snapshot. Without a terminal, this function prints a
    line from time to time. If the terminal disappears, or no thread is left to draw, only the
    picture is lost.
    """
    console = console or Console()
    live = Live(console=console, transient=True, refresh_per_second=4)
    if not console.is_terminal or not _draws(live.start):
        yield progress_printer()
        return
    began = time.monotonic()
    try:
        yield lambda now: live.update(picture(now, time.monotonic() - began))
    finally:
        _draws(live.stop)


def _draws(step: Callable[[], None]) -> bool:
    """Take a step of drawing. False if the terminal is gone, or if no thread is left.

    Without a terminal rich would end the program (`SystemExit`).
    """
    try:
        step()
    except (OSError, RuntimeError, SystemExit):
        return False
    return True


def picture(now: Snapshot, elapsed_s: float) -> Group:
    """The picture in the terminal: bars for all tasks and each engine, answers, end, workers."""
    bars = Table.grid(padding=(0, 2))
    for name, tried in {"tasks tried": now.attempted, **now.tried}.items():
        bar = ProgressBar(total=now.total, completed=tried, width=BAR)
        bars.add_row(Text(name), bar, f"{tried}/{now.total}")
    states = ", ".join(f"{n} {state}" for state, n in sorted(now.states.items()))
    workers = [Text(f"worker {i}  {at}") for i, at in enumerate(now.doing[:MAX_WORKERS])]
    if len(now.doing) > MAX_WORKERS:
        workers.append(Text(f"and {len(now.doing) - MAX_WORKERS} more workers"))
    notes = map(Text, now.notes)
    return Group(bars, Text(f"answered: {states}"), Text(_end(now, elapsed_s)), *workers, *notes)


def _end(now: Snapshot, elapsed_s: float) -> str:
    """The time left, the end of the run, and the expected time until every task was tried."""
    ends = datetime.now() + timedelta(seconds=now.left_s)
    text = f"{format_duration(now.left_s)} left, ends by {ends:%H:%M:%S}"
    if 0 < now.attempted < now.total:
        rest_s = elapsed_s * (now.total - now.attempted) / now.attempted
        if rest_s < now.left_s:
            text += f", every task tried in about {format_duration(rest_s)}"
    return text
