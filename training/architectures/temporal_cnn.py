"""1-D CNN along time for inertial windows: Ordóñez and Roggen, "Deep Convolutional and LSTM Recurrent Neural Networks
for Multimodal Wearable Activity Recognition", 2016, its convolutional part.

Samples are (window, 1, axes) and kernels k x 1: the same arithmetic as Conv1D, in the operator that
quantisation-aware training and TFLite Micro know. A block from c_in to c_out channels holds `k*c_in*c_out` weights
and takes that many multiply-accumulates an output step.
"""

from typing import Any

from training import backend
from training.architectures.parts import average, normalised, scores
from training.settings.architectures import TemporalCnn


def build(settings: TemporalCnn, shape: tuple[int, ...], classes: int) -> Any:
    """Layers `block1`, `block2`, ..., `scores`."""
    keras = backend.keras()
    layers = keras.layers
    window = layers.Input(shape, name="window")
    x = window
    for number, block in enumerate(settings.blocks, 1):
        name = f"block{number}"
        convolution = layers.Conv2D(
            block.filters, (block.kernel, 1), (block.stride, 1), "same", use_bias=False, name=name
        )
        x = normalised(x, convolution, name)
    return keras.Model(window, scores(average(x), classes), name="temporal_cnn")
