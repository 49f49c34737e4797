"""The model that a worker process holds from job to job: one at a time."""

from __future__ import annotations

import gc
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Held(Generic[T]):
    """A place for one model, with the key of the settings that it was loaded for."""

    def __init__(self) -> None:
        self._models: dict[Hashable, T] = {}

    def get(self, key: Hashable, load: Callable[[], T]) -> T:
        """The model for a key: the one that is held, or a newly loaded one in its place."""
        if key not in self._models:
            self.drop()  # before the next model is loaded: there is no room for two
            self._models[key] = load()
        return self._models[key]

    def drop(self) -> None:
        """Give the held model's memory back."""
        self._models.clear()
        gc.collect()
