"""Examples from a task's demonstrations at test time, under many views.

In the context format an example asks for one demonstration's output, and shows the other
demonstrations (leave-one-out). To get more examples, one more demonstration is left out
(arXiv:2411.07279). In the pair format an example is one demonstration under one view, and shows no
others. This module needs only numpy.
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
_TRIES = 20  # rounds without a new example after which the examples end


@dataclass(frozen=True, eq=False)
class Example:
    """A pair whose output is asked for, after the pairs in `shown`.

    All pairs are first reshaped by `reshape`, then turned and recoloured by `view`. The order in
    `view` is the order of `shown`: its numbers count only the demonstrations that are shown.
    """

    pair: Pair
    shown: tuple[Pair, ...]
    view: View
    reshape: Reshape = AS_IT_IS

    @property
    def identity(self) -> tuple[object, ...]:
        """Equal for two examples that a model cannot tell apart; the model is given the turn."""
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
    """At most `limit` distinct examples, the same for the same seed.

    The examples are balanced from the start: demonstrations are asked for, and the eight turns
    used, about equally often. With `context` the other demonstrations are shown in random order.
    All of them are shown in the first `views` rounds, all but one in the next `views` rounds, and
    then all again. With fewer than three demonstrations none is left out in this way.
    `fixed`: the colours that no view exchanges; if None, the colours that keep the rule's meaning
    (`lesson_of`). `reshaped`: the part of examples that are shifted or enlarged.
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
    """The demonstrations asked for in a round, each with the others to show before it.

    `n`: number of demonstrations. `number`: number of the round.
    """
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
