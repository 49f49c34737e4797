"""`python -m solver SOURCE ...`: solve with no library but numpy.

The notebook runs this command.
"""

from __future__ import annotations

import time

STARTED = time.monotonic()  # the budget counts from here: the imports below are part of it

import sys  # noqa: E402

if __name__ == "__main__" and not sys.flags.safe_path:
    sys.path.append(sys.path.pop(0))  # so that no file of the current folder replaces a library

import argparse  # noqa: E402
from collections.abc import Callable  # noqa: E402

from solver.deadline import format_duration  # noqa: E402
from solver.runtime.board import Snapshot  # noqa: E402
from solver.runtime.command import SolveRequest, exit_code, run_solve  # noqa: E402
from solver.say import say  # noqa: E402

PRINT_EVERY_S, PRINT_SHARE = 10.0, 0.01  # seconds; a share of the time left


def main() -> int:
    """Parse the arguments, solve, print the summary. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m solver",
        description="Solve ARC tasks within a budget; leaves a valid submission.json.",
        epilog="example: python -m solver arc-agi-1:training --tasks 20 --budget 30s --run runs/a",
    )
    parser.add_argument("source", help="challenges file, folder of tasks, or built-in set")
    parser.add_argument("--solutions", help="solutions file, to print the score")
    parser.add_argument("--budget", help="30s, 5m, 12h (default 5m)")
    parser.add_argument("--steps", type=int, help="steps in place of time: the same run again")
    parser.add_argument("--tasks", help="how many, or ids separated by commas")
    parser.add_argument("--engines", help="names separated by commas")
    parser.add_argument("--workers", type=int, help="worker processes (default: one a core)")
    parser.add_argument("--devices", type=int, help="GPUs, in place of the profile's number")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", help="folder for submission, journal and log")
    parser.add_argument("--resume", action="store_true", help="continue the run in --run")
    parser.add_argument("--profile", default="cpu", help="its name, or a .toml file of your own")
    parser.add_argument("--model", help="folder of the language model, for profiles that use one")
    parser.add_argument("--hand-in", help="another file for the answers, as a competition wants it")
    parser.add_argument("--attempts", type=int, default=2, help="for each test input in that file")
    parser.add_argument(
        "--salvage", action="store_true", help="answer tasks that break the format, too, by a guess"
    )
    request = SolveRequest(**vars(parser.parse_args()))

    def action() -> None:
        say("\n".join(run_solve(request, STARTED, progress_printer()).lines()))

    return exit_code("solver", action)


def progress_printer() -> Callable[[Snapshot], None]:
    """A printer of progress lines for logs and notebooks: a few hundred lines in a run."""
    last = [time.monotonic()]
    said: set[str] = set()

    def watch(now: Snapshot) -> None:
        for note in now.notes:
            if note not in said:
                said.add(note)
                print(note, flush=True)
        due_s = max(PRINT_EVERY_S, PRINT_SHARE * now.left_s)
        if time.monotonic() - last[0] >= due_s:
            last[0] = time.monotonic()
            states = ", ".join(f"{n} {state}" for state, n in sorted(now.states.items()))
            left = format_duration(now.left_s)
            say(f"{now.attempted}/{now.total} tried, {left} left: {states}")

    return watch


if __name__ == "__main__":
    sys.exit(main())
