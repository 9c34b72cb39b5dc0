"""[[compress]]: every technique, by its name."""

from typing import Annotated, Union

from pydantic import Field

from training.settings import (
    binary,
    channels,
    distillation,
    low_rank,
    post_training,
    pruning,
    quantization,
    sharing,
    trees,
)

Step = Annotated[
    Union[  # noqa: UP007 (recipe.py reads the members of the union)
        binary.Step,
        channels.Step,
        distillation.Step,
        low_rank.Step,
        post_training.Step,
        pruning.Step,
        quantization.Step,
        sharing.Step,
        trees.Step,
    ],
    Field(discriminator="technique"),
]
