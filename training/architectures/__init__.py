"""Model families: one file each, `build(settings, shape, classes) -> tf_keras model`, every layer named."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeAlias

from training.settings.architectures import Model

Settings: TypeAlias = Model


def build(settings: Settings, shape: tuple[int, ...], classes: int) -> Any:
    """An untrained model for samples of `shape`, giving (n, classes) probabilities."""
    make: Callable[[Settings, tuple[int, ...], int], Any]
    make = _module(settings).build
    return make(settings, shape, classes)


def callbacks(settings: Settings, model: Any, steps: int) -> list[Any]:
    """Keras callbacks that a family needs in the float model's training of so many steps."""
    make: Callable[[Settings, Any, int], list[Any]] | None = getattr(_module(settings), "callbacks", None)
    return [] if make is None else make(settings, model, steps)


def custom_layers(settings: Settings) -> dict[str, Any]:
    """A family's own Keras layers by class name, needed to load its models."""
    make: Callable[[], dict[str, Any]] | None = getattr(_module(settings), "custom_layers", None)
    return {} if make is None else make()


def _module(settings: Settings) -> Any:
    return import_module(f"training.architectures.{settings.architecture}")
