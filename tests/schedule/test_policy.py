"""The policy: everything is attempted, time goes where it pays, nothing runs past the end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from solver.config import Stage
from solver.schedule.backlog import WHOLE, Slot
from solver.schedule.cost import Work
from solver.schedule.first_passes import MAX_DEATHS, gain_rate, slice_for
from solver.schedule.policy import Policy
from solver.schedule.simulate import Cost, World, simulate
from tests.control import yardstick_s

HOURS_12 = 12 * 3600.0
BASE = Stage("base", max_slice_s=3600)


def test_longest_expected_first() -> None:
    plan = _plan([1, 5, 3], [BASE], workers=1)
    assert [slot.task for slot in _drain(plan, 100)] == [1, 2, 0]


def test_slices_divide_the_time_in_proportion_to_expected_costs() -> None:
    assert slice_for(weight=2, open_weight=8, part_s=200) == 50
    assert slice_for(weight=8, open_weight=8, part_s=200) == 200


def test_less_than_in_proportion_to_what_was_expected_whatever_jobs_have_shown() -> None:
    """Square roots of costs decide: 1, 4, 9 and 16 have 1, 2, 3 and 4 tenths of the time."""
    costs = [1, 4, 9, 16] + [1] * 10
    plan = _plan(costs, [replace(BASE, flexible=True)], workers=1)
    left = 200.0
    for task, slice_s in (
        (3, 40),
        (2, 30),
        (1, 20),
        (0, 10),
        *((task, 10) for task in range(4, 14)),
    ):
        slot = take(plan, left)
        assert slot is not None
        assert slot.task == task
        assert slot.slice_s == pytest.approx(slice_s)
        plan.done(slot, "sliced", slot.slice_s, 0.0)
        left -= slot.slice_s


def test_a_flexible_engine_has_less_time_for_what_is_settled() -> None:
    stages = [Stage("quick"), replace(BASE, engine="flexible", flexible=True)]
    plan = _plan([1, 1, 1, 1], stages, workers=1)
    for slot in [take(plan, 200) for _ in range(4)]:
        assert slot is not None
        plan.done(slot, "finished", 0.0, {1: 0.99, 2: 0.5}.get(slot.task, 0.0))
    slices = {}
    left = 275.0
    for _ in range(4):
        slot = take(plan, left)
        assert slot is not None
        slices[slot.task] = slot.slice_s
        left -= slot.slice_s
    assert slices == pytest.approx({0: 100, 1: 25, 2: 50, 3: 100})


def test_time_that_quick_tasks_leave_over_goes_to_the_rest() -> None:
    plan = _plan([1, 1, 1, 1], [BASE], workers=1)
    first = take(plan, 100)
    assert first is not None
    assert first.slice_s == 25
    plan.done(first, "finished", 1, 0)
    second = take(plan, 99)
    assert second is not None
    assert second.slice_s == 33


def test_stages_share_the_time_and_the_last_one_takes_what_is_left() -> None:
    plan = _plan([1], [Stage("a", share=1, max_slice_s=1e9), Stage("b", share=3)], workers=1)
    first = take(plan, 100)
    assert first == Slot(0, 0, 0, 25)
    plan.done(first, "finished", 25, 0)
    assert take(plan, 40) == Slot(0, 1, 0, 40)


def test_extra_passes_go_to_the_least_certain_task_and_grow() -> None:
    plan = _plan([1, 1], [BASE], workers=1)
    for slot in _drain(plan, 4):
        plan.done(slot, "sliced", slot.slice_s, confidence=0.9 if slot.task == 0 else 0.1)
    extra = take(plan, 1000)
    assert extra is not None
    assert (extra.task, extra.pass_) == (1, 1)
    assert extra.slice_s == pytest.approx(3 * 2)  # its first slice was 2


def test_gain_falls_with_confidence_and_with_passes() -> None:
    plan = _plan([1, 1], [BASE], workers=1)
    for slot in _drain(plan, 4):
        plan.done(slot, "sliced", 1.0, confidence=0.5 * slot.task)
    sure, unsure = plan.backlog.tasks[1], plan.backlog.tasks[0]
    assert gain_rate(unsure, 0, 3) > gain_rate(sure, 0, 3)
    again = take(plan, 1000)
    assert again is not None
    before = gain_rate(plan.backlog.tasks[again.task], 0, 3)
    plan.done(again, "sliced", again.slice_s, 0.0)
    assert gain_rate(plan.backlog.tasks[again.task], 0, 3) < before


def test_a_finished_engine_gets_no_further_pass_unless_it_repeats() -> None:
    for repeats, more in ((False, None), (True, Slot(0, 0, 1, 3.0))):
        plan = _plan([1], [Stage("e", repeats=repeats)], workers=1)
        (slot,) = _drain(plan, 50)
        assert plan.done(slot, "finished", 1.0, 0.0) is not repeats
        assert take(plan, 50) == more


def test_an_error_exhausts_the_engine_and_three_deaths_end_the_task() -> None:
    plan = _plan([1], [Stage("a"), Stage("b")], workers=1)
    first = take(plan, 100)
    assert first is not None
    assert plan.done(first, "error", 1, 0) is False
    deaths = 0
    while (slot := take(plan, 100)) is not None:
        assert slot.stage == 1
        deaths += 1
        ended = plan.done(slot, "died", 1, 0)
        assert ended is (deaths == MAX_DEATHS)
    assert deaths == MAX_DEATHS


def test_a_death_does_not_buy_more_time() -> None:
    plan = _plan([1], [Stage("a", max_slice_s=2)], workers=1)
    slices = []
    while (slot := take(plan, 100)) is not None:
        slices.append(slot.slice_s)
        plan.done(slot, "died", 2.5, 0)
    assert slices == pytest.approx([2, 2, 2])


def test_a_resumed_plan_repeats_no_pass() -> None:
    stages = [Stage("a"), Stage("b")]
    plan = _plan([3, 2, 1], stages, workers=1)
    plan.backlog.record(Slot(0, 0, 0, 1), "finished", 1)
    plan.backlog.record(Slot(1, 0, 0, 1), "sliced", 1)
    plan.backlog.resume([0.5, 0.5, 0.0])
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

    run = simulate(_works(expected), kinds, workers, usable, World(cost))
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
    begun = time.process_time()
    stage = Stage("model", max_slice_s=HOURS_12, repeats=True)
    run = simulate(_works([100] * 240), [stage], 4, HOURS_12, World(cost, lost=lost))
    assert time.process_time() - begun < 10 * yardstick_s()
    assert run.ended_s <= HOURS_12
    assert run.ended_s >= 0.999 * HOURS_12
    assert run.busy >= 0.99
    assert min(run.attempts) >= 1


ALL_THEN_EACH = (Stage("plain"), Stage("joint", share=2, whole=True), Stage("each", needs="joint"))


def test_a_whole_job_begins_at_once_beside_other_workers_and_holds_up_who_needs_it() -> None:
    plan = _plan([1, 1], ALL_THEN_EACH, workers=2)
    joint = take(plan, 100)
    assert joint == Slot(WHOLE, 1, 0, 50)
    plain = _drain(plan, 100)
    assert [(slot.task, slot.stage) for slot in plain] == [(0, 0), (1, 0)]
    for slot in plain:
        plan.done(slot, "finished", 1, 0)
    assert take(plan, 60) is None
    assert not plan.done(joint, "sliced", 50, 0)
    assert [(slot.task, slot.stage) for slot in _drain(plan, 50)] == [(0, 2), (1, 2)]


def test_a_lone_worker_takes_the_whole_job_in_its_turn() -> None:
    plan = _plan([1], ALL_THEN_EACH, workers=1)
    stages = []
    while (slot := take(plan, 90)) is not None:
        stages.append(slot.stage)
        plan.done(slot, "finished", 1, 0)
    assert stages == [0, 1, 2]


def test_a_whole_job_that_keeps_dying_is_given_up_and_the_rest_goes_on() -> None:
    plan = _plan([1], ALL_THEN_EACH[1:], workers=2)
    for _ in range(MAX_DEATHS):
        slot = take(plan, 90)
        assert slot is not None
        assert slot.task == WHOLE
        plan.done(slot, "died", 1, 0)
    each = take(plan, 90)
    assert each is not None
    assert each.stage == 1


def test_a_resumed_plan_repeats_no_whole_job() -> None:
    plan = _plan([1], ALL_THEN_EACH[1:], workers=2)
    plan.backlog.record(Slot(WHOLE, 0, 0, 45), "sliced", 45)
    plan.backlog.resume([0.0])
    each = take(plan, 90)
    assert each is not None
    assert each.task == 0


# --- places, settled and hopeless tasks, memory, costs ------------------------------------

CORES = Stage("synth", max_slice_s=1e9)
DEVICES = Stage("model", max_slice_s=1e9, device=True, ladder=("batch", "views"), settled=0.9)


def test_cores_and_devices_take_from_their_own_stages_and_share_no_time() -> None:
    plan = _plan([1, 1], [CORES, DEVICES], workers=1, devices=2)
    assert take(plan, 100) == Slot(0, 0, 0, 50)
    assert take(plan, 100, device=True) == Slot(0, 1, 0, 100)
    assert take(plan, 100, device=True) == Slot(1, 1, 0, 100)
    assert take(plan, 100, device=True) is None
    assert take(plan, 50) == Slot(1, 0, 0, 50)


def test_a_stage_leaves_out_what_another_has_settled_until_nothing_else_is_left() -> None:
    plan = _plan([1, 1, 1], [CORES, DEVICES], workers=1, devices=1)
    for confidence in (0.95, 0.5, 0.5):
        slot = take(plan, 90)
        assert slot
        plan.done(slot, "finished", 1, confidence)
    first, second, third = (take(plan, 90, device=True) for _ in range(3))
    assert first == Slot(1, 1, 0, 45)  # the time of two, not of three
    assert second
    assert second.task == 2
    assert third == Slot(0, 1, 0, 90)


def test_a_large_task_that_no_views_agree_on_comes_last() -> None:
    plan = _plan([1, 1, 9], [BASE], workers=1)
    for slot in _drain(plan, 11):
        plan.done(slot, "sliced", 1.0, confidence=0.1 if slot.task == 2 else 0.6)
    assert plan.backlog.tasks[2].hopeless(0)
    order = [slot.task for slot in _drain(plan, 1000)]
    assert sorted(order[:2]) == [0, 1]
    assert order[2] == 2
    plan.backlog.tasks[2].confidence = 0.5  # two views that agree are a reason to go on
    assert not plan.backlog.tasks[2].hopeless(0)


def test_news_of_another_engine_moves_a_task_that_waits_for_more() -> None:
    plan = _plan([1, 1], [CORES, DEVICES], workers=1, devices=1)
    for _ in range(2):
        slot = take(plan, 10, device=True)
        assert slot
        plan.done(slot, "sliced", 5, 0.1 * slot.task)
    assert plan.backlog.tasks[0].confidence < plan.backlog.tasks[1].confidence
    slot = take(plan, 10)
    assert slot
    assert slot.task == 0
    plan.done(slot, "finished", 1, 0.8)
    order = [take(plan, 10, device=True) for _ in range(2)]
    assert [slot and slot.task for slot in order] == [1, 0]


def test_memory_that_ran_out_costs_no_pass_and_lowers_the_rung() -> None:
    plan = _plan([5], [DEVICES], workers=0, devices=1)
    rungs = []
    while (slot := take(plan, 100, device=True)) is not None:
        rungs.append(slot.rung)
        assert (slot.pass_, slot.slice_s) == (0, 100)
        plan.done(slot, "memory", 1, 0)
    assert rungs == [0, 1, 2]
    assert plan.backlog.tasks[0].deaths == 0
    assert plan.backlog.ended(0)


def test_a_rung_that_fitted_is_where_tasks_as_large_begin() -> None:
    plan = _plan([4, 4, 9, 2], [DEVICES], workers=0, devices=1)
    plan.backlog.record(Slot(0, 0, 0, 10, rung=0), "memory", 1)
    assert [plan.backlog.rung(task, 0) for task in range(4)] == [1, 0, 0, 0]
    plan.backlog.record(Slot(0, 0, 0, 10, rung=1), "finished", 1)
    assert [plan.backlog.rung(task, 0) for task in range(4)] == [1, 1, 1, 0]


def test_an_extra_pass_without_memory_is_tried_again_with_the_same_slice() -> None:
    stage = Stage("model", ladder=("batch",))
    plan = _plan([1], [stage], workers=1)
    slots: list[tuple[int, float, int]] = []
    for outcome in ("sliced", "memory", "sliced"):
        slot = take(plan, 60 if slots else 2)
        assert slot
        plan.done(slot, outcome, 1, 0)
        slots.append((slot.pass_, slot.slice_s, slot.rung))
    assert slots == [(0, 2, 0), (1, 6, 0), (1, 6, 1)]


def test_a_job_that_the_end_of_the_run_stopped_waits_again() -> None:
    plan = _plan([1], [BASE], workers=1)
    slot = take(plan, 10)
    assert slot
    assert not plan.done(slot, "stopped", 1, 0)
    again = _plan([1], [BASE], workers=1)
    again.backlog.record(slot, "stopped", 1)
    again.backlog.resume([0.0])
    assert take(again, 10) == slot


def test_measured_costs_set_the_order_the_slices_and_the_end() -> None:
    # By the prior a cell to write costs four tokens; here it costs a hundred.
    works = TASKS_240[:64]
    costs = [0.001 * work.tokens + 0.1 * work.area for work in works]
    plan = Policy(works, [BASE], workers=2)
    assert plan.first_passes_s(50) == 50  # unknown: all there is
    order: list[int] = []
    forecasts = {}
    while (slot := take(plan, 1e6)) is not None:
        order.append(slot.task)
        plan.done(slot, "finished", costs[slot.task], 0.5)
        forecasts[len(order)] = plan.first_passes_s(1e6)
    for jobs in (16, 32):
        rest = sum(costs[task] for task in order[jobs:])
        assert forecasts[jobs] == pytest.approx(rest / 2, rel=0.25)
    assert forecasts[64] == 0
    early, late = ([costs[task] for task in part] for part in (order[1:8], order[32:]))
    assert np.corrcoef(late, range(32))[0, 1] < -0.9  # the longest first
    assert min(early) < 0.9 * max(costs)  # as one could not know before
    ((engine, rates),) = plan.backlog.calibrated()
    assert (engine, rates.jobs) == ("base", 64)
    assert rates.cell > 30 * rates.token
    assert plan.backlog.calibrated() == []


def test_no_task_is_left_with_next_to_nothing_by_what_others_cost() -> None:
    works = [Work(10, 100 * i) for i in range(1, 9)] + [Work(10, 1)]
    plan = Policy(works, [BASE], workers=1)
    for slot in _drain(plan, 100)[:8]:
        plan.done(slot, "finished", 0.1 * works[slot.task].area, 0.5)
    queue = plan.backlog.first[0]
    assert queue.rates.seconds(works[8]) < 0.02 * queue.rates.seconds(works[3])
    assert queue.expected(8) > 0.1 * queue.rates.seconds(works[3])


def test_a_place_that_is_given_up_counts_no_more() -> None:
    plan = _plan([1, 1, 1, 1], [BASE], workers=2)
    first = take(plan, 80)
    assert first == Slot(0, 0, 0, 40)
    plan.give_up(False)
    plan.done(first, "sliced", 20, 0)
    assert take(plan, 60) == Slot(1, 0, 0, 20)
    joint = Stage("joint", whole=True, device=True)
    plan = _plan([1], [joint, Stage("each", needs="joint")], workers=1, devices=1)
    assert take(plan, 60) is None
    plan.give_up(True)
    assert take(plan, 60) == Slot(0, 1, 0, 60)


def _of_the_synthesizer(slot: Slot) -> float:
    return float(np.random.default_rng(slot.task).lognormal(2, 1.5))


TASKS_240 = [
    Work(int(tokens), int(area))
    for tokens, area in zip(
        np.random.default_rng(0).lognormal(7, 0.8, 240),
        np.random.default_rng(1).integers(1, 900, 240),
        strict=True,
    )
]


@pytest.mark.budget
def test_a_12_hour_run_of_240_tasks_on_4_devices_and_16_cores() -> None:
    """Settled tasks, and tasks whose views agree, leave their time to the others.

    A task that is too large for a device is tried with less memory, a hopeless task only once.
    """
    stages = [
        Stage("synth", max_slice_s=600),
        Stage("model", 1, 3600, device=True, repeats=True, settled=0.9, ladder=("batch", "views")),
    ]
    rng = np.random.default_rng(2)
    settled = set(rng.choice(240, 60, replace=False).tolist())
    agreed = set(rng.choice(sorted(set(range(240)) - settled), 60, replace=False).tolist())
    median = float(np.median([work.tokens + 4 * work.area for work in TASKS_240]))
    large = {i for i, work in enumerate(TASKS_240) if work.tokens + 4 * work.area > 2.1 * median}

    def cost(slot: Slot) -> float:
        work = TASKS_240[slot.task]
        needs = 20 + 0.15 * work.tokens + 0.3 * work.area
        if slot.stage == 0:
            return _of_the_synthesizer(slot)
        return 0.4 * needs if slot.task in agreed else 1e9

    def fits(slot: Slot) -> bool:
        return slot.stage == 0 or slot.rung > 0 or TASKS_240[slot.task].tokens < 5000

    def confidence(slot: Slot) -> float:
        if slot.task in settled or (slot.task in agreed and slot.stage == 1 and fits(slot)):
            return 0.95
        return 0.1 if slot.task in large else 0.4

    begun = time.process_time()
    run = simulate(
        TASKS_240,
        stages,
        16,
        HOURS_12,
        # One device dies midway.
        World(cost, confidence, fits, lost={19: HOURS_12 / 2}),
        devices=4,
    )
    assert time.process_time() - begun < 30 * yardstick_s()
    assert run.ended_s <= HOURS_12
    on_devices = [job for job in zip(run.jobs, run.slots, strict=True) if job[0][0] >= 16]
    assert {slot.stage for _, slot in on_devices} == {1}
    busy = sum(end - start for (_, start, end), _ in on_devices)
    assert busy >= 0.99 * 3.5 * HOURS_12
    count, seconds = np.zeros(240), np.zeros(240)
    for (_, start, end), slot in on_devices:
        count[slot.task] += 1
        seconds[slot.task] += end - start
    open_ = set(range(240)) - settled - agreed
    assert all(count[task] >= 1 for task in open_ | agreed)
    unsure = seconds[sorted(open_ - large)].mean()
    assert unsure > 3 * seconds[sorted(agreed)].mean()
    assert seconds[sorted(settled)].sum() < 0.02 * busy
    assert all(count[task] <= 3 for task in open_ & large)  # a rung down, and no more
    too_large = [i for i, work in enumerate(TASKS_240) if work.tokens >= 5000 and i not in settled]
    assert too_large
    for task in too_large:
        rungs = [slot.rung for _, slot in on_devices if slot.task == task]
        assert rungs[-1] == 1
        assert rungs.count(0) <= 1


def _works(costs: Sequence[int]) -> list[Work]:
    return [Work(cost) for cost in costs]


def _plan(costs: Sequence[int], stages: Sequence[Stage], workers: int, devices: int = 0) -> Policy:
    return Policy(_works(costs), stages, workers, devices)


def take(plan: Policy, left_s: float, device: bool = False) -> Slot | None:
    """The next step of a worker that has every engine."""
    step = plan.take(left_s, device)
    assert step is None or isinstance(step, Slot)
    return step


def _drain(plan: Policy, left_s: float) -> list[Slot]:
    """All slots that can be taken while none has ended."""
    slots = []
    while (slot := take(plan, left_s)) is not None:
        slots.append(slot)
    return slots
