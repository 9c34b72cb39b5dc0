import os
from pathlib import Path

import pytest

from convert.cache import Cache, atomic_write, digest, digest_files


def test_a_finished_stage_is_made_once(tmp_path: Path) -> None:
    cache, made = Cache(tmp_path), []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "x").write_text("whole")

    first, cached = cache.get("stage", "key", make)
    assert not cached and (first / "x").read_text() == "whole"
    assert cache.get("stage", "key", make) == (first, True)
    assert len(made) == 1


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_stage_leaves_no_entry(tmp_path: Path, failure: type[BaseException]) -> None:
    def make(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise failure

    with pytest.raises(failure):
        Cache(tmp_path).get("stage", "key", make)
    assert list((tmp_path / "stage").iterdir()) == []


def test_what_a_killed_run_left_is_removed_after_a_day(tmp_path: Path) -> None:
    old, fresh = tmp_path / "stage" / ".old.x", tmp_path / "stage" / ".fresh.x"
    for folder in (old, fresh):
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))
    Cache(tmp_path).get("stage", "key", lambda _: None)
    assert fresh.is_dir() and not old.exists()


def test_two_runs_may_make_the_same_entry(tmp_path: Path) -> None:
    cache = Cache(tmp_path)

    def make(folder: Path) -> None:
        if cache.entry("stage", "key") is None:
            cache.get("stage", "key", lambda other: (other / "x").write_text("first") and None)
        (folder / "x").write_text("second")

    path, _ = cache.get("stage", "key", make)
    assert (path / "x").read_text() == "first"


def test_digest_frames_its_parts() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest(b"1") != digest("1")


def test_digest_of_files_sees_name_and_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("1")
    assert digest_files([tmp_path / "a"], tmp_path) != digest_files([tmp_path / "b"], tmp_path)


def test_atomic_write_keeps_an_equal_file_untouched(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "f"
    atomic_write(path, "text")
    before = path.stat()
    atomic_write(path, b"text")
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    atomic_write(path, "other")
    assert path.read_text() == "other"
    assert [p.name for p in path.parent.iterdir()] == ["f"]
