"""A pushed notebook: status, log and output of its last run, and its submission."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from solver.data.submissions import read_submission
from solver.deadline import Deadline
from solver.grid import DataError
from solver.runtime.run import RunError
from submission.kaggle.service import ServiceError, asking, connect
from submission.kaggle.settings import Settings
from submission.owned import claim

SUBMISSION = "submission.json"


def status(settings: Settings, deadline: Deadline) -> str:
    """The state of the notebook's last run, with the reason of a failure."""
    api = connect(deadline)
    with asking(f"notebook {settings.kernel}", deadline):
        answer = api.kernels_status(settings.kernel)
    reason = f": {answer.failure_message}" if answer.failure_message else ""
    return f"{settings.kernel}: {answer.status.name.lower()}{reason}"


def logs(settings: Settings, deadline: Deadline, write: Callable[[str], None]) -> None:
    """Write the output of the last run; a run that is not over is followed until its end."""
    api = connect(deadline)
    with asking(f"notebook {settings.kernel}", deadline):
        for event in api.kernels_logs_stream(settings.kernel):
            write(str(event.get("data", "")))


def output(
    settings: Settings, folder: Path, deadline: Deadline, say: Callable[[str], None]
) -> None:
    """Download the files of the last run into a folder that is new or has earlier output.

    Raises `DataError` for any other folder, and for a run without files. Raises `ServiceError` for
    a submission that is not valid.
    """
    claim(folder, "download")
    api = connect(deadline)
    with asking(f"notebook {settings.kernel}", deadline):
        files, _ = api.kernels_output(settings.kernel, str(folder), force=True)
    for file in map(Path, files):
        say(f"{file}, {file.stat().st_size / 1e3:.1f} kB")
    if not files:
        raise DataError(f"notebook {settings.kernel}: its last run left nothing, or still runs")
    if (folder / SUBMISSION).is_file():
        try:
            answers = read_submission(folder / SUBMISSION)
        except DataError as error:
            raise ServiceError(f"the run left no valid submission: {error}") from None
        say(f"{folder / SUBMISSION} is valid: {len(answers)} tasks")


def submit(
    settings: Settings,
    version: int,
    message: str,
    confirm: Callable[[str], bool],
    deadline: Deadline,
    say: Callable[[str], None],
) -> None:
    """Enter a version into the competition, if `confirm` agrees to the question.

    Raises `DataError` if no submission is left now, or if `confirm` does not agree.
    """
    api = connect(deadline)
    what = f"competition {settings.competition}"
    with asking(what, deadline):
        limits = api.competition_get_submission_limits(settings.competition)
        run = api.kernels_status(settings.kernel).status.name.lower()
    if limits.num_allowed_now <= 0:
        never = "; have you joined it and accepted its rules?" if not limits.num_total else ""
        raise DataError(f"{what}: no submission is left today (UTC){never}")
    question = (
        f"submit {settings.kernel}, version {version} ({SUBMISSION}; its last run: {run}) to "
        f"{settings.competition}? {limits.num_today} made today, {limits.num_allowed_now} left"
    )
    if not confirm(question):
        raise DataError("not confirmed: nothing was submitted")
    try:
        with asking(what, deadline):
            answer = api.competition_submit_code(
                SUBMISSION, message, settings.competition, settings.kernel, version
            )
    except RunError as error:
        page = f"https://www.kaggle.com/competitions/{settings.competition}/submissions"
        raise ServiceError(f"{error}; it may have counted: see {page}") from None
    say(f"submitted {settings.kernel}, version {version}: {answer.message}")
