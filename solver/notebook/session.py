"""The functions that the notebook's cells call, one a cell. The kernel only starts processes.

No cell relies on the cell before: a preflight that failed leaves no plan, and the run then follows
the profile.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from solver.data.arcio import read_leniently
from solver.data.journal import JOURNAL_FILE
from solver.data.submissions import KITS, Form, check_submission
from solver.data.versions import task_digest
from solver.deadline import Deadline, parse_duration
from solver.grid import DataError
from solver.kit import CONFIG_FILE, IMPORTABLE, ROOT
from solver.launch import follow
from solver.machine import versions
from solver.notebook.install import install
from solver.notebook.mounts import CHALLENGES, INPUT, find
from solver.notebook.record import (
    OUTSIDE,
    RUN_FILE,
    Record,
    machine_facts,
    mount_facts,
    read_record,
    said_line,
)
from solver.notebook.restarts import (
    MIN_LEFT_S,
    Ending,
    Way,
    first_digest,
    grown,
    keep_on,
    size_of,
    ways,
)
from solver.notebook.summary import summarize
from solver.notebook.usable import Usable, read_usable
from solver.runtime.command import engine_names

SCORED = "KAGGLE_IS_COMPETITION_RERUN"  # set where the hidden tasks are mounted
OWN_BUDGET = "ARC_KIT_BUDGET"  # a rehearsal's time in place of either budget
PREFLIGHT_SHARE = 0.5  # of the time left, at most
INSTALL_S = 1200.0
LATE_S = 60.0  # a run that overran its budget by more seconds is ended
NOT_STARTED = 126  # the exit code of a shell for a command that cannot start
RUN_FOLDER = "run"
PLAN_FILE, LOCK_FILE = "plan.json", "wheels.lock"


@dataclass(frozen=True)
class Session:
    """The notebook's settings; `started` is the monotonic time of its first cell.

    `id` is the notebook's identity, which the build gave it. `challenges` is the name of the file
    of tasks, and `form` is the form of the competition's submission.
    `working` gets the submission. `scratch` gets files that must not be part of the output.
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
    id: str = ""
    challenges: str = CHALLENGES
    form: Form = KITS
    working: Path = Path("/kaggle/working")
    scratch: Path = ROOT
    input: Path = INPUT

    def deadline(self) -> Deadline:
        """The end of the budget: the whole budget for a scored run, a short one for a commit."""
        chosen = self.budget if os.environ.get(SCORED) else self.short_budget
        return Deadline(self.started + parse_duration(os.environ.get(OWN_BUDGET, chosen)))

    @property
    def folder(self) -> Path:
        """The folder of the run: `working`, or a folder in it beside a submission of other form."""
        return self.working if self.form == KITS else self.working / RUN_FOLDER

    @property
    def record(self) -> Record:
        """The record of the run."""
        return Record(self.working, self.started)


def begin(
    session: Session,
    outside: tuple[str, int] = OUTSIDE,
    say: Callable[[str], None] = print,
) -> None:
    """Begin the record of the run and print it: the log proves on what the notebook ran."""
    with suppress(OSError):
        (session.working / RUN_FILE).unlink()
    session.record.passed("files")
    with session.record.stage("session"):
        session.record.note(
            id=session.id,
            competition=session.competition,
            scored=bool(os.environ.get(SCORED)),
            **machine_facts(outside),
            tasks=_task_facts(session),
            sources=[
                mount_facts(source, find(source, marker, session.input))
                for source, marker in ((session.wheels, "*.whl"), (session.model, CONFIG_FILE))
                if source
            ],
        )
    say(said_line(read_record(session.working / RUN_FILE)))


def _task_facts(session: Session) -> dict[str, object]:
    """The file of the tasks, their number, their identity and their version."""
    challenges = _challenges(session)
    if challenges is None:
        return {}
    try:
        source = read_leniently(str(challenges))
    except DataError as error:
        return {"path": str(challenges), "fault": str(error)}
    return {
        "path": str(challenges),
        "number": len(source.tasks),
        "digest": source.digest,
        "version": source.version,
    }


def install_wheels(session: Session) -> None:
    """Install the attached wheels, if the notebook needs any."""
    if not session.wheels:
        print("There is nothing to install: the image has every package.")
        return
    lock, deadline = session.scratch / LOCK_FILE, session.deadline().slice(INSTALL_S)
    with session.record.stage("wheels"):
        try:
            install(session.wheels, lock, deadline, root=session.input)
        except OSError as error:  # the cells after this one must have their turn
            print(f"the wheels cannot be installed: {error}")


def check(session: Session) -> None:
    """Print versions, then do the preflight in a separate process.

    The preflight leaves its plan for the run.
    """
    print(", ".join(f"{name} {version}" for name, version in versions().items()))
    run_s = session.deadline().left()
    left = PREFLIGHT_SHARE * run_s
    command = [
        *(sys.executable, "-m", "solver.notebook.preflight", "--profile", session.profile),
        *("--engines", session.engines, "--scratch", str(session.scratch)),
        *("--competition", session.competition, "--challenges", session.challenges),
        *("--model", session.model),
        *("--digest", session.digest, "--working", str(session.working)),
        *("--run-s", f"{run_s:.1f}", "--budget", f"{left:.1f}"),
        *("--input", str(session.input), "--out", str(session.scratch / PLAN_FILE)),
    ]
    (session.scratch / PLAN_FILE).unlink(missing_ok=True)
    with session.record.stage("preflight"):
        code = _followed("preflight", command, Deadline.after(max(left, MIN_LEFT_S)), IMPORTABLE)
    print(_SAID.get(code, _BROKEN))


_SAID = {
    0: "All is well.",
    1: "The run continues without the parts that failed.",
    2: "These settings are refused: the run continues with only the synthesizer.",
}
_BROKEN = "The preflight was cut off: the run continues with its findings so far."


def run(session: Session, say: Callable[[str], None] = print) -> None:
    """Solve until the budget ends.

    A run that dies continues from its journal, with less if necessary. Each write of the
    submission is whole, so the last submission stays whatever happens.
    """
    plan, challenges = _plan(session), _challenges(session)
    if challenges is None:
        say("There is no challenges file: the first cell's submission is all there can be.")
        return
    _clear(session.folder)
    deadline = session.deadline()
    start = partial(_start, session, challenges, deadline, say)
    with session.record.stage("run"):
        keep_on(ways(session.profile, plan), deadline, start, say)
    shutil.rmtree(session.folder / "shared", ignore_errors=True)


def _start(
    session: Session, challenges: Path, deadline: Deadline, say: Callable[[str], None], way: Way
) -> Ending:
    """Start the run in a separate process, which continues from the run's journal."""
    journal = session.folder / JOURNAL_FILE
    resumed = os.path.lexists(journal) and not _set_aside(journal, challenges, say)
    before = size_of(journal)
    command = [
        *(sys.executable, "-m", "solver", str(challenges), "--run", str(session.folder)),
        "--salvage",  # one task that breaks the format must not cost the others
        *("--profile", way.profile, "--budget", f"{deadline.left():.1f}s"),
        *("--seed", str(session.seed), *(["--resume"] if resumed else []), *way.plan.options()),
        *_hand_in(session),
    ]
    late = Deadline(deadline.at + LATE_S)
    code = _followed("run", command, late, way.plan.environment(), say)
    return Ending(code, grown(journal, before))


def _hand_in(session: Session) -> list[str]:
    """The options for a submission that has another form than the kit's own."""
    if session.form == KITS:
        return []
    place = session.working / session.form.file
    return ["--hand-in", str(place), "--attempts", str(session.form.attempts)]


def _followed(
    what: str,
    command: Sequence[str],
    deadline: Deadline,
    environment: Mapping[str, str],
    say: Callable[[str], None] = print,
) -> int:
    """The exit code of a process that a cell follows, or `NOT_STARTED` if the start fails.

    The start raises nothing, since the later cells must have their turn.
    """
    try:
        return follow(command, deadline, environment, say)
    except OSError as error:
        say(f"The {what} cannot be started: {error}")
        return NOT_STARTED


def _set_aside(journal: Path, challenges: Path, say: Callable[[str], None]) -> bool:
    """Rename a journal from which no run over these tasks can continue; True if renamed."""
    try:
        digest = first_digest(journal)
        if digest is None or digest == task_digest(read_leniently(str(challenges)).tasks):
            return False
        why = "is of other tasks"
    except OSError as error:
        why = f"cannot be read ({error.strerror})"
    except DataError:
        return False
    say(f"{journal} {why}: it is set aside, and the run begins again.")
    with suppress(OSError):
        journal.replace(journal.with_name(f"{JOURNAL_FILE}.old"))
    return not os.path.lexists(journal)


def summary(session: Session) -> tuple[str, ...]:
    """Print a summary of the files on disk, and return pictures.

    Raises `DataError` if the submission is not valid.
    """
    challenges = _challenges(session)
    if challenges is None:
        print("There were no tasks to answer.")
        return ()
    with session.record.stage("summary"):
        pictures = summarize(challenges, session.folder)
        _check_hand_in(session, challenges)
    session.record.note(problems=_plan(session).problems)
    return pictures


def _check_hand_in(session: Session, challenges: Path) -> None:
    if session.form != KITS:
        place, number = session.working / session.form.file, session.form.attempts
        check_submission(place, read_leniently(str(challenges)).tasks, number)
        print(f"{place} is valid: attempts for each test input: {number}")


def _plan(session: Session) -> Usable:
    """The plan of the preflight; without a plan, the notebook's settings."""
    try:
        plan = read_usable(session.scratch / PLAN_FILE)
    except (DataError, TypeError, AttributeError):
        plan = Usable()
    return replace(plan, engines=plan.engines or engine_names(session.engines or None))


def _challenges(session: Session) -> Path | None:
    mount = find(f"competitions/{session.competition}", session.challenges, session.input)
    return mount.path / session.challenges if mount else None


def _clear(working: Path) -> None:
    """Delete an earlier run of the same notebook session: the user runs the cell again."""
    for name in (JOURNAL_FILE, "run.log"):
        with suppress(OSError):
            (working / name).unlink()
    shutil.rmtree(working / "shared", ignore_errors=True)
