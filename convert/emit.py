"""Rendering of the Jinja templates and atomic writing of what they give; the only module that writes source."""

from collections.abc import Mapping
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import jinja2
import numpy as np
import numpy.typing as npt

from convert.cache import atomic_write
from convert.paths import TEMPLATES


def c_array(values: npt.NDArray[np.generic], columns: int = 16) -> str:
    """The body of a C initialiser: integers, or float32 in the shortest form that reads back exactly."""
    flat = values.reshape(-1)
    if flat.dtype.kind == "f":
        words = [f"{np.format_float_scientific(np.float32(v), unique=True)}f" for v in flat.tolist()]
    else:
        words = [str(v) for v in flat.tolist()]
    rows = (words[i : i + columns] for i in range(0, len(words), columns))
    return ",\n".join("    " + ", ".join(row) for row in rows)


def c_string(text: str) -> str:
    """A C string literal, safe for any text."""
    escaped = "".join(
        ch if ch.isprintable() and ord(ch) < 128 and ch not in '"\\?' else f"\\{ord(ch):03o}" if ord(ch) < 256 else "_"
        for ch in text
    )
    return f'"{escaped}"'


def generator() -> str:
    """Name and version, as generated files carry them."""
    try:
        return f"tinyml-pipeline {metadata.version('tinyml-pipeline')}"
    except metadata.PackageNotFoundError:  # run from a source tree that is not installed
        return "tinyml-pipeline"


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=jinja2.select_autoescape(["html.j2"]),
    )
    env.globals["generator"] = generator()
    env.filters["c_array"] = c_array
    env.filters["c_string"] = c_string
    return env


def render(template: str, context: Mapping[str, object]) -> str:
    """Render a template of `templates/`, named relative to it; an undefined name is an error."""
    return _environment().get_template(template).render(context)


def write_tree(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Make `folder` hold exactly `files` (relative names), each written atomically.

    Files whose bytes did not change keep their time stamp, so that nothing is compiled again for nothing.
    """
    for name, content in files.items():
        atomic_write(folder / name, content)
    if folder.is_dir():
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.relative_to(folder).as_posix() not in files:
                path.unlink()
