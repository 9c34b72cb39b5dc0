"""Every kind of model file loads; damaged and hostile ones are refused before anything of them runs."""

import os
from pathlib import Path

import numpy as np
import pytest
from models import dense, keras_net, tflite, write

from convert import keras_import, tf_setup
from convert.errors import UsageError

INVALID = Path(__file__).parents[1] / "invalid" / "models"
IMAGES = np.random.default_rng(0).uniform(-1, 1, (4, 8, 8, 1)).astype(np.float32)


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """One small network in every format: {name: (path, what it answers to IMAGES)}."""
    tf_setup.tensorflow()
    import keras
    import tf_keras

    folder = tmp_path_factory.mktemp("saved")
    old, new = keras_net(tf_keras), keras_net(keras)
    with tf_setup.silent():
        old.save(folder / "keras2.h5")
        old.save(folder / "keras2.keras")
        old.save(folder / "keras2_saved_model", save_format="tf")
        new.save(folder / "keras3.h5")
        new.save(folder / "keras3.keras")
        new.export(folder / "keras3_saved_model", verbose=False)
    old_answer, new_answer = old(IMAGES).numpy(), np.asarray(new(IMAGES))
    # Older Keras wrote HDF5 whatever the suffix was.
    (folder / "hdf5_named.keras").write_bytes((folder / "keras2.h5").read_bytes())
    return {p.name: (p, new_answer if p.name.startswith("keras3") else old_answer) for p in folder.iterdir()}


FORMATS = [
    *("keras2.h5", "keras2.keras", "keras2_saved_model", "keras3.h5", "keras3.keras", "keras3_saved_model"),
    "hdf5_named.keras",
]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_loads_and_answers_the_same(saved, name):
    path, expected = saved[name]
    imported = keras_import.load(path)
    assert imported.kind == "keras" and imported.tflite is None and len(imported.source_sha256) == 64
    model = imported.keras_model
    if path.is_dir():
        signature = model.signatures["serving_default"]
        (name,) = signature.structured_input_signature[1]
        (answer,) = signature(**{name: tf_setup.tensorflow().constant(IMAGES)}).values()
    else:
        answer = model(IMAGES)
    np.testing.assert_allclose(np.asarray(answer), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["keras2.h5", "keras3_saved_model"])
def test_the_hash_is_the_files(saved, name):
    path, _ = saved[name]
    assert keras_import.load(path).source_sha256 == keras_import.load(path).source_sha256
    assert keras_import.load(path).source_sha256 != keras_import.load(saved["keras3.keras"][0]).source_sha256


def test_tflite_is_taken_as_it_is(tmp_path):
    data = tflite(*dense())
    imported = keras_import.load(write(tmp_path / "model.tflite", data))
    assert imported.kind == "tflite" and imported.tflite == data and imported.keras_model is None


def test_operations_of_keras_3_load(tmp_path):
    tf_setup.tensorflow()
    import keras

    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.ops.relu(keras.layers.Dense(2)(inputs)) + 1.0)
    model.save(tmp_path / "ops.keras")
    assert keras_import.load(tmp_path / "ops.keras").keras_model is not None


def test_functions_of_tensorflow_in_a_keras_2_model_load(tmp_path):
    tf = tf_setup.tensorflow()
    import tf_keras

    inputs = tf_keras.Input((4,))
    model = tf_keras.Model(inputs, tf.nn.relu(tf.math.add(tf_keras.layers.Dense(2)(inputs)[:, :1], 1.0)))
    with tf_setup.silent():
        model.save(tmp_path / "functions.h5")
    assert keras_import.load(tmp_path / "functions.h5").keras_model is not None


DEFECTS = {
    "empty.keras": "is empty (0 bytes)",
    "not_a_zip.keras": "File is not a zip file",
    "truncated.keras": "is damaged",
    "wrong_checksum.keras": "wrong checksum of config.json",
    "no_config.keras": "without config.json, metadata.json",
    "config_not_json.keras": "is damaged",
    "config_null.keras": "no JSON object",
    "not_hdf5.h5": "is not an HDF5 file",
    "truncated.h5": "truncated file",
    "weights_only.h5": "holds weights only",
    "config_not_json.h5": "configuration is not JSON",
    "no_weights.h5": "could not be loaded by tf_keras",
    "not_tflite.tflite": "identifier TFL3",
    "truncated.tflite": "damaged TFLite model",
    "wrong_suffix.onnx": "allowed are .keras, .h5, .hdf5, .tflite",
    "folder_without_saved_model": "it has no saved_model.pb",
    "damaged_saved_model": "is damaged",
    "saved_model_that_writes_files": "contains WriteFile (leak)",
    "wrong_argument.keras": "flavour",
    "lambda_keras2.keras": "layer suspect (Lambda) carries code",
    "lambda_keras2.h5": "layer suspect (Lambda) carries code",
    "lambda_keras3.keras": "layer suspect (Lambda) carries code",
    "lambda_keras3.h5": "layer suspect (Lambda) carries code",
    "bytecode_in_activation.keras": "layer suspect (__lambda__) carries code",
    "saved_model_inside.keras": "layer suspect (TFSMLayer) carries code",
    "foreign_module_keras2.keras": "layer suspect uses Popen of subprocess",
    "foreign_module_keras3.keras": "layer suspect uses Popen of subprocess",
    "function_that_downloads.keras": "layer suspect uses get_file of keras.utils",
    "function_that_writes_files.h5": "layer suspect uses TFOpLambda of tf.io.write_file",
    "class_outside_layers.keras": "layer suspect uses Progbar of keras.utils",
    "custom_layer.keras": "layer suspect uses my_package>Mine",
}


def test_every_fixture_is_tested():
    assert {p.name for p in INVALID.iterdir()} - {"make.py", "__pycache__"} == set(DEFECTS)


@pytest.mark.parametrize("name", DEFECTS)
def test_defect(name):
    with pytest.raises(UsageError) as e:
        keras_import.load(INVALID / name)
    assert DEFECTS[name] in str(e.value) and name in str(e.value)


def test_missing_file(tmp_path):
    with pytest.raises(UsageError, match=r"missing\.keras does not exist; pass a \.keras"):
        keras_import.load(tmp_path / "missing.keras")


def test_file_of_a_saved_model_instead_of_its_folder(saved):
    with pytest.raises(UsageError, match="pass the folder that holds it"):
        keras_import.load(saved["keras2_saved_model"][0] / "saved_model.pb")


def test_free_length_names_the_input(tmp_path):
    tf_setup.tensorflow()
    import keras

    inputs = keras.Input((None, 4), name="samples")
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling1D()(inputs))
    model.save(tmp_path / "free.keras")
    with pytest.raises(UsageError, match=r"free\.keras: input samples has shape \(None, None, 4\)"):
        keras_import.load(tmp_path / "free.keras")


MARKER = "TINYML_TEST_CODE_OF_A_MODEL_RAN"


@pytest.mark.parametrize(("library", "suffix"), [("keras", "keras"), ("tf_keras", "h5"), ("tf_keras", "keras")])
def test_custom_code_runs_only_when_allowed(tmp_path, monkeypatch, library, suffix):
    tf_setup.tensorflow()
    keras = __import__(library)
    code = keras.layers.Lambda(
        lambda x: (__import__("os").environ.__setitem__("TINYML_TEST_CODE_OF_A_MODEL_RAN", "1"), x * 2.0)[1],
        output_shape=(4,),
        name="twice",
    )
    path = tmp_path / f"code.{suffix}"
    with tf_setup.silent():
        keras.Sequential([keras.Input((4,)), code]).save(path)
    monkeypatch.delenv(MARKER, raising=False)
    with pytest.raises(UsageError, match="layer twice"):
        keras_import.load(path)
    assert MARKER not in os.environ
    model = keras_import.load(path, allow_custom_code=True).keras_model
    np.testing.assert_allclose(np.asarray(model(np.ones((1, 4), np.float32))), 2.0)
    assert os.environ.pop(MARKER) == "1"


def test_pruned_and_quantization_aware_models_load(tmp_path):
    tf_setup.tensorflow()
    import tensorflow_model_optimization as tfmot
    import tf_keras

    net = keras_net(tf_keras)
    with tf_setup.silent():
        pruned = tfmot.sparsity.keras.prune_low_magnitude(net)
        pruned.save(tmp_path / "pruned.h5")
        aware = tfmot.quantization.keras.quantize_model(net)
        aware.save(tmp_path / "aware.h5")
    stripped = keras_import.load(tmp_path / "pruned.h5").keras_model
    assert not any("Prune" in type(layer).__name__ for layer in stripped.layers)
    np.testing.assert_allclose(stripped(IMAGES), net(IMAGES), atol=1e-6)
    loaded = keras_import.load(tmp_path / "aware.h5").keras_model
    assert any(type(layer).__name__ == "QuantizeLayer" for layer in loaded.layers)
