"""Recurrent network with gates that depend on the input alone: Bradbury et al., "Quasi-Recurrent Neural Networks",
2017, with f-pooling.

Rows of the sample are the steps of a sequence: a window of T samples of a sensor's axes, or a picture's rows. `depth`
layers, each a pair of convolutions over `kernel` steps to `width` times 32 units, with a ReLU and a sigmoid behind
them: candidates z and forget gates f of all steps at once, and then, unit by unit, h_t = f_t * h_(t-1) +
(1 - f_t) * z_t. The last h is classified. Convolutions see steps on both sides, since a window is complete when the
model sees it.

LSTM and GRU multiply their state by a matrix in every step; here a step is one slice of each, one MUL and one ADD,
written out for all steps, and int8 needs neither variables nor loops. A state stays among the candidates' values, so
that its rounding errors fade with the gates.

With F features a step and T steps behind the first layer's stride, u units: the first layer has `2*(k*F*u + u)`
parameters and takes `T*2*k*F*u` multiply-accumulates, a further one `2*(k*u*u + u)` and `T*2*k*u*u`.

Quantisation-aware training: TFMOT knows neither the multiplications nor the sigmoid and refuses this family; quantise
after training.

With width = 0.5 and depth = 2, 28x28x1 pixels and ten classes: 4,458 parameters and 59,296 multiply-accumulates.
"""

from typing import Any

from convert.errors import UsageError
from training import backend
from training.architectures.blocks import filters
from training.architectures.parts import normalised, scores
from training.settings.architectures import Recurrent

MAX_STEPS = 64
_JOINED = 10  # inputs of a CONCATENATION that TFLite Micro takes


def build(settings: Recurrent, shape: tuple[int, ...], classes: int) -> Any:
    """Layers `layer1_candidate`, `layer1_forget`, `layer1_state2`, ..., `scores`.

    Raises UsageError for samples that are no sequences of rows, and for more steps than sensible firmware holds.
    """
    given = "x".join(str(n) for n in shape)
    if len(shape) != 3 or shape[0] < 2:
        raise UsageError(
            f"architecture recurrent takes samples of two rows and more x columns x channels; samples are {given}"
        )
    steps = -(-shape[0] // settings.stride)
    if steps > MAX_STEPS:
        raise UsageError(
            f"architecture recurrent writes out {steps} steps ({shape[0]} rows, stride {settings.stride}), and at most "
            f"{MAX_STEPS} are allowed; set stride = {-(-shape[0] // MAX_STEPS)} or choose temporal_cnn"
        )
    keras = backend.keras()
    layers = keras.layers
    units = filters(32, settings.width)
    sample = layers.Input(shape, name="sample")
    x = layers.Reshape((shape[0], 1, shape[1] * shape[2]), name="steps")(sample)
    for number in range(1, settings.depth + 1):
        name, stride = f"layer{number}", settings.stride if number == 1 else 1
        states = _states(x, units, settings.kernel, stride, name)
        if number < settings.depth:
            x = _sequence(states, f"{name}_sequence")
    return keras.Model(sample, scores(layers.Flatten(name="features")(states[-1]), classes), name="recurrent")


def _sequence(states: list[Any], name: str) -> Any:
    """The states (n, 1, 1, units) of all steps as (n, steps, 1, units)."""
    layers = backend.keras().layers
    parts = [states[k : k + _JOINED] for k in range(0, len(states), _JOINED)]
    joined = [
        layers.Concatenate(1, name=f"{name}{number}")(part) if len(part) > 1 else part[0]
        for number, part in enumerate(parts, 1)
    ]
    return layers.Concatenate(1, name=name)(joined) if len(joined) > 1 else joined[0]


def _states(x: Any, units: int, kernel: int, stride: int, name: str) -> list[Any]:
    """The states (n, 1, 1, units) of all steps of (n, steps, 1, features)."""
    layers = backend.keras().layers

    def convolution(part: str, bias: bool) -> Any:
        return layers.Conv2D(units, (kernel, 1), (stride, 1), "same", use_bias=bias, name=f"{name}_{part}")

    candidate = normalised(x, convolution("candidate", False), f"{name}_candidate")
    forget = layers.Activation("sigmoid", name=f"{name}_gate")(convolution("forget", True)(x))
    kept = layers.Multiply(name=f"{name}_lost")([candidate, forget])
    new = layers.Subtract(name=f"{name}_new")([candidate, kept])  # (1 - f) * z of all steps
    steps = new.shape[1]

    def step(tensor: Any, number: int, part: str) -> Any:
        crop = ((number, steps - 1 - number), (0, 0))
        return layers.Cropping2D(crop, "channels_last", name=f"{name}_{part}{number + 1}")(tensor)

    states = [step(new, 0, "new")]
    for number in range(1, steps):
        old = layers.Multiply(name=f"{name}_old{number + 1}")([states[-1], step(forget, number, "gate")])
        states.append(layers.Add(name=f"{name}_state{number + 1}")([old, step(new, number, "new")]))
    return states
