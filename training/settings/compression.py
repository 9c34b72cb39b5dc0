"""[[compress]]: every technique, by its name."""

from typing import Annotated, Union

from pydantic import Field

from training.settings import channels, distillation, pruning, quantization, sharing, trees

Step = Annotated[
    Union[  # noqa: UP007 (recipe.py reads the members of the union)
        channels.Step,
        distillation.Step,
        pruning.Step,
        quantization.Step,
        sharing.Step,
        trees.Step,
    ],
    Field(discriminator="technique"),
]
