"""The context format: a whole task as one sequence of a language model's tokens.

    begin, then for each demonstration: ask input answer output; last ask input answer

A vocabulary defines the parts. Demonstrations are dropped from the front until the sequence fits.
Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from solver.grid import Grid, Pair
from solver.lm.symbols import IGNORED, MAX_OUTPUT, PAD, Batch, Sequence3D, Tokens, output_symbols
from solver.lm.training.examples import Example
from solver.lm.vocabulary import Vocabulary


def encode_prompt(
    vocabulary: Vocabulary, shown: Sequence[Pair], asked: Grid, limit: int
) -> Sequence3D:
    """The tokens before the output, which leave room for the largest output in `limit` tokens.

    As many of the last pairs are shown as fit.
    """
    question = _question(vocabulary, asked)
    pairs = [_pair(vocabulary, pair)[0] for pair in shown]
    room = limit - MAX_OUTPUT - 1 - len(vocabulary.begin) - len(question)
    tokens = np.concatenate([vocabulary.begin, *_last(pairs, room), question])
    return Sequence3D(tokens, _positions(len(tokens)), len(tokens))


def encode_example(
    vocabulary: Vocabulary, example: Example, limit: int, *, first: bool
) -> tuple[Tokens, Tokens]:
    """Tokens (T,) of an example, and targets (T,): the tokens of outputs, all others IGNORED.

    As many of the last pairs are kept as fit in `limit` tokens, at least one. Without `first`, the
    first output of several is IGNORED too, since nothing is known of the task before that output.
    """
    pairs = [_pair(vocabulary, pair) for pair in (*example.shown, example.pair)]
    kept = _last([tokens for tokens, _ in pairs], limit - len(vocabulary.begin))
    pairs = pairs[-max(1, len(kept)) :]
    tokens = np.concatenate([vocabulary.begin, *(tokens for tokens, _ in pairs)])
    targets = np.full(len(tokens), IGNORED)
    end = len(vocabulary.begin)
    for number, (pair, asked) in enumerate(pairs):
        end += len(pair)
        if first or number or len(pairs) == 1:
            targets[end - asked : end] = tokens[end - asked : end]
    return tokens, targets


def collate(examples: Sequence[tuple[Tokens, Tokens]]) -> Batch:
    """A batch of examples, padded on the right; `prompts` counts each example's IGNORED targets."""
    longest = max(len(tokens) for tokens, _ in examples)
    batch = np.full((len(examples), longest), PAD)  # (B, T + 1)
    targets = np.full((len(examples), longest), IGNORED)
    for i, (tokens, asked) in enumerate(examples):
        batch[i, : len(tokens)], targets[i, : len(tokens)] = tokens, asked
    given = np.array([int((asked == IGNORED).sum()) for _, asked in examples])
    positions = np.tile(np.arange(longest - 1), (3, len(examples), 1))
    numbers = np.zeros(len(examples), dtype=np.int64)
    return Batch(batch[:, :-1], positions, targets[:, 1:], given, numbers)


def _last(pairs: Sequence[Tokens], room: int) -> list[Tokens]:
    """The last of some sequences, as many as fit together in `room` tokens."""
    kept: list[Tokens] = []
    for pair in reversed(pairs):
        room -= len(pair)
        if room < 0:
            break
        kept.insert(0, pair)
    return kept


def _question(vocabulary: Vocabulary, grid: Grid) -> Tokens:
    return np.concatenate([vocabulary.ask, output_symbols(grid)[:-1], vocabulary.answer])


def _pair(vocabulary: Vocabulary, pair: Pair) -> tuple[Tokens, int]:
    """A pair's tokens, and the number of tokens in its output."""
    output = vocabulary.written(output_symbols(pair.output))
    return np.concatenate([_question(vocabulary, pair.input), output]), len(output)


def _positions(length: int) -> Tokens:
    """Positions (3, `length`): all three axes have the token's place in the text."""
    return np.tile(np.arange(length), (3, 1))
