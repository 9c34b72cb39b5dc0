"""Depthwise 3x3 convolutions on the Cortex-M4 with constants in few bytes.

The kernels of convert/compiled/cortex_m4/depthwise.py read ten words a channel; "compact" keeps nine weights, a bias, a
multiplier and a shift, from which a channel's words are made just before they are read.
"""

from dataclasses import replace

from convert.compiled import overlap
from convert.compiled.cortex_m4 import depthwise
from convert.compiled.cortex_m4 import stage as stages
from convert.compiled.cortex_m4.settle import settled
from convert.compiled.formats.catalogue import Option
from convert.compiled.layer import Constant, Layer, Value, constants_of, int8

COMPACT = "compact"
PREFIX = "kernels_m4_depthwise_compact_"


def compact(dense: Layer, portable: Layer) -> list[Option]:
    """The layer with compact constants; none where its kernel is another one, or the linear stage is not exact.

    `dense` is a layer of a kernel of cortex_m4/depthwise.py, `portable` the same operator's kernels_depthwise_s8.
    """
    if not (dense.kernel or "").startswith("kernels_m4_depthwise_3x3_") or portable.kernel != "kernels_depthwise_s8":
        return []
    known = settled(portable)
    window, stage = stages.nested(known.params, "window"), stages.nested(known.params, "stage")
    channels, zero_point = (stages.number(known.params, name) for name in ("input_channels", "input_zero_point"))
    weights = stages.array(known.params, "weights").reshape(-1, channels).T
    if not depthwise.channels_of(weights, zero_point, stage) or not stages.linear_is_exact(stage):
        return []
    folded = stages.array(depthwise.fold(weights, zero_point, stage), "bias").astype("int32")
    bias = Constant("bias", folded, "[output channel], input zero point folded in")
    few: dict[str, Value] = {
        "taps": Constant("taps", int8(weights), "[channel][3x3]"),
        "stage": {**stage, "bias": bias},
    }
    params: dict[str, Value] = {
        "layer": {name: value for name, value in dense.params.items() if name != "weights"},
        "compact": few,
    }
    geometry = depthwise.plane(window)
    layer = replace(
        dense,
        kernel=f"{PREFIX}s{geometry.stride}_p{geometry.pitch}_s8",
        params=params,
        params_type="kernels_m4_depthwise_compact_params",
        constants=tuple(constants_of(params)),
        overlaps=(),
    )
    band = stages.number(dense.params, "band")
    reach = depthwise.distance(window, channels, band)
    return [Option(COMPACT, overlap.overlapping(layer, reach, step=channels))]
