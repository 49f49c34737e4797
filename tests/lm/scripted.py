"""A writer that follows a script, and engines that run program induction with it."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

from solver.deadline import Deadline
from solver.engines import Context
from solver.grid import Candidate, Task
from solver.lm.induce.prompts import Chat
from solver.lm.induce.rounds import propose
from solver.lm.induce.settings import Induction
from solver.sandbox.parent import Sandbox
from tests.sandbox.hostile import HOSTILE, inside

RIGHT = "import numpy as np\n\ndef transform(grid):\n    return np.flipud(grid)\n"
NEAR = "def transform(grid):\n    return grid\n"
FAR = "def transform(grid):\n    return [[0]]\n"


HOSTS = ("signals ignored", "fork bomb", "exit 0", "memory at once", "too much", "abort")


def fenced(program: str) -> str:
    return f"The rule turns something.\n\n```python\n{program}```\nThat is all.\n"


class Scripted:
    """Answers a fresh question with the first texts in turn, and a revision with `revised`."""

    def __init__(self, first: Sequence[str], revised: Sequence[str] = (), room: int = 10**9):
        self.first, self.revised, self.room = list(first), list(revised), room
        self.asked: list[Chat] = []

    def fits(self, chat: Chat) -> bool:
        return sum(len(message["content"]) for message in chat) <= self.room

    def write(self, chats: Sequence[Chat], deadline: Deadline, seed: int) -> Iterator[str]:
        for chat in chats:
            if deadline.passed():
                return
            self.asked.append(chat)
            script = self.revised if len(chat) > 2 else self.first
            yield script.pop(0) if script else "I do not know."


@functools.cache
def sandbox() -> Sandbox:
    """One for each worker process."""
    return Sandbox(seconds=1.0)


def scripted(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    """A model whose first programs are hostile or wrong, and which then finds the rule."""
    mine = [fenced(inside(HOSTILE[name])) for name in HOSTS[int(task.id[1:]) % 2 :: 2]]
    writer = Scripted([*mine, fenced(FAR), fenced(NEAR)], [fenced(NEAR), fenced(RIGHT)])
    settings = Induction(samples=len(mine) + 2, revisions=2, enough=1)
    yield from propose(writer, sandbox(), task, deadline, settings, context.seed)
