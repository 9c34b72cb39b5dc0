"""Operators that copy elements to other places, without arithmetic.

STRIDED_SLICE, SLICE, TRANSPOSE, REVERSE_V2, SPACE_TO_DEPTH, DEPTH_TO_SPACE, BATCH_TO_SPACE_ND, SPACE_TO_BATCH_ND,
MIRROR_PAD, GATHER, RESIZE_NEAREST_NEIGHBOR. Quantisations of input and output are not compared, as in TFLite Micro.
"""

import math
from collections.abc import Sequence

import numpy as np

from convert.compiled import overlap
from convert.compiled.layer import (
    Array,
    Constant,
    Layer,
    Lower,
    Value,
    constant,
    describe,
    make,
    output,
    per_tensor,
    refuse,
    require_type,
    tensor,
)
from convert.graph import Graph, Operator, Tensor

_COPY_RANK = 5
_TABLES = 4
_MAX_OFFSETS = 1 << 14
_MAX_STEPS = 1 << 20  # of a kernel whose overlaps are derived step by step
_AGAIN = "convert the model again"


def ends(graph: Graph, op: Operator, *types: str, input: int = 0) -> tuple[Tensor, Tensor]:
    """Input number `input` and the single output, of the same one of `types`."""
    x, out = tensor(graph, op, input), output(graph, op)
    require_type(op, x, *types)
    require_type(op, out, x.dtype.name)
    return x, out


def integers(graph: Graph, op: Operator, index: int, *types: str) -> list[int]:
    """The values of the constant integer input number `index`, flat; `types` default to int32."""
    t = tensor(graph, op, index)
    require_type(op, t, *(types or ("int32",)))
    return [int(v) for v in constant(op, t).reshape(-1)]


def axis_of(op: Operator, axis: int, x: Tensor, rank: int | None = None) -> int:
    """`axis` as a number from 0 on; negative ones count from the end of `rank` dimensions (default: those of x)."""
    rank = len(x.shape) if rank is None else rank
    if not -rank <= axis < rank:
        raise refuse(op, f"axis {axis} does not exist in {describe(x)}", _AGAIN)
    return axis % rank


def require_shape(op: Operator, out: Tensor, shape: Sequence[int]) -> None:
    """Raise UsageError unless `out` has the shape that the operator's parameters give."""
    if out.shape != tuple(shape):
        raise refuse(op, f"{describe(out)} does not have the shape {list(shape)} of its parameters", _AGAIN)


def _steps(shape: Sequence[int]) -> list[int]:
    """Elements from one index to the next of a C-order tensor."""
    return [math.prod(shape[i + 1 :]) for i in range(len(shape))]


def _in_order(layer: Layer, reads: Sequence[Array], run: int, input_bytes: int) -> Layer:
    """The layer with the overlap of a kernel that writes one run after the other.

    `reads` has the offsets of each dimension, whose sums are the places of the input that the runs are read from.
    """
    if math.prod(len(r) for r in reads) > _MAX_STEPS:
        return layer
    places = np.zeros(1, np.int64)
    for offsets in reads:
        places = (places[:, None] + offsets).reshape(-1)
    written = np.arange(1, len(places) + 1) * run
    # Single bytes cannot overlap in part.
    reach = overlap.distance if run == 1 else overlap.copies
    return overlap.overlapping(layer, reach(places, written, input_bytes))


def _copy(graph: Graph, op: Operator, x: Tensor, shape: Sequence[int], steps: Sequence[int], first: int = 0) -> Layer:
    """An output of `shape`, whose indices step through the input by `steps` elements, from element `first` on."""
    dimensions: list[tuple[int, int]] = []
    for length, step in zip(shape, steps, strict=True):
        if length == 1:
            continue
        if dimensions and dimensions[-1][1] == length * step:
            dimensions[-1] = dimensions[-1][0] * length, step
        else:
            dimensions.append((length, step))
    run = dimensions.pop()[0] if dimensions and dimensions[-1][1] == 1 else 1
    if run == x.elements and x.data is None:
        return Layer(op, None, {}, (x.index,), op.outputs)  # everything in order: the same memory
    if len(dimensions) > _COPY_RANK:
        raise refuse(op, f"{describe(x)} is taken apart in {len(dimensions)} dimensions", f"use {_COPY_RANK} at most")
    dimensions = [(1, 0)] * (_COPY_RANK - len(dimensions)) + dimensions
    size = x.dtype.itemsize
    params: dict[str, Value] = {
        "shape": tuple(length for length, _ in dimensions),
        "strides": tuple(step * size for _, step in dimensions),
        "offset": first * size,
        "run": run * size,
    }
    layer = make(graph, op, "kernels_move", "kernels_move_params", params, inputs=(x.index,))
    reads = [np.arange(length) * (step * size) for length, step in dimensions]
    return _in_order(layer, [np.array([first * size]), *reads], run * size, x.nbytes)


def transpose(graph: Graph, op: Operator) -> Layer:
    """TRANSPOSE of int8, int16 or float32 tensors by any constant permutation of at most 5 dimensions."""
    x, out = ends(graph, op, "int8", "int16", "float32")
    order = integers(graph, op, 1)
    if sorted(order) != list(range(len(x.shape))):
        raise refuse(op, f"{order} is not a permutation of the dimensions of {describe(x)}", _AGAIN)
    require_shape(op, out, [x.shape[i] for i in order])
    steps = _steps(x.shape)
    return _copy(graph, op, x, out.shape, [steps[i] for i in order])


def slice_(graph: Graph, op: Operator) -> Layer:
    """SLICE of int8, int16, int32, float32 or bool tensors with constant beginning and size, at most 5 dimensions."""
    x, out = ends(graph, op, "int8", "int16", "int32", "float32", "bool")
    begin, size = (integers(graph, op, i, "int32", "int64") for i in (1, 2))
    if not len(begin) == len(size) == len(x.shape) <= _COPY_RANK:
        raise refuse(op, f"begin {begin} and size {size} do not suit {describe(x)}", "slice at most 5 dimensions")
    size = [n - b if s == -1 else s for n, b, s in zip(x.shape, begin, size, strict=True)]
    if any(b < 0 or s < 0 or b + s > n for n, b, s in zip(x.shape, begin, size, strict=True)):
        raise refuse(op, f"begin {begin} and size {size} reach beyond {describe(x)}", _AGAIN)
    require_shape(op, out, size)
    steps = _steps(x.shape)
    return _copy(graph, op, x, size, steps, sum(b * s for b, s in zip(begin, steps, strict=True)))


def _span(op: Operator, length: int, begin: int | None, end: int | None, stride: int, shrink: bool) -> tuple[int, int]:
    """First index and number of indices of a strided slice in one dimension; None: from or to the end."""
    low, high = (0, length) if stride > 0 else (-1, length - 1)
    start = (low if stride > 0 else high) if begin is None else begin
    start = min(max(start + length if start < 0 and begin is not None else start, low), high)
    if shrink:
        if not 0 <= start < length or stride < 0:
            raise refuse(op, f"index {begin} with stride {stride} does not exist among {length}", _AGAIN)
        return start, 1
    stop = (high if stride > 0 else low) if end is None else end
    stop = min(max(stop + length if stop < 0 and end is not None else stop, low), high)
    return start, max(0, -((start - stop) // stride))


def strided_slice(graph: Graph, op: Operator) -> Layer:
    """STRIDED_SLICE of int8, int16, int32, float32 or bool tensors of at most 4 dimensions, with constant places.

    Begin, end and shrink masks are supported; ellipsis and new axis masks are not (TFLite Micro ignores them).
    """
    x, out = ends(graph, op, "int8", "int16", "int32", "float32", "bool")
    begin, end, strides = (integers(graph, op, i) for i in (1, 2, 3))
    rank = len(x.shape)
    if not len(begin) == len(end) == len(strides) == rank <= 4:
        raise refuse(op, f"begin {begin}, end {end}, strides {strides} do not suit {describe(x)}", "slice in 4 at most")
    if 0 in strides:
        raise refuse(op, f"a stride of {strides} is 0", _AGAIN)
    masks = {name: int(op.options.get(name, 0)) for name in ("ellipsisMask", "newAxisMask", "offset")}
    if any(masks.values()):
        raise refuse(op, f"it has {masks}, of which none is supported", "slice every dimension and reshape")
    begin_mask, end_mask, shrink_mask = (
        int(op.options.get(name, 0)) for name in ("beginMask", "endMask", "shrinkAxisMask")
    )
    spans = [
        _span(
            op,
            x.shape[i],
            None if begin_mask >> i & 1 else begin[i],
            None if end_mask >> i & 1 else end[i],
            strides[i],
            bool(shrink_mask >> i & 1),
        )
        for i in range(rank)
    ]
    require_shape(op, out, [count for i, (_, count) in enumerate(spans) if not shrink_mask >> i & 1])
    steps = _steps(x.shape)
    first = sum(start * step for (start, _), step in zip(spans, steps, strict=True))
    taken = [step * stride for step, stride in zip(steps, strides, strict=True)]
    return _copy(graph, op, x, [count for _, count in spans], taken, first)


def reverse(graph: Graph, op: Operator) -> Layer:
    """REVERSE_V2 of int8, uint8, int16, int32, int64, float32 or bool tensors along constant axes."""
    x, out = ends(graph, op, "int8", "uint8", "int16", "int32", "int64", "float32", "bool")
    axes = {axis_of(op, a, x) for a in integers(graph, op, 1)}
    require_shape(op, out, x.shape)
    steps = _steps(x.shape)
    first = sum((x.shape[a] - 1) * steps[a] for a in axes)
    return _copy(graph, op, x, x.shape, [-s if i in axes else s for i, s in enumerate(steps)], first)


def _block(op: Operator) -> int:
    size = int(op.options["blockSize"])
    if size < 1:
        raise refuse(op, f"its block size is {size}", _AGAIN)
    return size


def _image(op: Operator, x: Tensor) -> tuple[int, int, int, int]:
    if len(x.shape) != 4:
        raise refuse(op, f"{describe(x)} is not NHWC", "reshape to 4 dimensions")
    n, h, w, c = x.shape
    return n, h, w, c


def space_to_depth(graph: Graph, op: Operator) -> Layer:
    """SPACE_TO_DEPTH of int8 or float32 images."""
    x, out = ends(graph, op, "int8", "float32")
    size = _block(op)
    n, h, w, c = _image(op, x)
    if h % size or w % size:
        raise refuse(op, f"blocks of {size} do not divide {describe(x)}", _AGAIN)
    require_shape(op, out, (n, h // size, w // size, c * size * size))
    line = w * c
    shape = (n, h // size, w // size, size, size * c)
    return _copy(graph, op, x, shape, (h * line, size * line, size * c, line, 1))


def depth_to_space(graph: Graph, op: Operator) -> Layer:
    """DEPTH_TO_SPACE of int8 or float32 images."""
    x, out = ends(graph, op, "int8", "float32")
    size = _block(op)
    n, h, w, c = _image(op, x)
    if c % (size * size):
        raise refuse(op, f"blocks of {size} do not divide the channels of {describe(x)}", _AGAIN)
    run = c // size
    require_shape(op, out, (n, h * size, w * size, run // size))
    return _copy(graph, op, x, (n, h, size, w, run), (h * w * c, w * c, run, c, 1))


def _indexed(
    graph: Graph, op: Operator, kernel: str, offsets: Sequence[Array], run: int, params: dict[str, Value] | None = None
) -> Layer:
    """A copy of runs whose places are sums of one table a dimension; offsets and `run` in elements."""
    size = tensor(graph, op, 0).dtype.itemsize
    tables = [np.zeros(1, np.int64)] * (_TABLES - len(offsets)) + [np.asarray(t, np.int64) for t in offsets]
    all_params: dict[str, Value] = {
        "counts": tuple(len(t) for t in tables),
        "offsets": Constant("offsets", (np.concatenate(tables) * size).astype(np.int32), "bytes, by dimension"),
        "run": run * size,
        **(params or {}),
    }
    layer = make(graph, op, kernel, f"{kernel}_params", all_params)
    if kernel == "kernels_move_to":
        return layer  # it clears all of the output first
    return _in_order(layer, [t * size for t in tables], run * size, tensor(graph, op, 0).nbytes)


def _require_tables(op: Operator, lengths: Sequence[int]) -> None:
    if len(lengths) > _TABLES or sum(lengths) > _MAX_OFFSETS:
        raise refuse(
            op,
            f"it needs tables of {list(lengths)} offsets",
            f"at most {_TABLES} dimensions and {_MAX_OFFSETS} offsets in all are supported",
        )


def _blocks(graph: Graph, op: Operator, x: Tensor) -> tuple[list[int], list[list[int]]]:
    """Block sizes and (before, after) of the crops or paddings of the one or two dimensions after the first."""
    rank = len(x.shape)
    block, around = integers(graph, op, 1), integers(graph, op, 2)
    if rank not in (3, 4) or len(block) != rank - 2 or len(around) != 2 * len(block):
        raise refuse(
            op, f"blocks {block} and margins {around} do not suit {describe(x)}", "use 3 or 4 dimensions, NHC or NHWC"
        )
    if min(block) < 1 or min(around) < 0:
        raise refuse(op, f"blocks {block} or margins {around} are out of range", _AGAIN)
    pairs = [around[i : i + 2] for i in range(0, len(around), 2)]
    return (block, pairs) if rank == 4 else ([*block, 1], [*pairs, [0, 0]])


def _nhwc(x: Tensor) -> tuple[int, int, int, int]:
    n, h, *w, c = x.shape
    return n, h, w[0] if w else 1, c


def batch_to_space(graph: Graph, op: Operator) -> Layer:
    """BATCH_TO_SPACE_ND of int8 or float32 tensors, NHC or NHWC, with constant blocks and crops."""
    x, out = ends(graph, op, "int8", "float32")
    block, crops = _blocks(graph, op, x)
    n, h, w, c = _nhwc(x)
    height, width = (length * b - sum(crop) for length, b, crop in zip((h, w), block, crops, strict=True))
    batches = n // math.prod(block)
    if n % math.prod(block) or height < 1 or width < 1:
        raise refuse(op, f"blocks {block} and crops {crops} do not suit {describe(x)}", _AGAIN)
    require_shape(op, out, (batches, height, width, c) if len(x.shape) == 4 else (batches, height, c))
    _require_tables(op, (batches, height, width))
    image = h * w * c
    y, z = np.arange(height) + crops[0][0], np.arange(width) + crops[1][0]
    tables = [
        np.arange(batches) * image,
        y % block[0] * (block[1] * batches * image) + y // block[0] * (w * c),
        z % block[1] * (batches * image) + z // block[1] * c,
    ]
    return _indexed(graph, op, "kernels_move_from", tables, c)


def space_to_batch(graph: Graph, op: Operator) -> Layer:
    """SPACE_TO_BATCH_ND of int8 or float32 tensors, NHC or NHWC, with constant blocks and paddings.

    Padding an int8 tensor whose zero point is not 0 is refused.
    """
    x, out = ends(graph, op, "int8", "float32")
    block, paddings = _blocks(graph, op, x)
    n, h, w, c = _nhwc(x)
    padded = [length + sum(p) for length, p in zip((h, w), paddings, strict=True)]
    if any(length % b for length, b in zip(padded, block, strict=True)):
        raise refuse(op, f"blocks {block} and paddings {paddings} do not suit {describe(x)}", _AGAIN)
    height, width = (length // b for length, b in zip(padded, block, strict=True))
    batches = n * math.prod(block)
    require_shape(op, out, (batches, height, width, c) if len(x.shape) == 4 else (batches, height, c))
    _require_tables(op, (n, h, w))
    image = height * width * c
    y, z = np.arange(h) + paddings[0][0], np.arange(w) + paddings[1][0]
    tables = [
        np.arange(n) * image,
        y % block[0] * (block[1] * n * image) + y // block[0] * (width * c),
        z % block[1] * (n * image) + z // block[1] * c,
    ]
    _require_zero_padding(op, x, paddings)
    params: dict[str, Value] = {"output_bytes": out.nbytes, "value": 0}
    return _indexed(graph, op, "kernels_move_to", tables, c, params)


def _require_zero_padding(op: Operator, x: Tensor, paddings: list[list[int]]) -> None:
    """TFLite Micro never sets the value that it pads with: bytes 0, whatever stands for zero."""
    if x.dtype == np.int8 and any(map(any, paddings)) and (zero_point := per_tensor(op, x).zero_point):
        raise refuse(
            op,
            f"it pads {describe(x)} of zero point {zero_point}, which TFLite Micro pads with 0",
            "pad with PAD first, and here by 0",
        )


def mirror_pad(graph: Graph, op: Operator) -> Layer:
    """MIRROR_PAD of int8 or float32 tensors, reflecting or symmetric, with constant paddings."""
    x, out = ends(graph, op, "int8", "float32")
    flat = integers(graph, op, 1, "int32", "int64")
    mode = int(op.options["mode"])
    if len(flat) != 2 * len(x.shape) or mode not in (0, 1):
        raise refuse(op, f"paddings {flat} or mode {mode} do not suit {describe(x)}", _AGAIN)
    pairs = [(flat[2 * i], flat[2 * i + 1]) for i in range(len(x.shape))]
    reflect = 1 if mode == 0 else 0
    if any(min(p) < 0 or max(p) > n - reflect for n, p in zip(x.shape, pairs, strict=True)):
        raise refuse(op, f"paddings {flat} are negative or larger than {describe(x)} can be mirrored", _AGAIN)
    require_shape(op, out, [n + a + b for n, (a, b) in zip(x.shape, pairs, strict=True)])
    # Dimensions that are not padded are merged with their neighbours; the last ones are copied in runs.
    dimensions: list[tuple[int, int, int]] = []
    for n, (a, b) in zip(x.shape, pairs, strict=True):
        if dimensions and not (a or b or dimensions[-1][1] or dimensions[-1][2]):
            dimensions[-1] = dimensions[-1][0] * n, 0, 0
        else:
            dimensions.append((n, a, b))
    run = dimensions.pop()[0] if dimensions and not any(dimensions[-1][1:]) else 1
    _require_tables(op, [n + a + b for n, a, b in dimensions])
    tables: list[Array] = []
    step = run
    for n, a, b in reversed(dimensions):
        places = np.arange(-a, n + b)
        places = np.where(places < 0, reflect - 1 - places, places)
        places = np.where(places >= n, 2 * n - 1 - reflect - places, places)
        tables.insert(0, places * step)
        step *= n
    return _indexed(graph, op, "kernels_move_from", tables, run)


def size_of(graph: Graph, op: Operator, x: Tensor, out: Tensor) -> tuple[int, int]:
    """Height and width that an image is resized to, of a constant pair that the output's shape confirms."""
    n, _, _, c = _image(op, x)
    size = integers(graph, op, 1)
    if len(size) != 2 or min(size) < 1:
        raise refuse(op, f"its size {size} is not a height and a width", _AGAIN)
    require_shape(op, out, (n, *size, c))
    return size[0], size[1]


def _nearest(count: int, length: int, align: bool, half: bool) -> Array:
    """The pixel that each of `count` reads of `length`, computed in float32: (count,)."""
    one = np.float32(1)
    aligned = align and count > 1
    scale = np.float32(length - 1) / np.float32(count - 1) if aligned else np.float32(length) / np.float32(count)
    place = (np.arange(count).astype(np.float32) + (one / 2 if half else 0 * one)) * scale
    whole = np.floor(place)
    if align:
        whole += place - whole >= 0.5
    nearest: Array = np.minimum(whole.astype(np.int64), length - 1)
    return nearest


def resize_nearest_neighbor(graph: Graph, op: Operator) -> Layer:
    """RESIZE_NEAREST_NEIGHBOR of int8, int16 or float32 images to a constant size."""
    x, out = ends(graph, op, "int8", "int16", "float32")
    height, width = size_of(graph, op, x, out)
    n, h, w, c = _image(op, x)
    _require_tables(op, (n, height, width))
    align, half = bool(op.options.get("alignCorners", False)), bool(op.options.get("halfPixelCenters", False))
    tables = [
        np.arange(n) * (h * w * c),
        _nearest(height, h, align, half) * (w * c),
        _nearest(width, w, align, half) * c,
    ]
    return _indexed(graph, op, "kernels_move_from", tables, c)


def gather(graph: Graph, op: Operator) -> Layer:
    """GATHER from int8 or float32 tensors with int32 indices, constant or computed; also with batch dimensions.

    Indices that are computed at run time are clamped to the axis, so that none reads beyond the tensor.
    """
    x, out = ends(graph, op, "int8", "float32")
    indices = tensor(graph, op, 1)
    require_type(op, indices, "int32")
    axis = axis_of(op, int(op.options.get("axis", 0)), x)
    batch = int(op.options.get("batchDims", 0))
    batch += len(indices.shape) if batch < 0 else 0
    if not 0 <= batch <= min(axis, len(indices.shape)) or x.shape[:batch] != indices.shape[:batch]:
        raise refuse(op, f"{batch} batch dimensions do not suit {describe(x)} and {describe(indices)}", _AGAIN)
    require_shape(op, out, (*x.shape[:axis], *indices.shape[batch:], *x.shape[axis + 1 :]))
    if indices.data is not None and not ((indices.data >= 0) & (indices.data < x.shape[axis])).all():
        raise refuse(op, f"{describe(indices)} holds indices outside of 0 to {x.shape[axis] - 1}", _AGAIN)
    params: dict[str, Value] = {
        "batches": math.prod(x.shape[:batch]),
        "outer": math.prod(x.shape[batch:axis]),
        "length": x.shape[axis],
        "indices": math.prod(indices.shape[batch:]),
        "run": math.prod(x.shape[axis + 1 :]) * x.dtype.itemsize,
    }
    layer = make(graph, op, "kernels_gather", "kernels_gather_params", params, inputs=op.inputs[:2])
    steps = math.prod(x.shape[:axis]), math.prod(indices.shape[batch:])
    if math.prod(steps) > _MAX_STEPS:
        return layer
    # Wherever the indices point to, nothing before the current part of the input is read any more.
    run = math.prod(x.shape[axis + 1 :]) * x.dtype.itemsize
    read = np.repeat(np.arange(steps[0]) * (x.shape[axis] * run), steps[1])
    return overlap.overlapping(layer, overlap.copies(read, np.arange(1, len(read) + 1) * run, x.nbytes))


OPERATORS: dict[str, Lower] = {
    "BATCH_TO_SPACE_ND": batch_to_space,
    "DEPTH_TO_SPACE": depth_to_space,
    "GATHER": gather,
    "MIRROR_PAD": mirror_pad,
    "RESIZE_NEAREST_NEIGHBOR": resize_nearest_neighbor,
    "REVERSE_V2": reverse,
    "SLICE": slice_,
    "SPACE_TO_BATCH_ND": space_to_batch,
    "SPACE_TO_DEPTH": space_to_depth,
    "STRIDED_SLICE": strided_slice,
    "TRANSPOSE": transpose,
}
