import csv
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from convert.paths import ROOT
from training import channel_table, compression
from training.channel_table import Cell

TINY = str(ROOT / "tests" / "training" / "tiny.toml")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def run(cache: Path, output: Path, *options: str) -> Result:
    fixed = ["--recipe", TINY, "--cache", str(cache), "--output", str(output)]
    return CliRunner().invoke(channel_table.main, [*fixed, *options])


OPTIONS = ("--criteria", "random,l1", "--shares", "0.25,0.5", "--epochs", "3", "--learning-rate", "0.01")


@pytest.fixture(scope="module")
def finished(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("output")
    result = run(cache, output, *OPTIONS)
    assert result.exit_code == 0, result.output
    assert "4/4 l1, share 0.5, seed 7" in result.output
    return output


def test_every_criterion_and_share_is_measured_before_and_after(finished: Path) -> None:
    with (finished / "channels.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(r["criterion"], r["share"]) for r in rows] == [
        (criterion, share) for criterion in ("random", "l1") for share in ("0.25", "0.5")
    ]
    for row in rows:
        left = {"0.25": (6, 12), "0.5": (4, 8)}[row["share"]]
        stem, pointwise = left
        # kernels 9 s + 9 s + s p + 10 p, four numbers of batch normalisation a channel, ten biases
        expected = 18 * stem + stem * pointwise + 10 * pointwise + 4 * (2 * stem + pointwise) + 10
        assert int(row["parameters"]) == expected < int(row["float_parameters"])
    # A cut hurts, more of it hurts more, and training helps.
    mean = {share: sum(float(r["before"]) for r in rows if r["share"] == share) / 2 for share in ("0.25", "0.5")}
    assert float(rows[0]["float_accuracy"]) > mean["0.25"] > mean["0.5"]
    assert sum(float(r["after"]) - float(r["before"]) for r in rows) > 0


def test_the_second_run_trains_nothing(cache: Path, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "apply", lambda *_: pytest.fail("a finished step ran again"))
    before = (finished / "channels.md").read_text()
    assert run(cache, finished, *OPTIONS).exit_code == 0
    assert (finished / "channels.md").read_text() == before


def test_means_and_deviations_over_seeds() -> None:
    def made(criterion: str, share: float, seed: int, before: float, after: float) -> Cell:
        return Cell(criterion, share, seed, 1234, 5000, 0.9, before, after)

    cells = [made("l1", 0.5, 1, 0.2, 0.80), made("l1", 0.5, 2, 0.4, 0.90), made("apoz", 0.25, 1, 0.5, 0.75)]
    assert channel_table.to_markdown(cells).splitlines() == [
        "| criterion | 25% cut | 25% fine-tuned | 50% cut | 50% fine-tuned |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| l1 |  |  | 30.0 ± 14.1 | 85.0 ± 7.1 |",
        "| apoz | 50.0 | 75.0 |  |  |",
        "| parameters |  | 1,234 |  | 1,234 |",
    ]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--criteria", "l1,l2"), "--criteria names 'l2'; allowed are apoz, entropy, l1, mean_activation, random"),
        (("--shares", "0.5,much"), "--shares is '0.5,much'; give numbers with commas between them"),
        (("--shares", "1.5"), "share = 1.5: Input should be less than 1"),
        (("--seeds", "1,a"), "--seeds is '1,a'; give numbers with commas between them"),
        (("--skip", "steam"), "compress.skip names 'steam', which makes no channels that could go"),
    ],
)
def test_options_that_cannot_work_are_refused(options: tuple[str, ...], sentence: str, cache: Path) -> None:
    result = run(cache, cache / "unused", *options)
    assert result.exit_code == 2
    assert f"error: {sentence}" in result.output
    assert not (cache / "unused").exists()
