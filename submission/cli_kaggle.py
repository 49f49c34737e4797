"""The commands of `arcsub` for wheels and for Kaggle: they parse; the library computes."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from solver.deadline import Deadline, duration_of
from solver.grid import DataError
from submission.commands import finish as _exit
from submission.kaggle.ledger import Ledger

app = typer.Typer(rich_markup_mode=None)

SettingsFile = Annotated[
    Path, typer.Option("--settings", metavar="FILE", help="Owner and machine of the notebook.")
]
Timeout = Annotated[str, typer.Option(help="Give up after this long: 5m, 1h.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the end, at most --timeout.")]
Version = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="A version; the last one if left out.")
]
_SETTINGS = Path("kaggle.toml")


class WheelsAction(StrEnum):
    """An action on a profile's wheels."""

    build = "build"
    verify = "verify"


@app.command(epilog="Examples:\n\n  arcsub wheels build\n\n  arcsub wheels verify unsloth")
def wheels(
    action: Annotated[WheelsAction, typer.Argument(help="Lock and download, or prove complete.")],
    profile: Annotated[str, typer.Argument(help="A folder of offline_wheels/.")] = "language",
    python: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A Python 3.12, to verify with.")
    ] = None,
    timeout: Timeout = "30m",
) -> None:
    """Build the packages that Kaggle's image lacks, or prove that they install offline."""

    def run() -> None:
        from submission.wheels.build import build
        from submission.wheels.check import verify

        deadline = _deadline(timeout)
        if action is WheelsAction.build:
            build(profile, deadline, typer.echo)
        else:
            verify(profile, deadline, typer.echo, python)

    _exit(run)


@app.command(
    epilog="Examples:\n\n  arcsub push notebook.ipynb --dry-run\n\n  arcsub push notebook.ipynb"
)
def push(
    notebook: Annotated[Path, typer.Argument(help="The notebook that `arcsub notebook` built.")],
    settings: SettingsFile = _SETTINGS,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the files and settings to send, and send nothing."),
    ] = False,
    timeout: Timeout = "1h",
) -> None:
    """Bring datasets and notebook to Kaggle and start the notebook there; submits nothing."""

    def run() -> None:
        import submission.kaggle.push as library

        if dry_run:
            library.dry_run(notebook, settings, typer.echo)
        else:
            library.push(notebook, settings, _deadline(timeout), typer.echo)

    _exit(run)


@app.command(epilog="Example:\n\n  arcsub status --settings kaggle.toml")
def status(settings: SettingsFile = _SETTINGS, wait: Wait = False, timeout: Timeout = "2m") -> None:
    """Say how the last run of the pushed notebook stands, and which scores are new."""

    def run() -> None:
        from submission.kaggle import runs, scores
        from submission.kaggle.service import connect
        from submission.kaggle.settings import read_settings

        chosen, ledger, deadline = (
            read_settings(settings),
            Ledger.beside(settings),
            _deadline(timeout),
        )
        api = connect(deadline)
        typer.echo(runs.status(api, chosen, ledger, deadline, wait))
        for line in scores.fetch_scores(api, chosen, ledger, deadline):
            typer.echo(line)

    _exit(run)


@app.command(epilog="Example:\n\n  arcsub logs --timeout 12h")
def logs(
    settings: SettingsFile = _SETTINGS, version: Version = None, timeout: Timeout = "1h"
) -> None:
    """Print what the last run of the pushed notebook says; follow it while it runs."""

    def run() -> None:
        from submission.kaggle import runs as kaggle_runs
        from submission.kaggle.settings import read_settings

        out = sys.stdout  # kept, since `sys.stdout` is redirected while the client runs

        def write(text: str) -> None:
            typer.echo(text, file=out, nl=not text.endswith("\n"))

        kaggle_runs.logs(read_settings(settings), _deadline(timeout), write, version)

    _exit(run)


@app.command(epilog="Example:\n\n  arcsub output runs/kaggle")
def output(
    folder: Annotated[Path, typer.Argument(help="Where to put the files.")] = Path("runs/kaggle"),
    settings: SettingsFile = _SETTINGS,
    version: Version = None,
    wait: Wait = False,
    timeout: Timeout = "30m",
) -> None:
    """Download what a run of the pushed notebook left, and compare it with what was asked."""

    def run() -> None:
        from submission.kaggle import runs as kaggle_runs
        from submission.kaggle.settings import read_settings

        chosen, ledger, deadline = (
            read_settings(settings),
            Ledger.beside(settings),
            _deadline(timeout),
        )
        say = typer.echo
        kaggle_runs.output(chosen, folder, ledger, deadline, say, version=version, wait=wait)

    _exit(run)


@app.command(epilog='Example:\n\n  arcsub submit --version 7 --message "wider search"')
def submit(
    version: Annotated[int, typer.Option(min=1, help="The version that `arcsub push` named.")],
    message: Annotated[str, typer.Option(help="A note for your own list of submissions.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    settings: SettingsFile = _SETTINGS,
    wait: Wait = False,
    timeout: Timeout = "10m",
) -> None:
    """Enter a version of the pushed notebook into the competition, after asking."""

    def run() -> None:
        from submission.kaggle import scores
        from submission.kaggle.settings import read_settings

        confirm, ledger = _agree if yes else _ask, Ledger.beside(settings)
        chosen, note = read_settings(settings), message or f"version {version}"
        deadline, say = _deadline(timeout), typer.echo
        scores.submit(chosen, version, note, ledger, confirm, deadline, say, wait=wait)

    _exit(run)


@app.command(epilog="Examples:\n\n  arcsub history\n\n  arcsub history 3 5")
def history(
    entries: Annotated[
        list[int] | None, typer.Argument(metavar="[N N]", help="Two entries to compare.")
    ] = None,
    settings: SettingsFile = _SETTINGS,
) -> None:
    """List what was pushed, rehearsed and scored; or compare two entries of the list."""

    def run() -> None:
        from submission.kaggle.history import compared_lines, history_lines

        ledger, numbers = Ledger.beside(settings), entries or []
        if len(numbers) not in (0, 2):
            raise DataError("history: name two entries to compare, or none")
        for line in compared_lines(ledger, *numbers) if numbers else history_lines(ledger):
            typer.echo(line)

    _exit(run)


def _ask(question: str) -> bool:
    try:
        return typer.confirm(question)
    except typer.Abort:  # nobody answers
        typer.echo()
        return False


def _agree(question: str) -> bool:
    typer.echo(question.replace("submit ", "submitting ", 1).replace("?", ":"))
    return True


def _deadline(text: str) -> Deadline:
    return Deadline.after(duration_of("--timeout", text))
