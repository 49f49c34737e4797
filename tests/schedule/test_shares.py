"""Shares of the time are kept, whatever jobs cost, however late they end and however engines load;
engines are loaded ahead of their jobs, in time or not at all; slices are of use."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from solver.config import Stage
from solver.schedule.backlog import Slot
from solver.schedule.cost import CALIBRATE_AT, Work
from solver.schedule.first_passes import grace_s, useful_slice_s, worth_loading
from solver.schedule.loading import Load
from solver.schedule.policy import Policy
from solver.schedule.shares import divide
from solver.schedule.simulate import World, simulate
from tests.runs import examples

TOLERANCE = 0.03  # of the time of all places of a kind
MANY = 40  # tasks a worker: the last of them end at the same time but for a fraction of that


# --- the account ----------------------------------------------------------------------


def test_what_a_stage_leaves_over_goes_to_those_after_it() -> None:
    def parts(taken: list[float], waiting: list[bool]) -> list[float]:
        return divide([1, 1, 2], taken, waiting, [1, 1, 1], 100)

    assert parts([0, 0, 0], [True] * 3) == [25, 25, 50]
    assert parts([20, 0, 0], [True] * 3) == [25, 25, 50]  # its part is the same while it uses it
    assert parts([10, 0, 0], [False, True, True]) == [25, 30, 60]
    assert parts([40, 0, 0], [False, True, True]) == [25, 20, 40]  # it was late by 15


def test_a_stage_keeps_its_part_while_it_uses_it() -> None:
    """Two stages of share 1 have half of 584 s each; the first had two thirds."""
    stages = [Stage("a", max_slice_s=1e9), Stage("b", max_slice_s=1e9)]
    run = simulate([Work(1)] * 100, stages, 1, 584, World(lambda slot: 1e9))
    assert [used.first_s for used in run.used] == pytest.approx([292, 292])


# --- a thousand plans -----------------------------------------------------------------


@dataclass(frozen=True)
class Drawn:
    """A plan and what it meets; `greedy[i]`: the jobs of stage i use all that they get."""

    stages: tuple[Stage, ...]
    works: tuple[Work, ...]
    workers: int
    devices: int
    usable_s: float
    greedy: tuple[bool, ...]
    world: World


@st.composite
def drawn_plans(draw: st.DrawFn) -> Drawn:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(1, 4))
    workers, devices = draw(st.integers(1, 4)), draw(st.integers(0, 2))
    usable_s = draw(st.sampled_from([20.0, 120.0, 600.0, 7200.0, 43200.0]))
    tasks = draw(st.sampled_from([1, 3, 20, 60, 160]))
    fair_s = usable_s * workers / tasks / count
    stages, greedy = [], []
    for i in range(count):
        capped = draw(st.integers(0, 3)) == 0
        stages.append(
            Stage(
                str(i),
                share=draw(st.sampled_from([0.25, 0.5, 1.0, 1.0, 2.0, 5.0])),
                max_slice_s=fair_s * draw(st.floats(0.1, 3)) if capped else 1e9,
                flexible=draw(st.booleans()),
                repeats=draw(st.booleans()),
                device=devices > 0 and draw(st.booleans()),
                loading_s=draw(st.sampled_from([0.0, 0.01, 0.03])) * usable_s,
            )
        )
        greedy.append(draw(st.booleans()))
    typical = [fair_s * draw(st.floats(0.05, 2)) for _ in stages]
    really = [stage.loading_s * draw(st.floats(0.5, 1.5)) for stage in stages]
    overrun = draw(st.sampled_from([0.0, 0.0, 0.1]))

    def cost(slot: Slot) -> float:
        if greedy[slot.stage] or slot.pass_ > 1:
            return 1e12
        return typical[slot.stage] * float(rng.lognormal(0, 1))

    world = World(
        cost,
        lambda slot: float(rng.random()),
        load=lambda stage: really[stage],
        late=lambda slot: min(overrun * slot.slice_s, 0.005 * usable_s),
    )
    works = tuple(Work(int(tokens)) for tokens in rng.integers(50, 5000, tasks))
    return Drawn(tuple(stages), works, workers, devices, usable_s, tuple(greedy), world)


@examples(250)
@given(drawn_plans())
def test_shares_are_kept_in_any_plan(drawn: Drawn) -> None:
    run = simulate(
        *(drawn.works, drawn.stages, drawn.workers, drawn.usable_s, drawn.world),
        devices=drawn.devices,
    )
    assert run.ended_s <= drawn.usable_s * (1 + 1e-9)
    for device, places in ((False, drawn.workers), (True, drawn.devices)):
        order = [i for i, stage in enumerate(drawn.stages) if stage.device == device]
        rest_s = whole_s = places * drawn.usable_s
        for at, stage in enumerate(order):
            shares = [drawn.stages[i].share for i in order[at:]]
            part_s = rest_s * shares[0] / sum(shares)
            used_s = run.used[stage].of_part_s
            assert used_s <= part_s + TOLERANCE * whole_s
            if had_work_enough(drawn, stage, places, part_s):
                assert used_s >= part_s - TOLERANCE * whole_s
            rest_s = max(0.0, rest_s - used_s)


def had_work_enough(drawn: Drawn, stage: int, places: int, part_s: float) -> bool:
    """True if a stage's jobs could use whatever they got, and were enough to fill all places, on
    each of which the engine could be loaded."""
    about = drawn.stages[stage]
    greedy = drawn.greedy[stage] and about.max_slice_s == 1e9
    return greedy and len(drawn.works) >= MANY * places and part_s >= 4 * places * about.loading_s


# --- loading --------------------------------------------------------------------------

PROGRAMS = Stage("synth", max_slice_s=1e9)
MODEL = Stage("model", max_slice_s=1e9, loading_s=10, min_slice_s=2)


def loads_of(plan: Policy, left_s: float) -> list[int]:
    """The stages that a worker without any engine loads before its first job."""
    have: set[int] = set()
    order = []
    while isinstance(step := plan.take(left_s, False, have), Load):
        plan.loaded(step, "finished", 0.0)
        have.add(step.stage)
        order.append(step.stage)
    return order


def test_an_engine_is_loaded_before_the_first_job_with_it() -> None:
    run = simulate(
        [Work(1)] * 20, [PROGRAMS, MODEL], 2, 600, World(lambda slot: 1e9, load=lambda i: 5)
    )
    for worker, begin, _ in run.jobs:
        slot = run.slots[run.jobs.index((worker, begin, _))]
        (loaded,) = [end for w, stage, _, end in run.loads if (w, stage) == (worker, slot.stage)]
        assert loaded <= begin
    assert len(run.loads) == 4
    assert [used.loading_s for used in run.used] == [10, 10]


def test_one_worker_loads_what_comes_next_while_the_other_is_at_its_programs() -> None:
    run = simulate(
        *([Work(1)] * 40, [PROGRAMS, MODEL], 2, 600),
        World(lambda slot: 1e9, load=lambda stage: 10.0 * stage),
    )
    first = min(start for _, stage, start, _ in run.loads if stage == 1)
    at_programs = [
        job for job, slot in zip(run.jobs, run.slots, strict=True)
        if slot.stage == 0 and job[1] < first + 10 < job[2]
    ]  # fmt: skip
    assert at_programs
    second = max(start for _, stage, start, _ in run.loads if stage == 1)
    assert second >= first + 10  # when it is known what loading takes


def test_no_run_ends_with_an_engine_that_is_loading() -> None:
    """Even where loading takes nearly twice what was expected."""
    for usable_s in np.linspace(15, 200, 60):
        run = simulate(
            *([Work(1)] * 4, [replace(PROGRAMS, repeats=True), MODEL], 2, usable_s),
            World(lambda slot: 3.0, load=lambda stage: 19.0 * stage),
        )
        assert all(end < usable_s for _, _, _, end in run.loads)


def test_an_engine_that_cannot_be_loaded_in_time_is_named_at_the_start() -> None:
    def late(left_s: float, workers: int = 1) -> list[str]:
        plan = Policy([Work(1)] * 4, [PROGRAMS, MODEL], workers)
        return [engine for engine, _, _ in plan.too_late(left_s)]

    assert late(30) == ["model"]
    assert late(20, workers=2) == ["model"]
    assert late(60) == []


def test_a_late_engine_is_not_loaded_and_its_time_goes_to_others() -> None:
    programs = replace(PROGRAMS, share=3)
    stages = [replace(programs, repeats=True), MODEL]
    world = World(lambda slot: 1e9, load=lambda stage: 10.0 * stage)
    run = simulate([Work(1)] * 4, stages, 2, 26, world)
    assert {stage for _, stage, _, _ in run.loads} == {0}
    assert run.busy == pytest.approx(1)
    quick = World(lambda slot: 1.0, load=lambda stage: 10.0 * stage)
    run = simulate([Work(1)] * 4, [programs, MODEL], 2, 26, quick)
    assert {slot.stage for slot in run.slots} == {0, 1}  # others have left time enough


def test_where_loading_failed_jobs_load_for_themselves() -> None:
    plan = Policy([Work(1)], [MODEL], 1)
    step = plan.take(100, False, ())
    assert isinstance(step, Load)
    plan.loaded(step, "memory", 3)
    slot = plan.take(97, False, ())
    assert isinstance(slot, Slot)
    assert slot.slice_s == 97


def test_loading_that_the_run_has_seen_is_expected_again() -> None:
    plan = Policy([Work(1)] * 2, [MODEL], 1)
    step = plan.take(100, False, ())
    assert isinstance(step, Load)
    plan.loaded(step, "finished", 45)
    assert plan.loading.replacement_s([0]) == 45
    plan.loading.lost([0])
    assert plan.take(55, False, ()) is None  # 45 s, and as much again should it take longer
    assert plan.loading.ready(0) == 0


def test_a_job_over_all_tasks_is_loaded_for_too() -> None:
    whole = Stage("joint", whole=True, loading_s=5)
    plan = Policy([Work(1)], [whole, Stage("each", needs="joint")], 1)
    assert loads_of(plan, 100) == [0]
    plan = Policy([Work(1)], [whole, Stage("each", needs="joint")], 1)
    assert loads_of(plan, 8) == [1]  # there is no time for it, so nobody waits for it


# --- slices of use, and grace ---------------------------------------------------------


@pytest.mark.parametrize(
    ("fair_s", "part_s", "waiting", "slice_s"),
    [
        (5, 100, 20, 5),
        (1, 100, 20, 2),  # too short to be of use
        (70, 100, 20, 62),  # the others need 2 s each
        (5, 39, 20, None),  # not all can have 2 s
        (40, 40, 1, 40),
    ],
)
def test_a_slice_is_of_use_and_leaves_as_much_to_others(
    fair_s: float, part_s: float, waiting: int, slice_s: float | None
) -> None:
    assert useful_slice_s(fair_s, 2, part_s, waiting) == slice_s


def test_where_time_is_short_fewer_tasks_have_slices_of_use() -> None:
    stage = Stage("model", max_slice_s=1e9, min_slice_s=2)
    run = simulate([Work(10 * i) for i in range(1, 21)], [stage], 1, 20, World(lambda slot: 1e9))
    assert {slot.task for slot in run.slots} == set(range(10))  # the largest would need most
    assert min(slot.slice_s for slot in run.slots) >= 2 * (1 - 1e-9)


def test_no_job_is_given_at_the_end_that_would_be_of_no_use() -> None:
    plan = Policy([Work(1)] * 2, [Stage("model", min_slice_s=2)], 1)
    assert plan.take(1.9) is None
    assert plan.take(1.0) is None


def test_overruns_show_what_slice_is_too_short() -> None:
    """An engine that looks at the clock every 1.5 s does nothing of use in slices of 0.1 s."""
    plan = Policy([Work(1)] * 100, [Stage("model")], 1)
    for _ in range(CALIBRATE_AT):
        slot = plan.take(10)
        assert isinstance(slot, Slot)
        assert slot.slice_s < 0.2
        plan.done(slot, "sliced", slot.slice_s + 1.5, 0.0)
    slot = plan.take(10)
    assert isinstance(slot, Slot)
    assert slot.slice_s >= 3


def test_a_kill_is_never_dearer_than_waiting() -> None:
    assert grace_s(slice_s=0.2, longest_s=2, replacement_s=0) == 0.25
    assert grace_s(slice_s=3, longest_s=2, replacement_s=0) == 1.5
    assert grace_s(slice_s=60, longest_s=2, replacement_s=0) == 2
    assert grace_s(slice_s=3, longest_s=2, replacement_s=45) == 45


def test_loading_must_leave_time_for_a_slice_of_use_even_if_it_takes_longer() -> None:
    assert worth_loading(10, 2, 22)
    assert not worth_loading(10, 2, 21)
