"""What the notebook's cells call, one function a cell. The kernel only starts processes.

Nothing here relies on the cell before: a preflight that failed leaves no plan, and the run then
tries what the profile says.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from solver.command import engine_names
from solver.deadline import Deadline, parse_duration
from solver.grid import DataError
from solver.install import install
from solver.journal import FILE
from solver.kit import IMPORTABLE, ROOT
from solver.launch import follow
from solver.machine import versions
from solver.mounts import CHALLENGES, INPUT, find
from solver.plan import SYNTH, Plan, read_plan
from solver.summary import summarize

SCORED = "KAGGLE_IS_COMPETITION_RERUN"  # set where the hidden tasks are mounted
OWN_BUDGET = "ARC_KIT_BUDGET"  # a rehearsal's time in place of either budget
PREFLIGHT_SHARE = 0.5  # of the time left, at most
INSTALL_S = 1200.0
LATE_S = 60.0  # after which a run that did not keep its budget is ended
STARTS, MIN_LEFT_S = 5, 3.0  # of the run, should it die
PLAN, LOCK = "plan.json", "wheels.lock"
LEAST = "cpu"  # the profile that every notebook has


@dataclass(frozen=True)
class Session:
    """The notebook's settings; `started` is the monotonic time of its first cell.

    `working` gets the submission, `scratch` what is not to be part of the output.
    """

    competition: str
    profile: str
    engines: str
    budget: str
    short_budget: str
    seed: int
    wheels: str
    model: str
    digest: str
    started: float
    working: Path = Path("/kaggle/working")
    scratch: Path = ROOT
    input: Path = INPUT

    def deadline(self) -> Deadline:
        """The end of the budget: the whole one where it counts, a short one for a commit."""
        chosen = self.budget if os.environ.get(SCORED) else self.short_budget
        return Deadline(self.started + parse_duration(os.environ.get(OWN_BUDGET, chosen)))


def install_wheels(session: Session) -> None:
    """Install the attached wheels, if the notebook needs any."""
    if not session.wheels:
        print("There is nothing to install: what the image has must do.")
        return
    install(
        session.wheels,
        session.scratch / LOCK,
        session.deadline().slice(INSTALL_S),
        root=session.input,
    )


def check(session: Session) -> None:
    """Which versions there are, then the preflight, in a process of its own; it leaves its plan
    for the run."""
    print(", ".join(f"{name} {version}" for name, version in versions().items()))
    run_s = session.deadline().left()
    left = PREFLIGHT_SHARE * run_s
    command = [
        *(sys.executable, "-m", "solver.preflight", "--profile", session.profile),
        *("--engines", session.engines, "--scratch", str(session.scratch)),
        *("--competition", session.competition, "--model", session.model),
        *("--digest", session.digest, "--working", str(session.working)),
        *("--run-s", f"{run_s:.1f}", "--budget", f"{left:.1f}"),
        *("--input", str(session.input), "--out", str(session.scratch / PLAN)),
    ]
    (session.scratch / PLAN).unlink(missing_ok=True)
    code = follow(command, Deadline.after(max(left, MIN_LEFT_S)), IMPORTABLE)
    print({0: "All is well.", 1: "The run goes on without what failed."}.get(code, _BROKEN))


_BROKEN = "The preflight did not end: the run goes on with what it found."


def run(session: Session, say: Callable[[str], None] = print) -> None:
    """Solve until the budget ends. A run that dies goes on from its journal; each write of the
    submission is whole, so whatever happens the last one stands."""
    plan, challenges = _plan(session), _challenges(session)
    if challenges is None:
        say("There is no challenges file: the first cell's submission is all there can be.")
        return
    _clear(session.working)
    deadline, profile = session.deadline(), session.profile
    for _ in range(STARTS):
        if deadline.left() < MIN_LEFT_S:
            break
        resumed = (session.working / FILE).exists()
        command = [
            *(sys.executable, "-m", "solver", str(challenges), "--run", str(session.working)),
            "--salvage",  # one task that breaks the format must not cost the others
            *("--profile", profile, "--budget", f"{deadline.left():.1f}s"),
            *("--seed", str(session.seed), *(["--resume"] if resumed else []), *plan.options()),
        ]
        code = follow(command, Deadline(deadline.at + LATE_S), plan.environment(), say)
        if code == 0:
            break
        say(f"The run ended with {code}; {deadline.left():.0f} s are left.")
        if code == 2 and not resumed:
            # A setting or a file was refused: what needs least.
            profile, plan = LEAST, Plan(engines=(SYNTH,), visible=plan.visible)
    shutil.rmtree(session.working / "shared", ignore_errors=True)


def summary(session: Session) -> tuple[str, ...]:
    """What stands on disk, in words; the pictures are returned. Raises `DataError` if that is
    not a valid submission."""
    challenges = _challenges(session)
    if challenges is None:
        print("There were no tasks to answer.")
        return ()
    return summarize(challenges, session.working)


def _plan(session: Session) -> Plan:
    """What the preflight found; without that, what the notebook says."""
    try:
        plan = read_plan(session.scratch / PLAN)
    except (DataError, TypeError):
        plan = Plan()
    return replace(plan, engines=plan.engines or engine_names(session.engines or None))


def _challenges(session: Session) -> Path | None:
    mount = find(f"competitions/{session.competition}", CHALLENGES, session.input)
    return mount.path / CHALLENGES if mount else None


def _clear(working: Path) -> None:
    """Forget a run of this session that a user started before: the cell is run anew."""
    for name in (FILE, "run.log"):
        with suppress(FileNotFoundError):
            (working / name).unlink()
    shutil.rmtree(working / "shared", ignore_errors=True)
