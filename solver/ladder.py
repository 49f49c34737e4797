"""The ladder of memory: what a job gives up when memory runs out, mildest rung first.

A stage names the rungs that its engine heeds (`Stage.ladder`). A job that ran out of memory is
tried again one rung lower, with everything of the rungs above it; the engine finds what that
leaves it in its context, as a `Rung`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Rung:
    """What a job may use.

    batch, views, context: the part of the sequences at once, of the views and of the tokens in a
    sequence that it would use with memory enough. checkpointing: activations are computed twice
    instead of kept. four_bit: weights are held in 4 bits. training: the task is learned at all.
    """

    batch: float = 1.0
    views: float = 1.0
    context: float = 1.0
    checkpointing: bool = False
    four_bit: bool = False
    training: bool = True


FULL = Rung()

# From the mildest to the hardest; a stage may leave some out.
LADDER: dict[str, float | bool] = {
    "batch": 0.25,
    "views": 0.5,
    "context": 0.5,
    "checkpointing": True,
    "four_bit": True,
    "training": False,
}

_PHRASES = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "std::bad_alloc",
    "memoryerror",
    "alloc_failed",  # of cuBLAS and cuDNN
    "could not create a primitive",  # of oneDNN, which says no more
    "can't start new thread",  # no room for its stack
)


def rung_of(names: Iterable[str]) -> Rung:
    """What is left with these rungs of `LADDER` given up. Raises `KeyError` for another name."""
    given_up = {name: LADDER[name] for name in names}
    return replace(FULL, **given_up)  # type: ignore[arg-type]


def step_down(ladder: Sequence[str], rung: int) -> str:
    """What follows for a job that ran out of memory so many rungs down a ladder, in words."""
    if rung >= len(ladder):
        return "no rung is left"
    return f"next without {', '.join(ladder[: rung + 1])}"


def says_out_of_memory(text: str) -> bool:
    """True if a message, of a library or of a dying process, speaks of memory that ran out."""
    lower = text.lower()
    return any(phrase in lower for phrase in _PHRASES)


def is_out_of_memory(error: BaseException | None) -> bool:
    """True for an error of memory that ran out, or one that such an error led to.

    Libraries raise `MemoryError`, a class of their own (`torch.OutOfMemoryError`), or a plain
    `RuntimeError` that only its text tells from others.
    """
    while error is not None:
        names = {kind.__name__ for kind in type(error).__mro__}
        if names & {"MemoryError", "OutOfMemoryError"}:
            return True
        if isinstance(error, RuntimeError | OSError) and says_out_of_memory(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False
