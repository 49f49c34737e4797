"""Measure the trust that a model's guess deserves, by recorded runs with known solutions.

    arcsub solve arc-agi-1:training --tasks "$(python scripts/heldout.py)" --budget 20m \
        --engines joint,model --run runs/held-out
    python scripts/bench/guesses.py runs/held-out [RUN ...]

The script prints how often a test input's best guess is right, by the chance of the guess.
`solver.answers.confidence` gives this chance, once by the model's loss after learning, and once
without this loss. For both, the script prints the mean cost of a guess in nats. The runs should be
on training tasks that the model never saw.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from solver.answers.confidence import guess_chances
from solver.answers.select import SELECTORS
from solver.grid import Candidate, same
from submission.runs.history import History, read_history

EDGES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.01)
MIN_CHANCE = 0.005  # chances are clipped to this distance from 0 and from 1


def main() -> None:
    """Read the runs and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN")
    runs = list(map(read_history, parser.parse_args().runs))
    for name, learned in (("as it is", True), ("whatever the model has learned", False)):
        _print(name, [pair for run in runs for pair in best_guesses(run, learned=learned)])


def best_guesses(run: History, *, learned: bool) -> Iterator[tuple[float, bool]]:
    """The best guess for each test input that has a guess: its chance, and True if it is right.

    Without `learned`, the chance ignores the model's loss after learning.
    """
    for found, outputs in zip(run.pool(), run.truth(), strict=True):
        for test, output in enumerate(outputs):
            own = [c for c in found if c.test == test and c.program is None and c.votes]
            seen: list[Candidate] = own if learned else [replace(c, unlearned=0.0) for c in own]
            ranked = SELECTORS[run.config.selector](seen)
            if ranked:
                yield guess_chances(ranked)[0], same(ranked[0].grid, output)


def _print(name: str, pairs: Sequence[tuple[float, bool]]) -> None:
    chances = np.clip([chance for chance, _ in pairs], MIN_CHANCE, 1 - MIN_CHANCE)
    right = np.array([is_right for _, is_right in pairs])
    nats = -np.log(np.where(right, chances, 1 - chances)).mean()
    print(f"{name}: {len(pairs)} guesses, mean chance {chances.mean():.1%}, ", end="")
    print(f"right {right.mean():.1%}, {nats:.3f} nats")
    for low, high in pairwise(EDGES):
        some = right[(low <= chances) & (chances < high)]
        if some.size:
            print(f"  {low:4.0%} to {min(high, 1):4.0%} {some.size:5} {some.mean():6.0%} right")


if __name__ == "__main__":
    main()
