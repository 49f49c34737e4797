"""The context format: whole tasks as tokens and back, one token a cell, or a refusal."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from solver.grid import COLORS, DataError, Grid, Pair, Task, freeze, same
from solver.lm.llm.context import collate, encode_example, encode_prompt
from solver.lm.symbols import END, IGNORED, MAX_OUTPUT, PAD, ROW, FormatError, output_symbols
from solver.lm.training.examples import Example, examples
from solver.lm.vocabulary import (
    STYLES,
    TOKENIZER,
    TOKENIZER_CONFIG,
    Vocabulary,
    load_vocabulary,
    vocabulary_of,
)
from solver.views import View
from tests.lm.small import SPECIAL, make_tokenizer

LIMIT = 2048


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer(path)
    return path


@pytest.fixture(scope="module", params=sorted(STYLES))
def vocabulary(request: pytest.FixtureRequest, folder: Path) -> Vocabulary:
    return vocabulary_of(folder, request.param)


def grids(most: int = 6) -> st.SearchStrategy[Grid]:
    side = st.integers(1, most)
    return st.tuples(side, side, st.integers(0, 2**32)).map(
        lambda t: freeze(np.random.default_rng(t[2]).integers(0, 10, t[:2]).astype(np.uint8))
    )


pairs = st.builds(Pair, grids(), grids())


def text_of(style: str, pairs: list[Pair], asked: Grid | None = None) -> str:
    """The same result by plain strings."""

    def rows(grid: Grid) -> str:
        return "\n".join("".join(map(str, row)) for row in grid.tolist())

    parts = STYLES[style]
    end = parts.end.replace("{eos}", SPECIAL[0])
    text = parts.begin + "".join(
        parts.ask + rows(p.input) + parts.answer + rows(p.output) + end for p in pairs
    )
    return text if asked is None else text + parts.ask + rows(asked) + parts.answer


@pytest.mark.parametrize("style", sorted(STYLES))
@given(shown=st.lists(pairs, min_size=1, max_size=4), asked=grids(30))
def test_a_prompt_is_what_the_tokenizer_makes_of_the_text(
    style: str, shown: list[Pair], asked: Grid, folder: Path
) -> None:
    vocabulary = vocabulary_of(folder, style)
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    prompt = encode_prompt(vocabulary, shown, asked, 4 * LIMIT)
    expected = tokenizer.encode(text_of(style, shown, asked)).ids
    assert vocabulary.kept[prompt.tokens].tolist() == expected
    tokens, _ = encode_example(
        vocabulary, Example(shown[-1], tuple(shown[:-1]), View()), 4 * LIMIT, first=True
    )
    assert vocabulary.kept[tokens].tolist() == tokenizer.encode(text_of(style, shown)).ids


@given(grid=grids(30))
def test_what_is_written_is_read_back(vocabulary: Vocabulary, grid: Grid) -> None:
    written = vocabulary.written(output_symbols(grid))
    assert same(vocabulary.grid(vocabulary.kept[written].tolist()), grid)


@given(ids=st.lists(st.integers(0, 400), max_size=12))
def test_any_tokens_are_a_grid_or_a_clear_failure(vocabulary: Vocabulary, ids: list[int]) -> None:
    try:
        grid = vocabulary.grid(ids)
    except FormatError:
        return
    assert vocabulary.kept[vocabulary.written(output_symbols(grid))].tolist() == ids


@given(shown=st.lists(pairs, max_size=4), asked=pairs, first=st.booleans())
def test_outputs_and_only_outputs_cost(
    vocabulary: Vocabulary, shown: list[Pair], asked: Pair, first: bool
) -> None:
    example = Example(asked, tuple(shown), View())
    tokens, targets = encode_example(vocabulary, example, 4 * LIMIT, first=first)
    outputs = [vocabulary.written(output_symbols(pair.output)) for pair in (*shown, asked)]
    outputs = outputs if first or not shown else outputs[1:]
    assert targets[targets != IGNORED].tolist() == np.concatenate(outputs).tolist()
    assert (targets == tokens)[targets != IGNORED].all()


def test_demonstrations_are_dropped_from_the_front_to_fit(vocabulary: Vocabulary) -> None:
    """At every length: as many of the last as fit, and the next one would not."""
    rng = np.random.default_rng(0)
    some = [freeze(rng.integers(0, 10, (9, 9)).astype(np.uint8)) for _ in range(12)]
    task = Task("t", tuple(Pair(g, g) for g in some), (some[0],))
    whole = encode_prompt(vocabulary, task.train, task.tests[0], 10**6).tokens
    begin = len(vocabulary.begin)
    previous = 0
    for limit in range(LIMIT, LIMIT + 2000, 97):
        prompt = encode_prompt(vocabulary, task.train, task.tests[0], limit).tokens
        assert len(prompt) + MAX_OUTPUT < limit
        assert prompt[begin:].tolist() == whole[len(whole) - len(prompt) + begin :].tolist()
        assert prompt[:begin].tolist() == whole[:begin].tolist()
        assert len(prompt) >= previous
        previous = len(prompt)
    assert previous == len(whole)
    example = Example(task.train[-1], task.train[:-1], View())
    tokens, targets = encode_example(vocabulary, example, 700, first=False)
    assert 500 < len(tokens) <= 700
    assert (targets != IGNORED).sum() < len(tokens) / 2


def test_the_largest_pair_fits_the_least_length(vocabulary: Vocabulary) -> None:
    largest = freeze(np.zeros((30, 30), dtype=np.uint8))
    example = Example(Pair(largest, largest), (Pair(largest, largest),), View())
    tokens, targets = encode_example(vocabulary, example, LIMIT, first=False)
    assert 2 * MAX_OUTPUT < len(tokens) <= LIMIT
    assert (targets != IGNORED).sum() == MAX_OUTPUT + vocabulary.tail


def test_a_batch_says_what_is_given_and_what_comes_next(vocabulary: Vocabulary) -> None:
    small, large = (freeze(np.full((n, n), n, dtype=np.uint8)) for n in (2, 3))
    task = Task("t", (Pair(small, large), Pair(large, small)), ())
    shown = [
        encode_example(vocabulary, example, LIMIT, first=True)
        for example in examples(task, 4, 0, context=True)
    ]
    shown.append(encode_example(vocabulary, Example(task.train[0], (), View()), LIMIT, first=True))
    batch = collate(shown)
    for i, (tokens, targets) in enumerate(shown):
        n = len(tokens) - 1
        assert batch.tokens[i, :n].tolist() == tokens[:-1].tolist()
        assert batch.targets[i, :n].tolist() == targets[1:].tolist()
        assert (batch.targets[i, n:] == IGNORED).all()
        assert (batch.tokens[i, n + 1 :] == PAD).all()
        assert batch.prompts[i] + (targets != IGNORED).sum() == len(tokens)


def test_symbols_are_their_own_numbers(vocabulary: Vocabulary, folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    texts = [tokenizer.decode([t], skip_special_tokens=False) for t in vocabulary.kept]
    assert texts[:COLORS] == list("0123456789")
    assert texts[ROW] == "\n"
    assert texts[END] == texts[PAD] == (SPECIAL[0] if vocabulary.tail else SPECIAL[2])
    if not vocabulary.tail:
        # Ten digits, a newline, start and end, two roles: the 16 tokens of NVARC with padding.
        assert len(vocabulary) == 16


def test_a_vocabulary_is_saved_and_loaded(vocabulary: Vocabulary, tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.json"
    vocabulary.save(path)
    again = load_vocabulary(path)
    assert again.tail == vocabulary.tail
    for name in ("kept", "begin", "ask", "answer"):
        assert getattr(again, name).tolist() == getattr(vocabulary, name).tolist()
    path.write_text("{}")
    with pytest.raises(DataError, match=r"vocabulary\.json: no vocabulary"):
        load_vocabulary(path)


@pytest.mark.parametrize("style", sorted(STYLES))
def test_a_tokenizer_that_merges_cells_is_refused(style: str, tmp_path: Path) -> None:
    make_tokenizer(tmp_path, digits=False)
    with pytest.raises(DataError, match=r"tokenizer\.json: no tokenizer for this style: it writes"):
        vocabulary_of(tmp_path, style)


def test_what_a_style_needs_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"tokenizer\.json: no such file"):
        vocabulary_of(tmp_path, "chat")
    make_tokenizer(tmp_path)
    text = (tmp_path / TOKENIZER).read_text()
    (tmp_path / TOKENIZER).write_text(text.replace(SPECIAL[2], "<|over|>"))
    with pytest.raises(DataError, match=r"'<\|im_end\|>' must be one token, not"):
        vocabulary_of(tmp_path, "chat")
    (tmp_path / TOKENIZER_CONFIG).write_text(json.dumps({}))
    with pytest.raises(DataError, match="names no eos_token"):
        vocabulary_of(tmp_path, "io")
    (tmp_path / TOKENIZER).write_text("{")
    with pytest.raises(DataError, match=r"tokenizer\.json: no tokenizer: "):
        vocabulary_of(tmp_path, "io")
