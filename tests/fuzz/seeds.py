"""The corpus to damage: one tiny whole model for each kind of operator. `python tests/fuzz/seeds.py` writes it anew."""

from collections.abc import Callable, Sequence
from typing import Any

from fuzz_paths import CORPUS
from models import Op, T, add_subgraph, model, pack
from tflite_builder import VALID, Sweep


def convolution() -> Sweep:
    s = Sweep(1)
    x = s.conv(s.input((1, 5, 4, 2)), 3, (3, 2), (2, 1), activation="relu6")
    s.conv(x, 4, (1, 1), padding=VALID, per_channel=False)
    return s


def grouped() -> Sweep:
    s = Sweep(2)
    s.conv(s.input((1, 4, 4, 4)), 4, (2, 2), dilation=(2, 1), groups=2, bias=False)
    return s


def depthwise() -> Sweep:
    s = Sweep(3)
    s.depthwise(s.depthwise(s.input((1, 5, 5, 1)), 3), 1, (3, 3), (2, 2), activation="relu")
    return s


def dense() -> Sweep:
    s = Sweep(4)
    x = s.dense(s.reshape(s.input((1, 2, 4)), (1, 8)), 5, activation="relu")
    s.unary("SOFTMAX", s.dense(x, 3, per_channel=False), 1 / 256, -128, beta=1.0)
    return s


def pooling() -> Sweep:
    s = Sweep(5)
    x = s.input((1, 6, 4, 3))
    s.pool(x, "AVERAGE")
    s.pool(x, "MAX", (3, 2), (1, 2), padding=0)
    s.mean(x, (1, 2), keep=False)
    return s


def residual() -> Sweep:
    s = Sweep(6)
    x = s.input((1, 3, 3, 2))
    y = s.conv(x, 2, (3, 3))
    s.add(x, y, 0.1, activation="relu")
    s.add(y, s.tensor((1, 1, 1, 2), data=[1, -2]), 0.2)
    return s


def padding() -> Sweep:
    s = Sweep(7)
    x = s.input((1, 3, 4, 2))
    s.pad(x, [[0, 0], [1, 2], [0, 1], [0, 0]])
    s.pad(x, [[0, 0], [1, 0], [2, 1], [0, 1]], value=5)
    s.reshape(x, (1, 1, 12, 2), "EXPAND_DIMS")
    return s


def tables() -> Sweep:
    s = Sweep(8)
    x = s.input((1, 6))
    s.unary("LOGISTIC", x, 1 / 256, -128)
    s.unary("RELU", x, 0.03, -128)
    s.unary("RELU6", x, 0.05, 3)
    s.unary("TANH", x, 1 / 128, 0)
    s.unary("HARD_SWISH", x, 0.04, -10)
    s.unary("LEAKY_RELU", x, 0.04, -10, alpha=0.2)
    s.unary("ELU", x, 0.05, 0)
    s.unary("ABS", x, 0.05, 3)
    return s


def floats() -> Sweep:
    s = Sweep(9)
    x = s.input((1, 4), "f4", None)
    s.unary("DEQUANTIZE", s.unary("QUANTIZE", x, 0.1, 4), None, 0, "f4")
    s.unary("QUANTIZE", s.unary("QUANTIZE", x, 0.1, 4), 0.05, 128, "u1")
    return s


def transposed() -> Sweep:
    s = Sweep(10)
    x = s.transpose_conv(s.input((1, 3, 2, 2)), 3, (3, 2), (2, 1), activation="relu")
    s.transpose_conv(x, 2, (2, 2), (2, 2), padding=VALID, per_channel=False, bias=False)
    return s


def binary() -> Sweep:
    s = Sweep(11)
    a, b = s.input((1, 2, 3, 2)), s.input((1, 1, 3, 2), scale=0.03)
    s.binary("SUB", a, b, 0.1, activation="relu6")
    s.binary("MUL", a, b, 0.004)
    s.binary("MAXIMUM", a, a, 0.05, 3)
    s.binary("PRELU", a, s.tensor((1, 1, 1, 2), scale=0.01, data=[20, -30]), 0.05)
    return s


def moved() -> Sweep:
    s = Sweep(12)
    x = s.input((1, 4, 4, 4))
    s.transpose(x, (0, 2, 1, 3))
    s.slice(x, (0, 1, 0, 1), (1, 2, -1, 2))
    s.strided_slice(x, (0, 3, 0, 1), (1, 0, 4, 2), (1, -2, 2, 1), shrink_mask=8)
    s.blocks("DEPTH_TO_SPACE", s.blocks("SPACE_TO_DEPTH", x, 2), 2)
    s.batches(
        "BATCH_TO_SPACE_ND", s.batches("SPACE_TO_BATCH_ND", x, (2, 2), ((0, 0), (0, 0))), (2, 2), ((0, 0), (0, 0))
    )
    return s


def resized() -> Sweep:
    s = Sweep(13)
    x = s.input((1, 3, 2, 2))
    s.mirror_pad(x, ((0, 0), (1, 1), (0, 1), (0, 0)), 0)
    s.resize("NEAREST_NEIGHBOR", x, (5, 3), half=True)
    s.resize("BILINEAR", x, (5, 3), align=True)
    s.gather(x, s.constant((1, 0, 2)), axis=1)
    return s


def reduced() -> Sweep:
    s = Sweep(16)
    x = s.input((1, 3, 4, 2))
    s.extreme("REDUCE_MAX", x, (1, 2), keep=True)
    s.arg("ARG_MAX", x, -1)
    s.unary("L2_NORMALIZATION", x, 1 / 128, 0)
    return s


class _Wide(Sweep):
    """Activations of 16 bits, biases of 64."""

    def tensor(
        self, shape: Sequence[int], dtype: str = "i1", scale: Any = 0.05, zero_point: Any = 0, **more: Any
    ) -> int:
        if dtype == "i4" and scale is not None:
            dtype = "i8"
        if dtype == "i1" and more.get("data") is None:
            dtype, zero_point = "i2", 0
        return super().tensor(shape, dtype, scale, zero_point, **more)


def wide() -> Sweep:
    s = _Wide(17)
    x = s.conv(s.input((1, 4, 3, 2), scale=0.02), 3)
    s.dense(s.reshape(s.depthwise(x), (1, 36)), 4)
    return s


def joined() -> Sweep:
    s = Sweep(14)
    x, y = s.input((1, 2, 3, 2)), s.input((1, 2, 3, 2))
    s.concatenation((x, y, x), 3)
    s.pack((x, y), 1)
    s.divided("SPLIT", x, 2, (1, 1, 1))
    s.divided("SPLIT_V", x, 2, (1, 2))
    s.divided("UNPACK", x, 1, (1, 1))
    return s


def recurrent() -> Sweep:
    s = Sweep(15)
    s.svdf(s.input((1, 6)), 2, rank=2, memory=3)
    s.lstm(s.input((1, 3, 4)), 2)
    return s


def variables() -> bytes:
    """y = x + sum; sum = y, with the sum in a resource variable that a subgraph initialises."""

    def handle(tensor: int) -> Op:
        return Op("VAR_HANDLE", [], [tensor], "VarHandleOptions", {"sharedName": b"sum"})

    def assign(variable: int, value: int) -> Op:
        return Op("ASSIGN_VARIABLE", [variable, value], [], "AssignVariableOptions")

    value = {"scale": 0.2, "zero_point": 7}
    tensors = [T((1, 6), scale=0.1, zero_point=-5), T((), "resource", None), T((1, 6), **value), T((1, 6), **value)]
    ops = [
        Op("CALL_ONCE", [], [], "CallOnceOptions", {"initSubgraphIndex": 1}),
        handle(1),
        Op("READ_VARIABLE", [1], [2], "ReadVariableOptions"),
        Op("ADD", [0, 2], [3], "AddOptions"),
        assign(1, 3),
    ]
    m = model(tensors, ops, [0], [3])
    initial = [T((), "resource", None), T((1, 6), **value, data=range(6))]
    add_subgraph(m, initial, [handle(0), assign(0, 1)])
    return pack(m)


SEEDS: tuple[Callable[[], Sweep | bytes], ...] = (
    *(convolution, grouped, depthwise, transposed, dense, pooling, residual, binary, padding, tables, floats),
    *(moved, resized, joined, reduced, wide, recurrent, variables),
)


def data_of(seed: Callable[[], Sweep | bytes]) -> bytes:
    """The seed's file."""
    made = seed()
    return made if isinstance(made, bytes) else made.build().data


def main() -> None:
    CORPUS.mkdir(exist_ok=True)
    for seed in SEEDS:
        (CORPUS / f"{seed.__name__}.tflite").write_bytes(data_of(seed))


if __name__ == "__main__":
    main()
