"""The test set as the device sees it, kept beside a built model: raw input bytes, golden output bytes, labels.

`convert/build.py` writes it once; whoever evaluates a device needs neither the data set nor the training.
"""

import io
import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from convert.cache import atomic_write
from convert.errors import UsageError

FILE = Path("golden") / "test.npz"

Bytes = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class About:
    """What the arrays are of."""

    model: str
    sha256: str  # of the model's file
    scores: str | None  # numpy's name of the outputs' type, one value a class; None: the outputs are no scores
    classes: tuple[str, ...] = ()  # names; empty where unknown
    reset: bool = False  # the model keeps a state, and each sample starts from its first one
    sequence: bool = False  # the model keeps a state, and the samples are one sequence


@dataclass(frozen=True)
class Samples:
    """n samples: inputs (n, input bytes), golden outputs (n, output bytes), labels (n,) or None where unknown."""

    about: About
    inputs: Bytes
    outputs: Bytes
    labels: Labels | None

    def __len__(self) -> int:
        return len(self.inputs)

    def spread(self, count: int | None) -> "Samples":
        """`count` samples spread evenly; all of them for None. A sequence gives its first ones."""
        if count is None or count >= len(self):
            return self
        chosen = np.arange(count) if self.about.sequence else np.arange(count) * len(self) // count
        labels = None if self.labels is None else self.labels[chosen]
        return Samples(self.about, self.inputs[chosen], self.outputs[chosen], labels)

    def predicted(self, outputs: Bytes) -> Labels | None:
        """The class of each row of output bytes: the largest score, the lowest index of a tie; None without scores."""
        if self.about.scores is None:
            return None
        scores = np.ascontiguousarray(outputs).view(np.dtype(self.about.scores))
        return np.asarray(scores.reshape(len(outputs), -1).argmax(axis=1), np.int64)

    @property
    def class_names(self) -> tuple[str, ...]:
        """A name for every class that labels or scores can name."""
        count = len(self.about.classes)
        if self.about.scores is not None:
            count = max(count, self.outputs.shape[1] // np.dtype(self.about.scores).itemsize)
        return tuple(self.about.classes[k] if k < len(self.about.classes) else str(k) for k in range(count))

    def save(self, output: Path) -> None:
        """Write it below an output folder, atomically."""
        arrays: dict[str, npt.NDArray[Any]] = {"inputs": self.inputs, "outputs": self.outputs}
        if self.labels is not None:
            arrays["labels"] = self.labels
        buffer = io.BytesIO()
        np.savez_compressed(buffer, about=np.array(json.dumps(asdict(self.about))), **arrays)  # type: ignore[arg-type]
        atomic_write(output / FILE, buffer.getvalue())


def load(output: Path, command: str) -> Samples:
    """Read what `save` wrote; UsageError names the `command` to run where it is missing or damaged."""
    path = output / FILE
    try:
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            labels = file.get("labels")
            about["classes"] = tuple(about["classes"])
            return Samples(About(**about), file["inputs"], file["outputs"], labels)
    except FileNotFoundError:
        raise UsageError(f"{path} is not there: nothing was built yet; run: {command}") from None
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as e:
        raise UsageError(f"{path} cannot be read ({e}); run again: {command}") from e
