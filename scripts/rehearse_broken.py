"""Rehearse notebooks that a user has broken, and demand answers and the whole budget of each.

    PYTHONPATH=. python scripts/rehearse_broken.py
    PYTHONPATH=. python scripts/rehearse_broken.py --cases selector,torn-wheel --budget 2m

The developer's side refuses broken profiles. Each broken profile is therefore written into a
finished notebook, as by a user who edits a version on Kaggle. Every rehearsal must leave a valid
submission with answers of the synthesizer, and use nine tenths of the budget. Some of the tasks are
noise, so work never runs out.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import nbformat

from solver.data.journal import JOURNAL_FILE, replay
from solver.deadline import parse_duration
from solver.grid import DataError, Grid
from solver.notebook.usable import SYNTH
from solver.runtime.run import RunError
from submission.notebook.build import build, commit_of
from submission.notebook.settings import Settings
from submission.rehearsal.options import Rehearsal
from submission.rehearsal.rehearse import EXECUTED, rehearse
from submission.rehearsal.timeline import times_of
from tests.notebook.test_session import hard_tasks
from tests.runs import language_profile, torn_model, torn_wheel, write_challenges

PROFILE = "own"
STAGE = '[[stages]]\nengine = "synth"\n'
PROFILES = {
    "syntax": 'workers = 2\n[[stages]\nengine = "synth"\n',
    "selector": f'selector = "nope"\n{STAGE}',
    "ensemble": f'ensemble = "nope"\n{STAGE}',
    "grace": f'grace_s = "2"\n{STAGE}',
    "workers-text": f'workers = "two"\n{STAGE}',
    "workers-below-0": f"workers = -3\n{STAGE}",
    "memory": f"memory_mb = -5\n{STAGE}",
    "share": f"{STAGE}share = 0\n",
    "slice": f"{STAGE}max_slice_s = -1\n",
    "needs": f'{STAGE}needs = "nosuch"\n',
    "whole": f'{STAGE}whole = "yes"\n',
    "engine": '[[stages]]\nengine = "synht"\n',
}
TORN = ("torn-wheel", "torn-model")
CASES = (*PROFILES, *TORN)
MIN_SHARE = 0.9  # of the budget


def main() -> int:
    """Print a line for each case. Returns 1 if a case failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default=",".join(CASES), help="some of them, by commas")
    parser.add_argument("--budget", default="60s", help="of each notebook")
    parser.add_argument("--out", type=Path, default=Path("runs/broken"))
    options = parser.parse_args()
    failed = []
    for case in options.cases.split(","):
        print(f"\n=== {case}", flush=True)
        fault = _fault(case, options.out.resolve() / case, options.budget)
        print(f"=== {case}: {fault or 'answers, and the whole budget'}", flush=True)
        failed += [case] if fault else []
    print(f"\nfailed: {', '.join(failed)}" if failed else "\nnothing broken cost the run")
    return 1 if failed else 0


def _fault(case: str, out: Path, budget: str) -> str:
    """The fault of a case's rehearsal; empty if there is none."""
    out.mkdir(parents=True, exist_ok=True)
    tasks = hard_tasks()
    source = str(write_challenges(out / "challenges.json", tasks))
    solutions = out / "solutions.json"
    solutions.write_text(json.dumps({t.id: [_upside_down(g) for g in t.tests] for t in tasks}))
    notebook, model, wheels = _broken(case, out)
    nbformat.write(notebook, out / "notebook.ipynb")
    request = Rehearsal(
        source,
        str(out / "notebook.ipynb"),
        str(solutions),
        budget=budget,
        out=str(out / "rehearsed"),
        settings=str(out / "kaggle.toml"),
        wheels=wheels,
        model=model,
        at_least=1,
    )
    try:
        rehearse(request, print)
    except (DataError, RunError) as error:
        return str(error)
    return _shortfall(out / "rehearsed", parse_duration(budget))


def _upside_down(grid: Grid) -> Any:
    """The right output of a toy task; for noise, an arbitrary output."""
    return grid[::-1].tolist()


def _shortfall(out: Path, budget_s: float) -> str:
    """The shortfall of a finished rehearsal in answers or used budget; empty if there is none."""
    found = replay(out / "kaggle" / "working" / JOURNAL_FILE).candidates
    if not any(candidate.engine == SYNTH for candidate in found):
        return "no answer of the synthesizer"
    used_s = sum(times_of(out / EXECUTED).stages.values())
    if used_s < MIN_SHARE * budget_s:
        return f"only {used_s:.0f} s of {budget_s:.0f} are used"
    return ""


def _broken(case: str, out: Path) -> tuple[Any, str | None, str | None]:
    """A case's notebook, and the attached folders of model and wheels; None for no folder."""
    if case == "torn-model":
        model = out / "model"
        torn_model(model)
        profile = language_profile(out / f"{PROFILE}.toml", SYNTH)
        settings = Settings(str(profile), model="datasets/someone/model", machine="cpu")
        return _built(settings), str(model), None
    if case == "torn-wheel":
        wheels, lock = out / "wheels", out / "lock.txt"
        torn_wheel(wheels, lock)
        settings = Settings(wheels="datasets/someone/wheels", lock=str(lock), engines=SYNTH)
        return _built(settings), None, str(wheels)
    good = out / f"{PROFILE}.toml"
    good.write_text(STAGE)
    notebook = _built(Settings(str(good)))
    (cell,) = (c for c in notebook.cells if f"profiles/{PROFILE}.toml\n" in c.source)
    cell.source = cell.source.partition("\n")[0] + "\n" + PROFILES[case]
    return notebook, None, None


def _built(settings: Settings) -> Any:
    return nbformat.reads(build(settings, commit_of()), as_version=4)


if __name__ == "__main__":
    sys.exit(main())
