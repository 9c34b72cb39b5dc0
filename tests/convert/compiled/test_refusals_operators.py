"""What operators do not take is refused by name: parameters that contradict the tensors, or are absurd."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from tflite_builder import Sweep

from convert.compiled import compile_model
from convert.errors import UsageError

INT_MAX, INT_MIN = 2**31 - 1, -(2**31)


def refused(match: str, build: Callable[[Sweep], Any]) -> None:
    s = Sweep()
    build(s)
    with pytest.raises(UsageError, match=match):
        compile_model(s.build())


def moved(
    name: str, shape: Sequence[int], constants: Sequence[Any], out: Sequence[int], *options: Any, **fields: Any
) -> Any:
    """An operator over an input of `shape` and int32 constants."""
    return lambda s: s.moved(name, [s.input(shape), *map(s.constant, constants)], out, *options, **fields)


@pytest.mark.parametrize(
    ("order", "out", "match"),
    [
        ((0, 0), (2, 2), r"operator 0 \(TRANSPOSE\): \[0, 0\] is not a permutation of the dimensions of tensor 0"),
        ((1,), (2, 3), "is not a permutation"),
        ((1, 0, 2), (2, 3), "is not a permutation"),
        ((INT_MAX, INT_MIN), (3, 2), "is not a permutation"),
        ((-1, 0), (3, 2), "is not a permutation"),
        ((1, 0), (2, 3), r"does not have the shape \[3, 2\] of its parameters"),
    ],
)
def test_transpositions(order: Any, out: Any, match: str) -> None:
    refused(match, moved("TRANSPOSE", (2, 3), [order], out))


@pytest.mark.parametrize(
    ("begin", "size", "out", "match"),
    [
        ((0, 2), (2, 2), (2, 2), r"begin \[0, 2\] and size \[2, 2\] reach beyond tensor 0"),
        ((-1, 0), (1, 3), (1, 3), "reach beyond"),
        ((0, 0), (2, -2), (2, 3), "reach beyond"),
        ((INT_MAX, 0), (INT_MAX, 3), (1, 3), "reach beyond"),
        ((INT_MAX, 0), (-1, 3), (1, 3), "reach beyond"),
        ((0,), (2,), (2, 3), "do not suit"),
        ((0, 0), (1, 3), (2, 3), "does not have the shape"),
    ],
)
def test_slices(begin: Any, size: Any, out: Any, match: str) -> None:
    refused(match, moved("SLICE", (2, 3), [begin, size], out))


@pytest.mark.parametrize(
    ("begin", "end", "strides", "masks", "match"),
    [
        ((0, 0), (2, 3), (0, 1), {}, r"a stride of \[0, 1\] is 0"),
        ((0, 0), (2, 3), (1, 1), {"ellipsisMask": 1}, "'ellipsisMask': 1.* none is supported; slice every dimension"),
        ((0, 0), (2, 3), (1, 1), {"newAxisMask": 2}, "'newAxisMask': 2"),
        ((0,), (2,), (1,), {}, "do not suit"),
        ((5, 0), (6, 3), (1, 1), {"shrinkAxisMask": 1}, "index 5 with stride 1 does not exist among 2"),
        ((-9, 0), (6, 3), (-1, 1), {"shrinkAxisMask": 1}, "with stride -1 does not exist"),
        ((1, 2), (0, 1), (1, 1), {}, r"does not have the shape \[0, 0\]"),
        ((INT_MIN, INT_MIN), (INT_MAX, INT_MAX), (INT_MAX, INT_MIN), {}, "does not have the shape"),
    ],
)
def test_strided_slices(begin: Any, end: Any, strides: Any, masks: dict[str, int], match: str) -> None:
    refused(match, moved("STRIDED_SLICE", (2, 3), [begin, end, strides], (2, 3), "StridedSliceOptions", **masks))


def test_places_that_are_computed_at_run_time() -> None:
    def build(s: Sweep) -> None:
        s.moved("TRANSPOSE", [s.input((2, 3)), s.input((2,), "i4", None)], (3, 2))

    refused(r"tensor 1 .* computed at run time and must be constant", build)


@pytest.mark.parametrize("name", ["SPACE_TO_DEPTH", "DEPTH_TO_SPACE"])
@pytest.mark.parametrize(
    ("size", "match"),
    [
        (0, "its block size is 0"),
        (-2, "its block size is -2"),
        (3, "blocks of 3 do not divide"),
        (2, "not have the shape"),
    ],
)
def test_blocks(name: str, size: int, match: str) -> None:
    options = "SpaceToDepthOptions" if name == "SPACE_TO_DEPTH" else "DepthToSpaceOptions"
    refused(match, moved(name, (1, 4, 4, 4), [], (1, 4, 4, 4), options, blockSize=size))


@pytest.mark.parametrize(
    ("name", "block", "margins", "match"),
    [
        ("SPACE_TO_BATCH_ND", (0, 2), ((0, 0), (0, 0)), "out of range"),
        ("SPACE_TO_BATCH_ND", (2, 2), ((0, 0), (0, -1)), "out of range"),
        ("SPACE_TO_BATCH_ND", (3, 2), ((0, 0), (0, 0)), r"blocks \[3, 2\] .* do not suit"),
        ("SPACE_TO_BATCH_ND", (2,), ((0, 0),), "use 3 or 4 dimensions"),
        ("SPACE_TO_BATCH_ND", (2, 2), ((1, 1), (0, 0)), "not have the shape"),
        ("BATCH_TO_SPACE_ND", (3, 1), ((0, 0), (0, 0)), r"blocks \[3, 1\] .* do not suit"),
        ("BATCH_TO_SPACE_ND", (2, 2), ((9, 9), (0, 0)), "do not suit"),
        ("BATCH_TO_SPACE_ND", (2, 2), ((INT_MAX, INT_MAX), (0, 0)), "do not suit"),
    ],
)
def test_blocks_of_batches(name: str, block: Any, margins: Any, match: str) -> None:
    refused(match, moved(name, (4, 4, 4, 1), [block, margins], (4, 4, 4, 1)))


def test_padding_of_batches_that_tflite_micro_does_wrong() -> None:
    def build(s: Sweep) -> None:
        s.batches("SPACE_TO_BATCH_ND", s.input((1, 3, 3, 1), zero_point=5), (2, 2), ((1, 0), (0, 1)))

    refused("pads tensor 0 .* of zero point 5, which TFLite Micro pads with 0; pad with PAD first", build)


@pytest.mark.parametrize(
    ("paddings", "mode", "match"),
    [
        (((3, 0), (0, 0)), 1, "larger than tensor 0 .* can be mirrored"),
        (((2, 0), (0, 0)), 0, "larger than"),
        (((-1, 0), (0, 0)), 0, "negative"),
        (((0, 0),), 0, "do not suit"),
        (((0, 0), (1, 0)), 7, "mode 7"),
        (((0, 0), (1, 0)), 0, "not have the shape"),
    ],
)
def test_mirror_pads(paddings: Any, mode: int, match: str) -> None:
    refused(match, moved("MIRROR_PAD", (2, 3), [paddings], (2, 3), "MirrorPadOptions", mode=mode))


@pytest.mark.parametrize("kind", ["NEAREST_NEIGHBOR", "BILINEAR"])
@pytest.mark.parametrize(
    ("size", "out", "match"),
    [
        ((0, 3), (1, 2, 3, 1), r"its size \[0, 3\] is not a height and a width"),
        ((3,), (1, 2, 3, 1), "is not a height"),
        ((4, 4), (1, 2, 3, 1), "not have the shape"),
    ],
)
def test_sizes(kind: str, size: Any, out: Any, match: str) -> None:
    refused(match, moved(f"RESIZE_{kind}", (1, 2, 3, 1), [size], out))


def test_interpolations() -> None:
    refused(
        "120 pixels made of 1 reach beyond the image", lambda s: s.resize("BILINEAR", s.input((1, 1, 1, 1)), (120, 1))
    )
    refused("choose one", lambda s: s.resize("BILINEAR", s.input((1, 2, 2, 1)), (4, 4), True, True))
    refused("20000.* offsets", lambda s: s.resize("NEAREST_NEIGHBOR", s.input((1, 2, 2, 1)), (20000, 1)))


@pytest.mark.parametrize(
    ("places", "fields", "match"),
    [
        ((0, 3), {"axis": 1}, r"holds indices outside of 0 to 2"),
        ((-1, 0), {"axis": 1}, "indices outside"),
        ((0, 1), {"axis": 2}, "axis 2 does not exist in tensor 0"),
        ((0, 1), {"axis": INT_MIN}, "does not exist"),
        ((0, 1), {"axis": 1, "batchDims": 2}, "2 batch dimensions do not suit"),
        ((0, 1), {"axis": 1, "batchDims": -9}, "batch dimensions do not suit"),
        ((0, 1, 1), {"axis": 1, "batchDims": 1}, "1 batch dimensions do not suit"),
        ((0, 1, 1), {"axis": 1}, "not have the shape"),
    ],
)
def test_gathers(places: Any, fields: dict[str, int], match: str) -> None:
    refused(match, moved("GATHER", (2, 3), [places], (2, 2), "GatherOptions", **fields))


def joined(name: str, shapes: Sequence[Sequence[int]], out: Sequence[int], **fields: Any) -> Any:
    return lambda s: s.moved(name, [s.input(n) for n in shapes], out, f"{name.capitalize()}Options", **fields)


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (joined("CONCATENATION", [(2, 3), (2, 3)], (4, 3), axis=2), "axis 2 does not exist"),
        (joined("CONCATENATION", [(2, 3), (2, 4)], (4, 3), axis=0), r"tensor 1 .* not have the shape \[2, 3\]"),
        (joined("CONCATENATION", [(2, 3), (2,)], (4, 3), axis=0), "does not suit"),
        (joined("CONCATENATION", [(2, 3), (2, 3)], (5, 3), axis=0), "do not fill"),
        (joined("CONCATENATION", [(2, 3)], (2, 3), axis=0, fusedActivationFunction=1), "has a fused activation"),
        (joined("PACK", [(2, 3), (2, 3)], (2, 2, 3), axis=3), "axis 3 does not exist"),
        (joined("PACK", [(2, 3), (3, 2)], (2, 2, 3), axis=0), "not have the shape"),
        (joined("PACK", [(2, 3), (2, 3)], (2, 3, 2), axis=0), "not have the shape"),
    ],
)
def test_joins(build: Any, match: str) -> None:
    refused(match, build)


def test_concatenation_of_different_quantisations() -> None:
    def build(s: Sweep) -> None:
        s.concatenation([s.input((2, 3)), s.input((2, 3), scale=0.1)], 0)

    refused("tensor 1 .* are quantised differently", build)


def divided(name: str, axis: int, sizes: Sequence[int], outs: Sequence[Sequence[int]]) -> Any:
    def build(s: Sweep) -> None:
        x = s.input((4, 6))
        s.divided(name, x, 0, [1] * len(outs))
        op = s.ops[-1]
        for t, shape in zip(op.outputs, outs, strict=True):
            s.tensors[t].shape = shape
        for t in op.inputs:
            if s.tensors[t].data is not None:
                s.tensors[t].data = np.array(sizes if len(s.tensors[t].shape) and t == op.inputs[1] else [axis])
                s.tensors[t].shape = np.shape(s.tensors[t].data)
        op.fields["axis"] = axis

    return build


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (divided("SPLIT", 2, (), [(2, 6), (2, 6)]), "axis 2 does not exist"),
        (divided("SPLIT", 0, (), [(1, 6), (1, 6), (2, 6)]), "is not divided by 3"),
        (divided("SPLIT", 0, (), [(2, 6), (1, 6)]), "not have the shape"),
        (divided("SPLIT_V", 0, (1, 2), [(1, 6), (2, 6)]), r"is not divided by \[1, 2\]"),
        (divided("SPLIT_V", 0, (-1, 5), [(1, 6), (2, 6)]), "is not divided by"),
        (divided("SPLIT_V", 0, (INT_MAX, INT_MIN), [(1, 6), (2, 6)]), "is not divided by"),
        (divided("SPLIT_V", 0, (-1, -1), [(2, 6), (2, 6)]), "is not divided by"),
        (divided("SPLIT_V", -3, (2, 2), [(2, 6), (2, 6)]), "axis -3 does not exist"),
        (divided("UNPACK", 5, (), [(6,)] * 4), "axis 5 does not exist"),
        (divided("UNPACK", 0, (), [(6,)] * 3), "has 3 outputs of tensor 0"),
        (divided("UNPACK", 0, (), [(6,), (6,), (6,), (5,)]), "not have the shape"),
    ],
)
def test_divisions(build: Any, match: str) -> None:
    def adapted(s: Sweep) -> None:
        build(s)
        for op in s.ops:
            if op.name != "UNPACK":
                op.fields.pop("axis")

    refused(match, adapted)


@pytest.mark.parametrize("name", ["SUM", "REDUCE_MAX", "REDUCE_MIN"])
def test_reductions(name: str) -> None:
    refused("axis 2 does not exist", moved(name, (2, 3), [(2,)], (2,), "ReducerOptions"))
    refused("axis .* does not exist", moved(name, (2, 3), [(INT_MIN,)], (2,), "ReducerOptions"))
    refused("3 elements from tensor 0", moved(name, (2, 3), [(1,)], (3,), "ReducerOptions"))
    refused("more than two groups", moved(name, (2, 2, 2, 2, 2), [(0, 2, 4)], (2, 2), "ReducerOptions"))


def test_places_of_extremes() -> None:
    refused("takes INT32 here", moved("ARG_MAX", (2, 3), [(1,)], (2,), "ArgMaxOptions"))
    for name, axes, match in (("ARG_MAX", (0, 1), "is not one number"), ("ARG_MIN", (7,), "axis 7 does not exist")):

        def build(s: Sweep, name: str = name, axes: Any = axes) -> None:
            s.op(name, [s.input((2, 3)), s.constant(axes)], s.tensor((2,), "i4", None))

        refused(match, build)


def test_quantisations_that_operators_require() -> None:
    refused("scale 0.05 and zero point 0, not 1/128, 0", lambda s: s.unary("TANH", s.input((1, 4)), 0.05, 0))
    refused("zero point 3, not 1/128, 0", lambda s: s.unary("L2_NORMALIZATION", s.input((1, 4)), 1 / 128, 3))
    refused("it runs over 40000 elements", lambda s: s.unary("L2_NORMALIZATION", s.input((1, 40000)), 1 / 128, 0))
    refused("out of range", lambda s: s.unary("TANH", s.input((1, 4), scale=1e-9), 1 / 128, 0))
    refused("too far apart", lambda s: s.unary("HARD_SWISH", s.input((1, 4), scale=1.0), 1e-3, 0))
    refused("the slope is nan", lambda s: s.unary("LEAKY_RELU", s.input((1, 4)), 0.1, 0, alpha=float("nan")))
    refused("the slope is inf", lambda s: s.unary("LEAKY_RELU", s.input((1, 4)), 0.1, 0, alpha=float("inf")))
    refused("rescaling by .* is out of range", lambda s: s.unary("ABS", s.input((1, 4), scale=1e9), 1e-9, 0))


def test_operands() -> None:
    def unlike(s: Sweep) -> None:
        s.binary("MAXIMUM", s.input((1, 4), scale=0.1), s.input((1, 4), scale=0.2), 0.1)

    def shapes(s: Sweep) -> None:
        s.op("MUL", [s.input((1, 4)), s.input((1, 3))], s.tensor((1, 4)), "MulOptions")

    def output(s: Sweep) -> None:
        s.op("MUL", [s.input((1, 4)), s.input((1, 1))], s.tensor((1, 1)), "MulOptions")

    def kind(s: Sweep) -> None:
        s.op("PRELU", [s.input((1, 4)), s.tensor((4,), "f4", None, data=np.ones(4))], s.tensor((1, 4)))

    def scales(s: Sweep) -> None:
        s.binary("MUL", s.input((1, 4), scale=1e9), s.input((1, 4), scale=1e9), 1e-3)

    def ranks(s: Sweep) -> None:
        s.binary("SQUARED_DIFFERENCE", s.input((1, 1, 1, 1, 2)), s.input((2,)), 0.1)

    refused("has over 4 dimensions", ranks)
    refused("quantised differently", unlike)
    refused("do not broadcast in 4 dimensions", shapes)
    refused("is not the result of", output)
    refused("is FLOAT32", kind)
    refused("rescaling by .* is out of range", scales)
