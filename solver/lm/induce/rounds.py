"""Program induction: a code model writes programs, and the sandbox runs them.

The method follows BARC (arXiv:2411.02272) and SOAR (arXiv:2507.14172). Programs that reproduce
every demonstration answer the test inputs. The model revises programs that came near. Nothing here
imports torch: the model is a `Writer`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from solver.deadline import Deadline
from solver.grid import Candidate, Task, stable_seed
from solver.lm.induce.prompts import STYLES, Chat, ask, ask_again, extract
from solver.lm.induce.revise import Draft, choose, nearness
from solver.lm.induce.settings import Induction
from solver.sandbox.parent import Sandbox

RUNNING = 0.1  # part of the time left that is kept for running the last programs
# Description lengths, in bits. Python needs many tokens where the synthesizer's language needs few,
# so a token counts little. Most programs that reproduce the demonstrations are right.
PYTHON_BITS, TOKEN_BITS = 15.0, 0.05


class Writer(Protocol):
    """A code model that answers chats with texts."""

    def fits(self, chat: Chat) -> bool:
        """True if a chat leaves room for an answer."""

    def write(self, chats: Sequence[Chat], deadline: Deadline, seed: int) -> Iterator[str]:
        """Yield a text for each chat, in order, as texts are finished.

        At the deadline, unfinished texts are cut off, and chats not yet begun get no text.
        """


def propose(
    writer: Writer,
    sandbox: Sandbox,
    task: Task,
    deadline: Deadline,
    settings: Induction,
    seed: int,
) -> Iterator[Candidate]:
    """Ask for programs, run and revise them, and yield each verified program's answers."""
    asked = _question(writer, task, settings)
    if asked is None:
        return
    clock, start = deadline.clock, deadline.clock.now()
    search = _Search(task, asked, settings, np.random.default_rng(stable_seed(seed, task.id)))
    for round_ in range(settings.rounds + 1):
        chosen, chats = search.prompts(writer, round_)
        until = deadline.earlier(min(settings.program_s, RUNNING * deadline.left()))
        drawn = writer.write(chats, until, stable_seed(seed, task.id, round_))
        for number, text in zip(chosen, drawn, strict=False):
            draft = search.try_(text, sandbox, deadline, revised=number is not None)
            if draft and draft.verified:
                yield from _candidates(task, draft, clock.now() - start)
            if deadline.passed() or search.settled():
                return
        if until.passed():  # too little is left to read the prompts of another round
            return


def _question(writer: Writer, task: Task, settings: Induction) -> Chat | None:
    """The question with as many of the last demonstrations as fit; None if not even one fits."""
    style = STYLES[settings.prompt]
    for shown in range(len(task.train), 0, -1):
        if writer.fits(asked := ask(task, style, shown)):
            return asked
    return None


@dataclass
class _Search:
    """The programs of a task so far.

    asked: the question for a program.
    """

    task: Task
    asked: Chat
    settings: Induction
    rng: np.random.Generator

    def __post_init__(self) -> None:
        self._drafts: list[Draft] = []
        self._tries: list[int] = []
        self._seen: set[str] = set()

    def prompts(self, writer: Writer, round_: int) -> tuple[list[int | None], list[Chat]]:
        """The draft that each sample of a round revises, if any, and a chat for each sample."""
        if round_ == 0:
            chosen: list[int | None] = [None] * self.settings.samples
        else:
            chosen = choose(self._drafts, self._tries, self.settings.revisions, self.rng)
        chats = []
        for place, number in enumerate(chosen):
            chat = self.asked if number is None else self._revision(self._drafts[number])
            if number is not None and writer.fits(chat):
                self._tries[number] += 1
            elif number is not None:  # the revision's prompt is too long
                chosen[place], chat = None, self.asked
            chats.append(chat)
        return chosen, chats

    def try_(
        self, text: str, sandbox: Sandbox, deadline: Deadline, *, revised: bool
    ) -> Draft | None:
        """Run the program in a text; None if there is no program, or the same was run before."""
        program = extract(text)
        if program is None or program in self._seen:
            return None
        self._seen.add(program)
        grids = [*(pair.input for pair in self.task.train), *self.task.tests]
        outcomes = sandbox.run(program, grids, deadline).outcomes
        draft = Draft(program, outcomes, nearness(self.task, outcomes), revised)
        self._drafts.append(draft)
        self._tries.append(0)
        return draft

    def settled(self) -> bool:
        return sum(draft.verified for draft in self._drafts) >= self.settings.enough

    def _revision(self, draft: Draft) -> Chat:
        style = STYLES[self.settings.prompt]
        return ask_again(self.asked, draft.program, self.task, draft.outcomes, style)


def _candidates(task: Task, draft: Draft, seconds: float) -> Iterator[Candidate]:
    """A verified program's answers, for each test input where the program gave an output."""
    tokens = len(re.findall(r"\w+|[^\w\s]", re.sub(r"#.*", "", draft.program)))
    for test, outcome in enumerate(draft.outcomes[len(task.train) :]):
        if not isinstance(outcome, str):
            yield Candidate(
                task.id,
                test,
                outcome,
                engine="induce",
                view="induce",
                logprob=-(PYTHON_BITS + TOKEN_BITS * tokens) * math.log(2),
                program=draft.program,
                cost_s=seconds,
            )
