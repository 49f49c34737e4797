"""The ladder of memory: things that a job gives up when memory runs out, mildest rung first.

A stage names the rungs that its engine heeds (`Stage.ladder`). A job that ran out of memory is
tried again one rung lower, and also gives up everything of the rungs above. The engine's context
says as a `Rung` what the job may still use.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Rung:
    """The means that a job may use.

    batch: part of the sequences that the job would use at once with enough memory.
    views: part of the views that the job would use with enough memory.
    context: part of the tokens in a sequence that the job would use with enough memory.
    checkpointing: activations are computed twice instead of kept.
    four_bit: weights are held in 4 bits.
    training: the task is learned at all.
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
    "could not create a primitive",  # of oneDNN, which gives no reason
    "can't start new thread",  # no room for the thread's stack
)


def rung_of(names: Iterable[str]) -> Rung:
    """The `Rung` of a job that gave up these rungs of `LADDER`.

    Raises `KeyError` for another name.
    """
    given_up = {name: LADDER[name] for name in names}
    return replace(FULL, **given_up)  # type: ignore[arg-type]


def step_down(ladder: Sequence[str], rung: int) -> str:
    """The next step, in words, for a job that ran out of memory `rung` rungs down a ladder."""
    if rung >= len(ladder):
        return "no rung is left"
    return f"next without {', '.join(ladder[: rung + 1])}"


def says_out_of_memory(text: str) -> bool:
    """True if a message of a library or of a dying process says that memory ran out."""
    lower = text.lower()
    return any(phrase in lower for phrase in _PHRASES)


def is_out_of_memory(error: BaseException | None) -> bool:
    """True for an error because memory ran out, or for an error that such an error led to.

    Libraries raise `MemoryError`, their own class (`torch.OutOfMemoryError`), or a plain
    `RuntimeError` that differs from others only in its text.
    """
    while error is not None:
        names = {kind.__name__ for kind in type(error).__mro__}
        if names & {"MemoryError", "OutOfMemoryError"}:
            return True
        if isinstance(error, RuntimeError | OSError) and says_out_of_memory(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False
