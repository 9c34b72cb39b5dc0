"""Formats and grids: every weight is exactly the grid's integer, and all runtimes that take a file agree on it."""

from typing import Any

import numpy as np
import pytest

from convert import compiled, golden, graph, quantize, tflm, variants, vectors
from convert.compiled import host
from convert.errors import UsageError
from convert.scheme import Grid, Scheme
from training import backend, rounding

IMAGES = np.random.default_rng(0).normal(size=(60, 9, 9, 3)).astype(np.float32)
LAYERS = ("conv", "depthwise", "pointwise", "hidden", "scores")


@pytest.fixture(scope="module")
def model() -> Any:
    """One layer of each kind with weights, odd numbers of them, and biases; the last one has none."""
    backend.reset(1)
    layers = backend.keras().layers
    image = layers.Input((9, 9, 3))
    x = layers.Conv2D(5, 3, activation="relu", name="conv")(image)
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.Conv2D(7, 1, activation="relu", name="pointwise")(x)
    x = layers.Dense(9, activation="relu", name="hidden")(layers.Flatten()(x))
    made = backend.keras().Model(image, layers.Dense(3, use_bias=False, name="scores")(x))
    rng = np.random.default_rng(3)
    made.set_weights([rng.normal(size=w.shape, scale=0.3).astype(np.float32) for w in made.get_weights()])
    return made


def _on_grids(model: Any, bits: int, *, per_channel: bool = True, form: Any = "int8") -> tuple[Any, Scheme]:
    grids = {layer.name: rounding.grid(layer, bits, per_channel, "mse") for layer in rounding.layers(model)}
    return rounding.rounded(model, grids), Scheme(form, grids)


def _weights(data: bytes) -> dict[str, graph.Tensor]:
    view = graph.load(data)
    ops = [op for op in view.operators if op.name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")]
    return {name: view.tensors[op.inputs[1]] for name, op in zip(LAYERS, ops, strict=True)}


def _outputs(data: bytes) -> Any:
    view = graph.load(data)
    return golden.run(view, vectors.quantize_inputs(view, IMAGES)).outputs


def test_the_plain_scheme_gives_the_same_bytes_as_before(model: Any) -> None:
    assert variants.to_tflite(model, IMAGES, Scheme()) == quantize.to_int8(model, IMAGES)


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("per_channel", [True, False])
def test_every_weight_is_exactly_its_integer(model: Any, bits: int, per_channel: bool) -> None:
    """Whatever the converter made of the weights, the file has the grid's integers and scales, and fitting biases."""
    coarse, scheme = _on_grids(model, bits, per_channel=per_channel)
    data = variants.to_tflite(coarse, IMAGES, scheme)
    view = graph.load(data)
    for op in view.operators:
        if op.name not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            continue
        name = LAYERS[[o for o in view.operators if o.name != "RESHAPE"].index(op)]
        stored, q = view.tensors[op.inputs[1]], view.tensors[op.inputs[1]].quantization
        assert stored.data is not None and q is not None and not q.zero_points.any()
        assert stored.packed_bits == (4 if bits == 4 else None)
        assert np.abs(stored.data).max() <= 2 ** (bits - 1) - 1
        layer = coarse.get_layer(name)
        shape = [1] * stored.data.ndim
        shape[q.axis or 0] = len(q.scales)
        real = stored.data * q.scales.reshape(shape)
        kernel = layer.get_weights()[0]
        if op.name == "DEPTHWISE_CONV_2D":
            kernel = kernel.reshape(1, *kernel.shape[:2], -1)
        else:
            kernel = kernel.T if op.name == "FULLY_CONNECTED" else kernel.transpose(3, 0, 1, 2)
        np.testing.assert_array_equal(np.float32(real), kernel)
        if len(op.inputs) > 2 and op.inputs[2] >= 0:
            bias, x = view.tensors[op.inputs[2]], view.tensors[op.inputs[0]].quantization
            assert bias.data is not None and bias.quantization is not None and x is not None
            np.testing.assert_allclose(bias.quantization.scales, x.scale * q.scales, rtol=1e-6)
            error = np.abs(bias.data * bias.quantization.scales - layer.get_weights()[1])
            assert (error <= 0.51 * bias.quantization.scales).all()


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_the_answers_are_those_of_the_rounded_model(model: Any, bits: int) -> None:
    coarse, scheme = _on_grids(model, bits)
    data = variants.to_tflite(coarse, IMAGES, scheme)
    view = graph.load(data)
    q = view.tensors[view.outputs[0]].quantization
    assert q is not None
    real = (_outputs(data).view(np.int8).astype(np.float32) - q.zero_point) * q.scale
    expected = np.asarray(coarse(IMAGES))
    assert np.abs(real - expected).mean() < 2 * q.scale
    assert np.abs(real - np.asarray(model(IMAGES))).mean() > np.abs(real - expected).mean() or bits == 8


def test_packed_weights_answer_like_unpacked_ones(model: Any) -> None:
    """INT4 tensors take half the bytes, and TFLite Micro computes with them as with the same integers in int8."""
    coarse, scheme = _on_grids(model, 4)
    packed = variants.to_tflite(coarse, IMAGES, scheme)
    # The same points on grids that claim 5 bits stay int8 tensors.
    wider = Scheme("int8", {name: Grid(5, grid.scales) for name, grid in scheme.grids.items()})
    plain = variants.to_tflite(coarse, IMAGES, wider)
    np.testing.assert_array_equal(_outputs(packed), _outputs(plain))
    for name, tensor in _weights(packed).items():
        np.testing.assert_array_equal(tensor.data, _weights(plain)[name].data)
    kernels = sum(rounding.kernel(layer).size for layer in rounding.layers(model))
    assert 0.45 * kernels < len(plain) - len(packed) < 0.55 * kernels


@pytest.mark.parametrize("bits", [2, 4, 5])
@pytest.mark.parametrize("form", ["int8", "int16x8"])
def test_the_compiled_runtime_gives_the_same_bytes(model: Any, bits: int, form: str) -> None:
    coarse, scheme = _on_grids(model, bits, form=form)
    view = graph.load(variants.to_tflite(coarse, IMAGES, scheme))
    inputs = vectors.quantize_inputs(view, IMAGES)
    expected = golden.run(view, inputs, layers=True)
    outputs, layers = host.run(compiled.compile_model(view), inputs, layers=True)
    np.testing.assert_array_equal(outputs, expected.outputs)
    for tensor, values in (expected.layers or {}).items():
        if layers is not None and tensor in layers:
            np.testing.assert_array_equal(layers[tensor], values)


def test_kernels_for_int8_alone_are_not_registered_for_packed_weights(model: Any) -> None:
    for bits, own in ((4, False), (5, True)):
        coarse, scheme = _on_grids(model, bits)
        entries = tflm.registrations(graph.load(variants.to_tflite(coarse, IMAGES, scheme)))
        assert {bool(e.registration) for e in entries if e.name in ("CONV_2D", "FULLY_CONNECTED")} == {own}


def test_single_layers_on_grids_leave_the_others_as_they_were(model: Any) -> None:
    coarse, scheme = _on_grids(model, 4)
    some = rounding.rounded(model, {"pointwise": scheme.grids["pointwise"]})
    data = variants.to_tflite(some, IMAGES, Scheme("int8", {"pointwise": scheme.grids["pointwise"]}))
    plain = _weights(quantize.to_int8(some, IMAGES))
    for name, tensor in _weights(data).items():
        assert (tensor.packed_bits == 4) == (name == "pointwise")
        if name != "pointwise":
            np.testing.assert_array_equal(tensor.data, plain[name].data)
    assert coarse is not some


def test_a_layer_that_is_called_twice_is_rewritten_in_both_places() -> None:
    backend.reset(2)
    layers = backend.keras().layers
    image = layers.Input((8, 8, 2))
    shared = layers.Conv2D(2, 3, padding="same", name="shared", bias_initializer="ones")
    model = backend.keras().Model(image, layers.Flatten()(shared(layers.ReLU()(shared(image)))))
    coarse, scheme = _on_grids(model, 4)
    view = graph.load(variants.to_tflite(coarse, IMAGES[:, :8, :8, :2], scheme))
    convolutions = [op for op in view.operators if op.name == "CONV_2D"]
    assert [view.tensors[op.inputs[1]].packed_bits for op in convolutions] == [4, 4]
    inputs = vectors.quantize_inputs(view, IMAGES[:, :8, :8, :2])
    np.testing.assert_array_equal(golden.run(view, inputs).outputs, host.run(compiled.compile_model(view), inputs)[0])


def test_a_channel_of_zeros_has_a_scale(model: Any) -> None:
    copy = rounding.rounded(model, {})
    for layer in rounding.layers(copy):
        kernel, *rest = layer.get_weights()
        kernel[..., 0] = 0
        layer.set_weights([kernel, *rest])
    coarse, scheme = _on_grids(copy, 2)
    assert all(scale > 0 for grid in scheme.grids.values() for scale in grid.scales)
    assert not _weights(variants.to_tflite(coarse, IMAGES, scheme))["conv"].data[0].any()  # type: ignore[index]


def test_weights_off_their_grid_and_normalised_ones_are_refused(model: Any) -> None:
    _, scheme = _on_grids(model, 3)
    with pytest.raises(RuntimeError, match="'conv' do not lie on their grid of 3 bits"):
        variants.to_tflite(model, IMAGES, scheme)
    backend.reset(2)
    layers = backend.keras().layers
    image = layers.Input((9, 9, 3))
    x = layers.BatchNormalization(gamma_initializer=backend.keras().initializers.Constant(3.0))(
        layers.Conv2D(4, 3, name="normalised")(image)
    )
    coarse, scheme = _on_grids(backend.keras().Model(image, x), 4)
    with pytest.raises(RuntimeError, match="no operator with the weights of layer 'normalised'; fold"):
        variants.to_tflite(coarse, IMAGES, scheme)


@pytest.mark.parametrize(
    ("form", "kinds"),
    [
        ("float32", {"float32"}),
        ("float16", {"float16"}),
        ("dynamic", {"int8", "float32"}),
        ("int8", {"int8"}),
        ("int16x8", {"int8"}),
    ],
)
def test_formats_store_weights_as_they_say(form: Any, kinds: set[str]) -> None:
    """Dynamic range leaves tensors of fewer than 1,024 weights in floating point."""
    from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

    backend.reset(1)
    layers = backend.keras().layers
    image = layers.Input((9, 9, 3))
    x = layers.Dense(20, name="large")(layers.Flatten()(image))
    model = backend.keras().Model(image, layers.Dense(3, name="small")(x))
    data = variants.to_tflite(model, IMAGES, Scheme(form))
    assert data == variants.to_tflite(model, IMAGES, Scheme(form))
    sub = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0)).subgraphs[0]
    names = {value: name.lower() for name, value in vars(schema.TensorType).items() if not name.startswith("_")}
    large = {names[t.type] for t in sub.tensors if tuple(t.shape) in ((20, 243), (3, 20))}
    assert large - {"float32"} == kinds - {"float32"}
    ends = {names[sub.tensors[i].type] for i in (*sub.inputs, *sub.outputs)}
    assert ends == {{"int8": "int8", "int16x8": "int16"}.get(form, "float32")}


def test_packed_tensors_stand_for_weights_only(model: Any) -> None:
    """INT4 elsewhere, without values, or with too few bytes is refused in a sentence."""
    from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

    coarse, scheme = _on_grids(model, 4)
    data = variants.to_tflite(coarse, IMAGES, scheme)

    def changed(change: Any) -> bytes:
        file = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
        change(file, file.subgraphs[0])
        return variants._packed(file)

    def of_input(_: Any, sub: Any) -> None:
        sub.tensors[sub.inputs[0]].type = schema.TensorType.INT4

    def short(file: Any, sub: Any) -> None:
        buffer = file.buffers[sub.tensors[sub.operators[0].inputs[1]].buffer]
        buffer.data = np.asarray(buffer.data)[:-1]

    def as_bias(_: Any, sub: Any) -> None:
        op = sub.operators[0]
        op.inputs = [*op.inputs[:2], op.inputs[1]]

    with pytest.raises(UsageError, match="type INT4 and is no constant"):
        graph.load(changed(of_input))
    with pytest.raises(UsageError, match=r"damaged TFLite model: tensor .* has 13[0-9] values"):
        graph.load(changed(short))
    with pytest.raises(UsageError, match="allowed for weights of CONV_2D"):
        graph.load(changed(as_bias))
