"""A decoder of transformers behind the same search: what it says is what it computes plainly."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from solver.deadline import Deadline
from solver.grid import DataError, Grid, as_grid, key
from solver.lm.llm.causal import ContextModel, cut_vocabulary
from solver.lm.llm.reader import Reader
from solver.lm.search.decode import greedy
from solver.lm.search.dfs import depth_first
from solver.lm.search.grammar import shape_of
from solver.lm.search.language import LogProbs, Prompt
from solver.lm.search.rescore import rescore
from solver.lm.symbols import END, OUT, PAD, ROW, WRITABLE, decode, output_symbols
from solver.lm.vocabulary import STYLES, vocabulary_of
from solver.views import View
from tests.lm.small import copies, make_tokenizer, new_model, sharper_model
from tests.lm.toys import branched_cut_and_extended

LONG = Deadline.after(1e9)


@pytest.fixture(scope="module", params=sorted(STYLES))
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ContextModel:
    """New weights, but sharper, so that symbols differ in their probability."""
    return sharper_model(tmp_path_factory.mktemp("tokenizer"), request.param, 20)


def prompts(model: ContextModel) -> list[Prompt]:
    return [model.prompt(copies(n), 0, View(n)) for n in range(3)]


def after(model: ContextModel, tokens: Sequence[int]) -> LogProbs:
    """Logits after tokens, everything computed at once."""
    with torch.no_grad():
        logits = model(torch.tensor([list(tokens)]))[0, -1, :WRITABLE]
    found: LogProbs = logits.double().numpy()
    return found


def normal(logits: LogProbs, legal: Sequence[int]) -> dict[int, float]:
    total = np.logaddexp.reduce(logits[list(legal)])
    return {symbol: float(logits[symbol] - total) for symbol in legal}


def plainly(model: ContextModel, prompt: Prompt, symbols: Sequence[int]) -> LogProbs:
    """Log-probabilities after a prompt and symbols, by the definition."""
    tokens = [*prompt.sequence.tokens.tolist(), *symbols]
    colors = list(range(10))
    table = np.full(WRITABLE, -np.inf)
    if not model.vocabulary.tail:
        following = normal(after(model, tokens), [*colors, ROW, END])
    elif symbols and symbols[-1] == ROW:
        following = normal(after(model, tokens), colors)
    else:
        following = normal(after(model, tokens), [*colors, ROW])
        if symbols:
            behind = normal(after(model, [*tokens, ROW]), [*colors, END])
            newline = following[ROW]
            following[END] = newline + behind[END]
            following[ROW] = newline + math.log(sum(math.exp(behind[c]) for c in colors))
    for symbol, logprob in following.items():
        table[symbol] = logprob
    return table


def test_the_cache_says_what_is_computed_plainly(model: ContextModel) -> None:
    """Rows are branched, cut and extended unevenly."""
    three = prompts(model)
    cache, first = Reader(model).read(three, 5, 12, LONG)
    for row, prompt in zip(first, three, strict=True):
        finite = np.isfinite(row)
        assert row[finite] == pytest.approx(plainly(model, prompt, [])[finite], abs=1e-4)
    for number, text, new, found in branched_cut_and_extended(cache):
        for n in range(len(new)):
            expected = plainly(model, three[number], [*text, *new[: n + 1]])
            assert found[n] == pytest.approx(expected, abs=1e-4)


def test_probabilities_sum_to_one(model: ContextModel) -> None:
    cache, first = Reader(model).read(prompts(model), 3, 3, LONG)
    after_symbols = cache.extend(np.array([[1, 2, ROW]] * 3), np.array([3, 3, 3]))
    for row in (*first, *after_symbols.reshape(-1, WRITABLE)):
        assert np.logaddexp.reduce(row) == pytest.approx(0, abs=1e-9)
        assert row[OUT] == -np.inf


def test_a_pass_in_parts_is_the_same(model: ContextModel, monkeypatch: pytest.MonkeyPatch) -> None:
    symbols, counts = np.array([[1, 2, ROW], [4, PAD, PAD], [ROW, 3, PAD]]), np.array([3, 1, 2])
    whole = Reader(model).read(prompts(model), 3, 3, LONG)[0].extend(symbols, counts)
    monkeypatch.setattr("solver.lm.llm.reader.MASK_AT_ONCE", 1)
    parts = Reader(model).read(prompts(model), 3, 3, LONG)[0].extend(symbols, counts)
    for i, count in enumerate(counts):
        assert parts[i, :count] == pytest.approx(whole[i, :count], abs=1e-5)


def test_greedy_is_the_likeliest_legal_symbol(model: ContextModel) -> None:
    side = 3
    for prompt, decoded in zip(
        prompts(model), greedy(Reader(model), prompts(model), LONG, side), strict=True
    ):
        symbols: list[int] = []
        logprob = 0.0
        while END not in symbols:
            following = plainly(model, prompt, symbols)
            legal = np.where(shape_of(symbols).legal(side), following, -np.inf)
            symbols.append(int(legal.argmax()))
            logprob += float(legal.max())
        assert decoded.tokens.tolist() == symbols
        assert decoded.logprob == pytest.approx(logprob, abs=1e-4)


def outputs(side: int) -> list[list[int]]:
    """Every output of at most `side` cells in all, of the colours 0 to 9."""
    shapes = [(1, n) for n in range(1, side + 1)] + [(n, 1) for n in range(2, side + 1)]
    return [
        output_symbols(as_grid(np.array(cells).reshape(shape))).tolist()
        for shape in shapes
        for cells in itertools.product(range(10), repeat=shape[0] * shape[1])
    ]


def test_depth_first_search_finds_what_enumeration_finds(model: ContextModel) -> None:
    """Compare the probabilities of whole grids, with the newline before END."""
    prompt = prompts(model)[0]
    table: dict[tuple[int, ...], LogProbs] = {}
    expected = {}
    for symbols in outputs(2):
        logprob = 0.0
        for n, symbol in enumerate(symbols):
            before = tuple(symbols[:n])
            if before not in table:
                table[before] = plainly(model, prompt, before)
            logprob += float(table[before][symbol])
        expected[tuple(symbols)] = logprob
    threshold = math.exp(sorted(expected.values())[-12] - 1e-3)
    wanted = {s: p for s, p in expected.items() if p >= math.log(threshold)}
    found = {
        tuple(decoded.tokens.tolist()): decoded.logprob
        for _, decoded in depth_first(Reader(model), [prompt], threshold, LONG, side=2, width=3)
    }
    small = {s: p for s, p in found.items() if decode(s).size <= 2}
    assert small == pytest.approx(wanted, abs=1e-4)
    assert len(small) == 12


def test_a_guess_read_at_once_changes_nothing(model: ContextModel) -> None:
    prompt, guess = prompts(model)[0], output_symbols(as_grid([[1, 2], [3, 4]]))
    plain, guided = (
        {
            d.tokens.tobytes(): d.logprob
            for _, d in depth_first(Reader(model), [prompt], 1e-3, LONG, 2, 4, g)
        }
        for g in ((), [guess])
    )
    assert guided == pytest.approx(plain, abs=1e-4)


def test_scores_are_those_of_plain_computation(model: ContextModel) -> None:
    task, views = copies(3), [View(0), View(3, tuple(range(9, -1, -1)))]
    grids: list[Grid] = [as_grid([[1, 2], [3, 4]]), as_grid([[5]]), as_grid([[7], [7], [1]])]
    scores = rescore(Reader(model), task, 0, grids, views, LONG, width=4)
    for v, view in enumerate(views):
        for g, grid in enumerate(grids):
            symbols = output_symbols(view.apply(grid)).tolist()
            prompt = model.prompt(task, 0, view)
            expected = sum(
                plainly(model, prompt, symbols[:n])[symbol] for n, symbol in enumerate(symbols)
            )
            assert scores[g, v] == pytest.approx(expected, abs=1e-3)
    assert len({key(grid) for grid in grids}) == len(grids)


def test_cut_embeddings_compute_what_the_whole_ones_do(tmp_path: Path) -> None:
    size = make_tokenizer(tmp_path).get_vocab_size()
    vocabulary = vocabulary_of(tmp_path, "chat")
    whole, cut = new_model(size), new_model(size)
    cut_vocabulary(cut, vocabulary.kept)
    tokens = np.arange(len(vocabulary))
    with torch.no_grad():
        expected = whole(torch.from_numpy(vocabulary.kept[tokens])[None]).logits
        found = cut(torch.from_numpy(tokens)[None]).logits
    torch.testing.assert_close(found, expected[..., torch.from_numpy(vocabulary.kept)])
    assert cut.num_parameters() == whole.num_parameters() - 2 * 64 * (size - len(vocabulary))


def test_tied_embeddings_are_cut_to_two(tmp_path: Path) -> None:
    size = make_tokenizer(tmp_path).get_vocab_size()
    vocabulary = vocabulary_of(tmp_path, "chat")
    lm = new_model(size)
    lm.config.tie_word_embeddings = True
    lm.tie_weights()
    assert lm.lm_head.weight is lm.get_input_embeddings().weight
    before = lm.get_input_embeddings().weight.detach()[torch.from_numpy(vocabulary.kept)]
    cut_vocabulary(lm, vocabulary.kept)
    assert torch.equal(lm.lm_head.weight, before)
    assert torch.equal(lm.get_input_embeddings().weight, before)
    assert lm.lm_head.weight is not lm.get_input_embeddings().weight
    with pytest.raises(DataError, match="of a model with 16: not its tokenizer"):
        cut_vocabulary(lm, vocabulary.kept)


def test_more_rows_than_there_is_memory_for_are_refused(model: ContextModel) -> None:
    cache, _ = Reader(model).read(prompts(model), 4, 1, LONG)
    with pytest.raises(ValueError, match="5 rows in a cache of 4"):
        cache.gather([0] * 5, [0] * 5)
