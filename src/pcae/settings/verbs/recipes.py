"""What `pcae recipes` is told."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RecipesConfig:
    """List the recipes, by the verb that takes them, and what each is for.

    A recipe is a file of settings that comes with pcae; flags and --config FILE stand over it.
    """

    EXAMPLES = ("", "--json")

    json: bool = False
    """Print as JSON."""
