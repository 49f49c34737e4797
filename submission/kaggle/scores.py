"""Submissions to the competition: entered after a question, and their scores as they arrive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from solver.deadline import Deadline
from solver.grid import DataError
from solver.runtime.run import RunError
from submission.kaggle.entries import Entry, entries_of, mark
from submission.kaggle.ledger import Ledger
from submission.kaggle.service import RefusedError, ServiceError, asking, connect
from submission.kaggle.settings import Settings

PAGE, MAX_PAGES = 100, 1000  # submissions of a page; pages
POLL_S = 60.0
PENDING, FAILED = "pending", "error"


def submit(
    settings: Settings,
    version: int,
    message: str,
    ledger: Ledger,
    confirm: Callable[[str], bool],
    deadline: Deadline,
    say: Callable[[str], None],
    *,
    wait: bool = False,
) -> None:
    """Enter a version into the competition, if `confirm` agrees to the question.

    The submission's note ends in a mark, by which its score finds back to the version. With
    `wait`, the score is waited for. Raises `DataError` if no submission is left now, or if
    `confirm` does not agree.
    """
    api = connect(deadline)
    own = entries_of(ledger.events()).pushed(settings.kernel)
    entry = next((one for one in reversed(own) if one.version == version), None)
    if not confirm(_question(api, settings, version, entry, deadline)):
        raise DataError("not confirmed: nothing was submitted")
    about = {"kernel": settings.kernel, "version": version, "id": entry.id if entry else ""}
    about["competition"] = settings.competition
    ledger.add("submitting", **about)
    note = f"{message} {mark(str(about['id']), version)}"
    try:
        with asking(f"competition {settings.competition}", deadline):
            answer = api.competition_submit_code(
                settings.rules.submission, note, settings.competition, settings.kernel, version
            )
    except RunError as error:
        page = f"https://www.kaggle.com/competitions/{settings.competition}/submissions"
        raise ServiceError(f"{error}; it may have counted: see {page}") from None
    if answer.ref:
        ledger.add("submitted", **about, ref=answer.ref)
    say(f"submitted {settings.kernel}, version {version}: {answer.message}")
    if wait and answer.ref:
        say(_wait(api, settings, ledger, answer.ref, deadline))


def _question(
    api: Any, settings: Settings, version: int, entry: Entry | None, deadline: Deadline
) -> str:
    what = f"competition {settings.competition}"
    with asking(what, deadline):
        limits = api.competition_get_submission_limits(settings.competition)
        run = api.kernels_status(settings.kernel).status.name.lower()
    if limits.num_allowed_now <= 0:
        never = "; have you joined it and accepted its rules?" if not limits.num_total else ""
        raise DataError(f"{what}: no submission is left today (UTC){never}")
    found = "; ".join(entry.differences) if entry else "it was not pushed from here"
    warning = f" Beware: {found}." if found else ""
    return (
        f"submit {settings.kernel}, version {version} ({settings.rules.submission}; its last run: "
        f"{run}) to {settings.competition}?{warning} {limits.num_today} made today, "
        f"{limits.num_allowed_now} left"
    )


def _wait(api: Any, settings: Settings, ledger: Ledger, ref: int, deadline: Deadline) -> str:
    """The score of a submission, when it is there. Raises `ServiceError` at the deadline."""
    what = f"submission {ref}"
    while True:
        try:
            with asking(what, deadline):
                found = api.get_submission(ref)
            keep(settings, ledger, [found])
            if _state(found) != PENDING:
                return line_of(found)
        except RefusedError as error:
            if error.status != 404:  # a new submission is not readable at once
                raise
        if deadline.left() <= POLL_S:
            raise ServiceError(f"{what}: not scored yet; arcsub status shows its score later")
        deadline.clock.sleep(POLL_S)


def fetch_scores(api: Any, settings: Settings, ledger: Ledger, deadline: Deadline) -> list[str]:
    """Keep the scores of all submissions in the ledger. Returns a line for each new one."""
    return [
        line_of(found) for found in keep(settings, ledger, submissions(api, settings, deadline))
    ]


def submissions(api: Any, settings: Settings, deadline: Deadline) -> list[Any]:
    """All submissions to the competition, from all pages, the oldest first.

    Empty if the user may not see them, as before joining the competition.
    """
    from kagglesdk.competitions.types.competition_api_service import ApiListSubmissionsRequest

    request, found = ApiListSubmissionsRequest(), []
    request.competition_name, request.page_size = settings.competition, PAGE
    what = f"competition {settings.competition}"
    for _ in range(MAX_PAGES):
        try:
            with asking(what, deadline), api.build_kaggle_client() as client:
                answer = client.competitions.competition_api_client.list_submissions(request)
        except RefusedError:
            return []
        found += [one for one in answer.submissions or [] if one]
        if not answer.next_page_token:
            break
        request.page_token = answer.next_page_token
    return sorted(found, key=lambda one: one.ref)


def keep(settings: Settings, ledger: Ledger, found: list[Any]) -> list[Any]:
    """Add the submissions to the ledger that are new there, or have changed. Returns these."""
    known = {
        event.get("ref"): (event.get("state"), event.get("public"), event.get("private"))
        for event in ledger.events()
        if event["kind"] == "scored"
    }
    news = [one for one in found if known.get(one.ref) != _facts(one)]
    for one in news:
        state, public, private = _facts(one)
        ledger.add(
            "scored",
            ref=one.ref,
            kernel=settings.kernel,
            competition=settings.competition,
            made=one.date.isoformat(timespec="seconds") if one.date else "",
            note=one.description or "",
            **{"state": state, "public": public, "private": private},
        )
    return news


def _facts(one: Any) -> tuple[str, str, str]:
    return _state(one), str(one.public_score or ""), str(one.private_score or "")


def _state(one: Any) -> str:
    return one.status.name.lower() if one.status else PENDING


def line_of(one: Any) -> str:
    """A submission in a line: its note and its score, or why it has none."""
    state, public, private = _facts(one)
    why = f": {one.error_description}" if state == FAILED and one.error_description else ""
    shown = f"score {public}" if public else f"{state}{why}"
    also = f", private {private}" if private else ""
    return f"submission {one.ref} ({one.description or 'no note'}): {shown}{also}"
