"""Selection and ensembling again, over candidates that a run has recorded.

The run used the same code (`solver.answers.ensemble`, `solver.answers.select`). With the run's
settings, the result is therefore the run's submission.
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
    """The scores of answers, each (T,): for each task a fraction of its test inputs.

    two: test inputs for which either attempt is right.
    one: test inputs for which the first attempt is right.
    covered: test inputs for which either attempt or any found candidate is right.
    """

    two: Scores
    one: Scores
    covered: Scores


def evidence(tasks: Sequence[Task], pool: Pool, selector: str) -> list[list[Evidence]]:
    """Each task's evidence for each of its test inputs. Rankings are computed on first use."""
    pairs = zip(tasks, pool, strict=True)
    return [[Evidence(found, selector) for found in by_test(task, some)] for task, some in pairs]


def decide_all(
    weighed: Sequence[Sequence[Evidence]], fallback: Sequence[Sequence[Attempts]], rule: str
) -> list[Answer]:
    """Every task's answer by an ensemble rule. `fallback` contains the tasks' templates."""
    return [decide(some, two, rule) for some, two in zip(weighed, fallback, strict=True)]


def reselect(
    tasks: Sequence[Task],
    pool: Pool,
    fallback: Sequence[Sequence[Attempts]],
    selector: str,
    rule: str,
) -> list[Answer]:
    """Every task's answer from the task's candidates, by a selector and an ensemble rule."""
    return decide_all(evidence(tasks, pool, selector), fallback, rule)


def answer_run(run: History, selector: str | None = None, rule: str | None = None) -> list[Answer]:
    """The answers of a recorded run, by its own settings unless others are named."""
    chosen = selector or run.config.selector, rule or run.config.ensemble
    return reselect(run.tasks, run.pool(), list(map(template, run.tasks)), *chosen)


def as_submission(tasks: Sequence[Task], answers: Sequence[Answer]) -> str:
    """The text of a submission file with these answers."""
    pairs = zip(tasks, answers, strict=True)
    return submission_text({task.id: dump_task(a.attempts) for task, a in pairs}, tasks)


def judge(answers: Sequence[Answer], pool: Pool, truth: Truth) -> Outcome:
    """The outcome of answers and candidates, compared with the truth."""
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
