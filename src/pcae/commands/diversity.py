"""`pcae diversity`: how diverse tokens are, layer by layer (Figure 3), and the paper's claims about what is dropped."""

from typing import Any

from pcae.inference.diversity import measure_diversity
from pcae.pictures.diversity import NAMES
from pcae.terminal import command, table


def show(found: dict[str, Any]) -> None:
    """Print the tables of every model."""
    for model in found["models"]:
        show_model(model)


def show_model(model: dict[str, Any]) -> None:
    """Print diversities at some layers, and what holds."""
    layers = sorted({0, *(block + 1 for block in model["stages_after"]), len(model["tokens"]) - 1})
    rows = [
        [NAMES[name], *(shown(values["after"][layer]) for layer in layers), shown(values["output"])]
        for name, values in model["diversity"].items()
    ]
    of = f"{model['label']}, {model['images']} images"
    columns = ["nuclear norm / N", *(f"layer {layer}" for layer in layers), "past the norm"]
    table(f"diversity of tokens: {of}", columns, rows)
    if model["claims"]:
        columns = ["section and claim", "left", "right", "difference", "holds"]
        table(f"what the paper says: {of}", columns, [in_words(claim) for claim in model["claims"]])


def shown(estimate: dict[str, Any]) -> str:
    """A mean and its standard error."""
    return f"{estimate['mean']:.3f} ± {error_of(estimate):.3f}"


def error_of(estimate: dict[str, Any]) -> float:
    """The larger standard error; 0 where neither is known."""
    return max(estimate["over_images"] or 0.0, estimate["over_seeds"] or 0.0)


def in_words(claim: dict[str, Any]) -> list[str]:
    """A row of the table of claims: numbers of the last case, and in how many cases it holds."""
    cases, last = claim["cases"], claim["cases"][-1]
    difference, error = f"{last['difference']['mean']:+.2g}", f" ± {error_of(last['difference']):.1g}"
    held = sum(case["holds"] or False for case in cases)
    holds = ("yes" if held else "no") if len(cases) == 1 else f"in {held} of {len(cases)} cases"
    if claim["holds"] is None:
        error, holds = "", "one image says nothing"
    where = f" ({last['case']})" if len(cases) > 1 else ""
    numbers = [f"{last['larger']:.3g}", f"{last['smaller']:.3g}", difference + error]
    return [f"{claim['section']} {claim['claim']}{where}", *numbers, holds]


run = command(measure_diversity, show)
"""Measure and print."""
