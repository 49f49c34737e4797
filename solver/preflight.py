"""Before the run: does what it needs work here? What does not is left out, and said.

Every check does the real thing: weights are hashed, each device computes in a process of its
own, a tiny task goes through the whole of a run with every engine. The result is a plan: what
to solve, with which engines. Whatever fails, there is a plan; the synthesizer alone is the last.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from solver.command import engine_names, exit_code
from solver.config import load_config
from solver.deadline import Deadline, format_duration
from solver.engines import ENGINES
from solver.jsonio import atomic_write, load_json
from solver.kit import (
    IMPORTABLE,
    MODEL,
    files_digest,
    link_model,
    settle_times,
    weights_fault,
)
from solver.launch import follow, last_words
from solver.machine import available_mb, gpu_fault, gpus
from solver.mounts import CHALLENGES, INPUT, find
from solver.trial import Trial, try_run

SYNTH = "synth"
MIN_DISK_MB = 1000
LONGEST_S = 1800.0  # where nothing is said
COMPILE_S, DEVICE_S = 900.0, 120.0
TRIAL_SHARE, TRIAL_S = 0.3, (3.0, 180.0)  # of the time left, and its bounds


@dataclass(frozen=True)
class Request:
    """What the run is to be: the notebook's settings. An empty name means that it needs none.

    `engines`: their names separated by commas, or none for those of the profile. `digest`:
    `files_digest` of the kit as it was built. `scratch`: a folder for the tiny task.
    """

    profile: str
    scratch: Path
    engines: str = ""
    competition: str = ""
    model: str = ""
    digest: str = ""
    working: Path = Path()
    input: Path = INPUT


@dataclass(frozen=True)
class Plan:
    """What the checks found the run can use.

    `engines` empty: those of the profile. `devices`: the GPUs that work, by number.
    `problems`: what is left out, and why.
    """

    challenges: str = ""
    engines: tuple[str, ...] = ()
    workers: int | None = None
    devices: tuple[int, ...] | None = None
    problems: tuple[str, ...] = ()

    def without_models(self, engines: Sequence[str]) -> Plan:
        """The plan with those of `engines` that need no model."""
        kept = tuple(e for e in engines if not needs_model(e))
        return replace(self, engines=kept or (SYNTH,))

    def write(self, path: Path) -> None:
        atomic_write(path, json.dumps(asdict(self)))


def read_plan(path: Path) -> Plan:
    """The plan that a preflight left, as far as it came. Raises `DataError`."""
    value: dict[str, Any] = load_json(path)
    lists = {k: tuple(v) for k, v in value.items() if isinstance(v, list)}
    return Plan(**value | lists)


def needs_model(engine: str) -> bool:
    """True for an engine that loads a model."""
    return ENGINES.get(engine, engine).startswith("solver.lm.")


@dataclass
class _Checks:
    """The plan as the checks change it, and what they say."""

    request: Request
    engines: tuple[str, ...]
    workers: int
    memory_mb: int
    deadline: Deadline
    say: Callable[[str], None]
    plan: Plan = Plan()

    def ok(self, name: str, text: str) -> None:
        self.say(f"  ok      {name:12} {text}")

    def problem(self, name: str, text: str) -> None:
        self.say(f"  PROBLEM {name:12} {text}")
        self.plan = replace(self.plan, problems=(*self.plan.problems, f"{name}: {text}"))

    def drop_models(self, why: str) -> None:
        self.plan = self.plan.without_models(self.engines)
        self.problem("engines", f"{why}: the run goes on with {', '.join(self.plan.engines)}")

    def active(self) -> tuple[str, ...]:
        return self.plan.engines or self.engines


def preflight(
    request: Request, deadline: Deadline, out: Path | None, say: Callable[[str], None] = print
) -> Plan:
    """Run every check and return the plan; `out` gets it after each check.

    Raises `DataError` for an unknown profile or engine.
    """
    config = load_config(request.profile, 1.0, engines=engine_names(request.engines or None))
    engines = tuple(stage.engine for stage in config.stages)
    checks = _Checks(request, engines, config.workers, config.memory_mb, deadline, say)
    for check in (_files, _challenges, _model, _memory, _disk, _devices, _kernels, _trial):
        check(checks)
        if out:
            checks.plan.write(out)
    return checks.plan


# --- what is there --------------------------------------------------------------------


def _files(checks: _Checks) -> None:
    expected = checks.request.digest
    if not expected:
        return
    settle_times()
    if files_digest() == expected:
        checks.ok("kit", "every file is as it was built")
    else:
        checks.say("  note    kit          edited since it was built")


def _challenges(checks: _Checks) -> None:
    if not checks.request.competition:
        return
    mount = find(f"competitions/{checks.request.competition}", CHALLENGES, checks.request.input)
    if mount is None:
        checks.problem("competition", f"no {CHALLENGES} anywhere below {checks.request.input}")
        return
    checks.ok("competition", str(mount))
    checks.plan = replace(checks.plan, challenges=str(mount.path / CHALLENGES))


def _model(checks: _Checks) -> None:
    """Find the weights, put them where the engines look for them, compare their hash."""
    wanting = [engine for engine in checks.active() if needs_model(engine)]
    if not wanting:
        return
    if checks.request.model:
        mount = find(checks.request.model, "config.json", checks.request.input)
        if mount is None:
            checks.drop_models(f"no model: {checks.request.model} is not mounted")
            return
        checks.ok("model", str(mount))
        link_model(mount.path)
    if fault := weights_fault(MODEL):
        checks.drop_models(fault)
    else:
        checks.ok("weights", f"as their provenance says, in {MODEL}")


def _memory(checks: _Checks) -> None:
    """Fewer workers where memory is short. Few come near their limit: a third of it will do."""
    available = available_mb()
    fitting = max(1, 3 * available // checks.memory_mb)
    text = (
        f"{available / 1000:.1f} GB for {checks.workers} workers of at most {checks.memory_mb} MB"
    )
    if available == 0 or fitting >= checks.workers:
        checks.ok("memory", text)
        return
    checks.problem("memory", f"{text}: only {fitting} will work")
    checks.plan = replace(checks.plan, workers=fitting)


def _disk(checks: _Checks) -> None:
    for place in (checks.request.working, checks.request.scratch):
        free = shutil.disk_usage(place).free / 1e6
        say = checks.ok if free >= MIN_DISK_MB else checks.problem
        say("disk", f"{free / 1000:.1f} GB free at {place.resolve()}")


# --- what works -----------------------------------------------------------------------


def _devices(checks: _Checks) -> None:
    number = gpus()
    if not number:
        return
    working = []
    for device in range(number):
        if fault := gpu_fault(device, checks.deadline.slice(DEVICE_S)):
            checks.problem(f"GPU {device}", fault)
        else:
            checks.ok(f"GPU {device}", "multiplies")
            working.append(device)
    checks.plan = replace(checks.plan, devices=tuple(working))
    if not working and any(map(needs_model, checks.active())):
        checks.drop_models("no GPU works")


def _kernels(checks: _Checks) -> None:
    """Compile once what every worker would compile by itself."""
    if SYNTH not in checks.active():
        return
    began = time.monotonic()
    words: list[str] = []
    code = "from solver.synth.engine import prepare; prepare()"
    end = checks.deadline.slice(COMPILE_S)
    status = follow([sys.executable, "-c", code], end, IMPORTABLE, words.append)
    took = format_duration(time.monotonic() - began)
    if status == 0:
        checks.ok("kernels", f"compiled and loaded in {took}")
    else:
        checks.problem("kernels", f"not compiled after {took}: {last_words(words) or status}")


def _trial(checks: _Checks) -> None:
    """A tiny task through a whole run with every engine; what fails at it is left out."""
    trial = _tried(checks)
    if not trial.solved and any(map(needs_model, checks.active())):
        checks.drop_models(f"the tiny task is not solved ({trial.words})")
        trial = _tried(checks)
    if not trial.solved:
        checks.problem("tiny task", f"not solved in its time; last said: {trial.words}")
        return
    for engine, why in trial.failed.items():
        checks.problem("tiny task", f"{engine} is left out: {why}")
    kept = tuple(engine for engine in checks.active() if engine not in trial.failed)
    if trial.failed:
        checks.plan = replace(checks.plan, engines=kept or (SYNTH,))
    checks.ok("tiny task", f"solved by a run with {', '.join(kept)}")


def _tried(checks: _Checks) -> Trial:
    low, high = TRIAL_S
    seconds = min(high, max(low, TRIAL_SHARE * checks.deadline.left()))
    folder, profile = checks.request.scratch / "trial", checks.request.profile
    return try_run(folder, profile, checks.active(), 1, seconds, checks.deadline)


def main() -> int:
    """The checks as a command: 0 if all is well, 1 if something is left out, 2 for bad input."""
    parser = argparse.ArgumentParser(prog="python -m solver.preflight", description=__doc__)
    parser.add_argument("--profile", default="cpu")
    parser.add_argument("--scratch", type=Path, required=True, help="folder for the tiny task")
    parser.add_argument("--engines", default="", help="names, those of the profile if left out")
    parser.add_argument("--competition", default="", help="its slug")
    parser.add_argument("--model", default="", help="datasets/OWNER/SLUG or models/...")
    parser.add_argument("--digest", default="", help="of the kit as it was built")
    parser.add_argument("--input", type=Path, default=INPUT, help="where sources are mounted")
    parser.add_argument("--working", type=Path, default=Path())
    parser.add_argument("--budget", type=float, default=LONGEST_S, help="seconds the run has left")
    parser.add_argument("--out", type=Path, help="file for the plan")
    given = vars(parser.parse_args())
    deadline, out = Deadline.after(given.pop("budget")), given.pop("out")
    plans = []
    code = exit_code("preflight", lambda: plans.append(preflight(Request(**given), deadline, out)))
    return code or int(bool(plans[0].problems))


if __name__ == "__main__":
    sys.exit(main())
