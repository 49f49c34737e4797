"""The pair format: exact inverse, positions, targets, clear failures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from solver.grid import Grid, Pair, as_grid, same
from solver.lm.symbols import (
    END,
    IGNORED,
    MAX_OUTPUT,
    OUT,
    PAD,
    ROW,
    SLOTS,
    TASK,
    VIEW,
    VOCABULARY,
    WRITABLE,
    FormatError,
    collate,
    decode,
    encode,
    encode_prompt,
    next_positions,
)
from tests.strategies import complaint, grids, pairs

VIEWS = st.integers(0, 7)
PAIR = Pair(as_grid([[1, 2]]), as_grid([[3], [4]]))


def test_a_pair_by_hand() -> None:
    sequence = encode(PAIR, 5)
    prefix = [VIEW + 5, *range(TASK, TASK + SLOTS)]
    assert sequence.tokens.tolist() == [*prefix, 1, 2, OUT, 3, ROW, 4, END]
    places = sequence.positions[:, len(prefix) :].T.tolist()
    assert places == [
        [1, 0, 1],
        [1, 0, 2],
        [2, 0, 0],
        [2, 0, 1],
        [2, 1, 0],
        [2, 1, 1],
        [2, 2, 0],
    ]
    assert sequence.prompt == len(prefix) + 3


@given(pairs(), VIEWS)
def test_outputs_come_back_exactly(pair: Pair, d8: int) -> None:
    sequence = encode(pair, d8)
    spelled = sequence.tokens[sequence.prompt :]
    assert same(decode(spelled), pair.output)
    assert len(spelled) <= MAX_OUTPUT
    assert spelled.max() < WRITABLE
    assert sequence.tokens.max() < VOCABULARY


@given(pairs(), VIEWS)
def test_the_prompt_is_the_start_of_the_sequence(pair: Pair, d8: int) -> None:
    sequence, prompt = encode(pair, d8), encode_prompt(pair.input, d8)
    assert len(prompt) == prompt.prompt == sequence.prompt
    assert np.array_equal(sequence.tokens[: len(prompt)], prompt.tokens)
    assert np.array_equal(sequence.positions[:, : len(prompt)], prompt.positions)


@given(pairs(), VIEWS)
def test_every_token_stands_somewhere_else(pair: Pair, d8: int) -> None:
    positions = encode(pair, d8).positions
    assert len(set(map(tuple, positions.T.tolist()))) == positions.shape[1]


@given(pairs(), VIEWS)
def test_positions_of_outputs_follow_from_what_is_written(pair: Pair, d8: int) -> None:
    sequence = encode(pair, d8)
    place = sequence.positions[:, sequence.prompt - 1][:, None]
    for i in range(sequence.prompt, len(sequence)):
        place = next_positions(sequence.tokens[i : i + 1], place)
        assert place[:, 0].tolist() == sequence.positions[:, i].tolist()


@given(st.lists(pairs(6), min_size=1, max_size=4))
def test_a_batch_asks_for_outputs_alone(some: list[Pair]) -> None:
    batch = collate([encode(pair, 0) for pair in some], range(len(some)))
    for i, pair in enumerate(some):
        asked = batch.targets[i] != IGNORED
        assert same(decode(batch.targets[i][asked]), pair.output)
        assert asked.argmax() == batch.prompts[i] - 1
        rest = batch.tokens[i, 1:] == PAD
        assert not (asked[1:] & rest & (batch.targets[i, 1:] != END)).any()
    assert batch.positions.shape == (3, *batch.tokens.shape)


@given(grids(6), st.data())
def test_what_is_no_grid_is_refused(grid: Grid, data: st.DataObject) -> None:
    tokens = encode(Pair(grid, grid), 0).tokens[-(grid.size + grid.shape[0]) :].tolist()
    assert same(decode(tokens), grid)
    place = data.draw(st.integers(0, len(tokens) - 1))
    assert complaint(FormatError, decode, tokens[:place]) is not None
    changed = [*tokens[:place], data.draw(st.sampled_from([PAD, OUT, VIEW, END])), *tokens[place:]]
    assert complaint(FormatError, decode, changed) is not None


@pytest.mark.parametrize(
    ("tokens", "reason"),
    [
        ([], "without END"),
        ([1, 2], "2 tokens without END"),
        ([END], "row 0 has 0 cells"),
        ([1, ROW, END], "row 1 has 0 cells where row 0 has 1"),
        ([1, ROW, 2, 3, END], "row 1 has 2 cells where row 0 has 1"),
        ([1, PAD, END], "token 13 at place 1"),
        ([-1, END], "token -1"),
        ([1, END, 1, END], "token 12 at place 1"),
        ([0] * 31 + [END], "1 rows of 31 cells"),
        ([0, ROW] * 30 + [0, END], "31 rows of 1 cells"),
    ],
)
def test_malformed_outputs_say_why(tokens: list[int], reason: str) -> None:
    with pytest.raises(FormatError, match=reason):
        decode(tokens)
