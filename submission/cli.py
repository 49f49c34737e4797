"""The `arcsub` command: it parses; the library computes."""

from __future__ import annotations

import time

STARTED = time.monotonic()  # the budget counts from here: the imports below are part of it

from collections.abc import Iterator  # noqa: E402
from contextlib import contextmanager  # noqa: E402
from dataclasses import replace  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Annotated  # noqa: E402

import typer  # noqa: E402

from solver import __version__  # noqa: E402
from solver.runtime.command import SolveRequest, new_folder, run_solve  # noqa: E402
from solver.say import say  # noqa: E402
from submission import cli_kaggle, cli_notebook, cli_runs  # noqa: E402
from submission.commands import end_quietly, extra  # noqa: E402
from submission.commands import finish as _exit  # noqa: E402
from submission.owned import check_new_run  # noqa: E402

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Solve ARC tasks on this machine, score and look at the answers, train the model, and "
    "take all of it to Kaggle.",
)


def _version(asked: bool) -> None:
    if asked:
        say(f"arcsub {__version__}")
        raise typer.Exit


@app.callback()
def _arcsub(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


Source = Annotated[
    str, typer.Argument(help="A challenges file, a folder of task files, or arc-agi-1:evaluation.")
]
_EXAMPLES = """
Examples:

  arcsub solve arc-agi-1:evaluation --tasks 40 --budget 5m

  arcsub solve arc-agi_test_challenges.json --budget 12h --run runs/final

  arcsub solve my_tasks/ --tasks 0a1b2c3d,4e5f6a7b --engines synth

  arcsub solve arc-agi-1:training --run runs/a --resume
"""


@app.command(epilog=_EXAMPLES)
def solve(
    source: Source,
    solutions: Annotated[
        str | None, typer.Option(metavar="FILE", help="Solutions, to print the score.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="Time to use: 30s, 5m, 12h.", show_default="5m")
    ] = None,
    tasks: Annotated[
        str | None, typer.Option(metavar="N|IDS", help="Draw N tasks, or name them.")
    ] = None,
    engines: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Engines to use, separated by commas.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="Worker processes; one a core if left out.")
    ] = None,
    devices: Annotated[
        int | None, typer.Option(metavar="N", help="GPUs, in place of the profile's number.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides every draw.")] = 0,
    run: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder for submission, journal and log.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --run.")] = False,
    profile: Annotated[str, typer.Option(help="Its name, or a .toml file of your own.")] = "cpu",
    model: Annotated[
        str | None, typer.Option(metavar="DIR", help="Language model, for profiles that use one.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(metavar="N", help="Steps in place of time: the same run again.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Serve the growing report to this machine's browser.")
    ] = False,
) -> None:
    """Solve tasks within a budget; leaves a valid submission.json whatever happens."""
    request = SolveRequest(
        source=source,
        solutions=solutions,
        budget=budget,
        tasks=tasks,
        engines=engines,
        workers=workers,
        devices=devices,
        seed=seed,
        run=run,
        resume=resume,
        profile=profile,
        model=model,
        steps=steps,
    )

    def action() -> None:
        from submission.runs.live import live_view

        if run is not None and not resume:
            check_new_run(Path(run))
        with _growing_report(request, watch) as placed:
            with live_view() as view:
                finished = run_solve(placed, STARTED, view)
            say("\n".join(finished.lines()))

    _exit(action)


@app.command(epilog="Example:\n\n  arcsub score runs/final/submission.json solutions.json")
def score(
    submission: Annotated[str, typer.Argument(help="A submission.json.")],
    solutions: Annotated[str, typer.Argument(help="A solutions file, or a built-in set.")],
) -> None:
    """Score a submission against its solutions: pass@2, averaged both ways."""

    def action() -> None:
        from submission.runs.scoring import score_lines

        typer.echo("\n".join(score_lines(submission, solutions)))

    _exit(action)


@app.command(epilog="Example:\n\n  arcsub show arc-agi-1:training 007bbfb7 --views 2")
def show(
    source: Source,
    task: Annotated[str, typer.Argument(help="The task's id.")],
    submission: Annotated[
        str | None, typer.Option(metavar="FILE", help="Show the attempts of this submission too.")
    ] = None,
    views: Annotated[int, typer.Option(metavar="N", help="Show the task under N views too.")] = 0,
    seed: Annotated[int, typer.Option(help="Decides which views.")] = 0,
    program: Annotated[
        bool, typer.Option("--program", help="Search a program and show the grids it goes through.")
    ] = False,
) -> None:
    """Draw a task, its views, its attempts and a program for it in the terminal."""

    def action() -> None:
        from submission.runs.show import show_task

        show_task(source, task, submission=submission, views=views, seed=seed, program=program)

    _exit(action)


@app.command(
    epilog="Example:\n\n  arcsub train --budget 2h --out checkpoints/first --data re_arc.zip"
)
def train(
    out: Annotated[str, typer.Option(metavar="DIR", help="Folder for checkpoint, curve, model.")],
    budget: Annotated[str, typer.Option(help="Time to use: 30m, 2h.")] = "2h",
    data: Annotated[
        str | None, typer.Option(metavar="PATH", help="RE-ARC: its archive or folder.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides every draw.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out.")] = False,
    width: Annotated[int, typer.Option(help="Of the model; a multiple of 64.")] = 256,
    layers: Annotated[int, typer.Option(help="Of the model.")] = 6,
    start: Annotated[
        str | None, typer.Option(metavar="DIR", help="A trained model to start from.")
    ] = None,
    originals: Annotated[
        float, typer.Option(min=0, max=1, help="Part of a task's own pairs beside RE-ARC's.")
    ] = 0.3,
    made_up: Annotated[
        str | None, typer.Option(metavar="PATH", help="Tasks of scripts/made_up.py.")
    ] = None,
) -> None:
    """Train the bundled model from nothing, or go on training it, within a budget."""

    def action() -> None:
        with extra("model"):
            from submission.training.train import Training, run_training
        request = Training(
            out=out,
            budget=budget,
            data=data,
            seed=seed,
            resume=resume,
            width=width,
            layers=layers,
            start=start,
            originals=originals,
            made_up=made_up,
        )
        run_training(request, STARTED, typer.echo)

    _exit(action)


@app.command(
    epilog="Example:\n\n  arcsub bundle checkpoints/first/model --out models/pair --data re_arc.zip"
)
def bundle(
    model: Annotated[str, typer.Argument(help="The model/ folder of a training.")],
    out: Annotated[str, typer.Option(metavar="DIR", help="Folder for the quantized model.")],
    data: Annotated[
        str | None, typer.Option(metavar="PATH", help="RE-ARC, if it was trained on.")
    ] = None,
    made_up: Annotated[
        str | None, typer.Option(metavar="PATH", help="Made-up tasks, if it was trained on any.")
    ] = None,
    card: Annotated[
        str | None, typer.Option(metavar="FILE", help="A model card to put the figures into.")
    ] = None,
) -> None:
    """Quantize a trained model and write down where it comes from."""

    def action() -> None:
        with extra("model"):
            from submission.training.bundle import run_bundle
        run_bundle(model, out, data, made_up, card, typer.echo)

    _exit(action)


app.add_typer(cli_runs.app)
app.add_typer(cli_notebook.app)
app.add_typer(cli_kaggle.app)


@contextmanager
def _growing_report(request: SolveRequest, wanted: bool) -> Iterator[SolveRequest]:
    """Serve the report of a run while the report grows, if `wanted`.

    Yields the request with the run's folder; the request unchanged if no report is wanted.
    """
    if not wanted:
        yield request
        return
    with extra("report"):
        from submission.report.watch import watched
    folder = Path(request.run) if request.run else new_folder(request)
    with watched(folder, request.source, request.solutions) as address:
        say(f"watch     {address}")
        yield replace(request, run=str(folder))


def main() -> None:
    """Entry point of the `arcsub` script."""
    end_quietly(app)


if __name__ == "__main__":  # for launchers of several processes
    main()
