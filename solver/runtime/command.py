"""The solve command behind both entry points: `python -m solver` and `arcsub solve`."""

from __future__ import annotations

import os
import platform
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from solver.config import Config, load_config, ready_stages
from solver.data.arcio import Source, pick_source, read_leniently, with_solutions
from solver.data.journal import JOURNAL_FILE
from solver.data.submissions import KITS, HandIn, Score, read_submission, score
from solver.deadline import (
    MAX_DURATION_S,
    STEP_S,
    Budget,
    Deadline,
    duration_of,
    format_duration,
)
from solver.grid import DataError
from solver.machine import idle_gpus
from solver.runtime.board import Snapshot
from solver.runtime.run import Result, RunError, solve, stop_on_signals
from solver.say import hold_standard_streams, say

BUDGET = "5m"  # the budget if no budget is given
MAX_STEPS = round(MAX_DURATION_S / STEP_S)


@dataclass(frozen=True)
class SolveRequest:
    """The user's request; the fields are the command's options."""

    source: str
    solutions: str | None = None
    budget: str | None = None
    tasks: str | None = None
    engines: str | None = None
    workers: int | None = None
    seed: int = 0
    run: str | None = None
    resume: bool = False
    profile: str = "cpu"
    model: str | None = None
    devices: int | None = None
    salvage: bool = False
    steps: int | None = None
    hand_in: str | None = None
    attempts: int = KITS.attempts


@dataclass(frozen=True)
class Report:
    """The report of a finished command. `idle`: the way to use GPUs that the run left idle."""

    result: Result
    source: Source
    config: Config
    folder: Path
    score: Score | None
    idle: str = ""

    def lines(self) -> list[str]:
        """The summary: the kinds of answers, the score and its circumstances, the files."""
        states = Counter(answer.state for answer in self.result.answers.values())
        answered = ", ".join(f"{n} {state}" for state, n in states.most_common())
        lines = [f"answered  {len(self.source.tasks)} tasks: {answered}"]
        if self.score:
            lines += [f"score     {score_text(self.score)}", f"          {self._circumstances()}"]
        if self.result.errors:
            first = next(iter(self.result.errors.values()))[0]
            lines.append(f"trouble   {len(self.result.errors)} tasks, see run.log: {first}")
        if self.source.faults:
            first = next(iter(self.source.faults.values()))
            lines.append(
                f"salvaged  {len(self.source.faults)} tasks that break the format: {first}"
            )
        notes = (*self.result.notes, *([self.idle] if self.idle else []))
        lines += [f"note      {text}" for text in notes]
        return [*lines, f"files     {self.result.submission}, {JOURNAL_FILE}, run.log"]

    def _circumstances(self) -> str:
        config = self.config
        devices = f" and {config.devices} devices" if config.devices else ""
        steps = f"{config.steps} steps" if config.steps else ""
        budget = steps or format_duration(config.budget_s)
        return (
            f"{self.source.name}, {len(self.source.tasks)} tasks, budget "
            f"{budget}, {config.workers} workers{devices} on "
            f"{os.cpu_count()} cores ({platform.machine()}), seed {config.seed}"
            f"{'; ' if self.source.version else ''}{self.source.version}"
        )


def score_text(result: Score) -> str:
    """Both averages, with the counts behind them."""
    hits = [hit for task in result.solved.values() for hit in task]
    return (
        f"{result.by_task:.1%} of {len(result.solved)} tasks (mean over tasks), "
        f"{result.by_output:.1%} of {len(hits)} outputs ({sum(hits)} right)"
    )


def run_solve(request: SolveRequest, started: float, watch: Callable[[Snapshot], None]) -> Report:
    """Read, solve, score. Raises `DataError` for bad input, `RunError` for a failed end."""
    hold_standard_streams()
    with stop_on_signals() as stop:
        source = _source(request)
        budget_s = duration_of("--budget", BUDGET if request.budget is None else request.budget)
        config = load_config(
            request.profile,
            budget_s,
            engines=engine_names(request.engines),
            workers=request.workers,
            devices=request.devices,
            seed=request.seed,
            model=request.model,
            steps=_steps(request.steps),
        )
        config = ready_stages(config)
        folder = Path(request.run) if request.run else new_folder(request)
        result = solve(
            source,
            config,
            folder,
            resume=request.resume,
            started=started,
            stop=_guarded(stop, request, started, budget_s),
            watch=watch,
            hand_in=HandIn(Path(request.hand_in), request.attempts) if request.hand_in else None,
        )
    known = source.solutions
    scored = score(read_submission(result.submission), known) if known else None
    on_cores = not config.devices and any(stage.engine == "model" for stage in config.stages)
    return Report(result, source, config, folder, scored, idle_gpus() if on_cores else "")


def exit_code(name: str, action: Callable[[], None]) -> int:
    """Run a command and return its exit code: 0, 2 for bad input, or 1 for a failed end.

    An exit code other than 0 comes with one line on standard error.
    """
    try:
        action()
    except DataError as error:
        say(f"{name}: {_one_line(error)}", error=True)
        return 2
    except RunError as error:
        say(f"{name}: {_one_line(error)}", error=True)
        return 1
    return 0


def _source(request: SolveRequest) -> Source:
    whole = read_leniently(request.source)
    source = pick_source(whole, request.tasks, request.seed, request.salvage)
    return with_solutions(source, request.solutions)


def engine_names(text: str | None) -> tuple[str, ...]:
    """The named engines, each once; no names mean the engines of the profile.

    Raises `DataError` for a text without a name.
    """
    if text is None:
        return ()
    engines = tuple(dict.fromkeys(filter(None, map(str.strip, text.split(",")))))
    if not engines:
        raise DataError("--engines names no engine")
    return engines


def _steps(steps: int | None) -> int:
    if steps is not None and not 1 <= steps <= MAX_STEPS:
        raise DataError(f"--steps {steps}: must be 1 to {MAX_STEPS}")
    return steps or 0


def _guarded(
    stop: Callable[[], bool], request: SolveRequest, started: float, budget_s: float
) -> Callable[[], bool]:
    """`stop`, which is also true at the end of the budget in a run in steps with a time budget."""
    if request.steps is None or request.budget is None:
        return stop
    end = Deadline(started + Budget.of(budget_s).usable)
    return lambda: stop() or end.passed()


def new_folder(request: SolveRequest) -> Path:
    """`runs/<source>`, or `runs/<source>-2` and so on if the folder before contains a run.

    Raises `DataError` if the request is to continue a run.
    """
    if request.resume:
        raise DataError("--resume needs --run, the folder of the run to continue")
    stem = re.sub(r"[^\w.-]+", "-", Path(request.source).stem)[:80].strip("-.") or "run"
    names = (Path("runs") / (stem if i == 1 else f"{stem}-{i}") for i in range(1, 10**6))
    return next(folder for folder in names if not (folder / JOURNAL_FILE).exists())


def _one_line(error: Exception) -> str:
    return " ".join(str(error).encode("utf-8", "backslashreplace").decode().split())
