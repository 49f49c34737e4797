"""Malformed input: exit code 2, one line naming file, task and field, nothing written."""

from __future__ import annotations

import ast
import copy
import gc
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from solver.data.arcio import pick_source, read_leniently, read_solutions, read_source
from solver.data.jsonio import MAX_BYTES
from solver.data.salvage import salvage
from solver.data.submissions import read_submission
from solver.data.template import template
from solver.grid import DataError, is_grid
from solver.lm.training.corpus import read_generated
from submission.cli import app
from tests.runs import ARCSUB, ROOT, finish, start

TASK: dict[str, Any] = {
    "train": [{"input": [[1, 2]], "output": [[2, 1]]}],
    "test": [{"input": [[3, 4]]}, {"input": [[5, 6]]}],
}
GOOD = {"aa": TASK, "bb": TASK}
SOLUTIONS = {"aa": [[[4, 3]], [[6, 5]]], "bb": [[[4, 3]], [[6, 5]]]}
TWO = {"attempt_1": [[0]], "attempt_2": [[1]]}
SUBMISSION = {"aa": [TWO, TWO], "bb": [TWO, TWO]}


def put(value: Any, *path: str | int) -> Any:
    """The good challenges with something else at a place in task `bb`."""
    whole: Any = json.loads(json.dumps(GOOD))
    place = whole["bb"]
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return whole


def lacking(*path: str | int) -> Any:
    """The good challenges without something in task `bb`."""
    whole: Any = json.loads(json.dumps(GOOD))
    place = whole["bb"]
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    return whole


def cell(value: Any) -> Any:
    return put([[1], [value]], "train", 0, "output")


GOOD_BYTES = json.dumps(GOOD).encode()
CELL = "task 'bb', train 0, output: cell (1, 0) is "

# Contents of a challenges file (bytes as they are, the rest as JSON), and what is said of it.
CHALLENGES: dict[str, tuple[Any, str]] = {
    "empty file": (b"", "not JSON: "),
    "blank file": (b" \n", "not JSON: "),
    "not JSON": (b"{'aa': 1}", "not JSON: "),
    "cut off": (GOOD_BYTES[:-2], "not JSON: "),
    "two values": (GOOD_BYTES * 2, "not JSON: "),
    "trailing comma": (b'{"aa": 1,}', "not JSON: "),
    "control character in a text": (b'{"a\na": 1}', "not JSON: "),
    "byte order mark": (b"\xef\xbb\xbf" + GOOD_BYTES, "starts with a byte order mark"),
    "UTF-16": (json.dumps(GOOD).encode("utf-16"), "not UTF-8 at byte 0"),
    "Latin-1": ('{"é": 1}'.encode("latin-1"), "not UTF-8 at byte 2"),
    "binary": (bytes(range(256)), "not UTF-8"),
    "NaN": (b'{"aa": NaN}', "NaN is not a number here"),
    "Infinity": (b'{"aa": [-Infinity]}', "-Infinity is not a number here"),
    "an integer of 5000 digits": (b'{"aa": ' + b"9" * 5000 + b"}", "not JSON: "),
    "deep nesting": (b"[" * 200_000, "nested too deeply"),
    "deep objects": (b'{"a":' * 200_000, "nested too deeply"),
    "duplicate ids": (b'{"aa": 1, "bb": 2, "aa": 3}', "key 'aa' appears twice"),
    "duplicate keys": (b'{"aa": {"train": 1, "train": 2}}', "key 'train' appears twice"),
    "a list": ([GOOD], "expected an object of tasks, got list"),
    "a text": ("aa", "expected an object of tasks, got str"),
    "null": (None, "expected an object of tasks, got NoneType"),
    "a number": (7, "expected an object of tasks, got int"),
    "no tasks": ({}, "no tasks"),
    "a task that is a list": ({"bb": []}, "task 'bb': expected an object with train and test"),
    "a task that is null": ({"bb": None}, "task 'bb': expected an object with train and test"),
    "empty id": ({"": TASK}, "task '': an id must be printable and not empty"),
    "unprintable id": ({"a\nb": TASK}, r"task 'a\nb': an id must be printable"),
    "lone surrogate id": (b'{"\\ud800": {}}', r"task '\ud800': an id must be printable"),
    "no train": (lacking("train"), "task 'bb', train: expected a non-empty list"),
    "no test": (lacking("test"), "task 'bb', test: expected a non-empty list"),
    "empty train": (put([], "train"), "task 'bb', train: expected a non-empty list"),
    "empty test": (put([], "test"), "task 'bb', test: expected a non-empty list"),
    "train is an object": (put({}, "train"), "task 'bb', train: expected a non-empty list"),
    "a pair that is a list": (put([[1]], "train"), "task 'bb', train 0: expected an object"),
    "a pair without input": (lacking("train", 0, "input"), "train 0: input is missing"),
    "a pair without output": (lacking("train", 0, "output"), "train 0: output is missing"),
    "a test without input": (lacking("test", 1, "input"), "task 'bb', test 1: input is missing"),
    "a test that is null": (put(None, "test", 1), "task 'bb', test 1: expected an object"),
    "a test output that is no grid": (put([[]], "test", 1, "output"), "test 1, output: row 0"),
    "null grid": (put(None, "test", 0, "input"), "task 'bb', test 0, input: expected a non-empty"),
    "empty grid": (put([], "test", 0, "input"), "task 'bb', test 0, input: expected a non-empty"),
    "empty row": (put([[]], "test", 0, "input"), "test 0, input: row 0 is not a non-empty list"),
    "null row": (put([[1], None], "test", 0, "input"), "row 1 is not a non-empty list: None"),
    "ragged": (put([[1, 2], [3]], "test", 1, "input"), "test 1, input: row 1 has 1 cells where"),
    "31 rows": (put([[1]] * 31, "test", 1, "input"), "31 rows, more than 30"),
    "31 columns": (put([[1] * 31], "test", 1, "input"), "row 0 has 31 cells, more than 30"),
    "three dimensions": (cell([1]), CELL + "[1]"),
    "colour 10": (cell(10), CELL + "10, not an integer 0..9"),
    "a negative colour": (cell(-1), CELL + "-1"),
    "a float": (cell(1.0), CELL + "1.0"),
    "a huge float": (b'{"bb": {"train": [{"input": [[1e999]]}]}}', "cell (0, 0) is inf"),
    "a boolean": (cell(True), CELL + "True"),
    "a text cell": (cell("1"), CELL + "'1'"),
    "a null cell": (cell(None), CELL + "None"),
}

# Contents of a solutions file for the good challenges, and what is said of it.
WRONG_SOLUTIONS: dict[str, tuple[Any, str]] = {
    "not JSON": (b"solutions", "not JSON"),
    "a list": ([], "expected an object of tasks, got list"),
    "of other tasks": ({"cc": [[[1]]]}, "no solution for task 'aa', 'bb'"),
    "of half the tasks": ({"aa": SOLUTIONS["aa"]}, "no solution for task 'bb'"),
    "too few": (SOLUTIONS | {"bb": [[[1]]]}, "task 'bb': 1 outputs for 2 test inputs"),
    "too many": (SOLUTIONS | {"aa": [[[1]]] * 3}, "task 'aa': 3 outputs for 2 test inputs"),
    "empty": (SOLUTIONS | {"aa": []}, "task 'aa': expected a non-empty list"),
    "a challenges file": (GOOD, "task 'aa': expected a non-empty list"),
    "no grid": (SOLUTIONS | {"bb": [[[1]], [[10]]]}, "task 'bb', output 1: cell (0, 0) is 10"),
}

# Contents of a submission to score, and what is said of it.
SUBMISSIONS: dict[str, tuple[Any, str]] = {
    "not JSON": (b"", "not JSON"),
    "a text": ("cause submission scoring error", "expected an object of tasks, got str"),
    "no tasks": ({}, "no tasks"),
    "an unknown task": ({"zz": [TWO]}, "task 'zz' has no solution to score against"),
    "too few": ({"aa": [TWO]}, "task 'aa': 1 entries for 2 solutions"),
    "one attempt": ({"aa": [TWO, {"attempt_1": [[1]]}]}, "test 1: attempt_2 is missing"),
    "an empty grid": ({"aa": [TWO, TWO | {"attempt_2": []}]}, "test 1, attempt_2: expected"),
}

# Options of `arcsub solve`, and what is said of them.
OPTIONS: dict[str, tuple[list[str], str]] = {
    "budget 0": (["--budget", "0"], "--budget '0' is no time at all"),
    "budget -1": (["--budget=-1"], "--budget '-1' is no duration"),
    "budget abc": (["--budget", "abc"], "--budget 'abc' is no duration"),
    "budget nan": (["--budget", "nan"], "--budget 'nan' is no duration"),
    "budget nothing": (["--budget", ""], "--budget '' is no duration"),
    "budget endless": (["--budget", "9" * 400], "is over a year"),
    "no workers": (["--workers", "0"], "--workers 0: must be 1 to 256"),
    "negative workers": (["--workers=-3"], "--workers -3: must be 1 to 256"),
    "endless workers": (["--workers", "100000"], "--workers 100000: must be 1 to 256"),
    "an unknown engine": (["--engines", "magic"], "--engines magic: no such engine"),
    "no engine": (["--engines", " ,"], "--engines names no engine"),
    "an engine of no module": (["--engines", "nowhere:f"], "--engines nowhere:f: no such engine"),
    "an unknown profile": (["--profile", "tpu"], "--profile tpu: no such profile"),
    "no task": (["--tasks", "0"], "--tasks 0: the source has 2 tasks"),
    "too many tasks": (["--tasks", "3"], "--tasks 3: the source has 2 tasks"),
    "endless tasks": (["--tasks", "9" * 5000], "the source has 2 tasks"),
    "an unknown task": (["--tasks", "aa,zz"], "--tasks aa,zz: the source has no task 'zz'"),
    "tasks nothing": (["--tasks", ","], "--tasks ,: the source has no task"),
    "tasks -1": (["--tasks=-1"], "the source has no task '-1'"),
    "resume without a run": (["--resume"], "--resume needs --run"),
    "missing solutions": (["--solutions", "nowhere.json"], "nowhere.json: cannot be read: No such"),
    "solutions nothing": (["--solutions", ""], "cannot be read: Is a directory"),
    "solutions in a folder": (["--solutions", "."], ".: cannot be read: Is a directory"),
    "a run that is a file": (["--run", "good.json"], "good.json: cannot be written"),
    "a run inside a file": (["--run", "good.json/run"], "good.json/run: cannot be written"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with good files in it."""
    for name, value in (("good", GOOD), ("solutions", SOLUTIONS), ("submission", SUBMISSION)):
        write(tmp_path / f"{name}.json", value)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, content: Any) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def tree(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.lstat().st_mtime_ns) for path in folder.rglob("*"))


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The line of an `arcsub` that refuses; fails unless it is one line with code 2."""
    before = tree(Path())
    with pytest.raises(SystemExit) as ended:
        app(arguments)
    out, err = capsys.readouterr()
    assert ended.value.code == 2
    assert not out
    (line,) = err.splitlines()
    assert line.startswith("arcsub: ")
    assert tree(Path()) == before, "something was written"
    return line


@pytest.mark.parametrize("name", CHALLENGES)
def test_challenges(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, complaint = CHALLENGES[name]
    write(folder / "bad.json", content)
    line = refusal(["solve", "bad.json", "--run", "run"], capsys)
    assert "bad.json: " in line
    assert complaint in line


@pytest.mark.parametrize("name", WRONG_SOLUTIONS)
def test_solutions(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, complaint = WRONG_SOLUTIONS[name]
    write(folder / "bad.json", content)
    line = refusal(["solve", "good.json", "--solutions", "bad.json"], capsys)
    assert "bad.json: " in line
    assert complaint in line


@pytest.mark.parametrize("name", SUBMISSIONS)
def test_submissions(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, complaint = SUBMISSIONS[name]
    write(folder / "bad.json", content)
    line = refusal(["score", "bad.json", "solutions.json"], capsys)
    assert "bad.json: " in line
    assert complaint in line


@pytest.mark.parametrize("name", OPTIONS)
def test_options(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options, complaint = OPTIONS[name]
    assert complaint in refusal(["solve", "good.json", *options], capsys)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["solve", "nowhere"], "nowhere: no such file or folder, and no built-in set (arc-agi-1:"),
        (["solve", ""], "no such file or folder"),
        (["solve", "x" * 5000], "no such file or folder"),
        (["solve", "arc-agi-3:training"], "arc-agi-3:training: no such file or folder"),
        (["solve", "/dev/null"], "/dev/null: not JSON"),
        (["score", "nowhere", "solutions.json"], "nowhere: cannot be read: No such file"),
        (["score", "submission.json", "nowhere"], "nowhere: no such file or folder"),
        (["score", "submission.json", "x" * 5000], "no such file or folder"),
        (["score", ".", "solutions.json"], ".: cannot be read: Is a directory"),
        (["score", "submission.json", "arc-agi-1:training"], "task 'aa' has no solution"),
        (["show", "nowhere", "aa"], "nowhere: no such file or folder"),
        (["show", "good.json", "zz"], "good.json: no task 'zz'"),
        (["show", "good.json", "1"], "good.json: no task '1'"),
        (["show", "good.json", "aa,bb"], "good.json: no task 'aa,bb'"),
    ],
)
def test_sources_and_ids(
    arguments: list[str], complaint: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder / "notes.txt", b"no tasks here")
    assert complaint in refusal(arguments, capsys)


def test_folders(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tasks = folder / "tasks"
    tasks.mkdir()
    assert "tasks: no .json files" in refusal(["solve", "tasks"], capsys)
    write(tasks / "aa.json", TASK)
    (tasks / "bb.json").mkdir()
    assert "tasks/bb.json: cannot be read: Is a directory" in refusal(["solve", "tasks"], capsys)
    (tasks / "bb.json").rmdir()
    write(tasks / "cc.json", GOOD)
    line = refusal(["solve", "tasks"], capsys)
    assert "tasks/cc.json: task 'cc', train: expected a non-empty list" in line
    (tasks / "cc.json").unlink()
    write(tasks / "a\nb.json", TASK)
    assert "an id must be printable" in refusal(["solve", "tasks"], capsys)
    (tasks / "a\nb.json").unlink()
    os.symlink("nowhere", tasks / "dd.json")
    assert "tasks/dd.json: cannot be read: No such file" in refusal(["solve", "tasks"], capsys)


def test_a_file_name_that_is_no_text(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = os.fsdecode(b"\xff\n.json")
    write(folder / name, b"{}")
    assert r"\udcff" in refusal(["solve", name], capsys)


def test_a_huge_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open("huge.json", "wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert "huge.json: over 512 MiB" in refusal(["solve", "huge.json"], capsys)


def test_attempts_of_another_task(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show = ["show", "good.json", "aa", "--submission", "bad.json"]
    write(folder / "bad.json", {"bb": [TWO, TWO]})
    assert "bad.json: task 'aa' is missing" in refusal(show, capsys)
    write(folder / "bad.json", {"aa": [TWO]})
    assert "bad.json: task 'aa': 1 entries for 2 test inputs" in refusal(show, capsys)


@pytest.mark.parametrize("options", [["--workers", "abc"], ["--seed", "1.5"], ["--nonsense"]])
def test_misspelt_options_are_usage_errors(options: list[str], folder: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        app(["solve", "good.json", *options])
    assert ended.value.code == 2
    assert not (folder / "runs").exists()


SOLVE = [ARCSUB, "solve"]
SOLVER = [sys.executable, "-m", "solver"]


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (SOLVE, ["nowhere.json"]),
        (SOLVE, ["ragged.json", "--run", "run"]),
        (SOLVER, ["nowhere.json"]),
        (SOLVER, ["ragged.json", "--run", "run"]),
        (SOLVER, ["deep.json"]),
        (SOLVER, ["good.json", "--budget", "abc"]),
        (SOLVER, ["good.json", "--workers", "0"]),
        (SOLVER, ["good.json", "--resume"]),
    ],
)
def test_the_real_processes(command: list[str], arguments: list[str], folder: Path) -> None:
    write(folder / "ragged.json", CHALLENGES["ragged"][0])
    write(folder / "deep.json", CHALLENGES["deep nesting"][0])
    before = tree(folder)
    done = subprocess.run(
        [*command, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert tree(folder) == before


# --- input that is good but for a part ----------------------------------------------------

TALL = [[1]] * 31
OVERSIZED: dict[str, Any] = {
    "a test input": put(TALL, "test", 0, "input"),
    "a demonstration": put([[1] * 31], "train", 0, "output"),
    "both": put([{"input": TALL, "output": TALL}], "train"),
}
BROKEN_TASKS: dict[str, Any] = {
    **{name: whole["bb"] for name, whole in OVERSIZED.items()},
    "ragged rows": put([[1, 2], [3]], "test", 0, "input")["bb"],
    "a colour of 10": put([[10]], "test", 1, "input")["bb"],
    "no demonstrations": lacking("train")["bb"],
    "a pair without output": lacking("train", 0, "output")["bb"],
    "a test without input": lacking("test", 0, "input")["bb"],
    "a list": [],
    "null": None,
    "a text": "task",
}


@pytest.mark.parametrize("name", OVERSIZED)
def test_a_broken_task_bars_the_others_only_if_it_is_asked_for(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder / "bad.json", OVERSIZED[name])
    assert "bad.json: task 'bb'" in refusal(["show", "bad.json", "bb"], capsys)
    assert "bad.json: task 'bb'" in refusal(["solve", "bad.json", "--tasks", "aa,bb"], capsys)
    assert "bad.json: task 'bb'" in refusal(["solve", "bad.json", "--tasks", "2"], capsys)
    show = ["show", "bad.json", "aa"]
    solve = ["solve", "bad.json", "--tasks", "aa", "--engines", "tests.fakes:instant"]
    for arguments in (show, solve):
        code, _, said = finish(start([ARCSUB, *arguments], folder))
        assert code == 0, said


def test_a_broken_file_bars_a_folder_only_if_its_task_is_asked_for(folder: Path) -> None:
    tasks = folder / "tasks"
    tasks.mkdir()
    write(tasks / "aa.json", TASK)
    write(tasks / "bb.json", b"not JSON")
    source = read_leniently("tasks")
    assert [task.id for task in pick_source(source, "aa", 0).tasks] == ["aa"]
    with pytest.raises(DataError, match=r"tasks/bb\.json: not JSON"):
        pick_source(source, None, 0)
    with pytest.raises(DataError, match=r"tasks/bb\.json: not JSON"):
        read_source("tasks")


@pytest.mark.parametrize("name", BROKEN_TASKS)
def test_a_salvaged_task_is_legal_and_has_a_place_for_every_answer(
    name: str, tmp_path: Path
) -> None:
    value = BROKEN_TASKS[name]
    path = write(tmp_path / "bad.json", {"aa": TASK, "bb": value})
    source = pick_source(read_leniently(str(path)), None, 0, salvaged=True)
    good, bad = source.tasks
    assert good == read_source(str(write(tmp_path / "good.json", {"aa": TASK}))).tasks[0]
    assert list(source.faults) == ["bb"]
    assert "bad.json: task 'bb'" in source.faults["bb"]
    assert all(
        is_grid(g) for g in [*bad.tests, *(g for p in bad.train for g in (p.input, p.output))]
    )
    assert bad.train
    assert len(bad.tests) == (len(value["test"]) if isinstance(value, dict) else 1)
    assert len(template(bad)) == len(bad.tests)


def test_what_is_legal_of_a_broken_task_is_kept() -> None:
    value = put(TALL, "test", 0, "input")["bb"]
    value["train"].append({"input": TALL, "output": [[1]]})
    task = salvage("bb", value)
    assert [pair.input.tolist() for pair in task.train] == [[[1, 2]]]
    assert [grid.shape for grid in task.tests] == [(30, 1), (1, 2)]


@pytest.mark.parametrize("name", BROKEN_TASKS)
def test_the_notebooks_first_guesses_are_valid(name: str, tmp_path: Path) -> None:
    source = (ROOT / "submission/notebook/parts/first.py").read_text("utf-8")
    wanted = [n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef)]
    names: dict[str, Any] = {"Any": Any, "ATTEMPTS": 2}
    for function in (n for n in wanted if n.name in ("guesses", "attempts")):
        exec(ast.unparse(function), names)
    guessed = names["guesses"](BROKEN_TASKS[name])
    assert guessed
    if name in (*OVERSIZED, "no demonstrations", "a pair without output"):
        read_submission(write(tmp_path / "s.json", {"bb": guessed}))


def test_a_null_output_is_no_answer(folder: Path) -> None:
    write(folder / "null.json", put({"input": [[3, 4]], "output": None}, "test", 0))
    source = read_source("null.json")
    assert source.solutions is None
    assert len(source.tasks) == 2


def test_what_macos_adds_is_no_task(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tasks = folder / "tasks"
    (tasks / "__MACOSX").mkdir(parents=True)
    write(tasks / "._aa.json", b"\x00\x05\x16\x07")
    assert refusal(["solve", "tasks"], capsys).endswith("tasks: no .json files")
    write(tasks / "aa.json", TASK)
    assert [task.id for task in read_source("tasks").tasks] == ["aa"]


def test_folders_within_folders_get_a_hint(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("training", "evaluation", "__MACOSX", ".hidden"):
        (folder / "data" / name).mkdir(parents=True)
        write(folder / "data" / name / "aa.json", TASK)
    line = refusal(["solve", "data/"], capsys)
    assert "there are some in 'data/evaluation', 'data/training': name one" in line


def test_the_search_for_garbage_comes_back(folder: Path) -> None:
    assert gc.isenabled()
    read_source("good.json")
    read_or_refuse(read_source, write(folder / "bad.json", b"{"))
    assert gc.isenabled()
    gc.disable()
    try:
        read_source("good.json")
        assert not gc.isenabled()
    finally:
        gc.enable()


# --- the corpus: an archive, as others pack it ------------------------------------------------

PAIRS = [TASK["train"][0], {"input": TALL, "output": [[1]]}, {"input": [[1]], "output": [[0] * 31]}]


def archive(path: Path, files: dict[str, Any]) -> Path:
    with zipfile.ZipFile(path, "w") as packed:
        for name, value in files.items():
            packed.writestr(name, value if isinstance(value, bytes) else json.dumps(value))
    return path


@pytest.mark.parametrize("unpacked", [False, True])
def test_pairs_that_are_too_large_are_left_out_and_counted(tmp_path: Path, unpacked: bool) -> None:
    noise = b"\x00\x05\x16\x07"
    files = {"re_arc/tasks/aa.json": PAIRS, "re_arc/tasks/bb.json": PAIRS[1:]}
    more = {"re_arc/tasks/._aa.json": noise, "__MACOSX/re_arc/tasks/aa.json": noise}
    path = archive(tmp_path / "a.zip", files | more)
    if unpacked:
        zipfile.ZipFile(path).extractall(path := tmp_path / "unpacked")
    found = dict(read_generated(path))
    assert {name: (len(of.pairs), of.left_out) for name, of in found.items()} == {
        "aa": (1, 2),
        "bb": (0, 2),
    }


BAD_ARCHIVES: dict[str, tuple[Any, str]] = {
    "no archive": (b"PK", "no archive that can be read"),
    "a pair that is none": ({"tasks/aa.json": [[1]]}, "aa.json: pair 0: expected an object"),
    "a later pair": ({"tasks/aa.json": [*PAIRS, {}]}, "aa.json: pair 3: input is missing"),
    "no list": ({"tasks/aa.json": {}}, "aa.json: expected a non-empty list"),
    "a cell of 10": ({"tasks/aa.json": [{"input": [[10]], "output": [[1]]}]}, "cell (0, 0) is 10"),
    "no tasks": ({"aa.json": PAIRS}, "holds no tasks/<id>.json"),
    "only what macOS adds": ({"__MACOSX/tasks/aa.json": PAIRS}, "holds no tasks/<id>.json"),
    "not UTF-8": ({"tasks/aa.json": b"\xff"}, "aa.json: not UTF-8"),
}


@pytest.mark.parametrize("name", BAD_ARCHIVES)
def test_archives_that_are_refused(name: str, tmp_path: Path) -> None:
    content, said = BAD_ARCHIVES[name]
    path = tmp_path / "bad.zip"
    path = write(path, content) if isinstance(content, bytes) else archive(path, content)
    with pytest.raises(DataError, match=re.escape(said)):
        list(read_generated(path))


@pytest.mark.parametrize("place", [8, 10], ids=["encrypted", "packed by an unknown method"])
def test_an_archive_that_cannot_be_unpacked(tmp_path: Path, place: int) -> None:
    raw = bytearray(archive(tmp_path / "bad.zip", {"tasks/aa.json": PAIRS}).read_bytes())
    central = raw.index(b"PK\x01\x02")
    raw[central + place] = raw[place - 2] = 1 if place == 8 else 99
    with pytest.raises(DataError, match="no archive that can be read"):
        list(read_generated(write(tmp_path / "bad.zip", bytes(raw))))


# --- scores of a part ---------------------------------------------------------------------------


def test_the_score_of_a_part_says_what_is_missing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder / "part.json", {"aa": [{"attempt_1": [[4, 3]], "attempt_2": [[6, 5]]}] * 2})
    outputs = [{"input": [[3, 4]], "output": [[4, 3]]}, {"input": [[5, 6]], "output": [[6, 5]]}]
    write(folder / "tasks.json", {"aa": TASK | {"test": outputs}, "bb": TASK | {"test": outputs}})
    for solutions in ("solutions.json", "tasks.json"):
        with pytest.raises(SystemExit) as ended:
            app(["score", "part.json", solutions])
        first, *_, second = capsys.readouterr().out.splitlines()
        assert ended.value.code == 0
        assert first.startswith("100.0% of 1 tasks")
        assert f"1 of the 2 tasks of {solutions} are not in the submission" in second
        assert second.endswith("it is 50.0% of 2 tasks")


# --- fuzzing the readers: nothing but a DataError ever comes out ------------------------

JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3)
    | st.sampled_from([[[1]], [[0, 9]], TWO, TASK["train"], TASK]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3) | st.just("train"), inner)
    ),
    max_leaves=8,
)


@st.composite
def mutated(draw: st.DrawFn, good: Any) -> Any:
    """A good value with a few places replaced, doubled or taken out."""
    value = copy.deepcopy(good)
    for _ in range(draw(st.integers(0, 3))):
        value = _mutate(draw, value)
    return value


def _mutate(draw: st.DrawFn, value: Any) -> Any:
    if not isinstance(value, dict | list) or not value or draw(st.integers(0, 5)) == 0:
        return draw(JUNK)
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    place = draw(st.sampled_from(keys))
    kind = draw(st.sampled_from(["deeper", "deeper", "deeper", "remove", "repeat"]))
    if kind == "deeper":
        value[place] = _mutate(draw, value[place])
    elif kind == "remove":
        del value[place]
    elif isinstance(value, list):
        value.extend(value * draw(st.integers(1, 31)))
    else:
        value[draw(st.text(max_size=2))] = value[place]
    return value


@st.composite
def damaged(draw: st.DrawFn, good: Any) -> bytes:
    """The bytes of a good file with some of them changed, cut off or put in."""
    raw = bytearray(json.dumps(good).encode())
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(raw)))
        raw[place : place + draw(st.integers(0, 3))] = draw(
            st.binary(max_size=3) | st.sampled_from([b"[", b"]", b"{", b"}", b",", b":", b'"'])
        )
    return bytes(raw)


def contents(good: Any) -> st.SearchStrategy[bytes]:
    as_bytes = mutated(good).map(lambda value: json.dumps(value).encode())
    return as_bytes | damaged(good) | st.binary(max_size=40)


def read_or_refuse(reader: Any, path: Path) -> Any:
    try:
        return reader(str(path))
    except DataError as error:
        said = str(error)
    assert path.name in said
    return None


@given(contents(GOOD))
def test_fuzzing_challenges(tmp_path: Path, content: bytes) -> None:
    source = read_or_refuse(read_source, write(tmp_path / "fuzz.json", content))
    for task in source.tasks if source else ():
        grids = [grid for pair in task.train for grid in (pair.input, pair.output)]
        assert grids
        assert task.tests
        assert all(map(is_grid, [*grids, *task.tests]))


@given(contents(TASK))
def test_fuzzing_a_folder(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path / "fuzz.json", content)
    source = read_or_refuse(lambda file: read_source(str(Path(file).parent)), path)
    assert source is None or [task.id for task in source.tasks] == ["fuzz"]


@given(contents(SOLUTIONS))
def test_fuzzing_solutions(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path / "fuzz.json", content)
    solutions = read_or_refuse(read_solutions, path)
    assert all(is_grid(grid) for grids in (solutions or {}).values() for grid in grids)


@given(contents(SUBMISSION))
def test_fuzzing_submissions(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path / "fuzz.json", content)
    found = read_or_refuse(read_submission, path) or {}
    assert all(is_grid(grid) for entries in found.values() for two in entries for grid in two)
