import re
from pathlib import Path

from training import catalogue
from training.recipe import _members
from training.settings.architectures import Model
from training.settings.compression import Step

TRAINING = Path(catalogue.__file__).parent


def test_the_page_is_current() -> None:
    assert catalogue.PAGE.read_text() == catalogue.page(), "run python training/catalogue.py"


def test_every_technique_says_where_it_comes_from() -> None:
    for name in _members(Step):
        text = (TRAINING / "compression" / f"{name}.py").read_text().split('"""')[1]
        assert re.search(r"(19|20)\d\d|TFMOT|TensorFlow|convert/|docs/", text), f"{name} names no source"


def test_every_family_says_what_it_costs() -> None:
    for name in _members(Model):
        text = (TRAINING / "architectures" / f"{name}.py").read_text().split('"""')[1]
        assert re.search("[Mm]ultiply-accumulate|nothing is multiplied", text), f"{name} gives no count"
