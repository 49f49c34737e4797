"""The batches of a stream, drawn ahead by other processes.

A GPU learns from a chunk in less time than one process needs to draw the chunk. A chunk depends
only on the seed and the chunk's number. The batches and their order are therefore the same,
whichever process draws them.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager

from solver.lm.symbols import Batch
from solver.lm.training.stream import Stream


@contextmanager
def drawn_ahead(stream: Stream, processes: int) -> Iterator[None]:
    """Let other processes draw the stream's chunks within a `with` block.

    With 0 processes the stream draws its chunks itself. The processes are forks of this process,
    so the block must begin before this process uses a GPU.
    """
    if processes == 0:
        yield
        return
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(processes, fork, _keep, (stream,)) as pool:
        pool.submit(_draw, 0).result()  # starts all processes, before a GPU is in use
        coming: dict[int, Future[list[Batch]]] = {}

        def draw(chunk: int) -> list[Batch]:
            for number in range(chunk, chunk + 2 * processes):
                if number not in coming:
                    coming[number] = pool.submit(_draw, number)
            return coming.pop(chunk).result()

        stream.source = draw
        try:
            yield
        finally:
            stream.source = stream.batches
            pool.shutdown(cancel_futures=True)


_stream: Stream  # of a drawing process


def _keep(stream: Stream) -> None:
    global _stream
    _stream = stream


def _draw(chunk: int) -> list[Batch]:
    return _stream.batches(chunk)
