"""Print the ids of the training tasks that the bundled model's training held out.

    arcsub solve arc-agi-1:training --tasks "$(python scripts/heldout.py)" --budget 20m

This command scores a run on these tasks. The model never learned these tasks, and none of them is
an evaluation task. `--seed` is the seed of the training.
"""

from __future__ import annotations

import argparse

from solver.lm.training.corpus import read_corpus


def main() -> None:
    """Print one line of ids, as `--tasks` takes them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    held_out = read_corpus(None, parser.parse_args().seed).held_out
    print(",".join(held.task.id for held in held_out))


if __name__ == "__main__":
    main()
