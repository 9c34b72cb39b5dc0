"""How much a channel matters, by the criteria that Mittal et al. compare ("Recovering from Random Pruning: On the
Plasticity of Deep Convolutional Neural Networks", WACV 2018). The channels with the lowest scores go.

With a a channel's activations, means over samples and positions, and g a sample's mean activation over positions:

- `mean_activation`: mean |a| (Molchanov et al. 2017).
- `entropy`: -sum p log2 p of a histogram of g over the samples, from its lowest to its highest value (Luo and Wu 2017).
- `scaled_entropy`: entropy * mean activation, because the histogram alone knows no magnitude (Mittal et al.).
- `l1`: sum |w| of the filter's weights (Li et al. 2017).
- `apoz`: 1 - average percentage of zeros of a, as a share (Hu et al. 2016).
- `sensitivity`: sum |dL/dw| over the filter's weights, mean over batches (Mittal et al.).
- `random`: nothing is looked at.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from training import backend, channels
from training.channels import Group
from training.fitting import BATCH, TrainingData
from training.settings.channels import PruneChannels

Scores = npt.NDArray[np.float64]
Values = npt.NDArray[Any]


def scores(
    model: Any, found: channels.Channels, groups: Sequence[Group], data: TrainingData, settings: PruneChannels
) -> list[Scores]:
    """For every group the scores of its units, higher where a unit matters more.

    A unit of several channels gets their mean, after every layer's scores were divided by their mean: layers whose
    numbers are larger would decide alone otherwise.
    """
    if settings.criterion == "random":
        rng = np.random.default_rng(data.seed)
        return [rng.random(len(group.units)) for group in groups]
    names = list(dict.fromkeys(name for group in groups for name in group.layers))
    layers = _MEASURES[settings.criterion](model, names, data, settings)
    return [_of_units(group, [(found.outputs[name], layers[name]) for name in group.layers]) for group in groups]


def _of_units(group: Group, layers: Sequence[tuple[channels.Ids, Scores]]) -> Scores:
    total, count = np.zeros(len(group.units)), np.zeros(len(group.units))
    position = {unit: k for k, unit in enumerate(group.units.tolist())}
    for units, values in layers:
        inside = np.isin(units, group.units)
        places = [position[unit] for unit in units[inside].tolist()]
        np.add.at(total, places, values[inside] / (values[inside].mean() or 1.0))
        np.add.at(count, places, 1)
    return np.asarray(total / count)


def l1(kernel: Values) -> Scores:
    """Sums of magnitudes of each filter, kernel (..., out)."""
    return np.asarray(np.abs(kernel.astype(np.float64)).sum(axis=tuple(range(kernel.ndim - 1))))


def entropy(samples: Values, bins: int) -> Scores:
    """Entropies in bits of the columns of (n, channels); 0 where a column has one value only."""
    return np.array([_entropy(column, bins) for column in samples.T])


def _entropy(values: Values, bins: int) -> float:
    counts = np.histogram(values, bins)[0]
    p = counts[counts > 0] / len(values)
    return float(-(p * np.log2(p)).sum()) + 0.0


def _weights(model: Any, names: list[str], _: TrainingData, __: PruneChannels) -> dict[str, Scores]:
    return {name: l1(model.get_layer(name).get_weights()[0]) for name in names}


def _gradients(model: Any, names: list[str], data: TrainingData, settings: PruneChannels) -> dict[str, Scores]:
    tf, keras = backend.tensorflow(), backend.keras()
    chosen = _sample(data, settings)
    labels = np.eye(len(data.dataset.class_names), dtype=np.float32)[data.dataset.y_train[chosen]]
    kernels = [model.get_layer(name).kernel for name in names]
    sums = [np.zeros(kernel.shape) for kernel in kernels]
    size = data.batch_size(settings)
    with data.reporter.task("gradients", len(chosen)) as update:
        for start in range(0, len(chosen), size):
            part = slice(start, start + size)
            with tf.GradientTape() as tape:
                answers = model(data.dataset.x_train[chosen[part]], training=False)
                loss = tf.reduce_mean(keras.losses.categorical_crossentropy(labels[part], answers))
            for total, gradient in zip(sums, tape.gradient(loss, kernels), strict=True):
                total += np.abs(np.asarray(gradient))
            update(min(start + size, len(chosen)), "")
    return {name: l1(total) for name, total in zip(names, sums, strict=True)}


def _activations(
    summary: Callable[[Values, PruneChannels], Scores],
) -> Callable[[Any, list[str], TrainingData, PruneChannels], dict[str, Scores]]:
    """A measure of activations from a summary of (n, statistics, channels): mean magnitude, mean, share of zeros."""

    def measure(model: Any, names: list[str], data: TrainingData, settings: PruneChannels) -> dict[str, Scores]:
        chosen = _sample(data, settings)
        probe = backend.keras().Model(model.inputs, [channels.activation(model, name) for name in names])
        parts: list[list[Values]] = [[] for _ in names]
        with data.reporter.task("activations", len(chosen)) as update:
            for start in range(0, len(chosen), BATCH):
                answers = probe(data.dataset.x_train[chosen[start : start + BATCH]], training=False)
                for part, answer in zip(parts, answers if len(names) > 1 else [answers], strict=True):
                    part.append(_statistics(np.asarray(answer)))
                update(min(start + BATCH, len(chosen)), "")
        return {name: summary(np.concatenate(part), settings) for name, part in zip(names, parts, strict=True)}

    return measure


def _statistics(a: Values) -> Values:
    """Of activations (n, ..., channels) each sample's mean magnitude, mean and share of zeros, (n, 3, channels)."""
    a = a.reshape(len(a), -1, a.shape[-1]).astype(np.float64)
    return np.stack([np.abs(a).mean(axis=1), a.mean(axis=1), (a == 0).mean(axis=1)], axis=1)


def _magnitude(statistics: Values, _: PruneChannels) -> Scores:
    return np.asarray(statistics[:, 0].mean(axis=0))


def _spread(statistics: Values, settings: PruneChannels) -> Scores:
    return entropy(statistics[:, 1], settings.bins)


def _scaled_spread(statistics: Values, settings: PruneChannels) -> Scores:
    return _spread(statistics, settings) * _magnitude(statistics, settings)


def _nonzero(statistics: Values, _: PruneChannels) -> Scores:
    return np.asarray(1 - statistics[:, 2].mean(axis=0))


def _sample(data: TrainingData, settings: PruneChannels) -> npt.NDArray[np.int64]:
    """Indices of training samples, spread evenly."""
    n = len(data.dataset.y_train)
    count = min(n, settings.samples)
    return np.arange(count) * n // count


_MEASURES: dict[str, Callable[[Any, list[str], TrainingData, PruneChannels], dict[str, Scores]]] = {
    "mean_activation": _activations(_magnitude),
    "entropy": _activations(_spread),
    "scaled_entropy": _activations(_scaled_spread),
    "apoz": _activations(_nonzero),
    "l1": _weights,
    "sensitivity": _gradients,
}
