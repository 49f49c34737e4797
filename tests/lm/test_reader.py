"""Prompts are read once: what is kept, what is read again, and that answers do not depend on it."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from solver.deadline import Deadline
from solver.grid import Candidate
from solver.lm.llm.causal import ContextModel
from solver.lm.llm.reader import SPARE_SYMBOLS, Kept, Page, Reader
from solver.lm.memory import Memory, free_bytes, size_of
from solver.lm.search.searches import Options, Question
from solver.lm.search.strategies import STRATEGIES, propose
from solver.lm.symbols import ROW, WRITABLE
from solver.lm.vocabulary import STYLES
from solver.views import View, sample_views
from tests.lm.small import recolored, sharper_model

LONG = Deadline.after(1e9)
TASK = recolored(0)[0]
OPTIONS = Options(side=3, width=4, threshold=0.2, finalists=24)
AMPLE = 1 << 30


@pytest.fixture(scope="module", params=sorted(STYLES))
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ContextModel:
    """New weights, but sharper, so that some outputs are likely."""
    return sharper_model(tmp_path_factory.mktemp("tokenizer"), request.param, 40)


def views(count: int) -> list[View]:
    """Views that show the task differently from one another."""
    return sample_views(TASK, count, 0, keep_background=False, keep_output_only=False)


def answered(reader: Reader, name: str = "dfs", count: int = 16) -> list[Candidate]:
    asked = Question(TASK, 0, views(count))
    return list(propose(STRATEGIES[name], reader, asked, LONG, OPTIONS))


def told(candidates: list[Candidate]) -> dict[object, tuple[float, ...]]:
    final = [c for c in candidates if not c.provisional]
    return {c.identity: (c.votes, c.logprob or 0.0, *c.scores) for c in final}


@pytest.mark.parametrize("name", ["dfs", "greedy", "best-of-n"])
def test_a_prompt_is_read_once_for_search_deeper_search_and_measuring(
    model: ContextModel, name: str
) -> None:
    reader = Reader(model, AMPLE)
    found = answered(reader, name)
    assert reader.reads == len({model.prompt(TASK, 0, view).key for view in views(16)}) == 16
    assert len(found) > 2
    again = Reader(model, 0)  # keeps nothing
    expected = told(answered(again, name))
    assert told(found).keys() == expected.keys()
    for identity, numbers in told(found).items():
        assert numbers == pytest.approx(expected[identity], abs=1e-4)
    assert again.reads >= (16 if name == "greedy" else 32)


def test_kept_prompts_never_take_more_than_their_room(model: ContextModel) -> None:
    """With room for a few prompts, the others are read again, and answers are the same."""
    prompts = [model.prompt(TASK, 0, view) for view in views(16)]
    config, dtype = model.lm.config, model.lm.dtype
    page = max(size_of(config, 1, len(prompt), dtype) for prompt in prompts)
    room = size_of(config, 4, max(map(len, prompts)) + 90, dtype) + 6 * page
    reader, ample, bare = Reader(model, room), Reader(model, AMPLE), Reader(model, 0)
    found = answered(reader)
    held = sum(page.size for page in reader._kept.pages.values())
    assert 0 < held <= room
    assert held > 4 * page
    assert told(found).keys() == told(answered(ample)).keys() == told(answered(bare)).keys()
    assert ample.reads == 16 < reader.reads < bare.reads
    reader.forget()
    assert not reader._kept.pages


def test_the_prompts_that_are_needed_last_are_dropped_first() -> None:
    kept, memory = Kept(10), Memory.__new__(Memory)
    kept.pages = {name: Page(memory, np.zeros(WRITABLE), 3) for name in "abc"}
    assert kept.fits(1)
    assert not kept.fits(2)
    kept.free(1, set())
    assert list(kept.pages) == ["a", "b", "c"]
    kept.free(4, {"c"})
    assert list(kept.pages) == ["a", "c"]
    kept.free(10, {"c"})
    assert not kept.pages


def test_a_cache_grows_with_an_output_that_is_longer_than_expected(model: ContextModel) -> None:
    length = 3 * SPARE_SYMBOLS
    rng = np.random.default_rng(0)
    symbols = rng.choice([0, 3, 7, ROW], (2, length))
    prompts = [replace(model.prompt(TASK, 0, view), expected=1) for view in views(2)]
    ample = [replace(prompt, expected=0) for prompt in prompts]
    assert model.prompt(TASK, 0, View()).expected == TASK.tests[0].size + len(TASK.tests[0])

    def after(some: list[object]) -> tuple[int, Iterator[np.ndarray]]:
        cache, _ = Reader(model, AMPLE).read(some, 3, length, LONG)  # type: ignore[arg-type]
        begun = cache.memory.columns
        parts = [
            cache.extend(symbols[:, n : n + size], np.full(2, size))
            for n, size in ((0, 1), (1, 90))
        ]
        cache.gather([1, 0, 1], [91, 50, 3])
        parts.append(cache.extend(symbols[[0, 1, 0], :1], np.ones(3, dtype=np.int64)))
        return begun, iter(parts)

    (small, grown), (large, whole) = after([*prompts]), after([*ample])
    assert small < large
    for one, other in zip(grown, whole, strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_a_memory_that_grows_holds_no_layer_twice(model: ContextModel) -> None:
    memory = Memory(model.lm.config, 2, 5, torch.float32, torch.device("cpu"))
    memory.reach(5)
    for layer in memory.layers:
        layer.normal_()
    values = [layer.clone() for layer in memory.layers]
    old = [weakref.ref(layer) for layer in memory.layers]
    del layer
    memory.grow(9)
    assert all(ref() is None for ref in old)
    for layer, before in zip(memory.layers, values, strict=True):
        assert layer.shape[3] == memory.columns == 9
        assert torch.equal(layer[:, :, :, :5], before)


def test_free_memory_is_what_this_process_may_still_have() -> None:
    free = free_bytes(torch.device("cpu"))
    held = torch.ones(free // 8 // 4)  # an eighth of it
    assert 0 < free_bytes(torch.device("cpu")) <= free - held.nbytes // 2
