"""Cell rules over states of the grid search: states of the right size become layers.

First the cheapest states with the sizes of the outputs are found. A rule then sees the features
of a base grid, and the colours of up to nine states in the same place. A tree can therefore
decide for each cell which of several programs is right.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from solver.deadline import Deadline
from solver.grid import Grid, Task, freeze
from solver.synth.cells.tree import Rule, paint
from solver.synth.features.compute import features
from solver.synth.features.layers import LAYERS
from solver.synth.features.table import INDEX, Features
from solver.synth.grids import search as gr
from solver.synth.grids import space as sp
from solver.synth.grids.expand import MORE, expand
from solver.synth.grids.sizes import size_rules
from solver.synth.program import INPUT, Call, Op, as_output

MAX_STATES = 4000
BATCHES = 12
_FIRST = INDEX["layer_0"]


@dataclass(frozen=True, eq=False)
class State:
    """A program with its grids for all inputs of the task.

    grids: demonstrations first, then test inputs.
    bits: length of the program.
    """

    program: Call
    grids: tuple[Grid, ...]
    bits: float


def layered(base: Grid, layers: tuple[Grid, ...], background: str) -> Features:
    """Features of `base`, with layers of the same shape as `layer_0`, `layer_1` and so on."""
    table = features(base, background)
    for i, layer in enumerate(layers):
        table[_FIRST + i] = layer.ravel()
    return table


def cell_rule_layers(
    base: object, layers: tuple[Any, ...], rule: Rule, background: str
) -> Grid | None:
    """Colour every cell of `base` by a rule that sees other grids of the same shape.

    None if a shape differs or the rule copies a colour that is absent.
    """
    first = as_output(base)
    others = [as_output(layer) for layer in layers]
    if first is None or any(o is None or o.shape != first.shape for o in others):
        return None
    shown = tuple(o for o in others if o is not None)
    colors = paint(rule, layered(first, shown, background))
    return freeze(colors.reshape(first.shape).astype(np.uint8)) if colors.max() <= 9 else None


OPS = {"cell_rule_layers": Op(cell_rule_layers, "colours every cell by a rule over several grids")}


def reachable(task: Task, deadline: Deadline) -> Iterator[list[State] | None]:
    """The cheapest distinct states that have the size of every output.

    None is yielded while the search runs; the list of states comes last.
    """
    rule = next(iter(size_rules(task)), None)
    run = gr.new_run(task, rule)
    status = MORE
    while status == MORE and not deadline.passed():
        status = expand(run.space, run.ops, run.inst, gr.MAX_COST, gr.CHUNK)
        yield None
        if run.space.used[sp.STATES] > MAX_STATES:
            break
    yield _fitting(run, task)


def _fitting(run: gr.GridSearch, task: Task) -> list[State]:
    space, demos = run.space, len(task.train)
    ones = np.flatnonzero(space.kind[: int(space.used[sp.STATES])] == sp.ONE)
    blocks = space.ref[space.first[ones, :-1], 0]  # (n, K)
    shapes = space.block[blocks, 1:3]  # (n, K, 2)
    wanted = np.array([pair.output.shape for pair in task.train])
    fits = (shapes[:, :demos] == wanted).all(axis=(1, 2))
    if run.rule is not None:
        fits &= (shapes == np.array(run.rule.shapes)).all(axis=(1, 2))
    order = np.argsort(space.cost[ones[fits]], kind="stable")
    found: dict[bytes, State] = {}
    for i in order.tolist():
        state = int(ones[fits][i])
        row = blocks[fits][i].tolist()
        if str(row).encode() in found or len(found) >= LAYERS * BATCHES:
            continue
        grids = tuple(freeze(sp.block_image(space, b).copy()) for b in row)
        program = gr.program_of(run, state)
        found[str(row).encode()] = State(program, grids, float(space.cost[state]))
    return list(found.values())


def batches(task: Task, states: list[State]) -> Iterator[tuple[State, list[State]]]:
    """A base and up to nine layers for each rule to learn.

    The base is the input if the task keeps the shapes of its grids, else the cheapest state.
    """
    inputs = tuple(pair.input for pair in task.train) + task.tests
    same = all(pair.input.shape == pair.output.shape for pair in task.train)
    base = State(INPUT, inputs, 0.0) if same else (states[0] if states else None)
    rest = [s for s in states if base is not None and s.program != base.program]
    for i in range(0, len(rest), LAYERS):
        layers = rest[i : i + LAYERS]
        if base is not None and all(_alike(base, layer) for layer in layers):
            yield base, layers


def _alike(a: State, b: State) -> bool:
    return all(x.shape == y.shape for x, y in zip(a.grids, b.grids, strict=True))


def used_layers(rule: Rule, layers: list[State]) -> tuple[Rule, list[State]]:
    """The rule with the layers that it uses numbered from 0, and the states of these layers."""
    names = sorted({name for name in _names(rule) if name.startswith("layer_")})
    known = [name for name in names if name[6:].isdecimal() and int(name[6:]) < len(layers)]
    renamed = {name: f"layer_{i}" for i, name in enumerate(known)}
    return _rename(rule, renamed), [layers[int(name[6:])] for name in known]


def _names(rule: Any) -> Iterator[str]:
    if isinstance(rule, tuple):
        for part in rule:
            yield from _names(part)
    elif isinstance(rule, str):
        yield rule


def _rename(rule: Any, renamed: dict[str, str]) -> Any:
    if isinstance(rule, tuple):
        return tuple(_rename(part, renamed) for part in rule)
    return renamed.get(rule, rule) if isinstance(rule, str) else rule
