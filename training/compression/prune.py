"""Magnitude pruning: the smallest weights of each kernel become zero, more of them as training goes on.

Zhu and Gupta, "To Prune, or Not to Prune: Exploring the Efficacy of Pruning for Model Compression", 2017; TFMOT's
implementation.
"""

from typing import Any

from convert.errors import UsageError
from training import backend
from training.compression import zeros
from training.fitting import TrainingData, fit
from training.settings.pruning import Prune

TOLERANCE = 0.01


def apply(model: Any, data: TrainingData, settings: Prune) -> Any:
    """A copy of `model` with `settings.sparsity` zeros in each pruned kernel, TFMOT's wrappers stripped.

    Raises UsageError where `settings.skip` names an unknown layer or the schedule has no step to prune in, and
    RuntimeError where the stripped model is not as sparse as asked for.
    """
    names = zeros.prunable(model, settings)
    wrapped = _wrap(model, names, schedule(settings, data.steps(settings)))
    update = backend.tfmot().sparsity.keras.UpdatePruningStep()
    fit(wrapped, data, settings, "prune", settings.distillation, [update])
    stripped = _strip(wrapped)
    kernels = zeros.kernels(stripped)
    reached, wanted = zeros.sparsity(kernels, names), zeros.most_zeros(settings, kernels, names)
    if reached < wanted - TOLERANCE:
        raise RuntimeError(f"pruning left {reached:.1%} zeros where {wanted:.1%} were due: masks were not updated")
    return stripped


def pruned(model: Any, settings: Prune) -> list[str]:
    """The layers that the settings prune."""
    return zeros.prunable(model, settings)


def schedule(settings: Prune, steps: int) -> dict[str, Any]:
    """Arguments of TFMOT's PolynomialDecay for a phase of so many optimiser steps; UsageError where they are too few.

    TFMOT draws masks only every `frequency` steps, counted from the begin: with its default of 100 a short phase
    silently prunes nothing, and an end between two updates never reaches the final sparsity. So the interval
    follows from the number of updates, and the end is a multiple of it.
    """
    begin = int(settings.begin * steps)
    span = min(int(settings.end * steps), steps - 1) - begin
    if span < 1:
        raise UsageError(
            f"pruning has {steps} optimiser steps, none of them between begin = {settings.begin} and "
            f"end = {settings.end}; raise epochs, lower batch_size, or move begin and end apart"
        )
    frequency = max(1, span // settings.updates)
    return {
        "initial_sparsity": settings.initial_sparsity,
        "final_sparsity": settings.sparsity,
        "begin_step": begin,
        "end_step": begin + span // frequency * frequency,
        "power": settings.power,
        "frequency": frequency,
    }


def _wrap(model: Any, names: list[str], arguments: dict[str, Any]) -> Any:
    """A copy of the model whose named layers are wrapped for pruning."""
    keras, sparsity = backend.keras(), backend.tfmot().sparsity.keras
    prunable_depthwise = _prunable_depthwise()

    def wrap(layer: Any) -> Any:
        kind = type(layer)
        if layer.name in names and kind is keras.layers.DepthwiseConv2D:
            kind = prunable_depthwise
        copy = kind.from_config(layer.get_config())
        if layer.name not in names:
            return copy
        return sparsity.prune_low_magnitude(copy, pruning_schedule=sparsity.PolynomialDecay(**arguments))

    return _copy(model, wrap)


def _strip(model: Any) -> Any:
    """Plain Keras layers again, with the pruned weights."""
    layers = backend.keras().layers
    stripped = backend.tfmot().sparsity.keras.strip_pruning(model)

    def unwrap(layer: Any) -> Any:
        kind = layers.DepthwiseConv2D if isinstance(layer, layers.DepthwiseConv2D) else type(layer)
        return kind.from_config(layer.get_config())

    return _copy(stripped, unwrap)


def _copy(model: Any, make: Any) -> Any:
    """A model of the same graph from layers that `make` gives, with the same weights."""
    copy = backend.keras().models.clone_model(model, clone_function=make)
    weights = {zeros.plain(layer).name: zeros.plain(layer).get_weights() for layer in model.layers}
    for layer in copy.layers:
        zeros.plain(layer).set_weights(weights[zeros.plain(layer).name])
    return copy


def _prunable_depthwise() -> Any:
    """A depthwise convolution that TFMOT prunes; by default it leaves them alone."""
    base: Any = backend.keras().layers.DepthwiseConv2D
    interface: Any = backend.tfmot().sparsity.keras.PrunableLayer

    class PrunableDepthwiseConv2D(base, interface):  # type: ignore[misc]
        def get_prunable_weights(self) -> list[Any]:
            return [self.depthwise_kernel]

    return PrunableDepthwiseConv2D
