"""Compression techniques: one file each, all `apply(model, data, settings) -> model`.

A technique takes a trained tf_keras model and returns a new one; the model that it was given is not used again.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeAlias

from training import recipe
from training.fitting import TrainingData

Settings: TypeAlias = recipe.Step


def apply(model: Any, data: TrainingData, settings: Settings) -> Any:
    """Run the technique that the settings name."""
    technique: Callable[[Any, TrainingData, Settings], Any]
    technique = import_module(f"training.compression.{settings.technique}").apply
    return technique(model, data, settings)
