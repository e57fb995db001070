"""`pcae recipes`: the named settings that come with pcae, by verb, and what each is for."""

from pcae.settings.recipes import AUTO, purpose, recipe_names
from pcae.settings.training import RunSettings
from pcae.settings.verbs import VERBS, config_of
from pcae.settings.verbs.recipes import RecipesConfig
from pcae.terminal import as_json


def run(config: RecipesConfig) -> None:
    """Print the recipes of each verb that takes some."""
    training = {verb: config_of(verb) for verb in VERBS if issubclass(config_of(verb), RunSettings)}
    found = {verb: {name: purpose(name) for name in recipe_names(cls)} for verb, cls in training.items()}
    if config.json:
        as_json(found)
        return
    for verb, recipes in found.items():
        print(f"pcae {verb} --recipe NAME")
        for name, what in {AUTO: "Picks one by the images and the device.", **recipes}.items():
            print(f"  {name:<25} {what}")
