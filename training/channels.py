"""Which channels of a Keras model belong together, and the model without some of them.

A channel is an index of a tensor's last axis: a filter's feature map or a dense layer's unit. Convolutions and dense
layers make channels, everything else passes them on: depthwise convolutions and batch normalisation one for one,
concatenation side by side, flattening several times over. Where two tensors are added, or a layer is called twice,
channels are tied: all of them stay or all of them go. Channels that are tied form a unit (cf. the dependency graph of
Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023). Inputs and outputs of the model keep theirs.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from convert.errors import UsageError
from training import backend, surgery

Ids = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

MAKERS = ("Dense", "Conv1D", "Conv2D")
_SAME = {
    *("Activation", "AlphaDropout", "Dropout", "ELU", "GaussianDropout", "GaussianNoise", "LeakyReLU", "ReLU"),
    *("Rescaling", "SpatialDropout1D", "SpatialDropout2D", "ThresholdedReLU"),
    *("AveragePooling1D", "AveragePooling2D", "MaxPooling1D", "MaxPooling2D"),
    *("GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalMaxPooling1D", "GlobalMaxPooling2D"),
    *("Cropping1D", "Cropping2D", "UpSampling1D", "UpSampling2D", "ZeroPadding1D", "ZeroPadding2D"),
    *("BatchNormalization", "PReLU"),
}
_TIED = {"Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract"}


@dataclass(frozen=True)
class Group:
    """Units of the same layers: ranked against each other, so that every layer loses its share."""

    layers: tuple[str, ...]  # that make these channels, in the model's order
    units: Ids


@dataclass(frozen=True)
class Channels:
    """The unit of every channel that a layer gets and gives, by layer name (of its first call)."""

    inputs: Mapping[str, Ids]
    outputs: Mapping[str, Ids]
    makers: tuple[str, ...]  # layers that make channels, in the model's order
    fixed: frozenset[int]  # units that have to stay
    rigid: tuple[str, ...] = ()  # layers that make others keep their channels

    def groups(self) -> list[Group]:
        """All units that can go, by the layers that make their channels."""
        made: dict[int, list[str]] = {}
        for name in self.makers:
            for unit in dict.fromkeys(self.outputs[name].tolist()):
                made.setdefault(unit, []).append(name)
        found: dict[tuple[str, ...], list[int]] = {}
        for unit, names in made.items():
            if unit not in self.fixed:
                found.setdefault(tuple(names), []).append(unit)
        return [Group(names, np.array(units)) for names, units in found.items()]


def trace(model: Any) -> Channels:
    """Follow the channels of a Functional or Sequential model.

    Raises UsageError with the layer's name for a layer whose way with channels is not known.
    """
    tracer = _Tracer()
    tensors: dict[str, Ids] = {}
    for tensor in model.inputs:
        tensors[str(id(tensor))] = tracer.fresh(int(tensor.shape[-1]), fixed=True)
    for node in _nodes(model):
        ids = tracer.call(node, [tensors[key] for key in node.flat_input_ids])
        for key in node.flat_output_ids:
            tensors[key] = ids
    for tensor in model.outputs:
        tracer.fix(tensors[str(id(tensor))])
    makers = [layer.name for layer in model.layers if type(layer).__name__ in MAKERS]
    return tracer.result(makers)


def without(model: Any, channels: Channels, units: Collection[int]) -> Any:
    """A new model without the given units, every other weight as it was; `channels` is the model's trace."""
    gone = np.array(sorted(units), np.int64)
    kept = {
        name: (~np.isin(channels.inputs[name], gone), ~np.isin(ids, gone)) for name, ids in channels.outputs.items()
    }
    replacements = {}
    for layer in model.layers:
        if layer.name in kept:
            weights, changes = _cut(layer, *kept[layer.name])
            if weights or changes:
                replacements[layer.name] = surgery.copy(layer, weights or None, **changes)
    return surgery.rebuild(model, replacements)


def _nodes(model: Any) -> Iterable[Any]:
    """Every call of a layer, inputs before what uses them."""
    for depth in sorted(model._nodes_by_depth, reverse=True):
        yield from (node for node in model._nodes_by_depth[depth] if not node.is_input)


@dataclass
class _Tracer:
    """Numbers channels as they are made and notes which are tied; what is tied becomes one unit in the end."""

    count: int = 0
    ties: list[tuple[Ids, Ids]] = field(default_factory=list)
    fixed: list[Ids] = field(default_factory=list)
    inputs: dict[str, Ids] = field(default_factory=dict)
    outputs: dict[str, Ids] = field(default_factory=dict)
    rigid: list[str] = field(default_factory=list)

    def fresh(self, size: int, fixed: bool = False) -> Ids:
        """New channels."""
        ids = np.arange(self.count, self.count + size)
        self.count += size
        return self.fix(ids) if fixed else ids

    def fix(self, ids: Ids) -> Ids:
        """Channels that have to stay."""
        self.fixed.append(ids)
        return ids

    def tie(self, one: Ids, other: Ids) -> None:
        """Channels that stay or go in pairs."""
        self.ties.append((one, other))

    def call(self, node: Any, given: list[Ids]) -> Ids:
        """The channels that a layer's call gives for those that it gets."""
        layer, kind = node.layer, type(node.layer).__name__
        follow = _follower(layer, kind)
        again = layer.name in self.outputs and (layer.weights or kind == "Reshape")
        if again:
            self.tie(self.inputs[layer.name], given[0])
            return self.outputs[layer.name]
        ids = follow(self, node, given)
        self.inputs.setdefault(layer.name, given[0])
        self.outputs.setdefault(layer.name, ids)
        return ids

    def result(self, makers: list[str]) -> Channels:
        """Units instead of channels."""
        pairs = [np.empty((2, 0), np.int64), *(np.stack(tie) for tie in self.ties)]
        rows, columns = np.concatenate(pairs, axis=1)
        edges = coo_array((np.ones(len(rows)), (rows, columns)), shape=(self.count, self.count))
        unit = np.asarray(connected_components(edges, directed=False)[1], np.int64)
        return Channels(
            {name: unit[ids] for name, ids in self.inputs.items()},
            {name: unit[ids] for name, ids in self.outputs.items()},
            tuple(makers),
            frozenset(unit[np.concatenate(self.fixed)].tolist()),
            tuple(dict.fromkeys(self.rigid)),
        )


_Follow = Callable[[_Tracer, Any, list[Ids]], Ids]


def _follower(layer: Any, kind: str) -> _Follow:
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        if layer.weights:
            raise UsageError(f"layer {layer.name} has its channels first; channels can be removed where they come last")
        return _rigid  # a crop of the last axis in disguise
    if kind in _SAME and _is_softmax(layer):
        kind = "Softmax"
    if (found := _FOLLOW.get(kind)) is None:
        raise UsageError(
            f"how layer {layer.name} ({kind}) treats channels is not known, so none can be removed from this model; "
            f"replace the layer or take another technique. Known are {', '.join(sorted(_FOLLOW))}"
        )
    return found


def _is_softmax(layer: Any) -> bool:
    return getattr(getattr(layer, "activation", None), "__name__", "") == "softmax"


def _maker(tracer: _Tracer, node: Any, given: list[Ids]) -> Ids:
    layer = node.layer
    # A grouped convolution needs the same number of channels in every group, and softmax weighs channels against all.
    rigid = getattr(layer, "groups", 1) > 1
    if rigid:
        return _rigid(tracer, node, given)
    return tracer.fresh(_shape(node)[-1], fixed=_is_softmax(layer))


def _same(_: _Tracer, node: Any, given: list[Ids]) -> Ids:
    layer, rank = node.layer, len(_shape(node)) + 1
    axis = getattr(layer, "axis", None)
    if axis is not None and {a % rank for a in np.atleast_1d(axis).tolist()} != {rank - 1}:
        raise UsageError(f"layer {layer.name} normalises axis {axis}; channels can be removed where it is the last one")
    return given[0]


def _mixed(tracer: _Tracer, _: Any, given: list[Ids]) -> Ids:
    return tracer.fix(given[0])


def _depthwise(_: _Tracer, node: Any, given: list[Ids]) -> Ids:
    return np.repeat(given[0], node.layer.depth_multiplier)


def _reshaped(tracer: _Tracer, node: Any, given: list[Ids]) -> Ids:
    shape = _shape(node)
    rows = np.tile(given[0], math.prod(shape) // len(given[0])).reshape(-1, shape[-1])
    return rows[0] if (rows == rows[0]).all() else _rigid(tracer, node, given)


def _rigid(tracer: _Tracer, node: Any, given: list[Ids]) -> Ids:
    """The new last axis does not hold the old one's channels, so that these have to stay."""
    tracer.rigid.append(node.layer.name)
    for ids in given:
        tracer.fix(ids)
    return tracer.fresh(_shape(node)[-1], fixed=True)


def _together(tracer: _Tracer, _: Any, given: list[Ids]) -> Ids:
    widest = max(given, key=len)
    for ids in given:
        if len(ids) == len(widest):
            tracer.tie(widest, ids)
        else:
            tracer.fix(ids)  # one channel for all
    return widest


def _side_by_side(tracer: _Tracer, node: Any, given: list[Ids]) -> Ids:
    rank = len(_shape(node)) + 1
    if node.layer.axis % rank == rank - 1:
        return np.concatenate(given)
    return _together(tracer, node, given)


def _shape(node: Any) -> tuple[int, ...]:
    """A call's output shape without the batch."""
    shape = tuple(node.outputs.shape[1:])
    if None in shape:
        raise UsageError(f"layer {node.layer.name} gives a shape that is not fixed; build the model with a fixed input")
    return shape


_FOLLOW: Mapping[str, _Follow] = {
    **dict.fromkeys(MAKERS, _maker),
    **dict.fromkeys(_SAME, _same),
    **dict.fromkeys(_TIED, _together),
    "Concatenate": _side_by_side,
    "DepthwiseConv2D": _depthwise,
    "Flatten": _reshaped,
    "Reshape": _reshaped,
    "Softmax": _mixed,
}


def _cut(layer: Any, kept_in: Mask, kept_out: Mask) -> tuple[list[Any], dict[str, Any]]:
    """A layer's weights and changes of its configuration where some channels are gone."""
    kind, weights, left = type(layer).__name__, layer.get_weights(), int(kept_out.sum())
    if kind in MAKERS:
        # Kernels (..., in, out); a grouped convolution keeps all, and its kernel has fewer inputs than the layer.
        kernel = weights[0] if getattr(layer, "groups", 1) > 1 else weights[0][..., kept_in, :]
        size = "units" if kind == "Dense" else "filters"
        return [kernel[..., kept_out], *(bias[kept_out] for bias in weights[1:])], {size: left}
    if kind == "DepthwiseConv2D":
        return [weights[0][:, :, kept_in], *(bias[kept_out] for bias in weights[1:])], {}
    if kind == "Reshape":
        return [], {"target_shape": (*layer.output_shape[1:-1], left)}
    return [w[..., kept_out] if w.shape[-1] == len(kept_out) else w for w in weights], {}


def activation(model: Any, name: str) -> Any:
    """The tensor in which a layer's channels first appear as other layers see them: past normalisation, sums and
    dropout up to the first nonlinearity, as long as there is one way to go.
    """
    uses: dict[str, list[Any]] = {}
    made: dict[str, Any] = {}
    for node in _nodes(model):
        for key in node.flat_input_ids:
            uses.setdefault(key, []).append(node)
        made.setdefault(node.layer.name, node)
    node = made[name]
    while not _nonlinear(node.layer):
        following = uses.get(str(id(node.outputs)), [])
        if len(following) != 1 or type(following[0].layer).__name__ not in _PASSED:
            break
        node = following[0]
    return node.outputs


_NONLINEAR = {"ELU", "LeakyReLU", "PReLU", "ReLU", "ThresholdedReLU"}
_PASSED = {"Activation", "Add", "BatchNormalization", "Dropout", "SpatialDropout1D", "SpatialDropout2D", *_NONLINEAR}


def _nonlinear(layer: Any) -> bool:
    linear = backend.keras().activations.linear
    return type(layer).__name__ in _NONLINEAR or getattr(layer, "activation", linear) is not linear
