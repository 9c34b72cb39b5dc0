"""Every technique and architecture that a recipe may name, as a page: `python training/catalogue.py` writes
docs/TECHNIQUES.md from the settings and the modules' own words.
"""

import inspect
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

# Run as a script, Python puts training/ first on its path, where our names would shadow others.
if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from convert.cache import atomic_write
from convert.paths import ROOT
from training.settings.architectures import Model
from training.settings.compression import Step

PAGE = ROOT / "docs" / "TECHNIQUES.md"
_HEAD = """# Techniques and architectures

What a recipe's `[[compress]]` and `[model]` may name. Written by `python training/catalogue.py` from
`training/settings/` and the modules' docstrings. Bold keys have no default. What each technique saves and costs:
[compression.md](compression.md).
"""


def page() -> str:
    """The whole page."""
    techniques = [_entry(s, "compression", s.model_fields["technique"].annotation) for s in _sections(Step)]
    families = [_entry(s, "architectures", s.model_fields["architecture"].annotation) for s in _sections(Model)]
    parts = [_HEAD, "## Techniques", *sorted(techniques), "## Architectures", *sorted(families)]
    return "\n".join(parts).rstrip("\n") + "\n"


def _sections(union: Any) -> tuple[type[BaseModel], ...]:
    members: tuple[type[BaseModel], ...] = get_args(get_args(union)[0])
    return members


def _entry(section: Any, package: str, tag: Any) -> str:
    name = get_args(tag)[0]
    text = [f"### `{name}`", ""]
    text += [inspect.getdoc(import_module(f"training.{package}.{name}")) or "", ""]
    if package == "compression":
        leaves = section.leaves or "what it found"
        text += [f"Takes {', '.join(section.takes)}; leaves {leaves}.", ""]
    keys = [_key(key, field) for key, field in section.model_fields.items() if field.annotation is not tag]
    return "\n".join([*text, f"Keys: {', '.join(keys) or 'none'}.", ""])


def _key(name: str, field: Any) -> str:
    if field.default is PydanticUndefined:
        return f"**{name}**"
    default = str(field.default).lower() if isinstance(field.default, bool) else repr(field.default).replace("'", '"')
    return f"{name} = `{'none' if field.default is None else default}`"


if __name__ == "__main__":
    atomic_write(PAGE, page())
