"""What the compiled runtime does not take is refused by name, with what is allowed and what to do."""

from collections.abc import Callable

import numpy as np
import pytest
from models import Op, T, tflite
from tflite_builder import Sweep

from convert import graph
from convert.compiled import compile_model, supported
from convert.errors import UsageError


def unsupported_operator() -> graph.Graph:
    tensors = [T((1, 4)), T((1, 4))]
    return graph.load(tflite(tensors, [Op("COS", [0], [1])], [0], [1]))


def float_convolution() -> graph.Graph:
    s = Sweep()
    s.conv(s.input((1, 4, 4, 2)), 2)
    for t in s.tensors[:2]:
        t.dtype, t.scale = "f4", None
    return s.build()


def int16_activations() -> graph.Graph:
    s = Sweep()
    s.transpose(s.input((1, 4)), (1, 0))
    s.binary("MAXIMUM", s.input((1, 4)), s.input((1, 4)), 0.05, 3)
    for t in s.tensors[-3:]:
        t.dtype = "i2"
    return s.build()


def unquantised_input() -> graph.Graph:
    s = Sweep()
    s.dense(s.input((1, 4)), 2)
    s.tensors[0].scale = None
    return s.build()


def weights_computed_at_run_time() -> graph.Graph:
    s = Sweep()
    x, w = s.input((1, 4)), s.input((3, 4), zero_point=0)
    s.op("FULLY_CONNECTED", [x, w], s.tensor((1, 3)), "FullyConnectedOptions")
    return s.build()


def asymmetric_weights() -> graph.Graph:
    s = Sweep()
    s.dense(s.input((1, 4)), 2, per_channel=False)
    s.tensors[1].zero_point = 3
    return s.build()


def scales_along_the_wrong_axis() -> graph.Graph:
    s = Sweep()
    s.conv(s.input((1, 4, 4, 2)), 3)
    s.tensors[1].axis = 1
    return s.build()


def int16_bias() -> graph.Graph:
    s = Sweep()
    s.dense(s.input((1, 4)), 2)
    s.tensors[2].dtype = "i2"
    return s.build()


def wrong_output_shape() -> graph.Graph:
    s = Sweep()
    s.conv(s.input((1, 4, 4, 2)), 3)
    s.tensors[3].shape = (1, 5, 4, 3)
    return s.build()


def unknown_fused_activation() -> graph.Graph:
    s = Sweep()
    s.dense(s.input((1, 4)), 2)
    s.ops[0].fields["fusedActivationFunction"] = 5
    return s.build()


def pool_that_rescales() -> graph.Graph:
    s = Sweep()
    s.pool(s.input((1, 4, 4, 2)))
    s.tensors[1].scale = 0.2
    return s.build()


def shapes_that_do_not_broadcast() -> graph.Graph:
    s = Sweep()
    s.add(s.input((1, 4)), s.input((1, 1)), 0.1)
    s.tensors[1].shape = (1, 3)
    return s.build()


def mean_over_three_groups_of_axes() -> graph.Graph:
    s = Sweep()
    s.mean(s.input((2, 2, 2, 2, 2)), (0, 2, 4), False)
    return s.build()


def softmax_with_another_output_scale() -> graph.Graph:
    s = Sweep()
    s.unary("SOFTMAX", s.input((1, 4)), 1 / 128, -128, beta=1.0)
    return s.build()


def softmax_over_too_many_elements() -> graph.Graph:
    s = Sweep()
    s.unary("SOFTMAX", s.input((1, 4096)), 1 / 256, -128, beta=1.0)
    return s.build()


def logistic_with_another_zero_point() -> graph.Graph:
    s = Sweep()
    s.unary("LOGISTIC", s.input((1, 4)), 1 / 256, 0)
    return s.build()


def paddings_computed_at_run_time() -> graph.Graph:
    s = Sweep()
    s.pad(s.input((2, 2)), ((1, 1), (0, 0)))
    s.tensors[1].data = None
    s.inputs.append(1)
    return s.build()


def variable_tensor() -> graph.Graph:
    s = Sweep()
    s.add(s.input((1, 4)), s.tensor((1, 4), variable=True), 0.1)
    return s.build()


def constant_output() -> graph.Graph:
    s = Sweep()
    s.dense(s.input((1, 4)), 2)
    g = s.build()
    return graph.Graph(g.data, g.tensors, g.operators, g.inputs, (1,))


REFUSED: dict[Callable[[], graph.Graph], str] = {
    unsupported_operator: r"does not have COS; it has ABS, ADD, .*UNPACK.*\. Use --runtime tflm",
    float_convolution: r"operator 0 \(CONV_2D\): tensor 0 .* is FLOAT32 .* takes INT8 here; convert .* full-integer",
    int16_activations: r"operator 1 \(MAXIMUM\): tensor 3 .* is INT16",
    unquantised_input: r"tensor 0 .* has no quantisation where one scale is needed",
    weights_computed_at_run_time: r"tensor 1 .* computed at run time and must be constant",
    asymmetric_weights: r"tensor 1 .* has zero point 3 where weights have 0",
    scales_along_the_wrong_axis: r"tensor 1 .* has 3 scales along axis 1, not 3 along axis 0, or 1",
    int16_bias: r"bias tensor 2 .* is not INT32 with 2 elements",
    wrong_output_shape: r"does not have the shape \[1, 4, 4, '...'\] of its options",
    unknown_fused_activation: r"fused activation number 5 is not supported; use none, ReLU",
    pool_that_rescales: r"quantised differently",
    shapes_that_do_not_broadcast: r"do not broadcast in 4 dimensions",
    mean_over_three_groups_of_axes: r"axes \[0, 2, 4\] .* form more than two groups; reduce them in two steps",
    softmax_with_another_output_scale: r"has scale 0.0078125 and zero point -128, not 1/256, -128",
    softmax_over_too_many_elements: r"runs over 4096 elements; at most 4095",
    logistic_with_another_zero_point: r"has zero point 0, not -128",
    paddings_computed_at_run_time: r"computed at run time and must be constant",
    variable_tensor: r"is a variable; use a stateless model",
    constant_output: r"output tensor 1 .* is constant; remove it",
}


@pytest.mark.parametrize("build", REFUSED, ids=lambda build: build.__name__)
def test_refused(build: Callable[[], graph.Graph]) -> None:
    with pytest.raises(UsageError, match=REFUSED[build]):
        compile_model(build())


def test_the_list_of_operators_is_the_documented_one() -> None:
    needed = (
        "CONV_2D DEPTHWISE_CONV_2D FULLY_CONNECTED ADD AVERAGE_POOL_2D MAX_POOL_2D MEAN PAD RESHAPE SOFTMAX LOGISTIC "
        "RELU RELU6 QUANTIZE DEQUANTIZE"
    )
    assert set(needed.split()) <= set(supported())
    assert supported() == sorted(supported())


def test_weights_that_overflow_the_accumulator_are_refused() -> None:
    s = Sweep()
    x = s.input((1, 1 << 17))
    w = s.tensor((1, 1 << 17), zero_point=0, data=np.ones((1, 1 << 17)))
    s.op("FULLY_CONNECTED", [x, w], s.tensor((1, 1)), "FullyConnectedOptions")
    with pytest.raises(UsageError, match="131072 products an output may overflow 32 bits"):
        compile_model(s.build())
