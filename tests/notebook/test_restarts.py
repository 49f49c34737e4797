"""Starting the run again: what needs less comes when a start brings nothing, and time is kept."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from solver.config import load_config
from solver.deadline import Deadline, FakeClock
from solver.grid import DataError
from solver.notebook.preflight import PreflightRequest, preflight
from solver.notebook.restarts import (
    LONGEST_PAUSE_S,
    MIN_LEFT_S,
    Ending,
    Way,
    first_digest,
    grown,
    keep_on,
    ways,
)
from solver.notebook.usable import SYNTH, Usable
from submission.notebook.settings import Settings, settle
from tests.runs import examples

ENGINE = "tests.fakes:instant"
STAGE = f"[[stages]]\nengine = '{ENGINE}'\n"
BROKEN = {
    "unknown selector": f"selector = 'best-of-all'\n{STAGE}",
    "unknown rule": f"ensemble = 'mine'\n{STAGE}",
    "text for seconds": f"grace_s = 'two'\n{STAGE}",
    "workers in words": f"workers = 'all'\n{STAGE}",
    "fewer than no workers": f"workers = -4\n{STAGE}",
    "no share": f"{STAGE}share = 0.0\n",
    "needs nobody": f"{STAGE}needs = 'somebody'\n",
    "a slice before its start": f"{STAGE}max_slice_s = -1\n",
    "unknown engine": "[[stages]]\nengine = 'synthesizer-2'\n",
    "half a file": "workers = 4\n[[stag",
}
PLANNED = ways("own.toml", Usable(engines=(ENGINE,), workers=3, visible=("0",)))


def kept_on(
    hours: float, start: Callable[[Way, FakeClock], Ending]
) -> tuple[list[tuple[float, Way]], list[str], FakeClock]:
    """When which way was started, what was said, and the clock at the end."""
    clock, said = FakeClock(), list[str]()
    started: list[tuple[float, Way]] = []

    def one(way: Way) -> Ending:
        started.append((clock.time, way))
        return start(way, clock)

    keep_on(PLANNED, Deadline.after(3600 * hours, clock), one, said.append)
    return started, said, clock


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_profile_is_refused_everywhere_and_leaves_the_synthesizer(
    text: str, tmp_path: Path
) -> None:
    profile = tmp_path / "own.toml"
    profile.write_text(text)
    with pytest.raises(DataError, match=r"own\.toml: "):
        settle(Settings(profile=str(profile)))
    with pytest.raises(DataError, match=r"own\.toml: "):
        preflight(
            PreflightRequest(str(profile), tmp_path), Deadline.after(9), None, lambda line: None
        )

    def start(way: Way) -> Ending:
        try:
            load_config(way.profile, 60.0, engines=way.plan.engines)
        except DataError:
            return Ending(2, False)
        done.append(way)
        return Ending(0, True)

    done: list[Way] = []
    said: list[str] = []
    keep_on(ways(str(profile), Usable()), Deadline.after(60, FakeClock()), start, said.append)
    assert [(way.profile, way.plan.engines) for way in done] == [("cpu", (SYNTH,))]
    assert said[-1] == "The run got no further: it continues with only the synthesizer."


@pytest.mark.parametrize(("code", "starts"), [(0, 1), (1, 1), (2, 1), (126, 1), (-9, 2), (-11, 2)])
def test_a_start_that_brings_nothing_is_followed_by_less_whatever_its_code(
    code: int, starts: int
) -> None:
    started, said, _ = kept_on(
        1, lambda way, clock: Ending(code if way == PLANNED[0] else 0, way != PLANNED[0])
    )
    assert [way for _, way in started] == [*[PLANNED[0]] * starts, PLANNED[1]]
    assert said[0].startswith(f"The run ended with {code}; 3600 s")
    assert PLANNED[1].plan == Usable(engines=(SYNTH,), workers=3, visible=("0",))
    assert PLANNED[2].plan.workers == 1


def test_a_run_that_gets_on_and_dies_now_and_then_stays_what_it_is() -> None:
    def dies_every_hour(way: Way, clock: FakeClock) -> Ending:
        clock.sleep(3600)
        return Ending(-9, True)

    started, _, clock = kept_on(10, dies_every_hour)
    assert [way for _, way in started] == [PLANNED[0]] * 10
    assert clock.time == 36_000


def test_a_crash_loop_neither_eats_the_time_nor_gives_it_away() -> None:
    def dies(way: Way, clock: FakeClock) -> Ending:
        clock.sleep(2)
        return Ending(1, False)

    started, _, clock = kept_on(10, dies)
    assert [way for _, way in started[:3]] == list(PLANNED)
    assert {way for _, way in started[3:]} == {PLANNED[2]}
    assert len(started) < 36_000 / LONGEST_PAUSE_S + 30
    assert 36_000 - 3 * MIN_LEFT_S < clock.time <= 36_000
    pauses = [after - before - 2 for (before, _), (after, _) in pairwise(started)]
    assert pauses[:4] == [0, 0, 2, 4]
    assert max(pauses) == LONGEST_PAUSE_S


def test_starts_that_bring_little_and_die_at_once_are_a_crash_loop_too() -> None:
    def dies(way: Way, clock: FakeClock) -> Ending:
        clock.sleep(1)
        return Ending(1 if way == PLANNED[0] else 0, True)

    started, _, _ = kept_on(1, dies)
    assert [way for _, way in started] == [PLANNED[0]] * 5 + [PLANNED[1]]


def test_with_hardly_any_time_nothing_is_started() -> None:
    assert kept_on(2.9 / 3600, lambda way, clock: Ending(0, True))[0] == []


@given(
    st.lists(
        st.tuples(st.sampled_from([0, 1, 2, -9]), st.booleans(), st.floats(0, 600)), min_size=1
    ),
    st.floats(0.001, 12),
)
@examples(200)
def test_time_is_never_given_away_nor_overdrawn(
    endings: list[tuple[int, bool, float]], hours: float
) -> None:
    last: list[Ending] = []

    def start(way: Way, clock: FakeClock) -> Ending:
        code, progress, took_s = endings[len(last) % len(endings)]
        clock.sleep(min(took_s, 3600 * hours - clock.time))
        last.append(Ending(code, progress))
        return last[-1]

    started, said, clock = kept_on(hours, start)
    assert clock.time <= 3600 * hours * (1 + 1e-9)
    well = bool(last) and last[-1].code == 0
    assert well or clock.time > 3600 * hours - MIN_LEFT_S * 1.0001
    places = [PLANNED.index(way) for _, way in started]
    assert places == sorted(places)
    assert len(said) >= len(started) - 1
    assert all(math.isfinite(at) for at, _ in started)


def test_what_a_journal_grew_by_is_of_use_or_not(tmp_path: Path) -> None:
    journal = tmp_path / "candidates.jsonl"
    assert not grown(journal, 0)

    def line(**record: object) -> int:
        """Append a line; how long the journal was before."""
        with open(journal, "a") as file:
            before = file.tell()
            file.write(json.dumps(record) + "\n")
        return before

    for useless in (
        {"kind": "run", "digest": "ab"},
        {"kind": "job", "outcome": "died"},
        {"kind": "job", "outcome": "error"},
        {"kind": "task", "state": "fallback"},
        {"kind": ["candidate"]},
    ):
        assert not grown(journal, line(**useless))
    with open(journal, "ab") as file:
        file.write(b'{"kind": "candidate", \xff\n[1, 2]\n' + b"[" * 9000 + b"\n")
    assert not grown(journal, 0)
    for of_use in ({"kind": "candidate"}, {"kind": "job", "outcome": "sliced"}):
        before = line(**of_use)
        assert grown(journal, before)
        assert grown(journal, 0)
        assert not grown(journal, journal.stat().st_size)
    assert first_digest(journal) == "ab"
