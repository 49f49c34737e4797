"""The tasks that the bundled model may learn from, without the tasks that the model must not see.

Sources are the public training sets of both versions, and RE-ARC (Hodel 2024, arXiv:2404.07353):
more pairs of the same training tasks. A third source is tasks made up from the training tasks.
A training task is left out whole if a public evaluation set contains its id. The same holds if such
a set contains one of its pairs under any of the eight turns. Held-out tasks are left out, too.
"""

from __future__ import annotations

import functools
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from solver.data.arcio import read_source
from solver.data.jsonio import MAX_BYTES, grid_field, hidden, list_at, load_json, parse_json
from solver.grid import MAX_SIDE, DataError, Grid, Pair, Task, key, stable_seed
from solver.views import View, output_only_colors

TRAINING = ("arc-agi-1:training", "arc-agi-2:training")
EVALUATION = ("arc-agi-1:evaluation", "arc-agi-2:evaluation")
HELD_OUT = 40


@dataclass(frozen=True, eq=False)
class Lesson:
    """One task to learn.

    originals: the task's own pairs; none for a made-up task.
    generated: generated pairs of the task.
    fixed_colors: the colours that no view may exchange.
    """

    id: str
    originals: tuple[Pair, ...]
    generated: tuple[Pair, ...] = ()
    fixed_colors: frozenset[int] = frozenset({0})

    @property
    def made_up(self) -> bool:
        """True if the task is in no public set."""
        return not self.originals


@dataclass(frozen=True, eq=False)
class HeldOut:
    """A training task that is kept apart for measurements, and the outputs of its tests."""

    task: Task
    outputs: tuple[Grid, ...]


@dataclass(frozen=True, eq=False)
class Corpus:
    """The lessons to train on, and the pairs and tasks to measure on.

    watched: generated pairs on which the loss is watched.
    held_out: tasks for measurements.
    left_out: number of generated pairs with a grid that is too large for ARC.
    """

    lessons: tuple[Lesson, ...]
    watched: tuple[tuple[int, Pair], ...]  # (number of a lesson, a pair that the lesson lacks)
    held_out: tuple[HeldOut, ...]
    left_out: int = 0


@dataclass(frozen=True, eq=False)
class Generated:
    """The generated pairs of a task, and the number of pairs left out."""

    pairs: tuple[Pair, ...]
    left_out: int


def read_corpus(re_arc: str | Path | None, seed: int, made_up: str | Path | None = None) -> Corpus:
    """The corpus of all tasks that may be learned from.

    `re_arc`: RE-ARC's published archive, or the folder of its files. `made_up`: an archive or a
    folder of the same form, with tasks of no public set. `seed`: chooses the held-out tasks.
    Raises `DataError` naming a file that breaks the format.
    """
    generated = dict(read_generated(Path(re_arc))) if re_arc is not None else {}
    tasks = _training_tasks()
    kept_apart = _held_out_ids(tasks, seed)
    lessons: list[Lesson] = []
    watched: list[tuple[int, Pair]] = []
    for task_id, (task, outputs) in tasks.items():
        if task_id in kept_apart:
            continue
        more = generated[task_id].pairs if task_id in generated else ()
        if more:
            watched.append((len(lessons), more[-1]))
        lessons.append(_lesson(task, outputs, more[:-1]))
    invented = dict(read_generated(Path(made_up))) if made_up is not None else {}
    for name, of in invented.items():
        if of.pairs:
            lessons.append(Lesson(name, (), of.pairs, _fixed_colors(of.pairs)))
    held = tuple(HeldOut(*tasks[task_id]) for task_id in kept_apart)
    left_out = sum(of.left_out for of in (*generated.values(), *invented.values()))
    return Corpus(tuple(lessons), tuple(watched), held, left_out)


def lesson_of(task: Task) -> Lesson:
    """The lesson of a task's demonstrations."""
    return _lesson(Task(task.id, task.train, ()), (), ())


def _lesson(task: Task, outputs: Sequence[Grid], generated: Sequence[Pair]) -> Lesson:
    tests = (Pair(i, o) for i, o in zip(task.tests, outputs, strict=True))
    originals = (*task.train, *tests)
    return Lesson(task.id, originals, tuple(generated), _fixed_colors(originals))


def _fixed_colors(pairs: Sequence[Pair]) -> frozenset[int]:
    """Black, and the colours that only outputs have.

    A model cannot infer such a colour from an input if a view has exchanged it.
    """
    inputs, outputs = (pair.input for pair in pairs), (pair.output for pair in pairs)
    return output_only_colors(inputs, outputs) | {0}


@functools.cache
def _training_tasks() -> dict[str, tuple[Task, tuple[Grid, ...]]]:
    """Training tasks of both versions that no evaluation set contains, with test outputs, by id.

    If both versions have a task of the same id, the task of the first version is taken.
    """
    banned_ids, banned_pairs = _evaluation()
    tasks: dict[str, tuple[Task, tuple[Grid, ...]]] = {}
    for name in TRAINING:
        for task, outputs in _with_outputs(name):
            pairs = _lesson(task, outputs, ()).originals
            seen = any(_content(pair) in banned_pairs for pair in pairs)
            if task.id not in banned_ids and not seen:
                tasks.setdefault(task.id, (task, outputs))
    return tasks


def _evaluation() -> tuple[frozenset[str], frozenset[bytes]]:
    """Ids of all evaluation tasks, and the contents of their pairs under each of eight turns."""
    ids: set[str] = set()
    pairs: set[bytes] = set()
    for name in EVALUATION:
        for task, outputs in _with_outputs(name):
            ids.add(task.id)
            for pair in _lesson(task, outputs, ()).originals:
                pairs.update(_content(View(d8).apply_pair(pair)) for d8 in range(8))
    return frozenset(ids), frozenset(pairs)


def _content(pair: Pair) -> bytes:
    return key(pair.input) + b"|" + key(pair.output)


def _with_outputs(name: str) -> Iterator[tuple[Task, tuple[Grid, ...]]]:
    source = read_source(name)
    if source.solutions is None:
        raise DataError(f"{name}: holds no outputs to learn from")
    for task in source.tasks:
        yield task, source.solutions[task.id]


def _held_out_ids(tasks: Mapping[str, object], seed: int) -> tuple[str, ...]:
    """Ids of `HELD_OUT` tasks of the first version.

    The choice depends on the seed. Each task's rank in the draw depends only on its own id.
    """
    first = {task.id for task in read_source(TRAINING[0]).tasks} & tasks.keys()
    return tuple(sorted(first, key=lambda i: (stable_seed(seed, "held out", i), i))[:HELD_OUT])


def read_generated(path: Path) -> Iterator[tuple[str, Generated]]:
    """Task ids and pairs of `tasks/<id>.json` files in an archive or an unpacked folder.

    A pair with a side over 30 is left out, since the published archive contains some. Raises
    `DataError` for anything else that breaks the format, and if there is no such file.
    """
    found = False
    for name, task_id, value in _generated_files(path):
        found = True
        kept = [(i, p) for i, p in enumerate(list_at(name, value)) if not _too_large(p)]
        pairs = tuple(
            Pair(*(grid_field(f"{name}: pair {i}", pair, side) for side in _SIDES))
            for i, pair in kept
        )
        yield task_id, Generated(pairs, len(value) - len(kept))
    if not found:
        raise DataError(f"{path}: holds no tasks/<id>.json")


_SIDES = ("input", "output")


def _too_large(pair: Any) -> bool:
    """True if a side of one of the grids is over 30."""
    grids = [pair.get(side) for side in _SIDES] if isinstance(pair, dict) else []
    return any(
        isinstance(grid, list)
        and (
            len(grid) > MAX_SIDE
            or any(isinstance(row, list) and len(row) > MAX_SIDE for row in grid)
        )
        for grid in grids
    )


def _generated_files(path: Path) -> Iterator[tuple[str, str, Any]]:
    if os.path.isdir(path):
        for file in sorted(path.glob("**/tasks/*.json")):
            if not hidden(str(file.relative_to(path))):
                yield str(file), file.stem, load_json(file)
        return
    try:
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                inner = PurePosixPath(name)
                wanted = inner.parent.name == "tasks" and inner.suffix == ".json"
                if wanted and not hidden(name):
                    full = f"{path}: {name}"
                    if archive.getinfo(name).file_size > MAX_BYTES:
                        raise DataError(f"{full}: over {MAX_BYTES / 2**20:.0f} MiB")
                    yield full, inner.stem, parse_json(full, archive.read(name))
    except (OSError, EOFError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: no archive that can be read: {error}") from None
