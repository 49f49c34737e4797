"""The ladder over sub-engines: shares of time, laziness, candidates."""

import math

import numpy as np
import pytest

from solver.deadline import Deadline, FakeClock
from solver.grid import Pair, Task, freeze
from solver.synth import engine
from solver.synth.program import INPUT, Call, Solution

GRID = freeze(np.array([[1, 2]], dtype=np.uint8))
TASK = Task("t", (Pair(GRID, GRID),), (GRID, GRID))


def fake(clock, step, log, name, solutions):
    def search(task, deadline):
        for number in range(1000):
            clock.sleep(step)
            log.append(name)
            yield Solution(INPUT, (GRID, GRID), 8.0) if number in solutions else None

    return search


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def log(monkeypatch, clock):
    names: list[str] = []
    searches = {
        "quick": fake(clock, 0.1, names, "quick", {2}),
        "slow": fake(clock, 0.5, names, "slow", {0}),
    }
    monkeypatch.setattr(engine, "subengine", searches.__getitem__)
    return names


def test_time_is_shared_evenly(clock, log):
    list(engine.ladder(TASK, Deadline.after(10.0, clock), ("quick", "slow")))
    assert log.count("quick") * 0.1 == pytest.approx(log.count("slow") * 0.5, abs=0.6)
    assert clock.now() < 10.6


def test_solutions_carry_their_engine_and_time(clock, log):
    found = list(engine.ladder(TASK, Deadline.after(3.0, clock), ("quick", "slow")))
    assert {one.engine for one in found} == {"quick", "slow"}
    assert all(0 < one.seconds <= 3.0 for one in found)


def test_an_engine_that_ends_leaves_its_time_to_others(clock, log, monkeypatch):
    def none(task, deadline):
        return iter(())

    slow = engine.subengine("slow")
    monkeypatch.setattr(engine, "subengine", {"none": none, "slow": slow}.__getitem__)
    list(engine.ladder(TASK, Deadline.after(5.0, clock), ("none", "slow")))
    assert log.count("slow") == 10


def test_one_candidate_for_each_test_input(clock, log, monkeypatch):
    monkeypatch.setattr(engine, "available", lambda: ("slow",))
    first = list(engine.synth(TASK, Deadline.after(1.0, clock), None))
    assert [c.test for c in first] == [0, 1]
    assert {(c.engine, c.view, c.program) for c in first} == {("synth", "slow", "input")}
    assert first[0].logprob == pytest.approx(-8.0 * math.log(2))


def test_every_sub_engine_can_be_imported():
    assert set(engine.available()) <= set(engine.SUBENGINES)
    for name in engine.available():
        assert callable(engine.subengine(name))


def test_preparing_compiles_everything_a_search_needs():
    events = pytest.importorskip("numba.core.event")

    class Listener(events.Listener):
        def __init__(self):
            self.compiled = []

        def on_start(self, event):
            self.compiled.append(str(event.data["dispatcher"]))

        def on_end(self, event):
            pass

    engine.prepare()
    listener = Listener()
    with events.install_listener("numba:compile", listener):
        turned = freeze(np.array([[2, 1], [0, 1]], dtype=np.uint8))
        task = Task("t", (Pair(turned, turned), Pair(GRID, GRID)), (turned,))
        for found in engine.ladder(task, Deadline.after(2.0), engine.available()):
            assert isinstance(found.solution.program, Call)
    assert listener.compiled == []
