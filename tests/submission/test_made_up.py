"""Tasks made up for training, and batches drawn by other processes."""

from __future__ import annotations

import itertools
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from solver.grid import Pair, as_grid, freeze, same
from solver.lm.training.corpus import Lesson, read_corpus
from solver.lm.training.stream import Mixture, Stream
from solver.synth.interpret import run
from solver.synth.program import parse
from submission.training.ahead import drawn_ahead
from submission.training.made_up import FEWEST, PAIRS, MadeUp, make_up, tasks_of, write
from tests.lm.toys import toy_lessons

SMALL = Mixture(tokens=400, longest=100, chunk=32)


def lesson(seed: int, pairs: int = 40) -> Lesson:
    """Objects of some colours on black; the outputs are mirrored."""
    rng = np.random.default_rng(seed)
    some = []
    for _ in range(pairs):
        grid = np.zeros((rng.integers(6, 12), rng.integers(6, 12)), dtype=np.uint8)
        for _ in range(4):
            y, x = rng.integers(0, 5, 2)
            grid[y : y + rng.integers(1, 4), x : x + rng.integers(1, 4)] = rng.integers(1, 10)
        some.append(Pair(freeze(grid), freeze(grid[:, ::-1].copy())))
    return Lesson(f"lesson{seed}", (some[0],), tuple(some))


LESSONS = [lesson(seed) for seed in range(3)]


@pytest.fixture(scope="module")
def made() -> list[MadeUp]:
    return list(tasks_of(LESSONS, range(30), 0))


def test_the_seed_and_the_number_make_the_task(made: list[MadeUp]) -> None:
    assert len(made) >= 28
    again = make_up(LESSONS, int(made[7].id[-5:]), 0)
    other = make_up(LESSONS, int(made[7].id[-5:]), 1)
    assert again is not None
    assert other is not None
    assert again.program == made[7].program
    assert other.program != made[7].program
    assert [p.output.tolist() for p in again.pairs] == [p.output.tolist() for p in made[7].pairs]
    assert len({task.program for task in made}) > 25
    assert {task.further for task in made} == {True, False}


def test_outputs_are_what_the_program_says_and_worth_learning(made: list[MadeUp]) -> None:
    for task in made:
        assert FEWEST <= len(task.pairs) <= PAIRS
        program = parse(task.program)
        for pair in task.pairs:
            start = freeze(pair.input[:, ::-1].copy()) if task.further else pair.input
            output = run(program, start)
            assert output is not None
            assert same(output, pair.output)
            assert not same(pair.input, pair.output)
        assert len({pair.output.tobytes() for pair in task.pairs}) > len(task.pairs) / 2


def test_nothing_is_made_of_lessons_with_few_pairs() -> None:
    assert list(tasks_of([lesson(0, FEWEST - 1)], range(5), 0)) == []
    blank = Pair(as_grid([[0, 0]]), as_grid([[0, 0]]))
    assert make_up([Lesson("blank", (), (blank,) * 40)], 0, 0) is None


def test_a_corpus_takes_them_beside_the_known_tasks(made: list[MadeUp], tmp_path: Path) -> None:
    archive = tmp_path / "made_up.zip"
    write(archive, made[:2])
    corpus = read_corpus(None, 0, archive)
    known = read_corpus(None, 0)
    assert [x.id for x in corpus.lessons[: len(known.lessons)]] == [x.id for x in known.lessons]
    *_, first, second = corpus.lessons
    assert (first.id, second.id) == (made[0].id, made[1].id)
    assert first.originals == ()
    assert len(first.generated) == len(made[0].pairs)
    assert corpus.watched == known.watched
    with zipfile.ZipFile(archive) as file:
        told = json.loads(file.read("programs.json"))
    assert told[made[0].id]["program"] == made[0].program


def test_made_up_tasks_have_their_part_of_what_is_drawn() -> None:
    lessons = toy_lessons(4)
    lessons += [Lesson(x.id + "!", (), x.originals, x.fixed_colors) for x in toy_lessons(12)]
    stream = Stream(lessons, Mixture(tokens=400, longest=100, chunk=2048, made_up=0.25), 0)
    drawn = np.concatenate([batch.tasks for batch in stream.batches(0)])
    assert np.mean(drawn >= 4) == pytest.approx(0.25, abs=0.04)
    counts = np.bincount(drawn, minlength=16)
    assert counts[:4].min() > 300
    assert counts[4:].min() > 20


@pytest.mark.parametrize("processes", [0, 2])
def test_batches_drawn_ahead_are_the_same(processes: int) -> None:
    plain = [b.tokens.tolist() for b in itertools.islice(Stream(toy_lessons(), SMALL, 7), 60)]
    stream = Stream(toy_lessons(), SMALL, 7)
    with drawn_ahead(stream, processes):
        ahead = [next(stream).tokens.tolist() for _ in range(40)]
        assert stream.chunk > 5
    ahead += [next(stream).tokens.tolist() for _ in range(20)]  # and alone again
    assert ahead == plain


def test_a_place_is_gone_to_while_others_draw() -> None:
    plain = Stream(toy_lessons(), SMALL, 7)
    plain.seek(9, 1)
    stream = Stream(toy_lessons(), SMALL, 7)
    with drawn_ahead(stream, 2):
        next(stream)
        stream.seek(9, 1)
        for _ in range(10):
            assert next(stream).tokens.tolist() == next(plain).tokens.tolist()


def test_lengths_are_padded_to_a_multiple() -> None:
    stream = Stream(toy_lessons(), Mixture(tokens=400, longest=100, chunk=32, multiple=8), 7)
    plain = Stream(toy_lessons(), SMALL, 7)
    for aligned, batch in zip(stream.batches(0), plain.batches(0), strict=True):
        assert aligned.tokens.shape[1] % 8 == 0
        width = batch.tokens.shape[1]
        assert aligned.tokens.shape[1] < width + 8
        assert aligned.targets[:, :width].tolist() == batch.targets.tolist()
        assert (aligned.targets[:, width:] < 0).all()
