"""docs/SUPPORTED_OPS.md says what the code takes."""

from convert.compiled import supported, supported_ops


def test_page_is_current() -> None:
    assert supported_ops.PAGE.read_text() == supported_ops.page(), "run python -m convert.compiled.supported_ops"


def test_every_operator_has_a_sentence_and_types() -> None:
    rows = [line.split(" | ") for line in supported_ops.page().splitlines() if line.startswith("| ")][1:]
    assert [row[0].strip("| ") for row in rows] == supported()
    for row in rows:
        assert row[2].endswith("."), row[0]
        assert row[1], row[0]
