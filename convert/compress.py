"""How weights are stored in flash: what the user asks for, on the command line or in a recipe.

The compiled runtime has a catalogue of formats (convert/compiled/formats); TFLite Micro has look-up tables and bitmaps
(convert/tflm_compress.py).
"""

from dataclasses import dataclass

# What `auto` may spend: instructions of an inference, over those of the dense weights.
MAX_INSTRUCTIONS = 1.5


@dataclass(frozen=True)
class Compress:
    """A way to store weights.

    `mode` is "none" (dense int8), "auto" (for each layer what takes the least flash, under a bound on the inference's
    instructions) or the name of a format, for every layer that it can hold and that it makes smaller.
    """

    mode: str = "none"
    max_instructions: float = MAX_INSTRUCTIONS  # only auto


NONE = Compress()
