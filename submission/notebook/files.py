"""The solver's files in a notebook: only files that the notebook's run may use.

Kaggle limits a notebook's size, and a reader's patience is limited, too.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from solver.engines import ENGINES, READY, SETTINGS
from solver.grid import DataError
from solver.kit import package_files
from solver.notebook.restarts import FALLBACK_PROFILE

STARTED = ("solver.notebook.session", "solver.__main__")  # by the notebook's cells
TABLES = "solver.engines"  # names all engines, so its texts are not followed
PROFILES = "solver/profiles"
Files = list[tuple[str, Path]]


def run_files(profile: str, engines: Collection[str]) -> Files:
    """The files that a run with these engines may use, sorted by name.

    Each file comes as the name in the kit and the path on this machine. Modules are followed
    through imports, and through texts that name a module, as `importlib` and `python -m` take them.
    The run's profile comes with the kit's fallback profile. Raises `DataError` if a user's profile
    has the name of a profile of the kit.
    """
    every = dict(package_files())
    names = {_module(name): name for name in every if name.endswith(".py")}
    tables = (ENGINES, SETTINGS, READY)
    places = [table[e] for e in engines for table in tables if e in table]
    roots = [*STARTED, *(place.partition(":")[0] for place in places)]
    used = _reachable(roots, {module: every[name] for module, name in names.items()})
    files = {names[module]: every[names[module]] for module in used}
    profiles = {f"{PROFILES}/{FALLBACK_PROFILE}.toml": every[f"{PROFILES}/{FALLBACK_PROFILE}.toml"]}
    profiles |= {f"{PROFILES}/{profile_name(profile)}.toml": _profile(profile, every)}
    return sorted((files | profiles).items())


def profile_name(profile: str) -> str:
    """The profile's name in the notebook; for a file, the file's name without `.toml`."""
    return Path(profile).name.removesuffix(".toml")


def _profile(profile: str, every: Mapping[str, Path]) -> Path:
    of_the_kit = every.get(f"{PROFILES}/{profile_name(profile)}.toml")
    if not profile.endswith(".toml"):
        assert of_the_kit, profile
        return of_the_kit
    if of_the_kit:
        raise DataError(f"--profile {profile}: the kit has one of that name; give yours another")
    return Path(profile)


def _module(name: str) -> str:
    parts = Path(name).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _reachable(roots: Collection[str], modules: Mapping[str, Path]) -> set[str]:
    found: set[str] = set()
    todo = list(roots)
    while todo:
        module = todo.pop()
        if module in modules and module not in found:
            found.add(module)
            todo += [module.rpartition(".")[0], *_named(module, modules[module])]
    return found


def _named(module: str, path: Path) -> Iterator[str]:
    """The names that a module imports, anywhere in its code, and texts that may name a module.

    The texts of `TABLES` are left out.
    """
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and module != TABLES:
            yield node.value
