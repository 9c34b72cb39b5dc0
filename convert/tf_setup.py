"""TensorFlow as this project uses it: legacy Keras (tf_keras) for tensorflow-model-optimization, and no log noise.

TensorFlow takes seconds to import and reads its settings at that moment, so it is imported in functions only, and
after `prepare`.
"""

import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_SETTINGS = {
    # tensorflow-model-optimization works with tf_keras only.
    "TF_USE_LEGACY_KERAS": "1",
    # The converter traces Keras 3 models with TensorFlow.
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


def prepare() -> None:
    """Set what TensorFlow and Keras read when they are imported."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)


def tensorflow() -> Any:
    """Import TensorFlow, silently."""
    prepare()
    with silent():
        import tensorflow
    return tensorflow


@contextmanager
def silent() -> Iterator[None]:
    """Keep warnings and log lines off the console: Python's, and what native code writes to file descriptor 2.

    Standard output is left alone, so a progress bar there goes on. What an exception says is not touched.
    """
    loggers = [logging.getLogger(name) for name in ("tensorflow", "absl")]
    levels = [logger.level for logger in loggers]
    saved = os.dup(2)
    try:
        with tempfile.TemporaryFile() as sink, warnings.catch_warnings():
            os.dup2(sink.fileno(), 2)
            warnings.simplefilter("ignore")
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
