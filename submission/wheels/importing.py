"""Imports of shipped packages, tried by a fresh Python after an offline installation.

The script takes the packages' names and prints one JSON object with the packages that can be
imported, and the packages that cannot. Only the standard library is used, since no other package is
known to work there.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from importlib.metadata import distribution, packages_distributions

WITHOUT = "torch"  # part of the image, several gigabytes: only its metadata is installed here


def plain(name: str) -> str:
    """A package's name in the form in which package indexes compare names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needs(name: str, seen: frozenset[str] = frozenset()) -> set[str]:
    """The packages that a package requires without extras, directly or through others."""
    found = set()
    for text in distribution(name).requires or ():
        other = plain(re.split(r"[^\w.-]", text, maxsplit=1)[0])
        if "extra ==" not in text and other not in seen:
            found.add(other)
    installed = {other for other in found if other in INSTALLED}
    return found.union(*(needs(other, seen | found | {name}) for other in installed))


def main(shipped: list[str]) -> None:
    """Import every package that does not need torch; report the versions of all."""
    report: dict[str, dict[str, str]] = {"imported": {}, "unproven": {}, "failed": {}}
    for name in shipped:
        version = distribution(name).version
        if WITHOUT in needs(name) | {name}:
            report["unproven"][name] = version
            continue
        try:
            for module in MODULES.get(name, ()):
                importlib.import_module(module)
            report["imported"][name] = version
        except (ImportError, AttributeError, OSError, TypeError, ValueError) as error:
            if isinstance(error, ImportError) and error.name == WITHOUT:  # not declared
                report["unproven"][name] = version
            else:
                report["failed"][name] = f"{type(error).__name__}: {error}"
    print(json.dumps(report))


if __name__ == "__main__":
    MODULES: dict[str, list[str]] = {}
    for module, owners in packages_distributions().items():
        for owner in owners:
            if not module.startswith("_"):
                MODULES.setdefault(plain(owner), []).append(module)
    INSTALLED = set(MODULES)
    main(sys.argv[1:])
