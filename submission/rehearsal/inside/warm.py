"""Compile the kernels of a notebook's solver as it will find them, before its clock starts.

    python warm.py NOTEBOOK

It runs in the stand-in for Kaggle's image, where the kit is only what the notebook's cells write.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

WRITEFILE = "%%writefile "
PACKED = "\nSOURCES = "  # in a cell that unpacks many files
KIT = "/kaggle/temp/kit"


def main() -> None:
    """Write the files, then compile: what is kept lies where every later process looks."""
    for cell in json.loads(Path(sys.argv[1]).read_text("utf-8"))["cells"]:
        source = "".join(cell["source"])
        head, _, text = source.partition("\n")
        if head.startswith(WRITEFILE + KIT):
            path = Path(head.removeprefix(WRITEFILE))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n", "utf-8")
        elif PACKED in source and cell["cell_type"] == "code":
            exec(source)
    sys.path.insert(0, KIT)
    from solver.kit import settle_times
    from solver.synth.compiling import compile_all

    settle_times()
    compile_all()


if __name__ == "__main__":
    main()
