"""Every output with at least a given probability, found by depth-first search.

The method is that of arXiv:2505.07859: a path is followed while its probability is at least a
threshold. The result is a set, not a sample, and no likely output is missed.

Here all views are searched together. In each pass of the model, each row grows by one symbol. A
row follows its likeliest branch and keeps the others for later. A row without branches takes over
the likeliest branch of another row.

A branch below the threshold is cut. Cut branches can be kept for a deeper search, which goes on
from them. A path to a branch is then read in one pass, not symbol by symbol.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
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
    all symbols that an earlier branch needs. The same holds for `cut`: branches that are kept for a
    deeper search. END is a symbol of a cut branch, but never of a waiting branch.
    """

    prompt: int
    symbols: list[int] = field(default_factory=list)
    waiting: list[Branch] = field(default_factory=list)
    cut: list[Branch] = field(default_factory=list)

    def split(self, branch: Branch) -> Row:
        """Move one of this row's branches to a new row. Returns the new row."""
        self.waiting.remove(branch)
        return Row(self.prompt, self.symbols[: branch.length], [branch])

    def follow(self) -> Branch:
        """Cut the symbols to the last branch, and append its symbol. Returns the branch."""
        branch = self.waiting.pop()
        self.symbols[branch.length :] = [branch.symbol]
        return branch

    def put_off(self) -> list[Row]:
        """Move the cut branches whose symbols `follow` would overwrite to a row of their own.

        Returns that row. Returns an empty list if there is no such branch.
        """
        kept = self.waiting[-1].length if self.waiting else -1
        first = sum(branch.length <= kept for branch in self.cut)
        lost, self.cut = self.cut[first:], self.cut[:first]
        return [Row(self.prompt, self.symbols[: lost[-1].length], cut=lost)] if lost else []

    def deepen(self, limit: Limit) -> Iterator[Found]:
        """Let the cut branches wait that are above a lower limit; yields outputs that end there."""
        cut, self.cut = self.cut, []
        for branch in cut:
            if branch.logprob < limit.lowest:
                self.cut.append(branch)
            elif branch.symbol == END:
                tokens = np.array([*self.symbols[: branch.length], END], dtype=np.int64)
                yield self.prompt, Decoded(tokens, branch.logprob)
            else:
                self.waiting.append(branch)

    def grow(
        self, length: int, logprob: float, shape: Shape, following: LogProbs, limit: Limit
    ) -> Iterator[Found]:
        """Add the branches after the first `length` symbols; yields the output that ends there.

        `logprob` and `shape` are those of the first `length` symbols. `following` (WRITABLE,):
        log-probabilities of the next symbol. Branches below the limit are cut.
        """
        total = logprob + following  # (WRITABLE,)
        able = shape.legal(limit.side) & (total >= min(limit.lowest, limit.kept))
        if able[END] and total[END] >= limit.lowest:
            tokens = np.array([*self.symbols[:length], END], dtype=np.int64)
            yield self.prompt, Decoded(tokens, float(total[END]))
            able[END] = False
        for symbol in sorted(np.flatnonzero(able).tolist(), key=lambda s: total[s]):
            likely = total[symbol] >= limit.lowest
            branch = Branch(float(total[symbol]), length, symbol, shape)
            (self.waiting if likely else self.cut).append(branch)

    def take(self, length: int, symbol: int) -> bool:
        """Remove the branch to a symbol after the first `length` symbols. False if none is there.

        END leads nowhere, so its branch stays.
        """
        for some in (self.waiting, self.cut):
            for branch in some:
                if branch.length == length and branch.symbol == symbol != END:
                    some.remove(branch)
                    return True
        return False


@dataclass(frozen=True)
class Limit:
    """The outputs to search, and the branches to keep for a deeper search.

    lowest: the lowest log-probability (nats) of an output.
    side: most cells of an output's side.
    kept: the lowest log-probability of a branch that is kept.
    """

    lowest: float
    side: int = MAX_SIDE
    kept: float = math.inf


@dataclass(eq=False)
class Cut:
    """The cut branches of a search, in rows that are not in a cache.

    lowest: the lowest probability of a branch that is kept.
    whole: True if the search came to its end. Otherwise branches are missing.
    """

    lowest: float
    rows: list[Row] = field(default_factory=list)
    whole: bool = False


def depth_first(
    model: LanguageModel,
    prompts: Sequence[Prompt],
    threshold: float,
    deadline: Deadline,
    side: int = MAX_SIDE,
    width: int = 32,
    guesses: Sequence[Tokens] = (),
    cut: Cut | None = None,
) -> Iterator[Found]:
    """All outputs of probability `threshold` or more, for each prompt, as they are found.

    `guesses`: empty, or one output for each prompt, END included. Guesses are read in one pass
    instead of symbol by symbol; only their branches are then written. Guesses are ignored if the
    pass is not expected to end before the deadline.
    `width`: number of rows that are searched at once; at least as many rows as prompts are.
    `cut`: the place for the branches that `deeper` will go on from.
    Raises `OutOfTimeError` as the model does.
    """
    cut = cut or Cut(math.inf)
    limit = Limit(math.log(threshold), side, math.log(cut.lowest))
    left = deadline.left()
    cache, first = model.read(prompts, max(width, len(prompts)), most_symbols(side), deadline)
    each = (left - deadline.left()) / max(1, sum(map(len, prompts)))  # seconds for each symbol
    rows = [Row(number) for number in range(len(prompts))]
    if guesses and each * sum(map(len, guesses)) < deadline.left():
        yield from _read_guesses(cache, rows, first, guesses, limit)
    else:
        for row, following in zip(rows, first, strict=True):
            yield from row.grow(0, 0.0, Shape(), following, limit)
    cut.whole = yield from _search(cache, rows, limit, deadline, max(width, len(prompts)), cut)


def deeper(
    model: LanguageModel,
    prompts: Sequence[Prompt],
    threshold: float,
    deadline: Deadline,
    side: int,
    width: int,
    cut: Cut,
) -> Iterator[Found]:
    """The further outputs of probability `threshold` or more, from the branches in `cut`.

    `cut` comes from a whole search of the same prompts at a higher threshold. Its branches below
    `threshold` stay, and new ones are added. The path to a branch is read in one pass.
    Raises `OutOfTimeError` as the model does.
    """
    limit = Limit(math.log(threshold), side, math.log(cut.lowest))
    rows, cut.rows = cut.rows, []
    for row in rows:
        yield from row.deepen(limit)
    cut.rows += [off for row in rows for off in row.put_off()]
    rows = sorted((row for row in rows if row.waiting), key=lambda row: -row.waiting[-1].logprob)
    cut.whole = not rows
    for start in range(0, len(rows), width):
        if deadline.passed():  # before memory for a search is allocated
            cut.whole = False
            return
        some = rows[start : start + width]
        cache = _read_paths(model, prompts, some, width, limit, deadline)
        cut.whole = yield from _search(cache, some, limit, deadline, width, cut)
        del cache  # before memory for the next is allocated


def _search(
    cache: Cache, rows: list[Row], limit: Limit, deadline: Deadline, width: int, cut: Cut
) -> Generator[Found, None, bool]:
    """Follow the branches of rows, of which row i is the cache's row i.

    Returns True once no branch waits, and False if the deadline passes before.
    """
    while not deadline.passed():
        cut.rows += [off for row in rows if not row.waiting for off in row.put_off()]
        sources, rows = share(rows, width)
        if not rows:
            return True
        cut.rows += [off for row in rows for off in row.put_off()]
        branches = [row.follow() for row in rows]
        cache.gather(sources, [branch.length for branch in branches])
        symbols = np.array([[branch.symbol] for branch in branches])
        after = cache.extend(symbols, np.ones(len(rows), dtype=np.int64))[:, 0]
        for row, branch, following in zip(rows, branches, after, strict=True):
            shape = branch.shape.after(branch.symbol)
            yield from row.grow(branch.length + 1, branch.logprob, shape, following, limit)
    return False


def _read_guesses(
    cache: Cache, rows: Sequence[Row], first: LogProbs, guesses: Sequence[Tokens], limit: Limit
) -> Iterator[Found]:
    """Move each row along its guess, as far as the symbols are legal and likely enough.

    Yields the outputs found on the way.
    """
    room = most_symbols(limit.side)
    bodies = [guess[:-1][:room] for guess in guesses]
    read = np.concatenate([first[:, None], _extended(cache, bodies)], axis=1)
    for row, body, following in zip(rows, bodies, read, strict=True):
        row.symbols = body.tolist()
        logprob, shape = 0.0, Shape()
        for length, symbol in enumerate([*row.symbols, END]):
            yield from row.grow(length, logprob, shape, following[length], limit)
            logprob += float(following[length, symbol])
            if not row.take(length, symbol):
                break
            shape = shape.after(symbol)


def _read_paths(
    model: LanguageModel,
    prompts: Sequence[Prompt],
    rows: Sequence[Row],
    width: int,
    limit: Limit,
    deadline: Deadline,
) -> Cache:
    """A cache that contains the prompt of each row, and the symbols before its last branch."""
    numbers = sorted({row.prompt for row in rows})
    asked = [prompts[number] for number in numbers]
    cache, _ = model.read(asked, width, most_symbols(limit.side), deadline)
    cache.gather([numbers.index(row.prompt) for row in rows], [0] * len(rows))
    paths = [np.array(row.symbols[: row.waiting[-1].length], dtype=np.int64) for row in rows]
    if any(map(len, paths)):
        _extended(cache, paths)
    return cache


def _extended(cache: Cache, texts: Sequence[Tokens]) -> LogProbs:
    """Append a text to each sequence of a cache; see `Cache.extend` for the result."""
    counts = np.array([len(text) for text in texts])
    symbols = np.full((len(texts), max(1, counts.max())), PAD)
    for i, text in enumerate(texts):
        symbols[i, : len(text)] = text
    return cache.extend(symbols, counts)


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
