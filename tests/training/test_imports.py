from pathlib import Path

import pytest

from convert.paths import ROOT
from training import imports

TRAINING = ROOT / "training"


def test_a_module_depends_on_what_it_imports_and_on_its_package() -> None:
    found = imports.closure({"training.compression.iht"})
    named = {"__init__.py", "compression/__init__.py", "compression/iht.py", "compression/zeros.py", "backend.py"}
    assert {TRAINING / name for name in named} <= found
    assert TRAINING / "compression" / "prune.py" not in found


def test_imports_inside_functions_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "ROOT", tmp_path)
    package = tmp_path / "training"
    package.mkdir()
    texts = {
        "__init__": "",
        "a": "import numpy\ndef f():\n    from training import b",
        "b": "import training.c",
        "c": "",
    }
    for name, text in texts.items():
        (package / f"{name}.py").write_text(text)
    (package / "d.py").write_text("import training.a")
    assert imports.closure({"training.a"}) == {package / f"{name}.py" for name in texts}


def test_an_unknown_module_is_an_error() -> None:
    with pytest.raises(ValueError, match="there is no module training\\.nothing"):
        imports.closure({"training.nothing"})
