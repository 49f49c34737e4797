"""Toy lessons and models for the tests of the language model."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from solver.deadline import Deadline
from solver.grid import COLORS, Pair, Task, freeze, stable_seed
from solver.lm.search.language import Cache, LogProbs, Prompt
from solver.lm.symbols import OUT, PAD, ROW, WRITABLE, Sequence3D, Tokens
from solver.lm.training.corpus import Lesson
from solver.views import View


def run_together(target: Callable[..., None], calls: Sequence[tuple[Any, ...]]) -> None:
    """Call it in a new process for each tuple of arguments, all at once; all must end well.

    None is forked: torch's threads do not outlive a fork, and it renews them for several threads
    that load weights at once less safely than it should.
    """
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=target, args=call) for call in calls]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0


def toy_lessons(n: int = 4, pairs: int = 6, side: int = 3) -> list[Lesson]:
    """Tasks that mirror, or copy, small grids; all colours stay."""
    rng = np.random.default_rng(0)
    lessons = []
    for task in range(n):
        grids = rng.integers(0, COLORS, (pairs, side, side + 1)).astype(np.uint8)
        some = tuple(
            Pair(freeze(grid), freeze(grid[:, ::-1] if task % 2 else grid.copy())) for grid in grids
        )
        lessons.append(Lesson(f"toy{task}", some, fixed_colors=frozenset(range(COLORS))))
    return lessons


def branched_cut_and_extended(
    cache: Cache,
) -> Iterator[tuple[int, list[int], list[int], LogProbs]]:
    """Put a cache of three prompts, with room for five rows of twelve symbols, through branching,
    cutting and uneven growth: for each row its prompt's number, what it held, what was appended,
    and what the cache expects after each of those (N, WRITABLE)."""
    texts: list[tuple[int, list[int]]] = [(0, []), (1, []), (2, [])]
    rng = np.random.default_rng(0)
    for _ in range(6):
        rows = rng.integers(0, len(texts), rng.integers(1, 6)).tolist()
        cuts = [int(rng.integers(0, len(texts[row][1]) + 1)) for row in rows]
        cache.gather(rows, cuts)
        texts = [(texts[r][0], texts[r][1][:cut]) for r, cut in zip(rows, cuts, strict=True)]
        counts = np.array([rng.integers(0, min(4, 13 - len(text))) for _, text in texts])
        symbols = np.full((len(texts), 3), PAD)
        for i, count in enumerate(counts):
            symbols[i, :count] = rng.choice([0, 3, 7, ROW], count)
        found = cache.extend(symbols, counts)
        for i, (number, text) in enumerate(texts):
            new = symbols[i, : counts[i]].tolist()
            yield number, text, new, found[i, : counts[i]]
            texts[i] = (number, [*text, *new])


class TableCache:
    """The cache of a `TableModel`: a prompt's number and symbols for each row."""

    def __init__(self, model: TableModel, rows: list[tuple[int, ...]]) -> None:
        self.model, self.rows = model, rows

    def extend(self, symbols: Tokens, counts: Tokens) -> LogProbs:
        table = np.full((*symbols.shape, WRITABLE), np.nan)
        for i, row in enumerate(symbols.tolist()):
            for n, symbol in enumerate(row[: counts[i]]):
                self.rows[i] += (symbol,)
                table[i, n] = self.model.next(self.rows[i])
        return table

    def gather(self, rows: Sequence[int], lengths: Sequence[int]) -> None:
        self.rows = [self.rows[r][: 1 + n] for r, n in zip(rows, lengths, strict=True)]


class TableModel:
    """A `LanguageModel` whose every probability follows from a seed and what was read."""

    def __init__(self, seed: int, sharpness: float = 3.0) -> None:
        self.seed, self.sharpness = seed, sharpness
        self.written = 0  # probabilities asked for

    def next(self, read: tuple[int, ...]) -> LogProbs:
        self.written += 1
        rng = np.random.default_rng(stable_seed(self.seed, read))
        logits = self.sharpness * rng.normal(size=WRITABLE)
        logits[OUT] = -np.inf
        logprobs: LogProbs = logits - np.logaddexp.reduce(logits)
        return logprobs

    def prompt(self, task: Task, test: int, view: View) -> Prompt:
        nothing = np.zeros(0, dtype=np.int64)
        number = stable_seed(0, task.id, test, view.name)
        return Prompt(Sequence3D(nothing, nothing, 0), number)

    def read(
        self, prompts: Sequence[Prompt], width: int, room: int, deadline: Deadline
    ) -> tuple[TableCache, LogProbs]:
        rows: list[tuple[int, ...]] = [(prompt.task,) for prompt in prompts]
        return TableCache(self, rows), np.stack([self.next(row) for row in rows])
