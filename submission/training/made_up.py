"""Tasks made up for training: random programs of the synthesizer on grids of known tasks.

A made-up task takes its inputs from a known task with many generated pairs. The outputs are the
outputs of a program, run on each input. Alternatively the program runs on each output of the known
task, as a further step after the known task's rule. Rules that depend on certain colours are
dropped, since training exchanges colours. Rules that change almost nothing are dropped too.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from solver.grid import COLORS, Pair, key, same, stable_seed
from solver.lm.training.corpus import Lesson
from solver.lm.training.stream import random_view, sequence_length
from solver.synth.grids.expand import DROP, IMAGE, JOIN, KEEP, MAP, PAIR, PICK, SORT, SPLIT
from solver.synth.grids.primitives import call, operations
from solver.synth.interpret import run
from solver.synth.objects.colors import REFS
from solver.synth.objects.objects import FEATURES, NOMINAL
from solver.synth.objects.rays import DIRECTIONS
from solver.synth.objects.regions import ALL_REGIONS
from solver.synth.program import INPUT, Call
from solver.views import TURNS, View

PAIRS, FEWEST = 32, 20  # the most pairs of a task, and the fewest
LONGEST = 700  # tokens of a pair
_TRIES = 400  # the most programs tried for one task
_LOOK = 5  # number of pairs that a program is first tried on

# Kinds of operation that may follow one image, or a list of images, with their chances.
_ON_ONE = {IMAGE: 0.6, PAIR: 0.1, SPLIT: 0.3}
_ON_MANY = {JOIN: 0.4, PICK: 0.25, KEEP: 0.12, DROP: 0.12, SORT: 0.03, MAP: 0.08}
_STEPS = (0.2, 0.4, 0.3, 0.1)  # chances of one step, two steps, ...
_FURTHER = 0.35  # chance of a program on outputs
_OBJECTS = 0.45  # chance of a rule over objects
_MODES = (
    *("one color, 8 ways", "one color, 8 ways", "one color, 4 ways"),
    *("mixed, 8 ways", "mixed, 8 ways", "mixed, 4 ways", "colors", "ground", "cells"),
)
_SIDES = ("up", "down", "left", "right")


@dataclass(frozen=True, eq=False)
class MadeUp:
    """A made-up task.

    lesson: id of the known task that the inputs are from.
    program: the program that made the outputs.
    further: true if the program ran on the known task's outputs, false for its inputs.
    """

    id: str
    lesson: str
    program: str
    further: bool
    pairs: tuple[Pair, ...]


def tasks_of(lessons: Sequence[Lesson], numbers: Sequence[int], seed: int) -> Iterator[MadeUp]:
    """The tasks with these numbers, without tasks that could not be made up."""
    with_pairs = [lesson for lesson in lessons if len(lesson.generated) >= FEWEST]
    for number in numbers if with_pairs else ():
        task = make_up(with_pairs, number, seed)
        if task is not None:
            yield task


def make_up(lessons: Sequence[Lesson], number: int, seed: int) -> MadeUp | None:
    """Task `number` of a seed; None if none of `_TRIES` programs is suitable.

    The task does not depend on other tasks that are made. `lessons` must have generated pairs,
    since the inputs are taken from these pairs.
    """
    rng = np.random.default_rng(stable_seed(seed, "made up", number))
    for _ in range(_TRIES):
        lesson = lessons[int(rng.integers(len(lessons)))]
        further = bool(rng.random() < _FURTHER)
        new = int(rng.integers(1, COLORS))
        program = _rule(rng, new) if rng.random() < _OBJECTS else _chain(rng)
        pairs = _pairs(rng, lesson, program, further, new)
        if pairs is not None:
            return MadeUp(f"made-up-{number:05}", lesson.id, str(program), further, pairs)
    return None


def write(path: Path, tasks: Sequence[MadeUp]) -> None:
    """Write an archive that `read_corpus` can read, with a list of the programs."""
    told = {t.id: {"from": t.lesson, "further": t.further, "program": t.program} for t in tasks}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("programs.json", json.dumps(told, indent=1))
        for task in tasks:
            grids = [{"input": p.input.tolist(), "output": p.output.tolist()} for p in task.pairs]
            archive.writestr(f"tasks/{task.id}.json", json.dumps(grids, separators=(",", ":")))


def _pairs(
    rng: np.random.Generator, lesson: Lesson, program: Call, further: bool, new: int
) -> tuple[Pair, ...] | None:
    """The task's pairs; None if the program makes too few pairs or is not a suitable rule."""
    short = [pair for pair in lesson.generated if sequence_length(pair) <= LONGEST]
    if len(short) < FEWEST:
        return None
    drawn = [short[i] for i in rng.permutation(len(short))[:PAIRS]]
    bases = [_without(pair, new) for pair in drawn]
    pairs: list[Pair] = []
    for i, base in enumerate(bases):
        made = _made(program, base, further)
        if made is not None and sequence_length(made) <= LONGEST:
            pairs.append(made)
        if i + 1 == _LOOK and not (len(pairs) > _LOOK / 2 and _lively(pairs)):
            return None
    if len(pairs) < FEWEST or not _lively(pairs):
        return None
    return tuple(pairs) if _blind(rng, program, bases[:_LOOK], further, new) else None


def _made(program: Call, base: Pair, further: bool) -> Pair | None:
    """The task's pair for a base pair; None if the program fails or changes nothing."""
    start = base.output if further else base.input
    output = run(program, start)
    if output is None or same(output, start):
        return None
    return Pair(base.input, output)


def _lively(pairs: Sequence[Pair]) -> bool:
    """True if outputs differ from inputs, and vary.

    The number of distinct outputs must be more than half the number of pairs. More than 60 % of the
    outputs must have several colours.
    """
    if any(same(pair.input, pair.output) for pair in pairs):
        return False
    contents = {key(pair.output) for pair in pairs}
    colored = sum(len(np.unique(pair.output)) > 1 for pair in pairs)
    return len(contents) > len(pairs) / 2 and colored > len(pairs) * 0.6


def _blind(
    rng: np.random.Generator, program: Call, bases: Sequence[Pair], further: bool, new: int
) -> bool:
    """True if the rule stays the same when colours other than black and `new` are exchanged.

    The test is one random exchange of colours for each of `bases`.
    """
    for base in bases:
        view = View(0, random_view(rng, frozenset({0, new})).colors)
        shown = _made(program, view.apply_pair(base), further)
        plain = _made(program, base, further)
        if (shown is None) != (plain is None):
            return False
        if shown and plain and not same(shown.output, view.apply(plain.output)):
            return False
    return True


def _without(pair: Pair, color: int) -> Pair:
    """The pair with `color` replaced by a colour that the pair does not contain.

    A pair without `color`, or with all colours, is returned unchanged.
    """
    shown = set(np.unique(pair.input)) | set(np.unique(pair.output))
    free = [c for c in range(1, COLORS) if c not in shown]
    if color not in shown or not free:
        return pair
    colors = list(range(COLORS))
    colors[color] = free[0]
    return View(0, tuple(colors)).apply_pair(pair)


# --- programs ---------------------------------------------------------------------------


def _chain(rng: np.random.Generator) -> Call:
    """A chain of random primitives of the grid search, none of them for a certain colour."""
    program, many = INPUT, False
    steps = 1 + int(rng.choice(len(_STEPS), p=_STEPS))
    while steps > 0 or many:
        chances = _ON_MANY if many else _ON_ONE
        kind = int(rng.choice(list(chances), p=list(chances.values())))
        code, arg = _operation(rng, kind)
        program = call(kind, code, arg, program, INPUT, None)
        many = kind in (SPLIT, KEEP, DROP, SORT, MAP)
        steps -= kind != SPLIT
    return program


def _operation(rng: np.random.Generator, kind: int) -> tuple[int, int]:
    """A random primitive of a kind, all equally likely, and a random argument of the primitive."""
    codes = sorted(_OPERATIONS[kind])
    code = codes[rng.integers(len(codes))]
    args = _OPERATIONS[kind][code]
    return code, args[rng.integers(len(args))]


def _by_kind() -> dict[int, dict[int, list[int]]]:
    found: dict[int, dict[int, list[int]]] = {}
    for kind, code, arg, _ in operations((), sized=False).tolist():
        found.setdefault(kind, {}).setdefault(code, []).append(arg)
    return found


_OPERATIONS = _by_kind()


def _rule(rng: np.random.Generator, new: int) -> Call:
    """A random rule: one or two actions on objects, chosen by tests of properties."""
    rules: list[tuple[Any, ...]] = [(_test(rng), _action(rng, new))]
    if rng.random() < 0.5:
        rules.append((("", "all", 0), _action(rng, new)))
    elif rng.random() < 0.3:
        rules = [(("", "all", 0), rules[0][1])]
    mode = _MODES[rng.integers(len(_MODES))]
    return Call("object_rule", (INPUT, mode, "0", tuple(rules)))


def _test(rng: np.random.Generator) -> tuple[str, str, int]:
    feature = FEATURES[rng.integers(len(FEATURES))]
    simple = [("one", 0), ("mode", 0), ("many", 0)]
    if feature in NOMINAL:
        choices = simple
    else:
        least = int(rng.integers(1, 6))
        ordered = [("max", 0), ("min", 0), ("rank", 1), ("==", least - 1), (">=", least)]
        choices = [*ordered, *ordered, *simple]
    op, value = choices[rng.integers(len(choices))]
    return feature, op, value


def _action(rng: np.random.Generator, new: int) -> tuple[Any, ...]:
    """A random action on an object. The chance of the new colour as the ink is 1/2."""
    side = _SIDES[rng.integers(4)]
    direction = list(DIRECTIONS)[rng.integers(8)]
    reference = REFS[rng.integers(len(REFS))]
    ink = str(new) if rng.random() < 0.5 else reference
    place = ALL_REGIONS[rng.integers(len(ALL_REGIONS))]
    near = [int(x) for x in rng.integers(-2, 3, 2)]
    moves: tuple[tuple[Any, ...], ...] = (
        ("fall", side),
        ("turn", TURNS[rng.integers(1, 8)]),
        ("mirror", side, int(rng.integers(-1, 2))),
        ("step", direction, int(rng.integers(1, 3))),
        ("move", *near),
        ("copy", *near),
        ("ghost", *near, ink),
        ("approach", "largest", 30),
        ("swap",),
    )
    draw = rng.random()
    if draw < 0.2:
        return ("paint", "self", ink)
    return ("paint", place, ink) if draw < 0.65 else moves[rng.integers(len(moves))]
