"""Low-rank factorisation: a layer becomes several thinner ones whose product is close to it; then they are trained on.

- A dense layer (m, n) and a 1x1 convolution: truncated SVD, r * (m + n) weights instead of m * n (Denton et al. 2014).
- A convolution of kh x kw from s to t channels, `tucker`: 1x1 to r1 channels, kh x kw to r2, 1x1 to t, Tucker-2 by
  higher-order SVD (Kim et al. 2016): s * r1 + kh * kw * r1 * r2 + r2 * t weights. A side that keeps its rank gets no
  1x1 convolution.
- The same, `cp`: 1x1 to r channels, depthwise kh x 1, depthwise 1 x kw, 1x1 to t, canonical polyadic decomposition
  (Lebedev et al. 2015): r * (s + kh + kw + t) weights. With a stride, or without `lines`, one depthwise kh x kw, of
  r * (s + kh * kw + t) weights.

Ranks come from the share of the kernels' energy (squared weights) to keep, or from a budget of parameters: see
training/ranks.py. A layer that would not get smaller stays. Fewer weights are mostly, not always, fewer
multiply-accumulates: before a stride, the first 1x1 convolution works on the larger picture.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from convert.errors import UsageError
from training import backend, factors, ranks, surgery
from training.factors import Array
from training.fitting import TrainingData, fit
from training.ranks import Option
from training.settings.low_rank import LowRank

CP_RANKS = 10  # ranks at most that are tried a layer: each takes a run of alternating least squares


class Factorization(Protocol):
    """A layer taken apart: what each choice of ranks costs and keeps, and the layers for one of them."""

    @property
    def options(self) -> Sequence[Option]:
        """The choices that make the layer smaller, by rising size and energy."""

    def layers(self, option: Option) -> list[Any]:
        """Unbuilt layers to call one after another, with weights."""


def apply(model: Any, data: TrainingData, settings: LowRank) -> Any:
    """A model with factorised layers, called NAME_in, NAME_core, ..., NAME_out, trained on.

    Raises UsageError where `skip` names no such layer, no layer gets smaller, or the budget cannot be kept.
    """
    found = _factorized(model, data, settings)
    sizes = {name: int(np.prod(model.get_layer(name).kernel.shape)) for name in found}
    options = {name: each.options for name, each in found.items()}
    if settings.budget is None:
        chosen = ranks.by_energy(options, settings.energy)
    else:
        chosen = ranks.by_budget(options, sizes, int(model.count_params()), settings.budget)
    if not chosen:
        raise UsageError(
            f"low_rank with energy = {settings.energy} makes none of {', '.join(found)} smaller; lower "
            "energy, or give a budget instead"
        )
    smaller = surgery.rebuild(model, {name: _in_a_row(found[name].layers(option)) for name, option in chosen.items()})
    if settings.epochs:
        fit(smaller, data, settings, "low_rank", settings.distillation)
    return smaller


def _factorized(model: Any, data: TrainingData, settings: LowRank) -> dict[str, Factorization]:
    """Every layer that can be taken apart, by name."""
    kinds = {layer.name: kind for layer in model.layers if (kind := _kind(layer, settings)) is not None}
    for name in sorted(set(settings.skip) - set(kinds)):
        near = difflib.get_close_matches(name, kinds, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(
            f"compress.skip names {name!r}, which low_rank leaves alone anyway or the model does not have; layers that "
            f"it works on are {', '.join(kinds) or 'none'}{hint}"
        )
    chosen = [name for name in kinds if name not in settings.skip]
    if not chosen:
        raise UsageError(
            f"low_rank is left no layer to take apart; it could work on {', '.join(kinds) or 'none of this model'}: "
            "take some out of skip, or leave the step out"
        )
    found: dict[str, Factorization] = {}
    with data.reporter.task("factorising", len(chosen)) as update:
        for number, name in enumerate(chosen, 1):
            found[name] = kinds[name](model.get_layer(name), settings, data.seed)
            update(number, name)
    return found


def _kind(layer: Any, settings: LowRank) -> Callable[[Any, LowRank, int], Factorization] | None:
    """How a layer is taken apart; None where it is left alone."""
    layers = backend.keras().layers
    if type(layer) is layers.Dense:
        return _Matrix
    if type(layer) is not layers.Conv2D or layer.groups > 1 or layer.data_format != "channels_last":
        return None
    if layer.kernel_size == (1, 1):
        return _Matrix
    if settings.convolutions == "tucker":
        return _Tucker
    return _Canonical if layer.dilation_rate == (1, 1) and _depthwise_strides(layer) is not None else None


def _in_a_row(layers: Sequence[Any]) -> Callable[[Any], Any]:
    def call(tensor: Any) -> Any:
        for layer in layers:
            tensor = layer(tensor)
        return tensor

    return call


def _kernel(layer: Any) -> Array:
    return np.asarray(layer.get_weights()[0], np.float64)


def _ended(layer: Any) -> dict[str, Any]:
    """Configuration of the last of a layer's factors: its name, and what follows the product."""
    return {"name": f"{layer.name}_out", "use_bias": layer.use_bias, "activation": layer.activation}


class _Matrix:
    """Truncated SVD of a dense layer or 1x1 convolution; every singular value shared evenly by both factors."""

    def __init__(self, layer: Any, settings: LowRank, seed: int) -> None:
        del settings, seed
        self.layer, kernel = layer, _kernel(layer)
        self.left, self.values, self.right = factors.svd(kernel.reshape(kernel.shape[-2:]))
        width, size = sum(kernel.shape[-2:]), kernel.size
        kept = factors.energies(self.values).tolist()
        self.options: Sequence[Option] = ranks.front(
            [Option(rank * width, energy, (rank,)) for rank, energy in enumerate(kept, 1)], size
        )

    def layers(self, option: Option) -> list[Any]:
        """Two layers of the same kind; a stride belongs to the first, which has less to do with it."""
        (rank,), kind = option.ranks, backend.keras().layers
        roots = np.sqrt(self.values[:rank])
        into, out = self.left[:, :rank] * roots, roots[:, np.newaxis] * self.right[:rank]
        bias = self.layer.get_weights()[1:]
        name = f"{self.layer.name}_in"
        if isinstance(self.layer, kind.Dense):
            first = kind.Dense(rank, use_bias=False, name=name)
            second = kind.Dense(self.layer.units, **_ended(self.layer))
        else:
            into, out = into[np.newaxis, np.newaxis], out[np.newaxis, np.newaxis]
            first = kind.Conv2D(rank, 1, self.layer.strides, self.layer.padding, use_bias=False, name=name)
            second = kind.Conv2D(self.layer.filters, 1, **_ended(self.layer))
        return [surgery.with_weights(first, [into]), surgery.with_weights(second, [out, *bias])]


class _Tucker:
    """Tucker-2 of a convolution's channels."""

    def __init__(self, layer: Any, settings: LowRank, seed: int) -> None:
        del settings, seed
        self.layer, kernel = layer, _kernel(layer)
        self.found = factors.tucker2(kernel)
        window, (inputs, outputs) = int(np.prod(kernel.shape[:2])), kernel.shape[2:]
        energies = self.found.energies
        options = []
        for r1 in range(1, inputs + 1):
            for r2 in range(1, outputs + 1):
                ends = (inputs * r1 if r1 < inputs else 0) + (outputs * r2 if r2 < outputs else 0)
                options.append(Option(ends + window * r1 * r2, float(energies[r1 - 1, r2 - 1]), (r1, r2)))
        self.options: Sequence[Option] = ranks.front(options, kernel.size)

    def layers(self, option: Option) -> list[Any]:
        """1x1, the window, 1x1; the outer ones only where they change the number of channels."""
        (r1, r2), kind, layer = option.ranks, backend.keras().layers, self.layer
        inputs, outputs = len(self.found.left), len(self.found.right)
        left, core, right = self.found.truncated(r1, r2)
        bias = layer.get_weights()[1:]
        made = []
        if r1 < inputs:
            first = kind.Conv2D(r1, 1, use_bias=False, name=f"{layer.name}_in")
            made.append(surgery.with_weights(first, [left[np.newaxis, np.newaxis]]))
        else:
            core = np.einsum("hwij,mi->hwmj", core, left)
        if r2 < outputs:
            changes = {"filters": r2, "use_bias": False, "activation": "linear", "name": f"{layer.name}_core"}
            made.append(surgery.copy(layer, [core], **changes))
            last = kind.Conv2D(outputs, 1, **_ended(layer))
            made.append(surgery.with_weights(last, [right.T[np.newaxis, np.newaxis], *bias]))
        else:
            core = np.einsum("hwij,nj->hwin", core, right)
            made.append(surgery.copy(layer, [core, *bias], name=f"{layer.name}_out"))
        return made


class _Canonical:
    """CP of a convolution: 1x1, one or two depthwise ones, 1x1."""

    def __init__(self, layer: Any, settings: LowRank, seed: int) -> None:
        self.layer, kernel = layer, _kernel(layer)
        height, width, inputs, outputs = kernel.shape
        # Two depthwise steps with a stride in both would leave out rows that the second one needs.
        self.lines = settings.lines and layer.strides == (1, 1) and min(height, width) > 1
        if not self.lines:
            kernel = kernel.reshape(height * width, inputs, outputs)
        each = sum(kernel.shape)
        most = (kernel.size - 1) // each
        tried = np.unique(np.geomspace(1, most, CP_RANKS).round().astype(int)).tolist() if most else []
        self.found: Mapping[int, factors.Cp] = {
            rank: factors.cp(kernel, rank, settings.iterations, seed) for rank in tried
        }
        options = [Option(rank * each, cp.energy, (rank,)) for rank, cp in self.found.items()]
        self.options: Sequence[Option] = ranks.front(options, kernel.size)

    def layers(self, option: Option) -> list[Any]:
        """Three or four layers."""
        (rank,), kind, layer = option.ranks, backend.keras().layers, self.layer
        *windows, into, out = self.found[rank].factors
        bias = layer.get_weights()[1:]
        first = kind.Conv2D(rank, 1, use_bias=False, name=f"{layer.name}_in")
        made = [surgery.with_weights(first, [into[np.newaxis, np.newaxis]])]
        height, width = layer.kernel_size
        shapes = {"rows": (height, 1), "columns": (1, width)} if self.lines else {"core": (height, width)}
        for (part, shape), window in zip(shapes.items(), windows, strict=True):
            depthwise = kind.DepthwiseConv2D(
                shape, _depthwise_strides(layer), layer.padding, use_bias=False, name=f"{layer.name}_{part}"
            )
            made.append(surgery.with_weights(depthwise, [window.reshape(*shape, rank, 1)]))
        last = kind.Conv2D(layer.filters, 1, **_ended(layer))
        made.append(surgery.with_weights(last, [out.T[np.newaxis, np.newaxis], *bias]))
        return made


def _depthwise_strides(layer: Any) -> tuple[int, int] | None:
    """The strides of a depthwise convolution in the layer's place; None where there is none.

    TensorFlow wants both alike; along an axis of one pixel and one weight, as in 1-D networks, any will do.
    """
    rows, columns = layer.strides
    if rows == columns:
        return rows, columns
    for axis, other in ((0, columns), (1, rows)):
        if layer.get_input_shape_at(0)[axis + 1] == 1 and layer.kernel_size[axis] == 1:
            return other, other
    return None
