"""The view of a .tflite: what it reads, counts and refuses."""

import numpy as np
import pytest
from models import Op, T, dense, model, pack, tflite

from convert import graph
from convert.errors import UsageError

CONV = {"strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1}


def conv_net():
    """CONV_2D 5x5x2 -> 4x4x3, DEPTHWISE_CONV_2D -> 3x3x3, FULLY_CONNECTED -> 7."""
    tensors = [
        T((1, 5, 5, 2), name="x"),
        T((3, 2, 2, 2), data=np.ones((3, 2, 2, 2)), scale=[0.1, 0.2, 0.3], name="w"),
        T((3,), "i4", data=[0] * 3, scale=[0.1, 0.2, 0.3]),
        T((1, 4, 4, 3)),
        T((1, 2, 2, 3), data=np.ones((1, 2, 2, 3)), scale=[0.1, 0.2, 0.3], axis=3),
        T((3,), "i4", data=[0] * 3, scale=[0.1, 0.2, 0.3]),
        T((1, 3, 3, 3)),
        T((7, 27), data=np.ones((7, 27))),
        T((1, 7), name="y"),
    ]
    ops = [
        Op("CONV_2D", [0, 1, 2], [3], "Conv2DOptions", CONV),
        Op("DEPTHWISE_CONV_2D", [3, 4, 5], [6], "DepthwiseConv2DOptions", {**CONV, "depthMultiplier": 1}),
        Op("FULLY_CONNECTED", [6, 7, -1], [8], "FullyConnectedOptions"),
    ]
    return tensors, ops, [0], [8]


def test_counts():
    view = graph.load(tflite(*conv_net()))
    assert [view.macs_of(op) for op in view.operators] == [48 * 8, 27 * 4, 7 * 27]
    assert view.macs == 48 * 8 + 27 * 4 + 7 * 27
    assert view.parameters == 24 + 3 + 12 + 3 + 189
    assert [t.index for t in view.weights] == [1, 2, 4, 5, 7]
    assert view.op_names == ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def test_tensors_and_options():
    view = graph.load(tflite(*conv_net()))
    weights = view.tensors[4]
    assert weights.quantization is not None and weights.quantization.axis == 3
    np.testing.assert_allclose(weights.quantization.scales, [0.1, 0.2, 0.3])
    assert view.tensors[0].quantization is not None and view.tensors[0].quantization.axis is None
    assert view.tensors[0].nbytes == 50 and view.tensors[2].nbytes == 12 and view.tensors[0].data is None
    assert view.operators[1].options["depthMultiplier"] == 1
    assert view.operators[2].inputs == (6, 7, -1)
    with pytest.raises(ValueError):
        assert weights.data is not None
        weights.data[0] = 1


def test_same_file_same_hash():
    data = tflite(*dense())
    assert graph.load(data).sha256 == graph.load(bytes(bytearray(data))).sha256


def test_lifetimes():
    tensors = [T((1, 4))] * 5
    ops = [
        Op("RELU", [0], [1]),
        Op("RELU", [1], [2]),
        Op("ADD", [0, 2], [3], "AddOptions"),
        Op("RELU", [1], [4]),
    ]
    view = graph.load(tflite(tensors, ops, [0], [3]))
    # 4 is written and never read; 3 is an output.
    assert view.lifetimes == {0: (0, 2), 1: (0, 3), 2: (1, 2), 3: (2, 3), 4: (3, 3)}


def test_variable_lives_throughout():
    tensors = [T((1, 2)), T((1, 2)), T((1, 6), "i2", variable=True), T((1, 2)), T((1, 2))]
    # The state is an input of the middle operator only.
    ops = [Op("RELU", [0], [1]), Op("SVDF", [1, 1, 1, -1, 2], [3], "SVDFOptions", {"rank": 1}), Op("RELU", [3], [4])]
    assert graph.load(tflite(tensors, ops, [0], [4])).lifetimes[2] == (0, 2)


def test_scalar():
    view = graph.load(tflite([T((), "f4", None), T((), "f4", None)], [Op("NEG", [0], [1])], [0], [1]))
    assert view.tensors[0].shape == () and view.tensors[0].elements == 1 and view.tensors[0].nbytes == 4


# --- damaged or unsupported files -------------------------------------------------------------------------------------


def refused(data):
    with pytest.raises(UsageError) as e:
        graph.load(data)
    return str(e.value)


def broken(change):
    """A one-layer model with one thing changed in its object tree."""
    m = model(*dense())
    change(m.subgraphs[0])
    return refused(pack(m))


@pytest.mark.parametrize("data", [b"", b"TFL3", b"\x00" * 64, b"PK\x03\x04 something else"])
def test_wrong_identifier(data):
    assert "does not carry the identifier TFL3" in refused(data)


def test_truncated_anywhere_is_an_error_or_the_whole_model():
    whole = tflite(*dense())
    names = set()
    for size in range(8, len(whole), 7):
        names.add(refused(whole[:size])[:7])
    assert names <= {"damaged", "the mod", "not a T", "tensor "}, names


def test_random_damage_never_escapes_as_another_exception():
    whole = bytearray(tflite(*conv_net()))
    rng = np.random.default_rng(0)
    for _ in range(300):
        data = bytearray(whole)
        for at in rng.integers(8, len(data), 4):
            data[at] = rng.integers(0, 256)
        try:
            view = graph.load(bytes(data))
            assert view.macs >= 0 and view.parameters >= 0 and view.lifetimes
        except UsageError:
            pass


@pytest.mark.parametrize(
    ("count", "message"), [(0, "has no subgraphs"), (2, "2 subgraphs and nothing runs subgraph 1")]
)
def test_not_exactly_one_subgraph(count, message):
    m = model(*dense())
    m.subgraphs *= count
    assert message in refused(pack(m))


def test_no_operators():
    assert "nothing to run" in broken(lambda sub: sub.operators.clear())


def test_no_outputs():
    assert "nothing to run" in broken(lambda sub: setattr(sub, "outputs", []))


def test_no_inputs():
    assert "nothing to run" in broken(lambda sub: setattr(sub, "inputs", []))


@pytest.mark.parametrize("bad", [4, 99, -2])
def test_operator_reads_a_tensor_out_of_range(bad):
    assert f"names tensor {bad}" in broken(lambda sub: setattr(sub.operators[0], "inputs", [bad, 1, 2]))


@pytest.mark.parametrize("bad", [4, 99, -2])
def test_operator_writes_a_tensor_out_of_range(bad):
    assert f"names tensor {bad}" in broken(lambda sub: setattr(sub.operators[0], "outputs", [bad]))


@pytest.mark.parametrize("bad", [4, -1])
def test_model_output_out_of_range(bad):
    assert f"tensor {bad}" in broken(lambda sub: setattr(sub, "outputs", [bad]))


@pytest.mark.parametrize("bad", [4, -1])
def test_model_input_out_of_range(bad):
    assert f"tensor {bad}" in broken(lambda sub: setattr(sub, "inputs", [0, bad]))


def test_tensor_read_before_it_is_written():
    tensors = [T((1, 4)), T((1, 4)), T((1, 4))]
    ops = [Op("RELU", [1], [2]), Op("RELU", [0], [1])]
    assert "before any operator writes it" in refused(tflite(tensors, ops, [0], [2]))


def test_output_that_nothing_writes():
    assert "no operator writes" in refused(tflite([T((1, 4))] * 3, [Op("RELU", [0], [1])], [0], [2]))


def test_operator_code_out_of_range():
    assert "names operator code 7" in broken(lambda sub: setattr(sub.operators[0], "opcodeIndex", 7))


def test_buffer_out_of_range():
    assert "names buffer 77" in broken(lambda sub: setattr(sub.tensors[1], "buffer", 77))


def test_constant_shorter_than_its_shape():
    message = broken(lambda sub: setattr(sub.tensors[1], "shape", [3, 40]))
    assert "(3, 40) has 12 values" in message


def test_constant_of_a_broken_number_of_bytes():
    m = model(*dense())
    buffer = m.buffers[m.subgraphs[0].tensors[2].buffer]
    buffer.data = buffer.data[:7]
    assert "damaged TFLite model" in refused(pack(m))


def test_dynamic_shape():
    message = broken(lambda sub: setattr(sub.tensors[0], "shape", [-1, 4]))
    assert "tensor 0 (x) has the dynamic shape (-1, 4)" in message


def test_shape_signature_with_a_free_batch_is_fine():
    m = model(*dense())
    m.subgraphs[0].tensors[0].shapeSignature = [-1, 4]
    assert graph.load(pack(m)).tensors[0].shape == (1, 4)


@pytest.mark.parametrize("shape", [[2**31 - 1, 2**31 - 1], [1 << 20, 1 << 12]])
def test_absurd_shape(shape):
    assert "over 1 GiB" in broken(lambda sub: setattr(sub.tensors[0], "shape", shape))


def test_type_that_nothing_executes():
    message = broken(lambda sub: setattr(sub.tensors[0], "type", 1))
    assert "type FLOAT16" in message and "full-integer int8" in message


def test_scales_that_do_not_match_the_axis():
    def damage(sub):
        sub.tensors[1].quantization.scale = np.ones(5, np.float32)
        sub.tensors[1].quantization.zeroPoint = np.zeros(5, np.int64)

    assert "5 scales along axis 0" in broken(damage)


@pytest.mark.parametrize("count", [2, 5])
def test_zero_points_that_do_not_match_the_scales(count):
    def damage(sub):
        sub.tensors[1].quantization.zeroPoint = np.zeros(count, np.int64)

    assert "damaged TFLite model" in broken(damage)


def test_layer_without_weights():
    assert "FULLY_CONNECTED" in broken(lambda sub: setattr(sub.operators[0], "inputs", [0]))


def test_layer_without_output():
    assert "(FULLY_CONNECTED) lacks" in broken(lambda sub: setattr(sub.operators[0], "outputs", []))


def test_weights_of_a_wrong_rank():
    assert "weights of rank 2" in broken(lambda sub: setattr(sub.tensors[1], "shape", [12]))


def test_negative_axis_of_scales():
    def damage(sub):
        sub.tensors[1].quantization.scale = np.ones(4, np.float32)
        sub.tensors[1].quantization.zeroPoint = np.zeros(4, np.int64)
        sub.tensors[1].quantization.quantizedDimension = -1

    assert "axis -1" in broken(damage)


def test_custom_operator_has_its_own_name():
    view = graph.load(tflite([T((1, 4))] * 2, [Op("CUSTOM", [0], [1], custom="MyOp")], [0], [1]))
    assert view.op_names == ("MyOp",)
