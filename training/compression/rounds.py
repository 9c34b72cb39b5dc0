"""Pruning in rounds: choose which weights stay, retrain them from where they are, choose again.

Each round removes the same share of what is left, so that density falls geometrically to its target (Han et al.,
"Learning both Weights and Connections for Efficient Neural Networks", 2015, prune and retrain by turns; they gain a
factor over pruning once). Weights that are zero when the step begins stay zero and count as removed.
"""

from collections.abc import Callable
from typing import Any, cast

import numpy as np

from convert.errors import UsageError, one_of
from training import backend
from training.compression import dead, masks, zeros
from training.compression.masks import Mask, Masks, Scores
from training.fitting import TrainingData, fit
from training.settings.pruning import Prune, Rounds

Choose = Callable[[Any, Masks, int], dict[str, Mask]]  # (model, masks so far, round from 1 on) -> masks


def run(model: Any, data: TrainingData, settings: Rounds, name: str, choose: Choose) -> Any:
    """The model after all rounds, `choose` saying in each which weights stay; raises UsageError for unknown layers."""
    original, names = model, layers(model, settings)
    start = chosen = masks.present(model, names)
    dense = {each: int(mask.sum()) for each, mask in start.items()}
    rates = dropout(model, names) if settings.reduce_dropout else {}
    for number in range(1, settings.rounds + 1):
        chosen = choose(model, chosen, number)
        left = {each: int(mask.sum()) / max(1, dense[each]) for each, mask in chosen.items()}
        reduced = {layer: float(rate * np.sqrt(left[reader])) for layer, (rate, reader) in rates.items()}
        model = masks.constrained(model, chosen, _regularizer(settings), reduced)
        last = number == settings.rounds and settings.final_epochs
        plan = settings.model_copy(update={"epochs": settings.final_epochs}) if last else settings
        fit(model, data, plan, f"{name} {number}/{settings.rounds}", settings.distillation)
        model = masks.released(model, original, chosen)
    return dead.remove(model) if settings.remove_dead else model


def layers(model: Any, settings: Rounds) -> list[str]:
    """Names of the layers that are pruned; raises UsageError where the settings name one that the model has not."""
    # What is read of the settings, `skip` and `depthwise`, all pruning sections have.
    names = zeros.prunable(model, cast(Prune, settings))
    if not names:
        raise UsageError("compress.skip leaves no layer to prune; take layers out of it")
    if unknown := sorted(set(settings.layers) - set(names)):
        raise UsageError(
            f"compress.layers names {', '.join(map(repr, unknown))}, which the step does not prune; "
            f"it prunes {one_of(names)}"
        )
    return names


def by_target(scores: Scores, before: Masks, settings: Rounds, sparsity: float, number: int) -> dict[str, Mask]:
    """Masks of a round for a target sparsity: the highest scores stay, of each layer or of all together.

    Layers that `settings.layers` gives a target of their own keep to it. Every layer keeps at least one weight.
    """
    together = [name for name in scores if settings.scope == "global" and name not in settings.layers]
    chosen: dict[str, Mask] = {}
    for name in scores:
        if name not in together:
            target = settings.layers.get(name, sparsity)
            count = kept(int(before[name].sum()), before[name].size, target, settings.rounds - number)
            chosen[name] = masks.largest(scores[name], count, before[name])
    if together:
        all_before = np.concatenate([before[name].ravel() for name in together])
        all_scores = np.concatenate([_first(scores[name], before[name]).ravel() for name in together])
        count = kept(int(all_before.sum()), all_before.size, sparsity, settings.rounds - number)
        found = masks.largest(all_scores, max(count, len(together)), all_before)
        ends = np.cumsum([before[name].size for name in together])[:-1]
        for name, mask in zip(together, np.split(found, ends), strict=True):
            chosen[name] = mask.reshape(before[name].shape)
    return {name: chosen[name] for name in scores}


def kept(present: int, size: int, sparsity: float, further: int) -> int:
    """How many weights stay in a round after which `further` rounds follow: the same share in each of them."""
    final = max(1, round(size * (1 - sparsity)))
    if final >= present:
        return present
    return max(1, round(present * float((final / present) ** (1 / (further + 1)))))


def dropout(model: Any, names: list[str]) -> dict[str, tuple[float, str]]:
    """Dropout layers' rates and the pruned layer that each one stands before.

    Han et al. 2015: dropout works on neurons, connections grow with their square, so the rate falls with the square
    root of the connections that are left: D_r = D_o sqrt(C_r / C_o).
    """
    found = {}
    for layer in model.layers:
        if isinstance(layer, backend.keras().layers.Dropout):
            reader = layer
            while len(reader.outbound_nodes) == 1 and zeros.kernel(reader) is None:
                reader = reader.outbound_nodes[0].layer
            if reader.name in names:
                found[layer.name] = (float(layer.rate), reader.name)
    return found


def _first(scores: Any, before: Mask) -> Any:
    """Scores with the best weight of the layer above all other layers' weights."""
    raised = np.array(scores, np.float64)
    raised.flat[np.argmax(np.where(before, raised, -np.inf))] = np.inf
    return raised


def _regularizer(settings: Rounds) -> Any | None:
    if not settings.regularization:
        return None
    regularizers = backend.keras().regularizers
    kind = {"l1": regularizers.L1, "l2": regularizers.L2}[settings.regularizer]
    return kind(settings.regularization)
