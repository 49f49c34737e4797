"""The tables that `arcsub lab` prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized

from rich import box
from rich.console import Console
from rich.table import Table

from solver.answers.ensemble import RULES
from solver.answers.select import SELECTORS
from submission.lab.lab import (
    Chosen,
    CostPoint,
    Lab,
    Loss,
    Part,
    Share,
    by_engine,
    by_seed,
    by_view,
)
from submission.runs.stats import MIN_TASKS, Difference, Scores, interval

WIDTH = 110


def wide_console() -> Console:
    """A console for tables. Output that is not a terminal gets lines of `WIDTH` columns."""
    console = Console(highlight=False, soft_wrap=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH)


def tables(lab: Lab) -> Iterator[Table]:
    """The scores of the candidates under other choices, one table for each question.

    A table that would have nothing to compare is left out.
    """
    yield where(lab.losses(), lab.run.engines, len(lab.run.tasks))
    yield choices(lab.grid(), lab)
    yield engine_parts(lab.engines(), lab.seed)
    engines = lab.run.engines
    groups = [
        ("An engine", lab.shares(by_engine), 1),
        ("A view, or a kind of search,", lab.shares(by_view), 1),
        ("A pass, each with its own seed,", lab.shares(by_seed), len(engines)),
        ("A view's measurements", lab.judges(), 1),
    ]
    for what, shares, known in groups:
        if len(shares) > known:
            yield worth(f"{what} left out", shares)
    for some in dict.fromkeys([*((engine,) for engine in engines), engines]):
        points = lab.cost_curve(some)
        if points:
            yield costs(" + ".join(some), points, lab.seed)


_WORDS = {
    "first": "first attempt",
    "second": "second attempt",
    "unchosen": "found, not chosen",
    "unfound": "not found",
}


def where(losses: Sequence[Loss], engines: Sequence[str], tasks: int) -> Table:
    """The points of the score that were won, and the points that were lost, by the reason."""
    table = table_of("Where the points are", "the truth was")
    _columns(table, "outputs", "points", *(f"found by {engine}" for engine in engines))
    for loss in losses:
        found = (str(loss.engines.get(engine, 0)) for engine in engines)
        table.add_row(_WORDS[loss.fate], str(loss.count), f"{100 * loss.points:.1f}", *found)
    handed, covered = (sum(loss.points for loss in losses[:n]) for n in (2, 3))
    table.caption = (
        f"With {tasks} tasks, a gain or loss of fewer than {MIN_TASKS} tasks is never significant."
    )
    if covered:
        kept = f"{100 * handed / covered:.0f} % of the points that were found are handed in."
        table.caption = f"{kept} {table.caption}"
    return table


def choices(rows: Sequence[Chosen], lab: Lab) -> Table:
    """A table of the scores of every selector under every ensemble rule."""
    table = table_of("Selectors and ensemble rules", "selector", "ensemble")
    _columns(table, "pass@2 %", "pass@1 %", "covered %", "against its own")
    config = lab.run.config
    for row in rows:
        mine = config.selector in row.selectors and config.ensemble in row.rules
        table.add_row(
            _together(row.selectors, SELECTORS),
            _together(row.rules, RULES),
            sure(row.outcome.two, lab.seed),
            percent(row.outcome.one),
            percent(row.outcome.covered),
            "its own" if mine else change(row.against),
            style="bold" if mine else None,
        )
    table.caption = f"{verdict([row.against for row in rows])} {_CAPTION}"
    return table


def engine_parts(parts: Sequence[Part], seed: int) -> Table:
    """A table of the scores of each engine's candidates, and of all candidates together."""
    table = table_of("Candidates of only one engine", "engine")
    _columns(table, "candidates", "pass@2 %", "pass@1 %", "covered %")
    for part in parts:
        two, one, covered = part.outcome.two, part.outcome.one, part.outcome.covered
        table.add_row(
            part.label, str(part.count), sure(two, seed), sure(one, seed), sure(covered, seed)
        )
    return table


def worth(title: str, shares: Sequence[Share]) -> Table:
    """A table of the loss of score without each of some groups."""
    table = table_of(title, "left out")
    _columns(table, "candidates", "alone %", "pass@2 lost", "covered lost")
    for share in shares:
        lost = f"{100 * share.covered:.1f}"
        alone = percent(share.alone.two)
        table.add_row(share.label, str(share.count), alone, change(share.worth), lost)
    return table


def costs(engines: str, points: Sequence[CostPoint], seed: int) -> Table:
    """A table of the score against seconds of work."""
    table = table_of(f"Score against work: {engines}", "at most, s a task")
    _columns(table, "spent, mean s", "pass@2 %", "covered %")
    for point in points:
        table.add_row(
            f"{point.limit_s:.3g}",
            f"{point.spent_s:.3g}",
            sure(point.outcome.two, seed),
            percent(point.outcome.covered),
        )
    return table


_CAPTION = (
    "In brackets: 95 % bootstrap intervals over tasks, those of differences widened for the "
    "number of choices; * marks a difference that chance does not explain."
)


def verdict(differences: Sequence[Difference]) -> str:
    """A sentence about a whole table: the number of choices that differ significantly."""
    better = sum(d.significant and d.mean > 0 for d in differences)
    worse = sum(d.significant and d.mean < 0 for d in differences)
    if better or worse:
        return f"Of {len(differences)} choices {better} are really better, {worse} really worse."
    return f"None of {len(differences)} choices differs significantly from the run's own."


def percent(scores: Scores) -> str:
    """The mean score in per cent."""
    return f"{100 * scores.mean():.1f}"


def sure(scores: Scores, seed: int) -> str:
    """The mean score and its bootstrap interval, in per cent."""
    low, high = interval(scores, seed)
    return f"{percent(scores)} [{100 * low:.0f}, {100 * high:.0f}]"


def change(found: Difference) -> str:
    """A difference and its interval in percentage points, with * if significant."""
    low, high = 100 * found.low, 100 * found.high
    mark = "*" if found.significant else ""
    return f"{100 * found.mean:+.1f} [{low:+.0f}, {high:+.0f}]{mark}"


def _together(some: Sequence[str], known: Sized) -> str:
    return "any" if len(some) == len(known) else ", ".join(some)


def table_of(title: str, *names: str) -> Table:
    """An empty table with its first columns: text columns with these headings."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for name in names:
        table.add_column(name)
    return table


def _columns(table: Table, *names: str) -> None:
    for name in names:
        table.add_column(name, justify="right")
