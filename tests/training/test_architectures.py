"""What the families promise of their layers, on the models that the recipes build."""

import pytest

from training import architectures, datasets
from training.recipe import load, names


@pytest.mark.parametrize("name", names())
def test_recipes_average_by_pooling_and_end_in_class_probabilities(name: str) -> None:
    recipe = load(name)
    card = datasets.card(recipe.data)
    model = architectures.build(recipe.model, card.shape, len(card.classes))
    # MEAN is rounded otherwise by the TFLite Micro that Arduino's library carries.
    assert not any(type(layer).__name__.startswith("Global") for layer in model.layers)
    assert model.output_shape == (None, len(card.classes))
    assert model.input_shape == (None, *card.shape)
