"""Writing outputs: the loop that greedy decoding, sampling and search by rows share.

All sequences grow together, by one pass of the model at a time. This module reads and writes only
symbols: the format layer converts grids, and the model's cache converts tensors.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from solver.deadline import Deadline
from solver.grid import MAX_SIDE, Grid
from solver.lm.search.grammar import Shape, most_symbols
from solver.lm.search.language import Cache, LanguageModel, LogProbs, Prompt
from solver.lm.symbols import END, PAD, ROW, Tokens


@dataclass(frozen=True, eq=False)
class Decoded:
    """Output symbols, with END if the output reached END, and their log-probability (nats)."""

    tokens: Tokens
    logprob: float


@dataclass(eq=False)
class Draft:
    """An output that is being written.

    following: (WRITABLE,), log-probabilities of the next symbol.
    logprob: log-probability (nats) of the symbols so far.
    like: a grid that the output may repeat in part.
    reach: number of symbols in the next guess, at most.
    """

    following: LogProbs
    symbols: list[int] = field(default_factory=list)
    logprob: float = 0.0
    shape: Shape = field(default_factory=Shape)
    like: Grid | None = None
    reach: int = 4

    def append(self, symbol: int) -> None:
        self.symbols.append(symbol)
        self.logprob += float(self.following[symbol])
        self.shape = self.shape.after(symbol)

    def copy(self) -> Draft:
        return replace(self, symbols=self.symbols.copy())

    def expected(self, side: int) -> list[int]:
        """A guess of the rest of this row, up to ROW and of at most `reach` symbols.

        The guess copies the same row of `like`, or the row above: the row that has more cells in
        common with this row so far. The guess is empty if there is no such row, or if this row is
        already longer.
        """
        width, column, rows = self.shape
        begun = self.symbols[len(self.symbols) - column :]
        models = [self.symbols[len(self.symbols) - column - width - 1 :][:width]] if rows else []
        if self.like is not None and rows < len(self.like):
            row = self.like[rows].tolist()
            models += [row] if width in (0, len(row)) and len(row) <= side else []
        if not models:
            return []
        model = max(reversed(models), key=lambda row: sum(map(int.__eq__, row, begun)))
        if column > len(model):
            return []
        return (model[column:] + [ROW] * (rows + 1 < side))[: self.reach]


@dataclass(frozen=True, eq=False)
class Sampler:
    """A choice of symbols: the likeliest at temperature 0, else random (the Gumbel-max trick)."""

    temperature: float = 0.0
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def choose(self, logprobs: LogProbs) -> Tokens:
        """One symbol for each row of log-probabilities (B, WRITABLE); -inf is never chosen."""
        if self.temperature:
            logprobs = logprobs / self.temperature + self.rng.gumbel(size=logprobs.shape)
        return np.asarray(logprobs.argmax(-1))


def write(
    cache: Cache,
    drafts: Sequence[Draft],
    until: frozenset[int],
    sampler: Sampler,
    side: int,
    deadline: Deadline,
) -> Iterator[int]:
    """Continue each draft until it has written a symbol of `until`; yields the drafts' numbers.

    Draft i uses row i of the cache. Its number is yielded as soon as the draft has ended. A guess
    of the next symbols is read together with the last symbol. The guess is kept as far as the
    sampler would have chosen the same symbols (speculative decoding, arXiv:2211.17192, without a
    second model). At the end the cache has read all symbols but END, unless the deadline passed.
    """
    pending = {
        i: _keep(draft, [], draft.following[None], sampler, side) for i, draft in enumerate(drafts)
    }
    while pending:
        if deadline.passed():
            return
        guesses: dict[int, list[int]] = {}
        for i, symbol in pending.items():
            drafts[i].append(symbol)
            if symbol != END:
                guesses[i] = [] if symbol in until else drafts[i].expected(side)
        yield from sorted(pending.keys() - guesses.keys())  # nothing is read after END
        pending = {}
        for i, following in _read(cache, drafts, guesses):
            symbol = _keep(drafts[i], guesses[i], following, sampler, side)
            if drafts[i].symbols[-1] not in until:
                pending[i] = symbol
        if any(guesses.values()):
            lengths = [len(draft.symbols) - (draft.symbols[-1] == END) for draft in drafts]
            cache.gather(range(len(drafts)), lengths)
        yield from sorted(guesses.keys() - pending.keys())


def _read(
    cache: Cache, drafts: Sequence[Draft], guesses: Mapping[int, Sequence[int]]
) -> Iterator[tuple[int, LogProbs]]:
    """Read the last symbol of drafts, and a guess (G,) of the symbols that follow.

    `guesses`: by the number of a draft. Yields each number with the log-probabilities
    (1 + G, WRITABLE) after each symbol read.
    """
    if not guesses:
        return
    counts = np.zeros(len(drafts), dtype=np.int64)
    symbols = np.full((len(drafts), 1 + max(map(len, guesses.values()))), PAD)
    for i, guess in guesses.items():
        counts[i] = 1 + len(guess)
        symbols[i, : counts[i]] = [drafts[i].symbols[-1], *guess]
    after = cache.extend(symbols, counts)
    for i in guesses:
        yield i, after[i, : counts[i]]


def _keep(
    draft: Draft, guess: Sequence[int], following: LogProbs, sampler: Sampler, side: int
) -> int:
    """Append the part of a guess (G,) that the sampler chooses; returns the symbol chosen next.

    `following` (1 + G, WRITABLE): log-probabilities before each symbol of the guess, and after the
    last.
    """
    shapes = list(itertools.accumulate(guess, Shape.after, initial=draft.shape))
    legal = np.stack([shape.legal(side) for shape in shapes])
    chosen = sampler.choose(np.where(legal, following, -np.inf)).tolist()
    kept = 0
    draft.following = following[0]
    while kept < len(guess) and chosen[kept] == guess[kept]:
        draft.append(guess[kept])
        kept += 1
        draft.following = following[kept]
    if guess:
        draft.reach = 2 * len(guess) if kept == len(guess) else 1 + kept
    return int(chosen[kept])


def generate(
    model: LanguageModel,
    prompts: Sequence[Prompt],
    sampler: Sampler,
    deadline: Deadline,
    side: int = MAX_SIDE,
) -> list[Decoded]:
    """One output for each prompt, with sides of at most `side` cells.

    An output that has not reached END by the deadline is returned without END.
    """
    cache, drafts = _begun(model, prompts, deadline, side)
    list(write(cache, drafts, frozenset({END}), sampler, side, deadline))
    return list(map(_decoded, drafts))


def as_written(
    model: LanguageModel,
    prompts: Sequence[Prompt],
    sampler: Sampler,
    deadline: Deadline,
    side: int = MAX_SIDE,
) -> Iterator[tuple[int, Decoded]]:
    """The outputs of `generate` that reach END, each with the number of its prompt.

    An output is yielded as soon as END is reached. Raises `OutOfTimeError` as the model does.
    """
    cache, drafts = _begun(model, prompts, deadline, side)
    for i in write(cache, drafts, frozenset({END}), sampler, side, deadline):
        yield i, _decoded(drafts[i])


def _begun(
    model: LanguageModel, prompts: Sequence[Prompt], deadline: Deadline, side: int
) -> tuple[Cache, list[Draft]]:
    """A cache that has read prompts, and empty drafts of their outputs."""
    cache, first = model.read(prompts, len(prompts), most_symbols(side), deadline)
    return cache, [Draft(row, like=p.like) for row, p in zip(first, prompts, strict=True)]


def _decoded(draft: Draft) -> Decoded:
    return Decoded(np.array(draft.symbols, dtype=np.int64), draft.logprob)


def greedy(
    model: LanguageModel, prompts: Sequence[Prompt], deadline: Deadline, side: int = MAX_SIDE
) -> list[Decoded]:
    """One output for each prompt, of the likeliest symbol at each place."""
    return generate(model, prompts, Sampler(), deadline, side)
