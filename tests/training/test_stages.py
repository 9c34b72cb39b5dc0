import csv
import io
from pathlib import Path

import pytest
from click.testing import CliRunner

from convert.cache import Cache
from convert.errors import UsageError
from training import coding, stages, train
from training.recipe import Recipe, load

TEXT = """
name = "tiny_deep_compression"
seed = 3
data = { dataset = "digits" }
model = { architecture = "lenet_300_100", width = 0.2 }
train = { epochs = 6, batch_size = 32, learning_rate = 5e-3 }

[[compress]]
technique = "prune"
epochs = 3
batch_size = 32
sparsity = 0.8

[[compress]]
technique = "share"
epochs = 1
batch_size = 32
entries = 8
biases = 8

[[compress]]
technique = "huffman"
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    file.write_text(TEXT)
    return file


@pytest.fixture(scope="module")
def recipe(path: Path) -> Recipe:
    return load(str(path))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return Cache(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def run(recipe: Recipe, cache: Cache) -> list[stages.Stage]:
    return stages.stages(recipe, cache)


def test_each_stage_is_smaller_and_has_its_own_accuracy(run: list[stages.Stage]) -> None:
    names = ["original", "pruned", "pruned + shared", "pruned + shared + Huffman"]
    assert [stage.name for stage in run] == names
    original, pruned, shared, coded = run
    assert original.size == 4 * original.parameters == 4 * (64 * 60 + 60 + 60 * 20 + 20 + 20 * 10 + 10)
    assert original.size > 3 * pruned.size > 6 * shared.size > 6 * coded.size
    assert pruned.nonzeros == shared.nonzeros == coded.nonzeros < 0.25 * original.parameters
    assert shared.error == coded.error
    assert 31 < pruned.value_bits < 33
    assert 3 < shared.value_bits < 6


def test_the_bytes_are_those_of_the_coded_model(run: list[stages.Stage], recipe: Recipe, cache: Cache) -> None:
    tensors = coding.keras_tensors(train.run(recipe, cache).model())
    assert run[-1].size == len(coding.pack(tensors))
    assert run[-2].size == len(coding.pack(tensors, entropy=False))
    assert run[-1].size - sum(tensor.size for tensor in run[-1].tensors) == 8


def test_tables_average_over_seeds(run: list[stages.Stage]) -> None:
    other = [stages.Stage(s.name, s.parameters, s.nonzeros + 10, s.size + 100, 0.5, s.tensors) for s in run]
    rows = stages.table([run, other])
    assert rows[0]["ratio"] == f"{(run[0].size + 50) / (run[0].size + 50):.1f}"
    assert rows[3]["bytes"] == run[3].size + 50
    assert rows[3]["non-zeros"] == run[3].nonzeros + 5
    assert rows[3]["test error"] == f"{(run[3].error + 0.5) / 2:.2%}"
    assert rows[3]["seeds"] == f"{run[3].error:.2%}, 50.00%"
    layers = stages.layer_table([run, other])
    assert [row["tensor"] for row in layers] == [t.name for t in run[0].tensors]
    kernel = run[3].tensors[0]
    assert layers[0]["bytes"] == kernel.size
    assert layers[0]["ratio"] == f"{4 * 64 * 60 / kernel.size:.1f}"


def test_the_command_writes_both_files_and_goes_on_from_the_cache(
    run: list[stages.Stage], path: Path, cache: Cache, tmp_path: Path
) -> None:
    arguments = ["--recipe", str(path), "--seeds", "3", "--output", str(tmp_path), "--cache", str(cache.root)]
    done = CliRunner().invoke(stages.main, arguments)
    assert done.exit_code == 0, done.output
    text = (tmp_path / "stages.md").read_text()
    assert text in done.output
    assert f"| pruned + shared + Huffman | {run[3].nonzeros} |" in text
    rows = list(csv.DictReader(io.StringIO((tmp_path / "stages.csv").read_text())))
    whole = {row["stage"]: row for row in rows if not row["tensor"]}
    assert [int(row["bytes"]) for row in whole.values()] == [stage.size for stage in run]
    last = [row for row in rows if row["tensor"] and row["stage"] == run[3].name]
    assert sum(int(row["bytes"]) for row in last) + 8 == run[3].size


def test_a_recipe_without_steps_has_no_stages(recipe: Recipe, cache: Cache) -> None:
    with pytest.raises(UsageError, match=r"has no \[\[compress\]\] step, so it has no stages; add one"):
        stages.stages(recipe.model_copy(update={"compress": []}), cache)


@pytest.mark.parametrize(("seeds", "words"), [("1,x", "no list of seeds"), ("1,1", "seeds are different numbers")])
def test_wrong_seeds_are_refused(seeds: str, words: str, path: Path) -> None:
    done = CliRunner().invoke(stages.main, ["--recipe", str(path), "--seeds", seeds])
    assert done.exit_code == 2
    assert words in done.output


@pytest.mark.parametrize("name", ["deep_compression_300_100", "deep_compression_5"])
def test_the_recipes_share_their_float_model_with_the_literatures(name: str) -> None:
    ours, dense = load(name), load(name.replace("deep_compression", "lenet"))
    assert (ours.seed, ours.data, ours.model, ours.train) == (dense.seed, dense.data, dense.model, dense.train)
    assert [step.technique for step in ours.compress] == ["iterative_prune", "share", "huffman"]
