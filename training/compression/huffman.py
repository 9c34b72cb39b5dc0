"""Entropy coding: the weights are stored as positions, codebooks and Huffman codes, without loss.

The last step of Han, Mao and Dally, "Deep Compression", 2016; the code is `training.coding`'s. The model does not
change; it is checked that its weights come back bit by bit, and conversion is told that they are to be coded.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from training import backend, coding
from training.fitting import TrainingData
from training.settings.sharing import Huffman


def apply(model: Any, data: TrainingData, settings: Huffman) -> Any:
    """`model`, marked; raises RuntimeError where its weights do not come back."""
    del settings
    tensors = coding.keras_tensors(model)
    with data.reporter.task("coding weights", len(tensors)) as update:
        packed = coding.pack(tensors)
        back = coding.unpack(packed)
        for number, (name, tensor) in enumerate(tensors.items(), 1):
            if back[name].shape != tensor.shape or not np.array_equal(back[name], tensor):
                raise RuntimeError(f"the weights of {name} do not come back from their code")
            update(number, f"{len(packed)} bytes")
    return backend.with_scheme(model, replace(backend.scheme(model), coded=True))
