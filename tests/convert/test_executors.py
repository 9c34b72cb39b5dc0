"""Who executes a format, and what it answers."""

from typing import Any

import numpy as np
import pytest

from convert import executors, graph, variants
from convert.errors import ToolError
from convert.scheme import Scheme
from training import backend, rounding

IMAGES = np.random.default_rng(0).normal(size=(40, 8, 8, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def model() -> Any:
    backend.reset(1)
    layers = backend.keras().layers
    image = layers.Input((8, 8, 4))
    x = layers.Conv2D(16, 3, activation="relu", name="conv")(image)
    # More than 1,024 weights, so that the dynamic format stores them as int8.
    x = layers.Dense(8, activation="relu", name="hidden")(layers.Flatten()(x))
    return backend.keras().Model(image, layers.Softmax()(layers.Dense(3, name="scores")(x)))


@pytest.mark.parametrize(
    ("form", "bits", "able"),
    [
        ("float32", None, ("tflm", "tf.lite")),
        ("float16", None, ("tf.lite",)),
        ("dynamic", None, ("tf.lite",)),
        ("int8", None, ("tflm", "compiled", "tf.lite")),
        ("int8", 4, ("tflm", "compiled", "tf.lite")),
        ("int16x8", None, ("tflm", "compiled", "tf.lite")),
    ],
)
def test_every_format_is_executed_and_answers_like_the_model(
    model: Any, form: Any, bits: int | None, able: tuple[str, ...]
) -> None:
    grids = {} if bits is None else {x.name: rounding.grid(x, bits, True, "mse") for x in rounding.layers(model)}
    coarse = rounding.rounded(model, grids)
    data = variants.to_tflite(coarse, IMAGES, Scheme(form, grids))
    assert executors.executors(data) == able
    answers = executors.predict(data, IMAGES)
    assert answers.shape == (40, 3)
    expected = np.asarray(coarse(IMAGES))
    close = {"float32": 1e-5, "float16": 2e-3, "dynamic": 0.02, "int8": 0.05, "int16x8": 0.01}[form]
    assert np.abs(answers - expected).max() < close


def test_tf_lite_answers_what_tflite_micro_answers(model: Any) -> None:
    """The two ways in differ in nothing but the kernels: here not even in these."""
    data = variants.to_tflite(model, IMAGES, Scheme("float32"))
    np.testing.assert_allclose(executors._tf_lite(data, IMAGES), executors._tflm(data, IMAGES), atol=1e-5)
    integer = variants.to_tflite(model, IMAGES, Scheme("int8"))
    step = graph.load(integer)
    q = step.tensors[step.outputs[0]].quantization
    assert q is not None
    assert np.abs(executors._tf_lite(integer, IMAGES) - executors._tflm(integer, IMAGES)).max() <= 2.01 * q.scale


def test_nothing_executes_a_damaged_file(model: Any) -> None:
    data = variants.to_tflite(model, IMAGES, Scheme())[:2000]
    assert executors.executors(data) == ()
    with pytest.raises(ToolError, match=r"tf\.lite does not execute the model"):
        executors.predict(data, IMAGES)
