"""The policy: everything is attempted, time goes where it pays, nothing runs past the end."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from solver.allocation import MAX_DEATHS, gain_rate, slice_for
from solver.config import Stage
from solver.cost import Work
from solver.schedule import WHOLE, Plan, Slot
from solver.simulate import Cost, simulate

HOURS_12 = 12 * 3600.0
BASE = Stage("base", max_slice_s=3600)


def test_longest_expected_first() -> None:
    plan = _plan([1, 5, 3], [BASE], workers=1)
    assert [slot.task for slot in _drain(plan, 100)] == [1, 2, 0]


def test_slices_divide_the_time_in_proportion_to_expected_costs() -> None:
    assert slice_for(expected=2, open_expected=8, left_s=100, workers=2) == 50
    assert slice_for(expected=8, open_expected=8, left_s=100, workers=2) == 200


def test_time_that_quick_tasks_leave_over_goes_to_the_rest() -> None:
    plan = _plan([1, 1, 1, 1], [BASE], workers=1)
    first = plan.take(100)
    assert first is not None
    assert first.slice_s == 25
    plan.done(first, "finished", 1, 0)
    second = plan.take(99)
    assert second is not None
    assert second.slice_s == 33


def test_stages_share_the_time_and_the_last_one_takes_what_is_left() -> None:
    plan = _plan([1], [Stage("a", share=1, max_slice_s=1e9), Stage("b", share=3)], workers=1)
    first = plan.take(100)
    assert first == Slot(0, 0, 0, 25)
    plan.done(first, "finished", 25, 0)
    assert plan.take(40) == Slot(0, 1, 0, 40)


def test_extra_passes_go_to_the_least_certain_task_and_grow() -> None:
    plan = _plan([1, 1], [BASE], workers=1)
    for slot in _drain(plan, 4):
        plan.done(slot, "sliced", slot.slice_s, confidence=0.9 if slot.task == 0 else 0.1)
    extra = plan.take(1000)
    assert extra is not None
    assert (extra.task, extra.pass_) == (1, 1)
    assert extra.slice_s == pytest.approx(3 * 4)  # its first slice was 4


def test_gain_falls_with_confidence_and_with_passes() -> None:
    plan = _plan([1, 1], [BASE], workers=1)
    for slot in _drain(plan, 4):
        plan.done(slot, "sliced", 1.0, confidence=0.5 * slot.task)
    sure, unsure = plan.tasks[1], plan.tasks[0]
    assert gain_rate(unsure, 0, 3) > gain_rate(sure, 0, 3)
    again = plan.take(1000)
    assert again is not None
    before = gain_rate(plan.tasks[again.task], 0, 3)
    plan.done(again, "sliced", again.slice_s, 0.0)
    assert gain_rate(plan.tasks[again.task], 0, 3) < before


def test_a_finished_engine_gets_no_further_pass_unless_it_repeats() -> None:
    for repeats, more in ((False, None), (True, Slot(0, 0, 1, 3.0))):
        plan = _plan([1], [Stage("e", repeats=repeats)], workers=1)
        (slot,) = _drain(plan, 50)
        assert plan.done(slot, "finished", 1.0, 0.0) is not repeats
        assert plan.take(50) == more


def test_an_error_exhausts_the_engine_and_three_deaths_end_the_task() -> None:
    plan = _plan([1], [Stage("a"), Stage("b")], workers=1)
    first = plan.take(100)
    assert first is not None
    assert plan.done(first, "error", 1, 0) is False
    deaths = 0
    while (slot := plan.take(100)) is not None:
        assert slot.stage == 1
        deaths += 1
        ended = plan.done(slot, "died", 1, 0)
        assert ended is (deaths == MAX_DEATHS)
    assert deaths == MAX_DEATHS


def test_a_death_does_not_buy_more_time() -> None:
    plan = _plan([1], [Stage("a", max_slice_s=2)], workers=1)
    slices = []
    while (slot := plan.take(100)) is not None:
        slices.append(slot.slice_s)
        plan.done(slot, "died", 2.5, 0)
    assert slices == pytest.approx([2, 2, 2])


def test_a_resumed_plan_repeats_no_pass() -> None:
    stages = [Stage("a"), Stage("b")]
    plan = _plan([3, 2, 1], stages, workers=1)
    plan.record(Slot(0, 0, 0, 1), "finished", 1)
    plan.record(Slot(1, 0, 0, 1), "sliced", 1)
    plan.resume([0.5, 0.5, 0.0])
    order = [(slot.task, slot.stage, slot.pass_) for slot in _drain(plan, 100)]
    assert order == [(2, 0, 0), (0, 1, 0), (1, 1, 0), (2, 1, 0), (1, 0, 1)]


@given(
    expected=st.lists(st.integers(1, 1000), min_size=1, max_size=30),
    workers=st.integers(1, 5),
    stages=st.integers(1, 3),
    usable=st.floats(0.5, 1000),
    seed=st.integers(0, 99),
    repeats=st.booleans(),
)
def test_no_job_ever_ends_late_and_no_worker_idles_while_work_remains(
    expected: list[int], workers: int, stages: int, usable: float, seed: int, repeats: bool
) -> None:
    rng = np.random.default_rng(seed)
    kinds = [Stage(str(i), repeats=repeats) for i in range(stages)]

    def cost(slot: Slot) -> float:
        return float(rng.lognormal(1, 2)) + 0.1

    run = simulate(_works(expected), kinds, workers, usable, cost)
    assert run.ended_s <= usable + 1e-6
    if repeats and len(expected) >= workers:
        assert run.ended_s >= 0.999 * usable


def lognormal(slot: Slot) -> float:
    return float(np.random.default_rng(slot.task).lognormal(5, 1.5))


LONG_RUNS: dict[str, tuple[Cost, dict[int, float]]] = {
    "constant": (lambda slot: 400.0, {}),
    "lognormal": (lognormal, {}),
    "one very slow task": (lambda slot: 1e6 if slot.task == 7 else 300.0, {}),
    "growing costs": (lambda slot: 30.0 * (1 + slot.task) * (1 + slot.pass_), {}),
    "half the workers lost midway": (lambda slot: 400.0, {0: HOURS_12 / 2, 1: HOURS_12 / 2}),
}


@pytest.mark.budget
@pytest.mark.parametrize("name", LONG_RUNS)
def test_a_12_hour_run_of_240_tasks_on_4_workers(name: str) -> None:
    cost, lost = LONG_RUNS[name]
    begun = time.perf_counter()
    stage = Stage("model", max_slice_s=HOURS_12, repeats=True)
    run = simulate(_works([100] * 240), [stage], 4, HOURS_12, cost, lost=lost)
    assert time.perf_counter() - begun < 1
    assert run.ended_s <= HOURS_12
    assert run.ended_s >= 0.999 * HOURS_12
    assert run.busy >= 0.99
    assert min(run.attempts) >= 1


ALL_THEN_EACH = (Stage("plain"), Stage("joint", share=2, whole=True), Stage("each", needs="joint"))


def test_a_whole_job_begins_at_once_beside_other_workers_and_holds_up_who_needs_it() -> None:
    plan = _plan([1, 1], ALL_THEN_EACH, workers=2)
    joint = plan.take(100)
    assert joint == Slot(WHOLE, 1, 0, 50)
    plain = _drain(plan, 100)
    assert [(slot.task, slot.stage) for slot in plain] == [(0, 0), (1, 0)]
    for slot in plain:
        plan.done(slot, "finished", 1, 0)
    assert plan.take(60) is None
    assert not plan.done(joint, "sliced", 50, 0)
    assert [(slot.task, slot.stage) for slot in _drain(plan, 50)] == [(0, 2), (1, 2)]


def test_a_lone_worker_takes_the_whole_job_in_its_turn() -> None:
    plan = _plan([1], ALL_THEN_EACH, workers=1)
    stages = []
    while (slot := plan.take(90)) is not None:
        stages.append(slot.stage)
        plan.done(slot, "finished", 1, 0)
    assert stages == [0, 1, 2]


def test_a_whole_job_that_keeps_dying_is_given_up_and_the_rest_goes_on() -> None:
    plan = _plan([1], ALL_THEN_EACH[1:], workers=2)
    for _ in range(MAX_DEATHS):
        slot = plan.take(90)
        assert slot is not None
        assert slot.task == WHOLE
        plan.done(slot, "died", 1, 0)
    each = plan.take(90)
    assert each is not None
    assert each.stage == 1


def test_a_resumed_plan_repeats_no_whole_job() -> None:
    plan = _plan([1], ALL_THEN_EACH[1:], workers=2)
    plan.record(Slot(WHOLE, 0, 0, 45), "sliced", 45)
    plan.resume([0.0])
    each = plan.take(90)
    assert each is not None
    assert each.task == 0


def _works(costs: Sequence[int]) -> list[Work]:
    return [Work(cost) for cost in costs]


def _plan(costs: Sequence[int], stages: Sequence[Stage], workers: int, devices: int = 0) -> Plan:
    return Plan(_works(costs), stages, workers, devices)


def _drain(plan: Plan, left_s: float) -> list[Slot]:
    """All slots that can be taken while none has ended."""
    slots = []
    while (slot := plan.take(left_s)) is not None:
        slots.append(slot)
    return slots
