"""The protocol: orders and reports come back as they were sent, and garbage is told apart."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from solver.grid import Candidate, same
from solver.runtime.messages import (
    Done,
    Failed,
    Found,
    JobOrder,
    Loaded,
    LoadOrder,
    Log,
    Ready,
    Report,
    Started,
    order_line,
    read_order,
    read_report,
    report_line,
)
from tests.fakes import toy_tasks

TASKS = toy_tasks(2)
GUESS = Candidate(TASKS[0].id, 0, TASKS[0].tests[0], "model", view="t1", logprob=-1.5, votes=2)
LOAD = LoadOrder(7, "model", "/a/folder", {"views": 8}, ("batch",), True)
JOB = JobOrder(
    8, "synth", "/a", {}, (), False, TASKS, False, (2, 0), (12345, 6), 1.5, 0.0, (GUESS, GUESS)
)
numbers, seconds = st.integers(0, 2**40), st.floats(0, 1e6)
reports: st.SearchStrategy[Report] = st.one_of(
    st.just(Ready()),
    st.builds(Log, st.text()),
    st.builds(Loaded, numbers),
    st.builds(Started, numbers),
    st.builds(Done, numbers, st.booleans(), seconds),
    st.builds(Failed, numbers, st.text(), st.booleans(), seconds),
)


@pytest.mark.parametrize("order", [LOAD, JOB])
def test_an_order_arrives_as_it_was_sent(order: LoadOrder) -> None:
    line = order_line(order)
    assert line.count(b"\n") == 1
    found = read_order(line.decode())
    assert type(found) is type(order)
    assert order_line(found) == line


def test_a_job_arrives_with_its_tasks_and_candidates() -> None:
    found = read_order(order_line(JOB).decode())
    assert isinstance(found, JobOrder)
    assert [task.id for task in found.tasks] == [task.id for task in TASKS]
    assert same(found.tasks[1].train[0].output, TASKS[1].train[0].output)
    assert found.known[0].votes == GUESS.votes
    assert replace(found, tasks=(), known=()) == replace(JOB, tasks=(), known=())


@given(reports)
def test_a_report_arrives_as_it_was_sent(report: Report) -> None:
    line = report_line(report)
    assert line.count("\n") == 1
    assert read_report(line.encode()) == report


def test_a_candidate_arrives_as_it_was_sent() -> None:
    found = read_report(report_line(Found(3, GUESS)).encode())
    assert isinstance(found, Found)
    assert (found.number, found.candidate.logprob) == (3, GUESS.logprob)
    assert same(found.candidate.grid, GUESS.grid)


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\x00 junk",
        b"[]",
        b"null",
        b'{"kind":"ready"',
        b'{"kind":"nonsense"}',
        b'{"kind":[]}',
        b'{"number":1}',
        b'{"kind":"loaded"}',
        b'{"kind":"loaded","number":"1"}',
        b'{"kind":"loaded","number":true}',
        b'{"kind":"done","number":1,"finished":1,"worked_s":1.0}',
        b'{"kind":"done","number":1,"finished":true,"worked_s":"1"}',
        b'{"kind":"failed","number":1,"error":null,"memory":false,"worked_s":1}',
        b'{"kind":"log","line":3}',
        b'{"kind":"candidate","number":1,"grid":["1"]}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_report_is_refused(line: bytes) -> None:
    with pytest.raises((ValueError, KeyError, TypeError, RecursionError)):
        read_report(line)


@given(st.binary(max_size=200))
def test_fuzzing_reports(line: bytes) -> None:
    try:
        read_report(line)
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
