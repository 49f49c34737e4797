"""An endless stream of batches that depends only on the seed, and can be entered anywhere.

Sequences are drawn in chunks. A chunk is sorted by length and cut into batches of about equally
many tokens; the batches are then shuffled. A chunk depends only on the seed and the chunk's number.
A place in the stream is therefore two numbers, and a killed run continues with the next batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solver.grid import Pair, stable_seed
from solver.lm.symbols import SLOTS, Batch, Sequence3D, collate, encode
from solver.lm.training.corpus import Lesson
from solver.views import View, random_colors

Drawn = tuple[int, Sequence3D]  # number of the lesson, a sequence


@dataclass(frozen=True)
class Mixture:
    """Settings of the draw of sequences.

    tokens: number of tokens in one batch, padding included.
    longest: tokens of the longest sequence that is drawn.
    originals: the chance of a task's own pair if the task has generated pairs, too.
    chunk: number of sequences in a chunk.
    made_up: the part of the sequences that are of made-up tasks, if there are made-up tasks.
    multiple: lengths are padded to a multiple of this number; a GPU's products want eight.
    """

    tokens: int = 8192
    longest: int = 1024
    originals: float = 0.3
    chunk: int = 1024
    made_up: float = 0.5
    multiple: int = 1


class Stream:
    """An iterator of batches; `chunk` and `place` are the numbers of the next batch.

    With several processes, each process takes every `ranks`-th batch, starting at its `rank`.
    `source` may be replaced by another function with the results of `batches`. A lesson whose
    pairs are all too long is never drawn. Raises `ValueError` if no lesson can be drawn.
    """

    def __init__(
        self, lessons: Sequence[Lesson], mixture: Mixture, seed: int, rank: int = 0, ranks: int = 1
    ) -> None:
        self.mixture, self.seed, self.rank, self.ranks = mixture, seed, rank, ranks
        self.chunk, self.place = 0, 0
        self.source: Callable[[int], list[Batch]] = self.batches  # draws a chunk
        self._batches: list[Batch] | None = None
        self._lessons = lessons
        limit = mixture.longest
        self._originals = [_short(lesson.originals, limit) for lesson in lessons]
        self._generated = [_short(lesson.generated, limit) for lesson in lessons]
        both = zip(self._originals, self._generated, strict=True)
        self._drawable = [i for i, (own, more) in enumerate(both) if own or more]
        if not self._drawable:
            raise ValueError(f"no pair of at most {limit} tokens")
        self._chances = self._shares()

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        if self._batches is None:
            self._batches = self.source(self.chunk)
        batch = self._batches[self.place]
        self.place += 1
        if self.place == len(self._batches):
            self.chunk, self.place, self._batches = self.chunk + 1, 0, None
        return batch

    def seek(self, chunk: int, place: int) -> None:
        """Go to a place in the stream: the number of a chunk, and of a batch in the chunk."""
        self.chunk, self.place, self._batches = chunk, place, None

    def batches(self, chunk: int) -> list[Batch]:
        """This process's batches of a chunk, in random order.

        All processes get equally many batches; some batches are repeated for that.
        """
        rng = np.random.default_rng(stable_seed(self.seed, "order", chunk))
        batches = cut(self._draw_chunk(chunk), self.mixture.tokens)
        batches += batches[: -len(batches) % self.ranks]  # equally many for each process
        order = rng.permutation(len(batches))[self.rank :: self.ranks]
        return [batch_of(batches[i], self.mixture.multiple) for i in order]

    def _draw_chunk(self, chunk: int) -> list[Drawn]:
        rng = np.random.default_rng(stable_seed(self.seed, "chunk", chunk))
        tasks = rng.choice(self._drawable, self.mixture.chunk, p=self._chances)
        return [(int(task), self._draw(rng, int(task))) for task in tasks]

    def _shares(self) -> NDArray[np.float64]:
        """The chance of each drawable lesson: equal among made-up tasks, and among the others."""
        made_up = np.array([self._lessons[i].made_up for i in self._drawable])
        many = np.where(made_up, made_up.sum(), (~made_up).sum())
        share = np.where(made_up, self.mixture.made_up, 1 - self.mixture.made_up) / many
        return np.asarray(share / share.sum())

    def _draw(self, rng: np.random.Generator, task: int) -> Sequence3D:
        own, more = self._originals[task], self._generated[task]
        pairs = own if not more or (own and rng.random() < self.mixture.originals) else more
        view = random_view(rng, self._lessons[task].fixed_colors)
        return encode(view.apply_pair(pairs[rng.integers(len(pairs))]), view.d8)


def batch_of(drawn: Sequence[Drawn], multiple: int = 1) -> Batch:
    """Sequences and their tasks as one batch."""
    return collate([sequence for _, sequence in drawn], [task for task, _ in drawn], multiple)


def cut(drawn: Sequence[Drawn], tokens: int) -> list[list[Drawn]]:
    """Sequences cut into batches, the shortest sequences first.

    A batch has at most `tokens` tokens after padding, or is one longer sequence.
    """
    batches: list[list[Drawn]] = [[]]
    for item in sorted(drawn, key=lambda item: len(item[1])):
        if batches[-1] and (len(batches[-1]) + 1) * len(item[1]) > tokens:
            batches.append([])
        batches[-1].append(item)
    return batches


def random_view(rng: np.random.Generator, fixed: frozenset[int]) -> View:
    """A view with a random turn, and a random permutation of the colours that are not fixed."""
    colors = random_colors(rng, fixed)
    return View(int(rng.integers(8)), colors)


def sequence_length(pair: Pair) -> int:
    """The number of tokens in a pair's sequence."""
    grids = (pair.input, pair.output)
    return 1 + SLOTS + sum(int(g.shape[0]) * (int(g.shape[1]) + 1) for g in grids)


def _short(pairs: Sequence[Pair], limit: int) -> list[Pair]:
    return [pair for pair in pairs if sequence_length(pair) <= limit]
