"""Zeros in a pattern: n of m neighbours, or whole blocks, which kernels or hardware can skip with few indices.

- n of m (Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021; 2 of 4 there): of every m neighbouring
  weights along the input channels, of one output and one position of the window, at most n are not zero. TFLite stores
  kernels with the input channels innermost, so these are neighbours in flash. The last group of a kernel may be
  shorter. A layer with no more than n input channels stays dense.
- blocks (Gray, Radford and Kingma, "GPU Kernels for Block-Sparse Weights", 2017; Narang et al., "Block-Sparse Recurrent
  Neural Networks", 2017): the kernel as a matrix (weights of one output as TFLite stores them, outputs) is cut into
  blocks of `inputs` x `outputs` weights, and whole blocks of the lowest mean magnitude become zero. Blocks at the far
  edges may be smaller.

The masks of n of m are TFMOT's (its helper behind `sparsity_m_by_n`, for dense layers and convolutions). Blocks are our
own: TFMOT's `block_size` takes dense layers alone and refuses convolutions. So is the retraining: TFMOT's wrapper knows
one n of m from the first step to the last and cannot fill the pattern up by rounds.
"""

import importlib
from typing import Any, cast

import numpy as np

from convert.errors import UsageError
from training import backend
from training.compression import masks, zeros
from training.compression.masks import Mask
from training.compression.rounds import kept
from training.fitting import TrainingData, fit
from training.settings.pruning import Prune, StructuredSparsity


def apply(model: Any, data: TrainingData, settings: StructuredSparsity) -> Any:
    """A copy of `model` whose kernels have the pattern, retrained; raises UsageError where no layer can have it."""
    original, names = model, pruned(model, settings)
    chosen = masks.present(model, names)
    for number in range(1, settings.rounds + 1):
        kernels = masks.kernels(model, names)
        outputs = {name: int(model.get_layer(name).output_shape[-1]) for name in names}
        chosen = {name: mask(kernels[name], chosen[name], outputs[name], settings, number) for name in names}
        model = masks.constrained(model, chosen)
        phase = f"structured_sparsity {number}/{settings.rounds}"
        fit(model, data, settings, phase, settings.distillation)
        model = masks.released(model, original, chosen)
    return model


def pruned(model: Any, settings: StructuredSparsity) -> list[str]:
    """The layers that get the pattern; UsageError where `skip` names an unknown layer or leaves none."""
    # What is read of the settings, `skip` and `depthwise`, all pruning sections have.
    names = zeros.prunable(model, cast(Prune, settings))
    if settings.pattern == "n_of_m":
        names = [name for name, k in masks.kernels(model, names).items() if k.shape[-2] > settings.n]
    if not names:
        pattern = f"n = {settings.n} of m = {settings.m}" if settings.pattern == "n_of_m" else "blocks"
        raise UsageError(
            f"no layer of the model can have the pattern {pattern}: all are in compress.skip or have too few input "
            "channels; skip fewer layers or use another pattern"
        )
    return names


def mask(kernel: Any, before: Mask, outputs: int, settings: StructuredSparsity, number: int) -> Mask:
    """A layer's mask in a round, from more of m down to n or with ever fewer blocks; it has `outputs` channels."""
    further = settings.rounds - number
    if settings.pattern == "n_of_m":
        return before & n_of_m(kernel, settings.n + (settings.m - settings.n) * further // settings.rounds, settings.m)
    return before & blocks(kernel, before, outputs, settings, further)


def n_of_m(kernel: Any, n: int, m: int) -> Mask:
    """True for the n largest of every m neighbours along the input channels; some of equal ones."""
    backend.tfmot()
    helpers = importlib.import_module("tensorflow_model_optimization.python.core.sparsity.keras.pruning_utils")
    weights = backend.tensorflow().constant(kernel)
    # TFMOT counts the zeros; its rows are the groups' of one output and position.
    found = helpers.generate_m_by_n_mask(helpers.weights_rearrange(weights), (m - n, m))
    return np.asarray(helpers.m_by_n_sparsity_mask_prepare(found, weights.shape)).astype(bool)


def blocks(kernel: Any, before: Mask, outputs: int, settings: StructuredSparsity, further: int) -> Mask:
    """True in the blocks of highest mean magnitude."""
    # Rows in TFLite's order: window first, then input channels; a depthwise kernel has its window alone.
    matrix = np.abs(kernel.astype(np.float64)).reshape(-1, outputs)
    height, width = settings.block
    starts = np.arange(0, matrix.shape[0], height), np.arange(0, matrix.shape[1], width)

    def summed(values: Any) -> Any:
        return np.add.reduceat(np.add.reduceat(values, starts[0], axis=0), starts[1], axis=1)

    present = summed(before.reshape(-1, outputs).astype(int)) > 0
    means = summed(matrix) / summed(np.ones_like(matrix))
    count = kept(int(present.sum()), present.size, settings.sparsity, further)
    chosen = masks.largest(means, count, present)
    spread = np.repeat(np.repeat(chosen, height, axis=0), width, axis=1)[: matrix.shape[0], : matrix.shape[1]]
    return spread.reshape(kernel.shape)
