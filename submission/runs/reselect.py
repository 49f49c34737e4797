"""Selection and ensembling once more, over candidates that a run has recorded.

The code is the run's own (`solver.answers.ensemble`, `solver.answers.select`): with the run's
settings it comes to the run's submission.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from solver.answers.ensemble import Answer, Evidence, by_test, decide
from solver.data.submissions import dump_task, submission_text
from solver.data.template import template
from solver.grid import Attempts, Candidate, Grid, Task, same
from submission.runs.history import History
from submission.runs.stats import Scores

Pool = Sequence[Sequence[Candidate]]  # the candidates of each task
Truth = Sequence[Sequence[Grid]]  # the outputs of each task


@dataclass(frozen=True)
class Outcome:
    """What answers were worth: for each task (T,) the fraction of its test inputs that both
    attempts (`two`), the first (`one`) or any candidate (`covered`) had right."""

    two: Scores
    one: Scores
    covered: Scores


def evidence(tasks: Sequence[Task], pool: Pool, selector: str) -> list[list[Evidence]]:
    """Each task's evidence for each of its test inputs. Rankings are made on first use."""
    pairs = zip(tasks, pool, strict=True)
    return [[Evidence(found, selector) for found in by_test(task, some)] for task, some in pairs]


def decide_all(
    weighed: Sequence[Sequence[Evidence]], fallback: Sequence[Sequence[Attempts]], rule: str
) -> list[Answer]:
    """Every task's answer by an ensemble rule; `fallback` holds the tasks' templates."""
    return [decide(some, two, rule) for some, two in zip(weighed, fallback, strict=True)]


def reselect(
    tasks: Sequence[Task],
    pool: Pool,
    fallback: Sequence[Sequence[Attempts]],
    selector: str,
    rule: str,
) -> list[Answer]:
    """Every task's answer from its candidates."""
    return decide_all(evidence(tasks, pool, selector), fallback, rule)


def answer_run(run: History, selector: str | None = None, rule: str | None = None) -> list[Answer]:
    """A recorded run's answers, by its own settings where no others are named."""
    chosen = selector or run.config.selector, rule or run.config.ensemble
    return reselect(run.tasks, run.pool(), list(map(template, run.tasks)), *chosen)


def as_submission(tasks: Sequence[Task], answers: Sequence[Answer]) -> str:
    """The submission that hands these answers in."""
    pairs = zip(tasks, answers, strict=True)
    return submission_text({task.id: dump_task(a.attempts) for task, a in pairs}, tasks)


def judge(answers: Sequence[Answer], pool: Pool, truth: Truth) -> Outcome:
    """Hold answers and candidates against the truth."""
    rows = [_judge(*each) for each in zip(answers, pool, truth, strict=True)]
    return Outcome(*np.array(rows).T)


def _judge(
    answer: Answer, found: Sequence[Candidate], outputs: Sequence[Grid]
) -> tuple[float, float, float]:
    pairs = list(zip(answer.attempts, outputs, strict=True))
    one = [same(first.grid, output) for (first, _), output in pairs]
    two = [any(same(attempt.grid, output) for attempt in both) for both, output in pairs]
    seen = [
        any(c.test == test and c.votes and same(c.grid, output) for c in found)
        for test, output in enumerate(outputs)
    ]
    covered = [hit or there for hit, there in zip(two, seen, strict=True)]
    return float(np.mean(two)), float(np.mean(one)), float(np.mean(covered))
