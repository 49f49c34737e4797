"""Run a notebook as Kaggle does: cell by cell in a fresh kernel, up to the first error.

    python runner.py NOTEBOOK EXECUTED

It runs in the stand-in for Kaggle's image and imports nothing of the kit. EXECUTED is the notebook
with outputs and the time of every cell, as far as it came.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError


def main() -> int:
    """0 if every cell ran, 1 if one failed or the kernel died."""
    source, executed = Path(sys.argv[1]), Path(sys.argv[2])
    beside = executed.with_name(f".{executed.name}.new")
    loopback_up()
    notebook = nbformat.reads(source.read_text("utf-8"), as_version=4)

    def keep(**_: object) -> None:
        beside.write_text(nbformat.writes(notebook), "utf-8")
        os.replace(beside, executed)  # whenever this process is killed, a whole file is there

    client = NotebookClient(
        notebook,
        timeout=None,
        kernel_name="python3",
        extra_arguments=["--log-level=40"],
        resources={"metadata": {"path": "/kaggle/working"}},
        on_cell_executed=keep,
    )
    try:
        client.execute()
    except (CellExecutionError, DeadKernelError) as error:
        print(f"the notebook failed: {error}", file=sys.stderr)
        return 1
    finally:
        keep()
    return 0


def loopback_up() -> None:
    """A new network has nothing but a loopback, and that is down; kernels talk over it."""
    up, set_flags = 1, 0x8914
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as some:
        fcntl.ioctl(some, set_flags, struct.pack("16sh14x", b"lo", up))


if __name__ == "__main__":
    sys.exit(main())
