"""The pairs that are learned from, and their order."""

from __future__ import annotations

import itertools
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from solver.data.arcio import read_source
from solver.grid import DataError, Pair, as_grid, key
from solver.lm.symbols import IGNORED, Batch, decode
from solver.lm.training.corpus import EVALUATION, HELD_OUT, Corpus, Lesson, lesson_of, read_corpus
from solver.lm.training.stream import Mixture, Stream, random_view, sequence_length
from solver.views import View
from tests.lm.toys import toy_lessons

SMALL = Mixture(tokens=400, longest=100, chunk=32)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return read_corpus(None, 0)


def evaluation_pairs() -> set[tuple[bytes, bytes]]:
    pairs = set()
    for name in EVALUATION:
        source = read_source(name)
        assert source.solutions is not None
        for task in source.tasks:
            tests = zip(task.tests, source.solutions[task.id], strict=True)
            some = [*((p.input, p.output) for p in task.train), *tests]
            pairs |= {(key(i), key(o)) for i, o in some}
    return pairs


def test_no_evaluation_task_is_learned_from(corpus: Corpus) -> None:
    banned = evaluation_pairs()
    ids = {task.id for name in EVALUATION for task in read_source(name).tasks}
    for lesson in corpus.lessons:
        assert lesson.id not in ids
        for pair in lesson.originals:
            assert (key(pair.input), key(pair.output)) not in banned
    known = {lesson.id for lesson in corpus.lessons} | {h.task.id for h in corpus.held_out}
    assert "40853293" not in known  # a training task that repeats pairs of an evaluation task
    assert len(corpus.lessons) == 592


def test_held_out_tasks_are_the_seeds_and_kept_apart(corpus: Corpus) -> None:
    ids = {held.task.id for held in corpus.held_out}
    assert len(ids) == HELD_OUT
    assert not ids & {lesson.id for lesson in corpus.lessons}
    again = {held.task.id for held in read_corpus(None, 1).held_out}
    assert len(ids & again) < HELD_OUT / 2
    assert ids <= {task.id for task in read_source("arc-agi-1:training").tasks}


def test_generated_pairs_come_from_a_folder_or_an_archive(tmp_path: Path, corpus: Corpus) -> None:
    lesson = corpus.lessons[0]
    pairs = [{"input": [[i]], "output": [[i, i]]} for i in range(3)]
    held = corpus.held_out[0].task.id
    folder = tmp_path / "re_arc" / "tasks"
    folder.mkdir(parents=True)
    for name in (lesson.id, held, "unknown"):
        (folder / f"{name}.json").write_text(json.dumps(pairs))
    archive = tmp_path / "re_arc.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in folder.iterdir():
            file.write(path, path.relative_to(tmp_path))
    for source in (tmp_path / "re_arc", archive):
        corpus = read_corpus(source, 0)
        assert [len(x.generated) for x in corpus.lessons if x.generated] == [2]
        assert corpus.watched == ((0, Pair(as_grid([[2]]), as_grid([[2, 2]]))),)


@pytest.mark.parametrize("text", ["{}", "[]", '[{"input": [[0]]}]', "["])
def test_bad_generated_files_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "bad.json").write_text(text)
    with pytest.raises(DataError, match=r"bad\.json"):
        read_corpus(tmp_path, 0)


def test_no_generated_files_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no tasks"):
        read_corpus(tmp_path, 0)
    with pytest.raises(DataError, match="no archive"):
        read_corpus(tmp_path / "missing.zip", 0)


def test_colors_that_only_outputs_hold_stay() -> None:
    lesson = lesson_of(read_source("arc-agi-1:training").tasks[0])
    rng = np.random.default_rng(0)
    fixed = frozenset({0, 5})
    views = [random_view(rng, fixed) for _ in range(200)]
    assert {view.d8 for view in views} == set(range(8))
    assert all(view.colors[0] == 0 and view.colors[5] == 5 for view in views)
    assert len({view.colors for view in views}) > 150
    assert 0 in lesson.fixed_colors


def batches(stream: Stream, n: int) -> list[Batch]:
    return list(itertools.islice(stream, n))


def equal(a: Batch, b: Batch) -> bool:
    return all(
        np.array_equal(x, y) for x, y in zip(vars(a).values(), vars(b).values(), strict=True)
    )


def test_the_order_is_the_seeds_and_goes_on_from_any_place() -> None:
    first = batches(Stream(toy_lessons(), SMALL, 7), 40)
    again = batches(Stream(toy_lessons(), SMALL, 7), 40)
    assert all(map(equal, first, again))
    stream = Stream(toy_lessons(), SMALL, 7)
    batches(stream, 23)
    resumed = Stream(toy_lessons(), SMALL, 7)
    resumed.seek(stream.chunk, stream.place)
    assert stream.chunk > 0
    assert all(map(equal, first[23:], batches(resumed, 17)))
    assert not all(map(equal, first, batches(Stream(toy_lessons(), SMALL, 8), 40)))


def test_processes_share_the_batches_out() -> None:
    ranks = [Stream(toy_lessons(), SMALL, 7, rank, 2) for rank in range(2)]
    for _ in range(20):
        left, right = next(ranks[0]), next(ranks[1])
        assert (ranks[0].chunk, ranks[0].place) == (ranks[1].chunk, ranks[1].place)
        assert not equal(left, right)


def test_batches_keep_their_size_and_hold_pairs_of_their_tasks() -> None:
    lessons = toy_lessons()
    turns = [
        {key(View(d8).apply_pair(pair).output) for pair in lesson.originals for d8 in range(8)}
        for lesson in lessons
    ]
    for batch in batches(Stream(lessons, SMALL, 3), 20):
        rows, length = batch.tokens.shape
        assert rows * length <= SMALL.tokens
        for targets, task in zip(batch.targets, batch.tasks, strict=True):
            assert key(decode(targets[targets != IGNORED])) in turns[task]


def test_pairs_that_are_too_long_are_passed_over() -> None:
    grid = as_grid([[0] * 30] * 30)
    lessons = [*toy_lessons(), Lesson("long", (Pair(grid, grid),))]
    assert sequence_length(lessons[-1].originals[0]) == 1 + 10 + 2 * 30 * 31
    for batch in batches(Stream(lessons, SMALL, 0), 20):
        assert batch.tasks.max() < len(lessons) - 1
    with pytest.raises(ValueError, match="no pair of at most 100 tokens"):
        Stream(lessons[-1:], SMALL, 0)
