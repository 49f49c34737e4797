"""Examples from a task's demonstrations at test time: each is asked once, under many views.

In the context format the other demonstrations are shown: each is left out in turn, and then,
to top up, one more is left out too (arXiv:2411.07279). In the pair format nothing is shown,
and an example is one demonstration under one view. Needs nothing but numpy.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from solver.grid import Pair, Task, stable_seed
from solver.lm.training.corpus import lesson_of
from solver.lm.training.reshape import AS_IT_IS, Reshape, draw
from solver.lm.training.stream import random_view
from solver.views import View

LIMIT = 250
_TRIES = 20  # rounds without anything new after which there is nothing new


@dataclass(frozen=True, eq=False)
class Example:
    """`pair` is asked after `shown`, all of them as `view` shows them once they are `reshape`d.

    The order of the view is that of `shown`, among the demonstrations that are left.
    """

    pair: Pair
    shown: tuple[Pair, ...]
    view: View
    reshape: Reshape = AS_IT_IS

    @property
    def identity(self) -> tuple[object, ...]:
        """Equal for two examples that look the same to a model that is told the turn."""
        return (self.view.d8, self.pair, self.shown)


def examples(
    task: Task,
    limit: int,
    seed: int,
    *,
    context: bool,
    views: int = 32,
    fixed: frozenset[int] | None = None,
    reshaped: float = 0.0,
) -> Iterator[Example]:
    """At most `limit` distinct examples, the same for the same seed, even from the start: each
    demonstration is asked as often as any other, in all eight turns, give or take one.

    With `context` the other demonstrations are shown in random order: all of them under the
    first `views` views, then all but one, then all again. `fixed`: the colours that stay; if
    left out, those that keep the rule's meaning (`lesson_of`). `reshaped`: the part of
    examples that are shifted or enlarged.
    """
    rng = np.random.default_rng(stable_seed(seed, task.id, "examples"))
    fixed = lesson_of(task).fixed_colors if fixed is None else fixed
    seen: set[tuple[object, ...]] = set()
    stale = 0
    for number in itertools.count():
        before = len(seen)
        for asked, others in _round(len(task.train), number, context, views):
            view = replace(random_view(rng, fixed), d8=(number + asked) % 8)
            order = rng.permutation(others).tolist()
            other_shape = reshaped and rng.random() < reshaped
            reshape = draw(rng, task.train) if other_shape else AS_IT_IS
            example = _example(task, asked, order, view, reshape)
            if example.identity not in seen and len(seen) < limit:
                seen.add(example.identity)
                yield example
        stale = stale + 1 if len(seen) == before else 0
        if len(seen) >= limit or stale >= _TRIES:
            return


def _round(n: int, number: int, context: bool, views: int) -> list[tuple[int, list[int]]]:
    """Which demonstration is asked after which others, in one round of examples."""
    rest = [(asked, [i for i in range(n) if i != asked]) for asked in range(n)]
    if not context:
        return [(asked, []) for asked, _ in rest]
    if n < 3 or not views <= number < 2 * views:
        return rest
    return [(asked, [i for i in some if i != out]) for asked, some in rest for out in some]


def _example(
    task: Task, asked: int, others: Sequence[int], view: View, reshape: Reshape
) -> Example:
    ranks = sorted(others)
    order = tuple(ranks.index(i) for i in others)
    pair, *shown = (view.apply_pair(reshape.apply_pair(task.train[i])) for i in (asked, *others))
    return Example(pair, tuple(shown), replace(view, order=order), reshape)
