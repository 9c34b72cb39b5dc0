"""C of a network of bits: its constants, its parameters, and a call of a kernel a layer, behind binary_model.h."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy.typing as npt

from convert import emit
from convert.binary.net import OFFSET, BitConv, ImageConv, Layer, Net, Pool, Scores, Shape, words
from convert.compiled import Target

_Arrays: TypeAlias = Sequence[tuple[str, str, npt.NDArray[Any]]]  # name, type in C, values
_MAX_TABLE = 4096  # bytes of RAM that the Cortex-M4's first layer may take for its weights
_M4_TAPS, _M4_WORD = 9, 24  # a window that its assembly has in registers; bytes of the table a channel


@dataclass(frozen=True)
class Arena:
    """Where the input and each layer's output lie in the arena, and the scratch memory of all layers."""

    bytes: int
    places: tuple[int, ...]
    scratch: int


def render(net: Net, sha256: str, target: Target) -> dict[str, str]:
    """The C source by file name; the same network and target give the same bytes."""
    plan = arena(net, target)
    context = {"net": net, "sha256": sha256, "arena": plan, "offset": OFFSET, "cortex_m4": target == "cortex_m4"}
    context["layers"] = _layers(net, target, plan)
    return {name: emit.render(f"binary/{name}.j2", context) for name in ("binary_model.c", "binary_model.h")}


def arena(net: Net, target: Target) -> Arena:
    """Maps lie on two sides in turn; what can be pooled in place stays where it is."""
    sides, sizes, on = [0], [_bytes(net, 0)], 0
    for index, layer in enumerate(net.layers):
        in_place = isinstance(layer, Pool) and all(
            stride >= kernel for stride, kernel in zip(layer.window.strides, layer.window.kernel, strict=True)
        )
        on = on if in_place else 1 - on
        sides.append(on)
        sizes.append(_bytes(net, index + 1))
    room = [max((size for side, size in zip(sides, sizes, strict=True) if side == k), default=0) for k in (0, 1)]
    scratch = max(_scratch(layer, shape, target) for layer, shape in zip(net.layers, net.shapes, strict=False))
    return Arena(sum(room) + scratch, tuple(room[0] * side for side in sides), sum(room))


def _bytes(net: Net, index: int) -> int:
    height, width, channels = net.shapes[index]
    if index == 0:
        return -(-height * width * channels // 4) * 4
    return 4 * (channels if index == len(net.layers) else height * width * words(channels))


def small_window(layer: Layer, target: Target) -> bool:
    """Whether the Cortex-M4's kernel for the first layer takes it: 3x3 of one channel, and not too large a table."""
    return (
        target == "cortex_m4"
        and isinstance(layer, ImageConv)
        and layer.weights.shape[1:] == (3, 3, 1)
        and layer.strides == (1, 1)
        and _table(layer) <= _MAX_TABLE
    )


def _table(layer: ImageConv) -> int:
    return _M4_WORD * 32 * words(layer.outputs)


def _scratch(layer: Layer, shape: Shape, target: Target) -> int:
    """Bytes of a layer's scratch memory, a multiple of 4."""
    if isinstance(layer, BitConv):
        offsets = shape[1] * (layer.rows * layer.window.kernel[0] * shape[2] + 1) + 1
        return -(-offsets * (2 if target == "avr" else 4) // 4) * 4
    if isinstance(layer, ImageConv):
        if small_window(layer, target):
            height, width = layer.window.output(shape)
            return _table(layer) + 2 * (height + 2) * _m4_row(width)
        return 4 * layer.taps
    return 0


def _m4_row(width: int) -> int:
    """Halfwords of a row of the widened image: an even number, with one more than a window at the end reads."""
    return (width + 3) // 2 * 2


def _layers(net: Net, target: Target, plan: Arena) -> list[dict[str, Any]]:
    found = []
    for index, (layer, shape) in enumerate(zip(net.layers, net.shapes, strict=False)):
        kernel, arrays, params_type, params = _described(layer, shape, target)
        named = [{"name": f"{what}_{index}", "type": kind, "numbers": values} for what, kind, values in arrays]
        pointers = [str(array["name"]) for array in named]
        if isinstance(layer, Pool) and not layer.falling.any():
            pointers, named = ["0"], []  # NULL has no address space on AVR
        source, target_place = (f"at(arena, {plan.places[index + k]})" for k in (0, 1))
        arguments = [f"&params_{index}", *([str(layer_channels(shape))] if isinstance(layer, Pool) else []), source]
        arguments += [*pointers, target_place]
        if isinstance(layer, BitConv | ImageConv):
            arguments.append(f"at(arena, {plan.scratch})")
        found.append(
            {
                "arrays": named,
                "params_type": params_type,
                "params_name": f"params_{index}",
                "params": params,
                "call": f"{kernel}({', '.join(arguments)})",
                "output": plan.places[index + 1],
                "output_bytes": _bytes(net, index + 1),
            }
        )
    return found


def layer_channels(shape: Shape) -> int:
    """Channels of a map."""
    return shape[2]


def _described(layer: Layer, shape: Shape, target: Target) -> tuple[str, _Arrays, str, str]:
    """(kernel, constants as (name, type, values), type of its parameters, their initialiser)."""
    if isinstance(layer, BitConv | ImageConv):
        image, t = isinstance(layer, ImageConv), layer.thresholds
        members = {
            "channels": shape[2],
            "outputs": layer.outputs,
            "rows": layer.rows if isinstance(layer, BitConv) else 1,
        }
        members |= {"planes": t.planes, "stored": t.stored, "high": t.high, "start": t.start}
        params = _struct(layer.window.struct(shape), members)
        arrays: _Arrays = [("weights", "uint32_t", layer.words), ("limits", "uint32_t", t.words)]
        if not image:
            kernel = "kernels_m4_bits_conv" if target == "cortex_m4" else "kernels_bits_conv"
            return kernel, arrays, "kernels_bits_params", params
        kernel = "kernels_m4_bits_image_conv" if small_window(layer, target) else "kernels_bits_image_conv"
        return kernel, arrays, "kernels_bits_image_params", f"{{.bits = {params}, .offset = {OFFSET}}}"
    if isinstance(layer, Pool):
        window = _struct(layer.window.struct(shape))
        return "kernels_bits_max_pool", [("falling", "uint32_t", layer.words)], "kernels_window", window
    assert isinstance(layer, Scores)
    packed = layer.words_for(shape[2])
    members = {"words": packed.shape[1], "taps": layer.weights.shape[1], "classes": len(layer.weights)}
    last: _Arrays = [
        ("weights", "uint32_t", packed),
        ("factors", "int16_t", layer.factors),
        ("offsets", "int32_t", layer.offsets),
    ]
    return "kernels_bits_scores", last, "kernels_bits_scores_params", _struct({}, members)


def _struct(window: Mapping[str, int], members: Mapping[str, int] | None = None) -> str:
    """A C initialiser; a window alone, or first in a structure of more."""
    inner = ", ".join(f".{name} = {value}" for name, value in window.items())
    if members is None:
        return f"{{{inner}}}"
    parts = ([f".window = {{{inner}}}"] if window else []) + [f".{name} = {value}" for name, value in members.items()]
    return f"{{{', '.join(parts)}}}"
