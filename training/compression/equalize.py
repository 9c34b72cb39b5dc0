"""Cross-layer equalisation and high-bias absorption: ranges made alike before weights and activations are rounded.

Nagel, van Baalen, Blankevoort and Welling, "Data-Free Quantization Through Weight Equalization and Bias Correction",
2019. Between two layers joined by a ReLU, output channel i of the first can be divided by s_i and input channel i of
the second multiplied by it: the function stays. With ranges r1_i and r2_i (largest magnitudes of the weights on either
side), s_i = sqrt(r1_i r2_i) / r2_i gives both the range sqrt(r1_i r2_i), which makes the channels of a tensor as alike
as they can be. Pairs overlap, so all are gone through until nothing moves; a depthwise convolution between two others
is the end of one pair and the start of the next.

What a channel's ReLU never cuts off, c_i = max(0, mean_i - 3 deviation_i) of its input, is then taken from the bias and
given to the next layer, b2 + W2 c, so that the activation's range does not hold it. The paper reads mean and deviation
from batch normalisation; here they are measured on training samples, which serves models without it too. Unlike the
paper, a next layer that pads with zeros is left out: at the border it would not see the c it was promised.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from convert.errors import UsageError
from training import backend, chains, folding, grids, probing, surgery
from training.chains import Link
from training.fitting import TrainingData
from training.settings.post_training import Equalize

Arrays = dict[str, Any]  # kernels or biases float64 by layer name


def apply(model: Any, data: TrainingData, settings: Equalize) -> Any:
    """A model of the same function, batch normalisation folded, whose channels have ranges alike.

    Raises UsageError where no two layers are joined in a way that lets a scale through.
    """
    folded = folding.fold(_without_six(model) if settings.replace_relu6 else model)
    links = chains.links(folded)
    if not links:
        raise UsageError(
            "equalize found no two layers to balance: they must follow each other with nothing but ReLU, pooling, "
            "flattening or dropout between them; for ReLU6 set replace_relu6 = true, or leave the step out"
        )
    kernels = {layer.name: np.float64(layer.get_weights()[0]) for layer in folded.layers if chains.weighted(layer)}
    biases = {n: np.float64(folded.get_layer(n).get_weights()[1]) for n in kernels if folded.get_layer(n).use_bias}
    _balance(links, kernels, biases, data, settings)
    _assign(folded, kernels, biases)
    if settings.absorb_bias:
        _absorb(folded, links, kernels, biases, data, settings.samples)
        _assign(folded, kernels, biases)
    return folded


def ranges(link: Link, kernels: Mapping[str, Any]) -> tuple[Any, Any]:
    """Largest magnitudes (channels,) of the weights that make each channel, and of those that read it."""
    made = np.abs(grids.columns(kernels[link.first.name], chains.depthwise(link.first))).max(axis=0)
    read = np.abs(chains.inputs(link.second, kernels[link.second.name], link.channels)).max(axis=0)
    return made, read


def _balance(links: list[Link], kernels: Arrays, biases: Arrays, data: TrainingData, settings: Equalize) -> None:
    """Scale channels until no pair moves; kernels and biases are changed."""
    with data.reporter.task("equalising", settings.iterations) as update:
        for iteration in range(settings.iterations):
            moved = max(_balance_pair(link, kernels, biases) for link in links)
            update(iteration + 1, f"largest change {moved:.2g}")
            if moved < settings.tolerance:
                update(settings.iterations, f"nothing moves after {iteration + 1} rounds")
                break


def _balance_pair(link: Link, kernels: Arrays, biases: Arrays) -> float:
    """Make a pair's ranges equal in every channel; the largest share by which a channel was scaled."""
    made, read = ranges(link, kernels)
    alive = (made > 0) & (read > 0)  # a channel that nothing makes or nothing reads has no range to share
    scales = np.ones_like(made)
    scales[alive] = np.sqrt(made[alive] / read[alive])
    first, second = link.first, link.second
    kernels[first.name] = chains.scale_outputs(first, kernels[first.name], 1 / scales)
    if first.name in biases:
        biases[first.name] = biases[first.name] / scales
    kernels[second.name] = chains.scale_inputs(second, kernels[second.name], scales)
    return float(np.abs(np.log(scales)).max())


def _absorb(model: Any, links: list[Link], kernels: Arrays, biases: Arrays, data: TrainingData, samples: int) -> None:
    """Move biases that no ReLU ever sees into the next layer; only biases are changed."""
    x = data.dataset.x_train[:samples]
    fit = [link for link in links if _absorbs(link, biases)]
    with data.reporter.task("absorbing biases", len(fit)) as update:
        for done, link in enumerate(fit, 1):
            surplus = _surplus(model, link.first, x)
            biases[link.first.name] = biases[link.first.name] - surplus
            read = chains.scale_inputs(link.second, kernels[link.second.name], surplus)
            given = grids.columns(read, chains.depthwise(link.second)).sum(axis=0)
            biases[link.second.name] = biases[link.second.name] + given
            update(done, link.first.name)


def _absorbs(link: Link, biases: Mapping[str, Any]) -> bool:
    """Whether there is a ReLU and no zero from elsewhere between two layers with biases."""
    layers = backend.keras().layers
    if not {link.first.name, link.second.name} <= set(biases):
        return False
    kinds = (layers.ReLU, layers.LeakyReLU, layers.PReLU, layers.ZeroPadding1D, layers.ZeroPadding2D)
    if any(type(layer) in kinds and not chains.cuts_at_zero(layer) for layer in link.between):
        return False
    pads = getattr(link.second, "padding", "valid") != "valid" and max(link.second.kernel_size) > 1
    return not pads and any(map(chains.cuts_at_zero, (link.first, *link.between)))


def _surplus(model: Any, layer: Any, x: Any) -> Any:
    """c = max(0, mean - 3 deviations) of each channel of a layer's linear answer, measured on samples."""
    answers = probing.linear(layer, probing.inputs(model, layer, x))
    flat = answers.reshape(-1, answers.shape[-1]).astype(np.float64)
    return np.maximum(0, flat.mean(axis=0) - 3 * flat.std(axis=0))


def _assign(model: Any, kernels: Mapping[str, Any], biases: Mapping[str, Any]) -> None:
    for name, kernel in kernels.items():
        model.get_layer(name).set_weights([kernel, biases[name]] if name in biases else [kernel])


def _without_six(model: Any) -> Any:
    """The model with plain ReLUs where it has ReLU6."""
    replacements: dict[str, surgery.Replacement] = {}
    for layer in model.layers:
        if type(layer) is backend.keras().layers.ReLU and layer.max_value is not None:
            replacements[layer.name] = surgery.copy(layer, max_value=None)
        elif getattr(getattr(layer, "activation", None), "__name__", "") == "relu6":
            replacements[layer.name] = surgery.copy(layer, layer.get_weights(), activation="relu")
    return surgery.rebuild(model, replacements)
