"""A width for each layer: what rounding one costs is measured for each alone, then a budget of bytes is spent best.

Sensitivity as in post-training mixed precision (Dong et al., "HAWQ", 2019, with the loss itself in place of its second
derivative; Cai et al., "ZeroQ", 2020, whose search for the best allocation under a size this follows). With s(l, b) the
rise of the loss when only layer l has b bits, the choice minimises the sum of s over layers, which takes their effects
as independent. It is exact: a multiple-choice knapsack, solved as an integer programme.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import Bounds, LinearConstraint, milp

from convert.errors import UsageError
from convert.scheme import Grid, Scheme
from training import backend, folding, rounding
from training.fitting import TrainingData, predict
from training.settings.quantization import MixedPrecision

Floats = npt.NDArray[np.float64]


def apply(model: Any, data: TrainingData, settings: MixedPrecision) -> Any:
    """The model with each layer at the width chosen for it, and a scheme; the choice is shown.

    Raises UsageError for an unknown layer in `skip` and a budget that even the fewest bits exceed.
    """
    folded = folding.fold(model)
    chosen, widths = rounding.layers(folded, settings.skip), sorted(set(settings.bits))
    everything = sum(rounding.kernel(layer).size for layer in rounding.layers(folded))
    sizes = np.array([[rounding.kernel(layer).size * bits / 8 for bits in widths] for layer in chosen])
    fixed = everything - sum(rounding.kernel(layer).size for layer in chosen)
    least = (sizes[:, 0].sum() + fixed) / everything if len(chosen) else 1.0
    if settings.budget < least:
        raise UsageError(
            f"compress.budget = {settings.budget} of the weights' bytes at 8 bits cannot be met; with bits = "
            f"{widths} and skip = {settings.skip} at least {np.ceil(1000 * least) / 1000:.3f} is needed: "
            "raise the budget, allow fewer bits, or skip fewer layers"
        )
    grids = {
        (layer.name, bits): rounding.grid(layer, bits, settings.per_channel, settings.clipping)
        for layer in chosen
        for bits in widths
    }
    costs = sensitivity(folded, [layer.name for layer in chosen], widths, grids, data, settings)
    choice = knapsack(costs, sizes, settings.budget * everything - fixed)
    taken = {layer.name: grids[layer.name, widths[k]] for layer, k in zip(chosen, choice, strict=True)}
    share = rounding.weight_bytes(rounding.layers(folded), taken) / everything
    words = ", ".join(f"{name} {grid.bits}" for name, grid in taken.items())
    if data.reporter.console is not None:
        data.reporter.console.print(f"  bits: {words}; {share:.1%} of the bytes at 8 bits", highlight=False)
    return backend.with_scheme(rounding.rounded(folded, taken), Scheme(settings.format, taken))


def sensitivity(
    model: Any,
    names: Sequence[str],
    widths: Sequence[int],
    grids: Mapping[tuple[str, int], Grid],
    data: TrainingData,
    settings: MixedPrecision,
) -> Floats:
    """How much the cross-entropy on training samples rises (layers, widths) when only that layer has so many bits.

    A fall counts as none: noise on few samples is no reason to spend fewer bytes. The model is unchanged afterwards.
    """
    count = min(settings.samples, len(data.dataset.x_train))
    some = np.random.default_rng(data.seed).choice(len(data.dataset.x_train), count, replace=False)
    x, labels = data.dataset.x_train[some], data.dataset.y_train[some]

    def loss() -> float:
        answers = predict(model, x)
        return float(-np.log(np.maximum(answers[np.arange(count), labels], 1e-7)).mean())

    before, costs = loss(), np.zeros((len(names), len(widths)))
    with data.reporter.task("measuring sensitivity", costs.size) as update:
        for i, name in enumerate(names):
            layer = model.get_layer(name)
            weights = layer.get_weights()
            for k, bits in enumerate(widths):
                layer.set_weights(rounding.round_to(layer, grids[name, bits]))
                costs[i, k] = max(0.0, loss() - before)
                layer.set_weights(weights)
                update(i * len(widths) + k + 1, f"{name}, {bits} bits: loss +{costs[i, k]:.4f}")
    return costs


def knapsack(costs: Floats, sizes: Floats, budget: float) -> list[int]:
    """The choice for each row with the least sum of costs and a sum of sizes of at most `budget`.

    Among equal costs the smaller one: a byte counts a billionth of the largest cost, all bytes together. UsageError has
    been raised where there is no choice; ValueError here.
    """
    rows, choices = costs.shape
    if not rows:
        return []
    objective = costs + 1e-9 * max(costs.max(), 1e-9) * sizes / sizes.sum()
    once = np.kron(np.eye(rows), np.ones(choices))
    # In whole bits, so that no sum of fractions decides whether a choice fits.
    fits = LinearConstraint(np.round(8 * sizes.reshape(1, -1)), ub=np.floor(8 * budget + 1e-6))
    constraints = [LinearConstraint(once, 1, 1), fits]
    found = milp(
        objective.reshape(-1), integrality=np.ones(costs.size), bounds=Bounds(0, 1), constraints=constraints,
        options={"mip_rel_gap": 0.0},
    )  # fmt: skip
    if found.x is None:
        raise ValueError(f"no choice of sizes fits {budget:g} bytes: {found.message}")
    return [int(k) for k in found.x.reshape(rows, choices).argmax(axis=1)]
