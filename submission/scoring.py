"""Scoring a submission file against a solutions file or a built-in set."""

from __future__ import annotations

import os

from solver.arcio import Solutions, read_solutions, read_source
from solver.grid import DataError
from solver.submissions import Score, read_submission, score


def score_file(submission: str, solutions: str) -> Score:
    """Score every task of the submission. Raises `DataError` naming file, task and field."""
    return score(read_submission(submission), _solutions(solutions), submission)


def _solutions(name: str) -> Solutions:
    if os.path.isfile(name):
        return read_solutions(name)
    known = read_source(name).solutions
    if known is None:
        raise DataError(f"{name}: holds no outputs to score against")
    return known
