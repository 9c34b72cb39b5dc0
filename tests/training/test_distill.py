from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import log_softmax, rel_entr, softmax

from convert.cache import Cache
from convert.errors import UsageError
from convert.paths import ROOT
from training import architectures, backend, compression, datasets, fitting, imports, train, validate
from training.compression import answers, distill, hints
from training.progress import Reporter
from training.recipe import Recipe, load
from training.settings import distillation
from training.settings.architectures import LeNet, Model
from training.settings.base import Augment, Fit
from training.settings.data import Digits
from training.settings.distillation import Distill
from training.settings.quantization import Qat

TINY = ROOT / "tests" / "training" / "tiny.toml"
TEACHER = LeNet(architecture="lenet", filters=[8, 16], dense=[32])
STUDENT = {"architecture": "lenet", "filters": [4], "dense": [16]}


def settings(**changes: object) -> Distill:
    return Distill.model_validate(
        {"technique": "distill", "epochs": 1, "batch_size": 32, "student": STUDENT, **changes}
    )


@pytest.fixture(scope="module")
def data() -> fitting.TrainingData:
    digits = datasets.load(Digits(dataset="digits"), Path())
    return fitting.TrainingData(digits, Augment(), 1, Reporter())


@pytest.fixture(scope="module")
def short(data: fitting.TrainingData) -> fitting.TrainingData:
    """Four batches of 32."""
    return replace(
        data, dataset=replace(data.dataset, x_train=data.dataset.x_train[:128], y_train=data.dataset.y_train[:128])
    )


@pytest.fixture(scope="module")
def teacher(data: fitting.TrainingData) -> Any:
    backend.reset(1)
    model = architectures.build(TEACHER, (8, 8, 1), 10)
    fitting.fit(model, data, Fit(epochs=15, batch_size=32, learning_rate=1e-2), "float")
    assert fitting.accuracy(model, data.dataset) > 0.93
    return model


def weights(model: Any) -> list[npt.NDArray[np.float32]]:
    return [np.asarray(w) for w in model.get_weights()]


# The loss


def test_the_loss_is_hintons() -> None:
    rng = np.random.default_rng(0)
    soft, scores = softmax(rng.normal(size=(5, 4)), axis=1), rng.normal(size=(5, 4)) * 3
    soft[0] = [1, 0, 0, 0]
    wanted = 9 * rel_entr(soft, np.exp(log_softmax(scores / 3, axis=1))).sum(axis=1)
    assert np.allclose(answers.divergence(soft, scores, 3.0), wanted)


def test_several_teachers_answer_with_the_mean_of_their_softened_probabilities(
    teacher: Any, data: fitting.TrainingData
) -> None:
    other = architectures.build(TEACHER, (8, 8, 1), 10)
    x = data.dataset.x_test[:20]
    logarithms = [np.log(fitting.predict(model, x)) for model in (teacher, other)]
    wanted = np.mean([softmax(p / 5, axis=1) for p in logarithms], axis=0)
    assert np.allclose(answers.softened([teacher, other], 5.0)(x), wanted, atol=1e-5)


def test_scores_of_a_model_that_ends_without_a_softmax_layer() -> None:
    keras = backend.keras()
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(4, activation="softmax")])
    x = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    assert np.allclose(softmax(answers.logits(model)(x), axis=1), model(x), atol=1e-6)


def test_labels_and_answers_travel_together(teacher: Any, short: fitting.TrainingData) -> None:
    given = answers.softened([teacher], 4.0)
    labels, soft = distill.unmixed(fitting.targets(short.with_teacher(given), distill.SOFT))
    assert np.array_equal(labels, np.eye(10)[short.dataset.y_train])
    assert np.allclose(soft, given(short.dataset.x_train), atol=1e-5)


def test_answers_that_are_computed_once_teach_the_same(teacher: Any, short: fitting.TrainingData) -> None:
    asked = settings(epochs=2, learning_rate=1e-2)
    once = compression.apply(teacher, short, asked)
    backend.keras().utils.set_random_seed(short.seed)
    each = architectures.build(asked.student, (8, 8, 1), 10)
    soft = answers.softened([teacher], asked.temperature)
    learner = distill._learner(each, soft, [teacher], None, short, asked, once=False)
    fitting.fit(learner, short, asked, "distill")
    for a, b in zip(weights(once), weights(each), strict=True):
        assert np.allclose(a, b, atol=1e-4)


# What it does


def test_the_student_learns_from_the_teacher_and_not_from_wrong_labels(
    teacher: Any, data: fitting.TrainingData
) -> None:
    wrong = replace(data.dataset, y_train=np.random.default_rng(0).permutation(data.dataset.y_train))
    asked = settings(epochs=10, weight=1.0, learning_rate=1e-2)
    student = compression.apply(teacher, replace(data, dataset=wrong), asked)
    assert fitting.accuracy(student, data.dataset) > 0.85
    student = compression.apply(teacher, replace(data, dataset=wrong), asked.model_copy(update={"weight": 0.0}))
    assert fitting.accuracy(student, data.dataset) < 0.5


def test_the_student_knows_a_class_that_it_has_never_seen(teacher: Any, data: fitting.TrainingData) -> None:
    """Hinton et al. leave all threes of MNIST out: the answers to other digits say what a three looks like."""
    seen, threes = data.dataset.y_train != 3, data.dataset.y_test == 3
    x_train, y_train = data.dataset.x_train[seen], data.dataset.y_train[seen]
    without = replace(data, dataset=replace(data.dataset, x_train=x_train, y_train=y_train))
    found = {}
    for weight in (0.0, 1.0):
        asked = settings(epochs=15, weight=weight, temperature=8.0, learning_rate=1e-2)
        probabilities = fitting.predict(compression.apply(teacher, without, asked), data.dataset.x_test[threes])
        found[weight] = np.log(probabilities[:, 3] + 1e-12).mean()
    assert found[1.0] > found[0.0] + 2


def test_the_teacher_answers_samples_as_the_student_sees_them(
    teacher: Any, short: fitting.TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(distill, "fit", lambda _model, given, *_: asked.append(given.teacher))
    compression.apply(teacher, short, settings())
    compression.apply(teacher, replace(short, augment=Augment(shift=1)), settings())
    assert asked[0] is not None
    assert asked[1] is None  # nothing computed before: each batch is answered when it is there
    monkeypatch.undo()
    student = compression.apply(teacher, replace(short, augment=Augment(shift=1)), settings(weight=1.0, epochs=2))
    plain = compression.apply(teacher, short, settings(weight=1.0, epochs=2))
    assert any(not np.allclose(a, b) for a, b in zip(weights(student), weights(plain), strict=True))


def test_the_student_starts_like_a_recipes_own_model(
    teacher: Any, short: fitting.TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.reset(short.seed)
    wanted = weights(architectures.build(settings().student, (8, 8, 1), 10))
    monkeypatch.setattr(distill, "fit", lambda *_: None)
    for a, b in zip(weights(compression.apply(teacher, short, settings())), wanted, strict=True):
        assert np.array_equal(a, b)


def test_a_student_is_an_ordinary_model_with_the_same_bytes_every_time(
    teacher: Any, short: fitting.TrainingData, tmp_path: Path
) -> None:
    augmented = replace(short, augment=Augment(shift=1))
    hint = {"teacher": "conv1_relu", "student": "conv1_relu", "epochs": 1, "weight": 0.1}
    for name in ("one.h5", "two.h5"):
        backend.reset(1)
        backend.save(compression.apply(teacher, augmented, settings(hint=hint, boundary={"steps": 2})), tmp_path / name)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    student, x = backend.load(tmp_path / "one.h5"), short.dataset.x_test
    assert [layer.name for layer in student.layers][:2] == ["image", "conv1"]
    assert np.allclose(fitting.predict(student, x).sum(axis=1), 1, atol=1e-5)
    assert student.count_params() == architectures.build(settings().student, (8, 8, 1), 10).count_params()


def test_the_steps_key_covers_every_students_code() -> None:
    found = {
        path.stem for path in imports.closure(["training.compression.distill"]) if path.parent.name == "architectures"
    }
    students = [family for family in get_args(get_args(Model)[0]) if family.leaves == "float"]
    assert {get_args(family.model_fields["architecture"].annotation)[0] for family in students} <= found


# Ensembles


def test_an_ensemble_from_a_recipe(tmp_path: Path) -> None:
    tiny = load(str(TINY)).model_dump()
    tiny["train"]["epochs"] = 1
    recipe = Recipe.model_validate({**tiny, "compress": [settings(ensemble=2).model_dump()]})
    trained = train.run(recipe, Cache(tmp_path))
    assert [name for name, _, _ in trained.steps] == ["float", "distill"]
    assert [layer.name for layer in trained.model().layers][1] == "conv1"
    assert len(list((tmp_path / "training").glob("[!.]*"))) == 3  # two teachers and the student


def test_an_ensemble_where_there_is_one_teacher(teacher: Any, short: fitting.TrainingData) -> None:
    with pytest.raises(UsageError, match="distill asks for ensemble = 3 and there is one teacher; set ensemble = 1"):
        compression.apply(teacher, short, settings(ensemble=3))


def test_cross_validation_runs_it(short: fitting.TrainingData) -> None:
    tiny = load(str(TINY)).model_dump()
    tiny["train"]["epochs"] = 1
    recipe = Recipe.model_validate({**tiny, "compress": [settings().model_dump()]})
    assert len(validate.accuracies(recipe, short.dataset, Reporter())) == 2


# Hints


def hint(**changes: object) -> distillation.Hint:
    return distillation.Hint.model_validate({"teacher": "conv1_relu", "student": "conv1_relu", **changes})


def test_a_hint_teaches_the_guided_layers_and_no_others(teacher: Any, data: fitting.TrainingData) -> None:
    backend.reset(1)
    student = architectures.build(LeNet(architecture="lenet", filters=[4], dense=[16]), (8, 8, 1), 10)
    guide = hints.Hint(teacher, student, hint(epochs=4))
    before = {layer.name: layer.get_weights() for layer in student.layers}
    x = data.dataset.x_test
    start = float(guide.loss(x, training=False))
    guide.train(data, settings(learning_rate=1e-2))
    assert float(guide.loss(x, training=False)) < 0.5 * start
    changed = {
        layer.name
        for layer in student.layers
        for a, b in zip(before[layer.name], layer.get_weights(), strict=True)
        if (a != b).any()
    }
    assert changed == {"conv1", "conv1_norm"}


def test_a_hint_beside_the_answers_brings_the_layers_together(teacher: Any, data: fitting.TrainingData) -> None:
    found = []
    for weight in (1e-6, 10.0):
        asked = settings(epochs=3, learning_rate=1e-2, hint=hint(epochs=0, weight=weight).model_dump())
        student = compression.apply(teacher, data, asked)
        guide = hints.Hint(teacher, student, hint())
        guide.train(data, settings(learning_rate=1e-2))  # a fresh regressor for either
        found.append(float(guide.loss(data.dataset.x_test, training=False)))
    assert found[1] < found[0]


@pytest.mark.parametrize(
    ("wanted", "given", "shape"),
    [
        ((4, 4, 16), (4, 4, 3), (1, 1, 3, 16)),
        ((4, 4, 16), (8, 6, 3), (5, 3, 3, 16)),
        ((10,), (4, 4, 3), (48, 10)),
        ((2, 2, 5), (7,), (7, 20)),
    ],
)
def test_the_regressor_fits_between_the_layers(
    wanted: tuple[int, ...], given: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    regressor = hints._regressor(wanted, given, hint())
    regressor.build((None, *given))
    assert tuple(regressor.trainable_variables[0].shape) == shape


def test_a_hint_between_layers_that_do_not_exist_or_match(teacher: Any, short: fitting.TrainingData) -> None:
    with pytest.raises(UsageError, match=r"hint\.teacher = 'conv9' is no layer of the teacher; it has conv1, conv1_n"):
        compression.apply(teacher, short, settings(hint=hint(teacher="conv9").model_dump()))
    with pytest.raises(UsageError, match=r"hint\.student = 'block1' is no layer of the student; it has conv1, conv1_n"):
        compression.apply(teacher, short, settings(hint=hint(student="block1").model_dump()))
    with pytest.raises(UsageError, match=r"'pool1' gives maps of 4x4, smaller than the 8x8 of hint\.teacher = 'conv1_"):
        compression.apply(teacher, short, settings(hint=hint(student="pool1").model_dump()))


# Distillation in quantisation-aware training


def test_quantisation_aware_training_learns_from_the_float_model(teacher: Any, data: fitting.TrainingData) -> None:
    wrong = replace(data.dataset, y_train=np.random.default_rng(0).permutation(data.dataset.y_train))
    taught = replace(data, dataset=wrong).with_teacher(teacher)
    found = {}
    for weight in (0.0, 1.0):
        asked = Qat(technique="qat", epochs=6, batch_size=32, learning_rate=3e-3, distillation=weight)
        found[weight] = fitting.accuracy(compression.apply(teacher, taught, asked), data.dataset)
    assert found[1.0] > 0.93
    assert found[0.0] < found[1.0] - 0.3
