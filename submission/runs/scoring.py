"""Scoring of a submission file with a solutions file or another source of outputs."""

from __future__ import annotations

import os
from pathlib import Path

from solver.data.arcio import Solutions, read_solutions, read_source
from solver.data.jsonio import load_json
from solver.data.submissions import read_submission, score
from solver.grid import DataError
from solver.runtime.command import score_text


def score_lines(submission: str, solutions: str) -> list[str]:
    """The score of a submission, in words.

    Another line names the version of the tasks, if known. If the submission lacks tasks, a last
    line gives the score with these tasks as unsolved.

    Raises `DataError` that names file, task and field.
    """
    known, version = _solutions(solutions)
    result = score(read_submission(submission), known, submission)
    lines = [score_text(result), *([f"data      {version}"] if version else [])]
    missing = len(known) - len(result.solved)
    if not missing:
        return lines
    whole = sum(sum(hits) / len(hits) for hits in result.solved.values()) / len(known)
    return [
        *lines,
        f"missing   {missing} of the {len(known)} tasks of {solutions} are not in the submission; "
        f"with them unsolved it is {whole:.1%} of {len(known)} tasks",
    ]


def _holds_tasks(file: str) -> bool:
    """True for a file of whole tasks, which may also contain their outputs."""
    value = load_json(Path(file))
    return isinstance(value, dict) and any(isinstance(task, dict) for task in value.values())


def _solutions(name: str) -> tuple[Solutions, str]:
    """The solutions, and the version of their tasks in words; empty for a file of outputs only."""
    if os.path.isfile(name) and not _holds_tasks(name):
        return read_solutions(name), ""
    source = read_source(name)
    if source.solutions is None:
        raise DataError(f"{name}: holds no outputs to score against")
    return source.solutions, source.version
