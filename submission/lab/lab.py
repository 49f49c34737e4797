"""`arcsub lab`: scores of a run's candidates under other choices.

All scores are computed from the journal, without running an engine. A score is a mean over tasks
of the fraction of test inputs solved. Every comparison is on the same tasks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from solver.answers.ensemble import RULES, Answer
from solver.answers.select import SELECTORS
from solver.data.template import template
from solver.grid import Attempts, Candidate, same
from submission.report.findings import FATES, fate_of
from submission.runs.history import History, Job
from submission.runs.reselect import (
    Outcome,
    Pool,
    Truth,
    as_submission,
    decide_all,
    evidence,
    judge,
    reselect,
)
from submission.runs.stats import Difference, difference

POINTS = 10  # number of points of a cost curve

Label = Callable[[Job, Candidate], str]  # the group that a candidate of a job belongs to


@dataclass(frozen=True)
class Chosen:
    """Selectors and ensemble rules that lead to the same answers, and the scores of the answers."""

    selectors: tuple[str, ...]
    rules: tuple[str, ...]
    outcome: Outcome
    against: Difference  # compared with the run's own settings


@dataclass(frozen=True)
class Loss:
    """The test inputs that came to one end.

    points: their part of the score, from 0 to 1. engines: the number of these test inputs for
    which each engine had found the truth.
    """

    fate: str
    count: int
    points: float
    engines: dict[str, int]


@dataclass(frozen=True)
class Part:
    """The score with only the candidates of one group, named by `label`."""

    label: str
    count: int
    outcome: Outcome


@dataclass(frozen=True)
class Share:
    """The loss of score without some of the candidates, or without some of the measurements."""

    label: str
    count: int
    alone: Outcome
    worth: Difference  # from the score without the group to the score with the group
    covered: float  # loss of coverage without the group


@dataclass(frozen=True)
class CostPoint:
    """The score if no task had been given more than `limit_s` seconds of work.

    spent_s: mean seconds of work on a task.
    """

    limit_s: float
    spent_s: float
    outcome: Outcome


@dataclass(frozen=True)
class Lab:
    """Computes scores of a recorded run with known solutions. `seed` is the bootstrap's seed."""

    run: History
    truth: Truth
    seed: int = 0

    @cached_property
    def pool(self) -> Pool:
        return self.run.pool()

    @cached_property
    def fallback(self) -> list[tuple[Attempts, ...]]:
        return list(map(template, self.run.tasks))

    @cached_property
    def answers(self) -> list[Answer]:
        """The answers of the run's own candidates and settings."""
        config = self.run.config
        tasks, pool = self.run.tasks, self.pool
        return reselect(tasks, pool, self.fallback, config.selector, config.ensemble)

    @cached_property
    def own(self) -> Outcome:
        """The outcome of the run's own candidates and settings."""
        return judge(self.answers, self.pool, self.truth)

    def score(self, pool: Pool) -> Outcome:
        """The outcome of other candidates under the run's own settings.

        Only tasks whose candidates differ from the run's own are judged again.
        """
        new = [i for i, found in enumerate(pool) if found != self.pool[i]]
        two, one, covered = self.own.two.copy(), self.own.one.copy(), self.own.covered.copy()
        if new:
            judged = self._judge(new, [pool[i] for i in new])
            two[new], one[new], covered[new] = judged.two, judged.one, judged.covered
        return Outcome(two, one, covered)

    def _judge(self, some: Sequence[int], pool: Pool) -> Outcome:
        """The outcome for some of the tasks; `pool` contains the candidates of these tasks."""
        config = self.run.config
        tasks, fallback = [self.run.tasks[i] for i in some], [self.fallback[i] for i in some]
        answers = reselect(tasks, pool, fallback, config.selector, config.ensemble)
        return judge(answers, pool, [self.truth[i] for i in some])

    # --- points -------------------------------------------------------------------

    def losses(self) -> list[Loss]:
        """The fates of all test inputs, from solved by the first attempt to not found."""
        fates = FATES[:4]  # the outputs are known
        counts, points = Counter[str](), dict.fromkeys(fates, 0.0)
        engines: dict[str, Counter[str]] = {fate: Counter() for fate in fates}
        for answer, found, outputs in zip(self.answers, self.pool, self.truth, strict=True):
            for test, (attempts, output) in enumerate(zip(answer.attempts, outputs, strict=True)):
                finders = {c.engine for c in found if c.test == test and same(c.grid, output)}
                fate = fate_of([a.grid for a in attempts], output, found=bool(finders))
                counts[fate] += 1
                points[fate] += 1 / len(outputs)
                engines[fate].update(finders)
        share = {fate: points[fate] / len(self.run.tasks) for fate in fates}
        return [Loss(fate, counts[fate], share[fate], dict(engines[fate])) for fate in fates]

    # --- selectors and rules ------------------------------------------------------

    def grid(self) -> list[Chosen]:
        """Every selector under every ensemble rule, best first.

        Pairs of a selector and a rule that lead to the same submission count as one choice.
        """
        found: dict[str, dict[str, list[str]]] = {}  # submission -> rule -> selectors
        answers = {}
        for selector in SELECTORS:
            weighed = evidence(self.run.tasks, self.pool, selector)
            for rule in RULES:
                answered = decide_all(weighed, self.fallback, rule)
                text = as_submission(self.run.tasks, answered)
                answers[text] = answered
                found.setdefault(text, {}).setdefault(rule, []).append(selector)
        same: dict[tuple[str, tuple[str, ...]], list[str]] = {}
        for text, rules in found.items():
            for rule, selectors in rules.items():
                same.setdefault((text, tuple(selectors)), []).append(rule)
        rows = [
            self._chosen(selectors, rules, answers[text], len(found))
            for (text, selectors), rules in same.items()
        ]
        return sorted(rows, key=lambda row: -row.outcome.two.mean())

    def _chosen(
        self,
        selectors: Sequence[str],
        rules: Sequence[str],
        answers: Sequence[Answer],
        comparisons: int,
    ) -> Chosen:
        outcome = judge(answers, self.pool, self.truth)
        against = difference(self.own.two, outcome.two, self.seed, comparisons)
        return Chosen(tuple(selectors), tuple(rules), outcome, against)

    # --- engines, views, seeds ----------------------------------------------------

    def engines(self) -> list[Part]:
        """The score of each engine's candidates, and of all unless there is only one engine."""
        parts = [self._part(by_engine, engine) for engine in self.run.engines]
        everything = Part("all", _count(self.pool), self.own)
        return [*parts, everything] if len(parts) != 1 else parts

    def shares(self, label: Label) -> list[Share]:
        """The score that each group of candidates adds to all other groups, largest first."""
        labels = {
            label(job, c) for jobs in self.run.jobs for job in jobs for c in job.settled if c.votes
        }
        shares = []
        for name in labels:
            part, rest = self._part(label, name), self.score(self._group(label, name, False))
            shares.append(self._share(name, part.count, part.outcome, rest, len(labels)))
        return sorted(shares, key=lambda share: (-share.worth.mean, share.label))

    def judges(self) -> list[Share]:
        """The score that each measurement (a column of `Candidate.scores`) adds to the others."""
        columns = max((len(c.scores) for found in self.pool for c in found), default=0)
        shares = []
        for i in range(columns):
            rest = self.score(self._measured(set(range(columns)) - {i}))
            alone = self.score(self._measured({i}))
            count = sum(len(c.scores) > i for found in self.pool for c in found)
            shares.append(self._share(f"measurement {i + 1}", count, alone, rest, columns))
        return shares

    def _part(self, label: Label, name: str) -> Part:
        pool = self._group(label, name, True)
        return Part(name, _count(pool), self.score(pool))

    def _group(self, label: Label, name: str, inside: bool) -> Pool:
        """The candidates whose label is `name`, or (`inside` False) all other candidates."""
        return [
            [c for job in jobs for c in job.settled if (label(job, c) == name) is inside]
            for jobs in self.run.jobs
        ]

    def _measured(self, columns: Collection[int]) -> Pool:
        """All candidates, each with only some columns of `Candidate.scores`."""

        def seen(candidate: Candidate) -> Candidate:
            scores = tuple(s for i, s in enumerate(candidate.scores) if i in columns)
            return replace(candidate, scores=scores) if candidate.scores else candidate

        return [list(map(seen, found)) for found in self.pool]

    def _share(
        self, label: str, count: int, alone: Outcome, rest: Outcome, comparisons: int
    ) -> Share:
        worth = difference(rest.two, self.own.two, self.seed, comparisons)
        covered = float(self.own.covered.mean() - rest.covered.mean())
        return Share(label, count, alone, worth, covered)

    # --- cost ---------------------------------------------------------------------

    def cost_curve(self, engines: Sequence[str]) -> list[CostPoint]:
        """The score against the seconds of work on a task, with only these engines.

        Work is counted over all of a task's jobs, one after the other. The seconds of a job over
        all tasks are divided equally among the tasks. A task's part comes before the jobs that
        wait for the job over all tasks. Empty if these engines did no work.
        """
        told = [self._timeline(jobs, engines) for jobs in self.run.jobs]
        totals = np.array([total for _, total in told])
        most = float(totals.max())
        if not most:
            return []
        first = min((at for found, _ in told for at, _ in found), default=most)
        limits = np.geomspace(max(min(first, most / 20), most / 5000), most, POINTS)
        points = []
        for limit in [*limits[:-1].tolist(), most]:
            pool = [[c for at, c in found if at <= limit] for found, _ in told]
            spent = float(np.minimum(totals, limit).mean())
            points.append(CostPoint(limit, spent, self.score(pool)))
        return points

    def _timeline(
        self, jobs: Sequence[Job], engines: Sequence[str]
    ) -> tuple[list[tuple[float, Candidate]], float]:
        """(seconds of work, candidate) of one task, and the total seconds of work on the task."""
        found, spent = [], 0.0
        stages = {stage.engine: stage for stage in self.run.config.stages}
        shared: dict[str, float] = {}
        for record in self.run.whole:
            part = record.cost_s / len(self.run.tasks)
            shared[record.engine] = shared.get(record.engine, 0.0) + part
        for job in jobs:
            record = job.record
            if record.engine not in engines:
                continue
            needs = stages[record.engine].needs if record.engine in stages else ""
            spent += shared.pop(needs, 0.0)
            found += [(spent + min(c.cost_s, record.cost_s), c) for c in job.found]
            spent += record.cost_s
        return found, spent


def _count(pool: Pool) -> int:
    """The number of candidates that an engine found (not only measured)."""
    return sum(candidate.votes > 0 for found in pool for candidate in found)


def by_engine(job: Job, candidate: Candidate) -> str:
    """The engine that found a candidate."""
    return candidate.engine


def by_view(job: Job, candidate: Candidate) -> str:
    """The engine and the turn that a candidate was decoded under; a program's kind of search."""
    return f"{candidate.engine} {(candidate.view or 'as it is').partition('.')[0]}"


def by_seed(job: Job, candidate: Candidate) -> str:
    """The engine and pass that found a candidate; every pass over a task has a separate seed."""
    return f"{candidate.engine} pass {job.record.pass_ + 1}"
