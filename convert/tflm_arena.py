"""The arena of a TFLite Micro project for a 32-bit target, from what the host's TFLite Micro used.

The host runs the reference kernels with 64-bit pointers. Two things differ on the target: the interpreter's own data
(the tail) shrink with the pointers, and optimised kernels ask for scratch memory, which takes part in the plan of the
activations (the head). The first is kept as margin; the second is computed, by planning once with and once without
the scratch buffers.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from convert.golden import ArenaUse
from convert.graph import Graph, Operator

ALIGNMENT = 16

# Below this the library writes through a null pointer instead of failing (inference.cpp refuses it too).
LEAST_BYTES = 1024

# Bytes by which the target's structures are smaller, from their declarations in upstream 90b983c: TfLiteEvalTensor
# has 24 bytes on a 64-bit host and 12 on a Cortex-M4, NodeAndRegistration 64 and 32.
_SMALLER_PER_TENSOR = 12
_SMALLER_PER_OPERATOR = 32

# On top, for library versions that were not measured. 2026-11-22, smallest arena found by stepping down by 16 bytes
# in QEMU mps2-an386, 15 models of 3 to 31 operators (vww, kws, ad01 and twelve small ones): upstream 90b983c with
# reference kernels needs 352 to 3,008 bytes less than the host's total; the plan exceeds the largest need of that, of
# upstream with CMSIS-NN 4ab83cc and of Chirale_TensorFLowLite 2.0.0 by 448 to 2,816 bytes. It was not measured with
# other kernel libraries (ESP-NN, Xtensa).
_RESERVE = 256


@dataclass(frozen=True)
class TflmArena:
    """The arena's size in bytes for a 32-bit target, the part of it that is margin, and how it was reckoned."""

    bytes: int
    margin_bytes: int
    explanation: str


class Buffer(NamedTuple):
    """Bytes that must be kept from operator `first` to operator `last`, inclusive."""

    size: int
    first: int
    last: int


# Cores with Arm's vector extension, whose kernels ask for other scratch memory; build.cpu of a board.
MVE_CORES = ("cortex-m52", "cortex-m55", "cortex-m85")


def plan_arena(graph: Graph, measured: ArenaUse, cpu: str = "", elsewhere: Collection[int] = ()) -> TflmArena:
    """Size the arena for a core: the host's total, scratch of CMSIS-NN where it enlarges the plan, and a reserve.

    `elsewhere` are the tensors that lie in another memory, as they did when the arena was measured.
    """
    ask = vector_scratch_bytes if cpu in MVE_CORES else scratch_bytes
    inside = {i: lifetime for i, lifetime in graph.lifetimes.items() if i not in elsewhere}
    activations = [Buffer(graph.tensors[i].nbytes, first, last) for i, (first, last) in inside.items()]
    scratch = [Buffer(size, op.index, op.index) for op in graph.operators if (size := ask(graph, op))]
    extra = max(0, greedy_plan(activations + scratch) - greedy_plan(activations))
    size = max(_aligned(measured.total + extra + _RESERVE), LEAST_BYTES)
    smaller = _SMALLER_PER_TENSOR * len(graph.tensors) + _SMALLER_PER_OPERATOR * len(graph.operators)
    margin = size - max(0, measured.total + extra - smaller)
    explanation = (
        f"{measured.total} bytes used by TFLite Micro on a 64-bit host (head {measured.head}, tail {measured.tail}), "
        f"{extra} for CMSIS-NN's scratch buffers, {_RESERVE} in reserve; about {margin} of them are margin, because "
        "a 32-bit target's pointers are half as wide."
    )
    return TflmArena(size, margin, explanation)


def scratch_bytes(graph: Graph, op: Operator) -> int:
    """Scratch that CMSIS-NN's int8 kernels ask for on a core with the DSP extension, in bytes; 0 for other operators.

    The larger of what CMSIS-NN 4ab83cc and the version in Chirale_TensorFLowLite 2.0.0 ask for; their
    *_get_buffer_size functions: two im2col columns as int16 for a convolution, one patch as int16 for a depthwise
    convolution, 32-bit sums of one pixel for average pooling.
    """
    if op.name not in ("CONV_2D", "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D"):
        return 0
    source = graph.tensors[op.inputs[0]]
    channels = source.shape[-1]
    if op.name == "AVERAGE_POOL_2D":
        return 4 * channels
    _, height, width, last = graph.tensors[op.inputs[1]].shape
    if op.name == "DEPTHWISE_CONV_2D":
        return 2 * channels * height * width if last == channels else 0
    pointwise = height == width == 1 and op.options.get("strideH") == op.options.get("strideW") == 1
    return 0 if pointwise else 4 * _aligned(height * width * last, 4)


# Channels that the vector extension's depthwise kernel takes at a time.
_MVE_CHANNELS = 124


def vector_scratch_bytes(graph: Graph, op: Operator) -> int:
    """Scratch that CMSIS-NN's int8 kernels ask for on a core with the vector extension (MVE), in bytes.

    From the *_get_buffer_size_mve functions of CMSIS-NN 99f736a: four im2col columns for a convolution, four patches
    of 124 channels for a depthwise one, 32-bit sums of the weights for a dense layer.
    """
    if op.name not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
        return 0
    if op.name == "FULLY_CONNECTED":
        return 4 * graph.tensors[op.inputs[1]].shape[0]
    channels = graph.tensors[op.inputs[0]].shape[-1]
    _, height, width, last = graph.tensors[op.inputs[1]].shape
    if op.name == "DEPTHWISE_CONV_2D" and channels == 1:  # run as a convolution, of weights in another order
        return 4 * _aligned(height * width) + height * width * last
    if op.name == "DEPTHWISE_CONV_2D":
        return 4 * _MVE_CHANNELS * height * width if last == channels else 0
    pointwise = height == width == 1 and op.options.get("strideH") == op.options.get("strideW") == 1
    return 0 if pointwise else 4 * _aligned(height * width * last)


def greedy_plan(buffers: Sequence[Buffer]) -> int:
    """Bytes that TFLite Micro's greedy planner needs for buffers.

    Largest first, each at the lowest offset where it fits between the buffers already placed that live at the same
    time (the strategy of GreedyMemoryPlanner; of equal sizes the last one first).
    """
    placed: list[tuple[int, int, Buffer]] = []  # begin, end
    for buffer in sorted(reversed(buffers), key=lambda b: -_aligned(b.size)):
        size = _aligned(buffer.size)
        begin = 0
        for other_begin, other_end, other in sorted(placed):
            if other.last < buffer.first or buffer.last < other.first:
                continue
            if other_begin - begin >= size:
                break
            begin = max(begin, other_end)
        placed.append((begin, begin + size, buffer))
    return max((end for _, end, _ in placed), default=0)


def _aligned(size: int, to: int = ALIGNMENT) -> int:
    return -(-size // to) * to
