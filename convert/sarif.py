"""A fit as SARIF 2.1.0, which code hosts show beside the model's file.

OASIS, "Static Analysis Results Interchange Format (SARIF) Version 2.1.0"; of the optional parts those that GitHub's
code scanning reads. A board that was asked for and does not fit is an error; where none was asked for, the others are
notes as long as one board fits.
"""

import hashlib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from convert.fitting import BoardFit, Fit

# Rule, its one line, and what there is to do.
_RULES: Mapping[str, tuple[str, str]] = {
    "ram-exceeded": (
        "The model needs more RAM than the board has.",
        "Make the widest activations smaller, take a runtime or an optimisation that needs less, or another board.",
    ),
    "flash-exceeded": (
        "The model needs more flash than the board has.",
        "Take fewer parameters, a runtime or an optimisation that needs less, or another board.",
    ),
    "operator-refused": (
        "No runtime that was looked at takes the model.",
        "Replace the layer that is named, or choose another runtime.",
    ),
}
_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def log(fit: Fit) -> dict[str, Any]:
    """The SARIF log of a fit: one result a board that does not fit and memory that is exceeded."""
    driver = {
        "name": "tinyml-fit",
        "fullName": "TinyML pipeline: does the model fit the board?",
        "version": _version(),
        "rules": [_rule(name, *texts) for name, texts in _RULES.items()],
    }
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "invocations": [{"executionSuccessful": True, "exitCode": 0 if fit.fits else 3}],
                "artifacts": [{"location": _location(fit.path), "hashes": {"sha-256": fit.model.sha256}}]
                if Path(fit.path).suffix == ".tflite"
                else [{"location": _location(fit.path)}],
                "results": [result for board in fit.boards for result in _results(fit, board)],
            }
        ],
    }


def _version() -> str:
    try:
        return version("tinyml-pipeline")
    except PackageNotFoundError:
        return "unknown"


def _rule(name: str, short: str, help_text: str) -> dict[str, Any]:
    return {
        "id": name,
        "name": "".join(word.capitalize() for word in name.split("-")),
        "shortDescription": {"text": short},
        "fullDescription": {"text": f"{short} Checked before anything is compiled."},
        "help": {"text": help_text},
        "defaultConfiguration": {"level": "error"},
    }


def _location(path: str) -> dict[str, Any]:
    """A path below the current folder as a relative reference, as code hosts want it; another as a file URI."""
    absolute, here = Path(path).resolve(), Path.cwd().resolve()
    if absolute.is_relative_to(here):
        return {"uri": quote(absolute.relative_to(here).as_posix()), "uriBaseId": "%SRCROOT%"}
    return {"uri": absolute.as_uri()}


def _results(fit: Fit, board: BoardFit) -> list[dict[str, Any]]:
    if board.fits:
        return []
    chosen = board.case
    broken = [
        name
        for name, memory in (("ram-exceeded", chosen.ram), ("flash-exceeded", chosen.flash))
        if memory is not None and memory.excess
    ]
    rules = ["operator-refused"] if chosen.refused else broken
    level = "error" if fit.asked or not fit.fits else "note"
    return [_result(fit, board, rule, reason, level) for rule, reason in zip(rules, board.reasons, strict=True)]


def _result(fit: Fit, board: BoardFit, rule: str, reason: str, level: str) -> dict[str, Any]:
    where = f"{board.case.environment} with the {board.case.runtime} runtime"
    advice = "".join(f"\n- {text}" for text in board.advice)
    identity = hashlib.sha256(f"{rule} {board.board} {fit.path}".encode()).hexdigest()
    return {
        "ruleId": rule,
        "ruleIndex": list(_RULES).index(rule),
        "level": level,
        "message": {"text": f"{reason} ({where}).{advice}"},
        "locations": [
            {"physicalLocation": {"artifactLocation": _location(fit.path), "region": {"startLine": 1}}},
        ],
        "partialFingerprints": {"boardAndRule/v1": identity},
        "properties": {"board": board.board, "environment": board.case.environment, "runtime": board.case.runtime},
    }
