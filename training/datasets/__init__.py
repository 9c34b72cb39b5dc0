"""Data sets: one loader a file, found in the project's cache, in a system package, or downloaded."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from training import recipe

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Settings: TypeAlias = recipe.Data


@dataclass(frozen=True)
class Card:
    """What is known of a data set before it is read."""

    name: str
    title: str
    shape: tuple[int, ...]  # of one sample, as the model sees it
    classes: tuple[str, ...]
    licence: str
    source: str
    sha256: Mapping[str, str]  # of each piece's uncompressed bytes


@dataclass(frozen=True)
class Dataset:
    """Samples float32 (n, *shape) as the model sees them, labels int64 (n,); train and test are disjoint."""

    card: Card
    x_train: Floats
    y_train: Labels
    x_test: Floats
    y_test: Labels
    metric: str = "accuracy"

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes; a label is an index into them."""
        return self.card.classes


def _module(settings: Settings) -> Any:
    return import_module(f"training.datasets.{settings.dataset}")


def card(settings: Settings) -> Card:
    """The data set's card with the shape that the settings give it."""
    make: Callable[[Settings], Card] = _module(settings).card
    return make(settings)


def load(settings: Settings, folder: Path) -> Dataset:
    """Read a data set; `folder` is where downloads are kept.

    Raises UsageError where it cannot be found or its bytes are not the expected ones.
    """
    read: Callable[[Settings, Path], Dataset] = _module(settings).load
    return read(settings, folder)
