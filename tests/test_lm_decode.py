"""Greedy decoding: the cache changes nothing, prompts do not disturb one another."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from solver.deadline import Deadline, FakeClock
from solver.grid import Pair, as_grid, same
from solver.lm.decode import Decoded, greedy
from solver.lm.formats import (
    END,
    WRITABLE,
    Sequence3D,
    decode,
    encode,
    encode_prompt,
    next_positions,
)
from solver.lm.model import Size, TaskModel, build
from solver.lm.stream import Mixture, Stream
from solver.lm.train import Recipe, Trainer
from tests.lm import toy_lessons

LONG = Deadline.after(1e9)


@pytest.fixture(scope="module")
def model() -> TaskModel:
    """A model that has learned a little, so that outputs differ and end."""
    torch.set_num_threads(1)
    trainer = Trainer(TaskModel(build(Size(64, 2), 0), 4), Recipe(warmup=5))
    for batch in itertools.islice(Stream(toy_lessons(), Mixture(512, 100, chunk=64), 0), 40):
        trainer.step(batch, 1.0)
    return trainer.model


def prompts() -> list[Sequence3D]:
    grids = [[[1, 2, 3], [4, 5, 6]], [[7]], [[0, 0], [1, 1], [2, 2], [3, 3]]]
    return [encode_prompt(as_grid(grid), d8) for d8, grid in enumerate(grids)]


def without_cache(model: TaskModel, prompt: Sequence3D, task: int, limit: int) -> Decoded:
    """One token at a time, everything computed anew."""
    tokens, places, logprob = list(prompt.tokens), prompt.positions, 0.0
    while len(tokens) < len(prompt) + limit and tokens[-1] != END:
        with torch.no_grad():
            logits = model(
                torch.tensor([tokens]),
                torch.from_numpy(places)[:, None],
                torch.tensor([len(prompt)]),
                torch.tensor([task]),
            )[0, -1, :WRITABLE]
        logprob += float(torch.log_softmax(logits, -1).max())
        tokens.append(int(logits.argmax()))
        place = next_positions(np.array(tokens[-1:]), places[:, -1:])
        places = np.concatenate([places, place], axis=1)
    return Decoded(np.array(tokens[len(prompt) :]), logprob)


def test_the_cache_changes_nothing(model: TaskModel) -> None:
    together = greedy(model, prompts(), [0, 1, 2], LONG, limit=30)
    for task, (prompt, decoded) in enumerate(zip(prompts(), together, strict=True)):
        expected = without_cache(model, prompt, task, 30)
        assert decoded.tokens.tolist() == expected.tokens.tolist()
        assert decoded.logprob == pytest.approx(expected.logprob, abs=1e-3)


def test_what_was_learned_is_decoded() -> None:
    lesson = toy_lessons(1, pairs=1)
    trainer = Trainer(TaskModel(build(Size(64, 2), 0), 1), Recipe(warmup=5))
    for batch in itertools.islice(Stream(lesson, Mixture(512, 100, chunk=64), 0), 60):
        trainer.step(batch, 1.0)
    pair = lesson[0].originals[0]
    (decoded,) = greedy(trainer.model, [encode_prompt(pair.input, 0)], [0], LONG)
    assert same(decode(decoded.tokens), pair.output)
    assert -1 < decoded.logprob < 0
    sequence = encode(Pair(pair.input, pair.output), 0)
    assert decoded.tokens.tolist() == sequence.tokens[sequence.prompt :].tolist()


def test_the_deadline_and_the_limit_end_it(model: TaskModel) -> None:
    passed = Deadline.after(-1.0, FakeClock())
    assert [len(d.tokens) for d in greedy(model, prompts(), [0, 1, 2], passed)] == [1, 1, 1]
    assert all(len(d.tokens) <= 3 for d in greedy(model, prompts(), [0, 1, 2], LONG, limit=3))
