from pathlib import Path

import jinja2
import numpy as np
import pytest

from convert import emit


def test_c_array_reads_back_exactly() -> None:
    values = np.random.default_rng(0).normal(size=100).astype(np.float32)
    words = emit.c_array(values).replace("f", "").split(",")
    np.testing.assert_array_equal(np.array([float(w) for w in words], np.float32), values)
    assert emit.c_array(np.array([-128, 0, 127], np.int8)) == "    -128, 0, 127"


def test_c_string_is_safe() -> None:
    assert emit.c_string('a"b\\c?\n') == '"a\\042b\\134c\\077\\012"'


def test_an_undefined_name_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        emit.render("common/model_config.h.j2", {"board": "b"})


def test_write_tree_removes_what_is_no_longer_generated(tmp_path: Path) -> None:
    emit.write_tree(tmp_path, {"a/x.c": "1", "b.c": "2"})
    before = (tmp_path / "a/x.c").stat().st_mtime_ns
    emit.write_tree(tmp_path, {"a/x.c": "1"})
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()] == ["a/x.c"]
    assert (tmp_path / "a/x.c").stat().st_mtime_ns == before
