"""Which models a comparison makes: the recipe's baseline and its variants, each from every seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from convert.errors import UsageError, one_of
from training.recipe import Recipe, Require
from training.settings.base import Train
from training.settings.comparison import Comparison, Variant

BASELINE = "float model as int8"


@dataclass(frozen=True)
class Run:
    """One model to make: a variant from one seed."""

    name: str
    group: str
    recipe: Recipe

    @property
    def seed(self) -> int:
        """The seed that the model is trained from."""
        return self.recipe.seed


def comparison_of(recipe: Recipe) -> Comparison:
    """The recipe's comparison, or the standard one where it lists none.

    Raises UsageError for a tree, which the standard techniques cannot take.
    """
    if recipe.comparison is not None:
        return recipe.comparison
    if recipe.model.leaves != "float":
        raise UsageError(
            f"recipe {recipe.name} makes a {recipe.model.leaves}, which the standard techniques do not take; "
            "list what to compare under [comparison] in the recipe"
        )
    return standard(recipe.train)


def standard(train: Train) -> Comparison:
    """Techniques that any convolutional or dense network takes, with a fifth of the training's epochs."""
    fit = {
        "epochs": max(1, train.epochs // 5),
        "batch_size": train.batch_size,
        "learning_rate": train.learning_rate / 2,
        "distillation": 0.5,
    }
    calm = fit | {"learning_rate": train.learning_rate / 10}

    def prune(share: float) -> dict[str, Any]:
        return {"technique": "prune", "sparsity": share, **fit}

    steps: Mapping[str, Sequence[Mapping[str, Any]]] = {
        "prune 50 %": [prune(0.5)],
        "prune 80 %": [prune(0.8)],
        "quantisation-aware": [{"technique": "qat", **calm}],
        "prune 80 %, quantisation-aware": [prune(0.8), {"technique": "pqat", **calm}],
    }
    variants = [{"name": name, "compress": list(compress)} for name, compress in steps.items()]
    return Comparison.model_validate({"variants": variants})


def plan(recipe: Recipe, seeds: Sequence[int], only: Sequence[str] = ()) -> list[Run]:
    """All runs, the baseline of each seed first; `only` limits the variants by name or group.

    Raises UsageError for a name that the comparison does not have.
    """
    comparison = comparison_of(recipe)
    listed = [Variant(name=BASELINE, group="baseline"), *comparison.variants]
    known = {name for variant in listed for name in (variant.name, group(variant))}
    if unknown := sorted(set(only) - known):
        raise UsageError(f"the comparison has no {', '.join(map(repr, unknown))}; allowed are {one_of(sorted(known))}")
    chosen = [v for v in listed if not only or v.name == BASELINE or {v.name, group(v)} & set(only)]
    return [Run(v.name, group(v), _recipe(recipe, v, seed)) for v in chosen for seed in seeds]


def group(variant: Variant) -> str:
    """The name under which similar variants stand together."""
    if variant.group:
        return variant.group
    return variant.compress[0].technique if variant.compress else "other models"


def _recipe(recipe: Recipe, variant: Variant, seed: int) -> Recipe:
    # What falls short is marked in the table and stops nothing.
    changes = {
        "seed": seed,
        "model": variant.model or recipe.model,
        "train": variant.train or recipe.train,
        "compress": variant.compress,
        "require": Require(),
        "comparison": None,
    }
    return recipe.model_copy(update=changes)
