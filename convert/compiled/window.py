"""Sliding windows: output sizes and padding of convolutions and pooling."""

from dataclasses import dataclass

from convert.compiled.layer import Value, describe, refuse
from convert.graph import Operator, Tensor

_SAME, _VALID = 0, 1  # Padding of the TFLite schema
_FAR = 1 << 14  # pixels; the kernels add and multiply places in 32 bits


@dataclass(frozen=True)
class Window:
    """Geometry of a window over an NHWC image; lengths in pixels, (vertical, horizontal)."""

    batches: int
    input: tuple[int, int]
    output: tuple[int, int]
    size: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pad: tuple[int, int]  # above, left

    @property
    def params(self) -> dict[str, Value]:
        """The kernels' `kernels_window`."""
        return {
            "batches": self.batches,
            "input_height": self.input[0],
            "input_width": self.input[1],
            "output_height": self.output[0],
            "output_width": self.output[1],
            "height": self.size[0],
            "width": self.size[1],
            "stride_height": self.stride[0],
            "stride_width": self.stride[1],
            "dilation_height": self.dilation[0],
            "dilation_width": self.dilation[1],
            "pad_top": self.pad[0],
            "pad_left": self.pad[1],
        }

    @property
    def pointwise(self) -> bool:
        """Whether every output pixel reads exactly the input pixel at its own place."""
        return self.size == (1, 1) and self.stride == (1, 1)

    @property
    def whole(self) -> bool:
        """Whether the window is the whole image and there is one output."""
        return self.size == self.input and self.output == (1, 1) and self.pad == (0, 0) and self.dilation == (1, 1)


def window(op: Operator, x: Tensor, out: Tensor, size: tuple[int, int]) -> Window:
    """The window of an operator with Conv2D's options (strides, dilations, padding).

    Raises UsageError for images that are not 4-dimensional or an output shape that the options do not give.
    """
    if len(x.shape) != 4 or len(out.shape) != 4:
        raise refuse(op, f"{describe(x)} or {describe(out)} is not NHWC", "reshape to 4 dimensions")
    options = op.options
    stride = int(options["strideH"]), int(options["strideW"])
    dilation = int(options.get("dilationHFactor", 1)), int(options.get("dilationWFactor", 1))
    padding = int(options["padding"])
    if min(*stride, *dilation, *size) < 1 or max(*stride, *dilation, *size) > _FAR or padding not in (_SAME, _VALID):
        raise refuse(
            op,
            f"strides {stride}, dilations {dilation}, window {size} or padding {padding} are invalid",
            "convert the model again",
        )
    places = [_place(padding, n, k, s, d) for n, k, s, d in zip(x.shape[1:3], size, stride, dilation, strict=True)]
    expected = (x.shape[0], places[0][0], places[1][0])
    if out.shape[:3] != expected or min(expected) < 1:
        raise refuse(
            op,
            f"{describe(out)} does not have the shape {[*expected, '...']} of its options",
            "convert the model again",
        )
    return Window(
        x.shape[0],
        (x.shape[1], x.shape[2]),
        (out.shape[1], out.shape[2]),
        size,
        stride,
        dilation,
        (places[0][1], places[1][1]),
    )


def transposed_window(op: Operator, x: Tensor, out: Tensor, size: tuple[int, int]) -> Window:
    """The window of the convolution that an operator with strides and padding transposes: `out` is that one's image.

    Raises UsageError for invalid options.
    """
    stride = int(op.options.get("strideH", 0)), int(op.options.get("strideW", 0))
    padding = int(op.options.get("padding", -1))
    if min(*stride, *size) < 1 or padding not in (_SAME, _VALID):
        raise refuse(op, f"strides {stride}, window {size} or padding {padding} are invalid", "convert the model again")
    places = [_place(padding, n, k, s, 1) for n, k, s in zip(out.shape[1:3], size, stride, strict=True)]
    return Window(
        x.shape[0],
        (x.shape[1], x.shape[2]),
        (out.shape[1], out.shape[2]),
        size,
        stride,
        (1, 1),
        (places[0][1], places[1][1]),
    )


def require_multiplier(op: Operator, x: Tensor, w: Tensor) -> None:
    """Raise UsageError unless a depthwise convolution's option, which TFLite Micro computes with, suits its weights."""
    given = int(op.options["depthMultiplier"])
    if given * x.shape[3] != w.shape[3]:
        raise refuse(op, f"depth multiplier {given} is not that of {describe(w)}", "convert the model again")


def _place(padding: int, length: int, size: int, stride: int, dilation: int) -> tuple[int, int]:
    """Output length and padding before the input, in one direction."""
    extent = (size - 1) * dilation + 1
    count = -(-length // stride) if padding == _SAME else (length + stride - extent) // stride
    return count, max((count - 1) * stride + extent - length, 0) // 2
