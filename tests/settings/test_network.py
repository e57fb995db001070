import ast
import inspect
import textwrap
from dataclasses import fields, replace

from pcae.settings.network import EncoderConfig


def test_one_number_is_both_sides_of_an_image():
    assert EncoderConfig(image_size=64).image_size == (64, 64)
    assert EncoderConfig(image_size=64) == EncoderConfig(image_size=(64, 64))
    assert replace(EncoderConfig(), image_size=32).image_size == (32, 32)


def test_what_editors_are_told_of_it_names_every_setting():
    (cls,) = ast.parse(textwrap.dedent(inspect.getsource(EncoderConfig))).body
    (told,) = [one for one in ast.walk(cls) if isinstance(one, ast.FunctionDef) and one.name == "__init__"]
    assert [one.arg for one in told.args.kwonlyargs] == [field.name for field in fields(EncoderConfig)]
