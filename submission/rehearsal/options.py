"""The options of `arcsub rehearse`, checked before anything is made."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from solver.data.arcio import Source, pick_source, read_leniently, with_solutions
from solver.deadline import duration_of
from solver.grid import DataError
from submission.kaggle.ledger import Ledger
from submission.notebook.build import about_of
from submission.owned import check_output
from submission.rehearsal.fake_kaggle import LAYOUTS
from submission.rehearsal.isolation import Fault
from submission.rehearsal.standin import STANDINS, cache_folder

MIN_GB, MAX_GB = 0.5, 10_000.0  # memory that a rehearsal may have
WRITTEN = ("kaggle", "working", "submission.json")
RUN_WORDS = ("--run", "/kaggle/working")  # on the command line of the solver
FAULTS = {
    "kill": "the solver is killed after so many seconds: kill=20s",
    "end": "the session is killed so many seconds after its first submission: end=20s",
    "no-model": "the model is not mounted",
    "no-input": "the competition is not mounted",
    "slow-disk": "every write that must last takes half a second more",
    "bad-gpu": "a GPU is listed and fails its first operation",
}


@dataclass(frozen=True)
class Rehearsal:
    """The user's request; the fields are the command's options."""

    source: str
    notebook: str | None = None
    solutions: str | None = None
    tasks: str | None = None
    budget: str = "5m"
    out: str = "runs/rehearsal"
    layout: str = "new"
    fault: str | None = None
    commit: bool = False
    standin: str = "kit"
    cpus: int = 4
    memory_gb: float = 30.0
    wheels: str | None = None
    model: str | None = None
    cold: bool = False
    gpus: int = 0
    network: bool = False
    seed: int = 0
    at_least: int = 0
    settings: str = "kaggle.toml"
    open: bool = False

    @property
    def ledger(self) -> Ledger:
        """The ledger that gets an entry."""
        return Ledger.beside(Path(self.settings))


def check_options(request: Rehearsal, out: Path) -> None:
    """Raise `DataError` for options that cannot work, before anything is made."""
    if os.pathsep in str(out):
        raise DataError(f"--out {out}: no environment can be made in a path with {os.pathsep!r}")
    if request.layout not in LAYOUTS:
        raise DataError(f"--layout {request.layout}: there are {', '.join(LAYOUTS)}")
    if request.standin not in STANDINS:
        raise DataError(f"--standin {request.standin}: there are {', '.join(STANDINS)}")
    check_output(request.ledger.path, "ledger", lambda path: True)
    if request.cpus < 1:
        raise DataError(f"--cpus {request.cpus}: must be at least 1")
    if not MIN_GB <= request.memory_gb <= MAX_GB:
        raise DataError(f"--memory {request.memory_gb:g}: must be {MIN_GB:g} to {MAX_GB:g} GB")
    cache_folder()


def source_of(request: Rehearsal) -> Source:
    """The tasks of the rehearsal.

    Raises `DataError` for tasks or solutions that cannot be read, and for `at_least` without
    solutions.
    """
    source = pick_source(read_leniently(request.source), request.tasks, request.seed)
    source = with_solutions(source, request.solutions)
    if request.at_least and not source.solutions:
        raise DataError("--at-least: the solutions are not known; add --solutions")
    return source


def given_of(request: Rehearsal) -> Path | None:
    """The path of the notebook that the user named; None if the user named no notebook.

    Raises `DataError` for a file that is not a notebook of the kit.
    """
    if request.notebook is None:
        return None
    path = Path(os.path.realpath(request.notebook))
    about_of(path)
    return path


def fault_of(text: str | None, out: Path) -> tuple[Fault | None, str]:
    """The kill that is to happen, if any, and the name of the fault; empty for no fault.

    A fault that exists from the start has a name only. Raises `DataError` for an unknown fault.
    """
    kind, _, value = (text or "").partition("=")
    if text and (kind not in FAULTS or bool(value) != (kind in ("kill", "end"))):
        known = ", ".join(f"{name}=20s" if name in ("kill", "end") else name for name in FAULTS)
        raise DataError(f"--fault {text}: there are {known}")
    if kind == "kill":
        return Fault(duration_of("--fault", value), RUN_WORDS, name="the solver"), kind
    if kind == "end":
        return Fault(duration_of("--fault", value), file=out.joinpath(*WRITTEN)), kind
    return None, kind
