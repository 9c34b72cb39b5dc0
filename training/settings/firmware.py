"""How a recipe's model is stored on the device."""

from pydantic import Field

from training.settings.base import Section


class Firmware(Section):
    """What `convert/build.py` does with the weights where its command line says nothing."""

    compress: str = "none"  # none, auto or a format; as --compress
    max_instructions: float = Field(default=1.5, gt=0)  # with auto, over those of dense weights
