"""The commands of `arcsub` that look at runs: they parse; the library computes."""

from __future__ import annotations

from typing import Annotated

import typer

from submission.commands import extra
from submission.commands import finish as _exit

app = typer.Typer(rich_markup_mode=None)

Run = Annotated[str, typer.Argument(metavar="RUN", help="The folder of a run.")]
TasksFrom = Annotated[
    str | None,
    typer.Option(metavar="SOURCE", help="The file or folder of its tasks, if they have moved."),
]
Truth = Annotated[str | None, typer.Option(metavar="FILE", help="Solutions, to score.")]


@app.command(epilog="Example:\n\n  arcsub report runs/final --out final.html")
def report(
    run: Run,
    source: TasksFrom = None,
    solutions: Truth = None,
    out: Annotated[
        str | None, typer.Option(metavar="FILE", help="Instead of report.html in the run's folder.")
    ] = None,
) -> None:
    """Show a run as one page: score, time, every task, every failure."""

    def action() -> None:
        with extra("report"):
            from submission.report.report import run_report
        typer.echo(f"report    {run_report(run, source, solutions, out)}")

    _exit(action)


@app.command(epilog="Example:\n\n  arcsub compare runs/before runs/after --html compared.html")
def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Folders of runs.")],
    source: TasksFrom = None,
    solutions: Truth = None,
    html: Annotated[
        str | None, typer.Option(metavar="FILE", help="A page of gains and losses to write.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides the draws of the intervals.")] = 0,
) -> None:
    """Compare runs with the first of them, task by task."""

    def action() -> None:
        with extra("report"):
            from submission.lab.compare_command import run_compare

            run_compare(runs, source=source, solutions=solutions, html=html, seed=seed)

    _exit(action)


@app.command(epilog="Example:\n\n  arcsub lab runs/final --selector median --out median.json")
def lab(
    run: Run,
    source: TasksFrom = None,
    solutions: Truth = None,
    selector: Annotated[
        str | None, typer.Option(metavar="NAME", help="Answer by this one.")
    ] = None,
    ensemble: Annotated[
        str | None, typer.Option(metavar="NAME", help="Answer by this rule.")
    ] = None,
    out: Annotated[
        str | None, typer.Option(metavar="FILE", help="Where to write the new submission.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides the draws of the intervals.")] = 0,
) -> None:
    """Select anew from a run's candidates: every selector, engine, view and second."""

    def action() -> None:
        from submission.lab.command import run_lab

        run_lab(
            run,
            source=source,
            solutions=solutions,
            selector=selector,
            ensemble=ensemble,
            out=out,
            seed=seed,
        )

    _exit(action)


@app.command(
    epilog="Example:\n\n  arcsub simulate runs/final --budget 1h,12h --workers 4 --speed 20"
)
def simulate(
    run: Run,
    source: TasksFrom = None,
    solutions: Truth = None,
    budget: Annotated[
        str | None, typer.Option(metavar="TIMES", help="30m,12h; the run's own if left out.")
    ] = None,
    workers: Annotated[
        str | None, typer.Option(metavar="NS", help="1,4; the run's own if left out.")
    ] = None,
    devices: Annotated[
        str | None, typer.Option(metavar="NS", help="GPUs: 0,4; the run's own if left out.")
    ] = None,
    on_devices: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Engines that run only on devices.")
    ] = None,
    speed: Annotated[
        str | None, typer.Option(metavar="X", help="Times as fast: 2, or model=20,synth=1.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides the draws of the intervals.")] = 0,
) -> None:
    """Play a run's recorded jobs with other budgets and machines: expected score over time."""

    def action() -> None:
        from submission.lab.simulate_command import run_simulate

        run_simulate(
            run,
            source=source,
            solutions=solutions,
            budget=budget,
            workers=workers,
            devices=devices,
            on_devices=on_devices,
            speed=speed,
            seed=seed,
        )

    _exit(action)
