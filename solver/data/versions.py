"""Versions of the public sets, told apart by a hash of their tasks.

The sets have been published several times, with tasks taken out and tasks changed. A score is
therefore of a version: `version_name` says which version a hash belongs to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from solver.grid import Task, key

# By `set_digest`. The names say where a version is from; docs/run.md says how versions differ.
KNOWN = {
    "cb92ceb66a163c03c2eae65e3de02da8": "ARC-AGI-1 training (repository, Kaggle 2024)",
    "b62c7769a79ad74e0b1c482c929e6568": "ARC-AGI-1 evaluation (repository)",
    "32d48486a5c15f475ba92baf6211926b": "ARC-AGI-1 evaluation (Kaggle 2024)",
    "7c342a7676ec9f3a4869467f1009f8e1": "ARC-AGI-2 training (repository, Kaggle 2026)",
    "d9782c7b6e6c95b4ef3fb543a34d5bac": "ARC-AGI-2 training (Kaggle 2025, nine tasks more)",
    "113c16a6c568c8d82e3c8e98d3aba387": "ARC-AGI-2 evaluation (repository)",
    "33ceec9adf482089fd8d7f91dac427a9": "ARC-AGI-2 evaluation (Kaggle 2025 and 2026)",
}
UNKNOWN = "tasks of no version that the kit knows"


def task_digest(tasks: Sequence[Task]) -> str:
    """Identity of a list of tasks: ids and grids, in the order of the list."""
    digest = hashlib.blake2b(digest_size=16)
    for task in tasks:
        digest.update(repr((task.id, len(task.train), len(task.tests))).encode())
        for grid in [g for p in task.train for g in (p.input, p.output)] + list(task.tests):
            digest.update(key(grid))
    return digest.hexdigest()


def set_digest(tasks: Iterable[Task]) -> str:
    """Identity of a set of tasks, whatever their order; the outputs of tests do not count.

    A challenges file and a folder of the same tasks have the same digest.
    """
    return task_digest(sorted(tasks, key=lambda task: task.id))


def version_name(digest: str) -> str:
    """The version in words, with the beginning of the digest if the kit does not know the version.

    Empty for an empty digest.
    """
    if not digest:
        return ""
    return KNOWN.get(digest, f"{UNKNOWN} ({digest[:8]})")
