"""The command `arcsub compare`: a table in the terminal, and a page with pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from submission.lab.compare import Comparison, circumstances, compare, summary
from submission.lab.tables import sure, table_of, wide_console
from submission.owned import check_output, is_page, write_output
from submission.runs.history import read_history


def run_compare(
    folders: Sequence[str],
    *,
    source: str | None = None,
    solutions: str | None = None,
    html: str | None = None,
    seed: int = 0,
) -> None:
    """Compare runs with the first run, and print a table.

    With `html`, also write a page there with pictures of the gained and lost tasks.

    Raises `DataError` for a folder without a run, runs that cannot be compared, or a file that
    cannot be written.
    """
    histories = [read_history(folder, source, solutions) for folder in folders]
    if html is not None:
        check_output(Path(html), "page", is_page)
    found = compare(histories, seed)
    console = wide_console()
    console.print(_table(found))
    for line in summary(found):
        console.print(line, markup=False, soft_wrap=True)
    if html is not None:
        _write(Path(html), found)
        console.print(f"pictures  {html}", markup=False)


def _table(found: Comparison) -> Table:
    table = table_of("Runs compared", "run", "settings")
    for name in ("pass@2 %", "solved", "work s", "s a solved task"):
        table.add_column(name, justify="right")
    for entry in found.entries:
        cost = entry.per_solved_s
        table.add_row(
            entry.name,
            circumstances(entry),
            sure(entry.scores, found.seed),
            f"{entry.scores.sum():g}",
            f"{entry.work_s:.1f}",
            "-" if cost is None else f"{cost:.1f}",
        )
    return table


def _write(path: Path, found: Comparison) -> None:
    from submission.lab.compare_page import page  # needs jinja2, which an installation may lack

    write_output(path, page(found))
