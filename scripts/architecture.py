"""Write the rooms of `docs/architecture.md` from the modules' docstrings.

    python scripts/architecture.py
    python scripts/architecture.py --check

The rest of the page stays as it is.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- rooms -->\n", "<!-- end of rooms -->"
TREES = ("solver", "submission")


def main() -> int:
    """Replace the text between the marks; with `--check`, only return 1 for another text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="1 if the page is not up to date")
    page = PAGE.read_text("utf-8")
    before, _, rest = page.partition(BEGIN)
    wanted = f"{before}{BEGIN}{rooms()}{END}{rest.partition(END)[2]}"
    if parser.parse_args().check:
        return int(page != wanted)
    PAGE.write_text(wanted, "utf-8")
    return 0


def rooms() -> str:
    """A heading for each folder with modules, and a row for each module."""
    folders = {path.parent for tree in TREES for path in (ROOT / tree).rglob("*.py")}
    return "".join("\n".join(_room(folder)) + "\n" for folder in sorted(folders))


def _room(folder: Path) -> Iterator[str]:
    name = folder.relative_to(ROOT).as_posix()
    package = folder / "__init__.py"
    yield f"\n### `{name}/`\n"
    if package.exists():
        yield f"{_first_sentence(package)}\n"
    yield "| module | |\n|---|---|"
    for module in sorted(folder.glob("*.py")):
        if module != package:
            yield f"| `{name}/{module.name}` | {_first_sentence(module)} |"


def _first_sentence(module: Path) -> str:
    """The first paragraph of a module's docstring, up to its first full stop."""
    text = ast.get_docstring(ast.parse(module.read_text("utf-8"))) or ""
    sentence, _, _ = (
        text.partition("\n\n")[0].replace("\n", " ").replace("|", "\\|").partition(". ")
    )
    return sentence.removesuffix(".") + "."


if __name__ == "__main__":
    sys.exit(main())
