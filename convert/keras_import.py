"""Any model file a user has, loaded without running code that the file carries.

Keras 2 files (.h5, .keras) load in tf_keras. Keras 3 files load in Keras 3 and stay Keras 3 models: the converter takes
their traced call as well as tf_keras', so a layer-by-layer translation, which would have to know every layer, is not
needed. SavedModels are loaded as such and converted by their serving signature.

A Keras file may carry Python: marshalled bytecode in Lambda layers, and class names that resolve to any importable
object. So its configuration is read first, as plain JSON, and whatever is not a class of Keras or of
tensorflow-model-optimization by name is refused; the loaders' own safe mode comes on top.
"""

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from convert import cache, graph, quantize, tf_setup
from convert.errors import PipelineError, UsageError

_SUFFIXES = (".keras", ".h5", ".hdf5", ".tflite")
_EXPORT = "export the model as a SavedModel or .tflite, where only its graph counts"
_ALLOW = "if you trust whoever made the file, pass --allow-custom-code"

# Layers that run code of the file's own or load further files.
_CODE_LAYERS = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
# Values, not classes, in Keras' own serialisation.
_VALUES = {"__keras_tensor__", "__tensor__", "__numpy__", "__tuple__", "__slice__", "__ellipsis__", "__bytes__"}
_MODELS = {"Functional", "Sequential", "Model", "SeedGenerator", "DTypePolicy", "Policy", "TensorShape"}
_PACKAGES = {"", "builtins", "keras", "tf_keras", "tensorflow_model_optimization"}
# The innermost layer in an error of Keras.
_FAILED_LAYER = re.compile(r".*<class '[\w.]*?(\w+)'> could not be deserialized.*?'name': '([^']+)'")
# tf_keras records a TensorFlow function in a Functional model by its name; these compute and do nothing else.
_TF_FUNCTIONS = {
    *("math", "nn", "linalg", "signal", "__operators__", "abs", "add", "cast", "clip_by_value", "concat", "constant"),
    *("divide", "expand_dims", "gather", "identity", "maximum", "minimum", "multiply", "one_hot", "ones_like", "pad"),
    *("pow", "reshape", "reverse", "round", "sigmoid", "slice", "split", "sqrt", "square", "squeeze", "stack"),
    *("strided_slice", "subtract", "tanh", "tile", "transpose", "truediv", "unstack", "where", "zeros_like"),
}


@dataclass(frozen=True)
class Imported:
    """A user's model.

    `keras_model` is what quantize.to_int8 converts: a tf_keras model, a Keras 3 model or a loaded SavedModel;
    `tflite` is the bytes of a .tflite. `source_sha256` identifies the file, or a folder's files.
    """

    kind: Literal["keras", "tflite"]
    keras_model: Any | None
    tflite: bytes | None
    source_sha256: str


def load(path: Path, *, allow_custom_code: bool = False) -> Imported:
    """Load a model: .keras or .h5 of Keras 2 or 3, a SavedModel folder, or a .tflite.

    Pruning and clustering wrappers of tensorflow-model-optimization are stripped. With `allow_custom_code` the code
    that a Keras file carries (Lambda layers) may run; without it such a file is refused before anything is built.

    Raises UsageError for a file that is missing, damaged, of another format or not supported, naming the layer.
    """
    if not path.exists():
        raise UsageError(f"model {path} does not exist; pass a {', '.join(_SUFFIXES)} file or a SavedModel folder")
    if path.is_dir():
        return _saved_model(path)
    if path.suffix not in _SUFFIXES:
        hint = "; pass the folder that holds it" if path.suffix == ".pb" else ""
        raise UsageError(
            f"model {path} has the suffix {path.suffix or '(none)'!r}; "
            f"allowed are {', '.join(_SUFFIXES)}, or a SavedModel folder{hint}"
        )
    data = path.read_bytes()
    if not data:
        raise UsageError(f"model {path} is empty (0 bytes); copy or save it again")
    sha256 = hashlib.sha256(data).hexdigest()
    if path.suffix == ".tflite":
        with _named(path):
            graph.load(data)
        return Imported("tflite", None, data, sha256)
    config, version = _read_keras(path, data)
    model = _build(path, config, _is_keras_3(version), allow_custom_code)
    with _named(path):
        quantize.inputs_of(model)
    return Imported("keras", model, None, sha256)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Put the file's name in front of a failure's message."""
    try:
        yield
    except PipelineError as e:
        raise type(e)(f"{path}: {e}") from e


# --- reading without building -----------------------------------------------------------------------------------------


def _read_keras(path: Path, data: bytes) -> tuple[Any, str]:
    """(configuration, Keras version) of a Keras file, by its content: older Keras wrote HDF5 under .keras too."""
    if data.startswith(b"\x89HDF"):
        return _read_h5(path)
    if path.suffix == ".keras":
        return _read_zip(path, data)
    raise UsageError(f"model {path} is not an HDF5 file, though its suffix says so; save the model again")


def _read_zip(path: Path, data: bytes) -> tuple[Any, str]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            damaged = archive.testzip()
            if damaged is not None:
                raise zipfile.BadZipFile(f"wrong checksum of {damaged}")
            missing = {"config.json", "metadata.json"} - set(archive.namelist())
            if missing:
                raise UsageError(
                    f"model {path} is a zip file without {', '.join(sorted(missing))}, so not a Keras model; "
                    "write it with model.save('NAME.keras')"
                )
            config, metadata = (json.loads(archive.read(name)) for name in ("config.json", "metadata.json"))
    except (zipfile.BadZipFile, ValueError, EOFError, OSError) as e:
        raise UsageError(f"model {path} is damaged ({e}); a .keras file is a zip archive: copy or save it again") from e
    if not isinstance(config, dict) or not isinstance(metadata, dict):
        raise UsageError(f"model {path} is damaged: its configuration is no JSON object; save it again")
    # How it was trained does not matter, and what is not loaded need not be trusted.
    config.pop("compile_config", None)
    return config, str(metadata.get("keras_version", ""))


def _read_h5(path: Path) -> tuple[Any, str]:
    import h5py

    try:
        with h5py.File(path) as file:
            config = file.attrs.get("model_config")
            version = file.attrs.get("keras_version", "")
    except OSError as e:
        raise UsageError(f"model {path} is damaged ({e}); an .h5 file is HDF5: copy or save it again") from e
    if config is None:
        raise UsageError(
            f"model {path} holds weights only, no architecture; save the whole model with model.save('NAME.keras')"
        )
    try:
        return json.loads(config), str(version.decode() if isinstance(version, bytes) else version)
    except ValueError as e:
        raise UsageError(f"model {path} is damaged: its configuration is not JSON ({e}); save it again") from e


def _is_keras_3(version: str) -> bool:
    return version.partition(".")[0].isdigit() and int(version.partition(".")[0]) >= 3


# --- inspection -------------------------------------------------------------------------------------------------------


def _inspect(path: Path, config: Any, known: set[str], is_operation: Callable[[str, str], bool]) -> None:
    """Refuse what is not a class of a trusted package; `config` is plain JSON, and nothing is imported for it."""
    for node, owner in _nodes(config, "(the model)"):
        name, module = str(node["class_name"]), node.get("module")
        registered, inner = node.get("registered_name"), node.get("config")
        if name in _CODE_LAYERS or name == "__lambda__" or _carries_bytecode(inner):
            raise UsageError(
                f"model {path}: layer {owner} ({name}) carries code of its own, which is not run. "
                f"Replace it by standard layers, or {_EXPORT}; {_ALLOW}"
            )
        if name == "TFOpLambda":
            function = str(inner.get("function", "")) if isinstance(inner, dict) else ""
            if function.removeprefix("compat.v1.").partition(".")[0] in _TF_FUNCTIONS:
                continue
            name = f"TFOpLambda of tf.{function}"
        elif str(module or "").partition(".")[0] in _PACKAGES and registered in (None, name):
            if name in known or is_operation(str(module or ""), name):
                continue
            if name == "function" and str(module or "builtins") in ("builtins", "keras.activations"):
                continue
        origin = f" of {module}" if module else ""
        raise UsageError(
            f"model {path}: layer {owner} uses {registered or name}{origin}, which is no class of Keras. "
            f"Replace it by standard layers, or {_EXPORT}; {_ALLOW}"
        )


def _nodes(value: Any, owner: str) -> Iterator[tuple[dict[str, Any], str]]:
    """All serialised objects with the name of the layer that they belong to."""
    if isinstance(value, dict):
        if "class_name" in value:
            inner = value.get("config")
            if isinstance(inner, dict) and isinstance(inner.get("name"), str):
                owner = inner["name"]
            yield value, owner
        for item in value.values():
            yield from _nodes(item, owner)
    elif isinstance(value, list):
        for item in value:
            yield from _nodes(item, owner)


def _carries_bytecode(config: Any) -> bool:
    return isinstance(config, dict) and (config.get("function_type") == "lambda" or "__lambda__" in config.values())


def _class_names(*modules: Any) -> set[str]:
    return {name for module in modules for name in vars(module) if isinstance(getattr(module, name), type)}


# --- building ---------------------------------------------------------------------------------------------------------


def _build(path: Path, config: Any, keras_3: bool, allow_custom_code: bool) -> Any:
    tf_setup.tensorflow()
    loader = _load_keras_3 if keras_3 else _load_tf_keras
    try:
        with tf_setup.silent():
            return loader(path, config, allow_custom_code)
    except UsageError:
        raise
    except Exception as e:
        library = "Keras 3" if keras_3 else "tf_keras (Keras 2)"
        raise UsageError(f"model {path} could not be loaded by {library}{_reason(e)}; {_EXPORT}") from e


def _reason(error: Exception) -> str:
    """What Keras says, with the layer: it wraps errors in errors and puts whole configurations between."""
    text = " ".join(str(error).split())
    layer = _FAILED_LAYER.search(text)
    reason = text.rpartition("Exception encountered: ")[2] or type(error).__name__
    return f"{f' at layer {layer.group(2)} ({layer.group(1)})' if layer else ''}: {reason[:300]}"


def _load_keras_3(path: Path, config: Any, allow_custom_code: bool) -> Any:
    import keras

    if keras.backend.backend() != "tensorflow":
        raise UsageError(
            f"Keras 3 runs on the backend {keras.backend.backend()!r}; unset KERAS_BACKEND (tensorflow is expected)"
        )

    def is_operation(module: str, name: str) -> bool:
        # Nodes such as keras.ops.relu are stored under the module that defines them.
        if not module.startswith("keras.src.ops."):
            return False
        found = getattr(getattr(keras.src.ops, module.removeprefix("keras.src.ops."), None), name, None)
        return isinstance(found, type) and issubclass(found, keras.Operation)

    if not allow_custom_code:
        namespaces = (keras.layers, keras.initializers, keras.regularizers, keras.constraints, keras.dtype_policies)
        _inspect(path, config, _class_names(*namespaces) | _MODELS | _VALUES, is_operation)
    return keras.models.load_model(path, compile=False, safe_mode=not allow_custom_code)


def _load_tf_keras(path: Path, config: Any, allow_custom_code: bool) -> Any:
    import tf_keras

    scope = _optimization_scope(config)
    if not allow_custom_code:
        namespaces = (tf_keras.layers, tf_keras.initializers, tf_keras.regularizers, tf_keras.constraints)
        known = _class_names(*namespaces) | set(scope) | _MODELS | _VALUES | {"SlicingOpLambda"}
        _inspect(path, config, known, lambda *_: False)
    with tf_keras.saving.custom_object_scope(scope):
        model = tf_keras.models.load_model(path, compile=False, safe_mode=not allow_custom_code)
    kinds = {type(layer).__name__ for layer in model._flatten_layers()}
    if kinds & {"PruneLowMagnitude", "ClusterWeights"}:
        import tensorflow_model_optimization as tfmot

        model = tfmot.clustering.keras.strip_clustering(tfmot.sparsity.keras.strip_pruning(model))
    return model


def _optimization_scope(config: Any) -> dict[str, Any]:
    """tensorflow-model-optimization's classes by name, where the model uses any; its import takes seconds."""
    names = {str(node["class_name"]) for node, _ in _nodes(config, "")}
    if not any(name.startswith(("Quantize", "PruneLowMagnitude", "ClusterWeights")) for name in names):
        return {}
    import tensorflow_model_optimization as tfmot

    makers = (
        tfmot.quantization.keras.quantize_scope,
        tfmot.sparsity.keras.prune_scope,
        tfmot.clustering.keras.cluster_scope,
    )
    schedules = {name: getattr(tfmot.sparsity.keras, name) for name in ("ConstantSparsity", "PolynomialDecay")}
    wrappers = {name: kind for make in makers for objects in make().custom_objects for name, kind in objects.items()}
    return schedules | wrappers


def _saved_model(folder: Path) -> Imported:
    file = folder / "saved_model.pb"
    if not file.is_file():
        raise UsageError(
            f"folder {folder} is no SavedModel (it has no saved_model.pb); "
            "write one with model.export(FOLDER) or tf.saved_model.save(model, FOLDER)"
        )
    tf = tf_setup.tensorflow()
    try:
        with tf_setup.silent():
            _check_saved_graph(folder, file.read_bytes())
            model = tf.saved_model.load(str(folder))
    except UsageError:
        raise
    except Exception as e:
        text = str(e).strip()
        raise UsageError(
            f"SavedModel {folder} is damaged or needs operators that TensorFlow does not have "
            f"({type(e).__name__}: {text.splitlines()[0][:300] if text else ''}); export it again"
        ) from e
    with _named(folder):
        quantize.inputs_of(model)
    files = [p for p in folder.rglob("*") if p.is_file()]
    return Imported("keras", model, None, cache.digest_files(files, folder.resolve()))


def _check_saved_graph(folder: Path, data: bytes) -> None:
    """Look for operators that reach out of the model before anything of it runs (loading runs its initialisers)."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    for meta in SavedModel.FromString(data).meta_graphs:
        graph_def = meta.graph_def
        for node in (*graph_def.node, *(n for f in graph_def.library.function for n in f.node_def)):
            if node.op in quantize.UNSAFE_OPS:
                raise UsageError(
                    f"SavedModel {folder} contains {node.op} ({node.name}), which reads or writes files or calls "
                    "Python; remove it from the model and export again"
                )
