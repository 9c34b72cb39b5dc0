"""Training with weights rounded to few bits: straight-through gradients, and steps that are learned with the weights.

Esser et al., "Learned Step Size Quantization", 2020: the forward pass computes with round(clip(w / s)) * s, rounding
passes gradients as if it were not there, and the step's own gradient is scaled by 1 / sqrt(weights * largest integer).
Steps are learned as logarithms, as in Jain et al., "Trained Quantization Thresholds", 2020, which keeps them positive
and makes one learning rate serve all of them. Without learned steps it is the plain straight-through estimator (Bengio,
Léonard and Courville, "Estimating or Propagating Gradients Through Stochastic Neurons", 2013).

Pruned weights stay zero. Batch normalisation is folded first, so that what is rounded is what will be stored.
Activations are rounded to the format's width by the conversion, not while training.
"""

import math
from typing import Any

import numpy as np

from convert.scheme import Grid, Scheme
from training import backend, folding, rounding, surgery
from training.fitting import TrainingData, fit
from training.settings.quantization import QatBits


def apply(model: Any, data: TrainingData, settings: QatBits) -> Any:
    """A trained copy with kernels on grids, and a scheme; UsageError for an unknown layer in `skip`.

    Layers that have a grid already keep its width: after `mixed_precision` each is trained at the bits chosen for it.
    """
    folded, before = folding.fold(model), backend.scheme(model).grids
    chosen = rounding.layers(folded, settings.skip)
    wrapper = _rounding_layer()
    grids = {
        layer.name: rounding.grid(
            layer,
            before[layer.name].bits if layer.name in before else settings.weight_bits,
            settings.per_channel,
            "mse",
        )
        for layer in chosen
    }
    # Zeros of weights that are rounded already are not pruning's.
    masks = {layer.name: np.float32((layer.get_weights()[0] != 0) | (layer.name in before)) for layer in chosen}
    wrapped = surgery.rebuild(
        folded,
        {
            layer.name: surgery.with_weights(
                wrapper(
                    surgery.copy(layer),
                    grids[layer.name],
                    masks[layer.name],
                    settings.learn_scales,
                    name=f"{layer.name}_rounded",
                ),
                [*layer.get_weights(), np.log(np.asarray(grids[layer.name].scales, np.float32))],
            )
            for layer in chosen
        },
    )
    fit(wrapped, data, settings, "qat_bits", settings.distillation)
    trained: dict[str, surgery.Replacement] = {}
    for layer in chosen:
        kernel, *rest, logs = wrapped.get_layer(f"{layer.name}_rounded").get_weights()
        grids[layer.name] = Grid(grids[layer.name].bits, tuple(map(float, np.exp(logs))))
        layer.set_weights([kernel * masks[layer.name], *rest])
        trained[layer.name] = surgery.copy(layer, rounding.round_to(layer, grids[layer.name]))
    others = {
        layer.name: surgery.copy(layer, wrapped.get_layer(layer.name).get_weights())
        for layer in folded.layers
        if layer.name not in trained and layer.weights
    }
    return backend.with_scheme(surgery.rebuild(folded, trained | others), Scheme(settings.format, grids))


def _rounding_layer() -> Any:
    """The Keras layer that computes as another one with a rounded kernel; used while training alone."""
    tf, keras = backend.tensorflow(), backend.keras()

    class Rounding(keras.layers.Wrapper):  # type: ignore[misc,name-defined]
        def __init__(self, layer: Any, grid: Grid, mask: Any, learn: bool, **options: Any) -> None:
            super().__init__(layer, **options)
            self.mask = tf.constant(mask)
            self.end, self.learn, self.count = float(rounding.largest(grid.bits)), learn, len(grid.scales)

        def build(self, shape: Any) -> None:
            super().build(shape)
            self.kernel_name = "depthwise_kernel" if hasattr(self.layer, "depthwise_kernel") else "kernel"
            self.variable = getattr(self.layer, self.kernel_name)
            # Last of the weights, and made here so that they are.
            self.logs = self.add_weight("log_steps", (self.count,), trainable=self.learn)
            self.weakening = 1 / math.sqrt(int(np.prod(self.variable.shape)) / self.count * self.end)

        @property
        def weights(self) -> list[Any]:
            return [*self.layer.weights, self.logs]

        def call(self, inputs: Any) -> Any:
            logs = self.logs * self.weakening + tf.stop_gradient(self.logs * (1 - self.weakening))
            steps = tf.exp(logs)
            if self.kernel_name == "depthwise_kernel" and self.count > 1:
                steps = tf.reshape(steps, self.variable.shape[2:])
            clipped = tf.clip_by_value(self.variable / steps, -self.end, self.end)
            rounded = (clipped + tf.stop_gradient(tf.round(clipped) - clipped)) * steps * self.mask
            # The layer's own arithmetic with another kernel; past Keras, which would list the variable anew.
            object.__setattr__(self.layer, self.kernel_name, rounded)
            try:
                return self.layer(inputs)
            finally:
                object.__setattr__(self.layer, self.kernel_name, self.variable)

    return Rounding
