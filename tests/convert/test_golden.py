"""TFLite Micro as the golden reference: answers, layers, states, refusals."""

import subprocess
import sys

import numpy as np
import pytest
from models import TYPES, Op, T, dense, tflite

from convert import golden, graph
from convert.errors import ToolError, UsageError
from convert.paths import ROOT


def vectors(view, n, seed=0):
    size = sum(view.tensors[i].nbytes for i in view.inputs)
    return np.random.default_rng(seed).integers(0, 256, (n, size), np.uint8)


def relu_chain():
    """RELU, then an ADD of its result with itself, scales chosen so that both are exact in integers."""
    tensors = [T((1, 6), zero_point=-5), T((1, 6), zero_point=-5), T((1, 6), scale=1.0, zero_point=-5)]
    return graph.load(tflite(tensors, [Op("RELU", [0], [1]), Op("ADD", [1, 1], [2], "AddOptions")], [0], [2]))


def test_outputs_and_every_layer():
    view = relu_chain()
    inputs = vectors(view, 20)
    result = golden.run(view, inputs, layers=True)
    relu = np.maximum(inputs.view(np.int8), -5)
    assert result.layers is not None and sorted(result.layers) == [1, 2]
    np.testing.assert_array_equal(result.layers[1].reshape(20, 6), relu)
    # Twice the value on twice the scale is the value itself.
    np.testing.assert_array_equal(result.outputs.view(np.int8), relu)
    np.testing.assert_array_equal(result.layers[2].reshape(20, 6), relu)
    assert result.layers[1].shape == (20, 1, 6) and result.layers[1].dtype == np.int8


def test_no_layers_unless_asked_for():
    view = relu_chain()
    assert golden.run(view, vectors(view, 1)).layers is None


def test_arena_is_measured_and_does_not_depend_on_the_room_given(monkeypatch):
    view = relu_chain()
    whole = golden.run(view, vectors(view, 1)).arena
    assert whole.total == whole.head + whole.tail
    assert whole.head >= 2 * 16 and whole.tail > 500  # two live tensors of 16 aligned bytes; the interpreter's data
    request = golden._request
    monkeypatch.setattr(golden, "_request", lambda *a: {**request(*a), "arena": 768})
    assert golden.run(view, vectors(view, 1)).arena == whole


@pytest.mark.parametrize("dtype", TYPES)
def test_every_type_passes_as_raw_bytes(dtype):
    tensors = [T((1, 4), dtype), T((2,), "i4", None, data=[2, 2]), T((2, 2), dtype)]
    view = graph.load(tflite(tensors, [Op("RESHAPE", [0, 1], [2], "ReshapeOptions")], [0], [2]))
    inputs = vectors(view, 3) & (1 if dtype == "b1" else 255)
    result = golden.run(view, inputs, layers=True)
    np.testing.assert_array_equal(result.outputs, inputs)
    assert result.layers is not None and result.layers[2].dtype == np.dtype(dtype)


def test_several_inputs_and_outputs_lie_end_to_end():
    tensors = [T((1, 2), "i2"), T((1, 3)), T((2,), "i4", None, data=[2, 1]), T((2, 1), "i2"), T((1, 3))]
    ops = [Op("RELU", [1], [4]), Op("RESHAPE", [0, 2], [3], "ReshapeOptions")]
    view = graph.load(tflite(tensors, ops, [0, 1], [4, 3]))
    inputs = vectors(view, 5)
    outputs = golden.run(view, inputs).outputs
    np.testing.assert_array_equal(outputs[:, :3].view(np.int8), np.maximum(inputs[:, 4:].view(np.int8), 0))
    np.testing.assert_array_equal(outputs[:, 3:], inputs[:, :4])


def svdf():
    """A layer with memory: its output depends on the inputs before, unless the state is reset."""
    tensors = [
        T((1, 2), scale=0.5),
        T((2, 2), scale=0.1, data=[[9, 3], [-4, 100]]),
        T((2, 3), "i2", scale=0.01, data=[[70, 80, 90], [100, -90, 60]]),
        T((2,), "i4", scale=0.0005, data=[0, 0]),
        T((1, 6), "i2", scale=0.05, variable=True),
        T((1, 2), scale=0.1),
    ]
    op = Op("SVDF", [0, 1, 2, 3, 4], [5], "SVDFOptions", {"rank": 1})
    return graph.load(tflite(tensors, [op], [0], [5]))


def test_state_is_carried_from_vector_to_vector_unless_they_are_apart():
    view = svdf()
    first, other = vectors(view, 2)
    inputs = np.stack([first, other, first])
    outputs, apart = golden.run(view, inputs).outputs, golden.run(view, inputs, apart=True).outputs
    assert apart.any()
    np.testing.assert_array_equal(apart[0], apart[2])
    np.testing.assert_array_equal(apart[0], outputs[0])
    assert (outputs[0] != outputs[2]).any()
    # Many vectors with a state stay in one process.
    many = np.resize(inputs, (3 * golden._VECTORS_A_PROCESS, inputs.shape[1]))
    np.testing.assert_array_equal(golden.run(view, many).outputs[:3], outputs)
    np.testing.assert_array_equal(golden.run(view, many, apart=True).outputs[-3:], apart)


def test_work_is_shared_among_processes_without_changing_the_answers():
    view = graph.load(tflite(*dense()))
    inputs = vectors(view, 3 * golden._VECTORS_A_PROCESS)
    seen = []
    many = golden.run(view, inputs, layers=True, progress=lambda done, total: seen.append((done, total)))
    np.testing.assert_array_equal(many.outputs[::300], golden.run(view, inputs[::300]).outputs)
    assert many.layers is not None
    np.testing.assert_array_equal(many.layers[3].reshape(len(inputs), -1), many.outputs.view(np.int8))
    assert seen == sorted(seen) and seen[-1] == (len(inputs), len(inputs))


def refused(tensors, ops, inputs=(0,), outputs=(1,), value=0):
    view = graph.load(tflite(tensors, ops, list(inputs), list(outputs)))
    size = sum(view.tensors[i].nbytes for i in view.inputs)
    with pytest.raises(UsageError) as e:
        golden.run(view, np.full((1, size), value, np.uint8))
    return str(e.value)


def test_operator_unknown_to_tflite_micro():
    message = refused([T((1, 4)), T((1, 4))], [Op("DENSIFY", [0], [1])])
    assert "operator DENSIFY" in message and "Didn't find op" in message and "Replace the layer" in message


def test_custom_operator_is_named():
    message = refused([T((1, 4)), T((1, 4))], [Op("CUSTOM", [0], [1], custom="FlexErf")])
    assert "operator FlexErf" in message


def test_hybrid_model():
    tensors, ops, inputs, outputs = dense()
    for index in (0, 3):
        tensors[index].dtype, tensors[index].scale = "f4", None
    tensors[2] = T((3,), "f4", None, data=[0, 0, 0])
    message = refused(tensors, ops, inputs, outputs)
    assert "operator 0 (FULLY_CONNECTED)" in message and "FLOAT32" in message and "full-integer int8" in message


def test_refused_while_running():
    tensors = [T((1,), "i4", None), T((3, 2), data=np.zeros((3, 2))), T((1, 2))]
    message = refused(tensors, [Op("GATHER", [1, 0], [2], "GatherOptions")], [0], [2], value=9)
    assert "operator 0 (GATHER)" in message and "failed to invoke" in message


def test_crash_of_the_interpreter_is_a_tool_error(monkeypatch):
    request = golden._request
    # The interpreter does not check for an arena too small for its own first structure.
    monkeypatch.setattr(golden, "_request", lambda *a: {**request(*a), "arena": 64})
    view = relu_chain()
    with pytest.raises(ToolError, match=r"crashed on the host \(signal SIG"):
        golden.run(view, vectors(view, 1))


def test_silence_ends_in_a_tool_error():
    view = relu_chain()
    with pytest.raises(ToolError, match=r"no vector in 0\.001 s"):
        golden.run(view, vectors(view, 1), timeout=0.001)


@pytest.mark.parametrize("bad", [np.zeros((2, 5), np.uint8), np.zeros((0, 6), np.uint8), np.zeros((2, 6), np.int8)])
def test_vectors_of_another_size_or_type(bad):
    with pytest.raises(ValueError, match=r"\(n >= 1, 6\)"):
        golden.run(relu_chain(), bad)


def test_too_many_layers_to_keep(monkeypatch):
    monkeypatch.setattr(golden, "_MAX_LAYER_BYTES", 20)
    view = relu_chain()
    with pytest.raises(UsageError, match="use fewer vectors"):
        golden.run(view, vectors(view, 2), layers=True)


def test_wheel_without_arena_sizes():
    with pytest.raises(ToolError, match=r"constraints\.txt"):
        golden._arena("something else")


def test_import_does_not_bring_tensorflow():
    code = "import sys, convert.golden; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
