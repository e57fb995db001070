"""`pcae recipes`: what recipes there are, and what each is for."""

import json

from pcae.cli import main
from pcae.settings.recipes import RECIPES, read_recipe
from pcae.settings.verbs import config_of


def test_every_recipe_is_listed_with_what_it_is_for(capsys):
    main(["recipes", "--json"])
    listed = json.loads(capsys.readouterr().out)
    shipped = {entry.name.removesuffix(".yaml") for entry in RECIPES.iterdir()}
    assert {name for recipes in listed.values() for name in recipes} == shipped
    for verb, recipes in listed.items():
        for name, what in recipes.items():
            assert read_recipe(config_of(verb), name) and 20 < len(what) < 120 and what.endswith("."), what


def test_they_stand_below_the_verb_that_takes_them(capsys):
    main(["recipes"])
    lines = capsys.readouterr().out.splitlines()
    heads = [line for line in lines if not line.startswith("  ")]
    assert heads == [f"pcae {verb} --recipe NAME" for verb in ("pretrain", "finetune", "detect train")]
    place = lines.index(heads[1])
    assert any(line.startswith("  auto ") for line in lines[place:])
    assert any(line.startswith("  finetune-small ") and "Few images" in line for line in lines[place:])
