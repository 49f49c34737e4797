"""`arcsub rehearse`: run the notebook on this machine as on Kaggle, and score the answers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from solver.config import recorded_config
from solver.data.arcio import Source
from solver.data.journal import JOURNAL_FILE, replay
from solver.data.jsonio import load_json
from solver.data.submissions import KITS, check_submission, read_submission, score
from solver.deadline import duration_of, format_duration, parse_duration
from solver.engines import TAKE_A_MODEL
from solver.grid import DataError
from solver.kit import MODEL
from solver.machine import STAND_INS
from solver.notebook.record import SAID
from solver.notebook.session import OWN_BUDGET, RUN_FOLDER, SCORED
from solver.notebook.usable import SYNTH
from solver.runtime.command import score_text
from solver.runtime.run import RunError
from submission.kaggle.editions import Edition, recorded_edition
from submission.notebook.build import about_of, commit_of, sources_of, write_notebook
from submission.notebook.settings import Settings
from submission.owned import claim, delete
from submission.rehearsal.booked import book, open_page
from submission.rehearsal.fake_kaggle import Attached, build_tree
from submission.rehearsal.isolation import Ending, Fault, Limits, run_isolated
from submission.rehearsal.options import (
    Rehearsal,
    check_options,
    fault_of,
    given_of,
    source_of,
)
from submission.rehearsal.standin import KIT, base, cache_folder, make, packages
from submission.rehearsal.timeline import Hidden, Times, extrapolation, stage_lines, times_of
from submission.wheels.build import built_wheels

INSIDE = Path(__file__).parent / "inside"
STARTUP_S, LATE_S = 120.0, 180.0  # for the kernel's start; for work after the budget's end
EXECUTED, VENV = "executed.ipynb", "venv"
RUNNER, WARM = INSIDE / "runner.py", INSIDE / "warm.py"
WARM_S = 1800.0
GPU_LIST = "#!/bin/sh\necho 'GPU 0: A GPU that is listed and does not compute (UUID: GPU-0)'\n"


def rehearse(request: Rehearsal, say: Callable[[str], None]) -> None:
    """Build a notebook if none is given; run the notebook, then validate, score and extrapolate.

    Raises `DataError` for bad input. Raises `RunError` if the notebook failed, left no valid
    submission, or solved fewer tasks than `at_least`.
    """
    rehearsed = _prepare(request, say)
    environment = _environment(rehearsed, request)
    try:
        if SYNTH in about_of(rehearsed.notebook)["engines"] and not request.cold:
            _warm(rehearsed, environment, request, say)
        ending = run_isolated(
            rehearsed.out,
            [str(rehearsed.python), str(RUNNER), str(rehearsed.notebook), str(rehearsed.executed)],
            environment,
            _limits(rehearsed.budget_s, request),
            rehearsed.fault,
            request.network,
        )
    finally:
        delete(rehearsed.out, VENV)
    solved = _report(rehearsed, ending, request, say)
    if request.open:
        open_page(rehearsed.run, request.source, request.solutions, say)
    if solved < request.at_least:
        raise RunError(f"{solved} tasks are solved, not {request.at_least} at least")


@dataclass(frozen=True)
class _Rehearsed:
    """The parts of a rehearsal that are ready before the notebook starts."""

    out: Path
    notebook: Path
    python: Path
    source: Source
    budget_s: float
    fault: Fault | None
    kind: str
    edition: Edition

    @property
    def executed(self) -> Path:
        return self.out / EXECUTED

    @property
    def working(self) -> Path:
        return self.out / "kaggle" / "working"

    @property
    def run(self) -> Path:
        """The folder of the run's own files."""
        return self.working if self.edition.form == KITS else self.working / RUN_FOLDER


def _prepare(request: Rehearsal, say: Callable[[str], None]) -> _Rehearsed:
    budget_s = duration_of("--budget", request.budget)
    out = Path(os.path.realpath(request.out))
    fault, kind = fault_of(request.fault, out)
    check_options(request, out)
    source = source_of(request)
    given = given_of(request)
    claim(out, "rehearsal")
    notebook = given or _own_notebook(out)
    attached = _attached(request, notebook, kind, out)
    for name in ("kaggle", VENV):
        delete(out, name)
    (out / EXECUTED).unlink(missing_ok=True)
    edition = recorded_edition(about_of(notebook).get("edition", {}))
    if fault and fault.file:
        fault = replace(fault, file=out / "kaggle" / "working" / edition.submission)
    build_tree(out / "kaggle", source.tasks, attached, request.layout, edition)
    stage = base(request.standin, say)
    python = make(stage, out / VENV)
    if kind == "slow-disk":
        shutil.copy(INSIDE / "slow_disk.py", packages(out / VENV) / "sitecustomize.py")
    if kind == "bad-gpu":
        (out / VENV / "bin" / "nvidia-smi").write_text(GPU_LIST)
        (out / VENV / "bin" / "nvidia-smi").chmod(0o755)
    how = "with" if request.network else "without"
    say(f"stand-in  {stage.about}; {how} a network, {request.layout} layout")
    say(f"tasks     {len(source.tasks)} of {source.name}, {request.budget} for the notebook")
    return _Rehearsed(out, notebook, python, source, budget_s, fault, kind, edition)


def _own_notebook(out: Path) -> Path:
    path = out / "notebook.ipynb"
    write_notebook(path, Settings(), commit_of())
    return path


def _attached(request: Rehearsal, notebook: Path, kind: str, out: Path) -> list[Attached]:
    """The sources that the notebook names, except a source that the fault removes.

    Raises `DataError` for a source without a folder, for a folder that contains `out`, and for a
    fault whose source the notebook does not need.
    """
    about = about_of(notebook)
    own_model = set(about["engines"]) & set(TAKE_A_MODEL)
    the_kits = None if own_model else str(MODEL)
    wheels = request.wheels or (built_wheels(about["lock"]) if request.standin != KIT else None)
    folders = {"wheels": wheels, "model": request.model or the_kits}
    sources = sources_of(notebook)
    missing = {"no-model": "model", "no-input": "competition"}.get(kind)
    if missing and not sources.pop(missing, None):
        raise DataError(f"--fault {kind}: this notebook needs no {missing}")
    attached = []
    for name, source in sources.items():
        folder = folders.get(name)
        if name == "wheels" and folder is None and request.standin == KIT:
            continue  # the stand-in already has the packages of the wheels
        if name in folders and (folder is None or not Path(folder).is_dir()):
            raise DataError(f"the notebook wants {source}: --{name} {folder}: no such folder")
        if folder and out.is_relative_to(os.path.realpath(folder)):
            raise DataError(f"--out {out}: lies in what is attached, {folder}; choose another")
        attached.append(Attached(source, Path(folder) if folder else None))
    return attached


def _environment(rehearsed: _Rehearsed, request: Rehearsal) -> dict[str, str]:
    """The environment of the notebook's processes; nothing comes from this shell."""
    kernels = cache_folder() / f"kernels-{request.standin}"
    if request.cold:
        kernels = rehearsed.out / "kernels"
        delete(rehearsed.out, "kernels")
    kernels.mkdir(parents=True, exist_ok=True)
    scored = {} if request.commit else {SCORED: "1"}
    gpus = {STAND_INS: str(request.gpus)} if request.gpus else {}
    return {
        "PATH": f"{rehearsed.python.parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": "/kaggle/home",
        "LANG": "C.UTF-8",
        "NUMBA_CACHE_DIR": str(kernels),
        "TORCHINDUCTOR_CACHE_DIR": str(kernels / "inductor"),
        OWN_BUDGET: f"{rehearsed.budget_s}s",
        **scored,
        **gpus,
    }


def _warm(
    rehearsed: _Rehearsed,
    environment: Mapping[str, str],
    request: Rehearsal,
    say: Callable[[str], None],
) -> None:
    """Compile the synthesizer's kernels before the run; later rehearsals use them, too."""
    command = [str(rehearsed.python), str(WARM), str(rehearsed.notebook)]
    limits = replace(_limits(0.0, request), seconds=WARM_S)
    ending = run_isolated(rehearsed.out, command, environment, limits)
    shutil.rmtree(rehearsed.out / "kaggle" / "temp", ignore_errors=True)
    took = format_duration(ending.seconds)
    done = "ready after" if ending.code == 0 else "not compiled after"
    say(f"kernels   {done} {took}; a session compiles them in its own time, as --cold does")


def _limits(budget_s: float, request: Rehearsal) -> Limits:
    return Limits(STARTUP_S + budget_s + LATE_S, request.cpus, int(1000 * request.memory_gb))


# --- results --------------------------------------------------------------------------


def _report(
    rehearsed: _Rehearsed, ending: Ending, request: Rehearsal, say: Callable[[str], None]
) -> int:
    """Report the run and its files. Returns the number of solved tasks; 0 if unknown.

    Raises `RunError` if the submission is not valid, or if the notebook failed.
    """
    result = None
    times = times_of(rehearsed.executed) if rehearsed.executed.exists() else Times({}, 0.0, "")
    say("")
    said = (line for line in times.text.strip().splitlines() if not line.startswith(SAID))
    for line in (*said, *ending.events):
        say(f"  | {line}")
    say("")
    for line in stage_lines(times):
        say(f"stage     {line}")
    say(f"in all    {format_duration(ending.seconds)}, at most {ending.peak_mb / 1000:.1f} GB")
    submission = rehearsed.working / rehearsed.edition.submission
    _valid(rehearsed, submission)
    say(f"valid     {submission}")
    if rehearsed.source.solutions and rehearsed.kind != "no-input":
        answers = read_submission(submission, rehearsed.edition.attempts)
        result = score(answers, rehearsed.source.solutions)
        say(f"score     {score_text(result)}")
        say(f"data      {rehearsed.source.version}")
    for line in _extrapolated(rehearsed, times):
        say(f"on Kaggle {line}")
    if ending.code != 0 and rehearsed.kind != "end":
        raise RunError(f"the notebook failed ({ending.code}); a scored run would count for nothing")
    about, how = about_of(rehearsed.notebook), {"budget": request.budget, "fault": rehearsed.kind}
    source, working = rehearsed.source, rehearsed.working
    for line in book(request.ledger, about, working, source, result, how):
        say(line)
    return sum(map(all, result.solved.values())) if result else 0


def _valid(rehearsed: _Rehearsed, submission: Path) -> None:
    try:
        if rehearsed.kind == "no-input":
            load_json(submission)  # the notebook knows no tasks: the file only has to be JSON
        else:
            check_submission(submission, rehearsed.source.tasks, rehearsed.edition.attempts)
    except DataError as error:
        raise RunError(f"no valid submission: {error}") from None


def _extrapolated(rehearsed: _Rehearsed, times: Times) -> list[str]:
    if not (rehearsed.run / JOURNAL_FILE).exists():
        return []
    journal = replay(rehearsed.run / JOURNAL_FILE)
    if not journal.runs:
        return []
    config = recorded_config(journal.runs[-1]["config"])
    seconds = parse_duration(about_of(rehearsed.notebook)["budget"])
    hidden = Hidden(rehearsed.edition.tasks, seconds, rehearsed.edition.limit_s)
    return extrapolation(times, journal.jobs, len(rehearsed.source.tasks), config, hidden)
