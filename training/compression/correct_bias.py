"""Bias correction: weights rounded to nearest, then biases that undo the mean error of every channel.

Nagel, van Baalen, Blankevoort and Welling, "Data-Free Quantization Through Weight Equalization and Bias Correction",
2019, section 4.2. Rounding changes weights by e = W~ - W and a channel's mean answer by e E[x]. Two ways to E[x]:

- `samples` (the paper's appendix D): each layer in order is given the mean that it had in the float model, measured
  behind the layers that are rounded and corrected already, so that their errors are taken back as well;
- `batch_norm`: without data. Behind batch normalisation and a ReLU, a channel is a clipped normal variable with mean
  beta and deviation |gamma|, E[x] = gamma phi(-beta / gamma) + beta (1 - Phi(-beta / gamma)). Layers that read
  something else, the first among them, are corrected on samples.
"""

from typing import Any

import numpy as np
from scipy import special

from convert.errors import UsageError
from training import backend, calibration, chains, correction, folding, grids, surgery
from training.fitting import Floats, TrainingData
from training.settings.post_training import CorrectBias

_POSITIONS = 16  # places of a picture that a mean is taken over


def apply(model: Any, data: TrainingData, settings: CorrectBias) -> Any:
    """A copy of `model`, batch normalisation folded, with weights on the grids that its scheme says.

    Raises UsageError where `settings.skip` leaves no layer or names an unknown one, for grouped convolutions, and
    where statistics of batch normalisation are asked for and no layer reads any.
    """
    folded = folding.fold(model)
    layers = calibration.layers_to_round(folded, settings)
    known = _expectations(model, [layer.name for layer in layers]) if settings.statistics == "batch_norm" else {}
    reference = correction.with_biases(folded, [layer.name for layer in layers])
    rounded = surgery.rebuild(reference, {})
    x, chosen = correction.samples(data, settings.samples), {}
    with data.reporter.task("correct_bias", len(layers)) as update:
        for done, name in enumerate([layer.name for layer in layers], 1):
            layer, twin = reference.get_layer(name), rounded.get_layer(name)
            weights = calibration.matrix(layer)
            scales = calibration.scales(layer, settings)
            coarse = grids.values(grids.nearest(weights, scales, settings.weight_bits), scales)
            calibration.set_matrix(twin, coarse)
            if name in known:
                expected = calibration.uniform(layer, known[name])
                correction.correct(twin, expected.answers(weights), expected.answers(coarse))
            else:
                before = calibration.rows(reference, layer, x, _POSITIONS, data.seed)
                after = calibration.rows(rounded, twin, x, _POSITIONS, data.seed)
                correction.correct(twin, before.answers(weights), after.answers(coarse))
            chosen[name] = grids.grid(scales, settings.weight_bits)
            update(done, name)
    return correction.marked(rounded, chosen)


def clipped_mean(mean: Floats, deviation: Floats, highest: float = np.inf) -> Floats:
    """Expectation of a normal variable cut off below 0 and above `highest` (the paper's appendix C)."""
    deviation = np.maximum(deviation, 1e-12)
    low, high = -mean / deviation, (highest - mean) / deviation
    inside = special.ndtr(high) - special.ndtr(low)
    density = (np.exp(-(low**2) / 2) - np.exp(-(high**2) / 2)) / np.sqrt(2 * np.pi)
    above = highest * special.ndtr(-high) if np.isfinite(highest) else 0.0
    found: Floats = (mean * inside + deviation * density + above).astype(np.float32)
    return found


def _expectations(model: Any, names: list[str]) -> dict[str, Floats]:
    """Mean inputs (channels,) of the layers that read batch normalisation; raises UsageError where none does."""
    found = {name: _expectation(model.get_layer(name)) for name in names}
    known = {name: mean for name, mean in found.items() if mean is not None}
    if not known:
        raise UsageError(
            'correct_bias with statistics = "batch_norm" needs layers that read batch normalisation through ReLU, and '
            f'none of {", ".join(names)} does (equalize folds it); use statistics = "samples"'
        )
    return known


def _expectation(layer: Any) -> Floats | None:
    layers = backend.keras().layers
    highest: float | None = None  # None: no ReLU so far
    while True:
        before = layer.inbound_nodes[0].inbound_layers
        if isinstance(before, list) or len(before.inbound_nodes) != 1:
            return None
        layer = before
        if type(layer) is layers.BatchNormalization:
            mean = layer.beta.numpy() if layer.center else np.zeros(layer.output_shape[-1], np.float32)
            deviation = np.abs(layer.gamma.numpy()) if layer.scale else np.ones_like(mean)
            return mean if highest is None else clipped_mean(mean, deviation, highest)
        if chains.cuts_at_zero(layer) and not chains.weighted(layer) and highest is None:
            highest = np.inf
        elif type(layer) is layers.ReLU and layer.max_value is not None and highest is None:
            if float(layer.threshold) or float(layer.negative_slope):
                return None
            highest = float(layer.max_value)
        elif type(layer) not in [getattr(layers, kind) for kind in _KEEP_MEANS]:
            return None


# A channel's mean over samples and places is the same before and after, borders aside.
_KEEP_MEANS = ("AveragePooling1D", "AveragePooling2D", "GlobalAveragePooling2D", "Flatten", "Dropout")
