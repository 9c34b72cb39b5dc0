from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training import architectures, backend, compression, datasets, fitting
from training.compression import answers, boundary
from training.progress import Reporter
from training.settings.architectures import LeNet
from training.settings.base import Augment, Fit
from training.settings.data import Digits
from training.settings.distillation import Distill

TEACHER = LeNet(architecture="lenet", filters=[8, 16], dense=[32])
STUDENT = {"architecture": "lenet_300_100", "width": 0.1}
WHOLE = {"share": 1.0, "steps": 10}


def settings(asked: dict[str, Any] | None, **changes: object) -> Distill:
    table = {"technique": "distill", "epochs": 1, "batch_size": 64, "student": STUDENT, "boundary": asked, **changes}
    return Distill.model_validate(table)


@pytest.fixture(scope="module")
def data() -> fitting.TrainingData:
    digits = datasets.load(Digits(dataset="digits"), Path())
    return fitting.TrainingData(digits, Augment(), 1, Reporter())


@pytest.fixture(scope="module")
def teacher(data: fitting.TrainingData) -> Any:
    backend.reset(1)
    model = architectures.build(TEACHER, (8, 8, 1), 10)
    fitting.fit(model, data, Fit(epochs=10, batch_size=32, learning_rate=1e-2), "float")
    assert fitting.accuracy(model, data.dataset) > 0.9
    return model


def linear(kernel: list[list[float]]) -> Any:
    """A network of one dense layer without bias: each step of the way can be worked out by hand."""
    keras = backend.keras()
    image = keras.layers.Input((len(kernel),))
    scores = keras.layers.Dense(len(kernel[0]), use_bias=False, name="scores")
    model = keras.Model(image, keras.layers.Softmax()(scores(image)))
    scores.set_weights([np.array(kernel, np.float32)])
    return model


def samples(model: Any, data: fitting.TrainingData, asked: dict[str, Any], **changes: object) -> boundary.Samples:
    return boundary.Samples([model], data, settings(asked, **changes))


@pytest.fixture
def plane(data: fitting.TrainingData) -> fitting.TrainingData:
    """Samples of two features, between -5 and 5."""
    x = np.array([[-5, 5], [5, -5]], np.float32)
    return replace(data, dataset=replace(data.dataset, x_train=x, y_train=np.array([0, 1])))


def test_a_whole_step_from_a_linear_teacher_lands_on_the_boundary(plane: fitting.TrainingData) -> None:
    made = samples(linear([[1.0, -1.0], [2.0, 0.5]]), plane, {"steps": 1, "rate": 1.0})
    x, reached = made.move(np.array([[0.9, 0.4], [0.2, 0.7]], np.float32), [0, 0], [1, 1])
    # The gap is 2 x0 + 1.5 x1: the step goes along (2, 1.5) as far as makes it -BEYOND.
    gaps = np.asarray(x) @ [2.0, 1.5]
    assert np.allclose(gaps, -boundary.BEYOND, atol=1e-5)
    assert np.allclose(
        x, np.array([[0.9, 0.4], [0.2, 0.7]]) - ((np.array([2.4, 1.45]) + 1e-3) / 6.25)[:, None] * [2, 1.5]
    )
    assert np.asarray(reached).all()


@pytest.mark.parametrize(("rate", "steps"), [(0.3, 1), (0.3, 10), (0.5, 4)])
def test_each_step_goes_a_share_of_the_way(plane: fitting.TrainingData, rate: float, steps: int) -> None:
    made = samples(linear([[1.0, -1.0], [2.0, 0.5]]), plane, {"steps": steps, "rate": rate})
    x, _ = made.move(np.array([[0.9, 0.4]], np.float32), [0], [1])
    assert float(np.asarray(x)[0] @ [2.0, 1.5]) == pytest.approx((2.4 + 1e-3) * (1 - rate) ** steps - 1e-3, abs=1e-5)


def test_a_sample_beyond_the_boundary_stays(plane: fitting.TrainingData) -> None:
    made = samples(linear([[1.0, -1.0], [2.0, 0.5]]), plane, {"steps": 5, "rate": 1.0})
    x, _ = made.move(np.array([[0.2, 0.3]], np.float32), [1], [0])
    assert np.array_equal(x, np.array([[0.2, 0.3]], np.float32))


def test_samples_lie_at_the_teachers_boundary(teacher: Any, data: fitting.TrainingData) -> None:
    made = samples(teacher, data, WHOLE, batch_size=256)
    x, labels = data.dataset.x_train[:256], np.eye(10, dtype=np.float32)[data.dataset.y_train[:256]]
    before = fitting.predict(teacher, x)
    moved, used = made.make(x, labels, before, 0)
    used = np.asarray(used) > 0
    assert used.mean() > 0.7
    after = np.sort(fitting.predict(teacher, np.asarray(moved)[used]), axis=1)[:, ::-1]
    gap = after[:, 0] - after[:, 1]
    assert gap.max() < boundary.NEAR
    assert np.median(gap) < 0.1  # the two classes nearly equal, and all others
    assert after[:, 2].max() < after[:, 1].min() + 0.5
    assert (after[:, 2] <= after[:, 1]).all()
    ahead = np.sort(before, axis=1)
    assert np.median(ahead[:, -1] - ahead[:, -2]) > 0.9
    assert np.asarray(moved).min() >= made.low
    assert np.asarray(moved).max() <= made.high


def test_the_two_classes_at_the_boundary_are_the_samples_own_and_the_drawn_one(
    teacher: Any, data: fitting.TrainingData
) -> None:
    made = samples(teacher, data, WHOLE)
    chosen = data.dataset.y_train[:64]
    target = (chosen + 1) % 10
    x, reached = made.move(data.dataset.x_train[:64], chosen, target)
    first = np.argsort(fitting.predict(teacher, np.asarray(x)), axis=1)[:, -2:]
    for pair, own, other, lies in zip(first, chosen, target, np.asarray(reached), strict=True):
        assert not lies or {own, other} == set(pair)
    assert 0 < np.asarray(reached).sum() < 64  # some met a third class on the way, and are left out


def test_an_ensembles_boundary_is_that_of_its_mean_answer(plane: fitting.TrainingData) -> None:
    pair = [linear([[1.0, -1.0], [2.0, 0.5]]), linear([[0.0, 1.0], [3.0, 0.0]])]
    made = boundary.Samples(pair, plane, settings({"steps": 30, "rate": 0.5}))
    x, reached = made.move(np.array([[0.3, 0.9]], np.float32), [0], [1])
    mean = np.mean([np.asarray(model(x)) for model in pair], axis=0)
    assert np.asarray(reached).all()
    assert mean[0] == pytest.approx([0.5, 0.5], abs=1e-3)


def test_target_classes_come_as_often_as_the_teacher_thinks_of_them(teacher: Any, data: fitting.TrainingData) -> None:
    made = samples(teacher, data, WHOLE)
    probabilities = np.tile(np.array([[0.9, 0.06, 0.03, 0.01]], np.float32), (4000, 1))
    drawn = np.asarray(made.targets(probabilities, np.zeros(4000, np.int32), 5))
    assert np.allclose(np.bincount(drawn, minlength=4) / 4000, [0, 0.6, 0.3, 0.1], atol=0.03)
    assert np.array_equal(drawn, made.targets(probabilities, np.zeros(4000, np.int32), 5))
    assert not np.array_equal(drawn, made.targets(probabilities, np.zeros(4000, np.int32), 6))


def test_base_samples_are_right_in_both_and_those_where_the_two_differ_most(
    teacher: Any, data: fitting.TrainingData
) -> None:
    made = samples(teacher, data, {"share": 0.05})  # 3 of a batch of 64
    labels = np.eye(3, dtype=np.float32)[[0, 0, 0, 0]]
    taught = np.array([[0.8, 0.2, 0], [0.8, 0.2, 0], [0.1, 0.9, 0], [0.6, 0.4, 0]], np.float32)
    learned = np.array([[0.8, 0.2, 0], [0.7, 0.0, 0.3], [0.9, 0.1, 0], [0.3, 0.7, 0]], np.float32)
    indices, eligible = made.bases(labels, taught, learned)
    assert made.count == 3
    assert list(np.asarray(indices)[:2]) == [1, 0]
    assert list(np.asarray(eligible)) == [True, True, False]


def test_the_weight_falls_to_zero_before_the_end(teacher: Any, data: fitting.TrainingData) -> None:
    made = samples(teacher, data, {"weight": 0.8, "until": 0.75}, epochs=4)
    steps = data.steps(settings(None, epochs=4))
    assert float(made.weight(0)) == pytest.approx(0.8)
    assert float(made.weight(0.375 * steps)) == pytest.approx(0.4)
    assert [float(made.weight(share * steps)) for share in (0.75, 0.8, 1.0)] == pytest.approx([0, 0, 0], abs=1e-6)


def test_boundary_samples_bring_the_students_boundary_to_the_teachers(teacher: Any, data: fitting.TrainingData) -> None:
    """With and without: how the student answers samples at the teacher's boundary that were made of the test set."""
    made = samples(teacher, data, WHOLE, batch_size=360)
    x, labels = data.dataset.x_test, np.eye(10, dtype=np.float32)[data.dataset.y_test]
    moved, used = made.make(x, labels, fitting.predict(teacher, x), 0)
    moved = np.asarray(moved)[np.asarray(used) > 0]
    plain = replace(data, seed=2)
    apart = []
    for asked in (None, {"weight": 1.0, "share": 0.5, "steps": 5}):
        student = compression.apply(teacher, plain, settings(asked, epochs=8, learning_rate=1e-2))
        theirs = answers.softened([teacher], 1.0)(moved)
        apart.append(float(np.mean(answers.divergence(theirs, answers.logits(student)(moved), 1.0))))
        assert fitting.accuracy(student, data.dataset) > 0.8
    assert apart[1] < 0.9 * apart[0]


def test_boundary_samples_that_nobody_asks_for(teacher: Any, data: fitting.TrainingData) -> None:
    with pytest.raises(ValueError, match="the settings ask for no boundary samples"):
        boundary.Samples([teacher], data, settings(None))
