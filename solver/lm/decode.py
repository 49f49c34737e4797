"""Writing outputs: the loop that greedy decoding, sampling and search by rows share.

All sequences grow together, one symbol each a pass. Symbols go in and symbols come out: grids
stop at the format layer, tensors at the model's cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from solver.deadline import Deadline
from solver.grid import MAX_SIDE
from solver.lm.formats import END, PAD, Tokens
from solver.lm.grammar import Shape, most_symbols
from solver.lm.language import Cache, LanguageModel, LogProbs, Prompt


@dataclass(frozen=True, eq=False)
class Decoded:
    """Output symbols, END included where it was reached, and their log-probability (nats)."""

    tokens: Tokens
    logprob: float


@dataclass(eq=False)
class Draft:
    """An output that is being written; `following` (WRITABLE,) is what the model expects next."""

    following: LogProbs
    symbols: list[int] = field(default_factory=list)
    logprob: float = 0.0
    shape: Shape = field(default_factory=Shape)

    def append(self, symbol: int) -> None:
        self.symbols.append(symbol)
        self.logprob += float(self.following[symbol])
        self.shape = self.shape.after(symbol)

    def copy(self) -> Draft:
        return Draft(self.following, self.symbols.copy(), self.logprob, self.shape)


@dataclass(frozen=True, eq=False)
class Sampler:
    """Chooses symbols: the likeliest at temperature 0, else by chance (the Gumbel-max trick)."""

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
) -> bool:
    """Write on, draft i with row i of the cache, until each has written a symbol of `until`.

    The cache has then read all but END. False if the deadline came first.
    """
    waiting = list(range(len(drafts)))
    while waiting:
        if deadline.passed():
            return False
        legal = np.stack([drafts[i].shape.legal(side) for i in waiting])  # (W, WRITABLE)
        following = np.stack([drafts[i].following for i in waiting])
        chosen = sampler.choose(np.where(legal, following, -np.inf))
        symbols = np.full((len(drafts), 1), PAD)
        for i, symbol in zip(waiting, chosen.tolist(), strict=True):
            drafts[i].append(symbol)
            symbols[i] = symbol
        read = [i for i in waiting if drafts[i].symbols[-1] != END]
        if read:
            counts = np.zeros(len(drafts), dtype=np.int64)
            counts[read] = 1
            logprobs = cache.extend(symbols, counts)[:, 0]
            for i in read:
                drafts[i].following = logprobs[i]
        waiting = [i for i in waiting if drafts[i].symbols[-1] not in until]
    return True


def generate(
    model: LanguageModel,
    prompts: Sequence[Prompt],
    sampler: Sampler,
    deadline: Deadline,
    side: int = MAX_SIDE,
) -> list[Decoded]:
    """One output for each prompt, no longer than `side` a side.

    What has not reached END by the deadline comes back as far as it got.
    """
    cache, first = model.read(prompts, len(prompts), most_symbols(side))
    drafts = [Draft(row) for row in first]
    write(cache, drafts, frozenset({END}), sampler, side, deadline)
    return [Decoded(np.array(d.symbols, dtype=np.int64), d.logprob) for d in drafts]


def greedy(
    model: LanguageModel, prompts: Sequence[Prompt], deadline: Deadline, side: int = MAX_SIDE
) -> list[Decoded]:
    """The likeliest symbol, again and again, for each prompt."""
    return generate(model, prompts, Sampler(), deadline, side)
