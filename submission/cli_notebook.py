"""The commands of `arcsub` that lead to Kaggle: the notebook, its rehearsal, the preflight."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from solver.runtime.run import RunError
from submission.commands import extra, finish

app = typer.Typer()

Engines = Annotated[
    str, typer.Option(metavar="NAMES", help="Engines to use, in place of the profile's.")
]


@app.command(epilog="Example:\n\n  arcsub notebook runs/notebook.ipynb --budget 10h")
def notebook(
    out: Annotated[str, typer.Argument(metavar="FILE", help="The notebook to write.")],
    profile: Annotated[
        str, typer.Option(help="The profile: engines and their settings; by default the machine's.")
    ] = "",
    engines: Engines = "",
    competition: Annotated[
        str, typer.Option(metavar="EDITION", help="The competition: year, slug, or a .toml file.")
    ] = "arc-prize-2026-arc-agi-2",
    budget: Annotated[str, typer.Option(help="Time of the scored run.")] = "10h",
    short_budget: Annotated[str, typer.Option(help="Time of a run that is not scored.")] = "15m",
    seed: Annotated[int, typer.Option(help="Decides every draw.")] = 0,
    machine: Annotated[
        str, typer.Option(help="cpu, NvidiaTeslaT4 or NvidiaL4; by default the engines decide.")
    ] = "",
    model: Annotated[
        str, typer.Option(metavar="SOURCE", help="datasets/OWNER/SLUG, models/..., or inside.")
    ] = "",
    wheels: Annotated[
        str,
        typer.Option(
            metavar="SOURCE", help="Wheels to install: datasets/OWNER/SLUG; by default the kit's."
        ),
    ] = "",
    lock: Annotated[
        str,
        typer.Option(metavar="FILE", help="The lock of the wheels; by default the engines decide."),
    ] = "",
) -> None:
    """Build one offline Kaggle notebook that holds the whole solver."""

    def action() -> None:
        with extra("notebook"):
            from submission.notebook.build import about_of, commit_of, write_notebook
            from submission.notebook.settings import Settings
        settings = Settings(
            profile=profile,
            engines=engines,
            competition=competition,
            budget=budget,
            short_budget=short_budget,
            seed=seed,
            machine=machine,
            model=model,
            wheels=wheels,
            lock=lock,
        )
        size = write_notebook(Path(out), settings, commit := commit_of())
        named = f", id {about_of(Path(out))['id']}" if Path(out).is_file() else ""
        typer.echo(f"{out}: {size / 1e3:.0f} kB, profile {profile}, commit {commit}{named}")

    finish(action)


_EXAMPLES = """
Examples:

  arcsub rehearse --tasks 20 --budget 5m

  arcsub rehearse runs/notebook.ipynb --fault kill=60s
"""


@app.command(epilog=_EXAMPLES)
def rehearse(
    ctx: typer.Context,
    notebook: Annotated[
        str | None, typer.Argument(metavar="FILE", help="A built notebook; built if left out.")
    ] = None,
    source: Annotated[
        str, typer.Option(metavar="SOURCE", help="The tasks in place of the hidden ones.")
    ] = "arc-agi-2:evaluation",
    solutions: Annotated[
        str | None, typer.Option(metavar="FILE", help="Solutions, to print the score.")
    ] = None,
    tasks: Annotated[
        str | None, typer.Option(metavar="N|IDS", help="Draw N tasks, or name them.")
    ] = None,
    budget: Annotated[str, typer.Option(help="Time of the notebook, in place of its own.")] = "5m",
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
        str, typer.Option(help="Packages: kit (those of the kit) or image (Kaggle's).")
    ] = "kit",
    cpus: Annotated[int, typer.Option(help="Cores that the notebook may use.")] = 4,
    memory_gb: Annotated[
        float, typer.Option("--memory", metavar="GB", help="Memory that the notebook may use.")
    ] = 30.0,
    wheels: Annotated[str | None, typer.Option(metavar="DIR", help="The wheels to attach.")] = None,
    model: Annotated[
        str | None, typer.Option(metavar="DIR", help="The model to attach; the kit's if left out.")
    ] = None,
    cold: Annotated[
        bool, typer.Option("--cold", help="Compile all kernels again, as a session does.")
    ] = False,
    gpus: Annotated[
        int, typer.Option(metavar="N", min=0, help="Processes on the processor in place of GPUs.")
    ] = 0,
    network: Annotated[bool, typer.Option("--network", help="Leave the network on.")] = False,
    at_least: Annotated[
        int, typer.Option(metavar="N", min=0, help="Fail unless so many tasks are solved.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Decides the draw of tasks.")] = 0,
    settings: Annotated[
        str, typer.Option(metavar="FILE", help="The ledger beside this file gets an entry.")
    ] = "kaggle.toml",
    open: Annotated[bool, typer.Option("--open", help="Open the report in the browser.")] = False,
) -> None:
    """Run the notebook as Kaggle would: offline, in its own /kaggle, within limits; score it."""

    def action() -> None:
        with extra("notebook"):
            from submission.rehearsal.options import Rehearsal
            from submission.rehearsal.rehearse import rehearse as run
        request = Rehearsal(**ctx.params)  # the fields are the options
        run(request, typer.echo)

    finish(action)


@app.command(epilog="Example:\n\n  arcsub preflight --profile cpu")
def preflight(
    profile: Annotated[str, typer.Option(help="The profile: engines and their settings.")] = "cpu",
    engines: Engines = "",
    model: Annotated[
        str | None, typer.Option(metavar="DIR", help="Language model, for profiles that use one.")
    ] = None,
) -> None:
    """Try all that a run needs on this machine: memory, devices, a tiny task by every engine."""

    def action() -> None:
        from solver.deadline import Deadline
        from solver.notebook.preflight import LONGEST_S, PreflightRequest
        from solver.notebook.preflight import preflight as check

        with TemporaryDirectory() as scratch:
            place = str(Path(model).resolve()) if model else ""
            request = PreflightRequest(profile, Path(scratch), engines, model=place)
            plan = check(request, Deadline.after(LONGEST_S), None, typer.echo)
        if plan.problems:
            raise RunError(
                f"problems: {len(plan.problems)}; a run continues without the parts that fail"
            )

    finish(action)
