"""TensorFlow, tf_keras and TFMOT, imported only when something is really trained or loaded.

Keras 2 (tf_keras) is what tensorflow-model-optimization works with, so TF_USE_LEGACY_KERAS has to be set before
TensorFlow is imported for the first time.
"""

import contextlib
import importlib
import importlib.metadata
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py

from convert.scheme import Scheme

_SCHEME = "tinyml_scheme"
LIBRARIES = ("tensorflow", "tf_keras", "tensorflow-model-optimization", "numpy", "h5py")


def versions() -> dict[str, str]:
    """Installed versions of the libraries that decide what training gives, without importing them."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep file descriptor 2 silent: TensorFlow's C++ side writes there before its log level can be set.

    What was written is shown after all where the body raises. Python's own warnings are silenced as well.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as sink, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.dup2(sink.fileno(), 2)
        failed = True
        try:
            yield
            failed = False
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
            if failed:
                sink.seek(0)
                sys.stderr.write(sink.read().decode(errors="replace"))


def _load(name: str) -> Any:
    if name in sys.modules and "tensorflow" in sys.modules:
        return sys.modules[name]
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet():
        tf = importlib.import_module("tensorflow")
        tf.get_logger().setLevel("ERROR")
        return importlib.import_module(name)


def tensorflow() -> Any:
    """The module `tensorflow`."""
    return _load("tensorflow")


def keras() -> Any:
    """The module `tf_keras` (Keras 2)."""
    return _load("tf_keras")


def tfmot() -> Any:
    """The module `tensorflow_model_optimization`."""
    return _load("tensorflow_model_optimization")


def reset(seed: int) -> None:
    """Start from the same state whatever ran before: seeds, deterministic kernels, fresh layer names."""
    tensorflow().config.experimental.enable_op_determinism()
    keras().backend.clear_session()
    keras().utils.set_random_seed(seed)


def scheme(model: Any) -> Scheme:
    """How the model's numbers are to be stored; a plain model becomes int8."""
    found: Scheme = getattr(model, _SCHEME, Scheme())
    return found


def with_scheme(model: Any, scheme: Scheme) -> Any:
    """The model, marked with how its numbers are to be stored; files keep the mark."""
    setattr(model, _SCHEME, scheme)
    return model


def save(model: Any, path: Path) -> None:
    """Write a model as HDF5, without optimizer: quantisation-aware models reload exactly from no other single file."""
    with quiet():
        model.save(path, save_format="h5", include_optimizer=False)
    if scheme(model) != Scheme():
        with h5py.File(path, "r+") as file:
            file.attrs[_SCHEME] = scheme(model).to_json()


def load(path: Path, custom_layers: Mapping[str, Any] | None = None) -> Any:
    """Read a model that `save` wrote, quantisation-aware or not; layers of our own by class name."""
    with tfmot().quantization.keras.quantize_scope(), quiet():
        model = keras().models.load_model(path, custom_objects=dict(custom_layers or {}), compile=False)
    with h5py.File(path) as file:
        text = file.attrs.get(_SCHEME)
    return model if text is None else with_scheme(model, Scheme.from_json(text))
