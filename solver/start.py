"""A module of the kit run in a separate process, wherever this process is started.

`python -m` looks for modules in the current folder first: a user's `random.py` there would
replace Python's module. A file of the kit's own folder on `PYTHONPATH` would do the same. This
module loads the package from its own folder, and neither folder comes onto the path.
"""

from __future__ import annotations

import importlib.util
import os
import runpy
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def command(module: str, *arguments: object) -> list[str]:
    """The command line of a new Python that runs a module, such as `solver.runtime.worker`."""
    return [sys.executable, "-P", os.path.abspath(__file__), module, *map(str, arguments)]


def import_path(environment: str | None) -> list[str]:
    """The folders of a `PYTHONPATH` without the current one, named or empty."""
    try:
        here = os.path.realpath(os.curdir)
    except OSError:  # the current folder was deleted
        return [folder for folder in (environment or "").split(os.pathsep) if folder]
    folders = (environment or "").split(os.pathsep)
    return [folder for folder in folders if os.path.realpath(folder or os.curdir) != here]


def main() -> None:
    """Load the kit, and run the module that the first argument names.

    The module runs with the other arguments, as by `python -m`.
    """
    del sys.argv[0]
    for package in dict.fromkeys(("solver", sys.argv[0].partition(".")[0])):
        _load(package)
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _load(package: str) -> None:
    folder = os.path.join(ROOT, package)
    spec = importlib.util.spec_from_file_location(
        package, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    assert spec
    assert spec.loader
    sys.modules[package] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


if __name__ == "__main__":
    main()
