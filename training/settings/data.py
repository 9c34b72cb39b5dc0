"""[data]: which samples."""

from typing import Annotated, Literal, Union

from pydantic import Field

from training.settings.base import Section


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


Data = Annotated[Union[FashionMnist, Digits, BreastCancer, Motion, WavFolder], Field(discriminator="dataset")]  # noqa: UP007 (recipe.py reads the members of the union)
