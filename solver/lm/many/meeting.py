"""Searches that run side by side, so that their passes of a model are one pass.

A search is an ordinary generator that asks a model from deep inside. Each search has a thread, and
only one thread runs at a time: a search runs until it asks or finds something. When all searches
have asked, all questions are answered at once. The order never depends on the system's threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, Generic, TypeVar

Found = TypeVar("Found")
Ask = Callable[[Any], Any]
Answer = Callable[[Sequence[Any]], Sequence[Any]]  # answers, or errors to raise, to all questions


class _Abandoned(BaseException):
    """The end of a search whose finds nobody wants any more."""


class _Search(threading.Thread, Generic[Found]):
    """A search in a thread, which runs only inside `resume`.

    question: the question that waits for an answer; None if there is none.
    found: a find that waits to be taken.
    """

    def __init__(self, begin: Callable[[Ask], Iterator[Found]]) -> None:
        super().__init__(daemon=True)
        self._begin = begin
        self._go, self._stopped = threading.Semaphore(0), threading.Semaphore(0)
        self._answer: Any = None
        self.question: Any = None
        self.found: list[Found] = []
        self.error: BaseException | None = None
        self.over = False
        self.start()

    def run(self) -> None:
        """Search; the thread's own function."""
        self._go.acquire()
        try:
            if not isinstance(self._answer, _Abandoned):
                for found in self._begin(self._ask):
                    self.found = [found]
                    self._pause()
        except BaseException as error:  # noqa: BLE001
            # Raised again where the searches are called.
            self.error = error
        self.over = True
        self._stopped.release()

    def _ask(self, question: Any) -> Any:
        self.question = question
        return self._pause()

    def _pause(self) -> Any:
        self._stopped.release()
        self._go.acquire()
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer

    def resume(self, answer: Any = None) -> None:
        """Run until the next question, the next find or the end.

        The search raises `answer` if it is an error.
        """
        self._answer, self.question, self.found = answer, None, []
        self._go.release()
        self._stopped.acquire()


def meet(
    searches: Sequence[Callable[[Ask], Iterator[Found]]], answer: Answer, at_once: int
) -> Generator[Found, None, None]:
    """The finds of searches, at most `at_once` of which run side by side.

    A search calls the function that it is given with a question, and gets the answer. Raises the
    first error of a search.
    """
    waiting = list(searches)
    live: list[_Search[Found]] = []
    try:
        while True:
            live = [search for search in live if not search.over]
            while waiting and len(live) < at_once:
                live.append(_Search(waiting.pop(0)))
            for search in live:
                while search.question is None and not search.over:
                    search.resume()
                    yield from search.found
                if search.error:
                    raise search.error
            asking = [search for search in live if not search.over]
            if not live:
                return
            told = answer([search.question for search in asking]) if asking else ()
            for search, one in zip(asking, told, strict=True):
                search.resume(one)
                yield from search.found
    finally:
        for search in live:
            if not search.over:
                search.resume(_Abandoned())
