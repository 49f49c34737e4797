"""The checks before a run: things that do not work here are left out, and named.

Every check does the real thing. Weights are hashed, each device computes in a separate process, and
a tiny task goes through a whole run with every engine. The result is a plan: the tasks to solve,
and the engines to use. There is a plan whatever fails; the last resort is only the synthesizer.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from solver.config import Config, load_config, ready_stages
from solver.deadline import Deadline, format_duration
from solver.engines import TAKE_A_MODEL
from solver.grid import DataError
from solver.kit import (
    CONFIG_FILE,
    IMPORTABLE,
    MODEL,
    files_digest,
    link_model,
    settle_times,
    weights_fault,
)
from solver.launch import follow, last_words
from solver.machine import available_mb, gpu_fault, gpus
from solver.notebook.mounts import CHALLENGES, INPUT, find
from solver.notebook.tiny_run import Trial, try_run
from solver.notebook.usable import SYNTH, Usable, needs_model
from solver.runtime.command import engine_names, exit_code

MIN_DISK_MB = 1000
LONGEST_S = 1800.0  # the budget of the checks if none is given
COMPILE_S, DEVICE_S = 900.0, 120.0
TRIAL_SHARE, TRIAL_S = 0.3, (3.0, 180.0)  # of the time left, and its bounds
LOADING_S = 600.0  # the upper bound if a language model must first be read from disk


@dataclass(frozen=True)
class PreflightRequest:
    """The notebook's settings for the run. An empty name means that the run needs no such thing.

    engines: names separated by commas; empty for the engines of the profile.
    model: a Kaggle source, or the absolute path of a local folder.
    digest: `files_digest` of the kit as it was built.
    scratch: a folder for the tiny task.
    run_s: seconds of the run, which may be too short for some engines.
    """

    profile: str
    scratch: Path
    engines: str = ""
    competition: str = ""
    challenges: str = CHALLENGES
    model: str = ""
    digest: str = ""
    working: Path = Path()
    input: Path = INPUT
    run_s: float = float("inf")


@dataclass
class _Checks:
    """The plan that the checks change, and the printing of their results."""

    request: PreflightRequest
    config: Config
    deadline: Deadline
    say: Callable[[str], None]
    plan: Usable = field(default_factory=Usable)

    def ok(self, name: str, text: str) -> None:
        self.say(f"  ok      {name:12} {text}")

    def problem(self, name: str, text: str) -> None:
        self.say(f"  PROBLEM {name:12} {text}")
        self.plan = replace(self.plan, problems=(*self.plan.problems, f"{name}: {text}"))

    def drop(self, engines: Sequence[str], why: str) -> None:
        self.plan = self.plan.without(engines, self.active())
        self.problem("engines", f"{why}: the run continues with {', '.join(self.plan.engines)}")

    def active(self) -> tuple[str, ...]:
        return self.plan.engines or tuple(stage.engine for stage in self.config.stages)


def preflight(
    request: PreflightRequest,
    deadline: Deadline,
    out: Path | None,
    say: Callable[[str], None] = print,
) -> Usable:
    """Run every check and return the plan; each check writes the plan to `out`.

    Raises `DataError` for an unknown profile or engine.
    """
    named = engine_names(request.engines or None)
    config = load_config(request.profile, request.run_s, engines=named)
    checks = _Checks(request, config, deadline, say)
    for check in CHECKS:
        check(checks)
        if out:
            checks.plan.write(out)
    return checks.plan


# --- files, memory and disk -----------------------------------------------------------


def _files(checks: _Checks) -> None:
    expected = checks.request.digest
    if not expected:
        return
    settle_times()
    if files_digest() == expected:
        checks.ok("kit", "every file is as the build left it")
    else:
        checks.say("  note    kit          edited since the build")


def _challenges(checks: _Checks) -> None:
    if not checks.request.competition:
        return
    competition, challenges = checks.request.competition, checks.request.challenges
    mount = find(f"competitions/{competition}", challenges, checks.request.input)
    if mount is None:
        checks.problem("competition", f"no {challenges} anywhere below {checks.request.input}")
        return
    checks.ok("competition", str(mount))
    checks.plan = replace(checks.plan, challenges=str(mount.path / challenges))


def _model(checks: _Checks) -> None:
    """Find the weights, compare their hash, and make the weights known to the engines."""
    wanting = [engine for engine in checks.active() if needs_model(engine)]
    named = set(wanting) <= set(TAKE_A_MODEL)  # an option names the model, if one is attached
    if not wanting or (named and not checks.request.model):
        return
    place = MODEL
    if checks.request.model:
        mounted = _attached(checks.request, checks.ok)
        if mounted is None:
            checks.drop(wanting, f"no model: {checks.request.model} is not mounted")
            return
        place = mounted
    if fault := weights_fault(place):
        checks.drop(wanting, fault)
        return
    checks.ok("weights", f"no other than their provenance says, in {place}")
    if named:
        checks.plan = replace(checks.plan, model=str(place))
    elif place != MODEL:
        link_model(place)


def _attached(request: PreflightRequest, ok: Callable[[str, str], None]) -> Path | None:
    """The folder in which the model is mounted, or the given local folder."""
    if Path(request.model).is_absolute():
        return Path(request.model)
    mount = find(request.model, CONFIG_FILE, request.input)
    if mount:
        ok("model", str(mount))
    return mount.path if mount else None


def _memory(checks: _Checks) -> None:
    """Plan fewer workers where memory is short.

    Few workers come near their limit, so a third of the limit is enough. The same holds for the
    limit of workers on devices.
    """
    config = checks.config
    available, wanted, each_mb = available_mb(), config.workers, config.memory_mb
    fitting = max(1, (3 * available - config.devices * config.device_memory_mb) // each_mb)
    text = f"{available / 1000:.1f} GB for {wanted} workers of at most {each_mb} MB"
    text += f" beside {config.devices} on devices" if config.devices else ""
    if available == 0 or fitting >= wanted:
        checks.ok("memory", text)
        return
    checks.problem("memory", f"{text}: only {fitting} will work")
    checks.plan = replace(checks.plan, workers=fitting)


def _disk(checks: _Checks) -> None:
    for place in (checks.request.working, checks.request.scratch):
        free = shutil.disk_usage(place).free / 1e6
        say = checks.ok if free >= MIN_DISK_MB else checks.problem
        say("disk", f"{free / 1000:.1f} GB free at {place.resolve()}")


# --- devices and engines --------------------------------------------------------------


def _devices(checks: _Checks) -> None:
    """Give the GPUs that compute to the stages for devices; without a GPU, drop these stages."""
    names = gpus()
    working = tuple(name for name in names if _computes(checks, name))
    stages = [stage for stage in checks.config.stages if stage.engine in checks.active()]
    on_devices = [stage.engine for stage in stages if stage.device]
    if names:
        checks.plan = replace(checks.plan, visible=working)
    if on_devices and not working:
        checks.drop(on_devices, "no GPU works" if names else "there is no GPU")
    elif on_devices and len(working) < checks.config.devices:
        checks.plan = replace(checks.plan, devices=len(working))
        checks.problem("GPUs", f"{len(working)} of {checks.config.devices} will work")


def _computes(checks: _Checks, gpu: str) -> bool:
    fault = gpu_fault(gpu, checks.deadline.slice(DEVICE_S))
    if fault:
        checks.problem(f"GPU {gpu}", fault)
    else:
        checks.ok(f"GPU {gpu}", "multiplies")
    return not fault


def _ready(checks: _Checks) -> None:
    """Drop engines whose first job would fail: by files, by libraries, or by too little memory."""
    profile, plan = checks.request.profile, checks.plan
    for engine in checks.active():
        model = (plan.model or None) if engine in TAKE_A_MODEL else None
        try:
            one = load_config(profile, 1.0, engines=(engine,), devices=plan.devices, model=model)
            ready_stages(one)
        except DataError as error:
            checks.drop([engine], str(error))


def _kernels(checks: _Checks) -> None:
    """Compile once the kernels that otherwise every worker would compile."""
    if SYNTH not in checks.active():
        return
    began = time.monotonic()
    words: list[str] = []
    command = [sys.executable, "-m", "solver.synth.compiling"]
    end = checks.deadline.slice(COMPILE_S)
    status = follow(command, end, IMPORTABLE, words.append)
    took = format_duration(time.monotonic() - began)
    if status == 0:
        checks.ok("kernels", f"compiled and loaded in {took}")
    else:
        checks.problem("kernels", f"not compiled after {took}: {last_words(words) or status}")


def _trial(checks: _Checks) -> None:
    """Solve a tiny task in a whole run with every engine; engines that fail are left out."""
    trial = _tried(checks)
    models = [engine for engine in checks.active() if needs_model(engine)]
    if trial.code != 0 and models:
        checks.drop(models, f"the tiny task's run failed ({trial.words})")
        trial = _tried(checks)
    if trial.code != 0:
        checks.problem("tiny task", f"its run failed; last said: {trial.words}")
        return
    for engine, why in trial.failed.items():
        checks.problem("tiny task", f"{engine} is left out: {why}")
    if trial.failed:
        checks.plan = checks.plan.without(trial.failed, checks.active())
    ended = [engine for engine in checks.active() if engine in trial.ended]
    late = [engine for engine in checks.active() if engine not in trial.ended]
    if ended:
        solved = "solved" if trial.solved else "not solved"
        checks.ok("tiny task", f"{solved} by a run with {', '.join(ended)}")
    if late:
        checks.say(f"  note    tiny task    {', '.join(late)} did not come to an end in its time")


def _tried(checks: _Checks) -> Trial:
    low, high = TRIAL_S[0], LOADING_S if checks.plan.model else TRIAL_S[1]
    seconds = min(high, max(low, TRIAL_SHARE * checks.deadline.left()))
    plan = replace(checks.plan, engines=checks.active(), workers=1)
    folder = checks.request.scratch / "trial"
    return try_run(folder, checks.request.profile, plan, seconds, checks.deadline)


CHECKS = (_files, _challenges, _model, _memory, _disk, _devices, _ready, _kernels, _trial)


def main() -> int:
    """The checks as a command: 0 if all is well, 1 if something is left out, 2 for bad input."""
    program = "python -m solver.notebook.preflight"
    parser = argparse.ArgumentParser(prog=program, description=__doc__)
    parser.add_argument("--profile", default="cpu")
    parser.add_argument("--scratch", type=Path, required=True, help="folder for the tiny task")
    parser.add_argument("--engines", default="", help="names, those of the profile if left out")
    parser.add_argument("--competition", default="", help="its slug")
    parser.add_argument("--challenges", default=CHALLENGES, help="the file of its tasks")
    parser.add_argument("--model", default="", help="datasets/..., models/..., a folder")
    parser.add_argument("--digest", default="", help="of the kit as it was built")
    parser.add_argument("--input", type=Path, default=INPUT, help="where sources are mounted")
    parser.add_argument("--working", type=Path, default=Path())
    parser.add_argument("--budget", type=float, default=LONGEST_S, help="seconds for the checks")
    parser.add_argument("--run-s", type=float, default=float("inf"), help="seconds the run has")
    parser.add_argument("--out", type=Path, help="file for the plan")
    given = vars(parser.parse_args())
    deadline, out = Deadline.after(given.pop("budget")), given.pop("out")
    plans = []
    code = exit_code(
        "preflight", lambda: plans.append(preflight(PreflightRequest(**given), deadline, out))
    )
    return code or int(bool(plans[0].problems))


if __name__ == "__main__":
    sys.exit(main())
