"""Workers that cannot start, or not yet, and what they must not import, with real processes."""

from __future__ import annotations

import os
import pickle
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from solver import start as starting
from solver.answers.ensemble import answer
from tests.control import paced
from tests.fakes import BAD_TASK
from tests.runs import ROOT, finish, journal_of, wait_for, workers_of
from tests.runtime.test_exits import TASKS, arguments_of, begin, missed
from tests.runtime.test_faults import needs_mount

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a C compiler")


@pytest.fixture(scope="session")
def shims(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that takes away what some systems do not have."""
    library = tmp_path_factory.mktemp("shims") / "shims.so"
    source = ROOT / "tests/files/shims.c"
    compile_it = ["gcc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    subprocess.run(compile_it, check=True)
    return library


def log_of(folder: Path) -> str:
    return (folder / "run/run.log").read_text()


def environment(**more: object) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)} | {k: str(v) for k, v in more.items()}


def lacking(shims: Path, what: str, **more: object) -> dict[str, str]:
    one_thread = {"OPENBLAS_NUM_THREADS": 1}
    return environment(LD_PRELOAD=shims, LACKS=what, **one_thread, **more)


def patience(folder: Path, load_s: float) -> list[str]:
    """A profile under which a worker may take so long to start."""
    (folder / "own.toml").write_text(
        f"load_s = {load_s}\n[[stages]]\nengine = 'tests.fakes:exits'\n", "utf-8"
    )
    return ["--profile", str(folder / "own.toml")]


# --- the current folder ---------------------------------------------------------------

HOSTILE = ("solver", "random", "select", "numpy", "torch", "numba", "json", "subprocess")


def hostile_folder(folder: Path) -> Path:
    """A folder in which every module that a worker might import says no."""
    folder.mkdir()
    for name in HOSTILE:
        (folder / f"{name}.py").write_text("raise SystemExit('not this one')\n")
    return folder


@pytest.mark.parametrize("path", ["{root}", "{root}:", ":{root}", ".:{root}", "{root}:{here}"])
def test_no_file_of_the_current_folder_reaches_a_worker(tmp_path: Path, path: str) -> None:
    """The command starts as an installed one does: its own path has no current folder, so here
    it drops what `PYTHONPATH` says of one."""
    here = hostile_folder(tmp_path / "here")
    script = tmp_path / "arcsub"
    script.write_text(
        "import os, sys\n"
        "here = os.getcwd()\n"
        "sys.path[:] = [p for p in sys.path if os.path.abspath(p) != here]\n"
        "from submission.cli import main\n"
        "main()\n"
    )
    arguments = [sys.executable, "-c", _RUN_LATER, str(script), path.format(root=ROOT, here=here)]
    process = begin([*arguments, "solve", *arguments_of(tmp_path)[3:]], cwd=here)
    code, _, err = finish(process)
    assert (code, err) == (0, "")
    assert missed(tmp_path) == set()


# Runs a script under a `PYTHONPATH` that only the processes started later see.
_RUN_LATER = (
    "import os, sys\n"
    "here = os.getcwd(); sys.path[:] = [p for p in sys.path if p and p != here]\n"
    "import runpy; del sys.argv[0]; script = sys.argv[0]\n"
    "os.environ['PYTHONPATH'] = sys.argv.pop(1)\n"
    "runpy.run_path(script, run_name='__main__')\n"
)


@pytest.mark.parametrize("name", ["random", "select", "numpy", "torch", "argparse"])
def test_python_m_takes_no_library_from_the_current_folder(tmp_path: Path, name: str) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / f"{name}.py").write_text("raise SystemExit('not this one')\n")
    code, _, err = finish(begin(arguments_of(tmp_path), cwd=here))
    assert (code, err) == (0, "")
    assert missed(tmp_path) == set()


def test_a_file_in_the_folder_of_the_kit_replaces_no_library(tmp_path: Path) -> None:
    here = hostile_folder(tmp_path / "kit")
    (here / "solver.py").unlink()
    shutil.copytree(ROOT / "solver", here / "solver", ignore=shutil.ignore_patterns("__pycache__"))
    code, _, err = finish(begin(arguments_of(tmp_path), cwd=here))
    assert (code, err) == (0, "")
    assert missed(tmp_path) == set()


def test_an_engine_of_ones_own_may_be_in_the_current_folder(tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "mine.py").write_text("from tests.fakes import instant as engine\n")
    (here / "random.py").write_text("raise SystemExit('not this one')\n")
    code, _, err = finish(begin(arguments_of(tmp_path, "mine:engine"), cwd=here))
    assert (code, err) == (0, "")
    assert missed(tmp_path) == set()


def test_the_import_path_keeps_what_is_not_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = f"/opt/site::.:{tmp_path}:lib:{tmp_path}/../{tmp_path.name}"
    assert starting.import_path(own) == ["/opt/site", "lib"]
    assert starting.import_path(None) == []


# --- limits of the system -------------------------------------------------------------


@pytest.mark.parametrize("kind", ["hard", "soft"])
@pytest.mark.parametrize("gigabytes", [4, 500])
def test_a_limit_of_addresses_is_lived_with(tmp_path: Path, kind: str, gigabytes: int) -> None:
    limit = gigabytes * 2**30
    both = (limit, limit if kind == "hard" else resource.RLIM_INFINITY)
    process = begin(arguments_of(tmp_path), lambda: resource.setrlimit(resource.RLIMIT_AS, both))
    code, _, err = finish(process)
    assert (code, err) == (0, "")
    assert missed(tmp_path) == set()
    says = f"the system allows each process {gigabytes * 1024} MB of addresses"
    assert (says in log_of(tmp_path)) == (gigabytes == 4)


@pytest.mark.parametrize("most", [20, 26, 40])
def test_few_descriptors_cost_workers_not_the_run(tmp_path: Path, most: int) -> None:
    arguments = [*arguments_of(tmp_path, "slow", paced(5)), "--workers", "8"]
    process = begin(arguments, lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most)))
    wait_for(lambda: (tmp_path / "run/submission.json").exists())
    wait_for(lambda: len(missed(tmp_path)) < len(TASKS))  # it is rewritten in the middle, too
    code, _, err = finish(process)
    assert (code, err) == (0, "")
    assert "Too many open files" in log_of(tmp_path) or most == 40
    assert "cannot be replaced" not in log_of(tmp_path)


@needs_gcc
def test_no_thread_beside_the_first(tmp_path: Path, shims: Path) -> None:
    process = begin(arguments_of(tmp_path), env=lacking(shims, "threads"))
    assert finish(process)[0] == 0
    assert missed(tmp_path) == set()


# --- no room for a process ------------------------------------------------------------


@needs_gcc
def test_a_replacement_is_waited_for(tmp_path: Path, shims: Path) -> None:
    """Two workers start; for the next one there is no memory for two seconds."""
    env = lacking(shims, "memory", FORKS=2, FOR_S=2)
    code, _, err = finish(begin(arguments_of(tmp_path, "exits"), env=env))
    assert (code, err) == (0, "")
    assert missed(tmp_path) == {BAD_TASK}
    assert "cannot be started: [Errno 12] Cannot allocate memory" in log_of(tmp_path)
    assert len([job for job in journal_of(tmp_path / "run").jobs if job.outcome == "died"]) == 3


@needs_gcc
def test_a_run_without_room_for_another_worker_writes_its_answers(
    tmp_path: Path, shims: Path
) -> None:
    env = lacking(shims, "memory", FORKS=1)
    arguments = [*arguments_of(tmp_path, "answers_and_exits"), *patience(tmp_path, 1.5)]
    arguments += ["--workers", "1"]
    code, _, err = finish(begin(arguments, env=env))
    assert (code, err.count("\n")) == (1, 1)
    assert "every worker was lost (worker 0 cannot be started: [Errno 12]" in err
    found = {candidate.task for candidate in journal_of(tmp_path / "run").candidates}
    assert len(found) == 1
    assert missed(tmp_path) == {task.id for task in TASKS} - found


@needs_gcc
@pytest.mark.parametrize("budget", ["8s", "60s"])
def test_no_worker_can_be_started_at_all(tmp_path: Path, shims: Path, budget: str) -> None:
    """Even with unlimited time, starting ends after some tries."""
    env = lacking(shims, "memory")
    arguments = [*arguments_of(tmp_path, budget=budget), *patience(tmp_path, 2.0)]
    code, out, err = finish(begin(arguments, env=env))
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "no worker ever started (worker 0 cannot be started: [Errno 12]" in err
    assert len(missed(tmp_path)) == len(TASKS)


DYING = "import sys\nif 'solver.runtime.worker' in sys.orig_argv:\n    "


@pytest.mark.parametrize(
    ("does", "says"),
    [
        (
            "import os; os.write(1, b'last words'); os._exit(1)",
            "worker 0 died: exit code 1: last words",
        ),
        ("import os; os.kill(os.getpid(), 9)", "worker 0 died: signal SIGKILL"),
        ("import time; time.sleep(99)", "none was ready in time"),
    ],
)
def test_a_run_that_no_worker_serves_says_so(tmp_path: Path, does: str, says: str) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(DYING + does)
    env = environment(PYTHONPATH=f"{tmp_path}/site:{ROOT}")
    budget = paced(4) if "sleep" in does else "300s"
    code, out, err = finish(begin(arguments_of(tmp_path, budget=budget), env=env))
    assert (code, err.count("\n")) == (1, 1)
    assert all(line.startswith("0/8 tried, ") for line in out.splitlines())
    assert f"no worker ever started ({says})" in err
    assert str(tmp_path / "run/submission.json") in err
    assert len(missed(tmp_path)) == len(TASKS)
    assert len(journal_of(tmp_path / "run").terminal) == len(TASKS)


def test_a_run_that_is_stopped_before_its_workers_start_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(DYING + "import time; time.sleep(99)")
    env = environment(PYTHONPATH=f"{tmp_path}/site:{ROOT}")
    process = begin(arguments_of(tmp_path, budget="60s"), env=env)
    wait_for(lambda: workers_of(process.pid) != [])
    process.terminate()
    assert finish(process)[0] == 0
    assert len(missed(tmp_path)) == len(TASKS)


# --- file systems ---------------------------------------------------------------------


@needs_gcc
@pytest.mark.parametrize("what", ["flock", "dirsync", "fsync", "flock,fsync"])
def test_a_file_system_that_lacks_a_call(tmp_path: Path, shims: Path, what: str) -> None:
    code, _, err = finish(begin(arguments_of(tmp_path), env=lacking(shims, what)))
    assert (code, err) == (0, "")
    assert missed(tmp_path) == set()
    warned = "no lock against a second run: Function not implemented" in log_of(tmp_path)
    assert warned == ("flock" in what)
    assert "cannot be" not in log_of(tmp_path)


@needs_mount
def test_a_disk_that_was_full_for_a_while_costs_the_journal_only(tmp_path: Path) -> None:
    run = " ".join(arguments_of(tmp_path, "slow", paced(8))).replace(f"{tmp_path}/run", "$disk/run")
    script = f"""
        disk={tmp_path}/m; mkdir $disk && mount -t tmpfs -o size=200k none $disk
        {run} & pid=$!
        until [ -s $disk/run/submission.json ]; do sleep 0.02; done
        dd if=/dev/zero of=$disk/ballast bs=1k count=500 2>/dev/null
        sleep 2; rm $disk/ballast
        wait $pid; echo "code $?"
        cp -r $disk/run {tmp_path}/run
    """
    code, out, err = finish(begin(["unshare", "-rm", "bash", "-c", script]))
    assert (code, err) == (0, "")
    assert "code 0" in out
    assert len(missed(tmp_path)) < len(TASKS)


# --- compiled kernels -----------------------------------------------------------------

KERNEL = """
import solver.synth.jit as jit, numpy as np
print(jit.cache_root())
def double(cells): return cells + cells
double.__module__ = "solver.synth.grids.space"
print(jit.kernel(double)(np.arange(3)).tolist())
"""


def compiled(cache: Path, setup: Callable[[], object] | None = None) -> list[str]:
    """Compile a kernel in a process of its own: the folder it is kept below, and its result."""
    script = cache.parent / "kernel.py"
    if not script.exists():  # its date counts
        script.write_text(KERNEL)
    process = begin([sys.executable, str(script)], setup, env=environment(NUMBA_CACHE_DIR=cache))
    code, out, err = finish(process, 120)
    assert (code, err) == (0, ""), err
    return out.splitlines()


def test_a_cache_with_no_room_leaves_compiling_in_memory(tmp_path: Path) -> None:
    def nothing_more() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    cache = tmp_path / "cache"
    assert compiled(cache, nothing_more) == [str(cache), "[0, 2, 4]"]
    assert not [file for file in cache.rglob("*") if file.is_file() and file.stat().st_size]


def test_a_cache_folder_that_cannot_be_is_not_insisted_on(tmp_path: Path) -> None:
    (tmp_path / "kernel.py").write_text(KERNEL)
    env = environment(NUMBA_CACHE_DIR=tmp_path / "kernel.py/cache")
    code, out, err = finish(begin([sys.executable, f"{tmp_path}/kernel.py"], env=env), 120)
    assert (code, err) == (0, "")
    folder, result = out.splitlines()
    assert result == "[0, 2, 4]"
    assert str(tmp_path) not in folder


@needs_mount
def test_kernels_without_any_folder_to_write_to(tmp_path: Path) -> None:
    """No home, no temporary folder, the kit installed where nobody may write."""
    kit = tmp_path / "kit"
    shutil.copytree(ROOT / "solver", kit / "solver", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "kernel.py").write_text(KERNEL)
    read_only = "; ".join(
        f"mount --bind {place} {place} && mount -o remount,ro,bind {place}"
        for place in (kit, "/tmp", "/var/tmp", "/dev/shm")
        if Path(place).exists()
    )
    script = f"{read_only}; cd /; {sys.executable} {tmp_path}/kernel.py"
    env = environment(PYTHONPATH=kit, HOME="/nonexistent")
    process = begin(["unshare", "-rm", "bash", "-c", script], env=env, cwd=tmp_path)
    code, out, err = finish(process, 120)
    assert code == 0, err
    assert out.splitlines() == ["None", "[0, 2, 4]"]


@pytest.mark.parametrize("damage", [b"", pickle.dumps("another")])
def test_a_damaged_cache_is_compiled_again(tmp_path: Path, damage: bytes) -> None:
    cache = tmp_path / "cache"
    expected = compiled(cache)
    files = [file for file in cache.rglob("*") if file.suffix in (".nbi", ".nbc")]
    assert len(files) == 2
    for file in files:
        file.write_bytes(damage)
        assert compiled(cache) == expected


# --- one task's answer ----------------------------------------------------------------


def test_an_answer_that_cannot_be_weighed_costs_one_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from solver.config import Config, Stage
    from solver.data.arcio import Source
    from solver.runtime.run import solve

    def weigh(task, *rest):  # type: ignore[no-untyped-def]
        if task.id == BAD_TASK and rest[0]:
            raise ZeroDivisionError("weighed")
        return answer(task, *rest)

    monkeypatch.setattr("solver.runtime.board.answer", weigh)
    config = Config(20, (Stage("tests.fakes:steady"),), workers=2)
    solve(Source("toy", TASKS), config, tmp_path / "run")
    assert missed(tmp_path) == {BAD_TASK}
    assert "its answer stays as it is" in log_of(tmp_path)
