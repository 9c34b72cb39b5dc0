"""TFLite Micro's compressed tensors: our encoder against a decoder of its own here, and against TFLite Micro."""

import dataclasses
import importlib
import json

import flatbuffers
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from models import Op, T, dense, model, pack, tflite, unpack
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

from convert import boards, golden, graph, project, tflm, tflm_arena, tflm_compress, vectors
from convert.compress import Compress
from convert.errors import OutputsDifferError, ToolError, UsageError
from convert.golden import DECODE
from convert.paths import FIRMWARE
from convert.tflm_compress import BITMAP, CODEBOOK, compress

CONV = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1, "padding": 1}


def shared(shape, values, seed=1):
    """Weights of `values` values in the whole tensor."""
    random = np.random.default_rng(seed)
    table = random.choice(np.arange(-127, 128), values, replace=False)
    return random.choice(table, shape).astype(np.int8)


def pruned(shape, zeros, seed=1):
    """Weights of which a share is zero."""
    random = np.random.default_rng(seed)
    values = random.integers(1, 128, shape) * random.choice([-1, 1], shape)
    return np.where(random.random(shape) < zeros, 0, values).astype(np.int8)


def dense_model(weights, scale=0.01, zero_point=0):
    rows, columns = weights.shape
    biases = [0.005 * s for s in np.atleast_1d(scale)]
    tensors = [
        T((1, columns), name="x"),
        T((rows, columns), data=weights, scale=scale, zero_point=zero_point, name="weights"),
        T((rows,), "i4", data=np.arange(rows) * 100, scale=biases if len(biases) > 1 else biases[0], name="bias"),
        T((1, rows), scale=0.25, zero_point=3, name="y"),
    ]
    return tensors, [Op("FULLY_CONNECTED", [0, 1, 2], [3], "FullyConnectedOptions")], [0], [3]


def conv_model(weights, scale=0.01):
    filters, height, width, channels = weights.shape
    tensors = [
        T((1, 6, 6, channels), name="x"),
        T(weights.shape, data=weights, scale=scale, name="weights"),
        T((1, 7 - height, 7 - width, filters), scale=0.5, name="y"),
    ]
    return tensors, [Op("CONV_2D", [0, 1, -1], [2], "Conv2DOptions", CONV)], [0], [2]


def depthwise_model(weights, scale=0.01, axis=3):
    _, height, width, channels = weights.shape
    tensors = [
        T((1, 6, 6, channels), name="x"),
        T(weights.shape, data=weights, scale=scale, axis=axis, name="weights"),
        T((1, 7 - height, 7 - width, channels), scale=0.5, name="y"),
    ]
    options = {**CONV, "depthMultiplier": 1}
    return tensors, [Op("DEPTHWISE_CONV_2D", [0, 1], [2], "DepthwiseConv2DOptions", options)], [0], [2]


def scales(count):
    return [0.01 + 0.001 * i for i in range(count)]


# --- a decoder, written from the description of the format


def bits(data, width, count):
    """`count` numbers of `width` bits, the most significant bit first."""
    each = np.unpackbits(np.frombuffer(data, np.uint8))[: width * count].reshape(count, width)
    return each @ (1 << np.arange(width - 1, -1, -1))


def decode(encoded, ancillary, shape, axis, zero_points):
    """The weights that an encoded and an ancillary tensor stand for."""
    header, values = ancillary[:16], np.frombuffer(ancillary[16:], np.int8)
    assert header[1] == header[4] == 1 and not any(header[2:4]) and not any(header[7:])
    channel = np.zeros(shape, int)
    if axis is not None:
        along = [-1 if k == axis else 1 for k in range(len(shape))]
        channel = channel + np.arange(shape[axis]).reshape(along)
    count = int(np.prod(shape))
    if header[0] == 2:
        kept = bits(encoded, 1, count).astype(bool)
        out = np.broadcast_to(np.asarray(zero_points), (channel.max() + 1,))[channel.reshape(-1)].astype(np.int8)
        out[kept] = values
        return out.reshape(shape)
    width, named = header[5] & 7, header[5] >> 4
    assert header[0] == 0 and width and header[5] & 8 == 0
    found = values[bits(encoded, width, count).reshape(shape) + header[6] * channel]
    # The other reading: the header says which axis has tables of its own.
    assert named == 15 or named == axis
    assert np.array_equal(
        found, values[bits(encoded, width, count).reshape(shape) + header[6] * channel * (named < 15)]
    )
    return found


def decoded(packed):
    """Every compressed tensor of a file, decoded here: index -> weights."""
    out = {}
    for op in packed.operators:
        if op.name == DECODE:
            encoded, ancillary = (packed.tensors[i].data.tobytes() for i in op.inputs)
            (result,) = (packed.tensors[i] for i in op.outputs)
            q = result.quantization
            out[op.inputs[0]] = decode(encoded, ancillary, result.shape, q.axis, q.zero_points)
    return out


MODELS = {
    "dense, shared": dense_model(shared((20, 64), 16)),
    "dense, pruned": dense_model(pruned((20, 64), 0.8)),
    "dense per channel, shared": dense_model(shared((20, 64), 16), scales(20)),
    "dense per channel, pruned": dense_model(pruned((20, 64), 0.8), scales(20)),
    "dense, another zero point": dense_model(pruned((20, 64), 0.8) + np.int8(5), zero_point=5),
    "conv per channel, shared": conv_model(shared((32, 3, 3, 5), 7), scales(32)),
    "conv per channel, pruned": conv_model(pruned((32, 3, 3, 5), 0.9), scales(32)),
    "conv per tensor, shared": conv_model(shared((32, 3, 3, 5), 4)),
    "depthwise per channel, shared": depthwise_model(shared((1, 3, 3, 200), 3), scales(200)),
    "depthwise per channel, pruned": depthwise_model(pruned((1, 3, 3, 200), 0.9), scales(200)),
    "depthwise per tensor, pruned": depthwise_model(pruned((1, 3, 3, 200), 0.9), axis=0),
    "int16 activations": None,
}
_tensors, _ops, _ins, _outs = conv_model(pruned((32, 3, 3, 5), 0.9), scales(32))
_tensors[0].dtype = _tensors[2].dtype = "i2"
MODELS["int16 activations"] = (_tensors, _ops, _ins, _outs)


@pytest.mark.parametrize("name", MODELS)
def test_what_is_compressed_decodes_here_and_in_tflite_micro(name):
    view = graph.load(tflite(*MODELS[name]))
    best = CODEBOOK if name.endswith("shared") else BITMAP
    for mode in (CODEBOOK, BITMAP):
        made = compress(view, mode)
        assert mode != best or ([s.scheme for s in made.tensors] == [best] and len(made.data) < len(view.data))
        for index, values in decoded(made.graph).items():
            assert np.array_equal(values, view.tensors[index].data)
        assert sorted(decoded(made.graph)) == [s.tensor for s in made.tensors if s.scheme != "none"]
    tflm_compress.prove(view, compress(view, best))


@given(
    hnp.arrays(np.int8, hnp.array_shapes(min_dims=2, max_dims=4, max_side=9), elements=st.sampled_from(range(-9, 120))),
    st.sampled_from(["tensor", "first", "last"]),
    st.integers(-9, 5),
)
def test_every_encoding_decodes(values, along, zero_point):
    axis = {"tensor": None, "first": 0, "last": values.ndim - 1}[along]
    zero_points = np.array([zero_point] if axis is None else zero_point + np.arange(values.shape[axis]) % 3)
    broadcast = (
        zero_points if axis is None else zero_points.reshape([-1 if k == axis else 1 for k in range(values.ndim)])
    )
    forms = [tflm_compress.bitmap(values, broadcast), tflm_compress.codebook(values, axis)]
    assert forms[1] is not None or len(np.unique(values)) > 128
    for form in forms:
        if form is not None:
            assert np.array_equal(decode(form.encoded, form.ancillary, values.shape, axis, zero_points), values)


COUNTS = (1, 2, 3, 4, 5, 8, 9, 16, 17, 32, 33, 64, 65, 128)


def all_counts(per_channel):
    """A dense layer for each number of values, beside one another; 9 rows of 67 weights, so that channels begin between
    bytes and between the decoder's groups of 16 and 32."""
    tensors, ops = [T((1, 67), name="x")], []
    for count in COUNTS:
        weights = np.random.default_rng(count).permutation(np.resize(np.arange(count) - 60, 9 * 67)).reshape(9, 67)
        tensors += [T((9, 67), data=weights, scale=scales(9) if per_channel else 0.01), T((1, 9), scale=2.0)]
        ops.append(Op("FULLY_CONNECTED", [0, len(tensors) - 2, -1], [len(tensors) - 1], "FullyConnectedOptions"))
    return graph.load(tflite(tensors, ops, [0], [op.outputs[0] for op in ops]))


def prove_forms(view, forms):
    """Compare with TFLite Micro, whether the forms are worth their places or not."""
    data = tflm_compress._file(view, forms)
    tflm_compress.prove(view, tflm_compress.Compressed(data, (), max(view.tensors[i].nbytes for i in forms)))


@pytest.mark.parametrize("per_channel", [False, True])
def test_every_width_of_a_table_decodes_in_tflite_micro(per_channel):
    view = all_counts(per_channel)
    forms = {op.inputs[1]: tflm_compress._as_codebook(view.tensors[op.inputs[1]]) for op in view.operators}
    assert [form.ancillary[5] & 7 for form in forms.values()] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7]
    prove_forms(view, forms)


def test_a_table_for_each_channel_decodes_in_tflite_micro():
    view = all_counts(True)
    forms = {
        op.inputs[1]: tflm_compress._table_per_channel(view.tensors[op.inputs[1]].data, 0) for op in view.operators
    }
    assert all(len(form.ancillary) == 16 + 9 * form.ancillary[6] for form in forms.values())
    prove_forms(view, forms)
    tensors, ops, inputs, outputs = depthwise_model(
        np.stack([shared((3, 3), 4, k) for k in range(50)], 2)[None], scales(50)
    )
    view = graph.load(tflite(tensors, ops, inputs, outputs))
    form = tflm_compress._table_per_channel(view.tensors[1].data, 3)
    assert form.ancillary[6] == 4
    prove_forms(view, {1: form})


def test_one_table_serves_all_channels_where_that_is_less():
    view = graph.load(tflite(*MODELS["dense per channel, shared"]))
    (form,) = (o for o in compress(view, CODEBOOK).graph.operators if o.name == DECODE)
    packed = compress(view, CODEBOOK).graph
    assert packed.tensors[form.inputs[1]].nbytes == 16 + 16
    assert packed.tensors[form.inputs[1]].data[6] == 0  # the stride


MODULES = ("compress", "spec")


def test_the_library_of_the_wheel_makes_the_same_tables():
    view = graph.load(tflite(*MODELS["dense, shared"]))
    peer, spec = (importlib.import_module(f"tflite_micro.tensorflow.lite.micro.compression.{m}") for m in MODULES)
    method = spec.LookUpTableCompression(index_bitwidth=4, mode=spec.PerTensor())
    theirs = graph.load(bytes(peer.compress(view.data, [spec.Tensor(subgraph=0, tensor=1, compression=[method])])))
    ours = compress(view, CODEBOOK).graph

    def constants(packed):
        (op,) = (op for op in packed.operators if op.name == DECODE)
        encoded, ancillary = (packed.tensors[i].data.tobytes() for i in op.inputs)
        return encoded, ancillary

    assert constants(theirs) == constants(ours)


def test_sizes_are_those_of_the_file():
    view = graph.load(tflite(*MODELS["dense, pruned"]))
    made = compress(view, BITMAP)
    (stored,) = made.tensors
    weights = view.tensors[1].data
    kept = np.count_nonzero(weights)
    assert (stored.tensor, stored.name, stored.scheme) == (1, "weights", BITMAP)
    assert (stored.before, stored.after) == (20 * 64, 20 * 64 // 8 + 16 + kept)
    assert made.decompression_bytes == weights.nbytes
    assert len(view.data) - len(made.data) < stored.before - stored.after  # operator and tensors take their part
    assert compress(view, BITMAP).data == made.data


def test_every_buffer_is_aligned():
    data = compress(graph.load(tflite(*MODELS["conv per channel, pruned"])), BITMAP).data
    root = schema.Model.GetRootAs(data, 0)
    at = np.frombuffer(data, np.uint8).__array_interface__["data"][0]
    vectors_ = [root.Buffers(i).DataAsNumpy() for i in range(root.BuffersLength())]
    places = [v.__array_interface__["data"][0] - at for v in vectors_ if not isinstance(v, int) and len(v)]
    assert len(places) == 2 and not any(place % 16 for place in places)


# --- what is left alone


@pytest.mark.parametrize("mode", ["auto", CODEBOOK, BITMAP])
def test_a_model_that_would_grow_is_left_alone(mode):
    view = graph.load(tflite(*dense(16, 64)))  # 255 values, no zeros to speak of
    made = compress(view, mode)
    assert made.data == view.data and made.decompression_bytes == 0
    assert [stored.scheme for stored in made.tensors] == ["none"]


def two_layers(first, second):
    """Two dense layers one after the other: tensors 1 and 3 are the weights."""
    middle, columns = first.shape
    tensors = [
        T((1, columns), name="x"),
        T(first.shape, data=first, scale=0.01),
        T((1, middle)),
        T(second.shape, data=second, scale=0.01),
        T((1, len(second)), name="y"),
    ]
    ops = [
        Op("FULLY_CONNECTED", [0, 1, -1], [2], "FullyConnectedOptions"),
        Op("FULLY_CONNECTED", [2, 3, -1], [4], "FullyConnectedOptions"),
    ]
    return tensors, ops, [0], [4]


def test_a_layer_that_would_grow_is_left_alone():
    view = graph.load(tflite(*two_layers(pruned((40, 64), 0.9), pruned((40, 40), 0.0))))
    made = compress(view, BITMAP)
    assert [stored.scheme for stored in made.tensors] == [BITMAP, "none"]
    tflm_compress.prove(view, made)


def test_a_layer_that_does_not_pay_for_its_operator_is_left_alone():
    view = graph.load(tflite(*two_layers(pruned((40, 64), 0.9), pruned((4, 40), 0.9))))
    made = compress(view, BITMAP)
    assert [stored.scheme for stored in made.tensors] == [BITMAP, "none"]
    both = {i: tflm_compress._as_bitmap(view.tensors[i]) for i in (1, 3)}
    assert both[3].cost == 80 < 160  # the weights alone would shrink
    assert len(tflm_compress._file(view, both)) >= len(made.data)


def test_layers_that_need_too_much_memory_are_left_alone():
    view = graph.load(tflite(*two_layers(pruned((40, 64), 0.9), pruned((40, 40), 0.9))))
    assert [s.scheme for s in compress(view, BITMAP, 40 * 64 - 1).tensors] == ["none", BITMAP]
    assert [s.scheme for s in compress(view, BITMAP, 40 * 64).tensors] == [BITMAP, BITMAP]


def test_weights_of_two_layers_are_decoded_for_each():
    tensors, ops, inputs, _ = two_layers(pruned((64, 64), 0.9), np.zeros((64, 64)))
    tensors[3].data = None
    view = graph.load(
        tflite(tensors[:3] + tensors[4:], [ops[0], Op(ops[1].name, [2, 1, -1], [3], ops[1].options)], inputs, [3])
    )
    made = compress(view, BITMAP)
    assert [op.name for op in made.graph.operators] == [DECODE, "FULLY_CONNECTED"] * 2
    assert made.decompression_bytes == 64 * 64
    tflm_compress.prove(view, made)


def test_a_buffer_that_two_tensors_share_is_left_alone():
    m = model(*two_layers(pruned((64, 64), 0.9), pruned((64, 64), 0.9)))
    m.subgraphs[0].tensors[3].buffer = m.subgraphs[0].tensors[1].buffer
    view = graph.load(pack(m))
    assert compress(view, BITMAP).data == view.data


def test_weights_that_are_read_in_another_place_too_are_left_alone():
    weights = pruned((64, 64), 0.9)
    tensors = [T((1, 64), name="x"), T((64, 64), data=weights, scale=0.01), T((1, 64)), T((64, 64), name="y")]
    ops = [
        Op("FULLY_CONNECTED", [0, 1, -1], [2], "FullyConnectedOptions"),
        Op("ADD", [1, 2], [3], "AddOptions"),
    ]
    view = graph.load(tflite(tensors, ops, [0], [3]))
    assert compress(view, BITMAP).data == view.data


def test_an_axis_that_the_decoder_refuses_is_left_alone():
    """One channel with the axis of channels: the decoder takes an axis other than the first for channels or refuses."""
    view = graph.load(tflite(*depthwise_model(pruned((1, 3, 3, 200), 0.9), axis=3)))
    assert compress(view, BITMAP).data == view.data


def test_float_weights_and_biases_are_left_alone():
    tensors, ops, inputs, outputs = dense_model(np.zeros((20, 64)))
    for t in tensors:
        t.dtype, t.scale = "f4", None
    view = graph.load(tflite(tensors, ops, inputs, outputs))
    assert compress(view, BITMAP) == tflm_compress.Compressed(view.data, (), 0)


# --- refusals


def test_a_form_that_tflite_micro_lacks_is_refused():
    with pytest.raises(UsageError, match=r"--compress huffman: .*tflm runtime has auto, codebook, bitmap, none"):
        compress(graph.load(tflite(*dense())), "huffman")


def test_a_model_with_a_memory_plan_is_refused():
    m = model(*MODELS["dense, pruned"])
    entry = schema.MetadataT()
    entry.name, entry.buffer = b"OfflineMemoryAllocation", 0
    m.metadata = [entry]
    with pytest.raises(UsageError, match="OfflineMemoryAllocation"):
        compress(graph.load(pack(m)), "auto")


def broken(name, byte, value, tensor=-2):
    """A compressed model with one byte of its ancillary tensor changed."""
    m = unpack(compress(graph.load(tflite(*MODELS[name])), BITMAP).data)
    buffer = m.buffers[m.subgraphs[0].tensors[tensor].buffer]
    buffer.data = np.array(buffer.data)
    buffer.data[byte] = value
    builder = flatbuffers.Builder(1024)
    builder.Finish(m.Pack(builder), b"TFL3")
    return graph.load(bytes(builder.Output()))


@pytest.mark.parametrize(("byte", "value"), [(0, 9), (1, 2), (4, 2)])
def test_a_damaged_header_is_refused_by_tflite_micro(byte, value):
    view = broken("dense, pruned", byte, value)
    with pytest.raises(UsageError, match=rf"TFLite Micro refuses the model at operator 0 \({DECODE}\)"):
        golden.run(view, vectors.computed(view, 1).inputs)


def decoder_alone(channels):
    """Weights of 2 x 5 behind a decoder, with so many scales along the last axis; RESHAPE reads them unchecked."""
    ancillary = bytes([0, 1, 0, 0, 1, 1, 2]).ljust(16, b"\0") + bytes(range(10))
    tensors = [
        T((1, 4), name="x"),
        T((1, 4), name="y"),
        T((2,), "u1", data=[0xA5, 0xC0], scale=None),
        T((26,), "u1", data=list(ancillary), scale=None),
        T((2, 5), scale=[0.1] * channels, axis=1),
        T((2,), "i4", data=[1, 10], scale=None),
        T((1, 10), name="weights"),
    ]
    ops = [
        Op("RELU", [0], [1]),
        Op("CUSTOM", [2, 3], [4], custom=DECODE),
        Op("RESHAPE", [4, 5], [6], "ReshapeOptions", {"newShape": [1, 10]}),
    ]
    return tflite(tensors, ops, [0], [1, 6])


def test_a_decoder_that_runs_away_is_stopped():
    """Channels that do not divide the weights: TFLite Micro's decoder counts down past zero and writes on."""
    view = graph.load(decoder_alone(5))
    inputs = np.zeros((1, 4), np.uint8)
    assert golden.run(view, inputs).outputs[0, 4:].tolist() == [1, 2, 5, 6, 8, 1, 2, 5, 7, 9]
    with pytest.raises(UsageError, match=r"tensor 4 \(t4\) has 3 scales along axis 1 of shape \(2, 5\)"):
        graph.load(decoder_alone(3))
    damaged = dataclasses.replace(view, data=decoder_alone(3))
    with pytest.raises(ToolError, match=r"crashed on the host|finished no vector in 5 s"):
        golden.run(damaged, inputs, timeout=5)


def test_other_weights_are_found_before_anything_is_built():
    view = graph.load(tflite(*MODELS["dense, pruned"]))
    made = compress(view, BITMAP)
    wrong = broken("dense, pruned", 16 + 3, 77)
    with pytest.raises(OutputsDifferError, match=rf"tensor 5 of operator 0 \({DECODE}\).*--compress none") as error:
        tflm_compress.prove(view, tflm_compress.Compressed(wrong.data, made.tensors, made.decompression_bytes))
    assert error.value.exit_code == 4


# --- on a board


def large():
    """A model whose compressed layers (16,384 and 4,096 B) pay for the decoder."""
    return graph.load(tflite(*two_layers(pruned((128, 128), 0.95), pruned((32, 128), 0.9))))


def planned(ram, mode="auto"):
    board = boards.load("qemu_m4")
    board = board.model_copy(update={"upload": board.upload.model_copy(update={"maximum_ram_size": ram})})
    view = large()
    measured = golden.run(view, vectors.computed(view, 0).inputs).arena
    return view, tflm_compress.for_board(board, view, measured, Compress(mode, 99))


def test_decoded_weights_lie_beside_the_arena_where_there_is_room():
    view, made = planned(1 << 20)
    assert [s.scheme for s in made.compressed.tensors] == [BITMAP, BITMAP]
    assert made.decompression_bytes == made.compressed.decompression_bytes == 128 * 128
    assert made.arena.bytes == made.record["ram"]["arena_beside"] < 4096
    assert made.record["file"] == {"before": len(view.data), "after": len(made.compressed.data)}
    assert [t["before"] for t in made.record["tensors"]] == [128 * 128, 32 * 128]
    (note,) = made.notes
    assert "2 of 2 layers are compressed (2 as bitmap)" in note and "beside an arena" in note


def test_otherwise_they_lie_in_the_arena():
    _, whole = planned(1 << 20)
    within = whole.record["ram"]["arena"]
    assert 128 * 128 < within < whole.arena.bytes + whole.decompression_bytes
    limit = within + 4096 + boards.load("qemu_m4").environments[0].overhead.ram
    _, made = planned(limit)
    assert (made.decompression_bytes, made.arena.bytes) == (0, within)
    assert "in the arena" in made.notes[0]
    _, less = planned(limit - 1)
    assert [s.scheme for s in less.compressed.tensors] == ["none", "none"], "4,096 B alone do not pay for the decoder"
    assert (less.decompression_bytes, less.notes[0][:25]) == (0, "no weights are compressed")
    _, named = planned(limit - 1, BITMAP)
    assert [s.scheme for s in named.compressed.tensors] == [BITMAP, BITMAP], "what was asked for by name stays"


def test_auto_counts_the_decoders_code():
    view = graph.load(tflite(*MODELS["dense, pruned"]))
    assert len(compress(view, BITMAP).data) < len(view.data)
    assert compress(view, "auto").data == view.data


def test_auto_takes_one_form_where_another_decoder_would_not_pay():
    view = graph.load(tflite(*two_layers(pruned((128, 128), 0.95), shared((16, 128), 8))))
    assert [s.scheme for s in compress(view, "auto").tensors] == [BITMAP, "none"]
    view = graph.load(tflite(*two_layers(pruned((128, 128), 0.95), shared((128, 128), 8))))
    made = compress(view, "auto")
    assert [s.scheme for s in made.tensors] == [BITMAP, CODEBOOK]
    tflm_compress.prove(view, made)


def test_auto_keeps_to_the_instructions_that_it_may_take():
    """Of dense layers each weight is used once, for 2 instructions or so: 4 more from a table, 14 from a bitmap."""
    view = graph.load(tflite(*two_layers(pruned((128, 128), 0.95), shared((128, 128), 8))))

    def schemes(ratio):
        return [stored.scheme for stored in compress(view, "auto", None, ratio).tensors]

    assert schemes(1 + (14 + 4) / 4) == [BITMAP, CODEBOOK]
    assert schemes(1 + (14 + 4) / 4 - 0.01) == [BITMAP, "none"], "a bitmap saves more than its share of instructions"
    assert schemes(1 + 14 / 4 - 0.01) == ["none", CODEBOOK]
    assert schemes(1 + 4 / 4 - 0.01) == ["none", "none"]
    assert schemes(1) == schemes(0.5) == ["none", "none"]
    assert [s.scheme for s in compress(view, BITMAP, None, 1).tensors] == [BITMAP, "none"], "by its name: no bound"


def test_the_plan_of_the_arena_is_the_wheels_own():
    view = large()
    made = compress(view, BITMAP)
    proof = tflm_compress.prove(view, made)
    buffers = {
        i: tflm_arena.Buffer(made.graph.tensors[i].nbytes, first, last)
        for i, (first, last) in made.graph.lifetimes.items()
    }
    assert tflm_arena.greedy_plan(list(buffers.values())) == proof.within.head
    beside = [
        b for i, b in buffers.items() if i not in {op.outputs[0] for op in made.graph.operators if op.name == DECODE}
    ]
    assert tflm_arena.greedy_plan(beside) == proof.beside.head
    assert proof.beside.head < 1000 < 128 * 128 < proof.within.head


def test_the_project_has_the_decoder_and_its_memory():
    view = large()
    measured = golden.run(view, vectors.computed(view, 0).inputs).arena
    told = []
    board = boards.load("qemu_m4")
    image = project.images(board, view, measured, "tflm", "speed", told.append, Compress(BITMAP), FIRMWARE)["tflm"]
    packed = graph.load(image.files["model_compressed.tflite"])
    assert image.weights == len(packed.data) < len(view.data)
    assert f"kTflmModelBytes = {len(packed.data)}u" in image.files["model_data.h"]
    assert "#define TFLM_DECOMPRESSION_BYTES 16384\n" in image.files["model_arena.h"]
    assert "resolver.AddDecode()" in image.files["model_ops.h"]
    assert "#define TFLM_DECODES_PRUNE 1" in image.files["model_ops.h"]
    assert "TFLM_DECODES_LUT" not in image.files["model_ops.h"]
    assert '#error "TFLM_DECODE is not in Chirale_TensorFLowLite' in image.files["model_ops.h"]
    assert DECODE in image.files[tflm.OPERATORS_FILE].split()
    assert f"model sha256 {view.sha256}, its weights compressed" in image.files["model_data.cc"].splitlines()[0]
    assert json.loads(image.files["compression.json"])["tensors"][0]["scheme"] == BITMAP
    assert image.plan == {"decompression": 16384}
    assert len([text for text in told if "2 of 2 layers are compressed" in text]) == 1


def test_without_compression_the_project_is_as_before():
    view = large()
    measured = golden.run(view, vectors.computed(view, 0).inputs).arena
    board = boards.load("qemu_m4")
    files = project.images(board, view, measured, "tflm", "speed", lambda _: None)["tflm"].files
    assert "#define TFLM_DECOMPRESSION_BYTES 0\n" in files["model_arena.h"]
    assert "TFLM_DECODES" not in files["model_ops.h"] and "compression.json" not in files


def test_the_decoders_are_those_of_the_model():
    view = graph.load(tflite(*two_layers(pruned((128, 128), 0.95), shared((128, 128), 8))))
    assert tflm.decoders(view) == ()
    assert tflm.decoders(compress(view, "auto").graph) == ("LUT", "PRUNE")
    assert tflm.decoders(compress(view, CODEBOOK).graph) == ("LUT",)


def test_the_arduino_library_has_no_decoder():
    """Without a source tree the tflm runtime is Chirale_TensorFLowLite."""
    view = large()
    measured = golden.run(view, vectors.computed(view, 0).inputs).arena
    board, told = boards.load("nano33"), []
    found = project.images(board, view, measured, "tflm", "speed", told.append, Compress("auto"))
    assert found["tflm"].weights == len(view.data)
    assert [text for text in told if "weights stay as they are: the Arduino library" in text] == told
    with pytest.raises(UsageError, match=r"--compress bitmap: .*take --compress none, --runtime compiled, or"):
        project.images(board, view, measured, "tflm", "speed", told.append, Compress(BITMAP))
    with pytest.raises(UsageError, match="TFLM_DECODE is not in Chirale_TensorFLowLite"):
        tflm.check_arduino(compress(view, BITMAP).graph)
