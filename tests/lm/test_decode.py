"""Writing outputs: the cache changes nothing, prompts do not disturb one another."""

from __future__ import annotations

import itertools
import runpy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from solver.deadline import Deadline, FakeClock, StepClock
from solver.grid import as_grid, same
from solver.lm.pair.cache import PairModel
from solver.lm.pair.model import Size, TaskModel, build
from solver.lm.search.decode import Decoded, Sampler, generate, greedy
from solver.lm.search.grammar import shape_of
from solver.lm.search.language import Cache, LogProbs, Prompt
from solver.lm.symbols import (
    END,
    OUT,
    WRITABLE,
    Tokens,
    decode,
    encode_prompt,
    next_positions,
    output_symbols,
)
from solver.lm.training.loop import Recipe, Trainer
from solver.lm.training.stream import Mixture, Stream
from tests.lm.toys import TableModel, branched_cut_and_extended, toy_lessons
from tests.runs import ROOT

LONG = Deadline.after(1e9)
SIDE = 6


@pytest.fixture(scope="module")
def model() -> TaskModel:
    """A model that has learned a little, so that outputs differ and end."""
    torch.set_num_threads(1)
    trainer = Trainer(TaskModel(build(Size(64, 2), 0), 4), Recipe(warmup=5))
    for batch in itertools.islice(Stream(toy_lessons(), Mixture(512, 100, chunk=64), 0), 40):
        trainer.step(batch, 1.0)
    model: TaskModel = trainer.model
    return model


def prompts() -> list[Prompt]:
    grids = [[[1, 2, 3], [4, 5, 6]], [[7]], [[0, 0], [1, 1], [2, 2], [3, 3]]]
    return [Prompt(encode_prompt(as_grid(grid), d8), d8) for d8, grid in enumerate(grids)]


def plainly(model: TaskModel, prompt: Prompt, symbols: Sequence[int] | Tokens) -> LogProbs:
    """Log-probabilities (N + 1, WRITABLE) after a prompt and each of its N symbols, without a
    cache and without company."""
    given, places = prompt.sequence.tokens, prompt.sequence.positions
    for symbol in symbols:
        place = next_positions(np.array([symbol]), places[:, -1:])
        places = np.concatenate([places, place], axis=1)
    with torch.no_grad():
        logits = model(
            torch.tensor([[*given, *symbols]]),
            torch.from_numpy(places)[:, None],
            torch.tensor([len(prompt)]),
            torch.tensor([prompt.task]),
        )[0, len(prompt) - 1 :, :WRITABLE].double()
    logits[:, OUT] = -torch.inf
    table: LogProbs = torch.log_softmax(logits, -1).numpy()
    return table


def without_cache(model: TaskModel, prompt: Prompt) -> Decoded:
    """The likeliest legal symbol, everything computed anew for each."""
    symbols: list[int] = []
    logprob = 0.0
    while END not in symbols:
        following = plainly(model, prompt, symbols)[-1]
        legal = np.where(shape_of(symbols).legal(SIDE), following, -np.inf)
        symbols.append(int(legal.argmax()))
        logprob += float(legal.max())
    return Decoded(np.array(symbols), logprob)


def test_the_cache_changes_nothing(model: TaskModel) -> None:
    together = greedy(PairModel(model, {}), prompts(), LONG, SIDE)
    for prompt, decoded in zip(prompts(), together, strict=True):
        expected = without_cache(model, prompt)
        assert decoded.tokens.tolist() == expected.tokens.tolist()
        assert decoded.logprob == pytest.approx(expected.logprob, abs=1e-4)


@pytest.mark.parametrize("close", [True, False])
def test_a_grid_that_it_may_be_like_changes_nothing(model: TaskModel, close: bool) -> None:
    """Neither the output itself nor another grid of its size; but the output saves passes."""
    for prompt in prompts():
        expected = without_cache(model, prompt)
        grid = decode(expected.tokens)
        like = grid if close else as_grid((grid + 1) % 10)
        cached = Counted(PairModel(model, {}))
        (decoded,) = greedy(cached, [replace(prompt, like=like)], LONG, SIDE)
        assert decoded.tokens.tolist() == expected.tokens.tolist()
        assert decoded.logprob == pytest.approx(expected.logprob, abs=1e-4)
        if close:  # the first symbols of the first row come one by one, then four, then more
            assert cached.passes <= 2 + 2 * len(grid)


class Counted:
    """A `LanguageModel` that counts the passes over its caches."""

    def __init__(self, model: PairModel) -> None:
        self.prompt, self._model, self.passes = model.prompt, model, 0

    def read(
        self, prompts: Sequence[Prompt], width: int, room: int, deadline: Deadline
    ) -> tuple[Cache, LogProbs]:
        cache, first = self._model.read(prompts, width, room, deadline)
        extend = cache.extend

        def counted(symbols: Tokens, counts: Tokens) -> LogProbs:
            self.passes += 1
            return extend(symbols, counts)

        cache.extend = counted  # type: ignore[method-assign]
        return cache, first


def test_rows_are_branched_cut_and_extended_unevenly(model: TaskModel) -> None:
    """Every row of a cache expects what it would expect alone, whatever happened before."""
    three = prompts()
    cache, first = PairModel(model, {}).read(three, 5, 12, LONG)
    for row, prompt in zip(first, three, strict=True):
        assert row == pytest.approx(plainly(model, prompt, [])[0], abs=1e-4)
    for number, text, new, found in branched_cut_and_extended(cache):
        expected = plainly(model, three[number], [*text, *new])[len(text) + 1 :]
        assert found == pytest.approx(expected, abs=1e-4)


def test_a_pass_in_parts_is_the_same(model: TaskModel, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = PairModel(model, {}).read(prompts(), 3, 1, LONG)[1]
    monkeypatch.setattr("solver.lm.pair.cache.SCORES_AT_ONCE", 1)
    assert PairModel(model, {}).read(prompts(), 3, 1, LONG)[1] == pytest.approx(whole, abs=1e-5)


def test_more_rows_than_there_is_memory_for_are_refused(model: TaskModel) -> None:
    cache, _ = PairModel(model, {}).read(prompts(), 4, 1, LONG)
    with pytest.raises(ValueError, match="5 rows in a cache of 4"):
        cache.gather([0] * 5, [0] * 5)


def test_the_tokens_are_those_of_transformers_generate(model: TaskModel) -> None:
    bench = runpy.run_path(str(ROOT / "scripts/bench/decode.py"))
    grids = [as_grid(np.arange(12).reshape(3, 4) % (i + 2)) for i in range(3)]
    some = [Prompt(encode_prompt(grid, i), i) for i, grid in enumerate(grids)]
    theirs = bench["with_generate"](bench["PlainModel"].of(model, some), some, SIDE)
    ours = bench["with_cache"](model, some, SIDE)
    assert [row.tolist() for row in ours] == [row.tolist() for row in theirs]
    assert len({len(row) for row in ours}) > 1 or len({*map(bytes, ours)}) > 1


def test_what_was_learned_is_decoded() -> None:
    lesson = toy_lessons(1, pairs=1)
    trainer = Trainer(TaskModel(build(Size(64, 2), 0), 1), Recipe(warmup=5))
    for batch in itertools.islice(Stream(lesson, Mixture(512, 100, chunk=64), 0), 60):
        trainer.step(batch, 1.0)
    pair = lesson[0].originals[0]
    prompt = Prompt(encode_prompt(pair.input, 0), 0)
    (decoded,) = greedy(PairModel(trainer.model, {}), [prompt], LONG)
    assert same(decode(decoded.tokens), pair.output)
    assert -1 < decoded.logprob < 0
    assert decoded.tokens.tolist() == output_symbols(pair.output).tolist()


def test_every_output_is_a_grid_within_the_side() -> None:
    some = [Prompt(prompts()[0].sequence, i) for i in range(40)]
    for temperature in (0.0, 2.0):
        for decoded in generate(TableModel(0), some, Sampler(temperature), LONG, 3):
            assert max(decode(decoded.tokens).shape) <= 3


def test_samples_follow_the_probabilities() -> None:
    """3,000 draws of the first symbol: within four standard deviations of n * p each."""
    table = TableModel(1, sharpness=1.0)
    some = [Prompt(prompts()[0].sequence, 7)] * 3000
    drawn = generate(table, some, Sampler(1.0, np.random.default_rng(0)), LONG, 1)
    first = np.bincount([decoded.tokens[0] for decoded in drawn], minlength=10)
    p = np.exp(table.next((7,)))[:10]
    p /= p.sum()  # colours alone may come first
    assert np.abs(first - 3000 * p).max() < 4 * np.sqrt(3000 * (p * (1 - p)).max())


def test_what_is_guessed_is_drawn_no_more_often() -> None:
    """4,000 outputs of one row of two cells, guessed from a grid: first symbol by first, the
    second is drawn with the probabilities of the model."""
    table = TableModel(2, sharpness=1.0)
    like = as_grid([[3, 5]])
    some = [Prompt(prompts()[0].sequence, 7, like)] * 4000
    drawn = generate(table, some, Sampler(1.0, np.random.default_rng(0)), LONG, 2)
    threes = [d.tokens[1] for d in drawn if d.tokens[0] == 3]
    legal = shape_of([3]).legal(2)
    p = np.where(legal, np.exp(table.next((7, 3))), 0.0)
    p /= p.sum()
    counts, n = np.bincount(threes, minlength=WRITABLE), len(threes)
    assert n > 100
    assert (np.abs(counts - n * p) <= 4 * np.sqrt(n * p * (1 - p)) + 1e-9).all()


def test_the_deadline_ends_it() -> None:
    some = [Prompt(prompts()[0].sequence, i) for i in range(3)]
    passed = Deadline.after(-1.0, FakeClock())
    assert [len(d.tokens) for d in greedy(TableModel(0), some, passed)] == [0, 0, 0]
    four_looks = Deadline.after(4, StepClock())
    assert max(len(d.tokens) for d in greedy(TableModel(0), some, four_looks)) <= 4
