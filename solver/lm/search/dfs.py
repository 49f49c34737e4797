"""Every output with at least a given probability, found by depth-first search.

The method is that of arXiv:2505.07859: a path is followed while its probability is at least a
threshold. The result is a set, not a sample, and no likely output is missed.

Here all views are searched together. In each pass of the model, each row grows by one symbol. A
row follows its likeliest branch and keeps the others for later. A row without branches takes over
the likeliest branch of another row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from solver.deadline import Deadline
from solver.grid import MAX_SIDE
from solver.lm.search.decode import Decoded
from solver.lm.search.grammar import Shape, most_symbols
from solver.lm.search.language import Cache, LanguageModel, LogProbs, Prompt
from solver.lm.symbols import END, PAD, Tokens

Found = tuple[int, Decoded]  # number of the prompt, an output


class Branch(NamedTuple):
    """A symbol to try after the first `length` symbols of a row.

    logprob: log-probability (nats) of the path, this symbol included.
    shape: the output's shape before the symbol.
    """

    logprob: float
    length: int
    symbol: int
    shape: Shape


@dataclass(eq=False)
class Row:
    """One path of the search, and its branches; the last branch is tried first.

    The `length` of branches never falls along `waiting`. Following the last branch therefore keeps
    all symbols that an earlier branch needs.
    """

    prompt: int
    symbols: list[int] = field(default_factory=list)
    waiting: list[Branch] = field(default_factory=list)

    def split(self, branch: Branch) -> Row:
        """Move one of this row's branches to a new row. Returns the new row."""
        self.waiting.remove(branch)
        return Row(self.prompt, self.symbols[: branch.length], [branch])

    def follow(self) -> Branch:
        """Cut the symbols to the last branch, and append its symbol. Returns the branch."""
        branch = self.waiting.pop()
        self.symbols[branch.length :] = [branch.symbol]
        return branch

    def grow(
        self, length: int, logprob: float, shape: Shape, following: LogProbs, limit: Limit
    ) -> Iterator[Found]:
        """Add the branches after the first `length` symbols; yields the output that ends there.

        `logprob` and `shape` are those of the first `length` symbols. `following` (WRITABLE,):
        log-probabilities of the next symbol. Branches below the limit are dropped.
        """
        total = logprob + following  # (WRITABLE,)
        able = shape.legal(limit.side) & (total >= limit.lowest)
        if able[END]:
            tokens = np.array([*self.symbols[:length], END], dtype=np.int64)
            yield self.prompt, Decoded(tokens, float(total[END]))
            able[END] = False
        for symbol in sorted(np.flatnonzero(able).tolist(), key=lambda s: total[s]):
            self.waiting.append(Branch(float(total[symbol]), length, symbol, shape))


@dataclass(frozen=True)
class Limit:
    """The outputs to search: of at least `lowest` log-probability, with sides up to `side`."""

    lowest: float
    side: int = MAX_SIDE


def depth_first(
    model: LanguageModel,
    prompts: Sequence[Prompt],
    threshold: float,
    deadline: Deadline,
    side: int = MAX_SIDE,
    width: int = 32,
    guesses: Sequence[Tokens] = (),
) -> Iterator[Found]:
    """All outputs of probability `threshold` or more, for each prompt, as they are found.

    `guesses`: empty, or one output for each prompt, END included. Guesses are read in one pass
    instead of symbol by symbol; only their branches are then written. Guesses are ignored if the
    pass is not expected to end before the deadline.
    `width`: number of rows that are searched at once; at least as many rows as prompts are.
    Raises `OutOfTimeError` as the model does.
    """
    limit = Limit(math.log(threshold), side)
    left = deadline.left()
    cache, first = model.read(prompts, max(width, len(prompts)), most_symbols(side), deadline)
    each = (left - deadline.left()) / max(1, sum(map(len, prompts)))  # seconds for each symbol
    rows = [Row(number) for number in range(len(prompts))]
    if guesses and each * sum(map(len, guesses)) < deadline.left():
        yield from _read_guesses(cache, rows, first, guesses, limit)
    else:
        for row, following in zip(rows, first, strict=True):
            yield from row.grow(0, 0.0, Shape(), following, limit)
    while not deadline.passed():
        sources, rows = share(rows, max(width, len(prompts)))
        if not rows:
            return
        branches = [row.follow() for row in rows]
        cache.gather(sources, [branch.length for branch in branches])
        symbols = np.array([[branch.symbol] for branch in branches])
        after = cache.extend(symbols, np.ones(len(rows), dtype=np.int64))[:, 0]
        for row, branch, following in zip(rows, branches, after, strict=True):
            shape = branch.shape.after(branch.symbol)
            yield from row.grow(branch.length + 1, branch.logprob, shape, following, limit)


def _read_guesses(
    cache: Cache, rows: Sequence[Row], first: LogProbs, guesses: Sequence[Tokens], limit: Limit
) -> Iterator[Found]:
    """Move each row along its guess, as far as the symbols are legal and likely enough.

    Yields the outputs found on the way.
    """
    room = most_symbols(limit.side)
    bodies = [guess[:-1][:room] for guess in guesses]
    counts = np.array([len(body) for body in bodies])
    symbols = np.full((len(rows), max(1, counts.max())), PAD)
    for i, body in enumerate(bodies):
        symbols[i, : len(body)] = body
    read = np.concatenate([first[:, None], cache.extend(symbols, counts)], axis=1)
    for row, body, following in zip(rows, bodies, read, strict=True):
        row.symbols = body.tolist()
        logprob, shape = 0.0, Shape()
        for length, symbol in enumerate([*row.symbols, END]):
            yield from row.grow(length, logprob, shape, following[length], limit)
            logprob += float(following[length, symbol])
            mine = [b for b in row.waiting if b.length == length and b.symbol == symbol]
            if not mine:
                break
            row.waiting.remove(mine[0])
            shape = shape.after(symbol)


def share(rows: Sequence[Row], width: int) -> tuple[list[int], list[Row]]:
    """The rows that have branches, at most `width`, and the old row that each continues.

    Free places get the likeliest waiting branches of rows that have more than one. As many rows as
    possible keep their place, since the cache copies only rows that move.
    """
    busy = [i for i, row in enumerate(rows) if row.waiting]
    spare = [(branch, i) for i in busy for branch in rows[i].waiting[:-1]]
    spare.sort(key=lambda item: (-item[0].logprob, item[1]))
    moved = [(i, rows[i].split(branch)) for branch, i in spare[: max(0, width - len(busy))]]
    total = len(busy) + len(moved)
    moved += [(i, rows[i]) for i in busy if i >= total]
    stay = {i for i in busy if i < total}
    placed = [(i, rows[i]) if i in stay else moved.pop(0) for i in range(total)]
    return [source for source, _ in placed], [row for _, row in placed]
