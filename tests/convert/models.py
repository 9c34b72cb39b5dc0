"""Builders of tiny models for tests: .tflite files straight from the schema (no TensorFlow), and Keras models.

A graph is written as data, so that a test can break exactly one thing of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

TYPES = {
    "f4": "FLOAT32",
    "i4": "INT32",
    "u1": "UINT8",
    "i8": "INT64",
    "b1": "BOOL",
    "i2": "INT16",
    "i1": "INT8",
}


@dataclass
class T:
    """A tensor: constant where `data` is given."""

    shape: Sequence[int]
    dtype: str = "i1"  # numpy's kind and item size
    scale: float | Sequence[float] | None = 0.5
    zero_point: int | Sequence[int] = 0
    axis: int = 0
    data: Any = None
    variable: bool = False
    name: str = ""


@dataclass
class Op:
    """An operator; `options` are the schema's builtin options, by type name and fields."""

    name: str
    inputs: Sequence[int]
    outputs: Sequence[int]
    options: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    custom: str | None = None


def tflite(tensors: Sequence[T], ops: Sequence[Op], inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
    """The bytes of a .tflite file."""
    return pack(model(tensors, ops, inputs, outputs))


def model(tensors: Sequence[T], ops: Sequence[Op], inputs: Sequence[int], outputs: Sequence[int]) -> Any:
    """The schema's object tree of a model, for tests that damage it before `pack`."""
    m = schema.ModelT()
    m.version = 3
    m.buffers = [schema.BufferT()]
    sub = schema.SubGraphT()
    sub.tensors = [_tensor(t, i, m.buffers) for i, t in enumerate(tensors)]
    m.operatorCodes = []
    sub.operators = [_operator(op, m.operatorCodes) for op in ops]
    sub.inputs, sub.outputs = list(inputs), list(outputs)
    m.subgraphs = [sub]
    return m


def add_subgraph(m: Any, tensors: Sequence[T], ops: Sequence[Op]) -> None:
    """A further subgraph without inputs and outputs."""
    sub = schema.SubGraphT()
    sub.tensors = [_tensor(t, i, m.buffers) for i, t in enumerate(tensors)]
    sub.operators = [_operator(op, m.operatorCodes) for op in ops]
    sub.inputs, sub.outputs = [], []
    m.subgraphs.append(sub)


def pack(m: Any) -> bytes:
    """Serialise an object tree."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(m.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def unpack(data: bytes) -> Any:
    """The object tree of a .tflite file."""
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))


def _tensor(t: T, index: int, buffers: list[Any]) -> Any:
    out = schema.TensorT()
    out.shape = list(t.shape)
    out.type = getattr(schema.TensorType, "RESOURCE" if t.dtype == "resource" else TYPES[t.dtype])
    out.name = (t.name or f"t{index}").encode()
    out.isVariable = t.variable
    buffer = schema.BufferT()
    if t.data is not None:
        buffer.data = np.frombuffer(np.asarray(t.data, t.dtype).tobytes(), np.uint8)
    buffers.append(buffer)
    out.buffer = len(buffers) - 1
    if t.scale is not None:
        q = schema.QuantizationParametersT()
        q.scale = np.atleast_1d(np.asarray(t.scale, np.float32))
        q.zeroPoint = np.broadcast_to(np.asarray(t.zero_point, np.int64), q.scale.shape)
        q.quantizedDimension = t.axis
        out.quantization = q
    return out


def _operator(op: Op, codes: list[Any]) -> Any:
    code = schema.OperatorCodeT()
    number = schema.BuiltinOperator.CUSTOM if op.custom else getattr(schema.BuiltinOperator, op.name)
    code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, 127), 1
    if op.custom:
        code.customCode = op.custom.encode()
    codes.append(code)
    out = schema.OperatorT()
    out.opcodeIndex = len(codes) - 1
    out.inputs, out.outputs = list(op.inputs), list(op.outputs)
    if op.options is not None:
        out.builtinOptionsType = getattr(schema.BuiltinOptions, op.options)
        out.builtinOptions = getattr(schema, f"{op.options}T")()
        for name, value in op.fields.items():
            setattr(out.builtinOptions, name, value)
    return out


def dense(rows: int = 3, columns: int = 4) -> tuple[list[T], list[Op], list[int], list[int]]:
    """One FULLY_CONNECTED layer of `rows` outputs over `columns` inputs: arguments for `tflite`."""
    weights = (np.arange(rows * columns).reshape(rows, columns) * 29 + 7) % 255 - 127
    tensors = [
        T((1, columns), name="x"),
        T((rows, columns), data=weights, scale=0.01, name="weights"),
        T((rows,), "i4", data=np.arange(rows) * 100, scale=0.005, name="bias"),
        T((1, rows), scale=0.25, zero_point=3, name="y"),
    ]
    return tensors, [Op("FULLY_CONNECTED", [0, 1, 2], [3], "FullyConnectedOptions")], [0], [3]


def write(path: Path, data: bytes) -> Path:
    """Write a file and return its path."""
    path.write_bytes(data)
    return path


def keras_net(keras: Any, seed: int = 1) -> Any:
    """A tiny convolutional network, 8x8x1 -> 3 classes, of tf_keras or of Keras 3."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    inputs = keras.Input((8, 8, 1), name="image")
    # Names of their own, because Keras' counters would make every network another one.
    x = layers.Conv2D(4, 3, padding="same", use_bias=False, name="stem")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU(name="relu")(x)
    x = layers.DepthwiseConv2D(3, strides=2, name="depthwise")(x)
    x = layers.Flatten(name="flat")(x)
    return keras.Model(inputs, layers.Dense(3, name="classes")(x), name="tiny")


def keras_recurrent(keras: Any, layer: str, steps: int = 5) -> Any:
    """One recurrent layer over `steps` of 4 features, then a dense layer."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((steps, 4))
    x = getattr(keras.layers, layer)(3, name="memory")(inputs)
    return keras.Model(inputs, keras.layers.Dense(2)(x), name="recurrent")
