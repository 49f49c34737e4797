"""Rehearse notebooks on the packages of Kaggle's image, and demand answers of their models.

    PYTHONPATH=. python scripts/rehearse_image.py
    PYTHONPATH=. python scripts/rehearse_image.py --runs nvarc,nvarc-plain --budget 12m

`cpu` is the default notebook with the kit's own model. `nvarc`, `poe` and `marc` get a small
language model, made here, and the processor in place of GPUs. These models are quantized to four
bits, as in their profiles; the models of `NAME-plain` are not quantized. All runs start with
uncompiled kernels, unless `--warm` is given. On two cores, five minutes then pass before a run
begins, and the kit's model takes part in runs of ten.

Needs Python 3.12, the needs of `arcsub rehearse`, and 8 GB for the image. All but `cpu` need the
wheels of `arcsub wheels build` too.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from solver.data.journal import JOURNAL_FILE, Replay, replay
from solver.grid import Grid, Task, same
from solver.kit import ROOT
from submission.notebook.build import commit_of, write_notebook
from submission.notebook.settings import Settings
from submission.rehearsal.options import Rehearsal
from submission.rehearsal.rehearse import rehearse
from tests.lm.small import copies, make_model
from tests.runs import write_challenges

STYLES = {"nvarc": "chat", "poe": "io", "marc": "chat"}
PLAIN = "-plain"
RUNS = ("cpu", *(name + kind for name in STYLES for kind in ("", PLAIN)))
LENGTH = 8192  # tokens of the profiles' prompts
SOURCE = "datasets/someone/small"
TASKS = 3
REHEARSED = "rehearsed"  # folder of the rehearsal, in the folder of a run
GIVEN_UP = re.compile(r": not as .*; now as .*")  # logged for a fallback


@dataclass(frozen=True)
class Answers:
    """The answers of a run's model.

    tasks: number of tasks.
    answered: number of tasks with an answer of the model.
    right: number of tasks with a right answer of the model.
    faults: deviations from the profile when the model was loaded, and errors of jobs.
    """

    tasks: int
    answered: int
    right: int
    faults: tuple[str, ...]


def main() -> int:
    """Print a line for each run. Returns 1 if a run failed.

    A run fails if its model has no answer, was not loaded as its profile says, or had a failed job.
    A run also fails if its rehearsal does not name Python 3.12.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", default=",".join(RUNS), help="some of them, by commas")
    parser.add_argument("--budget", default="18m", help="of each notebook")
    parser.add_argument("--out", type=Path, default=Path("runs/image"))
    parser.add_argument("--warm", action="store_true", help="with kernels compiled before")
    options = parser.parse_args()
    out, failed = options.out.resolve(), []
    for run in options.runs.split(","):
        print(f"\n=== {run}", flush=True)
        said = _rehearsed(run, out / run, options)
        engine = "model" if run == "cpu" else "llm"
        found = _answers(out / run, engine)
        right = f"{found.answered} of {found.tasks} tasks answered by {engine}, {found.right} right"
        print(f"=== {run}: {right}{''.join(f'; {fault}' for fault in found.faults)}", flush=True)
        if not found.answered or found.faults or "python 3.12" not in said:
            failed.append(run)
    print(f"\nfailed: {', '.join(failed)}" if failed else "\nevery model answered")
    return 1 if failed else 0


def _rehearsed(run: str, out: Path, options: argparse.Namespace) -> str:
    """Build a run's notebook and rehearse it. Returns the output of the rehearsal."""
    out.mkdir(parents=True, exist_ok=True)
    tasks = tuple(map(copies, range(TASKS)))
    source = write_challenges(out / "challenges.json", tasks)
    solutions = out / "solutions.json"
    solutions.write_text(json.dumps({t.id: [g.tolist() for g in t.tests] for t in tasks}))
    notebook, model = out / "notebook.ipynb", None
    settings = Settings()
    if run != "cpu":
        name = run.removesuffix(PLAIN)
        model = _model(out.parent / f"model-{STYLES[name]}", STYLES[name])
        settings = Settings(profile=_profile(name, run, out), model=SOURCE)
    write_notebook(notebook, settings, commit_of())
    request = Rehearsal(
        str(source),
        str(notebook),
        solutions=str(solutions),
        budget=options.budget,
        out=str(out / REHEARSED),
        settings=str(out / "kaggle.toml"),
        standin="image",
        model=model,
        cold=not options.warm,
        gpus=0 if run == "cpu" else 1,
    )
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        print(line, flush=True)

    rehearse(request, say)
    return "\n".join(said)


def _profile(name: str, run: str, out: Path) -> str:
    """The profile's name, or the path of a copy of the profile without quantization."""
    if run == name:
        return name
    text = (ROOT / "solver" / "profiles" / f"{name}.toml").read_text("utf-8")
    path = out / f"{run}.toml"
    path.write_text(text.replace('quantization = "nf4"', 'quantization = "none"'), "utf-8")
    return str(path)


def _model(folder: Path, style: str) -> str:
    """The folder of a small model that copies grids; the model is made once."""
    if not (folder / "model.safetensors").exists():
        folder.mkdir(parents=True, exist_ok=True)
        make_model(folder, style, length=LENGTH)
    return str(folder)


def _answers(out: Path, engine: str) -> Answers:
    """The answers of an engine, from the journal and the log of a rehearsal."""
    working = out / REHEARSED / "kaggle" / "working"
    journal = replay(working / JOURNAL_FILE) if (working / JOURNAL_FILE).exists() else Replay()
    tasks = tuple(map(copies, range(TASKS)))
    grids = {task.id: list(_grids(journal, task, engine)) for task in tasks}
    right = sum(any(same(grid, task.tests[0]) for grid in grids[task.id]) for task in tasks)
    log = (working / "run.log").read_text("utf-8") if (working / "run.log").exists() else ""
    failed = [(job.error or "").strip().splitlines() for job in journal.jobs if job.error]
    faults = *(GIVEN_UP.findall(log)), *(lines[-1] for lines in failed if lines)
    return Answers(len(tasks), sum(map(bool, grids.values())), right, tuple(dict.fromkeys(faults)))


def _grids(journal: Replay, task: Task, engine: str) -> Iterator[Grid]:
    for candidate in journal.candidates:
        if candidate.engine == engine and candidate.task == task.id:
            yield candidate.grid


if __name__ == "__main__":
    sys.exit(main())
