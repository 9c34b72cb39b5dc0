"""Graphs of many small quantised operators side by side, so that one build and one run test them all."""

import shutil
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Literal
from unittest import mock

import numpy as np
import pytest
from models import Op, T, tflite
from squeeze import squeezed

from convert import golden, graph
from convert.compiled import CompiledModel, compile_model, device, host, placement

ACTIVATIONS = {"none": 0, "relu": 1, "relu_n1_to_1": 2, "relu6": 3}
SAME, VALID = 0, 1
_UNARY_OPTIONS = {"SOFTMAX": "SoftmaxOptions", "LEAKY_RELU": "LeakyReluOptions"}

needs_compiler = pytest.mark.skipif(
    not any(shutil.which(name) for name in ("gcc", "cc", "clang")), reason="no C compiler in PATH"
)


needs_device = pytest.mark.skipif(not device.available(), reason="no arm-none-eabi-gcc or qemu-system-arm in PATH")


class Sweep:
    """A graph under construction; every operator's method returns its output tensor, which is a model output too."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.tensors: list[T] = []
        self.ops: list[Op] = []
        self.inputs: list[int] = []

    def tensor(
        self, shape: Sequence[int], dtype: str = "i1", scale: Any = 0.05, zero_point: Any = 3, **more: Any
    ) -> int:
        self.tensors.append(T(tuple(shape), dtype, scale, zero_point, **more))
        return len(self.tensors) - 1

    def input(self, shape: Sequence[int], dtype: str = "i1", scale: Any = 0.05, zero_point: Any = 3) -> int:
        self.inputs.append(self.tensor(shape, dtype, scale, zero_point))
        return self.inputs[-1]

    def op(self, name: str, inputs: Sequence[int], output: int, options: str | None = None, **fields: Any) -> int:
        self.ops.append(Op(name, inputs, [output], options, fields))
        return output

    def shape(self, tensor: int) -> tuple[int, ...]:
        return tuple(self.tensors[tensor].shape)

    def _weights(self, shape: Sequence[int], axis: int, per_channel: bool) -> int:
        values = self.rng.integers(-127, 128, shape)
        scale = self.rng.uniform(0.002, 0.02, shape[axis] if per_channel else 1)
        return self.tensor(shape, scale=scale, zero_point=0, axis=axis, data=values)

    def _bias(self, x: int, w: int, channels: int) -> int:
        # TFLite Micro compares a single scale with the product of the others.
        scale = float(self.tensors[x].scale) * np.asarray(self.tensors[w].scale)
        data = self.rng.integers(-2000, 2001, channels)
        return self.tensor((channels,), "i4", scale, 0, data=data)

    def _output_scale(self, x: int, depth: int, gain: float) -> float:
        """`gain` 1 fills the int8 range; more saturates, and makes multipliers of 1 and above."""
        return float(self.tensors[x].scale) * 0.01 * np.sqrt(depth) * 75 * 75 / 64 / gain

    def _place(self, n: int, size: int, stride: int, dilation: int, padding: int) -> int:
        extent = (size - 1) * dilation + 1
        return -(-n // stride) if padding == SAME else (n - extent) // stride + 1

    def _window(self, x: int, size: Any, stride: Any, dilation: Any, padding: int) -> tuple[int, int]:
        image = self.shape(x)[1:3]
        rows, columns = (self._place(*each, padding) for each in zip(image, size, stride, dilation, strict=True))
        return rows, columns

    def conv(
        self,
        x: int,
        channels: int,
        size: tuple[int, int] = (3, 3),
        stride: tuple[int, int] = (1, 1),
        dilation: tuple[int, int] = (1, 1),
        padding: int = SAME,
        activation: str = "none",
        per_channel: bool = True,
        bias: bool = True,
        groups: int = 1,
        gain: float = 1.0,
        zero_point: int = -7,
    ) -> int:
        n, _, _, depth = self.shape(x)
        w = self._weights((channels, *size, depth // groups), 0, per_channel)
        inputs = [x, w, self._bias(x, w, channels)] if bias else [x, w]
        places = self._window(x, size, stride, dilation, padding)
        scale = self._output_scale(x, size[0] * size[1] * depth // groups, gain)
        out = self.tensor((n, *places, channels), scale=scale, zero_point=zero_point)
        return self.op(
            "CONV_2D",
            inputs,
            out,
            "Conv2DOptions",
            padding=padding,
            strideH=stride[0],
            strideW=stride[1],
            dilationHFactor=dilation[0],
            dilationWFactor=dilation[1],
            fusedActivationFunction=ACTIVATIONS[activation],
        )

    def depthwise(
        self,
        x: int,
        multiplier: int = 1,
        size: tuple[int, int] = (3, 3),
        stride: tuple[int, int] = (1, 1),
        dilation: tuple[int, int] = (1, 1),
        padding: int = SAME,
        activation: str = "none",
        per_channel: bool = True,
        bias: bool = True,
        gain: float = 1.0,
        zero_point: int = -7,
    ) -> int:
        n, _, _, depth = self.shape(x)
        channels = depth * multiplier
        w = self._weights((1, *size, channels), 3, per_channel)
        inputs = [x, w, self._bias(x, w, channels)] if bias else [x, w]
        places = self._window(x, size, stride, dilation, padding)
        scale = self._output_scale(x, size[0] * size[1], gain)
        out = self.tensor((n, *places, channels), scale=scale, zero_point=zero_point)
        return self.op(
            "DEPTHWISE_CONV_2D",
            inputs,
            out,
            "DepthwiseConv2DOptions",
            padding=padding,
            strideH=stride[0],
            strideW=stride[1],
            dilationHFactor=dilation[0],
            dilationWFactor=dilation[1],
            depthMultiplier=multiplier,
            fusedActivationFunction=ACTIVATIONS[activation],
        )

    def transpose_conv(
        self,
        x: int,
        channels: int,
        size: tuple[int, int] = (3, 3),
        stride: tuple[int, int] = (2, 2),
        padding: int = SAME,
        activation: str = "none",
        per_channel: bool = True,
        bias: bool = True,
        gain: float = 1.0,
        zero_point: int = -7,
        extra: int = 0,
    ) -> int:
        """`extra` outputs more in both directions than the smallest image (Keras' output_padding)."""
        n, *image, depth = self.shape(x)
        w = self._weights((channels, *size, depth), 0, per_channel)
        places = [
            i * s + extra if padding == SAME else (i - 1) * s + k + extra
            for i, s, k in zip(image, stride, size, strict=True)
        ]
        shape = (n, *places, channels)
        inputs = [self.tensor((4,), "i4", None, data=shape), w, x]
        out = self.tensor(shape, scale=self._output_scale(x, depth * size[0] * size[1], gain), zero_point=zero_point)
        return self.op(
            "TRANSPOSE_CONV",
            [*inputs, self._bias(x, w, channels)] if bias else inputs,
            out,
            "TransposeConvOptions",
            padding=padding,
            strideH=stride[0],
            strideW=stride[1],
            fusedActivationFunction=ACTIVATIONS[activation],
        )

    def svdf(
        self,
        x: int,
        units: int,
        rank: int = 1,
        memory: int = 4,
        state: str = "i2",
        state_zero_point: int = 0,
        gain: float = 1.0,
        zero_point: int = -7,
    ) -> int:
        batches, inputs = self.shape(x)
        filters = units * rank
        limit = 32767 if state == "i2" else 127
        w = self.tensor(
            (filters, inputs), scale=0.01, zero_point=0, data=self.rng.integers(-127, 128, (filters, inputs))
        )
        kept = self._output_scale(x, inputs, 1.0) * (127 / limit)
        time = self.tensor(
            (filters, memory), state, 1 / limit, 0, data=self.rng.integers(-limit, limit + 1, (filters, memory))
        )
        bias = self.tensor((units,), "i4", kept / limit, 0, data=self.rng.integers(-5 * limit, 5 * limit, units))
        memory_of = self.tensor((batches, filters * memory), state, kept, state_zero_point, variable=True)
        out = self.tensor(
            (batches, units), scale=kept * limit / 127 * np.sqrt(rank * memory) / gain, zero_point=zero_point
        )
        return self.op("SVDF", [x, w, time, bias, memory_of], out, "SVDFOptions", rank=rank)

    def lstm(
        self,
        x: int,
        units: int,
        time_major: bool = False,
        cell_power: int = -11,
        hidden_scale: float = 1 / 128,
        hidden_zero_point: int = 0,
        gain: float = 1.0,
        clip: float = 0.0,
    ) -> int:
        """`gain` 1 gives gates over about -4 to 4; more saturates them."""
        first, second, inputs = self.shape(x)
        batches = second if time_major else first

        def weights(depth: int, scale: float) -> int:
            # Both products together stay within a few units of Q3.12.
            return self.tensor(
                (units, depth),
                scale=gain * 0.02 / (75 * np.sqrt(depth) * scale),
                zero_point=0,
                data=self.rng.integers(-127, 128, (units, depth)),
            )

        def bias(w: int) -> int:
            scale = float(self.tensors[x].scale) * float(self.tensors[w].scale)
            return self.tensor((units,), "i4", scale, 0, data=self.rng.integers(-3000, 3000, units))

        own = [weights(inputs, float(self.tensors[x].scale)) for _ in range(4)]
        recurrent = [weights(units, hidden_scale) for _ in range(4)]
        biases = [bias(w) for w in own]
        hidden = self.tensor((batches, units), scale=hidden_scale, zero_point=hidden_zero_point, variable=True)
        cell = self.tensor((batches, units), "i2", 2.0**cell_power, 0, variable=True)
        out = self.tensor((first, second, units), scale=hidden_scale, zero_point=hidden_zero_point)
        inputs_ = [x, *own, *recurrent, -1, -1, -1, *biases, -1, -1, hidden, cell, -1, -1, -1, -1]
        return self.op(
            "UNIDIRECTIONAL_SEQUENCE_LSTM",
            inputs_,
            out,
            "UnidirectionalSequenceLSTMOptions",
            fusedActivationFunction=4,
            timeMajor=time_major,
            cellClip=clip,
        )

    def dense(
        self,
        x: int,
        channels: int,
        activation: str = "none",
        per_channel: bool = True,
        bias: bool = True,
        gain: float = 1.0,
        zero_point: int = -7,
    ) -> int:
        *batch, depth = self.shape(x)
        w = self._weights((channels, depth), 0, per_channel)
        inputs = [x, w, self._bias(x, w, channels)] if bias else [x, w]
        out = self.tensor((*batch, channels), scale=self._output_scale(x, depth, gain), zero_point=zero_point)
        return self.op(
            "FULLY_CONNECTED",
            inputs,
            out,
            "FullyConnectedOptions",
            fusedActivationFunction=ACTIVATIONS[activation],
            keepNumDims=len(batch) > 1,
        )

    def pool(
        self,
        x: int,
        kind: str = "AVERAGE",
        size: tuple[int, int] = (2, 2),
        stride: tuple[int, int] = (2, 2),
        padding: int = VALID,
        activation: str = "none",
    ) -> int:
        n, _, _, channels = self.shape(x)
        t = self.tensors[x]
        places = self._window(x, size, stride, (1, 1), padding)
        out = self.tensor((n, *places, channels), scale=t.scale, zero_point=t.zero_point)
        return self.op(
            f"{kind}_POOL_2D",
            [x],
            out,
            "Pool2DOptions",
            padding=padding,
            strideH=stride[0],
            strideW=stride[1],
            filterHeight=size[0],
            filterWidth=size[1],
            fusedActivationFunction=ACTIVATIONS[activation],
        )

    def mean(
        self, x: int, axes: Sequence[int], keep: bool, gain: float = 1.0, zero_point: int = 5, name: str = "MEAN"
    ) -> int:
        shape = self.shape(x)
        resolved = {a % len(shape) for a in axes}
        out_shape = [1 if i in resolved else n for i, n in enumerate(shape) if keep or i not in resolved]
        axis = self.tensor((len(axes),), "i4", None, data=axes)
        out = self.tensor(out_shape, scale=float(self.tensors[x].scale) / gain, zero_point=zero_point)
        return self.op(name, [x, axis], out, "ReducerOptions", keepDims=keep)

    def extreme(self, name: str, x: int, axes: Sequence[int], keep: bool) -> int:
        return self.mean(x, axes, keep, 1.0, self.tensors[x].zero_point, name)

    def arg(self, name: str, x: int, axis: int) -> int:
        shape = list(self.shape(x))
        del shape[axis]
        inputs = [x, self.constant([axis])]
        return self.op(name, inputs, self.tensor(shape, "i4", None), f"Arg{name[4:].capitalize()}Options", outputType=2)

    def add(self, a: int, b: int, scale: float, zero_point: int = 2, activation: str = "none") -> int:
        shape = np.broadcast_shapes(self.shape(a), self.shape(b))
        out = self.tensor(shape, scale=scale, zero_point=zero_point)
        return self.op("ADD", [a, b], out, "AddOptions", fusedActivationFunction=ACTIVATIONS[activation])

    def binary(self, name: str, a: int, b: int, scale: float, zero_point: int = 2, activation: str = "none") -> int:
        out = self.tensor(np.broadcast_shapes(self.shape(a), self.shape(b)), scale=scale, zero_point=zero_point)
        if name in ("MAXIMUM", "MINIMUM"):
            return self.op(name, [a, b], out, "MaximumMinimumOptions")
        if name in ("PRELU", "SQUARED_DIFFERENCE"):
            return self.op(name, [a, b], out, None if name == "PRELU" else "SquaredDifferenceOptions")
        return self.op(
            name, [a, b], out, f"{name.capitalize()}Options", fusedActivationFunction=ACTIVATIONS[activation]
        )

    def pad(self, x: int, paddings: Sequence[Sequence[int]], value: int | None = None) -> int:
        t = self.tensors[x]
        shape = [n + a + b for n, (a, b) in zip(t.shape, paddings, strict=True)]
        inputs = [x, self.tensor((len(paddings), 2), "i4", None, data=paddings)]
        out = self.tensor(shape, scale=t.scale, zero_point=t.zero_point)
        if value is None:
            return self.op("PAD", inputs, out, "PadOptions")
        inputs.append(self.tensor((1,), scale=t.scale, zero_point=t.zero_point, data=[value]))
        return self.op("PADV2", inputs, out, "PadV2Options")

    def unary(self, name: str, x: int, scale: float, zero_point: int, dtype: str = "i1", **options: Any) -> int:
        out = self.tensor(self.shape(x), dtype, scale, zero_point)
        return self.op(name, [x], out, _UNARY_OPTIONS.get(name), **options)

    def reshape(self, x: int, shape: Sequence[int], name: str = "RESHAPE") -> int:
        t = self.tensors[x]
        to = self.tensor((len(shape),), "i4", None, data=shape)
        out = self.tensor(shape, t.dtype, t.scale, t.zero_point)
        if name == "EXPAND_DIMS":
            axis = self.tensor((1,), "i4", None, data=[list(shape).index(1)])
            return self.op(name, [x, axis], out, "ExpandDimsOptions")
        return self.op(
            name, [x, to] if name == "RESHAPE" else [x], out, None if name == "RESHAPE" else "SqueezeOptions"
        )

    def constant(self, values: Any, dtype: str = "i4") -> int:
        """A constant of integers without quantisation."""
        values = np.asarray(values)
        return self.tensor(values.shape, dtype, None, data=values)

    def moved(
        self, name: str, inputs: Sequence[int], shape: Sequence[int], options: str | None = None, **fields: Any
    ) -> int:
        """An operator whose output has the type and quantisation of its first input."""
        t = self.tensors[inputs[0]]
        return self.op(name, inputs, self.tensor(shape, t.dtype, t.scale, t.zero_point), options, **fields)

    def transpose(self, x: int, order: Sequence[int]) -> int:
        shape = [self.shape(x)[i] for i in order]
        return self.moved("TRANSPOSE", [x, self.constant(order)], shape, "TransposeOptions")

    def slice(self, x: int, begin: Sequence[int], size: Sequence[int], dtype: str = "i4") -> int:
        shape = [n - b if s == -1 else s for n, b, s in zip(self.shape(x), begin, size, strict=True)]
        inputs = [x, self.constant(begin, dtype), self.constant(size, dtype)]
        return self.moved("SLICE", inputs, shape, "SliceOptions")

    def strided_slice(
        self,
        x: int,
        begin: Sequence[int],
        end: Sequence[int],
        strides: Sequence[int],
        begin_mask: int = 0,
        end_mask: int = 0,
        shrink_mask: int = 0,
    ) -> int:
        places = []
        for i, n in enumerate(self.shape(x)):
            if shrink_mask >> i & 1:
                places.append(range(begin[i] % n, begin[i] % n + 1))
                continue
            first = None if begin_mask >> i & 1 else begin[i]
            last = None if end_mask >> i & 1 else end[i]
            places.append(range(n)[first : last : strides[i]])
        shape = [len(r) for i, r in enumerate(places) if not shrink_mask >> i & 1]
        return self.moved(
            "STRIDED_SLICE",
            [x, self.constant(begin), self.constant(end), self.constant(strides)],
            shape,
            "StridedSliceOptions",
            beginMask=begin_mask,
            endMask=end_mask,
            shrinkAxisMask=shrink_mask,
        )

    def blocks(self, name: str, x: int, size: int) -> int:
        n, h, w, c = self.shape(x)
        if name == "SPACE_TO_DEPTH":
            return self.moved(
                name, [x], (n, h // size, w // size, c * size * size), "SpaceToDepthOptions", blockSize=size
            )
        return self.moved(name, [x], (n, h * size, w * size, c // size // size), "DepthToSpaceOptions", blockSize=size)

    def batches(self, name: str, x: int, block: Sequence[int], margins: Sequence[Sequence[int]]) -> int:
        n, *space, c = self.shape(x)
        if name == "SPACE_TO_BATCH_ND":
            n *= int(np.prod(block))
            space = [(k + sum(m)) // b for k, b, m in zip(space, block, margins, strict=True)]
            options = "SpaceToBatchNDOptions"
        else:
            n //= int(np.prod(block))
            space = [k * b - sum(m) for k, b, m in zip(space, block, margins, strict=True)]
            options = "BatchToSpaceNDOptions"
        return self.moved(name, [x, self.constant(block), self.constant(margins)], (n, *space, c), options)

    def mirror_pad(self, x: int, paddings: Sequence[Sequence[int]], mode: int, dtype: str = "i4") -> int:
        shape = [n + sum(p) for n, p in zip(self.shape(x), paddings, strict=True)]
        return self.moved("MIRROR_PAD", [x, self.constant(paddings, dtype)], shape, "MirrorPadOptions", mode=mode)

    def resize(self, kind: str, x: int, size: Sequence[int], align: bool = False, half: bool = False) -> int:
        n, _, _, c = self.shape(x)
        options = {"NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions", "BILINEAR": "ResizeBilinearOptions"}[kind]
        inputs = [x, self.constant(size)]
        return self.moved(f"RESIZE_{kind}", inputs, (n, *size, c), options, alignCorners=align, halfPixelCenters=half)

    def gather(self, x: int, indices: int, axis: int = 0, batch: int = 0) -> int:
        shape, places = self.shape(x), self.shape(indices)
        axis %= len(shape)
        out = (*shape[:axis], *places[batch:], *shape[axis + 1 :])
        return self.moved("GATHER", [x, indices], out, "GatherOptions", axis=axis, batchDims=batch)

    def concatenation(self, parts: Sequence[int], axis: int) -> int:
        shape = list(self.shape(parts[0]))
        shape[axis] = sum(self.shape(t)[axis] for t in parts)
        return self.moved("CONCATENATION", parts, shape, "ConcatenationOptions", axis=axis)

    def pack(self, parts: Sequence[int], axis: int) -> int:
        shape = list(self.shape(parts[0]))
        shape.insert(axis % (len(shape) + 1), len(parts))
        return self.moved("PACK", parts, shape, "PackOptions", axis=axis, valuesCount=len(parts))

    def divided(self, name: str, x: int, axis: int, sizes: Sequence[int]) -> list[int]:
        """SPLIT, SPLIT_V or UNPACK into parts of `sizes`."""
        t = self.tensors[x]
        shapes = [[*t.shape] for _ in sizes]
        for shape, size in zip(shapes, sizes, strict=True):
            shape[axis] = size
            if name == "UNPACK":
                del shape[axis]
        outs = [self.tensor(shape, t.dtype, t.scale, t.zero_point) for shape in shapes]
        if name == "SPLIT":
            self.ops.append(Op(name, [self.constant([axis]), x], outs, "SplitOptions", {"numSplits": len(sizes)}))
        elif name == "SPLIT_V":
            inputs = [x, self.constant(sizes), self.constant([axis])]
            self.ops.append(Op(name, inputs, outs, "SplitVOptions", {"numSplits": len(sizes)}))
        else:
            self.ops.append(Op(name, [x], outs, "UnpackOptions", {"num": len(sizes), "axis": axis}))
        return outs

    def build(self, *, ends_only: bool = False) -> graph.Graph:
        """With `ends_only` the model's outputs are the tensors that no operator reads, instead of all."""
        read = {i for op in self.ops for i in op.inputs} if ends_only else set()
        made = [i for op in self.ops for i in op.outputs if i not in read]
        return graph.load(tflite(self.tensors, self.ops, self.inputs, made))


def vectors(g: graph.Graph, n: int = 6, seed: int = 1) -> np.ndarray:
    """Random vectors, the first two at the ends of the range; float inputs are normal, with ties and large values."""
    rng = np.random.default_rng(seed)
    parts = []
    for i in g.inputs:
        t = g.tensors[i]
        if t.dtype == np.float32:
            values = rng.normal(0, 3, (n, t.elements)).astype(np.float32)
            values[:, ::7] = np.round(values[:, ::7] * 2) / 2
            values[:, ::11] *= 1e4
        elif t.dtype == np.bool_:
            values = rng.integers(0, 2, (n, t.elements)).astype(t.dtype)
        else:
            info = np.iinfo(t.dtype)
            values = rng.integers(info.min, info.max + 1, (n, t.elements)).astype(t.dtype)
            values[0], values[1 % n] = info.min, info.max
        parts.append(np.ascontiguousarray(values).view(np.uint8).reshape(n, -1))
    return np.concatenate(parts, axis=1)


def assert_exact(
    g: graph.Graph,
    inputs: np.ndarray | None = None,
    *,
    target: Literal["portable", "cortex_m4", "avr"] = "portable",
    where: ModuleType = host,
    squeeze: bool = True,
    **how: Any,
) -> None:
    """Every operator's outputs equal TFLite Micro's, byte for byte; `where` (host or device) runs the model.

    With `squeeze`, outputs lie exactly as far over inputs as the kernels say they may; without, as the plan has them.
    """
    # No search for the smallest arena where its plan is replaced.
    with mock.patch.object(placement, "DETERMINISTIC_TIME", 0.0 if squeeze else placement.DETERMINISTIC_TIME):
        compiled = compile_model(g, target)
    assert_model_exact(squeezed(compiled) if squeeze else compiled, inputs, where=where, **how)


def assert_model_exact(
    compiled: CompiledModel, inputs: np.ndarray | None = None, *, where: ModuleType = host, **how: Any
) -> None:
    """The same for a model that is compiled already."""
    inputs = vectors(compiled.graph) if inputs is None else inputs
    reference = golden.run(compiled.graph, inputs, layers=True)
    outputs, layers = where.run(compiled, inputs, layers=True, **how)
    assert reference.layers is not None
    assert layers is not None
    assert sorted(layers) == sorted(reference.layers)
    wrong = []
    for layer in compiled.lowered:
        for i in layer.outputs:
            here, there = layers[i], reference.layers[i]
            if here.tobytes() != there.tobytes():
                at = tuple(int(k) for k in np.argwhere(here != there)[0])
                wrong.append(f"{layer.op.index} {layer.op.name} {layer.kernel} at {at}: {here[at]} not {there[at]}")
    assert not wrong, "\n".join(wrong[:20])
    assert np.array_equal(outputs, reference.outputs)
