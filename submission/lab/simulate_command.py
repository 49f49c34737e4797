"""The command `arcsub simulate`: expected scores of a run with other time and machines."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product

from rich.table import Table

from solver.config import MAX_WORKERS, Stage
from solver.deadline import Budget, duration_of, format_duration
from solver.grid import DataError
from submission.lab.playback import ALL_ENGINES, MOMENTS, Machine, Played, play
from submission.lab.tables import percent, sure, table_of, wide_console
from submission.runs.history import History, read_history
from submission.runs.reselect import answer_run, judge


def run_simulate(
    folder: str,
    *,
    source: str | None = None,
    solutions: str | None = None,
    budget: str | None = None,
    workers: str | None = None,
    devices: str | None = None,
    on_devices: str | None = None,
    speed: str | None = None,
    seed: int = 0,
) -> None:
    """Print the expected score over time for every combination of budgets, workers and devices.

    Args:
        budget: budgets separated by commas; the run's own if left out.
        workers: numbers of workers separated by commas; the run's own if left out.
        devices: numbers of devices separated by commas; the run's own if left out.
        on_devices: names of the engines that run on devices, separated by commas; the same
            engines as in the recording if left out.
        speed: a factor, or `engine=factor,...`.
        seed: the seed of the bootstrap.

    Raises `DataError` for a folder without a run, or for an option with an invalid value.
    """
    run = read_history(folder, source, solutions)
    budgets = [duration_of("--budget", text) for text in _parts(budget)] or [run.config.budget_s]
    places = [_number("--workers", text) for text in _parts(workers)] or [run.config.workers]
    extra = [_number("--devices", text, 0) for text in _parts(devices)] or [run.config.devices]
    factors = _speed(speed, [stage.engine for stage in run.config.stages])
    moved = _on_devices(run, on_devices, min(extra))
    console = wide_console()
    console.print(*_recorded(run, seed), "", sep="\n")
    machines = (
        Machine(budget_s, cores, factors, gpus, moved)
        for budget_s, cores, gpus in product(budgets, places, extra)
    )
    played = [play(run, machine) for machine in machines]
    console.print(_table(played, run.solutions is not None, seed))
    console.print(_shares(played, run.config.stages))


def _recorded(run: History, seed: int) -> Iterator[str]:
    """Facts about the recording: its contents, its score, and its score when simulated."""
    config = run.config
    yield (
        f"recorded  {run.folder}: {len(run.tasks)} tasks, {format_duration(config.budget_s)}, "
        f"{config.workers} workers, {len(run.replay.jobs)} jobs"
    )
    for engine in (stage.engine for stage in config.stages if not stage.whole):
        tried = sum(any(job.record.engine == engine for job in jobs) for jobs in run.jobs)
        if tried < len(run.tasks):
            yield f"          {engine} was tried on {tried} tasks only: on others it finds nothing"
    devices = frozenset(stage.engine for stage in config.stages if stage.device)
    own = play(run, Machine(config.budget_s, config.workers, {}, config.devices, devices))
    if run.solutions is None:
        yield "          no solutions are known: scores are the mean confidence in the answers"
    else:
        was = judge(answer_run(run), run.pool(), run.truth()).two
        yield f"score     {sure(was, seed)} %"
        yield f"          {percent(own.scores[-1])} % when simulated with its own settings"


def _table(played: Sequence[Played], scored: bool, seed: int) -> Table:
    table = table_of("Expected score over time", "budget", "workers", "devices")
    what = "pass@2 %" if scored else "confidence %"
    for name in ("busy %", "jobs a task", *(f"{part:.0%}" for part in MOMENTS[:-1]), what):
        table.add_column(name, justify="right")
    for one in played:
        tries = one.simulation.attempts
        table.add_row(
            format_duration(one.machine.budget_s),
            str(one.machine.workers),
            str(one.machine.devices),
            f"{100 * one.simulation.busy:.0f}",
            f"{sum(tries) / len(tries):.1f}",
            *(percent(scores) for scores in one.scores[:-1]),
            sure(one.scores[-1], seed),
        )
    table.caption = (
        "Columns in per cent of the budget: the score by then. A recording contains only "
        "what its run found, so a real run scores at least as much."
    )
    return table


def _shares(played: Sequence[Played], stages: Sequence[Stage]) -> Table:
    """The part of the time that each stage may use, and the parts that the stage used.

    The time is that of all cores, or of all devices.
    """
    table = table_of("Time by stage", "budget", "workers", "devices", "stage")
    for name in ("share %", "used %", "first passes %", "further %", "loading %"):
        table.add_column(name, justify="right")
    for one in played:
        machine = one.machine
        usable_s = Budget.of(machine.budget_s).usable
        for at, stage in enumerate(stages):
            device = stage.engine in machine.on_devices
            beside = [s.share for s in stages if (s.engine in machine.on_devices) == device]
            whole_s = usable_s * one.places[device]
            used = one.simulation.used[at]
            parts = (used.all_s, used.first_s, used.further_s, used.loading_s)
            table.add_row(
                format_duration(machine.budget_s),
                str(machine.workers),
                str(machine.devices),
                stage.engine,
                f"{100 * stage.share / sum(beside):.1f}",
                *(f"{100 * seconds / whole_s:.1f}" for seconds in parts),
            )
    table.caption = (
        "In per cent of the time of all cores, or of all devices. First passes and loading keep to "
        "the share of what the stages before leave; what all of them leave goes to further passes."
    )
    return table


def _parts(text: str | None) -> list[str]:
    return [part.strip() for part in text.split(",")] if text else []


def _number(option: str, text: str, least: int = 1) -> int:
    number = int(text) if text.isdecimal() and len(text) < 10 else -1
    if not least <= number <= MAX_WORKERS:
        raise DataError(f"{option} {text}: must be {least} to {MAX_WORKERS}")
    return number


def _on_devices(run: History, text: str | None, fewest: int) -> frozenset[str]:
    """The engines that run on devices: the named engines, else the same as in the recording.

    Raises `DataError` for an unknown engine, or if `fewest` devices are 0 and engines need them.
    """
    engines = [stage.engine for stage in run.config.stages]
    if text is None:
        chosen = {stage.engine for stage in run.config.stages if stage.device}
    else:
        chosen = set(_parts(text))
    unknown = sorted(chosen - set(engines))
    if unknown:
        raise DataError(f"--on-devices {unknown[0]}: the run's engines are {', '.join(engines)}")
    if chosen and not fewest:
        raise DataError(f"--devices 0: {', '.join(sorted(chosen))} would run nowhere")
    return frozenset(chosen)


def _speed(text: str | None, engines: Sequence[str]) -> dict[str, float]:
    """Factors by engine from `2` or `model=20,synth=1`. Raises `DataError` for other texts."""
    factors = {}
    for part in _parts(text):
        engine, _, value = part.rpartition("=")
        if engine and engine not in engines:
            raise DataError(f"--speed {part}: the run's engines are {', '.join(engines)}")
        factors[engine or ALL_ENGINES] = _factor(part, value)
    return factors


def _factor(part: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 1e-6 <= value <= 1e6:
        raise DataError(f"--speed {part}: must be a factor such as 2, or ENGINE=20")
    return value
