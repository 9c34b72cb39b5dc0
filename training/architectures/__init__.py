"""Model families: one file each, `build(settings, shape, classes) -> tf_keras model`, every layer named."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from training.recipe import DsCnn, LeNet, TemporalCnn

Settings = DsCnn | LeNet | TemporalCnn


def build(settings: Settings, shape: tuple[int, ...], classes: int) -> Any:
    """An untrained model for samples of `shape`, giving (n, classes) probabilities."""
    make: Callable[[Settings, tuple[int, ...], int], Any]
    make = import_module(f"training.architectures.{settings.architecture}").build
    return make(settings, shape, classes)
