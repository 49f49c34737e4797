"""The `arcsub` command: it parses; the library computes."""

from __future__ import annotations

import time

STARTED = time.monotonic()  # the budget counts from here: the imports below are part of it

from collections.abc import Callable, Iterator  # noqa: E402
from contextlib import contextmanager  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Annotated  # noqa: E402

import typer  # noqa: E402

from solver.command import Request, exit_code, run_solve, score_text  # noqa: E402
from solver.grid import DataError  # noqa: E402
from solver.run import RunError  # noqa: E402

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Solve ARC tasks on this machine, score and look at the answers, train the model.",
)

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
    budget: Annotated[str, typer.Option(help="Time to use: 30s, 5m, 12h.")] = "5m",
    tasks: Annotated[
        str | None, typer.Option(metavar="N|IDS", help="Draw N tasks, or name them.")
    ] = None,
    engines: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Engines to use, separated by commas.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="Worker processes; one a core if left out.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides every draw.")] = 0,
    run: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder for submission, journal and log.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --run.")] = False,
    profile: Annotated[str, typer.Option(help="cpu or kaggle-cpu.")] = "cpu",
) -> None:
    """Solve tasks within a budget; leaves a valid submission.json whatever happens."""
    request = Request(
        source, solutions, budget, tasks, engines, workers, seed, run, resume, profile
    )

    def action() -> None:
        from submission.live import live_view

        with live_view() as watch:
            report = run_solve(request, STARTED, watch)
        typer.echo("\n".join(report.lines()))

    _exit(action)


@app.command(epilog="Example:\n\n  arcsub score runs/final/submission.json solutions.json")
def score(
    submission: Annotated[str, typer.Argument(help="A submission.json.")],
    solutions: Annotated[str, typer.Argument(help="A solutions file, or a built-in set.")],
) -> None:
    """Score a submission against its solutions: pass@2, averaged both ways."""

    def action() -> None:
        from submission.scoring import score_file

        typer.echo(score_text(score_file(submission, solutions)))

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
        from submission.show import show_task

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
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    width: Annotated[int, typer.Option(help="Of the model; a multiple of 64.")] = 256,
    layers: Annotated[int, typer.Option(help="Of the model.")] = 6,
) -> None:
    """Train the bundled model from nothing, or go on training it, within a budget."""

    def action() -> None:
        with _extra("model"):
            from submission.training import Training, run_training
        request = Training(out, budget, data, seed, resume, width, layers)
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
    card: Annotated[
        str | None, typer.Option(metavar="FILE", help="A model card to put the figures into.")
    ] = None,
) -> None:
    """Quantize a trained model and write down where it comes from."""

    def action() -> None:
        with _extra("model"):
            from submission.bundle import run_bundle
        run_bundle(model, out, data, card, typer.echo)

    _exit(action)


@app.command(
    epilog="Example:\n\n  arcsub notebook notebook.ipynb --competition arc-prize-2026-arc-agi-2"
)
def notebook(
    out: Annotated[str, typer.Argument(metavar="FILE", help="The notebook to write.")],
    profile: Annotated[str, typer.Option(help="What the run may use: kaggle-cpu.")] = "kaggle-cpu",
    competition: Annotated[
        str, typer.Option(metavar="SLUG", help="The competition.")
    ] = "arc-prize-2026-arc-agi-2",
    budget: Annotated[str, typer.Option(help="Time of the scored run.")] = "10h",
    short_budget: Annotated[str, typer.Option(help="Time of a run that is not scored.")] = "5m",
    seed: Annotated[int, typer.Option(help="Decides every draw.")] = 0,
    model: Annotated[
        str, typer.Option(metavar="SOURCE", help="datasets/OWNER/SLUG, models/..., or inside.")
    ] = "",
    wheels: Annotated[
        str, typer.Option(metavar="SOURCE", help="What is installed: datasets/OWNER/SLUG.")
    ] = "",
    lock: Annotated[
        str, typer.Option(metavar="FILE", help="Names and hashes of what is installed.")
    ] = "",
) -> None:
    """Build one offline Kaggle notebook that holds the whole solver."""

    def action() -> None:
        with _extra("notebook"):
            from submission.notebook import Settings, commit_of, write_notebook
        settings = Settings(profile, competition, budget, short_budget, seed, model, wheels, lock)
        size = write_notebook(Path(out), settings, commit := commit_of())
        typer.echo(f"{out}: {size / 1e3:.0f} kB, profile {profile}, commit {commit}")

    _exit(action)


@app.command(
    epilog="Examples:\n\n  arcsub rehearse --tasks 20 --budget 5m\n\n"
    "  arcsub rehearse notebook.ipynb --fault kill=60s"
)
def rehearse(
    notebook: Annotated[
        str | None,
        typer.Argument(metavar="FILE", help="A built notebook; one is built if left out."),
    ] = None,
    source: Annotated[
        str, typer.Option(metavar="SOURCE", help="What stands for the hidden tasks.")
    ] = "arc-agi-2:evaluation",
    solutions: Annotated[
        str | None, typer.Option(metavar="FILE", help="Solutions, to print the score.")
    ] = None,
    tasks: Annotated[
        str | None, typer.Option(metavar="N|IDS", help="Draw N tasks, or name them.")
    ] = None,
    budget: Annotated[str, typer.Option(help="Time of the notebook, in place of its own.")] = "5m",
    profile: Annotated[str, typer.Option(help="Of the notebook that is built.")] = "kaggle-cpu",
    out: Annotated[
        str, typer.Option(metavar="DIR", help="Folder for the tree and the executed notebook.")
    ] = "runs/rehearsal",
    layout: Annotated[str, typer.Option(help="Of the mounts: new, old, both or moved.")] = "new",
    fault: Annotated[
        str | None,
        typer.Option(help="kill=20s, end=20s, no-model, no-input, slow-disk or bad-gpu."),
    ] = None,
    commit: Annotated[
        bool, typer.Option("--commit", help="Not the scored run, but the one that saves a version.")
    ] = False,
    standin: Annotated[
        str, typer.Option(help="Its packages: kit (those of the kit) or image (Kaggle's).")
    ] = "kit",
    cpus: Annotated[int, typer.Option(help="Cores the notebook may use.")] = 4,
    memory: Annotated[float, typer.Option(metavar="GB", help="Memory it may use.")] = 30.0,
    wheels: Annotated[str | None, typer.Option(metavar="DIR", help="The wheels to attach.")] = None,
    model: Annotated[
        str | None, typer.Option(metavar="DIR", help="The model to attach; the kit's if left out.")
    ] = None,
    cold: Annotated[
        bool, typer.Option("--cold", help="Compile all kernels anew, as a session has to.")
    ] = False,
    network: Annotated[
        bool, typer.Option("--network", help="Leave the network on, where it cannot be cut off.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Decides the draw of tasks.")] = 0,
) -> None:
    """Run the notebook as Kaggle would: offline, in its own /kaggle, within limits; score it."""

    def action() -> None:
        with _extra("notebook"):
            from submission.rehearse import Rehearsal, rehearse
        request = Rehearsal(
            source=source,
            notebook=notebook,
            solutions=solutions,
            tasks=tasks,
            budget=budget,
            profile=profile,
            out=out,
            layout=layout,
            fault=fault,
            commit=commit,
            standin=standin,
            cpus=cpus,
            memory_gb=memory,
            wheels=wheels,
            model=model,
            cold=cold,
            network=network,
            seed=seed,
        )
        rehearse(request, typer.echo)

    _exit(action)


@app.command(epilog="Example:\n\n  arcsub preflight --profile cpu")
def preflight(
    profile: Annotated[str, typer.Option(help="cpu or kaggle-cpu.")] = "cpu",
) -> None:
    """Try everything a run needs on this machine: memory, devices, a tiny task with each engine."""

    def action() -> None:
        from solver.deadline import Deadline
        from solver.preflight import Request, preflight

        plan = preflight(Request(profile), Deadline.after(600.0), None, typer.echo)
        if plan.problems:
            raise RunError(f"{len(plan.problems)} problems; a run would go on without what failed")

    _exit(action)


@contextmanager
def _extra(name: str) -> Iterator[None]:
    """Around imports that need it; an installation without the extra lacks it."""
    try:
        yield
    except ModuleNotFoundError as error:
        wanted = f"pip install -e '.[{name}]'"
        raise DataError(f"this needs {error.name}, which is not here: {wanted}") from None


def _exit(action: Callable[[], None]) -> None:
    raise typer.Exit(exit_code("arcsub", action))


def main() -> None:
    """Entry point of the `arcsub` script."""
    app()


if __name__ == "__main__":  # for launchers of several processes
    main()
