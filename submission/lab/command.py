"""The command `arcsub lab`: scores of a run's candidates under other choices, or new answers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from solver.answers.ensemble import RULES, Answer
from solver.answers.select import SELECTORS
from solver.data.submissions import Submission, check_submission, read_submission, score
from solver.grid import DataError, Grid
from solver.runtime.command import score_text
from submission.lab.lab import Lab
from submission.lab.tables import tables, wide_console
from submission.owned import check_output, reads, write_output
from submission.runs.history import History, read_history
from submission.runs.reselect import answer_run, as_submission

SUBMISSION = "submission.json"


def run_lab(
    folder: str,
    *,
    source: str | None = None,
    solutions: str | None = None,
    selector: str | None = None,
    ensemble: str | None = None,
    out: str | None = None,
    seed: int = 0,
) -> None:
    """Print the scores of a run's candidates under other choices.

    With `selector`, `ensemble` or `out`, compute one new submission instead. `selector` and
    `ensemble` replace the run's own settings. `out` is the file that the submission is written to.

    Raises `DataError` for a folder without a run, an unknown name, or a file that cannot be
    written.
    """
    _known("--selector", selector, SELECTORS)
    _known("--ensemble", ensemble, RULES)
    run = read_history(folder, source, solutions)
    if out is not None:
        _check(Path(out), run)
    console = wide_console()
    console.print(*_heading(run), sep="\n")
    if selector or ensemble or out:
        console.print(_answer_anew(run, selector, ensemble, out))
    elif run.solutions is None:
        console.print("No solutions are known, so nothing can be scored; add --solutions FILE.")
    else:
        for table in tables(Lab(run, run.truth(), seed)):
            console.print(table, "", sep="\n")


def _known(option: str, name: str | None, names: Mapping[str, object]) -> None:
    if name is not None and name not in names:
        raise DataError(f"{option} {name}: there are {', '.join(names)}")


def _heading(run: History) -> Iterator[str]:
    config, found = run.config, run.replay
    count = sum(map(len, run.pool()))
    yield f"{run.folder}: {len(run.tasks)} tasks, {count} candidates of {len(found.jobs)} jobs"
    yield f"selector {config.selector}, ensemble {config.ensemble}, seed {config.seed}"
    if found.broken:
        yield f"{found.broken} broken lines of the journal were skipped"
    yield reproduction(run)
    yield ""


def reproduction(run: History) -> str:
    """A sentence that compares the run's submission with the answers by the run's own settings."""
    answers, path = answer_run(run), run.folder / SUBMISSION
    try:
        left = path.read_bytes()
    except OSError as error:
        return f"{path} cannot be read ({error.strerror}), so nothing was compared"
    if left == as_submission(run.tasks, answers).encode():
        return "its submission comes out again, bit for bit"
    differing = _differing(run, answers)
    why = "" if run.ended else ": the run was cut off before its last write"
    return f"its submission differs in {differing} of {len(run.tasks)} tasks{why}"


def _differing(run: History, answers: Sequence[Answer]) -> int:
    left, again = read_submission(run.folder / SUBMISSION), _grids(run, answers)
    return sum(_lists(left.get(task.id, [])) != _lists(again[task.id]) for task in run.tasks)


def _grids(run: History, answers: Sequence[Answer]) -> Submission:
    pairs = zip(run.tasks, answers, strict=True)
    return {task.id: [(a.grid, b.grid) for a, b in answer.attempts] for task, answer in pairs}


def _lists(attempts: Sequence[tuple[Grid, ...]]) -> list[list[list[list[int]]]]:
    return [[grid.tolist() for grid in two] for two in attempts]


def _answer_anew(run: History, selector: str | None, ensemble: str | None, out: str | None) -> str:
    chosen = selector or run.config.selector, ensemble or run.config.ensemble
    answers = answer_run(run, *chosen)
    lines = [f"again     selector {chosen[0]}, ensemble {chosen[1]}"]
    if run.solutions:
        lines.append(f"score     {score_text(score(_grids(run, answers), run.solutions))}")
    if out is not None:
        text = as_submission(run.tasks, answers)
        write_output(Path(out), text, check=lambda beside: check_submission(beside, run.tasks))
        lines.append(f"written   {out}")
    return "\n".join(lines)


def _check(path: Path, run: History) -> None:
    """Raise `DataError` if a submission cannot be written to a path.

    Also raises `DataError` for the run's own submission, which must not be replaced.
    """
    check_output(path, "submission", reads(read_submission))
    if os.path.realpath(path) == os.path.realpath(run.folder / SUBMISSION):
        raise DataError(f"--out {path}: is the submission of the run itself; name another file")
