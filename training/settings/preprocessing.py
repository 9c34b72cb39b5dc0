"""[preprocessing]: what becomes of raw integers before the model, in C that firmware and training share
(docs/preprocessing.md).
"""

from typing import Annotated, Literal, Union

from pydantic import Field, TypeAdapter, model_validator

from training.settings.base import Section


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


Preprocessing = Annotated[
    Union[NormaliseSamples, Windows, GreyImage, Spectrogram, Mfcc],  # noqa: UP007 (recipe.py reads the members of the union)
    Field(discriminator="kind"),
]
# Which kinds a data set's raw form goes with, the default first; other data sets have no raw form.
KINDS = {
    "motion": ("window", "normalise"),
    "fashion_mnist": ("image",),
    "wav_folder": ("mfcc", "spectrogram"),
}


def default_preprocessing(kind: str) -> Preprocessing:
    """A kind of preprocessing with the schema's defaults."""
    made: Preprocessing = TypeAdapter(Preprocessing).validate_python({"kind": kind})
    return made
