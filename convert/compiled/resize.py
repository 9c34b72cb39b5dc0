"""Resizing of images by interpolation: RESIZE_BILINEAR. The nearest neighbour is a copy (move.py)."""

from convert.compiled.layer import Layer, Lower, Value, describe, make, refuse
from convert.compiled.move import ends, size_of
from convert.graph import Graph, Operator

_MAX_PIXELS = 1 << 20  # in one direction, so that 1/1024 pixels fit 32 bits


def _direction(op: Operator, length: int, count: int, align: bool, half: bool) -> dict[str, Value]:
    """The kernels' `kernels_resize_direction`: `length` pixels become `count`."""
    spaces, steps = (length - 1, count - 1) if align and count > 1 else (length, count)
    step = (1024 * spaces + steps // 2) // steps
    start = step // 2 - 512 if half else 0
    # Where many pixels are made of few, the rounded step may lead out of the image, and TFLite Micro reads there.
    if (count - 1) * step + start >= 1024 * length:
        raise refuse(
            op, f"{count} pixels made of {length} reach beyond the image", "resize by a smaller factor, or in two steps"
        )
    return {"input": length, "output": count, "step": step, "start": start}


def resize_bilinear(graph: Graph, op: Operator) -> Layer:
    """RESIZE_BILINEAR of int8 images to a constant size, with aligned corners, half pixel centers or neither."""
    x, out = ends(graph, op, "int8")
    height, width = size_of(graph, op, x, out)
    n, h, w, c = x.shape
    if max(h, w, height, width) >= _MAX_PIXELS:
        raise refuse(op, f"{describe(x)} or {describe(out)} is too long", f"use fewer than {_MAX_PIXELS} pixels a side")
    align, half = bool(op.options.get("alignCorners", False)), bool(op.options.get("halfPixelCenters", False))
    if align and half:
        raise refuse(op, "it has both aligned corners and half pixel centers", "choose one of them")
    params: dict[str, Value] = {
        "batches": n,
        "channels": c,
        "vertical": _direction(op, h, height, align, half),
        "horizontal": _direction(op, w, width, align, half),
    }
    return make(graph, op, "kernels_resize_bilinear_s8", "kernels_resize_bilinear_params", params)


OPERATORS: dict[str, Lower] = {"RESIZE_BILINEAR": resize_bilinear}
