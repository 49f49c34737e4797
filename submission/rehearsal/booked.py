"""A rehearsal in the ledger: its entry, the comparison with the entry before, and its page."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from solver.data.arcio import Source
from solver.data.submissions import Score
from solver.data.versions import task_digest
from solver.notebook.record import RUN_FILE, read_record
from submission.commands import extra
from submission.kaggle.entries import entries_of
from submission.kaggle.history import compare_entries
from submission.kaggle.ledger import Ledger

PAGE = "report.html"
LINES = 12  # of facts that differ


def book(
    ledger: Ledger,
    about: Mapping[str, Any],
    working: Path,
    source: Source,
    result: Score | None,
    how: Mapping[str, str],
) -> list[str]:
    """Add a rehearsal to the ledger. Returns lines that compare it with the last entry before.

    about: the facts of the notebook.
    working: the folder with the run's record.
    how: the circumstances of the rehearsal, such as its budget.

    Raises `DataError` if the ledger cannot be written.
    """
    seen = read_record(working / RUN_FILE)
    before = entries_of(ledger.events()).all
    ledger.add(
        "rehearsed",
        id=str(about.get("id", "")),
        identity=dict(about.get("identity", {})),
        run={name: value for name, value in seen.items() if name != "packages"},
        rehearsal={
            "source": source.name,
            "version": source.version,
            "digest": task_digest(source.tasks),
            "tasks": len(source.tasks),
            "score": result.by_output if result else None,
            **how,
        },
    )
    entries = entries_of(ledger.events())
    if not before:
        return [f"ledger    {ledger.path}: the first entry; later ones are compared with it"]
    return [
        f"ledger    {line}" for line in compare_entries(entries, before[-1], entries.all[-1], LINES)
    ]


def open_page(run: Path, source: str, solutions: str | None, say: Callable[[str], None]) -> None:
    """Write the report of a rehearsed run, and open the page in the user's browser.

    Raises `DataError` without the extra `report`, and for a run that left no journal.
    """
    with extra("report"):
        from submission.report.report import run_report
    page = run_report(str(run), source, solutions, str(run / PAGE))
    opened = webbrowser.open(page.resolve().as_uri())
    say(f"report    {page}{'' if opened else ': no browser was found, open it yourself'}")
