"""`pcae diversity`: how diverse tokens are, layer by layer (Figure 3), and the paper's claims about what is dropped."""

from typing import Any

from torch import Tensor

from pcae.evaluation.estimates import estimate
from pcae.inference.diversity import Measured, check, described, measure, write
from pcae.inference.models import specimens
from pcae.pictures.diversity import NAMES
from pcae.settings.verbs.diversity import DiversityConfig
from pcae.terminal import as_json, console, table
from pcae.training.distributed import pick_device


def run(config: DiversityConfig) -> None:
    """Measure, print and draw."""
    check(config)
    device = pick_device(config.device)
    found = specimens(config.specimens, config.shown, config.data)
    measured = [measure(config, specimen, device) for specimen in found]
    result = described(config, measured)
    if config.out is not None:
        write(config.out, result, measured)
    if config.json:
        as_json(result)
    else:
        for one in measured:
            report(one)
    for said in dict.fromkeys(one.bad_files.describe() for one in measured if one.bad_files.found):
        console.print(f"{said}; they were left out")


def report(one: Measured) -> None:
    """Print diversities at some layers, and what holds."""
    layers = sorted({0, *(block + 1 for block in one.reduction.after), len(one.tokens) - 1})
    rows = [
        [NAMES[name], *(shown(values["after"][..., layer]) for layer in layers), shown(values["output"])]
        for name, values in one.diversity.items()
    ]
    of = f"{one.specimen.label}, {one.images} images"
    columns = ["nuclear norm / N", *(f"layer {layer}" for layer in layers), "past the norm"]
    table(f"diversity of tokens: {of}", columns, rows)
    if one.verdicts:
        columns = ["section and claim", "left", "right", "difference", "holds"]
        table(f"what the paper says: {of}", columns, [in_words(claim) for claim in one.verdicts])


def shown(values: Tensor) -> str:
    """A mean and its standard error."""
    found = estimate(values)
    return f"{found.mean:.3f} ± {found.error:.3f}"


def in_words(claim: dict[str, Any]) -> list[str]:
    """A row of the table of claims: numbers of the last case, and in how many cases it holds."""
    cases, last = claim["cases"], claim["cases"][-1]
    error = max(last["difference"]["over_images"] or 0, last["difference"]["over_seeds"] or 0)
    numbers = [f"{last['larger']:.3g}", f"{last['smaller']:.3g}", f"{last['difference']['mean']:+.2g} ± {error:.1g}"]
    held = sum(case["holds"] or False for case in cases)
    holds = ("yes" if held else "no") if len(cases) == 1 else f"in {held} of {len(cases)} cases"
    if claim["holds"] is None:
        numbers[-1], holds = f"{last['difference']['mean']:+.2g}", "one image says nothing"
    where = f" ({last['case']})" if len(cases) > 1 else ""
    return [f"{claim['section']} {claim['claim']}{where}", *numbers, holds]
