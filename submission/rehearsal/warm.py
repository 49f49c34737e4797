"""Compile the kernels of a notebook's solver as it will find them, before its clock starts.

    python warm.py NOTEBOOK

It runs in the stand-in for Kaggle's image, where the kit is only what the notebook's cells write.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

WRITEFILE = "%%writefile "
KIT = "/kaggle/temp/kit"


def main() -> None:
    """Write the files, then compile: what is kept lies where every later process looks."""
    for cell in json.loads(Path(sys.argv[1]).read_text("utf-8"))["cells"]:
        head, _, text = "".join(cell["source"]).partition("\n")
        if head.startswith(WRITEFILE + KIT):
            path = Path(head.removeprefix(WRITEFILE))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n", "utf-8")
    sys.path.insert(0, KIT)
    from solver.kit import settle_times
    from solver.synth.compiling import compile_all

    settle_times()
    compile_all()


if __name__ == "__main__":
    main()
