"""The TFLite Micro project: model array, op resolver and arena, for the sources in firmware/runtimes/tflm."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from convert import emit
from convert.errors import UsageError
from convert.golden import DECODE
from convert.graph import Graph, Operator
from convert.tflm_arena import TflmArena, plan_arena

__all__ = [
    "OPERATORS_FILE",
    "Registration",
    "TflmArena",
    "chirale_notes",
    "chirale_refusals",
    "plan_arena",
    "registrations",
    "render",
]

# One operator a line: what firmware/runtimes/tflm/sources.py compiles of a source tree.
OPERATORS_FILE = "operators.txt"

_KERNELS = "tensorflow/lite/micro/kernels"

# MicroMutableOpResolver's methods where they are not `Add` + the name in camel case. Together with _PLAIN: every
# builtin operator of upstream 90b983c (2026-08-20), read from micro_mutable_op_resolver.h on 2026-11-22.
_METHODS: Mapping[str, str] = MappingProxyType(
    {
        "AVERAGE_POOL_2D": "AddAveragePool2D",
        "BATCH_MATMUL": "AddBatchMatMul",
        "CONV_2D": "AddConv2D",
        "CUMSUM": "AddCumSum",
        "DEPTHWISE_CONV_2D": "AddDepthwiseConv2D",
        "L2_POOL_2D": "AddL2Pool2D",
        "MAX_POOL_2D": "AddMaxPool2D",
        "PADV2": "AddPadV2",
        "UNIDIRECTIONAL_SEQUENCE_LSTM": "AddUnidirectionalSequenceLSTM",
    }
)
_PLAIN_NAMES = """
    ABS ADD ADD_N ARG_MAX ARG_MIN ASSIGN_VARIABLE BATCH_TO_SPACE_ND BROADCAST_ARGS BROADCAST_TO CALL_ONCE CAST CEIL
    CONCATENATION COS DEPTH_TO_SPACE DEQUANTIZE DIV DYNAMIC_UPDATE_SLICE ELU EMBEDDING_LOOKUP EQUAL EXP EXPAND_DIMS
    FILL FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED GATHER GATHER_ND GREATER GREATER_EQUAL HARD_SWISH IF
    L2_NORMALIZATION LEAKY_RELU LESS LESS_EQUAL LOG LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC LOG_SOFTMAX MAXIMUM
    MEAN MINIMUM MIRROR_PAD MUL NEG NOT_EQUAL PACK PAD PRELU QUANTIZE READ_VARIABLE REDUCE_ALL REDUCE_MAX REDUCE_MIN
    RELU RELU6 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_V2 ROUND RSQRT SELECT_V2 SHAPE SIN SLICE
    SOFTMAX SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB
    SUM SVDF TANH TRANSPOSE TRANSPOSE_CONV UNPACK VAR_HANDLE WHILE ZEROS_LIKE
    """
_PLAIN = frozenset(_PLAIN_NAMES.split())

# Registrations without code for other types, and the header that declares each; both in upstream 90b983c (where they
# are the plain ones unless a kernel library such as CMSIS-NN is built in) and in Chirale_TensorFLowLite 2.0.0 (always
# CMSIS-NN's). Those that only upstream has (PAD, MAXIMUM, MINIMUM, TRANSPOSE, TRANSPOSE_CONV, BATCH_MATMUL, LSTM) are
# left out, so that one project serves both.
_INT8: Mapping[str, str] = MappingProxyType(
    {
        "ADD": "add.h",
        "AVERAGE_POOL_2D": "pooling.h",
        "CONV_2D": "conv.h",
        "DEPTHWISE_CONV_2D": "depthwise_conv.h",
        "FULLY_CONNECTED": "fully_connected.h",
        "MAX_POOL_2D": "pooling.h",
        "MUL": "mul.h",
        "SOFTMAX": "softmax.h",
        "SVDF": "svdf.h",
    }
)

# Chirale_TensorFLowLite 2.0.0 has every operator above but these; read from its micro_mutable_op_resolver.h on
# 2026-11-22.
_NOT_IN_CHIRALE = frozenset(
    {"BATCH_MATMUL", "DYNAMIC_UPDATE_SLICE", "EMBEDDING_LOOKUP", "REDUCE_ALL", "REDUCE_MIN", "REVERSE_V2", DECODE}
)

# Custom operators of TFLite Micro's own.
_CUSTOM: Mapping[str, str] = MappingProxyType({DECODE: "AddDecode"})

_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "bool": "kTfLiteBool",
        "float32": "kTfLiteFloat32",
        "int16": "kTfLiteInt16",
        "int32": "kTfLiteInt32",
        "int64": "kTfLiteInt64",
        "int8": "kTfLiteInt8",
        "uint32": "kTfLiteUInt32",
        "uint8": "kTfLiteUInt8",
    }
)


@dataclass(frozen=True)
class Registration:
    """How an operator enters the resolver: `resolver.method(registration)`."""

    name: str  # BuiltinOperator's name
    method: str  # of MicroMutableOpResolver
    registration: str  # "" for the library's own choice
    header: str | None  # declares the registration


def registrations(graph: Graph) -> tuple[Registration, ...]:
    """The resolver's entries: each operator of the graph once, sorted by name.

    Raises UsageError for an operator that TFLite Micro's MicroMutableOpResolver has no method for.
    """
    return tuple(_registration(graph, name) for name in graph.op_names)


def _registration(graph: Graph, name: str) -> Registration:
    method = _METHODS.get(name) or _CUSTOM.get(name) or ("Add" + _camel(name) if name in _PLAIN else None)
    if method is None:
        first = next(op for op in graph.operators if op.name == name)
        raise UsageError(
            f"operator {first.index} ({name}): TFLite Micro's MicroMutableOpResolver has no method for it; allowed are "
            f"{', '.join(sorted(_PLAIN | set(_METHODS)))}. Replace the layer by ones that convert to these"
        )
    uses = [op for op in graph.operators if op.name == name]
    if name in _INT8 and all(_is_int8(graph, op) for op in uses):
        return Registration(name, method, f"tflite::Register_{name}_INT8()", f"{_KERNELS}/{_INT8[name]}")
    return Registration(name, method, "", None)


# How weights may be compressed (convert/tflm_compress.py): the first byte of what stands beside them, and the decoder.
_DECODERS: Mapping[int, str] = MappingProxyType({0: "LUT", 1: "HUFFMAN", 2: "PRUNE"})


def decoders(graph: Graph) -> tuple[str, ...]:
    """The decoders that a graph's operators TFLM_DECODE need, by TFLite Micro's names: LUT, HUFFMAN, PRUNE."""
    beside = [graph.tensors[i].data for op in graph.operators if op.name == DECODE for i in op.inputs[1::2]]
    kinds = {int(data.reshape(-1)[0]) for data in beside if data is not None and data.size}
    return tuple(_DECODERS[kind] for kind in sorted(kinds & set(_DECODERS)))


def _camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def _is_int8(graph: Graph, op: Operator) -> bool:
    """Whether the data inputs (the first two: activations, or activations and weights) and the outputs are int8.

    Packed weights are not: the registrations for int8 alone would read two of them as one.
    """
    used = [graph.tensors[i] for i in (*op.inputs[:2], *op.outputs) if i >= 0]
    return all(t.dtype == np.int8 and t.packed_bits is None for t in used)


def chirale_refusals(graph: Graph) -> tuple[str, ...]:
    """Why Chirale_TensorFLowLite 2.0.0, the Arduino library, must not run a graph; one sentence each, none if it may.

    It carries TFLite Micro of early 2023, which computes a dense layer that is quantised per channel with the first
    channel's scale, silently.
    """
    reasons = [f"{name} is not in Chirale_TensorFLowLite 2.0.0" for name in graph.op_names if name in _NOT_IN_CHIRALE]
    for op in graph.operators:
        quantization = graph.tensors[op.inputs[1]].quantization if op.name == "FULLY_CONNECTED" else None
        if quantization is not None and quantization.axis is not None:
            reasons.append(
                f"operator {op.index} (FULLY_CONNECTED) has weights quantised per channel, which "
                "Chirale_TensorFLowLite 2.0.0 computes wrongly: quantise dense layers per tensor"
            )
    return tuple(reasons)


def chirale_notes(graph: Graph) -> tuple[str, ...]:
    """Where Chirale_TensorFLowLite 2.0.0 may differ from TFLite Micro of today by rounding; one sentence each.

    Its MEAN rounds in floating point where today's rounds in fixed point. Measured on 2026-11-22 in QEMU: of ten models
    (8 vectors each) nine gave equal bytes; in one with MEAN, 4 vectors had values that differed by 1.
    """
    return tuple(
        f"operator {op.index} (MEAN) may differ by 1 from the golden outputs: Chirale_TensorFLowLite 2.0.0 rounds it "
        "otherwise; AveragePooling2D instead of GlobalAveragePooling2D gives equal bytes"
        for op in graph.operators
        if op.name == "MEAN" and graph.tensors[op.inputs[0]].dtype == np.int8
    )


def check_arduino(graph: Graph) -> tuple[str, ...]:
    """Notes on a graph that the Arduino library is going to run. Raises UsageError for one that it must not run."""
    refusals = chirale_refusals(graph)
    if refusals:
        raise UsageError(f"{'; '.join(refusals)}. Take --runtime compiled, which has no such limit")
    return chirale_notes(graph)


def render(graph: Graph, arena: TflmArena, decompression: int = 0, of: str = "") -> dict[str, str | bytes]:
    """Render generated/tflm: name -> content; the same graph and arena give the same bytes.

    `decompression` bytes are set aside for decoded weights, and `of` is the hash of the model whose weights the graph
    compresses (convert/tflm_compress.py). Raises UsageError for an operator that the resolver cannot hold.
    """
    entries = registrations(graph)
    headers = {f"{_KERNELS}/micro_ops.h", "tensorflow/lite/micro/micro_mutable_op_resolver.h"}
    headers |= {entry.header for entry in entries if entry.header}
    context = {
        "banner": f"{emit.generator()}; model sha256 {of or graph.sha256}" + (", its weights compressed" if of else ""),
        "size": len(graph.data),
        "data": np.frombuffer(graph.data, np.uint8),
        "inputs": [_TYPES[graph.tensors[i].dtype.name] for i in graph.inputs],
        "outputs": [_TYPES[graph.tensors[i].dtype.name] for i in graph.outputs],
        "variables": len(set(graph.resources.values())),
        "headers": sorted(headers),
        "ops": entries,
        "decoders": decoders(graph),
        "arduino_refusals": chirale_refusals(graph),
        "arduino_notes": chirale_notes(graph),
        "bytes": arena.bytes,
        "decompression": decompression,
        "explanation": re.sub(r"\s+", " ", arena.explanation),
    }
    names = ("model_arena.h", "model_data.cc", "model_data.h", "model_ops.h")
    files: dict[str, str | bytes] = {name: emit.render(f"tflm/{name}.j2", context) for name in names}
    files[OPERATORS_FILE] = "".join(f"{entry.name}\n" for entry in entries)
    return files
