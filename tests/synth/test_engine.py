"""The ladder over sub-engines: shares of time, laziness, candidates, and the same result again."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from numba.core import event

from solver.data.arcio import read_source
from solver.deadline import Deadline, FakeClock, StepClock
from solver.engines import Context
from solver.grid import Pair, Task, as_grid, key
from solver.synth.engine import SUBENGINES, Found, prepare, run_all, subengines, synth
from solver.synth.interleave import Search
from solver.synth.interpret import run
from solver.synth.program import INPUT, Solution, parse

GRID = as_grid([[1, 2]])
TASK = Task("t", (Pair(GRID, GRID),), (GRID, GRID))


def fake(clock: FakeClock, step_s: float, log: list[str], name: str, hit: int) -> Search:
    """A sub-engine that takes `step_s` a step, a thousand steps, and finds something at `hit`."""

    def search(task: Task, deadline: Deadline) -> Iterator[Solution | None]:
        for number in range(1000):
            clock.sleep(step_s)
            log.append(name)
            yield Solution(INPUT, (GRID, GRID), 8.0) if number == hit else None

    return search


def test_time_is_shared_evenly() -> None:
    clock, log = FakeClock(), list[str]()
    searches = {
        "quick": fake(clock, 0.1, log, "quick", 2),
        "slow": fake(clock, 0.5, log, "slow", 0),
    }
    list(run_all(TASK, Deadline.after(10.0, clock), searches))
    assert log.count("quick") * 0.1 == pytest.approx(log.count("slow") * 0.5, abs=0.6)
    assert clock.now() < 10.6


def test_solutions_carry_their_engine_and_time() -> None:
    clock, log = FakeClock(), list[str]()
    searches = {
        "quick": fake(clock, 0.1, log, "quick", 2),
        "slow": fake(clock, 0.5, log, "slow", 0),
    }
    found = list(run_all(TASK, Deadline.after(3.0, clock), searches))
    assert {one.engine for one in found} == {"quick", "slow"}
    assert all(0 < one.seconds <= 3.0 for one in found)


def test_an_engine_that_ends_leaves_its_time_to_others() -> None:
    clock, log = FakeClock(), list[str]()
    searches: dict[str, Search] = {
        "none": lambda task, deadline: iter(()),
        "slow": fake(clock, 0.5, log, "slow", 0),
    }
    list(run_all(TASK, Deadline.after(5.0, clock), searches))
    assert log.count("slow") == 10


def broken(error: Exception) -> Search:
    """A sub-engine that finds one answer and then fails."""

    def search(task: Task, deadline: Deadline) -> Iterator[Solution | None]:
        yield Solution(INPUT, (GRID, GRID), 8.0)
        raise error

    return search


def until_it_fails(deadline: Deadline, searches: dict[str, Search]) -> tuple[list[str], Exception]:
    """The sub-engines that found something, and what `ladder` raised in the end."""
    found = []
    try:
        for one in run_all(TASK, deadline, searches):
            found.append(one.engine)
    except (ValueError, MemoryError) as error:
        return found, error
    pytest.fail("nothing was raised")


@pytest.mark.parametrize("seconds", [5.0, 1e6])
def test_a_failure_ends_one_sub_engine_and_is_raised_after_the_others(seconds: float) -> None:
    clock, log = FakeClock(), list[str]()
    searches = {
        "first": broken(ValueError("first")),
        "second": broken(KeyError("second")),
        "slow": fake(clock, 0.5, log, "slow", 8),
    }
    found, error = until_it_fails(Deadline.after(seconds, clock), searches)
    assert sorted(found) == ["first", "second", "slow"]
    assert len(log) == min(1000, seconds / 0.5)
    assert str(error) == "first"
    assert error.__notes__ == ["in the search 'first'"]


def test_a_failed_search_gives_its_memory_back() -> None:
    class Space:
        """An object that a search keeps alive."""

    alive = weakref.WeakSet[Space]()

    def search(task: Task, deadline: Deadline) -> Iterator[Solution | None]:
        space = Space()
        alive.add(space)
        yield None
        raise MemoryError

    def watch(task: Task, deadline: Deadline) -> Iterator[Solution | None]:
        assert not alive
        yield Solution(INPUT, (GRID, GRID), 8.0)

    deadline = Deadline.after(5.0, FakeClock())  # no time passes, so the first runs to its end
    found, error = until_it_fails(deadline, {"a": search, "b": watch})
    assert found == ["b"]
    assert isinstance(error, MemoryError)


def test_one_candidate_for_each_test_input() -> None:
    found = Found("slow", Solution(INPUT, (GRID, GRID), 8.0), seconds=0.5)
    candidates = list(found.candidates(TASK))
    assert [c.test for c in candidates] == [0, 1]
    assert {(c.engine, c.view, c.program) for c in candidates} == {("synth", "slow", "input")}
    assert candidates[0].logprob == pytest.approx(-8.0 * math.log(2))


def training(*ids: str) -> list[Task]:
    return [task for task in read_source("arc-agi-1:training").tasks if task.id in ids]


def test_the_same_budget_of_steps_gives_the_same_candidates() -> None:
    prepare()
    for task in training("a85d4709", "3c9b0459", "d511f180"):
        runs = []
        for _ in range(2):
            deadline = Deadline.after(3000, StepClock())
            runs.append([c.identity for c in synth(task, deadline, Context(0, 0))])
        assert runs[0] == runs[1]
        assert runs[0]


def test_a_candidate_carries_its_program_and_every_program_fits_every_demonstration() -> None:
    prepare()
    for task in training("a85d4709", "3c9b0459", "d511f180", "007bbfb7"):
        for candidate in synth(task, Deadline.after(2.0), Context(0, 0)):
            assert candidate.program
            program = parse(candidate.program)
            assert str(program) == candidate.program
            answer = run(program, task.tests[candidate.test])
            assert answer is not None
            assert key(answer) == key(candidate.grid)
            for pair in task.train:
                output = run(program, pair.input)
                assert output is not None
                assert key(output) == key(pair.output)


class Compiled(event.Listener):
    """Counts what numba compiles while it is installed."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def on_start(self, event: Any) -> None:
        self.names.append(str(event.data["dispatcher"]))

    def on_end(self, event: Any) -> None:
        """Nothing to do."""


def test_preparing_compiles_everything_a_search_needs() -> None:
    prepare()
    listener = Compiled()
    with event.install_listener("numba:compile", listener):
        for task in training("a85d4709", "3c9b0459", "007bbfb7", "d511f180", "e9afcf9a"):
            list(run_all(task, Deadline.after(2.0), subengines(SUBENGINES)))
    assert listener.names == []
