"""Data sets: one loader a file, found in the project's cache, in a system package, or downloaded."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from convert.features import Preprocessed
from training.settings.data import Data
from training.settings.preprocessing import KINDS, Preprocessing, default_preprocessing

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Settings: TypeAlias = Data


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
    preprocessed: Preprocessed | None = None  # how the samples were made of raw integers, where they were

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes; a label is an index into them."""
        return self.card.classes


def _module(settings: Settings) -> Any:
    return import_module(f"training.datasets.{settings.dataset}")


def _and_preprocessing(settings: Settings, preprocessing: Preprocessing | None) -> tuple[Any, ...]:
    """What the functions of a data set's module are called with; only those with a raw form know a preprocessing."""
    kinds = KINDS.get(settings.dataset)
    if kinds is None:
        return (settings,)
    return settings, preprocessing or default_preprocessing(kinds[0])


def card(settings: Settings, preprocessing: Preprocessing | None = None) -> Card:
    """The data set's card with the shape that settings and preprocessing (None: the default one) give it."""
    make: Callable[..., Card] = _module(settings).card
    return make(*_and_preprocessing(settings, preprocessing))


def version(settings: Settings, preprocessing: Preprocessing | None = None) -> str:
    """Key of the preprocessing of a data set: what is asked for, and the code that does it; "" where there is none."""
    called = _and_preprocessing(settings, preprocessing)
    if len(called) == 1:
        return ""
    make: Callable[..., str] = _module(settings).version
    return make(*called)


def load(settings: Settings, folder: Path, preprocessing: Preprocessing | None = None) -> Dataset:
    """Read a data set; `folder` is where downloads are kept.

    Raises UsageError where it cannot be found or its bytes are not the expected ones, and ToolError where its
    preprocessing cannot be compiled.
    """
    read: Callable[..., Dataset] = _module(settings).load
    first, *others = _and_preprocessing(settings, preprocessing)
    return read(first, folder, *others)
