"""Search by output rows with a verifier: beam search and diverse verifier tree search (DVTS).

The methods are those of arXiv:2408.03314 and of huggingface's search-and-learn. There a step is a
line of reasoning; here a step is one row of the grid. There is no second model: the verifier is
the likelihood of the rows so far under other views of the same task. Only a view that keeps the
order of rows can judge a part of a grid. A turned view is therefore judged by views that show the
same rows in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from solver.deadline import Deadline, OutOfTimeError
from solver.grid import Grid, Task
from solver.lm.search.decode import Decoded, Draft, Sampler, write
from solver.lm.search.grammar import most_symbols
from solver.lm.search.language import LanguageModel, LogProbs
from solver.lm.symbols import END, PAD, ROW, Tokens, output_symbols
from solver.views import View, turn


@dataclass(frozen=True)
class Width:
    """The width of a search. Beam search is one tree; DVTS is many trees of one beam.

    trees: number of trees, which are searched separately.
    keep: number of beams kept in each tree.
    tries: number of next rows tried for each beam.
    """

    trees: int
    keep: int
    tries: int

    @property
    def most(self) -> int:
        """The number of rows written at once."""
        return self.trees * self.keep * self.tries


@dataclass(frozen=True, eq=False)
class Beam:
    """Rows written in one tree, and their likelihood under J verifiers.

    verdict: sum of the verifiers' log-likelihoods (nats).
    following: (J, WRITABLE), the verifiers' log-probabilities of the next symbol.
    place: the beam's row in the writer's cache; its J rows in the verifiers' cache begin at
    J * place.
    """

    tree: int
    draft: Draft
    verdict: float
    following: LogProbs
    place: int = 0

    @property
    def score(self) -> float:
        """Mean log-likelihood of the rows under all views."""
        return (self.draft.logprob + self.verdict) / (1 + len(self.following))

    @property
    def done(self) -> bool:
        return self.draft.symbols[-1:] == [END]


Family = list[tuple[Beam, Beam]]  # beams before and after one more row


def keep(beams: Sequence[Beam], width: Width) -> list[Beam]:
    """The unfinished beams among the `width.keep` best of each tree.

    Finished beams compete, too, since the score of an unfinished beam only falls.
    """
    live = []
    for tree in range(width.trees):
        mine = [beam for beam in beams if beam.tree == tree]
        mine.sort(key=lambda beam: (-beam.score, beam.draft.symbols))
        live += [beam for beam in mine[: width.keep] if not beam.done]
    return live


def row_order(d8: int) -> tuple[int, ...]:
    """A mark that is equal for turns with the same rows in the same order, mirrored or not."""
    marks = turn(np.arange(4, dtype=np.uint8).reshape(2, 2), d8)
    return tuple(np.sort(marks, axis=1).reshape(-1).tolist())


class RowSearch:
    """A search for one test input: `view` writes and `judges` verify, each in another cache."""

    def __init__(
        self, model: LanguageModel, task: Task, test: int, view: View, judges: Sequence[View]
    ) -> None:
        """Raise `ValueError` for a judge that shows the rows in another order than `view`."""
        if any(row_order(judge.d8) != row_order(view.d8) for judge in judges):
            raise ValueError("a judge must show the rows in the order they are written in")
        self._model, self._view, self._judges = model, view, judges
        self._prompts = [model.prompt(task, test, shown) for shown in (view, *judges)]

    def run(
        self, width: Width, sampler: Sampler, side: int, deadline: Deadline
    ) -> list[tuple[Decoded, float]]:
        """Distinct finished outputs, each with its mean log-likelihood (nats) under all views.

        The best output comes first. At the deadline, the outputs finished so far are returned.
        """
        finished: list[Beam] = []
        try:
            live = self._begin(width, side, deadline)
            while live:
                family = self._write(live, width, sampler, side, deadline)
                if not family:
                    break
                children = self._judge(family) if self._judges else [child for _, child in family]
                finished += [beam for beam in children if beam.done]
                live = keep([*finished, *(beam for beam in children if not beam.done)], width)
        except OutOfTimeError:
            pass  # outputs finished before are kept
        finished.sort(key=lambda beam: (-beam.score, beam.draft.symbols))
        best = {tuple(beam.draft.symbols): beam for beam in reversed(finished)}
        return [
            (Decoded(np.array(symbols), beam.draft.logprob), beam.score)
            for symbols, beam in reversed(best.items())
        ]

    def _begin(self, width: Width, side: int, deadline: Deadline) -> list[Beam]:
        """Read the prompts. Returns a beam without rows for each tree."""
        room, (mine, *others) = most_symbols(side), self._prompts
        self._writer, first = self._model.read([mine], width.most, room, deadline)
        following = np.empty((0, first.shape[1]))
        if others:
            most = width.most * len(others)
            self._verifier, following = self._model.read(others, most, room, deadline)
        draft = Draft(first[0], like=mine.like)
        return [Beam(tree, draft, 0.0, following) for tree in range(width.trees)]

    def _write(
        self, live: list[Beam], width: Width, sampler: Sampler, side: int, deadline: Deadline
    ) -> Family:
        """Write one more row for each beam, several times. Returns the distinct results.

        The result is empty if the deadline passes before all rows are written.
        """
        beams = [beam.tree for beam in live]
        parents = [
            beam for beam in live for _ in range(width.keep * width.tries // beams.count(beam.tree))
        ]
        drafts = [parent.draft.copy() for parent in parents]
        self._writer.gather([p.place for p in parents], [len(d.symbols) for d in drafts])
        written = write(self._writer, drafts, frozenset({ROW, END}), sampler, side, deadline)
        if len(list(written)) < len(drafts):
            return []
        distinct: dict[tuple[int, ...], int] = {}
        for i, (parent, draft) in enumerate(zip(parents, drafts, strict=True)):
            distinct.setdefault((parent.tree, *draft.symbols), i)
        family = []
        for place, i in enumerate(distinct.values()):
            old = parents[i]
            child = Beam(old.tree, drafts[i], old.verdict, old.following, place)
            family.append((old, child))
        read = [len(child.draft.symbols) - child.done for _, child in family]
        self._writer.gather(list(distinct.values()), read)
        return family

    def _judge(self, family: Family) -> list[Beam]:
        """The beams after one more row, with the verifiers' log-likelihood of that row added."""
        judges = len(self._judges)
        shown = [
            self._shown(judge, child.draft.symbols[len(old.draft.symbols) :])
            for old, child in family
            for judge in self._judges
        ]  # C * J rows
        counts = np.array([len(row) - (row[-1] == END) for row in shown])
        symbols = np.full((len(shown), max(map(len, shown))), PAD)
        for i, row in enumerate(shown):
            symbols[i, : len(row)] = row
        places = [old.place * judges + j for old, _ in family for j in range(judges)]
        lengths = [len(old.draft.symbols) for old, _ in family for _ in range(judges)]
        self._verifier.gather(places, lengths)
        before = np.concatenate([old.following for old, _ in family])  # (C * J, WRITABLE)
        read = np.concatenate([before[:, None], self._verifier.extend(symbols, counts)], axis=1)
        each = [row[np.arange(len(new)), new].sum() for row, new in zip(read, shown, strict=True)]
        verdicts = np.array(each).reshape(-1, judges).sum(1)  # (C,)
        following = read[np.arange(len(read)), counts].reshape(len(family), judges, -1)
        return [
            replace(child, verdict=child.verdict + float(more), following=expected)
            for (_, child), more, expected in zip(family, verdicts, following, strict=True)
        ]

    def _shown(self, judge: View, row: Sequence[int]) -> Tokens:
        """A row, ROW or END included, as symbols in a judge's view."""
        cells: Grid = np.array([row[:-1]], dtype=np.uint8)
        symbols = output_symbols(judge.apply(self._view.undo(cells)))
        symbols[-1] = row[-1]
        return symbols
