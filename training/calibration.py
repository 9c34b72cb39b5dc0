"""What a layer is rounded on: rows of its inputs on calibration samples, before and after rounding what comes first.

A convolution's answer at one place is a product of the patch under its kernel and the kernel as a matrix, so places of
pictures are rows like any other, and every kind of layer becomes the same small problem:

    convolution, dense   answers (n, channels) = rows (n, weights a channel) @ matrix (weights a channel, channels)
    depthwise            answers (n, channels) = sum over axis 1 of rows (n, weights a channel, channels) * matrix
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from convert.errors import UsageError
from training import backend, chains, grids, probing, rounding
from training.fitting import Floats
from training.settings.post_training import Rounding

_CHUNK = 16_000_000  # numbers of patches that are laid out at once


@dataclass(frozen=True)
class Rows:
    """A layer's inputs, laid out so that its answer is a product with the kernel's matrix."""

    values: Floats  # (n, weights a channel), or (n, weights a channel, channels) for a depthwise layer

    def answers(self, matrix: Floats) -> Floats:
        """What the layer answers without its bias, (n, channels)."""
        if self.values.ndim == 2:
            return self.values @ matrix
        found: Floats = np.einsum("nkc,kc->nc", self.values, matrix)
        return found


def layers_to_round(model: Any, settings: Rounding) -> list[Any]:
    """The layers with weights that the settings round, from the input to the output.

    Raises UsageError where `skip` names no such layer, or leaves none, and for grouped convolutions.
    """
    found = [layer for layer in model.layers if chains.weighted(layer)]
    names = [layer.name for layer in found]
    technique = getattr(settings, "technique", "rounding")
    if unknown := sorted(set(settings.skip) - set(names)):
        raise UsageError(
            f"compress.skip names {', '.join(map(repr, unknown))}, which {technique} cannot round anyway; "
            f"layers that it rounds are {', '.join(names) or 'none'}"
        )
    chosen = [layer for layer in found if layer.name not in settings.skip]
    if not chosen:
        raise UsageError(
            f"{technique} has no layer to round: it takes convolutions and dense layers with channels last, and "
            f"compress.skip names {', '.join(settings.skip) or 'none'}; leave some out of skip, or the step away"
        )
    for layer in chosen:
        if getattr(layer, "groups", 1) != 1 and not chains.depthwise(layer):
            raise UsageError(f"{technique} cannot round grouped convolution {layer.name!r}; name it in compress.skip")
    return chosen


def matrix(layer: Any) -> Floats:
    """A layer's kernel as a matrix (weights a channel, channels)."""
    found: Floats = grids.columns(layer.get_weights()[0], chains.depthwise(layer))
    return found


def set_matrix(layer: Any, values: Floats) -> None:
    """Give a layer the kernel that a matrix stands for; its bias stays."""
    kernel, *rest = layer.get_weights()
    layer.set_weights([values.reshape(kernel.shape), *rest])


def scales(layer: Any, settings: Rounding) -> Floats:
    """The grid's scales, (1,) or (channels,), as the settings ask for them; a dense layer has one."""
    found = rounding.grid(layer, settings.weight_bits, settings.per_channel, settings.clipping)
    return np.asarray(found.scales, np.float32)


def rows(model: Any, layer: Any, x: Floats, positions: int, seed: int) -> Rows:
    """A layer's inputs on samples x; of a picture, `positions` places drawn by the seed (all where there are fewer).

    The same samples, positions and seed give the same places, so rows before and after rounding belong together.
    """
    seen = probing.inputs(model, layer, x)
    if type(layer) is backend.keras().layers.Dense:
        flat = seen.reshape(len(seen), -1, seen.shape[-1])
        return Rows(_drawn(flat, positions, np.random.default_rng(seed)))
    rng = np.random.default_rng(seed)
    kernel, inputs = int(np.prod(layer.kernel_size)), seen.shape[-1]
    chunk = max(1, _CHUNK // (int(np.prod(layer.output_shape[1:-1])) * kernel * inputs))
    pieces = [
        _drawn(_patches(layer, seen[start : start + chunk]), positions, rng) for start in range(0, len(seen), chunk)
    ]
    patches = np.concatenate(pieces)
    if not chains.depthwise(layer):
        return Rows(patches)
    channels = patches.reshape(len(patches), kernel, inputs)
    return Rows(channels if layer.depth_multiplier == 1 else np.repeat(channels, layer.depth_multiplier, axis=2))


def uniform(layer: Any, means: Floats) -> Rows:
    """The one row of a layer whose input has a known mean in each channel, (channels,), the same in every place."""
    size = matrix(layer).shape[0]
    if chains.depthwise(layer):
        row = np.repeat(np.tile(means, (size, 1)), layer.depth_multiplier, axis=1)
    else:
        row = np.tile(means, size // len(means))
    return Rows(row[np.newaxis])


def _drawn(places: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Some places of each sample, (samples, places, weights) to (n, weights)."""
    total = places.shape[1]
    if total > count:
        chosen = rng.permuted(np.tile(np.arange(total), (len(places), 1)), axis=1)[:, :count]
        places = np.take_along_axis(places, np.sort(chosen, axis=1)[:, :, np.newaxis], axis=1)
    return np.ascontiguousarray(places.reshape(-1, places.shape[-1]))


def _patches(layer: Any, pictures: Floats) -> Floats:
    """What lies under a convolution's kernel at each place, (samples, places, kernel positions * inputs)."""
    tf = backend.tensorflow()
    pad = str(layer.padding).upper()
    sizes, strides, dilations = (list(getattr(layer, n)) for n in ("kernel_size", "strides", "dilation_rate"))
    if pictures.ndim == 3:  # along time: a picture one pixel high
        pictures = pictures[:, np.newaxis]
        sizes, strides, dilations = [1, *sizes], [1, *strides], [1, *dilations]
        if pad == "CAUSAL":
            pad, before = "VALID", (sizes[1] - 1) * dilations[1]
            pictures = np.pad(pictures, ((0, 0), (0, 0), (before, 0), (0, 0)))
    found = tf.image.extract_patches(pictures, [1, *sizes, 1], [1, *strides, 1], [1, *dilations, 1], pad)
    return np.asarray(found).reshape(len(pictures), -1, found.shape[-1])
