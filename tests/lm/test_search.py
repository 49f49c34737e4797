"""Depth-first search finds the whole set; search by rows and re-scoring add up."""

from __future__ import annotations

import itertools
import math
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from solver.answers.select import SELECTORS
from solver.deadline import Deadline, FakeClock, StepClock
from solver.grid import COLORS, Candidate, Grid, Task, as_grid, freeze, key, settled
from solver.lm.pair.cache import PairModel
from solver.lm.pair.model import Size, TaskModel, build
from solver.lm.search.decode import Draft, Sampler
from solver.lm.search.dfs import Branch, Cut, Found, Row, deeper, depth_first, share
from solver.lm.search.grammar import Shape, most_symbols, shape_of
from solver.lm.search.language import LanguageModel, LogProbs, Prompt
from solver.lm.search.rescore import rescore
from solver.lm.search.rows import Beam, RowSearch, Width, keep, row_order
from solver.lm.search.searches import Guess, Options, Question, dfs_search, greedy_search
from solver.lm.search.strategies import STRATEGIES, THRESHOLD_FACTOR, Strategy, distinct, propose
from solver.lm.symbols import (
    END,
    WRITABLE,
    FormatError,
    Sequence3D,
    Tokens,
    decode,
    output_symbols,
)
from solver.views import View, sample_views, turn
from tests.fakes import toy_tasks
from tests.lm.toys import TableCache, TableModel

LONG = Deadline.after(1e9)
NOTHING = Sequence3D(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), 0)
TASK = toy_tasks(1)[0]
VIEWS = sample_views(TASK, 8, 0)


@pytest.fixture(scope="module")
def pair_model() -> PairModel:
    """Random weights, and sharper than those: some outputs must be likely."""
    torch.set_num_threads(1)
    lm = build(Size(64, 2), 0)
    with torch.no_grad():
        lm.lm_head.weight *= 12
    return PairModel(TaskModel(lm, 1), {TASK.id: 0})


def all_outputs(
    model: LanguageModel, prompt: Prompt, side: int, threshold: float
) -> dict[tuple[int, ...], float]:
    """Every legal output that is likely enough, by asking for whole sequences alone: each
    prefix is read from its start."""

    def grow(symbols: tuple[int, ...], logprob: float) -> Iterator[tuple[tuple[int, ...], float]]:
        cache, following = model.read([prompt], 1, most_symbols(side), LONG)
        if symbols:
            counts = np.array([len(symbols)])
            following = cache.extend(np.array([symbols]), counts)[:, -1]
        for symbol in np.flatnonzero(shape_of(symbols).legal(side)).tolist():
            total = logprob + float(following[0, symbol])
            if total >= math.log(threshold):
                more = (*symbols, symbol)
                yield from [(more, total)] if symbol == END else grow(more, total)

    return dict(grow((), 0.0))


@pytest.mark.parametrize("width", [1, 2, 16])
@pytest.mark.parametrize("seed", range(6))
def test_dfs_finds_what_an_enumeration_finds(seed: int, width: int) -> None:
    some = [Prompt(NOTHING, number) for number in range(3)]
    found = list(depth_first(TableModel(seed, 4.0), some, 1e-4, LONG, side=3, width=width))
    for number, prompt in enumerate(some):
        expected = all_outputs(TableModel(seed, 4.0), prompt, 3, 1e-4)
        mine = [decoded for n, decoded in found if n == number]
        assert {tuple(d.tokens.tolist()): d.logprob for d in mine} == pytest.approx(expected)
        assert len(mine) == len(expected)


def test_every_grid_is_found_where_nothing_is_unlikely() -> None:
    """1 x 1 and 1 x 2, 2 x 1 and 2 x 2: 10 + 100 + 100 + 10,000 grids within a side of 2."""
    some = [Prompt(NOTHING, 0)]
    found = list(depth_first(TableModel(0, 0.1), some, 1e-30, LONG, side=2, width=512))
    grids = {key(decode(decoded.tokens)) for _, decoded in found}
    assert len(found) == len(grids) == 10 + 100 + 100 + 10**4
    total = sum(math.exp(decoded.logprob) for _, decoded in found)
    assert 0 < total < 1


def test_dfs_of_the_real_model_finds_what_an_enumeration_finds(pair_model: PairModel) -> None:
    some = [pair_model.prompt(TASK, 0, view) for view in VIEWS[:3]]
    found = list(depth_first(pair_model, some, 0.002, LONG, side=3, width=8))
    sizes = []
    for number, prompt in enumerate(some):
        expected = all_outputs(pair_model, prompt, 3, 0.002)
        mine = {tuple(d.tokens.tolist()): d.logprob for n, d in found if n == number}
        assert mine == pytest.approx(expected, abs=1e-4)
        sizes.append(len(expected))
    assert max(sizes) > 3


@pytest.mark.parametrize("seed", range(6))
def test_a_guess_changes_nothing_but_the_work(seed: int) -> None:
    """Whatever is guessed: something found, something unlikely, something too large."""
    some = [Prompt(NOTHING, number) for number in range(3)]
    model = TableModel(seed, 4.0)
    plain = {(n, *d.tokens): d.logprob for n, d in depth_first(model, some, 1e-4, LONG, side=3)}
    likely = next(d.tokens for n, d in depth_first(model, some, 1e-4, LONG, side=3) if n == 0)
    guesses = [likely, output_symbols(as_grid([[5] * 3] * 3)), output_symbols(as_grid([[1] * 9]))]
    found = list(depth_first(model, some, 1e-4, LONG, side=3, guesses=guesses))
    assert {(n, *d.tokens): d.logprob for n, d in found} == pytest.approx(plain)
    assert len(found) == len(plain)


class Sure(TableModel):
    """Expects one output with 98 % a symbol."""

    output = output_symbols(as_grid([[1, 2], [3, 4]])).tolist()

    def next(self, read: tuple[int, ...]) -> LogProbs:
        likely = np.full(WRITABLE, 0.02 / (WRITABLE - 1))
        likely[self.output[(len(read) - 1) % len(self.output)]] = 0.98
        table: LogProbs = np.log(likely)
        return table


def test_a_good_guess_is_read_in_one_pass() -> None:
    """Without it, one look at the clock for each pass: six symbols, END is not read. Two more
    say how long the prompts took, and one whether there is time for the guess."""
    for guesses, looks in (([], 2 + 6), ([np.array(Sure.output)], 3 + 1)):
        clock = StepClock()
        some = [Prompt(NOTHING, 0)]
        found = depth_first(Sure(0), some, 0.5, Deadline(1e9, clock), 4, 32, guesses)
        assert [decoded.tokens.tolist() for _, decoded in found] == [Sure.output]
        assert clock.steps == looks


def test_a_guess_that_could_not_be_read_in_time_is_left_out() -> None:
    """Each look at the clock is a second: so long takes the prompt, and each symbol of a guess."""
    guess = np.array(Sure.output)
    for spare, looks in ((0, 3 + len(guess)), (1, 3 + 1)):
        clock = StepClock()
        deadline = Deadline(3.0 + len(guess) + spare, clock)
        found = depth_first(Sure(0), [Prompt(NOTHING, 0)], 0.5, deadline, 4, 32, [guess])
        assert len(list(found)) == 1
        assert clock.steps == looks


def test_the_deadline_ends_dfs() -> None:
    some = [Prompt(NOTHING, 0)]
    assert not list(depth_first(TableModel(0, 0.1), some, 1e-30, Deadline(-1.0, FakeClock())))
    found = list(depth_first(TableModel(0, 0.1), some, 1e-30, Deadline.after(9, StepClock())))
    assert len(found) < 32 * 10


def test_shared_rows_stay_where_they_can() -> None:
    def branch(logprob: float, length: int) -> Branch:
        return Branch(logprob, length, 0, Shape())

    rows = [
        Row(0, [1, 2]),
        Row(1, [3, 4, 5], [branch(-2.0, 0), branch(-1.0, 1), branch(-3.0, 3)]),
        Row(2, [6], [branch(-0.5, 1)]),
    ]
    sources, shared = share(rows, 3)
    assert sources == [1, 1, 2]  # row 1 gave its likeliest spare branch to the idle place
    assert [(r.symbols, [b.length for b in r.waiting]) for r in shared] == [
        ([3], [1]),
        ([3, 4, 5], [0, 3]),
        ([6], [1]),
    ]
    shared[1].waiting.clear()
    assert share(shared, 1)[0] == [0, 2]  # the last row moves into the gap


def test_views_that_keep_the_order_of_rows() -> None:
    groups: dict[tuple[int, ...], set[int]] = {}
    for d8 in range(8):
        groups.setdefault(row_order(d8), set()).add(d8)
    assert sorted(map(len, groups.values())) == [2, 2, 2, 2]
    grid = as_grid([[1, 2], [3, 4], [5, 6]])
    for d8 in groups[row_order(0)]:
        assert sorted(turn(grid, d8)[0].tolist()) == [1, 2]


def logprob_of(model: LanguageModel, task: Task, view: View, symbols: Tokens) -> float:
    cache, first = model.read([model.prompt(task, 0, view)], 1, len(symbols), LONG)
    after = cache.extend(symbols[None, :-1], np.array([len(symbols) - 1]))[0]
    table = np.concatenate([first, after])
    return float(table[np.arange(len(symbols)), symbols].sum())


@pytest.mark.parametrize("diverse", [False, True])
def test_rows_are_judged_by_their_likelihood_under_all_views(
    pair_model: PairModel, diverse: bool
) -> None:
    """The sum over a cache's rows is the whole grid's likelihood."""
    writer, *judges = [v for v in VIEWS * 2 if row_order(v.d8) == row_order(VIEWS[1].d8)]
    search = RowSearch(pair_model, TASK, 0, writer, judges)
    width = Width(3, 1, 4) if diverse else Width(1, 3, 4)
    found = search.run(width, Sampler(1.0), 3, LONG)
    assert len(found) > 1
    assert [score for _, score in found] == sorted((s for _, s in found), reverse=True)
    for decoded, score in found:
        grid = writer.undo(decode(decoded.tokens))
        each = [
            logprob_of(pair_model, TASK, view, output_symbols(view.apply(grid)))
            for view in (writer, *judges)
        ]
        assert decoded.logprob == pytest.approx(each[0], abs=1e-4)
        assert score == pytest.approx(np.mean(each), abs=1e-4)


def test_a_judge_of_another_row_order_is_refused() -> None:
    with pytest.raises(ValueError, match="order"):
        RowSearch(TableModel(0), TASK, 0, View(0), [View(1)])


def test_each_tree_keeps_its_best_beams() -> None:
    def beam(tree: int, logprob: float, *symbols: int) -> Beam:
        draft = Draft(np.zeros(13), list(symbols), logprob)
        return Beam(tree, draft, 0.0, np.zeros((0, 13)))

    beams = [beam(0, -3, 1), beam(0, -1, 2), beam(0, -2, 3, END), beam(1, -9, 4), beam(1, -9, 3)]
    assert [b.draft.symbols for b in keep(beams, Width(2, 1, 1))] == [[2], [3]]
    assert [b.draft.symbols for b in keep(beams, Width(2, 2, 1))] == [[2], [3], [4]]


def proposed(*arguments: Any) -> list[Candidate]:
    """The candidates of a job that comes to its end."""
    return settled(list(propose(*arguments)))


def grids_of(n: int) -> list[Grid]:
    rng = np.random.default_rng(0)
    shapes = itertools.cycle([(3, 2), (1, 1), (2, 4)])
    return [freeze(rng.integers(0, COLORS, next(shapes)).astype(np.uint8)) for _ in range(n)]


@pytest.mark.parametrize("width", [1, 5, 64])
def test_scores_are_those_of_each_grid_alone(pair_model: PairModel, width: int) -> None:
    grids = grids_of(4)
    scores = rescore(pair_model, TASK, 0, grids, VIEWS[:3], LONG, width)
    assert scores.shape == (4, 3)
    for c, v in np.ndindex(4, 3):
        symbols = output_symbols(VIEWS[v].apply(grids[c]))
        alone = logprob_of(pair_model, TASK, VIEWS[v], symbols)
        assert scores[c, v] == pytest.approx(alone, abs=1e-4)


def test_rescoring_measures_all_grids_by_the_same_views() -> None:
    clock = FakeClock()

    class Slow(TableModel):
        def prompt(self, task: Task, test: int, view: View) -> Prompt:
            clock.sleep(1.0)
            return super().prompt(task, test, view)

    scores = rescore(Slow(0), TASK, 0, grids_of(4), VIEWS, Deadline.after(2.5, clock), 4)
    assert scores.shape == (4, 2)  # the third would have ended too late
    assert rescore(Slow(0), TASK, 0, [], VIEWS, Deadline.after(2.5, clock)).shape == (0, 0)
    assert rescore(Slow(0), TASK, 0, grids_of(2), VIEWS, Deadline(-1.0, clock)).shape == (2, 0)


def test_large_grids_are_measured_as_far_as_one_of_them_says_there_is_time() -> None:
    clock = FakeClock()

    class Slow(TableModel):
        """A second for each grid that is read."""

        def next(self, read: tuple[int, ...]) -> LogProbs:
            clock.sleep(1.0 / 930)
            return np.zeros(WRITABLE)

    large = [freeze(np.full((30, 30), color, dtype=np.uint8)) for color in range(8)]

    def shape(seconds: float) -> tuple[int, ...]:
        clock.time = 0.0
        return rescore(Slow(0), TASK, 0, large, VIEWS[:2], Deadline.after(seconds, clock), 8).shape

    assert shape(1 + 16.5) == (8, 2)
    assert shape(1 + 8.5) == (8, 1)
    assert shape(1 + 5.5) == (5, 1)
    assert shape(1 + 0.5) == (1, 0)
    assert clock.time <= 1 + 0.5


OPTIONS = Options(side=3, width=8, samples=12, threshold=0.01, beams=2, tries=2, finalists=3)


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_every_strategy_proposes_measured_grids(name: str) -> None:
    strategy = STRATEGIES[name]
    asked = Question(TASK, 0, VIEWS)
    found = proposed(strategy, TableModel(0, 6.0), asked, LONG, OPTIONS)
    again = proposed(strategy, TableModel(0, 6.0), asked, LONG, OPTIONS)
    assert found
    assert [(c.identity, c.logprob, c.scores) for c in found] == [
        (c.identity, c.logprob, c.scores) for c in again
    ]
    assert len({c.identity for c in found}) == len(found)
    assert {c.view for c in found} <= {view.name for view in VIEWS}
    measured = {key(c.grid): len(c.scores) for c in found}
    if strategy.measured:
        assert sorted(measured.values(), reverse=True)[:3] == [8] * min(3, len(measured))
    else:
        assert set(measured.values()) == {0}
    ranked = SELECTORS[strategy.selector](found)
    assert len({key(r.grid) for r in ranked}) == len(ranked) == len(measured)


def test_what_earlier_jobs_found_is_measured_under_the_same_views_and_has_no_vote() -> None:
    program = Candidate("t", 0, as_grid([[1, 2]]), "synth", "grids", -9.0, program="crop(input)")
    elsewhere = replace(program, test=1)
    asked = Question(TASK, 0, VIEWS, known=(program, elsewhere))
    model = TableModel(0, 6.0)
    *own, told = proposed(STRATEGIES["dfs"], model, asked, LONG, OPTIONS, "model")
    alone = proposed(STRATEGIES["dfs"], model, replace(asked, known=()), LONG, OPTIONS, "model")
    assert [(c.identity, c.scores) for c in own] == [(c.identity, c.scores) for c in alone]
    assert all(candidate.votes for candidate in own)
    scores = rescore(model, TASK, 0, [program.grid], VIEWS, LONG)
    assert (
        told.identity
        == replace(program, engine="model", scores=tuple(scores[0].tolist()), votes=0).identity
    )
    assert (told.program, told.logprob) == (program.program, program.logprob)
    (unmeasured,) = proposed(
        STRATEGIES["greedy"], model, replace(asked, views=VIEWS[:1]), LONG, OPTIONS
    )
    assert unmeasured.votes == 1


def test_dfs_falls_back_on_the_likeliest_output() -> None:
    asked, options = Question(TASK, 0, VIEWS), Options(side=3, threshold=0.999, lowest=0.999)
    found = proposed(STRATEGIES["dfs"], TableModel(0, 1.0), asked, LONG, options)
    expected = proposed(STRATEGIES["greedy"], TableModel(0, 1.0), asked, LONG, options)
    assert [c.identity for c in found] == [c.identity for c in expected]


def test_the_likeliest_output_of_one_view_is_there_where_time_was_short() -> None:
    """Nothing is found in time; the first view's likeliest output was written before."""
    model, likely = TableModel(0, 1.0), Options(side=3, threshold=0.999)
    asked = Question(TASK, 0, VIEWS)
    (first,) = greedy_search(model, replace(asked, views=VIEWS[:1]), LONG, likely)
    clock = StepClock()
    list(greedy_search(model, replace(asked, views=VIEWS[:1]), Deadline(1e9, clock), likely))
    (found,) = dfs_search(model, asked, Deadline(clock.steps + 1.0, StepClock()), likely)
    assert (key(found.grid), found.view) == (key(first.grid), first.view)


def test_dfs_goes_deeper_until_there_are_grids_for_both_attempts() -> None:
    """The threshold falls by quarters: the finds are all that one search at the last would find."""
    model, asked = TableModel(0, 2.0), Question(TASK, 0, VIEWS)
    shallow = Options(side=2, threshold=0.5, lowest=1e-4)
    levels = [replace(shallow, threshold=0.5 / THRESHOLD_FACTOR**n) for n in range(4)]
    all_there = [list(dfs_search(model, asked, LONG, level)) for level in levels]
    counts = [
        distinct(some, level.threshold) for some, level in zip(all_there, levels, strict=True)
    ]
    deep = next(n for n, count in enumerate(counts) if count >= 2)
    assert deep >= 1
    found = proposed(STRATEGIES["dfs"], model, asked, LONG, shallow)
    least = math.log(levels[deep].threshold)
    likely = {(key(c.grid), c.view) for c in found if c.logprob is not None and c.logprob >= least}
    assert likely == {(key(g.grid), g.view.name) for g in all_there[deep]}
    unmoved = proposed(STRATEGIES["dfs"], model, asked, LONG, replace(shallow, lowest=0.5))
    assert len(unmoved) < len(found)
    assert {c.identity for c in proposed(STRATEGIES["dfs"], model, asked, LONG, levels[deep])} == {
        c.identity for c in found if (key(c.grid), c.view) in likely
    }


@pytest.mark.parametrize(
    ("answers", "likely", "asked"),
    [("1111 2222", 0.6, 4), ("1112 2222", 0.6, 8), ("1111 2222", 0.4, 8), ("1111", 0.6, 4)],
)
def test_the_first_views_are_enough_where_they_agree(
    answers: str, likely: float, asked: int
) -> None:
    seen: list[View] = []
    told: list[Guess | None] = []
    colors = dict(zip(VIEWS, map(int, answers.replace(" ", "")), strict=False))

    def search(
        model: LanguageModel, question: Question, deadline: Deadline, options: Options
    ) -> Iterator[Guess]:
        told.append(question.best)
        for view in question.views:
            seen.append(view)
            yield Guess(as_grid([[colors[view]]]), view, math.log(likely))
            yield Guess(as_grid([[9]]), view, math.log(0.1))

    question = Question(TASK, 0, list(colors))
    strategy = Strategy(search, True, "experts")
    found = proposed(strategy, TableModel(0), question, LONG, Options(probe=4))
    assert len(seen) == asked == len({candidate.view for candidate in found})
    assert {len(candidate.scores) for candidate in found} == {asked}
    assert told[0] is None
    assert [guess and guess.logprob for guess in told[1:]] == [math.log(likely)] * (asked > 4)


def test_samples_of_one_view_are_counted() -> None:
    asked = Question(TASK, 0, VIEWS[:2])
    options = Options(side=1, samples=30, temperature=0.5)
    found = proposed(STRATEGIES["majority"], TableModel(0, 2.0), asked, LONG, options)
    assert sum(c.votes for c in found) == 30
    assert max(c.votes for c in found) > 1


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_no_strategy_outlives_its_deadline(name: str) -> None:
    clock = StepClock()
    options = Options(threshold=1e-9, samples=200)
    proposed(
        STRATEGIES[name], TableModel(0, 0.5), Question(TASK, 0, VIEWS), Deadline(40, clock), options
    )
    assert clock.steps < 80


class Paced(TableModel):
    """Reading and writing take a hundredth of a second a symbol, of prompts of ten symbols."""

    clock = FakeClock()

    def prompt(self, task: Task, test: int, view: View) -> Prompt:
        ten = np.zeros(10, dtype=np.int64)
        sequence = Sequence3D(ten, np.zeros((3, 10), dtype=np.int64), 0)
        return replace(super().prompt(task, test, view), sequence=sequence)

    def read(
        self, prompts: Sequence[Prompt], width: int, room: int, deadline: Deadline
    ) -> tuple[TableCache, LogProbs]:
        self.clock.sleep(0.01 * sum(map(len, prompts)))
        return super().read(prompts, width, room, deadline)

    def next(self, read: tuple[int, ...]) -> LogProbs:
        self.clock.sleep(0.01)
        return super().next(read)


def finding(grids: int, ended: list[float]) -> Strategy:
    """A search that finds so many grids at once, goes on until its deadline, and notes the time."""

    def search(
        model: LanguageModel, asked: Question, deadline: Deadline, options: Options
    ) -> Iterator[Guess]:
        model.read([model.prompt(TASK, 0, view) for view in asked.views], 8, 0, deadline)
        for number in range(grids):
            yield Guess(as_grid([[number // 10, number % 10, *[0] * 7]]), VIEWS[0], -1.0)
        while not deadline.passed():
            Paced.clock.sleep(0.01)
        ended.append(Paced.clock.time)

    return Strategy(search, True, "experts")


@pytest.mark.parametrize(("grids", "searched"), [(0, 100.0), (1, 98.0), (3, 95.5), (40, 70.0)])
def test_a_search_leaves_what_measuring_its_finds_will_take(grids: int, searched: float) -> None:
    """Eight prompts of ten symbols, and each of at most 24 grids under eight views."""
    clock, ended = Paced.clock, list[float]()
    clock.time = 0.0
    asked, deadline = Question(TASK, 0, VIEWS), Deadline.after(100.0, clock)
    found = proposed(finding(grids, ended), Paced(0), asked, deadline, Options())
    assert ended == [pytest.approx(searched, abs=0.5)]
    assert {len(c.scores) for c in found if c.scores} == ({8} if grids else set())
    assert sum(bool(c.scores) for c in found) == min(grids, Options.finalists)
    assert 95.0 <= clock.time <= 100.5


@given(st.lists(st.integers(0, END), max_size=14), st.integers(1, 4))
def test_the_grammar_allows_what_spells_a_grid(symbols: list[int], side: int) -> None:
    shape = Shape()
    legal = True
    for place, symbol in enumerate(symbols):
        legal = legal and bool(shape.legal(side)[symbol]) and END not in symbols[:place]
        shape = shape.after(symbol)
    try:
        grid = decode(symbols)
    except FormatError:
        assert not (legal and symbols[-1:] == [END])
    else:
        assert legal == (max(grid.shape) <= side)


# --- deeper searches ----------------------------------------------------------------------


def plain(found: Iterator[Found]) -> dict[tuple[int, ...], float]:
    """Outputs with their log-probabilities, each found once."""
    every = [((number, *decoded.tokens.tolist()), decoded.logprob) for number, decoded in found]
    assert len({output for output, _ in every}) == len(every)
    return dict(every)


@pytest.mark.parametrize("width", [1, 3, 16])
@pytest.mark.parametrize("seed", range(6))
def test_a_deeper_search_goes_on_where_the_last_one_was_cut(seed: int, width: int) -> None:
    """The deeper search finds what a new search would, and only what is new."""
    some = [Prompt(NOTHING, number) for number in range(3)]
    model, cut = TableModel(seed, 4.0), Cut(1e-5)
    likely = next(d.tokens for _, d in depth_first(model, some, 1e-4, LONG, 3))
    guesses = [likely, output_symbols(as_grid([[5] * 3] * 3)), likely][: 3 * (seed % 2)]
    found = plain(depth_first(model, some, 0.1, LONG, 3, width, guesses, cut))
    assert cut.whole
    for threshold in (0.02, 1e-3, 1e-5):
        more = plain(deeper(model, some, threshold, LONG, 3, width, cut))
        assert cut.whole
        assert not more.keys() & found.keys()
        found |= more
        assert found == pytest.approx(plain(depth_first(model, some, threshold, LONG, 3, width)))
    assert not cut.rows  # nothing lies between the last threshold and what is kept
    assert len(found) > 3


def test_a_search_that_the_deadline_ends_is_not_gone_on_from() -> None:
    some, cut = [Prompt(NOTHING, 0)], Cut(1e-5)
    list(depth_first(TableModel(0, 0.1), some, 1e-4, Deadline.after(9, StepClock()), cut=cut))
    assert not cut.whole
    cut = Cut(1e-5)
    list(depth_first(TableModel(0, 4.0), some, 0.1, LONG, 3, 4, (), cut))
    assert cut.rows
    list(deeper(TableModel(0, 4.0), some, 1e-4, Deadline(-1.0, FakeClock()), 3, 4, cut))
    assert not cut.whole


class Seen(TableModel):
    """Notes which prompts are read, and how many caches it has given out that are alive."""

    def __init__(self, seed: int, sharpness: float) -> None:
        super().__init__(seed, sharpness)
        self.read_: list[int] = []
        self.caches: weakref.WeakSet[TableCache] = weakref.WeakSet()
        self.most = 0

    def read(
        self, prompts: Sequence[Prompt], width: int, room: int, deadline: Deadline
    ) -> tuple[TableCache, LogProbs]:
        self.read_ += [prompt.task for prompt in prompts]
        cache, first = super().read(prompts, width, room, deadline)
        self.most = max(self.most, len(self.caches) + 1)
        self.caches.add(cache)
        return cache, first


@pytest.mark.parametrize("name", ["dfs", "best-of-n", "greedy"])
def test_no_second_cache_is_alive_while_one_is_replaced(name: str) -> None:
    model = Seen(0, 6.0)
    options = replace(OPTIONS, width=4, finalists=9, threshold=0.2)
    assert proposed(STRATEGIES[name], model, Question(TASK, 0, VIEWS), LONG, options)
    assert model.read_
    assert model.most == 1


def test_measuring_reads_the_prompt_of_a_view_once_for_all_grids() -> None:
    model = Seen(0, 6.0)
    scores = rescore(model, TASK, 0, grids_of(9), VIEWS, LONG, 4)
    assert scores.shape == (9, 8)
    assert sorted(model.read_) == sorted(model.prompt(TASK, 0, view).task for view in VIEWS)
