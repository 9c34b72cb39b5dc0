"""int8 conversion: accuracy against the float model, order, determinism, refusals, representative data."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from models import keras_net, keras_recurrent

from convert import compiled, golden, graph, quantize, tf_setup, vectors
from convert.compiled import host
from convert.errors import UsageError
from convert.paths import ROOT

IMAGES = np.random.default_rng(0).uniform(-1, 1, (50, 8, 8, 1)).astype(np.float32)
WINDOWS = np.random.default_rng(0).uniform(-1, 1, (50, 5, 4)).astype(np.float32)


@pytest.fixture(scope="session")
def libraries():
    tf_setup.tensorflow()
    import keras
    import tf_keras

    return {"keras": keras, "tf_keras": tf_keras}


@pytest.fixture(scope="session")
def tf_keras(libraries):
    return libraries["tf_keras"]


def answers(data, samples):
    """The int8 model's answers in TFLite Micro, as real numbers; inputs of one tensor."""
    view = graph.load(data)
    first, last = view.tensors[view.inputs[0]], view.tensors[view.outputs[0]]
    q = np.round(samples / first.quantization.scale) + first.quantization.zero_point
    vectors = np.clip(q, -128, 127).astype(np.int8).reshape(len(samples), -1).view(np.uint8)
    outputs = golden.run(view, vectors, apart=True).outputs.view(np.int8).astype(np.float32)
    return (outputs - last.quantization.zero_point) * last.quantization.scale


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_int8_is_close_to_float(libraries, library):
    model = keras_net(libraries[library])
    data = quantize.to_int8(model, IMAGES)
    view = graph.load(data)
    assert all(view.tensors[i].dtype == np.int8 for i in (*view.inputs, *view.outputs))
    assert view.tensors[view.inputs[0]].shape == (1, 8, 8, 1)
    assert {t.dtype for t in view.weights} == {np.dtype(np.int8), np.dtype(np.int32)}
    (conv,) = [op for op in view.operators if op.name == "CONV_2D"]
    assert view.tensors[conv.inputs[1]].quantization.axis == 0  # per channel
    (dense,) = [op for op in view.operators if op.name == "FULLY_CONNECTED"]
    assert view.tensors[dense.inputs[1]].quantization.axis is None  # per tensor
    expected = np.asarray(model(IMAGES))
    scale = view.tensors[view.outputs[0]].quantization.scale
    error = np.abs(answers(data, IMAGES) - expected)
    assert error.max() < 8 * scale and error.mean() < 2 * scale


def test_saved_model_converts(libraries, tmp_path):
    model = keras_net(libraries["keras"])
    model.export(tmp_path / "saved", verbose=False)
    tf = tf_setup.tensorflow()
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    np.testing.assert_array_equal(
        answers(quantize.to_int8(loaded, IMAGES), IMAGES), answers(quantize.to_int8(model, IMAGES), IMAGES)
    )


def test_quantization_aware_model_keeps_its_ranges(tf_keras):
    import tensorflow_model_optimization as tfmot

    with tf_setup.silent():
        model = tfmot.quantization.keras.quantize_model(keras_net(tf_keras))
        model.compile("sgd", "mse")
        model.fit(IMAGES, np.zeros((50, 3), np.float32), batch_size=10, verbose=0)
    small, note = quantize.representative_from(None, model, seed=1)
    assert note is None
    data = quantize.to_int8(model, small)
    # The ranges were learned, so that the calibration data changes nothing.
    assert data == quantize.to_int8(model, 0.01 * small[0])
    view = graph.load(data)
    scale = view.tensors[view.outputs[0]].quantization.scale
    assert np.abs(answers(data, IMAGES) - model.predict(IMAGES, verbose=0)).mean() < 2 * scale


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_several_inputs_and_outputs_keep_their_order(libraries, library):
    keras = libraries[library]
    keras.utils.set_random_seed(1)
    layers = keras.layers
    # Names and use run against the order on purpose; the converter's own order differs.
    one, two = keras.Input((3,), name="z"), keras.Input((5,), name="a")
    both = layers.Concatenate()([two, one])
    outputs = [layers.Dense(2, name="z1")(both), layers.Dense(7)(two), layers.Dense(4, name="a1")(two)]
    model = keras.Model([one, two], [*outputs, layers.ReLU()(one)])
    arrays, _ = quantize.representative_from(None, model)
    view = graph.load(quantize.to_int8(model, arrays))
    assert [view.tensors[i].shape for i in view.inputs] == [(1, 3), (1, 5)]
    assert [view.tensors[i].shape for i in view.outputs] == [(1, 2), (1, 7), (1, 4), (1, 3)]


@pytest.mark.parametrize(
    ("library", "layer", "fused"),
    [
        ("tf_keras", "LSTM", True),
        ("tf_keras", "GRU", False),
        ("tf_keras", "SimpleRNN", False),
        ("keras", "LSTM", False),
    ],
)
def test_recurrent_layers(libraries, library, layer, fused):
    model = keras_recurrent(libraries[library], layer)
    data = quantize.to_int8(model, WINDOWS)
    assert ("UNIDIRECTIONAL_SEQUENCE_LSTM" in graph.load(data).op_names) == fused
    expected = np.asarray(model(WINDOWS))
    assert np.abs(answers(data, WINDOWS) - expected).max() < 0.1 * np.abs(expected).max()
    assert not any(getattr(part, "unroll", False) for part in model.layers), "the user's model was changed"
    assert data == quantize.to_int8(model, WINDOWS)
    assert graph.load(data).has_state == fused
    runs_compiled(graph.load(data), WINDOWS[:10])


def runs_compiled(view, samples):
    """The compiled runtime gives TFLite Micro's bytes over a sequence; returns them."""
    inputs = vectors.quantize_inputs(view, samples)
    outputs, _ = host.run(compiled.compile_model(view), inputs)
    np.testing.assert_array_equal(outputs, golden.run(view, inputs).outputs)
    return outputs


@pytest.mark.usefixtures("libraries")
def test_a_streaming_model_keeps_its_variables_in_int8(tmp_path):
    tf = tf_setup.tensorflow()
    weights = tf.constant(np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32))

    class Stream(tf.Module):  # type: ignore[name-defined]
        """A dense layer over the last four frames, three of which are kept."""

        def __init__(self):
            super().__init__()
            self.ring = tf.Variable(tf.fill((1, 3, 4), 0.5), name="ring", trainable=False)

        @tf.function(input_signature=[tf.TensorSpec((1, 1, 4), tf.float32)])
        def __call__(self, x):
            frames = tf.concat([self.ring, x], 1)
            self.ring.assign(frames[:, 1:])
            return {"y": tf.matmul(tf.reshape(frames, (1, 16)), weights)}

    model = Stream()
    tf.saved_model.save(model, str(tmp_path), signatures=model.__call__)
    frames = WINDOWS.reshape(-1, 1, 4)
    view = graph.load(quantize.to_int8(tf.saved_model.load(str(tmp_path)), frames))
    assert {"CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"} <= set(view.op_names)
    assert [t.dtype for t in view.tensors if t.is_variable] == [np.int8]
    outputs = runs_compiled(view, frames[:20]).view(np.int8).astype(np.float32)
    q = view.tensors[view.outputs[0]].quantization
    history = np.concatenate([np.full((3, 4), 0.5), frames[:20, 0]])
    expected = np.stack([history[i : i + 4].reshape(-1) for i in range(20)]) @ np.asarray(weights)
    assert np.abs(q.scale * (outputs - q.zero_point) - expected).max() < 0.1 * np.abs(expected).max()


def test_too_many_steps_to_unroll(tf_keras):
    model = keras_recurrent(tf_keras, "GRU", steps=100)
    with pytest.raises(UsageError, match=r"layer memory \(GRU\) runs over 100 steps.*64 steps"):
        quantize.to_int8(model, np.zeros((1, 100, 4), np.float32))


SCRIPT = """
import sys
sys.path[:0] = [{root!r}, {tests!r}]
from convert import quantize, tf_setup
tf_setup.tensorflow()
import hashlib, tf_keras
from models import keras_net
model = keras_net(tf_keras)
arrays, _ = quantize.representative_from(None, model, seed=3)
print(hashlib.sha256(quantize.to_int8(model, arrays)).hexdigest())
"""


def test_same_bytes_in_another_process(tf_keras):
    script = SCRIPT.format(root=str(ROOT), tests=str(Path(__file__).parent))
    environment = {**os.environ, "PYTHONHASHSEED": "5"}
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    model = keras_net(tf_keras)
    arrays, _ = quantize.representative_from(None, model, seed=3)
    here = quantize.to_int8(model, arrays)
    assert here == quantize.to_int8(model, arrays)
    assert other.stdout.split() == [hashlib.sha256(here).hexdigest()]


def test_nothing_on_the_console(tf_keras, capfd):
    quantize.to_int8(keras_net(tf_keras), IMAGES)
    captured = capfd.readouterr()
    assert captured.out == "" and captured.err == ""


# --- refusals ---------------------------------------------------------------------------------------------------------


def refused(model, *arrays):
    with pytest.raises(UsageError) as e:
        quantize.to_int8(model, list(arrays))
    return str(e.value)


def test_operator_without_an_int8_form(tf_keras):
    model = tf_keras.Sequential([tf_keras.Input((4, 4, 4, 1)), tf_keras.layers.Conv3D(2, 2, name="volume")])
    message = refused(model, np.ones((2, 4, 4, 4, 1), np.float32))
    assert "(CONV_3D, " in message and "no int8 form" in message and "CONV_2D" in message


def test_operators_that_crash_the_quantiser(tf_keras):
    tf = tf_setup.tensorflow()
    layer = tf_keras.layers.Lambda(tf.math.lgamma, name="gamma")
    message = refused(tf_keras.Sequential([tf_keras.Input((4,)), layer]), np.ones((2, 4), np.float32))
    assert "no int8 form" in message and "gamma" in message


def test_operator_that_the_converter_does_not_have(tf_keras):
    tf = tf_setup.tensorflow()
    layer = tf_keras.layers.Lambda(tf.math.erfinv, name="inverse")
    message = refused(tf_keras.Sequential([tf_keras.Input((4,)), layer]), np.ones((2, 4), np.float32))
    assert "because of tf.Erfinv" in message and "Replace that layer" in message


def test_control_flow_is_refused_before_the_converter_crashes(tf_keras):
    tf = tf_setup.tensorflow()

    def loop(x):
        return tf.while_loop(lambda i, _: i < 3, lambda i, v: (i + 1, v * 2.0), [0, x])[1]

    model = tf_keras.Sequential([tf_keras.Input((4,)), tf_keras.layers.Lambda(loop, name="looping")])
    message = refused(model, np.ones((2, 4), np.float32))
    assert "control flow" in message and "looping" in message


def test_model_that_reads_files(tf_keras):
    tf = tf_setup.tensorflow()
    layer = tf_keras.layers.Lambda(lambda x: x + tf.cast(tf.strings.length(tf.io.read_file("/none")), tf.float32))
    message = refused(tf_keras.Sequential([tf_keras.Input((4,)), layer]), np.ones((2, 4), np.float32))
    assert "ReadFile" in message


def test_model_without_inputs(tf_keras):
    model = tf_keras.Sequential([tf_keras.layers.Dense(2)], name="shapeless")
    assert "model shapeless has no fixed inputs" in refused(model, np.ones((2, 4), np.float32))


def test_fixed_batch(tf_keras):
    inputs = tf_keras.Input(batch_shape=(8, 4), name="eight")
    message = refused(tf_keras.Model(inputs, tf_keras.layers.Dense(2)(inputs)), np.ones((8, 4), np.float32))
    assert "input eight has shape (8, 4)" in message


def test_saved_model_without_serving_signature(tmp_path):
    tf = tf_setup.tensorflow()
    tf.saved_model.save(tf.Module(), str(tmp_path / "bare"))
    assert "no signature serving_default" in refused(tf.saved_model.load(str(tmp_path / "bare")))


def test_data_for_another_number_of_inputs(tf_keras):
    assert "for 2 inputs was given; the model has 1" in refused(keras_net(tf_keras), IMAGES, IMAGES)


# --- representative data ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def net(tf_keras):
    return keras_net(tf_keras)


def test_npy(net, tmp_path):
    np.save(tmp_path / "data.npy", IMAGES.astype(np.float64))
    (array,), note = quantize.representative_from(tmp_path / "data.npy", net)
    assert note is None and array.dtype == np.float32
    np.testing.assert_array_equal(array, IMAGES)


def test_npz_by_name_and_in_order(tf_keras, tmp_path):
    one, two = tf_keras.Input((3,), name="z"), tf_keras.Input((5,), name="a")
    model = tf_keras.Model([one, two], tf_keras.layers.Concatenate()([one, two]))
    x, y = np.ones((2, 3)), np.zeros((2, 5))
    np.savez(tmp_path / "named.npz", a=y, z=x)
    np.savez(tmp_path / "ordered.npz", x, y)
    for name in ("named.npz", "ordered.npz"):
        arrays, _ = quantize.representative_from(tmp_path / name, model)
        assert [a.shape for a in arrays] == [(2, 3), (2, 5)]


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.ones((5, 8, 8)), r"has shape \(5, 8, 8\); expected is \('n >= 1', 8, 8, 1\)"),
        (np.ones((0, 8, 8, 1)), "has shape"),
        (np.ones((2, 8, 8, 1)) * np.array([[[[1.0]]], [[[np.nan]]]]), "NaN or infinity, first in sample 1"),
        (np.full((2, 8, 8, 1), np.inf), "NaN or infinity, first in sample 0"),
        (np.ones((2, 8, 8, 1), np.complex64), "type complex64"),
        (np.full((2, 8, 8, 1), "a"), "type <U1"),
    ],
    ids=["wrong_shape", "no_samples", "nan", "infinity", "complex", "text"],
)
def test_unusable_data(net, tmp_path, array, reason):
    np.save(tmp_path / "data.npy", array)
    with pytest.raises(UsageError, match=reason):
        quantize.representative_from(tmp_path / "data.npy", net)


def test_missing_data_file(net, tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        quantize.representative_from(tmp_path / "data.npy", net)


@pytest.mark.parametrize("content", [b"", b"1,2,3\n", b"\x93NUMPY\x01\x00", b"PK\x03\x04"])
def test_file_that_holds_no_arrays(net, tmp_path, content):
    (tmp_path / "data.npy").write_bytes(content)
    with pytest.raises(UsageError, match=r"is not a \.npy or \.npz file"):
        quantize.representative_from(tmp_path / "data.npy", net)


def test_pickled_objects_are_not_loaded(net, tmp_path):
    np.save(tmp_path / "data.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(UsageError, match=r"is not a \.npy or \.npz file of numbers"):
        quantize.representative_from(tmp_path / "data.npy", net)


def test_too_few_arrays(net, tmp_path):
    np.savez(tmp_path / "data.npz", IMAGES, IMAGES)
    with pytest.raises(UsageError, match="holds 2 arrays"):
        quantize.representative_from(tmp_path / "data.npz", net)


def test_random_data_is_stated_and_reproducible(net):
    (first,), note = quantize.representative_from(None, net, seed=7)
    (again,), _ = quantize.representative_from(None, net, seed=7)
    (other,), _ = quantize.representative_from(None, net, seed=8)
    assert note is not None and "not to be trusted" in note and "--representative" in note and "[-1, 1]" in note
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.shape == (100, 8, 8, 1) and first.dtype == np.float32 and -1 <= first.min() < first.max() <= 1


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_range_implied_by_the_first_layer(libraries, library):
    keras = libraries[library]
    pixels = keras.Sequential([keras.Input((9,)), keras.layers.Rescaling(1 / 255), keras.layers.Dense(2)])
    (array,), note = quantize.representative_from(None, pixels)
    assert "[0, 255]" in note and 200 < array.max() <= 255 and array.min() >= 0
    words = keras.Sequential([keras.Input((9,), dtype="int32"), keras.layers.Embedding(6, 2), keras.layers.Flatten()])
    (array,), _ = quantize.representative_from(None, words)
    assert array.dtype == np.int32 and set(np.unique(array)) == set(range(6))
