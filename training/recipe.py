"""Recipes: TOML files that say how a model is made. This schema is the only place where defaults live.

A recipe is looked up by name (training/recipes/NAME.toml) or by path. Everything that is wrong with one is said in
one sentence that names the key, what was given and what is allowed.
"""

import difflib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import ErrorDetails

from convert.errors import UsageError, one_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RECIPES = Path(__file__).resolve().parent / "recipes"

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]


class Section(BaseModel):
    """A table of the TOML file: unknown keys and wrong types are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


# [data]


class FashionMnist(Section):
    """Fashion-MNIST: 28x28 grey images of clothes, 10 classes."""

    dataset: Literal["fashion_mnist"]


class Digits(Section):
    """scikit-learn's 8x8 handwritten digits, 10 classes."""

    dataset: Literal["digits"]


class BreastCancer(Section):
    """scikit-learn's breast cancer: 30 standardised measures of cell nuclei, 2 classes."""

    dataset: Literal["breast_cancer"]


class Motion(Section):
    """Shoulder exercises, six axes worn at the wrist, 7 classes, 50 samples a second."""

    dataset: Literal["motion"]
    test_subjects: list[int] = Field(default=[8, 9, 10], min_length=1)  # people of whom nothing is trained on


class WavFolder(Section):
    """A folder of your own with one subfolder of WAV files a class (16 bits, one channel)."""

    dataset: Literal["wav_folder"]
    folder: str = Field(min_length=1)
    test_share: float = Field(default=0.2, gt=0, lt=1)  # of the files, chosen by the hash of their names


# [preprocessing]


class Preprocess(Section):
    """What becomes of raw integers before the model, in C that firmware and training share (docs/preprocessing.md)."""

    kind: str


class Normalised(Preprocess):
    """What is normalised by the training data."""

    deviations: float = Field(default=5.0, gt=0, le=64)  # standard deviations on either side of the mean in int8


class NormaliseSamples(Normalised):
    """Every sample alone."""

    kind: Literal["normalise"]


class Windows(Normalised):
    """Sliding windows of normalised samples."""

    kind: Literal["window"]
    length: int = Field(default=100, ge=2, le=4096)  # samples
    hop: int = Field(default=25, ge=1, le=4096)  # samples between the starts of two windows


class GreyImage(Preprocess):
    """8-bit grey images of any size, averaged by area to the model's size."""

    kind: Literal["image"]
    crop: bool = True  # cut the middle out in the model's proportions; false squeezes
    invert: bool = False  # for images that are dark on white where the data set's are white on dark


class Sound(Normalised):
    """Spectra of overlapping frames of sound. Frequencies in Hz; frame, hop and fft in samples."""

    rate: int = Field(default=16000, ge=1000, le=96000)
    frame: int = Field(default=480, ge=8, le=4096)
    hop: int = Field(default=320, ge=1, le=4096)  # samples between the starts of two frames
    fft: int = Field(default=512, ge=8, le=4096)  # a power of two, at least frame
    pre_emphasis: float = Field(default=0.0, ge=0, lt=1)  # x[n] - pre_emphasis * x[n - 1]
    bands: int = Field(default=40, ge=2, le=254)
    low_hz: float = Field(default=125.0, ge=0)  # lower end of the lowest band
    high_hz: float = Field(default=7500.0, gt=0)  # upper end of the highest
    equal_area: bool = False  # triangles of equal area instead of equal height
    length: int = Field(default=49, ge=1, le=1024)  # frames in a window
    window_hop: int = Field(default=49, ge=1, le=1024)  # frames between the starts of two windows

    @model_validator(mode="after")
    def _sizes(self) -> "Sound":
        if self.fft & (self.fft - 1) or self.fft < self.frame:
            raise ValueError(f"fft = {self.fft} is not a power of two of at least frame = {self.frame}")
        if not self.low_hz < self.high_hz <= self.rate / 2:
            raise ValueError(
                f"low_hz = {self.low_hz:g} and high_hz = {self.high_hz:g} do not rise to at most half of "
                f"rate = {self.rate}"
            )
        return self


class Spectrogram(Sound):
    """Logarithms of the energies in bands."""

    kind: Literal["spectrogram"]
    scale: Literal["mel", "linear"] = "mel"  # how the bands' middles are spread


class Mfcc(Sound):
    """Mel-frequency cepstral coefficients."""

    kind: Literal["mfcc"]
    coefficients: int = Field(default=10, ge=1, le=254)

    @model_validator(mode="after")
    def _not_more_than_bands(self) -> "Mfcc":
        if self.coefficients > self.bands:
            raise ValueError(f"coefficients = {self.coefficients} is more than bands = {self.bands}")
        return self


# [model]


class SeparableBlock(Section):
    """A depthwise 3x3 convolution with `stride`, then a pointwise one to `filters` channels."""

    filters: Positive
    stride: int = Field(default=1, ge=1, le=2)


class DsCnn(Section):
    """Depthwise-separable CNN for images."""

    architecture: Literal["ds_cnn"]
    stem_filters: Positive = 16
    stem_kernel: int = Field(default=3, ge=1, le=11)
    stem_stride: int = Field(default=2, ge=1, le=4)
    blocks: list[SeparableBlock] = Field(min_length=1)


class LeNet(Section):
    """Convolutions with pooling between them, then dense layers."""

    architecture: Literal["lenet"]
    filters: list[Positive] = Field(default=[8, 16], min_length=1, max_length=4)
    kernel: int = Field(default=3, ge=1, le=7)
    dense: list[Positive] = [32]


class TemporalBlock(Section):
    """A convolution of `kernel` samples along time to `filters` channels."""

    filters: Positive
    kernel: int = Field(default=5, ge=1, le=31)
    stride: int = Field(default=2, ge=1, le=4)


class TemporalCnn(Section):
    """1-D CNN along time for sensor windows."""

    architecture: Literal["temporal_cnn"]
    blocks: list[TemporalBlock] = Field(min_length=1)


class Bonsai(Section):
    """A shallow sparse tree over a sparse projection (Kumar, Goyal and Varma 2017); [[compress]] makes it sparse."""

    architecture: Literal["bonsai"]
    depth: int = Field(default=2, ge=0, le=6)  # 2^(depth + 1) - 1 nodes
    projection: int = Field(default=10, ge=1, le=127)  # dimension of the space that the tree works in
    sigma: float = Field(default=1.0, gt=0)  # steepness of the nodes' tanh
    first_sharpness: float = Field(default=1.0, gt=0)  # of the branches: near 0 all paths count alike
    last_sharpness: float = Field(default=30.0, gt=0)  # reached at the end of [train], kept while compressing
    regularization: float = Field(default=0.0, ge=0)  # weight of the squared parameters in the loss


# [train] and [[compress]]


class Fit(Section):
    """What every training phase needs to know."""

    epochs: Positive
    batch_size: Positive = 128
    learning_rate: float = Field(default=1e-3, gt=0, le=1)  # at its peak
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: Share = 0.1  # share of the steps in which the learning rate rises linearly
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)


class Augment(Section):
    """Random changes of training samples, drawn anew for every sample and epoch."""

    flip: bool = False  # mirror left and right, every second sample
    shift: int = Field(default=0, ge=0, le=16)  # at most so many positions along each axis, zeros move in
    noise: float = Field(default=0.0, ge=0)  # standard deviation, in the input's unit
    scale: float = Field(default=0.0, ge=0, lt=1)  # amplitude times 1 +- this


class Train(Fit):
    """The float model's training."""

    augment: Augment = Augment()


class Compress(Fit):
    """What every compression step can do."""

    distillation: Share = 0.0  # weight of the float model's answers in the targets, beside the labels


class Prune(Compress):
    """Magnitude pruning with a polynomial schedule (Zhu and Gupta 2017)."""

    technique: Literal["prune"]
    sparsity: float = Field(gt=0, lt=1)  # share of zeros in each pruned kernel at the end
    initial_sparsity: Share = 0.0
    begin: Share = 0.0  # share of the steps after which pruning starts
    end: Share = 0.6  # share of the steps after which the final sparsity is reached; the rest recovers accuracy
    power: float = Field(default=3.0, gt=0)
    updates: Positive = 50  # how often masks are drawn anew between begin and end
    depthwise: bool = False  # prune depthwise kernels too
    skip: list[str] = []  # layers, by name, that stay dense

    @model_validator(mode="after")
    def _order(self) -> "Prune":
        if self.begin >= self.end:
            raise ValueError(f"begin = {self.begin} is not before end = {self.end}")
        if self.initial_sparsity > self.sparsity:
            raise ValueError(f"initial_sparsity = {self.initial_sparsity} is above sparsity = {self.sparsity}")
        return self


class Qat(Compress):
    """Quantisation-aware training to int8 (Jacob et al. 2018)."""

    technique: Literal["qat"]


class Pqat(Compress):
    """Quantisation-aware training that leaves pruned weights at zero."""

    technique: Literal["pqat"]


class Iht(Compress):
    """Bonsai's iterative hard thresholding, then training on the support that it left."""

    technique: Literal["iht"]
    sparsity_z: Share = 0.5  # share of zeros in the projection
    sparsity_w: Share = 0.5  # in the nodes' predictors W
    sparsity_v: Share = 0.5  # in the nodes' predictors V
    sparsity_theta: Share = 0.0  # in the branches
    every: Positive = 10  # steps between two thresholdings
    settle: Share = 0.5  # share of the steps after which the support stays as it is


class Require(Section):
    """What the result must reach; None asks for nothing."""

    int8_accuracy: Share | None = None
    max_accuracy_drop: Share | None = None  # float minus int8
    min_sparsity: Share | None = None  # zeros in the pruned layers' kernels


Data = Annotated[Union[FashionMnist, Digits, BreastCancer, Motion, WavFolder], Field(discriminator="dataset")]  # noqa: UP007 (see _members)
Model = Annotated[Union[DsCnn, LeNet, TemporalCnn, Bonsai], Field(discriminator="architecture")]  # noqa: UP007
Step = Annotated[Union[Prune, Qat, Pqat, Iht], Field(discriminator="technique")]  # noqa: UP007


Preprocessing = Annotated[
    Union[NormaliseSamples, Windows, GreyImage, Spectrogram, Mfcc],  # noqa: UP007
    Field(discriminator="kind"),
]
# Which kinds a data set's raw form goes with, the default first; other data sets have no raw form.
KINDS = {
    "motion": ("window", "normalise"),
    "fashion_mnist": ("image",),
    "wav_folder": ("mfcc", "spectrogram"),
}
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
    compress: list[Step] = []
    require: Require = Require()

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
        techniques = [step.technique for step in self.compress]
        quantised = [i for i, t in enumerate(techniques) if t in ("qat", "pqat")]
        if quantised and quantised[0] != len(techniques) - 1:
            raise ValueError(
                f"compress runs {', '.join(techniques)}: quantisation-aware training comes once and last, "
                "because a quantised model cannot be compressed further"
            )
        if "pqat" in techniques and "prune" not in techniques:
            raise ValueError("compress runs pqat without prune before it: there are no zeros to preserve; use qat")
        tree = self.model.architecture == "bonsai"
        misplaced = sorted({t for t in techniques if (t == "iht") != tree})
        if misplaced:
            raise ValueError(
                f"compress runs {', '.join(misplaced)}: architecture bonsai is compressed by iht, the others by prune, "
                "qat and pqat"
            )
        if self.require.min_sparsity is not None and not {"prune", "iht"} & set(techniques):
            raise ValueError("require.min_sparsity needs a prune or iht step in compress")
        return self


def default_preprocessing(kind: str) -> Preprocessing:
    """A kind of preprocessing with the schema's defaults."""
    made: Preprocessing = TypeAdapter(Preprocessing).validate_python({"kind": kind})
    return made


def names() -> list[str]:
    """The recipes that come with the project."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def load(name_or_path: str) -> Recipe:
    """Read a recipe by name or path; raises UsageError with one sentence for everything that is wrong."""
    path = _find(name_or_path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise UsageError(f"recipe {path} is not valid TOML: {e}; correct the file") from e
    except OSError as e:
        raise UsageError(f"recipe {path} cannot be read: {e.strerror}; check its permissions") from e
    try:
        return Recipe.model_validate(table)
    except ValidationError as e:
        raise UsageError(f"recipe {path}: {_sentence(e.errors()[0])}") from e


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
        allowed = sorted(_members(_annotation(key)))
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


def _annotation(key: str) -> Any:
    return Recipe.model_fields[key.split(".")[0].split("[")[0]].annotation


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
