"""Compression techniques: one file each, all `apply(model, data, settings) -> model`.

A technique takes a trained tf_keras model and returns a new one; the model that it was given is not used again. Beside
`apply` a module may have `pruned(model, settings)`, the names of the layers whose zeros the report counts, asked of the
model that `apply` returned, and `custom_layers()`, its own Keras layers by class name.
"""

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, TypeAlias

from training.fitting import TrainingData
from training.settings.compression import Step

Settings: TypeAlias = Step


def apply(model: Any, data: TrainingData, settings: Settings) -> Any:
    """Run the technique that the settings name."""
    technique: Callable[[Any, TrainingData, Settings], Any]
    technique = _module(settings).apply
    return technique(model, data, settings)


def pruned(model: Any, settings: Settings) -> list[str]:
    """Layers of the technique's result whose zeros count; none where it makes no zeros."""
    names: Callable[[Any, Settings], list[str]] | None = getattr(_module(settings), "pruned", None)
    return [] if names is None else names(model, settings)


def custom_layers(steps: Iterable[Settings]) -> dict[str, Any]:
    """The techniques' own Keras layers by class name, needed to load what they return."""
    found: dict[str, Any] = {}
    for settings in steps:
        found |= getattr(_module(settings), "custom_layers", dict)()
    return found


def _module(settings: Settings) -> Any:
    return import_module(f"training.compression.{settings.technique}")
