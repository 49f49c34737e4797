"""The batches of a stream, drawn by other processes before they are asked for.

A GPU learns from a chunk in less time than one process needs to draw it. A chunk depends on the
seed and its number alone, so whoever draws it, the batches and their order are the same.
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
    """Let so many processes draw the stream's chunks; with none it draws them itself.

    They are copies of this process: to be entered before a GPU is used.
    """
    if processes == 0:
        yield
        return
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(processes, fork, _keep, (stream,)) as pool:
        pool.submit(_draw, 0).result()  # all are started with the first: no GPU is in use yet
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
