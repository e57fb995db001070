from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
import yaml

from pcae.settings.recipes import RECIPES, read_recipe, recipe_names
from pcae.settings.values import build, flatten, leaves, to_yaml
from pcae.settings.verbs import VERBS, config_of
from pcae.settings.verbs.detect import DetectTrainConfig
from pcae.settings.verbs.finetune import FinetuneConfig
from pcae.settings.verbs.pretrain import PretrainConfig
from pcae.settings.yaml_files import Yaml, read_yaml


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    kind: Literal["a", "b"] = "a"
    sides: tuple[int, int] = (1, 2)


@dataclass(frozen=True)
class Outer:
    name: str
    count: int | None = None
    inner: Inner = field(default_factory=Inner)


def test_flat_names_reach_every_leaf():
    assert list(leaves(Outer)) == ["name", "count", "rate", "kind", "sides"]
    config = build(Outer, {"name": "x", "sides": (3, 4)})
    assert config == Outer("x", None, Inner(sides=(3, 4)))
    assert flatten(config) == {"name": "x", "count": None, "rate": 0.5, "kind": "a", "sides": (3, 4)}


@pytest.mark.parametrize("verb", VERBS)
def test_no_two_settings_of_a_verb_have_one_name(verb):
    assert "json" in leaves(config_of(verb))


def test_two_settings_of_one_name_are_found():
    @dataclass(frozen=True)
    class Twice:
        rate: float = 1.0
        inner: Inner = field(default_factory=Inner)

    with pytest.raises(AssertionError, match="rate"):
        leaves(Twice)


def test_yaml_round_trip(tmp_path):
    config = Outer("ü", 3, Inner(rate=1e-4, sides=(5, 6)))
    (tmp_path / "c.yaml").write_text(to_yaml(config), encoding="utf-8")
    assert build(Outer, read_yaml(Outer, tmp_path / "c.yaml")) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rat: 1.0", "unknown key 'rat'; did you mean 'rate'"),
        ("count: three", "count takes a whole number, got 'three'"),
        ("count: 1.5", "count takes a whole number, got 1.5"),
        ("count: true", "count takes a whole number, got True"),
        ("rate: '1'", "rate takes a number, got '1'"),
        ("rate: 1e", "rate takes a number, got '1e'"),
        ("kind: c", "kind takes one of a, b, got 'c'"),
        ("count: 1\ncount: 2", "count stands there twice"),
        ("sides: [1, 2, 3]", r"sides takes 2 whole numbers, got \[1, 2, 3\]"),
        ("- a", "must hold `name: value` lines"),
        ("a: [", "cannot be read as YAML"),
    ],
)
def test_yaml_is_strict(tmp_path, text, message):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_yaml(Outer, tmp_path / "c.yaml")


@pytest.mark.parametrize("text", ["1e-4", "1.0e-4", "1E-4", "0.0001", "+1e-04"])
def test_yaml_takes_numbers_as_people_write_them(tmp_path, text):
    (tmp_path / "c.yaml").write_text(f"rate: {text}")
    assert read_yaml(Outer, tmp_path / "c.yaml") == {"rate": 1e-4}


def test_dashes_and_underscores_are_the_same(tmp_path):
    (tmp_path / "c.yaml").write_text("mask-ratio: 0.5\nkeep_ratio: 1\n")
    assert read_yaml(PretrainConfig, tmp_path / "c.yaml") == {"mask_ratio": 0.5, "keep_ratio": 1.0}


OF_VERBS = [(cls, name) for cls in (PretrainConfig, FinetuneConfig, DetectTrainConfig) for name in recipe_names(cls)]


@pytest.mark.parametrize(("cls", "name"), OF_VERBS, ids=[name for _, name in OF_VERBS])
def test_every_recipe_is_valid_and_says_what_it_is(cls, name):
    values = read_recipe(cls, name)
    marks = {FinetuneConfig: "layer_decay", DetectTrainConfig: "pyramid"}
    assert marks.get(cls, "mask_ratio" if name == "continue" else "decoder_width") in values
    assert cls in marks or name == "continue" or values["model"].startswith("vit_")
    text = (RECIPES / f"{name}.yaml").read_text()
    assert text.startswith("# ") and f"--recipe {name}" in text


def test_the_recipes_are_those_that_are_promised_and_each_is_of_one_verb():
    assert {name for _, name in OF_VERBS} >= {
        "demo", "sample", "fashion-mnist", "imagenet-vit-s", "imagenet-vit-b", "imagenet-vit-b-mask85",
        "imagenet-vit-b-mask90", "imagenet-vit-l", "finetune-small", "finetune-imagenet-vit-b",
        "detect-small", "detect-coco-vit-b",
    }  # fmt: skip
    assert sorted(name for _, name in OF_VERBS) == sorted(path.stem for path in Path(str(RECIPES)).glob("*.yaml"))


def test_an_unknown_recipe_is_refused_with_the_choice():
    with pytest.raises(ValueError, match="choose from auto, continue, demo, distil-vit-s, distil-vit-ti, "):
        read_recipe(PretrainConfig, "imagenet")
    with pytest.raises(ValueError, match="is not known"):
        read_recipe(PretrainConfig, "../recipes/sample")
    with pytest.raises(ValueError, match="'vit-ti-64' is for another verb; choose from auto, finetune-"):
        read_recipe(FinetuneConfig, "vit-ti-64")


def test_a_nested_configuration_keeps_the_defaults_that_its_verb_gives_it():
    config = build(FinetuneConfig, {"data": "d", "out": "o", "weight_decay": 0.1})
    assert (config.optimizer.base_lr, config.optimizer.betas, config.optimizer.weight_decay) == (
        5e-4,
        (0.9, 0.999),
        0.1,
    )
    assert build(PretrainConfig, {"data": "d", "out": "o"}).optimizer.betas == (0.9, 0.95)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0:0.4", "0:0.4"), ("0:30", "0:30"), ("1:2.5", "1:2.5"), ("0.4", 0.4), ("-3", -3), ("1e-4", 1e-4),
        ("2.5e3", 2500.0),
        (".5", 0.5), ("08", "08"), ("1_000", 1000), ("true", True), (".inf", float("inf")), ("-", "-"), ("0", 0),
    ],
)  # fmt: skip
def test_numbers_in_yaml_are_numbers_and_a_range_is_none(text, value):
    found = yaml.load(f"drop-ratio: {text}" if text != "-" else "drop-ratio: '-'", Yaml)["drop-ratio"]
    assert found == value and type(found) is type(value)
