"""Deadlines, budgets and durations, on clocks that tests move."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from solver.deadline import (
    Budget,
    CpuClock,
    Deadline,
    FakeClock,
    RealClock,
    format_duration,
    parse_duration,
)
from tests.strategies import complaint


def test_a_deadline_passes_when_its_moment_comes() -> None:
    clock = FakeClock(100.0)
    deadline = Deadline.after(5.0, clock)
    assert (deadline.left(), deadline.passed()) == (5.0, False)
    clock.sleep(5.0)
    assert (deadline.left(), deadline.passed()) == (0.0, True)
    clock.sleep(1.0)
    assert (deadline.left(), deadline.passed()) == (-1.0, True)


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_slice_never_outlives_its_deadline(total: float, part: float) -> None:
    deadline = Deadline.after(total, FakeClock())
    assert deadline.slice(part).at == min(total, part)


def test_a_slice_counts_from_now() -> None:
    clock = FakeClock()
    deadline = Deadline.after(10.0, clock)
    clock.sleep(4.0)
    assert deadline.slice(2.0).at == 6.0
    assert deadline.slice(7.0).at == 10.0


def test_no_clock_goes_back() -> None:
    for clock in (RealClock(), CpuClock(), FakeClock()):
        before = clock.now()
        clock.sleep(-1.0)
        clock.sleep(0.001)
        assert clock.now() >= before


@given(st.floats(1, 50 * 3600))
def test_the_reserve_is_a_small_part_of_a_budget(total: float) -> None:
    budget = Budget.of(total)
    assert 0 < budget.reserve <= min(60.0, 0.06 * total)
    assert budget.usable == total - budget.reserve > 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("5m", 300),
        ("12h", 43200),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("90", 90),
        ("0.5", 0.5),
        (" 2s ", 2),
    ],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "0", "0s", "-1", "-5m", "abc", "nan", "inf", "1e3", "5 m", "m", "1d", "1h30", ".5s",
     "9" * 400],
)  # fmt: skip
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no|is over"):
        parse_duration(text)


@given(st.text(alphabet="0123456789.smh -", max_size=8))
def test_any_text_is_a_positive_duration_or_a_value_error(text: str) -> None:
    said = complaint(ValueError, parse_duration, text)
    assert "is no" in said or "is over" in said if said else parse_duration(text) > 0


def test_durations_are_shown_short() -> None:
    assert format_duration(3.21) == "3.2s"
    assert format_duration(59.97) == "1m00s"
    assert format_duration(245) == "4m05s"
    assert format_duration(3725) == "1h02m"
    assert format_duration(-2) == "0.0s"


@given(st.floats(1, 1e6))
def test_what_is_shown_can_be_read_back(seconds: float) -> None:
    shown = parse_duration(format_duration(seconds))
    assert abs(shown - seconds) <= (60 if seconds >= 3599 else 0.51)
