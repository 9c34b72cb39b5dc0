"""Recipes: TOML files that say how a model is made; training/settings holds the tables and their defaults.

A recipe is looked up by name (training/recipes/NAME.toml) or by path. Everything that is wrong with one is said in
one sentence that names the key, what was given and what is allowed.
"""

import difflib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from convert.errors import UsageError, one_of
from training.settings.architectures import Model
from training.settings.base import Section, Share, Train
from training.settings.binary import Binarize
from training.settings.comparison import Comparison
from training.settings.compression import Step
from training.settings.data import Data
from training.settings.firmware import Firmware
from training.settings.preprocessing import KINDS, Preprocessing

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RECIPES = Path(__file__).resolve().parent / "recipes"


class Require(Section):
    """What the result must reach; None asks for nothing."""

    int8_accuracy: Share | None = None
    max_accuracy_drop: Share | None = None  # float minus int8
    min_sparsity: Share | None = None  # zeros in the pruned layers' kernels


MOVED = {"data.window": "preprocessing.length", "data.hop": "preprocessing.hop"}


class Recipe(Section):
    """How to make a model: data, architecture, training, compression in order, and what must come out."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]*$")
    description: str = ""
    seed: int = Field(default=1, ge=0, lt=2**31)
    data: Data
    preprocessing: Preprocessing | None = None  # None: the data set's default, if it has a raw form
    model: Model
    train: Train
    compress: list[Step] = Field(default=[])
    firmware: Firmware = Firmware()
    require: Require = Require()
    comparison: Comparison | None = None  # what training/compare.py measures; None: see its --comparison

    @model_validator(mode="after")
    def _kind(self) -> "Recipe":
        allowed = KINDS.get(self.data.dataset, ())
        if self.preprocessing is not None and self.preprocessing.kind not in allowed:
            allows = f"it takes {one_of(list(allowed))}" if allowed else "it takes none: leave the table out"
            raise ValueError(
                f'preprocessing.kind = "{self.preprocessing.kind}" does not go with data.dataset = '
                f'"{self.data.dataset}"; {allows}'
            )
        return self

    @model_validator(mode="after")
    def _sequence(self) -> "Recipe":
        check_sequence(self.model, self.compress)
        if self.require.min_sparsity is not None and not any(step.makes_zeros for step in self.compress):
            raise ValueError("require.min_sparsity needs a step in compress that makes zeros, such as prune or iht")
        return self

    @model_validator(mode="after")
    def _variants(self) -> "Recipe":
        for variant in self.comparison.variants if self.comparison else ():
            try:
                check_sequence(variant.model or self.model, variant.compress)
            except ValueError as e:
                raise ValueError(f"comparison variant {variant.name!r}: {e}") from e
        return self


_STATES = {
    "float": "plain float weights",
    "quantized": "quantisation-aware layers",
    "rounded": "weights rounded to few bits",
    "shared": "weights on a codebook",
    "binary": "binary weights",
    "tree": "a tree",
    "decision tree": "a decision tree, complete as it is grown",
}


def check_sequence(model: Model, steps: Sequence[Step]) -> None:
    """Whether each step can work on what the one before leaves; raises ValueError with a sentence."""
    state, source, zeros = model.leaves, f"architecture {model.architecture}", False
    for step in steps:
        if state not in step.takes:
            raise ValueError(
                f"compress runs {', '.join(s.technique for s in steps)}: {step.technique} takes a model with "
                f"{one_of([_STATES[s] for s in step.takes])}, and {source} leaves {_STATES[state]}"
            )
        if step.technique == "pqat" and not zeros:
            raise ValueError("compress runs pqat without prune before it: there are no zeros to preserve; use qat")
        state, source = step.leaves or state, step.technique
        zeros = zeros or step.makes_zeros


def state(recipe: Recipe) -> str:
    """What state a recipe's last model is in: "float", "binary", "tree" ..."""
    found: str = recipe.model.leaves
    for step in recipe.compress:
        found = step.leaves or found
    return found


def check_firmware(recipe: Recipe) -> None:
    """Raise UsageError, before a long training, for a recipe whose network of bits no firmware runs."""
    last = recipe.compress[-1] if recipe.compress else None
    if isinstance(last, Binarize) and not last.integer:
        raise UsageError(
            f'recipe {recipe.name} makes a binary network with scheme = "{last.scheme}", which keeps layers in '
            'floating point and runs on the host alone; firmware takes scheme = "integer_bnn" or "integer_tnn"'
        )


def names() -> list[str]:
    """The recipes that come with the project."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def load(name_or_path: str) -> Recipe:
    """Read a recipe by name or path; raises UsageError with one sentence for everything that is wrong."""
    path = _find(name_or_path)
    return _valid(_table(path, "recipe"), f"recipe {path}")


def with_comparison(recipe: Recipe, path: Path) -> Recipe:
    """The recipe with the comparison of a TOML file of its own; raises UsageError as `load` does."""
    table = {"comparison": _table(path, "comparison")}
    return _valid(recipe.model_dump() | table, f"comparison {path}")


def _table(path: Path, what: str) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise UsageError(f"{what} {path} is not valid TOML: {e}; correct the file") from e
    except OSError as e:
        raise UsageError(f"{what} {path} cannot be read: {e.strerror}; check its name and permissions") from e


def _valid(table: dict[str, Any], where: str) -> Recipe:
    try:
        return Recipe.model_validate(table)
    except ValidationError as e:
        raise UsageError(f"{where}: {_sentence(e.errors()[0])}") from e


def _find(name_or_path: str) -> Path:
    if name_or_path in names():
        return RECIPES / f"{name_or_path}.toml"
    path = Path(name_or_path)
    if path.is_file():
        return path
    if path.suffix == ".toml" or len(path.parts) > 1:
        raise UsageError(f"recipe file {name_or_path} does not exist; give a TOML file or one of {one_of(names())}")
    hint = _closest(name_or_path, names())
    raise UsageError(f"unknown recipe {name_or_path!r}; allowed are {one_of(names())}, or a path to a TOML file{hint}")


# From pydantic's errors to sentences


def _closest(given: str, allowed: Sequence[str]) -> str:
    near = difflib.get_close_matches(given, allowed, n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def _members(annotation: Any) -> dict[str, type[Section]]:
    """The tagged sections in an annotation by their tag, e.g. {"prune": Prune}; empty for anything else."""
    found: dict[str, type[Section]] = {}
    for argument in get_args(annotation):
        if isinstance(argument, type) and issubclass(argument, Section):
            for field in ("dataset", "kind", "architecture", "technique"):
                if field in argument.model_fields:
                    found[get_args(argument.model_fields[field].annotation)[0]] = argument
        else:
            found.update(_members(argument))
    return found


def _sections_in(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return [annotation] if issubclass(annotation, Section) else []
    return [section for argument in get_args(annotation) for section in _sections_in(argument)]


def _walk(loc: Sequence[int | str]) -> tuple[str, type[Section] | None]:
    """A pydantic location as the user writes it (`compress[0].sparsity`), and the section that holds its last part."""
    section: type[Section] | None = Recipe
    holder, key, tags = section, "", dict[str, type[Section]]()
    for part in loc:
        if isinstance(part, int):
            key += f"[{part}]"
        elif part in tags:
            section, tags = tags[part], {}
        else:
            key += f".{part}" if key else part
            holder = section
            field = section.model_fields.get(part) if section else None
            # pydantic moves an Annotated field's discriminator out of the annotation; the union is left.
            annotation = field.annotation if field else None
            tags = _members(annotation) if annotation is not None else {}
            inner = _sections_in(annotation) if annotation is not None else []
            section = inner[0] if len(inner) == 1 else None
    return key, holder


_TYPES = {
    "string_type": "a string in quotes",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "an array [...]",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "dict_type": "a table",
    "int_from_float": "a whole number",
}
_BOUNDS = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


def _sentence(error: ErrorDetails) -> str:
    """One sentence: the key, what was given, what is allowed."""
    kind, given, context = error["type"], error["input"], error.get("ctx", {})
    key, holder = _walk(error["loc"])
    if kind == "extra_forbidden" and key in MOVED:
        return f"unknown key {key}; it is {MOVED[key]} now"
    if kind == "extra_forbidden":
        allowed = sorted(holder.model_fields) if holder else []
        last = str(error["loc"][-1])
        return f"unknown key {key}; allowed here are {one_of(allowed)}{_closest(last, allowed)}"
    if kind == "missing":
        return f"{key} is missing; {_describe(holder, error['loc'][-1])}"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        tag = str(context["discriminator"]).strip("'")
        allowed = sorted(_members(_annotation(error["loc"])))
        value = given.get(tag) if isinstance(given, dict) else None
        if value is None:
            return f"{key}.{tag} is missing; allowed are {one_of(allowed)}"
        return f"{key}.{tag} = {_show(value)} is unknown; allowed are {one_of(allowed)}{_closest(str(value), allowed)}"
    if kind == "literal_error":
        return f"{key} = {_show(given)} is not allowed; allowed are {context['expected']}"
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        return f"{key} = {_show(given)} is out of range; it must be {words} {context[bound]}"
    if kind in _TYPES:
        return f"{key} = {_show(given)} is of the wrong type; it must be {_TYPES[kind]}"
    if kind == "too_short":
        return f"{key} = {_show(given)} is too short; it needs at least {context['min_length']} entry"
    if kind == "too_long":
        return f"{key} has too many entries; at most {context['max_length']} are allowed"
    if kind == "string_pattern_mismatch":
        return f"{key} = {_show(given)} is not allowed; use lower-case letters, digits, - and _, a letter first"
    if kind == "value_error":
        return f"{key + ': ' if key else ''}{context['error']}"
    return f"{key} = {_show(given)}: {error['msg']}"


def _annotation(loc: Sequence[int | str]) -> Any:
    """The annotation of the field at a pydantic location."""
    annotation: Any = Recipe
    for part in loc:
        if isinstance(part, int):
            continue
        if part in (tags := _members(annotation)):
            annotation = tags[part]
        else:
            section = next(iter(_sections_in(annotation)), None)
            annotation = section.model_fields[part].annotation if section else None
    return annotation


def _describe(holder: type[Section] | None, name: int | str) -> str:
    field = holder.model_fields.get(str(name)) if holder else None
    kind = getattr(field.annotation, "__name__", "") if field else ""
    words = {"str": "a string", "int": "a whole number", "float": "a number", "list": "an array"}
    return f"give {words[kind]}" if kind in words else f"add a table [{name}]"


def _show(value: object) -> str:
    """A value as TOML writes it, shortened."""
    if isinstance(value, bool):
        return str(value).lower()
    text = f'"{value}"' if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
