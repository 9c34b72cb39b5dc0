import subprocess
import sys
from pathlib import Path

import pytest

from convert.errors import UsageError, one_of
from convert.paths import ROOT
from training import recipe
from training.recipe import Recipe
from training.settings.architectures import Model
from training.settings.compression import Step

INVALID = ROOT / "tests" / "invalid" / "recipes"

ARCHITECTURES = one_of(sorted(recipe._members(Model)))
TECHNIQUES = one_of(sorted(recipe._members(Step)))

SENTENCES = {
    "float16_with_four_bits": "compress[0]: weight_bits = 4 does not go with format = 'float16', whose weights have "
    "their own width; take format int8 or int16x8, or leave weight_bits out",
    "band_above_half_the_rate": "preprocessing: low_hz = 125 and high_hz = 7500 do not rise to at most half of "
    "rate = 8000",
    "fft_shorter_than_frame": "preprocessing: fft = 512 is not a power of two of at least frame = 600",
    "more_coefficients_than_bands": "preprocessing: coefficients = 41 is more than bands = 40",
    "preprocessing_for_sound_on_motion": 'preprocessing.kind = "spectrogram" does not go with data.dataset = "motion"; '
    "it takes normalise or window",
    "preprocessing_of_another_data_set": 'preprocessing.kind = "mfcc" does not go with data.dataset = "digits"; '
    "it takes none: leave the table out",
    "unknown_preprocessing": 'preprocessing.kind = "windows" is unknown; allowed are image, mfcc, normalise, '
    "spectrogram or window; did you mean 'window'?",
    "window_in_data": "unknown key data.window; it is preprocessing.length now",
    "accuracy_in_percent": "require.int8_accuracy = 90 is out of range; it must be at most 1.0",
    "block_with_unknown_key": "unknown key model.blocks[0].strides; allowed here are filters or stride; "
    "did you mean 'stride'?",
    "bool_as_number": "train.epochs = true is of the wrong type; it must be a whole number",
    "channels_given_a_share_and_skipped": "compress[0]: 'conv2' stands in layers and in skip; take it "
    "out of one of them",
    "channels_without_a_share": "compress[0]: share = 0 and no share in layers above 0: nothing would be removed; "
    "give one of them",
    "empty_blocks": "model.blocks = [] is too short; it needs at least 1 entry",
    "fraction_as_whole_number": "train.epochs = 2.5 is of the wrong type; it must be a whole number",
    "hint_without_effect": "compress[0].hint: epochs = 0 and weight = 0 leave the hint without effect; raise "
    "one, or leave the hint out",
    "iht_of_a_decision_tree": "compress runs iht: iht takes a model with a tree, and architecture decision_tree leaves "
    "a decision tree, complete as it is grown",
    "iht_without_bonsai": "compress runs iht: iht takes a model with a tree, and architecture lenet leaves plain float "
    "weights",
    "initial_sparsity_above_final": "compress[0]: initial_sparsity = 0.7 is above sparsity = 0.5",
    "low_rank_by_energy_and_budget": "compress[0]: energy = 0.8 and budget = 0.5 both choose the ranks; give one",
    "missing_key": "train.epochs is missing; give a whole number",
    "missing_table": "model is missing; add a table [model]",
    "missing_tag": f"model.architecture is missing; allowed are {ARCHITECTURES}",
    "name_with_capitals": 'name = "Broken" is not allowed; use lower-case letters, digits, - and _, a letter first',
    "not_toml": "is not valid TOML: Invalid value (at line 1, column 8); correct the file",
    "out_of_range": "train.epochs = 0 is out of range; it must be greater than 0",
    "bonsai_with_prune": "compress runs prune: prune takes a model with plain float weights, and architecture bonsai "
    "leaves a tree",
    "pqat_without_prune": "compress runs pqat without prune before it: there are no zeros to preserve; use qat",
    "prune_after_qat": "compress runs qat, prune: prune takes a model with plain float weights, and qat leaves "
    "quantisation-aware layers",
    "prune_begins_after_end": "compress[0]: begin = 0.9 is not before end = 0.6",
    "layer_pruned_and_skipped": "compress[0]: layers and skip both name 'conv2'; take them out of one of the two",
    "pruning_target_missing": "compress[0]: iterative_prune has neither sparsity nor quality; give one of the two",
    "pruning_target_twice": "compress[0]: iterative_prune has both sparsity and quality; give one of the two",
    "quality_with_global_scope": 'compress[0]: quality sets thresholds, not targets; leave scope = "global" and '
    "layers out",
    "no_instructions_allowed": "firmware.max_instructions = 0.0 is out of range; it must be greater than 0.0",
    "n_not_less_than_m": "compress[0]: n = 4 of m = 4 leaves no zeros; n must be less than m",
    "depthwise_n_of_m": 'compress[0]: depthwise kernels have one input channel and no n of m; use pattern = "blocks"',
    "block_of_one_weight": "compress[0]: block = [1, 1] is no block; use prune or iterative_prune for single weights",
    "block_of_three_sides": "compress[0].block has too many entries; at most 2 are allowed",
    "scale_input_without_xnor": 'compress[0]: scale_input goes with scheme = "xnor" alone; scheme is "bnn"',
    "sparsity_of_one": "compress[0].sparsity = 1.0 is out of range; it must be less than 1.0",
    "sparsity_required_without_prune": "require.min_sparsity needs a step in compress that makes zeros, "
    "such as prune or iht",
    "student_with_layers_of_its_own": 'compress[0]: student.architecture = "bonsai" cannot be a student: its layers '
    "are of its own kind; take a plain network, or make it the recipe's [model] and use distillation there",
    "too_many_stages": "model.filters has too many entries; at most 4 are allowed",
    "unknown_architecture": f'model.architecture = "lenets" is unknown; allowed are {ARCHITECTURES}; '
    "did you mean 'lenet'?",
    "unknown_augmentation": "unknown key train.augment.rotate; allowed here are flip, noise, scale or shift",
    "unknown_dataset": 'data.dataset = "digit" is unknown; allowed are breast_cancer, digits, fashion_mnist, motion '
    "or wav_folder; did you mean 'digits'?",
    "unknown_key": "unknown key train.learning_rat; allowed here are augment, batch_size, epochs, label_smoothing, "
    "learning_rate, schedule or warmup; did you mean 'learning_rate'?",
    "unknown_key_at_top": "unknown key sede; allowed here are comparison, compress, data, description, firmware, "
    "model, name, preprocessing, require, seed or train; did you mean 'seed'?",
    "unknown_schedule": "train.schedule = \"step\" is not allowed; allowed are 'cosine' or 'constant'",
    "unknown_student": f'compress[0].student.architecture = "lenets" is unknown; allowed are {ARCHITECTURES}; '
    "did you mean 'lenet'?",
    "unknown_table": "unknown key requires; allowed here are comparison, compress, data, description, firmware, model, "
    "name, preprocessing, require, seed or train; did you mean 'require'?",
    "unknown_technique": f'compress[0].technique = "prunes" is unknown; allowed are {TECHNIQUES}; '
    "did you mean 'prune'?",
    "value_as_table": "train = 3 is of the wrong type; it must be a table",
    "wrong_type": 'train.epochs = "two" is of the wrong type; it must be a whole number',
}


@pytest.mark.parametrize("defect", sorted(path.stem for path in INVALID.glob("*.toml")))
def test_a_defect_is_one_sentence_with_key_value_and_what_is_allowed(defect: str) -> None:
    path = INVALID / f"{defect}.toml"
    with pytest.raises(UsageError) as caught:
        recipe.load(str(path))
    assert str(caught.value).removeprefix(f"recipe {path}").lstrip(": ") == SENTENCES[defect]


def test_every_sentence_has_its_fixture() -> None:
    assert set(SENTENCES) == {path.stem for path in INVALID.glob("*.toml")}


@pytest.mark.parametrize("name", recipe.names())
def test_shipped_recipes_are_valid_and_named_after_their_files(name: str) -> None:
    found = recipe.load(name)
    assert (found.name, bool(found.description)) == (name, True)
    assert found.require.int8_accuracy is not None


def test_the_shipped_recipes() -> None:
    assert {"bonsai_cancer", "bonsai_digits", "digits", "fashion", "motion", "uno_digits"} <= set(recipe.names())
    require = recipe.load("fashion").require
    assert (require.int8_accuracy, require.max_accuracy_drop, require.min_sparsity) == (0.9, 0.01, 0.6)


def test_an_unknown_recipe_lists_them_and_suggests_one() -> None:
    with pytest.raises(UsageError, match=r"unknown recipe 'fashon'; allowed are .*digits, .*fashion.*'fashion'"):
        recipe.load("fashon")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"recipe file .*absent\.toml does not exist; give a TOML file or one of"):
        recipe.load(str(tmp_path / "absent.toml"))


def test_a_folder_is_not_a_recipe(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        recipe.load(str(tmp_path))


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "latin.toml"
    path.write_bytes(b'name = "\xe9"')
    with pytest.raises(UsageError, match=r"latin\.toml is not valid TOML"):
        recipe.load(str(path))


def test_a_recipe_does_not_change() -> None:
    found = recipe.load("digits")
    with pytest.raises(ValueError, match="frozen"):
        found.seed = 3  # type: ignore[misc]
    assert Recipe.model_validate(found.model_dump()) == found


def test_reading_recipes_does_not_import_tensorflow() -> None:
    code = "import sys, training.train; training.train.load('fashion'); sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
