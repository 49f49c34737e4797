"""Program induction: what is asked, what is taken from an answer, what is revised and how a
run with a scripted model, hostile programs among its answers, ends."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from solver.data.submissions import read_submission
from solver.deadline import Deadline, FakeClock
from solver.engines import ENGINES, SETTINGS, check_settings
from solver.grid import Candidate, DataError, as_grid, same
from solver.lm.induce.prompts import COLORS, STYLES, ask, ask_again, extract, is_complete
from solver.lm.induce.revise import Draft, choose, nearness
from solver.lm.induce.rounds import propose
from solver.lm.induce.settings import Induction, read
from solver.sandbox.parent import Sandbox
from tests.fakes import toy_tasks
from tests.lm.scripted import FAR, NEAR, RIGHT, Scripted, fenced
from tests.runs import ROOT, command, finish, journal_of, start, write_challenges
from tests.sandbox.hostile import jailed

(TASK,) = toy_tasks(1)
SETTINGS_ = Induction(samples=2, rounds=2, revisions=3, enough=1)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


def found(writer: Scripted, sandbox: Sandbox, settings: Induction = SETTINGS_) -> list[Candidate]:
    return list(propose(writer, sandbox, TASK, Deadline.after(120), settings, seed=0))


# --- what is asked ----------------------------------------------------------------------


def test_a_question_shows_every_demonstration_and_no_test_output() -> None:
    system, user = ask(TASK, STYLES["digits"], len(TASK.train))
    assert system["role"] == "system"
    blocks = re.findall(r"(?:^[\d ]+\n)+", user["content"], re.MULTILINE)
    grids = [g for pair in TASK.train for g in (pair.input, pair.output)] + list(TASK.tests)
    assert [np.loadtxt(block.splitlines(), dtype=int, ndmin=2).tolist() for block in blocks] == [
        grid.tolist() for grid in grids
    ]
    assert "transform(grid)" in user["content"]


def test_colors_are_words_and_their_numbers_are_told() -> None:
    text = ask(TASK, STYLES["colors"], 1)[1]["content"]
    first = TASK.train[-1].input.tolist()[0]
    assert " ".join(COLORS[cell].capitalize() for cell in first) in text
    assert "0 for black" in text


@pytest.mark.parametrize("shown", [1, 2, 3])
def test_demonstrations_that_do_not_fit_are_dropped_from_the_front(shown: int) -> None:
    text = ask(TASK, STYLES["digits"], shown)[1]["content"]
    assert re.findall(r"^Example (\d)", text, re.MULTILINE) == ["1", "2", "3"][3 - shown :]


def test_a_revision_shows_the_program_and_what_it_did() -> None:
    right, wrong, small = (pair.output for pair in TASK.train)
    wrong = as_grid((wrong + np.eye(*wrong.shape, dtype=np.uint8)) % 10)
    outcomes = [right, wrong, as_grid(small[:1])]
    chat = ask_again(ask(TASK, STYLES["digits"], 3), NEAR, TASK, outcomes, STYLES["digits"])
    assert [message["role"] for message in chat] == ["system", "user", "assistant", "user"]
    assert extract(chat[2]["content"]) == NEAR
    report = chat[3]["content"]
    assert "Example 1: right." in report
    assert f"Example 2: wrong in 2 of {wrong.size} cells." in report
    assert STYLES["digits"].grid(wrong) in report
    assert "Example 3: wrong: 1 row, " in report
    failed = ask_again(chat[:2], NEAR, TASK, ["KeyError: 3"] * 3, STYLES["digits"])
    assert "Example 2: no output: KeyError: 3" in failed[3]["content"]


# --- what is taken from an answer -------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        fenced(RIGHT),
        f"```\n{RIGHT}```",
        f"```py\n{RIGHT}```\n```python\nprint(1)\n```",
        f"First:\n```python\n{FAR}```\nNo, better:\n```python\n{RIGHT}```",
        f"```python\n{RIGHT}",
        RIGHT,
        f"Here it is:\n\n{RIGHT}",
    ],
)
def test_a_program_is_found_in_a_text(text: str) -> None:
    assert extract(text) == RIGHT


@pytest.mark.parametrize(
    "text",
    ["", "no", "```python\nx = 1\n```", "transform the grid", fenced("#" * 30_000 + "\n" + RIGHT)],
)
def test_where_there_is_none_none_is_found(text: str) -> None:
    assert extract(text) is None


@given(st.text(alphabet="`a\n dft:()", max_size=200))
def test_any_text_can_be_searched(text: str) -> None:
    program = extract(text)
    assert program is None or "def transform" in program
    assert not is_complete(text) or program is not None


def test_a_text_is_complete_with_its_program_and_not_before() -> None:
    text = fenced(RIGHT)
    end = text.index("```\nThat")
    assert not any(is_complete(text[:i]) for i in range(end + 3))
    assert is_complete(text[: end + 3])
    assert not is_complete("```python\nx = 1\n```\n")


# --- what is revised --------------------------------------------------------------------


def test_nearness_is_one_for_all_right_only() -> None:
    outputs = [pair.output for pair in TASK.train]
    assert nearness(TASK, outputs) == 1.0
    off = as_grid((outputs[0] + 1) % 10)
    one_cell = outputs[0].copy()
    one_cell[0, 0] = (one_cell[0, 0] + 1) % 10
    marks = [
        nearness(TASK, ["failed"] * 3),
        nearness(TASK, [off, *outputs[1:]]),
        nearness(TASK, [as_grid(one_cell), *outputs[1:]]),
    ]
    assert marks[0] == 0.0
    assert marks[0] < marks[1] < marks[2] < 1.0


def drafts(*near: float) -> list[Draft]:
    return [Draft(str(i), (), n) for i, n in enumerate(near)]


def test_near_programs_are_revised_most_and_far_ones_sometimes() -> None:
    rng = np.random.default_rng(0)
    chosen = choose(drafts(0.9, 0.4, 0.0), [0, 0, 0], 400, rng)
    counts = [chosen.count(0), chosen.count(1), chosen.count(2)]
    assert counts[0] > counts[1] > counts[2]
    assert counts[1] > 0
    assert len(chosen) == 400


def test_a_program_revised_in_vain_loses_its_turn() -> None:
    rng = np.random.default_rng(0)
    chosen = choose(drafts(0.8, 0.7), [60, 0], 20, rng)
    assert chosen.count(1) > chosen.count(0)


def test_without_a_near_program_one_starts_afresh_and_verified_ones_are_left_alone() -> None:
    rng = np.random.default_rng(0)
    assert choose([], [], 5, rng) == [None] * 5
    assert choose(drafts(1.0), [0], 5, rng) == [None] * 5
    assert None in choose(drafts(0.0, 0.0), [0, 0], 50, rng)


# --- the whole search -------------------------------------------------------------------


def test_a_verified_program_answers_with_itself_and_its_cost(sandbox: Sandbox) -> None:
    (candidate,) = found(Scripted([fenced(FAR), fenced(RIGHT)]), sandbox)
    assert same(candidate.grid, as_grid(TASK.tests[0][::-1]))
    assert candidate.program == RIGHT
    assert candidate.engine == candidate.view == "induce"
    assert candidate.cost_s > 0
    assert candidate.logprob
    assert candidate.logprob < 0


def test_what_came_near_is_revised_until_it_is_right(sandbox: Sandbox) -> None:
    writer = Scripted(
        [fenced(FAR), fenced(NEAR)], ["Hm.", fenced(FAR), fenced(NEAR), fenced(RIGHT)]
    )
    (candidate,) = found(writer, sandbox)
    assert candidate.program == RIGHT
    revisions = [chat for chat in writer.asked if len(chat) > 2]
    assert len(revisions) == 4  # three in the first round, one in the second
    assert [extract(chat[2]["content"]) for chat in revisions].count(NEAR) >= 3
    assert all("wrong in" in chat[3]["content"] for chat in revisions if NEAR in str(chat[2]))


def test_a_program_that_is_right_by_chance_alone_answers_nothing(sandbox: Sandbox) -> None:
    """Right on two of three demonstrations is not right."""
    fooled = [p.input.tolist() for p in TASK.train[:2]]
    program = (
        f"def transform(grid):\n    return grid[::-1] if grid.tolist() in {fooled} else grid\n"
    )
    assert found(Scripted([fenced(program)] * 9), sandbox) == []


def test_a_verified_program_that_fails_on_the_test_has_no_answer(sandbox: Sandbox) -> None:
    seen = [pair.input.tolist() for pair in TASK.train]
    program = f"def transform(grid):\n    assert grid.tolist() in {seen}\n    return grid[::-1]\n"
    assert found(Scripted([fenced(program), fenced(RIGHT)]), sandbox) == []
    both = Induction(samples=2, rounds=0, enough=2)
    (candidate,) = found(Scripted([fenced(program), fenced(RIGHT)]), sandbox, both)
    assert candidate.program == RIGHT


def test_a_forged_result_verifies_nothing(sandbox: Sandbox) -> None:
    from tests.sandbox.test_sandbox import FORGER

    assert found(Scripted([fenced(FORGER)] * 8), sandbox) == []


def test_the_same_program_is_run_once(sandbox: Sandbox) -> None:
    settings = Induction(samples=3, rounds=0, enough=9)
    assert len(found(Scripted([fenced(RIGHT)] * 3), sandbox, settings)) == 1


def test_a_task_that_fits_no_prompt_is_left_alone(sandbox: Sandbox) -> None:
    writer = Scripted([fenced(RIGHT)], room=100)
    assert found(writer, sandbox) == []
    assert writer.asked == []


def test_a_revision_that_does_not_fit_becomes_a_fresh_question(sandbox: Sandbox) -> None:
    room = sum(len(m["content"]) for m in ask(TASK, STYLES["digits"], 3)) + 10
    writer = Scripted([fenced(NEAR), fenced(FAR), fenced(RIGHT)], room=room)
    assert [c.program for c in found(writer, sandbox)] == [RIGHT]
    assert all(len(chat) == 2 for chat in writer.asked)


def test_the_deadline_ends_the_search(sandbox: Sandbox) -> None:
    clock = FakeClock()

    class Slow(Scripted):
        def write(self, chats, deadline, seed):  # type: ignore[no-untyped-def]
            for text in super().write(chats, deadline, seed):
                clock.sleep(4.0)
                yield text

    writer = Slow([fenced(FAR)] * 99)
    settings = Induction(samples=50, rounds=9, enough=1)
    assert list(propose(writer, sandbox, TASK, Deadline.after(10, clock), settings, 0)) == []
    assert len(writer.asked) == 3
    assert clock.now() <= 12.0


def test_no_round_begins_in_the_time_that_is_kept_to_run_programs(sandbox: Sandbox) -> None:
    clock = FakeClock()

    class Slow(Scripted):
        def write(self, chats, deadline, seed):  # type: ignore[no-untyped-def]
            clock.sleep(deadline.left())  # as long as it may
            self.asked += chats
            yield self.first.pop()

    writer = Slow([fenced(RIGHT), fenced(FAR)])
    settings = Induction(samples=1, rounds=9, enough=1)
    assert list(propose(writer, sandbox, TASK, Deadline.after(100, clock), settings, 0)) == []
    assert (len(writer.asked), clock.now()) == (1, 96.0)


def test_a_seed_asks_the_same_again(sandbox: Sandbox) -> None:
    def asked() -> list[object]:
        writer = Scripted([fenced(NEAR), fenced(FAR)], [fenced(FAR)] * 20)
        found(writer, sandbox)
        return [[dict(message) for message in chat] for chat in writer.asked]

    assert asked() == asked()


# --- a real run -------------------------------------------------------------------------


def test_a_run_goes_on_through_hostile_programs(tmp_path: Path) -> None:
    tasks = toy_tasks(2)
    before = jailed()
    challenges = write_challenges(tmp_path / "c.json", tasks)
    folder = tmp_path / "run"
    arguments = command(challenges, folder, "tests.lm.scripted:scripted", "240s", "--workers", "2")
    code, _, err = finish(start(arguments), timeout=250)
    assert (code, err) == (0, "")
    answers = read_submission(folder / "submission.json")
    for task in tasks:
        assert same(answers[task.id][0][0], as_grid(task.tests[0][::-1]))
    journal = journal_of(folder)
    assert [job.outcome for job in journal.jobs] == ["finished"] * len(tasks)
    assert {candidate.program for candidate in journal.candidates} == {RIGHT}
    assert jailed() == before


def test_induction_is_in_no_profile_of_a_cpu() -> None:
    for path in (ROOT / "solver/profiles").glob("*.toml"):
        assert 'engine = "induce"' not in path.read_text() or path.stem == "induce"


# --- settings ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sample": 3}, "sample: no such setting; did you mean samples"),
        ({"samples": 0}, "samples: must be at least 1, is 0"),
        ({"samples": "3"}, "samples: must be a whole number, is '3'"),
        ({"prompt": "icons"}, "prompt: there is no 'icons'; there are digits, colors"),
        ({"backend": "llama"}, "there are transformers, unsloth"),
        ({"top_p": 1.5}, "top_p: must be at most 1, is 1.5"),
        ({"temperature": -1}, "temperature: must be at least 0, is -1"),
        ({"max_new_tokens": 9000}, "max_new_tokens: must be below max_seq_length, 8192, is 9000"),
    ],
)
def test_settings_that_mean_nothing_are_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_settings("induce", given)


def test_settings_have_defaults() -> None:
    assert read({"rounds": 0, "temperature": 0}) == Induction(rounds=0, temperature=0.0)
    assert "induce" in ENGINES
    assert "induce" in SETTINGS


def test_a_run_without_a_model_ends_before_it_begins(tmp_path: Path) -> None:
    challenges = write_challenges(tmp_path / "c.json", toy_tasks(1))
    base = command(challenges, tmp_path / "run", "synth", "60s")
    base[base.index("tests.fakes:synth" if "tests.fakes:synth" in base else "synth")] = "induce"
    for more, message in (
        ((), "no language model"),
        (("--model", str(tmp_path / "nowhere")), "--model names the folder"),
    ):
        code, _, err = finish(start([*base, *more]))
        assert code == 2
        assert message in err
        assert len(err.splitlines()) == 1
    assert json.loads(challenges.read_text())
