"""Engines that behave and engines that do not, each a few lines with the real interface."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from solver.deadline import Deadline
from solver.engines import Context
from solver.grid import Candidate, Pair, Task, as_grid, stable_seed

BAD_TASK = "t003"  # the one that the misbehaving engines misbehave on


def toy_tasks(n: int, seed: int = 0) -> tuple[Task, ...]:
    """Small made-up tasks: the output is the input turned upside down."""
    tasks = []
    for i in range(n):
        rng = np.random.default_rng(stable_seed(seed, i))
        grids = [as_grid(rng.integers(0, 10, (3, 2 + i % 4))) for _ in range(4)]
        pairs = tuple(Pair(g, as_grid(g[::-1])) for g in grids[:3])
        tasks.append(Task(f"t{i:03d}", pairs, (grids[3],)))
    return tuple(tasks)


def right(task: Task) -> Iterator[Candidate]:
    """The right answer to every test input of a toy task."""
    for test, grid in enumerate(task.tests):
        yield Candidate(task.id, test, as_grid(grid[::-1]), "fake", program="flip_ud")


def instant(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    yield from right(task)


def tells_what_it_knows(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    """Measures what earlier jobs found, and finds a grid of its own."""
    for known in context.known:
        yield replace(known, scores=(-0.25,), votes=0)
    yield Candidate(task.id, 0, task.tests[0], "fake", scores=(-4.0,))


def steady(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    """A bit of work, and the answer in the middle of it."""
    time.sleep(0.02)
    yield from right(task)
    time.sleep(0.01)


def learn_all(tasks: tuple[Task, ...], deadline: Deadline, context: Context) -> None:
    """A job over all tasks: leaves their ids for the jobs after it."""
    context.folder.mkdir(exist_ok=True)
    time.sleep(0.3)
    (context.folder / "ids").write_text(" ".join(task.id for task in tasks))
    (context.folder / "process").write_text(str(os.getpid()))


def learn_all_in_two_tries(tasks: tuple[Task, ...], deadline: Deadline, context: Context) -> None:
    """A job over all tasks that kills its worker, and can go on from there if it has its seed."""
    context.folder.mkdir(exist_ok=True)
    place = context.folder / "seed"
    if not place.exists():
        place.write_text(str(context.seed))
        os._exit(9)
    if place.read_text() == str(context.seed):
        learn_all(tasks, deadline, context)


def fall_over_all(tasks: tuple[Task, ...], deadline: Deadline, context: Context) -> None:
    """A job over all tasks that kills its worker."""
    os._exit(9)


def use_learned_elsewhere(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    """Fails in the process that did the job over all tasks."""
    assert (context.folder / "process").read_text() != str(os.getpid())
    yield from right(task)


def use_learned(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    """Knows the answer if the job over all tasks has seen the task."""
    if task.id in (context.folder / "ids").read_text().split():
        yield from right(task)


def slow(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    """Never has enough time, and stops when it is up."""
    yield from right(task)
    while not deadline.passed():
        time.sleep(min(0.01, max(0.0, deadline.left())))


def hung(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    """Looks at no clock."""
    yield from right(task)
    while True:
        time.sleep(1)


def mixed(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    """One task in five hangs, one is instant, the rest use what they get."""
    kind = (hung, instant, slow, slow, slow)[int(task.id[1:]) % 5]
    yield from kind(task, deadline, context)


def hung_in_c(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    """Holds the interpreter: no thread and no Python signal handler of the worker runs."""
    if task.id == BAD_TASK:
        sum(range(10**13))
    yield from right(task)


def raises(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    if task.id == BAD_TASK:
        raise RuntimeError("an engine's bug")
    yield from right(task)


def exits(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    if task.id == BAD_TASK:
        os._exit(3)
    yield from right(task)


def answers_and_exits(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    yield from right(task)
    os._exit(3)


def quits(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    if task.id == BAD_TASK:
        sys.exit(0)
    yield from right(task)


def segfaults(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    if task.id == BAD_TASK:
        ctypes.string_at(0)
    yield from right(task)


def eats_memory(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    """Grows in steps, so that no single allocation is refused."""
    eaten = []
    while task.id == BAD_TASK:
        eaten.append(np.ones(2**24, dtype=np.uint8))
        time.sleep(0.001)
    yield from right(task)


def one_huge_allocation(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    if task.id == BAD_TASK:
        np.ones(2**40, dtype=np.uint8)
    yield from right(task)


def floods_stdout(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    while task.id == BAD_TASK:
        print("x" * 100_000)
    yield from right(task)


def floods_candidates(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    yield from right(task)
    while task.id == BAD_TASK:
        yield from right(task)


def yields_nonsense(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    if task.id == BAD_TASK:
        yield "not a candidate"  # type: ignore[misc]
    yield from right(task)


def yields_bad_grid(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    if task.id == BAD_TASK:
        yield Candidate(task.id, 0, np.full((3, 3), 11, dtype=np.uint8), "fake")
    yield from right(task)


def writes_into_messages(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    """Writes junk to every descriptor it holds, the message pipe among them."""
    if task.id == BAD_TASK:
        for fd in range(3, 64):
            try:
                os.write(fd, b"\xff\x00 junk\n")
            except OSError:
                pass
    yield from right(task)


def half_a_message(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    """Begins a line in every descriptor and never ends it."""
    if task.id == BAD_TASK:
        for fd in range(3, 64):
            try:
                os.write(fd, b'{"kind":"cand')
            except OSError:
                pass
        time.sleep(3600)
    yield from right(task)


def leaves_children(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    """Starts a process that outlives it, then hangs."""
    if task.id == BAD_TASK:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)", "left-behind"])
        time.sleep(3600)
    yield from right(task)


def closes_messages(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    if task.id == BAD_TASK:
        os.closerange(3, 64)
        time.sleep(3600)
    yield from right(task)


class OutOfMemoryError(RuntimeError):
    """An error with the name of torch's own."""


def without_memory(task: Task, context: Context) -> bool:
    """True if the job on the bad task would need more memory than its rung leaves it."""
    return task.id == BAD_TASK and context.rung.views == 1.0


def out_of_memory_unless_thrifty(
    task: Task, deadline: Deadline, context: Context
) -> Iterator[Candidate]:
    if without_memory(task, context):
        raise OutOfMemoryError("CUDA out of memory")
    yield from right(task)


def never_has_memory(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    raise OutOfMemoryError("CUDA out of memory")
    yield from right(task)


def huge_unless_thrifty(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    """One allocation beyond the limit on addresses."""
    np.zeros(2**36 if without_memory(task, context) else 1, dtype=np.uint8)
    yield from right(task)


def grows_unless_thrifty(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    """Many allocations, each of them small."""
    eaten = []
    while without_memory(task, context):
        eaten.append(np.ones(2**24, dtype=np.uint8))
        time.sleep(0.001)
    yield from right(task)


def killed_unless_thrifty(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    """Ends as by the system's own hand when its memory runs out."""
    if without_memory(task, context):
        os.kill(os.getpid(), signal.SIGKILL)
    yield from right(task)


def aborts_unless_thrifty(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    """A C++ library that nobody caught."""
    if without_memory(task, context):
        print("terminate called after throwing an instance of 'std::bad_alloc'", flush=True)
        os.abort()
    yield from right(task)


_broken: list[str] = []  # in the memory of a worker process


def breaks_its_device(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    """After one error every further job of the process fails, as with a GPU."""
    if _broken or task.id == BAD_TASK:
        _broken.append(task.id)
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    yield from right(task)


def says_where(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    """Its answer is right; its program is the device it sees, and its process."""
    time.sleep(0.05)
    program = f"{os.environ.get('CUDA_VISIBLE_DEVICES')} {os.getpid()}"
    grid = as_grid(task.tests[0][::-1])
    yield Candidate(task.id, 0, grid, "fake", program=program)


def meets_devices(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    """A meeting on a core, while some worker is at `meets_cores`."""
    _meet("core", "device", deadline, context)
    yield from says_where(task, deadline, context)


def meets_cores(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    """A meeting on a device, while some worker is at `meets_devices`."""
    _meet("device", "core", deadline, context)
    yield from says_where(task, deadline, context)


def _meet(mine: str, other: str, deadline: Deadline, context: Context) -> None:
    """Wait until a job of the other kind has begun, and fail if none does."""
    context.folder.mkdir(exist_ok=True)
    (context.folder / mine).touch()
    while not (context.folder / other).exists():
        assert not deadline.passed(), f"no {other} worked beside this {mine}"
        time.sleep(0.01)


def parricide(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    """Kills the process that runs it, once a run, after it has done larger tasks."""
    mark = context.folder.with_name("killed")
    if task.id == "t000" and not mark.exists():
        mark.touch()
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    yield from right(task)


def explodes(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    """Fails on every task."""
    raise RuntimeError(f"no idea about {task.id}")
    yield


def last_words(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    """Has much to say when its time is up, all of it at once."""
    while not deadline.passed():
        time.sleep(0.01)
    for color in range(10):
        yield Candidate(task.id, 0, as_grid([[color]]), "fake", view=f"d{color % 8}")


def draws(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    """Draws a few grids by its seed, says how likely they are, and ends after fifty looks."""
    rng = np.random.default_rng(context.seed)
    for number in range(5):
        for _ in range(10):
            deadline.left()
        grid, nats = as_grid(rng.integers(0, 3, (1, 2))), float(rng.integers(5, 30))
        yield Candidate(task.id, 0, grid, "fake", logprob=-nats, program=f"drawn {number}")


def draws_on(task: Task, deadline: Deadline, context: Context) -> Iterator[Candidate]:
    """Draws a grid at every fifth look at the clock for as long as it has time; which, depends on
    tells what was known before."""
    rng = np.random.default_rng([context.seed, len(context.known)])
    while not deadline.passed():
        for _ in range(4):
            deadline.left()
        grid, nats = as_grid(rng.integers(0, 3, (1, 2))), float(rng.integers(5, 30))
        yield Candidate(task.id, 0, grid, "fake", logprob=-nats, program="drawn")
