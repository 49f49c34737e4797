"""A notebook and its settings for the tests that push them to a Kaggle on loopback."""

from __future__ import annotations

from pathlib import Path

from solver.deadline import Deadline, FakeClock
from submission.kaggle.push import push

SETTINGS = """
owner = "me"
title = "ARC kit"
competition = "arc-prize-2026-arc-agi-2"
machine = "NvidiaL4"

[datasets.arc-kit-model]
folder = "model"
title = "ARC kit model"
licence = "apache-2.0"
"""
NOTEBOOK = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {
        "kernelspec": {"name": "python3", "display_name": "Python 3"},
        "arcsub": {
            "commit": "0123abc", "profile": "kaggle-l4x4", "lock": "",
            "sources": {
                "competition": "competitions/arc-prize-2026-arc-agi-2",
                "model": "datasets/*/arc-kit-model",
            },
        },
        "kaggle": {"accelerator": "nvidiaL4", "dataSources": []},
    },
    "cells": [
        {"cell_type": "markdown", "id": "a", "metadata": {}, "source": ["# ARC\n", "kit"]},
        {
            "cell_type": "code", "id": "b", "metadata": {}, "source": "print(1)\n",
            "outputs": [], "execution_count": None,
        },
    ],
}  # fmt: skip


def soon() -> Deadline:
    """Ten minutes that pass only where something waits for them, so that waiting costs nothing."""
    return Deadline.after(600, FakeClock())


def pushed(place: Path) -> list[str]:
    """The output of a push that succeeds."""
    said: list[str] = []
    assert push(place / "notebook.ipynb", place / "kaggle.toml", soon(), said.append) >= 1
    return said
