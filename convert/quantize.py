"""Conversion with TensorFlow's converter: full-integer int8 and the other formats, and the data that calibrates them.

Scheme: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference"
(2018), with per-channel weights, as in the TensorFlow Lite 8-bit quantisation specification.

Every model takes one way: its call is traced to a function of a fixed batch of 1 and the converter gets that function
with the variables that it reads. This serves tf_keras, Keras 3 and SavedModels alike; recurrent layers need the fixed
batch, and only with it the converter fuses an LSTM into one operator. Variables that a SavedModel assigns (streaming
models) become int8 too.
"""

import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

from convert import graph, tf_setup
from convert.errors import UsageError
from convert.scheme import Format

Array = npt.NDArray[Any]

_RANDOM_SAMPLES = 100
_INTEGERS = ("int8", "int16x8")  # formats that leave nothing in floating point
# A recurrent layer that the converter cannot fuse is laid out step by step; more steps make no sensible firmware.
_MAX_UNROLLED_STEPS = 64
_ATTEMPTS = 12
# What TFLite Micro executes in int8, or on indices.
_INT8_OPS = {
    *("ABS", "ADD", "ADD_N", "ARG_MAX", "ARG_MIN", "AVERAGE_POOL_2D"),
    *("BATCH_MATMUL", "BATCH_TO_SPACE_ND", "BROADCAST_TO", "CAST", "CONCATENATION", "CONV_2D"),
    *("DEPTHWISE_CONV_2D", "DEPTH_TO_SPACE", "DEQUANTIZE", "DIV", "ELU", "EQUAL"),
    *("EXPAND_DIMS", "FILL", "FULLY_CONNECTED", "GATHER", "GATHER_ND", "GREATER"),
    *("GREATER_EQUAL", "HARD_SWISH", "L2_NORMALIZATION", "LEAKY_RELU", "LESS", "LESS_EQUAL"),
    *("LOGICAL_AND", "LOGICAL_NOT", "LOGICAL_OR", "LOGISTIC", "LOG_SOFTMAX", "MAXIMUM"),
    *("MAX_POOL_2D", "MEAN", "MINIMUM", "MIRROR_PAD", "MUL", "NOT_EQUAL"),
    *("PACK", "PAD", "PADV2", "PRELU", "QUANTIZE", "REDUCE_MAX"),
    *("REDUCE_MIN", "RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "RESHAPE"),
    *("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "REVERSE_V2", "RSQRT", "SELECT_V2", "SHAPE"),
    *("SLICE", "SOFTMAX", "SPACE_TO_BATCH_ND", "SPACE_TO_DEPTH", "SPLIT", "SPLIT_V"),
    *("SQUARED_DIFFERENCE", "SQUEEZE", "STRIDED_SLICE", "SUB", "SUM", "SVDF"),
    *("TANH", "TRANSPOSE", "TRANSPOSE_CONV", "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNPACK", "ZEROS_LIKE"),
    *("ASSIGN_VARIABLE", "CALL_ONCE", "READ_VARIABLE", "VAR_HANDLE"),
}
_CONTROL_FLOW = {"While", "StatelessWhile", "If", "StatelessIf", "Case", "StatelessCase"}
# Reading or writing files, or calling Python, has no place in a model and could do anything on this machine.
UNSAFE_OPS = {"ReadFile", "WriteFile", "MatchingFiles", "PyFunc", "PyFuncStateless", "EagerPyFunc"}
_FAILED_OP = re.compile(r"\btf\.[A-Z]\w*")


@dataclass(frozen=True)
class InputSpec:
    """An input of a model; `shape` is one sample's."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def inputs_of(model: Any) -> list[InputSpec]:
    """The inputs of a tf_keras model, a Keras 3 model or a loaded SavedModel, in the converted model's order.

    Raises UsageError for a model without fixed inputs, and for a dimension other than the batch that is not fixed.
    """
    specs = [_input(name, shape, dtype) for name, shape, dtype in _declared_inputs(model)]
    if not specs:
        raise UsageError("the model has no inputs; give it an Input layer with a fixed shape")
    return specs


def representative_from(path: Path | None, model: Any, seed: int = 0) -> tuple[list[Array], str | None]:
    """The calibration data: one array (n, *shape) an input, and a note for the report where it is not to be trusted.

    `path` is a .npy file (models with one input) or a .npz file (one array an input, named after it or in order).
    Without a file the data is random: the range is what a Rescaling or Normalization layer at the input implies,
    the vocabulary of an Embedding, or else [-1, 1]; the note says so. A model from quantisation-aware training
    carries its ranges, so that nothing is lost and the note is None.

    Raises UsageError for a file that is missing or no array file, a wrong shape or type, NaN and infinity.
    """
    specs = inputs_of(model)
    if path is not None:
        return [_checked(path, array, spec) for array, spec in zip(_read(path, specs), specs, strict=True)], None
    rng = np.random.default_rng(seed)
    low, high = _assumed_range(model)
    arrays = [_random(rng, spec, low, high) for spec in specs]
    if _is_quantization_aware(model):
        return arrays, None
    return arrays, (
        f"ranges were calibrated on {_RANDOM_SAMPLES} random samples in [{low:g}, {high:g}], because no representative "
        "data was given: the firmware is exact, but the int8 model's accuracy is not to be trusted; "
        "pass --representative FILE.npy or FILE.npz with real inputs"
    )


def to_int8(model: Any, representative: Array | Sequence[Array]) -> bytes:
    """Convert a model to a full-integer int8 .tflite: int8 inputs and outputs, int8 weights per channel, batch 1.

    `model` is a tf_keras model (also from quantisation-aware training), a Keras 3 model or a loaded SavedModel;
    `representative` is float32 (n, *input_shape), or a sequence of such arrays for several inputs. Integer inputs
    (indices) keep their type. The same model and data give the same bytes.

    Raises UsageError, naming the layer or operator, for what cannot be converted to integers only.
    """
    return converted(model, representative, "int8")


def converted(model: Any, representative: Array | Sequence[Array], form: Format) -> bytes:
    """As `to_int8`, in any format; integer formats have inputs and outputs of their activations' type, others float32.

    "dynamic" is int8 weights under float activations, where a tensor has 1,024 weights or more (the converter's bound).
    """
    tf = tf_setup.tensorflow()
    specs = inputs_of(model)
    arrays = [representative] if isinstance(representative, np.ndarray) else list(representative)
    if len(arrays) != len(specs):
        raise UsageError(f"representative data for {len(arrays)} inputs was given; the model has {len(specs)}")
    arrays = [_checked(None, array, spec) for array, spec in zip(arrays, specs, strict=True)]
    with _unrolled(model) as unrolled:
        function, module = _trace(tf, model, specs)
        _check_operations(function)
        # The first step of an unrolled layer computes with constants. Whether the converter folds them is up to a
        # race among its threads, and what it does not fold stays in floating point.
        for _ in range(_ATTEMPTS if unrolled else 1):
            data = _convert(tf, function, module, arrays, form)
            left = _left_in_float(graph.load(data)) if form in _INTEGERS else None
            if left is None:
                return data
    raise UsageError(
        f"operator {left} stays in floating point after quantisation; "
        "replace that layer by one with an int8 TFLite operator"
    )


# --- inputs -----------------------------------------------------------------------------------------------------------


def _signature(model: Any) -> Any:
    """The serving signature of a loaded SavedModel."""
    signatures = dict(model.signatures)
    if "serving_default" not in signatures:
        raise UsageError(
            f"the SavedModel has no signature serving_default but {sorted(signatures) or 'none'}; "
            "export it with model.export(folder) or tf.saved_model.save(model, folder, signatures=...)"
        )
    return signatures["serving_default"]


def _declared_inputs(model: Any) -> list[tuple[str, Any, Any]]:
    """(name, shape with batch, dtype) of each input."""
    if hasattr(model, "signatures"):
        named = _signature(model).structured_input_signature[1]
        return [(name, spec.shape, spec.dtype) for name, spec in named.items()]
    tf = tf_setup.tensorflow()
    return [(t.name, t.shape, t.dtype) for t in tf.nest.flatten(_input_structure(model))]


def _input_structure(model: Any) -> Any:
    """A Keras model's symbolic inputs as its call takes them: a tensor, a list or a dictionary."""
    try:
        return model.input
    except (AttributeError, ValueError):
        # A Sequential model of Keras 3 has `inputs` only.
        inputs = getattr(model, "inputs", None)
        if inputs:
            return inputs[0] if len(inputs) == 1 else inputs
    raise UsageError(
        f"model {getattr(model, 'name', model)} has no fixed inputs; "
        "build it as a Functional or Sequential model with an Input layer, or export it as a SavedModel"
    )


def _input(name: str, shape: Any, dtype: Any) -> InputSpec:
    sizes = None if getattr(shape, "rank", 0) is None else tuple(shape)
    if not sizes or any(size is None for size in sizes[1:]) or sizes[0] not in (None, 1):
        raise UsageError(
            f"input {name} has shape {sizes or 'unknown'}; allowed is a batch of None or 1, then fixed sizes. "
            "Build the model with Input(shape=...) of fixed sizes"
        )
    return InputSpec(name, tuple(int(size) for size in sizes[1:]), np.dtype(getattr(dtype, "as_numpy_dtype", dtype)))


# --- representative data ----------------------------------------------------------------------------------------------


def _read(path: Path, specs: list[InputSpec]) -> list[Array]:
    expected = "; ".join(f"{s.name}: (n, {', '.join(map(str, s.shape))})" for s in specs)
    if not path.is_file():
        raise UsageError(f"representative data {path} does not exist; pass a .npy or .npz file with {expected}")
    try:
        loaded = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as e:
        raise UsageError(
            f"representative data {path} is not a .npy or .npz file of numbers ({e}); "
            f"write it with numpy.save or numpy.savez, holding {expected}"
        ) from e
    if isinstance(loaded, np.ndarray):
        arrays = {"": loaded}
    else:
        with loaded:
            arrays = {name: loaded[name] for name in loaded.files}
    if len(arrays) != len(specs):
        raise UsageError(f"representative data {path} holds {len(arrays)} arrays; the model needs {expected}")
    if all(s.name in arrays for s in specs):
        return [arrays[s.name] for s in specs]
    return list(arrays.values())


def _checked(path: Path | None, array: Array, spec: InputSpec) -> Array:
    """Check one input's data and cast it to the input's type."""
    where = f"representative data{f' {path}' if path else ''} for input {spec.name}"
    if array.dtype.kind not in "fiub":
        raise UsageError(f"{where} has type {array.dtype}; allowed are floating-point and integer numbers")
    if array.ndim != len(spec.shape) + 1 or array.shape[1:] != spec.shape or not len(array):
        raise UsageError(f"{where} has shape {array.shape}; expected is {('n >= 1', *spec.shape)}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int(np.argwhere(~np.isfinite(array))[0][0])
        raise UsageError(f"{where} has NaN or infinity, first in sample {bad}; remove or repair such samples")
    return array.astype(spec.dtype)


def _random(rng: np.random.Generator, spec: InputSpec, low: float, high: float) -> Array:
    shape = (_RANDOM_SAMPLES, *spec.shape)
    if spec.dtype.kind in "iu":
        return rng.integers(0, max(1, int(high)), shape).astype(spec.dtype)
    return rng.uniform(low, high, shape).astype(spec.dtype)


def _assumed_range(model: Any) -> tuple[float, float]:
    """The input's range as the model's first layers imply it."""
    for layer in _layers(model):
        kind = type(layer).__name__
        if kind == "Rescaling":
            return 0.0, 255.0
        if kind == "Embedding":
            return 0.0, float(layer.input_dim)
        if kind == "Normalization" and getattr(layer, "mean", None) is not None:
            mean, deviation = np.asarray(layer.mean), np.sqrt(np.asarray(layer.variance))
            return float((mean - 3 * deviation).min()), float((mean + 3 * deviation).max())
        if kind != "InputLayer":
            break
    return -1.0, 1.0


def _is_quantization_aware(model: Any) -> bool:
    return any(type(layer).__name__ == "QuantizeLayer" for layer in _layers(model))


def _layers(model: Any) -> list[Any]:
    """All layers of a Keras model, nested ones included; none for a SavedModel."""
    flatten = getattr(model, "_flatten_layers", None)
    return [] if flatten is None else [layer for layer in flatten() if layer is not model]


# --- conversion -------------------------------------------------------------------------------------------------------


@contextmanager
def _unrolled(model: Any) -> Iterator[bool]:
    """Lay recurrent layers out step by step, except tf_keras' LSTM, which the converter fuses; yields if any was.

    The converter crashes when it quantises the loops of all others.
    """
    changed: list[tuple[Any, str, Any]] = []
    layers = _layers(model)
    # A Bidirectional's two layers see its input.
    wrappers = {
        id(getattr(w, side)): w for w in layers for side in ("forward_layer", "backward_layer") if hasattr(w, side)
    }
    try:
        for layer in layers:
            if not hasattr(layer, "unroll") or hasattr(layer, "forward_layer") or _fuses(layer):
                continue
            steps = _steps(wrappers.get(id(layer), layer))
            if steps is None or steps > _MAX_UNROLLED_STEPS:
                raise UsageError(
                    f"layer {layer.name} ({type(layer).__name__}) runs over {steps or 'an unknown number of'} steps; "
                    f"such a layer can be converted up to {_MAX_UNROLLED_STEPS} steps. "
                    "Use an LSTM of tf_keras (one operator), convolutions, or shorter windows"
                )
            # The second attribute chooses tf_keras' fused GRU, which ignores `unroll`.
            for name, value in (("unroll", True), ("_could_use_gpu_kernel", False)):
                if hasattr(layer, name):
                    changed.append((layer, name, getattr(layer, name)))
                    setattr(layer, name, value)
        yield bool(changed)
    finally:
        for layer, name, value in changed:
            setattr(layer, name, value)


def _fuses(layer: Any) -> bool:
    return type(layer).__name__ == "LSTM" and type(layer).__module__.startswith("tf_keras")


def _steps(layer: Any) -> int | None:
    try:
        return int(layer.input.shape[1])
    except (AttributeError, IndexError, TypeError, ValueError):
        return None


def _trace(tf: Any, model: Any, specs: list[InputSpec]) -> tuple[Any, Any]:
    """A concrete function over batch 1, and a module that owns the variables it reads."""
    module = tf.Module()
    if hasattr(model, "signatures"):
        module.model = model
        signature = _signature(model)

        def call(*tensors: Any) -> Any:
            return signature(**dict(zip((s.name for s in specs), tensors, strict=True)))
    else:
        # A Keras 3 variable holds TensorFlow's in `value`; tf_keras has TensorFlow's own.
        module.model_variables = [v if isinstance(v, tf.Variable) else v.value for v in model.variables]
        structure = _input_structure(model)

        def call(*tensors: Any) -> Any:
            return model(tf.nest.pack_sequence_as(structure, tensors), training=False)

    def run(*tensors: Any) -> Any:
        return {f"output_{i:03d}": t for i, t in enumerate(tf.nest.flatten(call(*tensors)))}

    # Numbered names keep the order: the converter sorts inputs by name.
    signature_of = [tf.TensorSpec((1, *s.shape), s.dtype, name=f"input_{i:03d}") for i, s in enumerate(specs)]
    with tf_setup.silent():
        return tf.function(run).get_concrete_function(*signature_of), module


def _reachable(graph_def: Any) -> Iterable[Any]:
    """All nodes that run, in called functions too, but not the insides of an LSTM that will be fused."""
    library = {f.signature.name: f for f in graph_def.library.function}
    pending, seen = [graph_def.node], set()
    while pending:
        for node in pending.pop():
            yield node
            for attribute in node.attr.values():
                for name in (attribute.func.name, *(f.name for f in attribute.list.func)):
                    if name not in library or name in seen:
                        continue
                    seen.add(name)
                    if not library[name].attr["api_implements"].s.startswith(b"lstm_"):
                        pending.append(library[name].node_def)


def _check_operations(function: Any) -> None:
    for node in _reachable(function.graph.as_graph_def()):
        if node.op in UNSAFE_OPS:
            raise UsageError(
                f"the model contains {node.op} ({node.name}), which reads or writes files or calls Python; "
                "remove it: firmware has neither"
            )
        if node.op in _CONTROL_FLOW:
            raise UsageError(
                f"the model contains control flow ({node.op} in {node.name}), which cannot be converted to integers; "
                "unroll the loop (unroll=True in a recurrent layer of fixed length), or use an LSTM of tf_keras"
            )


def _convert(tf: Any, function: Any, module: Any, arrays: list[Array], form: Format) -> bytes:
    def samples() -> Iterator[list[Array]]:
        for sample in zip(*arrays, strict=False):
            yield [value[None] for value in sample]

    def converter() -> Any:
        return tf.lite.TFLiteConverter.from_concrete_functions([function], module)

    quantizing = converter()
    if form != "float32":
        quantizing.optimizations = [tf.lite.Optimize.DEFAULT]
    # Per tensor: smaller, and Arduino's TFLite Micro (early 2023) computes per-channel dense layers wrongly.
    quantizing._experimental_disable_per_channel_quantization_for_dense_layers = True
    if form == "float16":
        quantizing.target_spec.supported_types = [tf.float16]
    if form in _INTEGERS:
        sets = tf.lite.OpsSet
        wide = sets.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        quantizing.representative_dataset = samples
        quantizing.target_spec.supported_ops = [wide if form == "int16x8" else sets.TFLITE_BUILTINS_INT8]
        kind = tf.int16 if form == "int16x8" else tf.int8
        quantizing.inference_input_type = quantizing.inference_output_type = kind
    try:
        with tf_setup.silent():
            if form in _INTEGERS and "VAR_HANDLE" in _check_quantizable(bytes(converter().convert())):
                # Without it, what a streaming model keeps stays in floating point.
                quantizing._experimental_variable_quantization = True
            return _canonical(bytes(quantizing.convert()))
    except UsageError:
        raise
    except Exception as e:
        text = str(e).strip()
        found = sorted(set(_FAILED_OP.findall(text)))
        raise UsageError(
            f"TensorFlow's converter refuses the model{' because of ' + ', '.join(found[:5]) if found else ''} "
            f"({text.splitlines()[0][:300] if text else type(e).__name__}). "
            "Replace that layer by one with an int8 TFLite operator"
        ) from e


def _check_quantizable(data: bytes) -> set[str]:
    """Look at the floating-point conversion, since the quantiser crashes on operators that it does not know.

    Returns the operators' names.
    """
    kinds = set()
    file = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    names = {number: name for name, number in vars(schema.BuiltinOperator).items()}
    for sub in file.subgraphs:
        for index, op in enumerate(sub.operators or ()):
            code = file.operatorCodes[op.opcodeIndex]
            kind = names.get(max(code.builtinCode, code.deprecatedBuiltinCode), "unknown")
            kinds.add(kind)
            if kind not in _INT8_OPS:
                custom = f" {code.customCode.decode()}" if code.customCode else ""
                tensor = sub.tensors[op.outputs[0]].name.decode().split(";")[0] if len(op.outputs) else "no output"
                raise UsageError(
                    f"operator {index} ({kind}{custom}, {tensor}) has no int8 form in TensorFlow Lite Micro and would "
                    f"stay in floating point; replace that layer. Allowed are {', '.join(sorted(_INT8_OPS))}"
                )
    return kinds


def _canonical(data: bytes) -> bytes:
    """The converter's file with what it leaves to chance put right; sizes and places stay.

    It lists outputs in an order of its own (the signature has the model's), and it leaves buffers behind that no
    tensor uses and whose content differs from run to run.
    """
    patched = bytearray(data)
    file = schema.Model.GetRootAs(patched, 0)
    subgraphs = [file.Subgraphs(i) for i in range(file.SubgraphsLength())]
    signature = file.SignatureDefs(0)
    entries = [signature.Outputs(i) for i in range(signature.OutputsLength())]
    # The views below write through to `patched`.
    subgraphs[0].OutputsAsNumpy()[:] = [e.TensorIndex() for e in sorted(entries, key=lambda e: e.Name())]
    used = {file.Metadata(i).Buffer() for i in range(file.MetadataLength())}
    used |= {sub.Tensors(i).Buffer() for sub in subgraphs for i in range(sub.TensorsLength())}
    for index in set(range(file.BuffersLength())) - used:
        if file.Buffers(index).DataLength():
            file.Buffers(index).DataAsNumpy()[:] = 0
    return bytes(patched)


def _left_in_float(model: graph.Graph) -> str | None:
    """The first operator that works on floating-point numbers, by index and name; conversions come last."""
    found = [
        op
        for op in model.operators
        if any(i >= 0 and model.tensors[i].dtype.kind == "f" for i in (*op.inputs, *op.outputs))
    ]
    if not found:
        return None
    op = min(found, key=lambda op: (op.name in ("QUANTIZE", "DEQUANTIZE"), op.index))
    tensor = model.tensors[(*op.outputs, *op.inputs)[0]]
    return f"{op.index} ({op.name}, {tensor.name.split(';')[0]})"
