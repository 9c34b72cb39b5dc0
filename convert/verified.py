"""When each board was last built, run and compared, and with what figures: boards/verified.csv.

A line a board, environment, runtime and model; written by the benchmark over all boards, read for the table of
boards and by convert/fit.py. An empty field is unknown.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from convert.boards import Runtime
from convert.cache import atomic_write
from convert.errors import UsageError
from convert.paths import BOARDS

FILE = "verified.csv"


class Record(BaseModel):
    """One firmware that was built for a board and run; sizes in bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    board: str
    environment: str
    runtime: Runtime
    model: str  # its name
    sha256: str  # of the .tflite
    date: str = Field(pattern=r"^\d{4}-\d\d-\d\d$")
    emulator: str
    vectors: int = Field(ge=0)  # that were run
    equal: int = Field(ge=0)  # of them, those whose output bytes all were the golden ones
    instructions: int | None = None  # of one inference
    cycles: int | None = None  # only where the emulator's cycles are the hardware's
    flash: int | None = None
    static_ram: int | None = None
    arena: int | None = None
    stack: int | None = None

    @field_validator("instructions", "cycles", "flash", "static_ram", "arena", "stack", mode="before")
    @classmethod
    def _unknown(cls, value: object) -> object:
        return None if value == "" else value

    @property
    def passed(self) -> bool:
        """Whether every output byte of every vector was equal."""
        return 0 < self.vectors == self.equal

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What a record is the last one of."""
        return self.board, self.environment, self.runtime, self.model


COLUMNS = tuple(Record.model_fields)


def load(folder: Path = BOARDS) -> list[Record]:
    """The records in the file's order; none where there is no file.

    Raises UsageError for a file that breaks the format, naming line and column.
    """
    path = folder / FILE
    if not path.is_file():
        return []
    reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise UsageError(
            f"boards/{FILE} has the columns {', '.join(reader.fieldnames or ())}; expected are {', '.join(COLUMNS)}. "
            "Write it anew with convert.verified.save"
        )
    records = []
    for row in reader:
        try:
            records.append(Record.model_validate(row))
        except ValidationError as e:
            first = e.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise UsageError(
                f"boards/{FILE}, line {reader.line_num}: column {key}: {first['msg']}, got {first.get('input')!r}"
            ) from e
    return records


def save(records: Iterable[Record], folder: Path = BOARDS) -> None:
    """Add records; of the same board, environment, runtime and model the last one stays. Sorted by these."""
    known = {record.key: record for record in (*load(folder), *records)}
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for key in sorted(known):
        writer.writerow({k: "" if v is None else v for k, v in known[key].model_dump().items()})
    atomic_write(folder / FILE, text.getvalue())


def newest(records: Sequence[Record], board: str) -> list[Record]:
    """All runs of a board on the day of its last one."""
    found = [r for r in records if r.board == board]
    day = max((r.date for r in found), default="")
    return [r for r in found if r.date == day]


def latest(records: Sequence[Record], board: str, sha256: str) -> Record | None:
    """The newest run of a model on a board; of one day, one that counted instructions before others."""
    found = [r for r in records if r.board == board and r.sha256 == sha256]
    return max(found, key=lambda r: (r.date, r.instructions is not None), default=None)
