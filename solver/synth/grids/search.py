"""The grid search: programs of primitives that give the outputs, or layers of the outputs.

For each rule for the output size (`sizes`), one search space (`space`) is expanded, cheapest
states first (`expand`). Every new state is compared with the outputs (`judge`): the state may
equal the outputs, perhaps up to a colour map. A state may also become a layer (`pieces`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solver.deadline import Deadline, FakeClock
from solver.grid import Grid, Pair, Task, freeze, is_grid, key
from solver.synth.fit import recolored
from solver.synth.grids import judge as jd
from solver.synth.grids import pieces as pc
from solver.synth.grids import space as sp
from solver.synth.grids.expand import MORE, expand
from solver.synth.grids.piece_kernels import MAP_BITS, Pieces, collect, new_pieces
from solver.synth.grids.primitives import as_image, call, operations
from solver.synth.grids.sizes import SizeRule, size_rules
from solver.synth.program import INPUT, Call, Image, Op, Solution

MAX_STATES = 300_000
MAX_PIXELS = 128 << 20
MAX_COST = 40
CHUNK = 2_000_000  # work units of one call of `expand`, a few milliseconds
MAX_RULES = 2  # the most output sizes tried
MAX_STATES_ONCE_SIZED = 5000  # number of states after which one size rule is enough
REPORTS = 3  # the most programs reported for the same answer


@dataclass
class GridSearch:
    """One search: a task, a size rule or None, and everything reached so far."""

    task: Task
    rule: SizeRule | None
    space: sp.Space
    ops: NDArray[np.int64]  # (N, 4), see `expand`
    inst: NDArray[np.int64]  # (K, 3), see `expand`
    target: jd.Target
    pieces: Pieces
    reported: dict[bytes, int] = field(default_factory=dict)
    rules: list[SizeRule] = field(default_factory=list)

    @property
    def demos(self) -> int:
        return len(self.task.train)


def search(task: Task, deadline: Deadline) -> Iterator[Solution | None]:
    """Programs over grids that reproduce every demonstration; None where the caller may pause.

    States are expanded cheapest first, so cheap programs come early.
    """
    yield from _search(task, deadline, MAX_PIXELS)


def search_aside(task: Task, deadline: Deadline) -> Iterator[Solution | None]:
    """`search` in a quarter of the memory, for a search that runs beside the main search."""
    yield from _search(task, deadline, MAX_PIXELS // 4)


def _search(task: Task, deadline: Deadline, pixels: int) -> Iterator[Solution | None]:
    rules = list(size_rules(task))
    if not rules:
        unsized = new_run(task, None, pixels)
        yield from _explore(unsized, deadline)
        rules = unsized.rules
    for n, rule in enumerate(rules[:MAX_RULES], 1):
        share = deadline.slice(deadline.left() * (0.7 if n < len(rules[:MAX_RULES]) else 1.0))
        yield from _explore(new_run(task, rule, pixels), share)


def prepare() -> None:
    """Compile, or load from disk, every kernel that `search` calls."""
    small = freeze(np.array([[0, 1], [1, 2]], dtype=np.uint8))
    task = Task("prepare", (Pair(small, small),), (small,))
    run = new_run(task, next(size_rules(task)))
    expand(run.space, run.ops, run.inst, MAX_COST, CHUNK // 100)
    _judge(run, 0)
    jd.color_map(run.space, 0, run.target, np.empty(10, np.int64))
    collect(run.space, run.target, run.pieces, CHUNK)
    for _ in _stacks(run, Deadline.after(60.0, FakeClock())):
        pass


def new_run(task: Task, rule: SizeRule | None, pixels: int = MAX_PIXELS) -> GridSearch:
    """A search at its start: the space contains only the inputs.

    pixels: memory for cells, in bytes.
    """
    grids = [pair.input for pair in task.train] + list(task.tests)
    shapes = np.array([grid.shape for grid in grids], dtype=np.int64)
    space = sp.new_space(len(grids), MAX_STATES, pixels)
    inst = np.zeros((len(grids), 3), np.int64)
    inst[:, 0] = sp.start(space, np.concatenate([grid.ravel() for grid in grids]), shapes)
    if rule:
        inst[:, 1:] = rule.shapes
    colors = {int(c) for grid in grids for c in np.unique(grid)}
    colors |= {int(c) for pair in task.train for c in np.unique(pair.output)}
    target = pc.target_of(task)
    ops = operations(sorted(colors), rule is not None)
    return GridSearch(task, rule, space, ops, inst, target, new_pieces(target, MAX_STATES))


def _explore(run: GridSearch, deadline: Deadline) -> Iterator[Solution | None]:
    """Expand until the deadline, the highest cost or the end of the memory.

    Without a size rule, stop early once states have shown enough sizes for the outputs.
    """
    begin, stacked, status = 0, 0, MORE
    while status == MORE and not deadline.passed():
        status = expand(run.space, run.ops, run.inst, MAX_COST, CHUNK)
        before = begin
        begin, found = _judge(run, begin)
        yield from found
        yield None
        if run.rule is None:
            run.rules.extend(_state_rules(run, before, begin))
            if run.rules and (begin > MAX_STATES_ONCE_SIZED or len(run.rules) >= MAX_RULES):
                return
            continue
        while collect(run.space, run.target, run.pieces, CHUNK) and not deadline.passed():
            yield None
        if run.pieces.used[0] > 2 * stacked or status != MORE:
            stacked = int(run.pieces.used[0])
            yield from _stacks(run, deadline)


def _state_rules(run: GridSearch, begin: int, end: int) -> list[SizeRule]:
    """Size rules from states that have the size of every output."""
    wanted = run.target.shape[:, :2]
    ones = np.flatnonzero(run.space.kind[begin:end] == sp.ONE) + begin
    blocks = run.space.ref[run.space.first[ones, :-1], 0]  # (n, K)
    shapes = run.space.block[blocks, 1:3]  # (n, K, 2)
    fits = (shapes[:, : run.demos] == wanted).all(axis=(1, 2))
    known = {rule.shapes for rule in run.rules}
    rules = []
    for state, shape in zip(ones[fits].tolist(), shapes[fits].tolist(), strict=True):
        sizes = tuple((h, w) for h, w in shape)
        if sizes not in known:
            known.add(sizes)
            rules.append(SizeRule(Call("size_of", (program_of(run, state),)), sizes))
    return rules


def _judge(run: GridSearch, begin: int) -> tuple[int, list[Solution]]:
    """The next state to judge, and the solutions among the states from `begin` on."""
    verdict = np.empty((64, 2), np.int64)
    found = []
    n, begin = jd.judge(run.space, run.target, begin, verdict)
    for state, kind in verdict[:n].tolist():
        solution = _exact(run, state) if kind == jd.EXACT else _mapped(run, state)
        if solution:
            found.append(solution)
    return begin, found


def _exact(run: GridSearch, state: int) -> Solution | None:
    outputs = [_cells(run.space, state, k) for k in _tests(run)]
    return _solution(run, lambda: program_of(run, state), outputs, _bits(run, state))


def _mapped(run: GridSearch, state: int) -> Solution | None:
    table = np.empty(10, np.int64)
    jd.color_map(run.space, state, run.target, table)
    outputs = [freeze(table[_cells(run.space, state, k)].astype(np.uint8)) for k in _tests(run)]
    pairs = tuple((c, int(t)) for c, t in enumerate(table.tolist()) if t >= 0 and t != c)
    bits = _bits(run, state) + MAP_BITS * len(pairs) + 4
    return _solution(
        run, lambda: Call("map_colors", (program_of(run, state), pairs)), outputs, bits
    )


def _stacks(run: GridSearch, deadline: Deadline) -> Iterator[Solution | None]:
    for layers in pc.stacks(run.pieces, run.target, deadline):
        if layers is None:
            yield None
            continue
        rule = run.rule
        assert rule is not None
        outputs = [
            pc.layered(run.space, run.pieces, layers, k, rule.shapes[k]) for k in _tests(run)
        ]
        bits = sum(float(run.pieces.cost[piece]) + pc.LAYER_BITS for piece, _ in layers)
        yield _solution(run, lambda: _stack_program(run, layers), outputs, bits)  # noqa: B023


def _stack_program(run: GridSearch, layers: Sequence[pc.Layer]) -> Call:
    assert run.rule is not None
    parts = []
    for piece, mode in layers:
        part = program_of(run, int(run.pieces.state[piece]))
        pairs = tuple((c, t) for c, t in enumerate(run.pieces.map[piece].tolist()) if c != t)
        parts.append((pc.MODES[mode], Call("map_colors", (part, pairs)) if pairs else part))
    return Call("layers", (run.rule.program, *parts))


def _solution(
    run: GridSearch, program: Callable[[], Call], outputs: Sequence[Grid], bits: float
) -> Solution | None:
    """A solution; None if an output is not a legal grid.

    None also if the same outputs have been reported `REPORTS` times.
    """
    if not all(map(is_grid, outputs)):
        return None
    answer = b"".join(map(key, outputs))
    times = run.reported.get(answer, 0)
    run.reported[answer] = times + 1
    return Solution(program(), tuple(outputs), bits) if times < REPORTS else None


def program_of(run: GridSearch, state: int) -> Call:
    """The program that makes a state from the input."""
    size = run.rule.program if run.rule else None
    path = []
    while state > 0:
        path.append(int(run.space.op[state]))
        state = int(run.space.parent[state])
    program = INPUT
    for op in reversed(path):
        kind, code, arg, _ = run.ops[op].tolist()
        program = call(kind, code, arg, program, INPUT, size)
    return program


def _bits(run: GridSearch, state: int) -> float:
    return float(run.space.cost[state])


def _tests(run: GridSearch) -> range:
    return range(run.demos, run.demos + len(run.task.tests))


def _cells(space: sp.Space, state: int, k: int) -> Grid:
    block = space.ref[space.first[state, k], 0]
    return freeze(sp.block_image(space, block).copy())


def _map_colors(value: Any, pairs: tuple[tuple[int, int], ...]) -> Image | None:
    image = as_image(value)
    if image is None:
        return None
    return Image(freeze(recolored(image.cells, pairs)), image.y, image.x)


OPS: dict[str, Op] = {"map_colors": Op(_map_colors, "replace colours by a table")}
