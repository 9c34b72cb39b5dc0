"""Writes the damaged and hostile model files beside it; each is named after its defect.

Run it from the project's root: python tests/invalid/models/make.py
"""

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[2]), str(HERE.parents[1] / "convert")]


def keras_zip(name: str, config: Any, version: str) -> None:
    """A .keras archive with a given configuration; fixed dates, so that the bytes do not change."""
    members = {
        "config.json": config if isinstance(config, str) else json.dumps(config),
        "metadata.json": json.dumps({"keras_version": version}),
    }
    with zipfile.ZipFile(HERE / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, text in members.items():
            archive.writestr(zipfile.ZipInfo(member, (2020, 1, 1, 0, 0, 0)), text)


def h5(name: str, **attributes: str) -> None:
    """An HDF5 file with nothing but attributes."""
    import h5py

    with h5py.File(HERE / name, "w") as file:
        for key, value in attributes.items():
            file.attrs[key] = value


def sequential(*layers: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a Sequential model of four inputs."""
    first = {
        "module": "keras.layers",
        "class_name": "InputLayer",
        "config": {"batch_shape": [None, 4], "dtype": "float32", "name": "x"},
        "registered_name": None,
    }
    return {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "m", "layers": [first, *layers]},
        "registered_name": None,
    }


def layer(class_name: str, module: str | None = "keras.layers", registered: str | None = None, **config: Any) -> Any:
    """A layer's configuration."""
    return {
        "module": module,
        "class_name": class_name,
        "config": {"name": "suspect", **config},
        "registered_name": registered,
    }


def main() -> None:
    """Write all files."""
    from models import dense, tflite

    bytecode = {"class_name": "__lambda__", "config": {"code": "4wEAAAA=", "defaults": None, "closure": None}}
    function = {"module": "keras.utils", "class_name": "function", "config": "get_file", "registered_name": "get_file"}
    keras_zip("lambda_keras3.keras", sequential(layer("Lambda", function=bytecode)), "3.15.1")
    keras_zip("lambda_keras2.keras", sequential(layer("Lambda", function=["4wEAAAA=", None, None])), "2.21.0")
    keras_zip("bytecode_in_activation.keras", sequential(layer("Dense", units=2, activation=bytecode)), "3.15.1")
    keras_zip("saved_model_inside.keras", sequential(layer("TFSMLayer", filepath="somewhere")), "3.15.1")
    keras_zip("foreign_module_keras3.keras", sequential(layer("Popen", "subprocess", "Popen")), "3.15.1")
    keras_zip("foreign_module_keras2.keras", sequential(layer("Popen", "subprocess", "Popen")), "2.21.0")
    keras_zip("function_that_downloads.keras", sequential(layer("Dense", units=2, activation=function)), "2.21.0")
    keras_zip("class_outside_layers.keras", sequential(layer("Progbar", "keras.utils", None)), "3.15.1")
    keras_zip("custom_layer.keras", sequential(layer("Mine", "my_package", "my_package>Mine")), "3.15.1")
    keras_zip("wrong_argument.keras", sequential(layer("Dense", units=2, flavour="sweet")), "3.15.1")
    keras_zip("config_not_json.keras", "{ not json", "3.15.1")
    keras_zip("config_null.keras", "null", "3.15.1")
    with zipfile.ZipFile(HERE / "no_config.keras", "w") as archive:
        archive.writestr(zipfile.ZipInfo("readme.txt", (2020, 1, 1, 0, 0, 0)), "a zip file, but no model\n")
    (HERE / "empty.keras").write_bytes(b"")
    (HERE / "not_a_zip.keras").write_bytes(b"this is no model\n")
    whole = (HERE / "custom_layer.keras").read_bytes()
    (HERE / "truncated.keras").write_bytes(whole[: len(whole) // 2])
    spoilt = bytearray(whole)
    spoilt[60] ^= 0xFF
    (HERE / "wrong_checksum.keras").write_bytes(spoilt)

    old = sequential(layer("Lambda", None, function=["4wEAAAA=", None, None], function_type="lambda"))
    h5("lambda_keras2.h5", model_config=json.dumps(old), keras_version="2.21.0")
    h5("lambda_keras3.h5", model_config=json.dumps(sequential(layer("Lambda", function=bytecode))), keras_version="3.1")
    writes = layer("TFOpLambda", None, function="io.write_file")
    h5("function_that_writes_files.h5", model_config=json.dumps(sequential(writes)), keras_version="2.15.0")
    h5("weights_only.h5", keras_version="2.21.0")
    h5("config_not_json.h5", model_config="{ not json", keras_version="2.21.0")
    without = sequential(layer("Dense", None, units=2, activation="linear"))
    without["config"]["layers"][0]["config"] = {"batch_input_shape": [None, 4], "dtype": "float32", "name": "x"}
    h5("no_weights.h5", model_config=json.dumps(without), keras_version="2.21.0")
    (HERE / "not_hdf5.h5").write_bytes(b"this is no model\n")
    (HERE / "truncated.h5").write_bytes((HERE / "weights_only.h5").read_bytes()[:100])

    (HERE / "not_tflite.tflite").write_bytes(b"this is no model\n")
    model = tflite(*dense())
    (HERE / "truncated.tflite").write_bytes(model[: len(model) // 2])
    (HERE / "wrong_suffix.onnx").write_bytes(b"onnx\n")
    saved_models()


def saved_models() -> None:
    """Folders that are no usable SavedModel."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    for name in ("folder_without_saved_model", "damaged_saved_model", "saved_model_that_writes_files"):
        (HERE / name).mkdir(exist_ok=True)
    (HERE / "folder_without_saved_model" / "notes.txt").write_text("no model here\n")
    (HERE / "damaged_saved_model" / "saved_model.pb").write_bytes(b"\x08\x01\xff\xff broken")
    model = SavedModel(saved_model_schema_version=1)
    graph = model.meta_graphs.add().graph_def
    graph.library.function.add().node_def.add(name="leak", op="WriteFile")
    (HERE / "saved_model_that_writes_files" / "saved_model.pb").write_bytes(model.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
