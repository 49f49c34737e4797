"""The rehearsal: the built notebook in a session like Kaggle's, and what the session is like."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
import pytest

from solver.data.arcio import read_source
from solver.data.journal import replay
from solver.data.submissions import check_submission
from solver.grid import DataError
from solver.notebook.mounts import CHALLENGES, find
from solver.notebook.record import RUN_FILE, read_record
from solver.runtime.run import RunError
from submission.kaggle.history import history_lines
from submission.kaggle.ledger import LEDGER_FILE, Ledger
from submission.notebook.build import build
from submission.notebook.settings import Settings
from submission.rehearsal.fake_kaggle import LAYOUTS, Attached, build_tree
from submission.rehearsal.isolation import Ending, Fault, Limits, isolated, run_isolated
from submission.rehearsal.options import Rehearsal
from submission.rehearsal.rehearse import rehearse
from submission.rehearsal.standin import base, make
from tests.fakes import toy_tasks
from tests.runs import ROOT, language_profile, wait_for, write_challenges

TASKS = toy_tasks(4)


def allowed() -> bool:
    try:
        isolated()
    except DataError:
        return False
    return True


pytestmark = pytest.mark.skipif(not allowed(), reason="this system lets nobody make a namespace")


def inside(
    folder: Path, code: str, *, limits: Limits | None = None, fault: Fault | None = None
) -> tuple[Ending, dict[str, object]]:
    """Run Python code in a session; what it leaves in /kaggle/working/said.json."""
    for name in ("input", "working"):
        (folder / "kaggle" / name).mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", code]
    environment = {"PATH": os.environ["PATH"]}
    ending = run_isolated(folder, command, environment, limits or Limits(60.0), fault)
    said = folder / "kaggle" / "working" / "said.json"
    return ending, json.loads(said.read_text()) if said.exists() else {}


SESSION = """
import json, os, socket
def outcome(action):
    try:
        return str(action())
    except OSError as error:
        return type(error).__name__ + " " + os.strerror(error.errno)
said = {
    "kaggle": sorted(os.listdir("/kaggle")),
    "input": outcome(lambda: open("/kaggle/input/new", "w")),
    "network": outcome(lambda: socket.create_connection(("192.0.2.1", 80), 5)),
    "cores": len(os.sched_getaffinity(0)),
    "first": os.getppid() in (0, 1),
    "processes": sum(name.isdigit() for name in os.listdir("/proc")),
    "environment": sorted(set(os.environ) - {"LC_CTYPE", "PWD", "OLDPWD", "_", "SHLVL"}),
}
json.dump(said, open("/kaggle/working/said.json", "w"))
"""


def test_a_session_sees_its_own_kaggle_and_no_network(tmp_path: Path) -> None:
    before = Path("/kaggle").exists()
    ending, said = inside(tmp_path, SESSION, limits=Limits(60.0, cpus=1))
    assert ending.code == 0
    assert said == {
        "kaggle": ["input", "working"],
        "input": "OSError Read-only file system",
        "network": "OSError Network is unreachable",
        "cores": 1,
        "first": True,
        "processes": 1,
        "environment": ["PATH"],
    }
    assert Path("/kaggle").exists() == before


def test_memory_and_time_are_limited(tmp_path: Path) -> None:
    code = "import time; kept = bytearray(300_000_000); time.sleep(600)"
    ending, _ = inside(tmp_path, code, limits=Limits(60.0, memory_mb=200))
    assert ending.code != 0
    assert ending.peak_mb > 200
    assert re.fullmatch(r"out of memory: killed a process of \d{3} MB", ending.events[0])
    ending, _ = inside(tmp_path, "import time; time.sleep(600)", limits=Limits(1.0))
    assert ending.events == ["ended: it took over 1 s"]
    assert ending.seconds < 30


def test_faults_strike_what_they_name(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, json; "
        "done = subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)', 'victim']); "
        "json.dump({'code': done.returncode}, open('/kaggle/working/said.json', 'w'))"
    )
    ending, said = inside(tmp_path, code, fault=Fault(0.5, ("victim",), name="the victim"))
    assert (ending.code, said) == (0, {"code": -9})
    assert ending.events[0].startswith("the victim was killed after")
    ending, _ = inside(tmp_path, "import time; time.sleep(60)", fault=Fault(0.5))
    assert ending.events[0].startswith("the session was killed after")
    code = "import time; time.sleep(2); open('/kaggle/working/file', 'w'); time.sleep(60)"
    file = tmp_path / "kaggle" / "working" / "file"
    ending, _ = inside(tmp_path, code, fault=Fault(0.5, file=file))
    assert file.exists()
    assert 2.5 <= ending.seconds < 50


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_tree_has_every_layout_that_resolves(layout: str, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (wheels / "a-1-py3-none-any.whl").write_text("")
    attached = [Attached("competitions/some-slug"), Attached("datasets/*/wheels", wheels)]
    build_tree(tmp_path / "kaggle", TASKS, attached, layout)
    for source, marker in (("competitions/some-slug", CHALLENGES), ("datasets/*/wheels", "*.whl")):
        mount = find(source, marker, tmp_path / "kaggle" / "input")
        assert mount
        assert bool(mount.others) == (layout == "both")
        assert mount.layout.startswith("search") == (layout == "moved")
    found = find("competitions/some-slug", CHALLENGES, tmp_path / "kaggle" / "input")
    assert found
    hidden = read_source(str(found.path / CHALLENGES))
    assert hidden.solutions is None  # the outputs are nowhere in the tree
    assert [task.id for task in hidden.tasks] == [task.id for task in TASKS]
    check_submission(found.path / "sample_submission.json", TASKS)


def test_an_unknown_layout_or_standin_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--layout odd: there are new, old, both, moved"):
        build_tree(tmp_path, TASKS, [Attached("competitions/a")], "odd")
    with pytest.raises(DataError, match="--standin odd"):
        base("odd", print)


# --- wheels ---------------------------------------------------------------------------


def wheel(folder: Path, name: str, version: str) -> str:
    """A tiny wheel; returns its line in a lock."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{file},,\n" for file in files) + f"{info}/RECORD,,\n"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in (files | {f"{info}/RECORD": record}).items():
            archive.writestr(file, text)
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


INSTALL = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from solver.deadline import Deadline
from solver.notebook.install import install
lock, root = map(Path, sys.argv[1:])
sys.exit(not install("datasets/a/wheels", lock, Deadline.after(120), root=root))
"""


def test_locked_wheels_are_installed_and_no_others(tmp_path: Path) -> None:
    python = make(base("kit", print), tmp_path / "venv")
    mounted = tmp_path / "input" / "wheels"
    lock = tmp_path / "some.lock"
    lock.write_text(wheel(mounted / "sub", "tinything", "1.0"))
    wheel(mounted, "foreignthing", "2.0")

    def installed(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [python, *arguments], capture_output=True, text=True, cwd="/", env={}, check=False
        )
        return done.returncode, done.stdout + done.stderr

    code, said = installed("-c", INSTALL, str(lock), str(tmp_path / "input"))
    assert code == 0, said
    assert "1 of 2 files are in the lock" in said
    assert "not in the lock, or damaged: foreignthing-2.0-py3-none-any.whl" in said
    assert installed("-c", "import tinything; print(tinything.VERSION)") == (0, "1.0\n")
    assert installed("-c", "import foreignthing")[0] == 1
    lock.write_text("foreignthing==2.0 --hash=sha256:" + 64 * "0" + "\n")
    code, said = installed("-c", INSTALL, str(lock), str(tmp_path / "input"))
    assert code == 1
    assert "the wheels are not installed" in said


# --- whole notebooks ------------------------------------------------------------------


ENGINE = """
import time
from solver.grid import Candidate, as_grid

def flip(task, deadline, context):
    for test, grid in enumerate(task.tests):
        yield Candidate(task.id, test, as_grid(grid[::-1]), "flip", program="flip_ud")
    time.sleep(0.5)
"""


@pytest.fixture
def challenges(tmp_path: Path) -> Path:
    return write_challenges(tmp_path / "c.json", TASKS)


@pytest.fixture
def solutions(tmp_path: Path) -> str:
    """Upside down is right."""
    path = tmp_path / "s.json"
    path.write_text(json.dumps({t.id: [g[::-1].tolist() for g in t.tests] for t in TASKS}))
    return str(path)


def toy_notebook(settings: Settings | None = None, more: str = "") -> Any:
    """The notebook with an engine of its own, quick and right, in place of the synthesizer: what
    it does ends long before its time, on a busy machine, too. `more` engines may not."""
    chosen = settings or Settings(engines="synth")
    notebook = nbformat.reads(build(chosen, "some"), as_version=4)
    first, asked = notebook.cells[1], f'ENGINES = "{chosen.engines}"'
    assert asked in first.source
    first.source = first.source.replace(asked, f'ENGINES = "toy:flip{more}"')
    notebook.metadata.arcsub.engines = ["toy:flip", *filter(None, more.split(","))]
    engine = nbformat.v4.new_code_cell(f"%%writefile /kaggle/temp/kit/toy.py{ENGINE}", id="toy")
    notebook.cells.insert(at(notebook, "session"), engine)
    return notebook


def at(notebook: Any, stage: str) -> int:
    """The place of a stage's cell."""
    stages = [cell.metadata.get("arcsub", {}).get("stage") for cell in notebook.cells]
    return stages.index(stage)


def rehearsed(tmp_path: Path, notebook: Any, challenges: Path, **values: object) -> str:
    """The output of a notebook's rehearsal."""
    path = tmp_path / "notebook.ipynb"
    nbformat.write(notebook, path)
    settings = {"budget": "150s", "cpus": 2, "out": str(tmp_path / "out"), **values}
    settings["settings"] = str(tmp_path / "kaggle.toml")
    said: list[str] = []
    try:
        rehearse(Rehearsal(str(challenges), str(path), **settings), said.append)  # type: ignore[arg-type]
    finally:
        print("\n".join(said))
    return "\n".join(said)


def test_a_cell_that_fails_does_not_end_the_notebook(
    tmp_path: Path, challenges: Path, solutions: str
) -> None:
    broken = toy_notebook()
    fails = nbformat.v4.new_code_cell("%%writefile /no/such/folder/file\nx", id="fails")
    broken.cells[at(broken, "wheels")].source = "1 / 0"
    broken.cells.insert(at(broken, "wheels"), fails)
    text = rehearsed(tmp_path, broken, challenges, solutions=solutions, layout="both")
    assert "FileNotFoundError" in text
    assert "ZeroDivisionError" in text
    assert "\nscore     100.0% of 4 tasks" in text  # the cells after it did their work
    whole, short = "competitions/arc-prize-2026-arc-agi-2", "arc-prize-2026-arc-agi-2"
    assert f"/kaggle/input/{whole}/{CHALLENGES}: 4 tasks" in text
    assert f"/kaggle/input/{whole} (by its whole name); also at /kaggle/input/{short}" in text


def test_the_notebook_with_its_solver_killed(
    tmp_path: Path, challenges: Path, solutions: str
) -> None:
    text = rehearsed(
        tmp_path, toy_notebook(), challenges, solutions=solutions, fault="kill=0.1s", layout="moved"
    )
    assert "the solver was killed" in text
    assert "The run ended with -9" in text
    assert "search for arc-agi_test_challenges.json" in text
    assert "tiny task    solved by a run with toy:flip" in text
    assert "\nscore     100.0% of 4 tasks" in text
    stages = re.findall(r"^stage     (\w+)", text, re.MULTILINE)
    assert [s for s in stages if s != "other"] == [
        *("template", "the", "settings", "wheels", "preflight", "run", "summary")
    ]
    assert "240 tasks in 10h00m" in text
    assert "toy:flip: 0." in text


def test_with_a_slow_disk_all_is_written(tmp_path: Path, challenges: Path, solutions: str) -> None:
    text = rehearsed(
        tmp_path, toy_notebook(), challenges, solutions=solutions, fault="slow-disk", layout="old"
    )
    assert "by its short name" in text
    assert "\nscore     100.0% of 4 tasks" in text


def test_a_session_that_ends_early_leaves_its_submission(
    tmp_path: Path, challenges: Path, solutions: str
) -> None:
    text = rehearsed(tmp_path, toy_notebook(), challenges, solutions=solutions, fault="end=1s")
    assert "the session was killed" in text
    assert "\nvalid     " in text


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A small language model, and a profile that lets it answer beside another engine."""
    from tests.lm.small import build_model

    folder = tmp_path_factory.mktemp("language")
    (folder / "model").mkdir()
    profile = language_profile(folder / "small.toml", "synth")
    profile.write_text(profile.read_text().replace("max_slice_s = 5", "max_slice_s = 1"))
    return build_model(folder / "model"), profile


MODEL = "datasets/someone/some-model"


def test_a_language_model_that_is_attached_answers_on_the_processor_in_place_of_a_gpu(
    tmp_path: Path, challenges: Path, solutions: str, language: tuple[Path, Path]
) -> None:
    model, profile = language
    text = profile.read_text().replace("'llm'", "'llm'\ndevice = true")
    own = tmp_path / "devices.toml"
    own.write_text("devices = 4\n" + text)
    notebook = toy_notebook(Settings(profile=str(own), model=MODEL), ",llm")
    given = {"solutions": solutions, "model": str(model), "budget": "400s"}
    said = rehearsed(tmp_path, notebook, challenges, gpus=1, **given)
    assert "GPU cpu0     multiplies" in said
    assert re.search(r"python 3\.\d+\.\d+, numpy \d.*, torch \d.*, transformers \d", said)
    assert f"/kaggle/input/{MODEL} (by its whole name)" in said
    assert "solved by a run with toy:flip, llm" in said
    assert "\nscore     100.0% of 4 tasks" in said
    jobs = replay(tmp_path / "out" / "kaggle" / "working" / "candidates.jsonl").jobs
    ended = {job.engine for job in jobs if job.outcome in ("finished", "sliced")}
    assert ended == {"toy:flip", "llm"}


def test_a_gpu_that_fails_is_a_problem_and_the_processor_answers(
    tmp_path: Path, challenges: Path, solutions: str
) -> None:
    said = rehearsed(tmp_path, toy_notebook(), challenges, solutions=solutions, fault="bad-gpu")
    assert "PROBLEM GPU 0" in said
    assert "\nscore     100.0% of 4 tasks" in said


def test_without_its_model_the_notebook_goes_on(
    tmp_path: Path, challenges: Path, solutions: str, language: tuple[Path, Path]
) -> None:
    notebook = toy_notebook(Settings(profile=str(language[1]), model=MODEL), ",llm")
    text = rehearsed(tmp_path, notebook, challenges, solutions=solutions, fault="no-model")
    assert f"no model: {MODEL} is not mounted: the run continues with toy:flip" in text
    assert "\nscore     100.0% of 4 tasks" in text


EDITION = """
slug = "arc-prize-2027"
challenges = "hidden_tasks.json"
submission = "answers.json"
attempts = 1
tasks = 400
limit = "9h"
machines = ["cpu"]
"""


def test_an_edition_that_the_kit_does_not_know_is_rehearsed_from_a_file(
    tmp_path: Path, challenges: Path, solutions: str
) -> None:
    own = tmp_path / "2027.toml"
    own.write_text(EDITION)
    notebook = toy_notebook(Settings(engines="synth", competition=str(own), budget="8h30m"))
    text = rehearsed(tmp_path, notebook, challenges, solutions=solutions)
    assert "/kaggle/input/competitions/arc-prize-2027/hidden_tasks.json: 4 tasks" in text
    assert "answers.json is valid: attempts for each test input: 1" in text
    assert "\nscore     100.0% of 4 tasks" in text
    assert "400 tasks in 8h30m" in text
    assert "30m00s remain to Kaggle's limit of 9h00m" in text
    working = tmp_path / "out" / "kaggle" / "working"
    check_submission(working / "answers.json", TASKS, 1)
    assert not (working / "submission.json").exists()
    record = read_record(working / RUN_FILE)
    assert record["id"] == notebook.metadata.arcsub.id
    assert record["internet"] is False
    assert record["competition"] == "arc-prize-2027"
    assert {"session", "preflight", "run", "summary"} <= set(record["stages"])
    assert "the first entry; later ones are compared with it" in text


def test_a_rehearsal_is_compared_with_the_last_entry_and_shows_its_page(
    tmp_path: Path, challenges: Path, solutions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser, told = tmp_path / "browser", tmp_path / "told"
    browser.write_text(f'#!/bin/sh\necho "$1" > {told}\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    first = toy_notebook()
    rehearsed(tmp_path, first, challenges, solutions=solutions)
    second = toy_notebook(Settings(engines="synth", seed=7))
    text = rehearsed(tmp_path, second, challenges, solutions=solutions, open=True)
    assert "ledger    1 (rehearsal) -> 2 (rehearsal)" in text
    assert re.search(r"^ledger    identity.settings.seed +0 -> 7$", text, re.MULTILINE)
    assert "score     100.0 % -> 100.0 %: +0.0 points, no more than chance" in text
    page = tmp_path / "out" / "kaggle" / "working" / "report.html"
    assert "<title>" in page.read_text()
    wait_for(told.exists)
    assert told.read_text().strip() == page.resolve().as_uri()
    lines = history_lines(Ledger(tmp_path / LEDGER_FILE))
    assert f"100.0 % of 4 tasks of {challenges}, " in lines[1]


def test_a_score_that_is_too_low_fails(tmp_path: Path, challenges: Path, solutions: str) -> None:
    wrong = toy_notebook()
    wrong.cells[at(wrong, "session") - 1].source += "\n    return iter(())"
    wrong.cells = wrong.cells[:2]
    with pytest.raises(RunError, match="0 tasks are solved, not 1 at least"):
        rehearsed(tmp_path, wrong, challenges, solutions=solutions, at_least=1)
    with pytest.raises(DataError, match="--at-least: the solutions are not known"):
        rehearsed(tmp_path, wrong, challenges, at_least=1)


def test_without_a_competition_there_is_still_a_file(tmp_path: Path, challenges: Path) -> None:
    text = rehearsed(tmp_path, toy_notebook(), challenges, fault="no-input")
    assert "no challenges file" in text
    assert (tmp_path / "out" / "kaggle" / "working" / "submission.json").read_text() == "{}"


def test_a_notebook_that_leaves_nothing_fails(tmp_path: Path, challenges: Path) -> None:
    empty = toy_notebook()
    empty.cells = empty.cells[:1]
    with pytest.raises(RunError, match="no valid submission"):
        rehearsed(tmp_path, empty, challenges)


@pytest.mark.parametrize("fault", ["kill", "slow-disk=3s", "odd", "kill=soon"])
def test_a_fault_that_is_none_is_bad_input(fault: str, challenges: Path) -> None:
    with pytest.raises(DataError, match="--fault"):
        rehearse(Rehearsal(str(challenges), fault=fault), print)


def test_what_the_notebook_wants_must_be_given(tmp_path: Path, challenges: Path) -> None:
    lock = tmp_path / "some.lock"
    lock.write_text("")
    nvarc = Settings(profile="nvarc", model="models/o/m/transformers/v/1")
    language_notebook = nbformat.reads(build(nvarc, "some"), as_version=4)
    settings = Settings(engines="synth", wheels="datasets/a/wheels", lock=str(lock))
    notebook = nbformat.reads(build(settings, "some"), as_version=4)
    with pytest.raises(DataError, match=r"wants datasets/a/wheels: --wheels None"):
        rehearsed(tmp_path, notebook, challenges, standin="image")
    with pytest.raises(DataError, match=r"wants models/o/m/transformers/v/1: --model None"):
        rehearsed(tmp_path, language_notebook, challenges)
    with pytest.raises(DataError, match="this notebook needs no model"):
        rehearsed(tmp_path, notebook, challenges, fault="no-model")


@pytest.mark.skipif(sys.version_info[:2] == (3, 12), reason="this very Python would do")
def test_a_python_that_does_not_start_stands_in_for_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version manager leaves such a file for every version that is not the chosen one."""
    shim = tmp_path / "python3.12"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(DataError, match=r"--standin image: needs Python 3\.12 on the PATH"):
        base("image", print)


def test_nothing_of_the_kit_can_be_imported_from_a_standin(tmp_path: Path) -> None:
    kit = base("kit", print)
    make(kit, tmp_path / "venv")
    (tmp_path / "packages" / "solver").mkdir(parents=True)
    (tmp_path / "packages" / "solver" / "__init__.py").write_text("")
    leaky = type(kit)(kit.python, tmp_path / "packages", "leaky")
    with pytest.raises(DataError, match="holds solver"):
        make(leaky, tmp_path / "venv")


def test_a_session_ends_with_the_rehearsal(tmp_path: Path) -> None:
    """Killed without a word, the command leaves nothing running."""
    code = (
        "import sys; from pathlib import Path; "
        "from submission.rehearsal.isolation import Limits, run_isolated; "
        "run_isolated(Path(sys.argv[1]), ['/bin/sleep', '4321.5'], {'PATH': '/bin:/usr/sbin:"
        "/usr/bin'}, Limits(60.0))"
    )
    for name in ("input", "working"):
        (tmp_path / "kaggle" / name).mkdir(parents=True)
    command = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    until = time.monotonic() + 60
    while not sleeping("4321.5"):
        assert time.monotonic() < until
        time.sleep(0.1)
    command.kill()
    command.wait()
    while sleeping("4321.5"):
        assert time.monotonic() < until
        time.sleep(0.1)


def sleeping(word: str) -> bool:
    """True while a process has `word` on its command line as the last."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if file.read_bytes() == b"/bin/sleep\0" + word.encode() + b"\0":
                return True
    return False
