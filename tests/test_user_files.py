"""Files that the kit writes and deletes in a user's folders: only its own are ever lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from solver.deadline import Deadline
from solver.grid import DataError, Task, as_grid
from submission.cli import app
from submission.kaggle import datasets as kaggle_datasets
from submission.kaggle import runs as kaggle_runs
from submission.kaggle.ledger import Ledger
from submission.kaggle.settings import Dataset, Settings
from submission.owned import MARK, claim, delete
from submission.rehearsal.options import Rehearsal, check_options
from submission.rehearsal.standin import cache_folder
from submission.report.traces import traces
from submission.report.watch import watched
from submission.wheels.build import build, profile_folder
from tests.fakes import toy_tasks
from tests.recordings import job, program, write_run
from tests.runs import ROOT, write_challenges

MINE = "mine\n"


def solved(task: Task, truth: Any) -> Iterator[Any]:
    yield job(task, "synth"), [program(task, truth, "flip(input)")]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a run, another one, and files of the user's."""
    for name in ("run", "other"):
        write_run(tmp_path / name, solved, toy_tasks(2))
    write_challenges(tmp_path / "good.json", toy_tasks(2))
    for name in ("notes.txt", "venv/code.py", "kaggle/data.csv", "page.html", "wheels/w.whl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(MINE)
    os.symlink("notes.txt", tmp_path / "link")
    (tmp_path / "user.ipynb").write_text('{"cells": [], "metadata": {}, "nbformat": 4}')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of a command that ends with 2 and loses nothing."""
    before = contents(Path())
    with pytest.raises(SystemExit) as ended:
        app(arguments)
    err = capsys.readouterr().err
    assert ended.value.code == 2, err
    assert contents(Path()) == before
    (line,) = err.splitlines()
    return line


REHEARSE = ["rehearse", "--source", "good.json", "--budget", "5s", "--out"]
REPORT, COMPARE = ["report", "run", "--out"], ["compare", "run", "other", "--html"]
LAB, NOTEBOOK = ["lab", "run", "--out"], ["notebook"]
SOLVE = ["solve", "good.json", "--budget", "2s", "--run"]

# What a user names by mistake for something to write, and what is said of it.
OUTPUTS: dict[str, tuple[list[str], str]] = {
    **{
        f"{command[0]} over {name}": ([*command, name], "of the kit and would be lost")
        for command in (REPORT, COMPARE, LAB, NOTEBOOK)
        for name in ("notes.txt", "link", "run/candidates.jsonl", "page.html")
    },
    **{
        f"{command[0]} {why}": ([*command, name], "cannot be written")
        for command in (REPORT, COMPARE, LAB, NOTEBOOK)
        for why, name in (
            ("over a folder", "venv"),
            ("inside a file", "notes.txt/x"),
            ("where nothing can be", "/proc/x"),
            ("on a full device", "/dev/full"),
            ("under too long a name", "x" * 300),
            ("with a null byte", "a\0b"),
        )
    },
    "notebook over a user's": ([*NOTEBOOK, "user.ipynb"], "is no notebook of the kit"),
    "lab over the run's own": (
        [*LAB, "./run/../run/submission.json"],
        "the submission of the run itself",
    ),
    "rehearse here": ([*REHEARSE, "."], "holds files that no rehearsal of the kit made"),
    "rehearse in a folder of others": ([*REHEARSE, "venv"], "no rehearsal of the kit made"),
    "rehearse over a file": ([*REHEARSE, "notes.txt"], "cannot be written: File exists"),
    "rehearse inside a file": ([*REHEARSE, "notes.txt/x"], "cannot be written: Not a directory"),
    "rehearse where nothing can be": ([*REHEARSE, "/proc/x"], "/proc/x: cannot be written"),
    "rehearse in a path with a colon": ([*REHEARSE, "a:b"], "--out "),
    "rehearse in an odd layout": ([*REHEARSE, "new", "--layout", "odd"], "--layout odd: there are"),
    "rehearse on no image": ([*REHEARSE, "new", "--standin", "odd"], "--standin odd: there are"),
    "rehearse without cores": ([*REHEARSE, "new", "--cpus", "0"], "--cpus 0: must be"),
    "rehearse with fewer cores": ([*REHEARSE, "new", "--cpus=-2"], "--cpus -2: must be"),
    "rehearse without memory": ([*REHEARSE, "new", "--memory", "0"], "--memory 0: must be"),
    "rehearse with no number": ([*REHEARSE, "new", "--memory", "nan"], "--memory nan: must be"),
    "rehearse with endless memory": ([*REHEARSE, "new", "--memory", "inf"], "--memory inf: must"),
    "rehearse a text": (["rehearse", "notes.txt", *REHEARSE[1:], "new"], "notes.txt: not JSON"),
    "rehearse a user's notebook": (["rehearse", "user.ipynb", *REHEARSE[1:], "new"], "no notebook"),
    "solve beside a file of others": (
        [*SOLVE, "venv"],
        "venv/run.log: not made by a run of the kit",
    ),
    "solve beside a submission": (
        [*SOLVE, "kaggle"],
        "kaggle/submission.json: not made by a run of the kit",
    ),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_place_that_is_not_the_kits(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "kaggle" / "submission.json").write_text("{}")
    (folder / "venv" / "run.log").write_text(MINE)
    arguments, said = OUTPUTS[name]
    assert said in refused(arguments, capsys)


@pytest.mark.parametrize("command", [REPORT, COMPARE, LAB])
def test_what_the_kit_wrote_is_replaced_and_folders_are_made(
    command: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.symlink("new/out", "through")
    for name in ("new/out", "new/out", "through"):
        with pytest.raises(SystemExit) as ended:
            app([*command, name])
        assert ended.value.code == 0, capsys.readouterr().err
    assert (folder / "through").is_symlink()
    with pytest.raises(SystemExit):
        app([*command, "/dev/stdout"])
    assert Path("/dev/stdout").resolve() != Path("/dev/stdout")


def test_a_folder_is_claimed_if_it_is_new_empty_or_claimed_before(tmp_path: Path) -> None:
    claim(tmp_path / "a/b", "rehearsal")
    (tmp_path / "a/b/more").mkdir()
    claim(tmp_path / "a/b", "rehearsal")
    with pytest.raises(DataError, match="no training of the kit made"):
        claim(tmp_path / "a/b", "training")
    for name in (".hidden", "dangling"):
        place = tmp_path / name
        place.mkdir()
        os.symlink("nowhere", place / name)
        with pytest.raises(DataError, match="holds files"):
            claim(place, "rehearsal")
    (tmp_path / "binary").mkdir()
    (tmp_path / "binary" / MARK).write_bytes(b"\xff")
    with pytest.raises(DataError, match="holds files"):
        claim(tmp_path / "binary", "rehearsal")


def test_only_what_lies_in_a_claimed_folder_is_deleted(folder: Path) -> None:
    with pytest.raises(DataError, match="is not the kit's"):
        delete(folder, "venv")
    claim(folder / "ours", "rehearsal")
    os.symlink(folder / "venv", folder / "ours" / "venv")
    delete(folder / "ours", "venv")
    read_only = folder / "ours" / "kaggle" / "deep"
    read_only.mkdir(parents=True)
    (read_only / "file").write_text(MINE)
    read_only.chmod(0o500)
    delete(folder / "ours", "kaggle")
    delete(folder / "ours", "nothing")
    assert [path.name for path in (folder / "ours").iterdir()] == [MARK]
    assert (folder / "venv/code.py").read_text() == MINE


def test_a_download_keeps_to_its_own_folder(folder: Path) -> None:
    settings = Settings("me", "a title", "c", "cpu")
    with pytest.raises(DataError, match="no download of the kit made"):
        kaggle_runs.output(settings, folder, Ledger(folder / "l"), Deadline.after(5), print)


@pytest.mark.parametrize("link", [False, True])
def test_a_dataset_keeps_the_users_metadata(folder: Path, link: bool) -> None:
    own, elsewhere = folder / "venv" / kaggle_datasets.METADATA, folder / "elsewhere.json"
    elsewhere.write_text(MINE)
    if link:
        os.symlink(elsewhere, own)
    else:
        own.write_text(MINE)
    dataset = Dataset("some-data", "some data", "apache-2.0", folder / "venv")
    before = kaggle_datasets.fingerprint(dataset)
    with kaggle_datasets._staged(dataset, "me", before) as staged:
        assert json.loads((Path(staged) / kaggle_datasets.METADATA).read_text())["id"]
        assert (Path(staged) / "code.py").read_text() == MINE
    assert own.read_text() == elsewhere.read_text() == MINE
    assert kaggle_datasets.fingerprint(dataset) == before
    (folder / "venv/code.py").unlink()
    with pytest.raises(DataError, match="holds no files to upload"):
        kaggle_datasets.content(dataset)


def test_wheels_of_the_users_are_not_deleted(folder: Path) -> None:
    (folder / "requirements.in").write_text("six\n")
    profiles = folder / "profiles"
    (profiles / "mine").mkdir(parents=True)
    for name in ("..", "../..", str(folder), "mine/../.."):
        with pytest.raises(DataError, match="is no profile of"):
            profile_folder(name, profiles)
    (profiles / "mine" / "requirements.in").write_text("six\n")
    os.symlink(folder / "wheels", profiles / "mine" / "wheels")
    with pytest.raises(DataError, match="is no folder that a build made"):
        build("mine", Deadline.after(60), print, profiles)
    (profiles / "mine" / "wheels").unlink()
    (profiles / "mine" / "wheels").mkdir()
    (profiles / "mine" / "wheels" / "own.whl").write_text(MINE)
    with pytest.raises(DataError, match=r"own\.whl: no build made it"):
        build("mine", Deadline.after(60), print, profiles)
    assert (profiles / "mine" / "wheels" / "own.whl").read_text() == MINE
    assert (folder / "wheels/w.whl").read_text() == MINE


def test_a_rehearsal_does_not_copy_itself(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        app(["notebook", "n.ipynb", "--engines", "model", "--model", "datasets/me/some-model"])
    assert ended.value.code == 0, capsys.readouterr().err
    claim(folder / "deep" / "inside", "rehearsal")
    rest = ["deep/inside", "--model", ".", "--wheels", "venv"]
    line = refused(["rehearse", "n.ipynb", *REHEARSE[1:], *rest], capsys)
    assert "lies in what is attached" in line


# --- users without a home -----------------------------------------------------------------


def test_without_a_home_a_line_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54321)  # nobody is called that
    request = Rehearsal("good.json")
    with pytest.raises(DataError, match="no home folder"):
        check_options(request, Path("out"))


@pytest.mark.parametrize("name", ["HOME", "XDG_CACHE_HOME"])
def test_a_home_that_cannot_be_written(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv(name, "/proc/nowhere")
    with pytest.raises(DataError, match=r"/proc/nowhere.*cannot be written.*set XDG_CACHE_HOME"):
        cache_folder()


# --- the current folder -------------------------------------------------------------------

SHADOWS = ("submission", "solver", "random", "select", "numpy", "json", "http", "venv", "pip")


@pytest.fixture
def shadowed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory holds files with the names of modules that processes import."""
    for name in SHADOWS:
        (folder / f"{name}.py").write_text('raise SystemExit("the wrong module")\n')
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", ".", str(ROOT)]))
    return folder


def test_steps_of_programs_beside_files_with_the_names_of_modules(shadowed: Path) -> None:
    (steps,) = traces([("input", as_grid([[1]]))], Deadline.after(120))
    assert steps is not None


def test_the_watch_page_beside_files_with_the_names_of_modules(shadowed: Path) -> None:
    with (
        watched(shadowed / "run", str(shadowed / "run.json"), None) as address,
        urllib.request.urlopen(address, timeout=120) as answer,
    ):
        assert b"ARC run" in answer.read()


# --- outputs that end -----------------------------------------------------------------------

READING: dict[str, list[str]] = {
    "help": ["--help"],
    "score": ["score", "run/submission.json", "run.json"],
    "show": ["show", "good.json", "t000", "--views", "60"],
    "report": ["report", "run"],
    "compare": ["compare", "run", "other"],
    "lab": ["lab", "run"],
    "simulate": ["simulate", "run"],
    "notebook": ["notebook", "out.ipynb"],
}
MAIN = [sys.executable, "-c", "from submission.cli import main; main()"]


@contextmanager
def closed_pipe() -> Iterator[int]:
    read, write = os.pipe()
    os.close(read)
    try:
        yield write
    finally:
        os.close(write)


@contextmanager
def full_device() -> Iterator[int]:
    with open("/dev/full", "wb") as device:
        yield device.fileno()


@pytest.mark.parametrize("name", READING)
@pytest.mark.parametrize(("output", "lines"), [(closed_pipe, 0), (full_device, 1)])
def test_a_reading_command_whose_output_ends(
    output: Callable[[], Any], lines: int, name: str, folder: Path
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""}
    with output() as place:
        done = subprocess.run(
            [*MAIN, *READING[name]],
            stdout=place,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            check=False,
        )
    assert done.returncode != 0
    assert len(done.stderr.splitlines()) == lines, done.stderr
    assert lines == 0 or "standard output: No space left on device" in done.stderr
