"""`pcae cost`: multiply-accumulates, parameters and tokens by block, read off the running model."""

from typing import Any

from pcae.evaluation.cost import image_cost
from pcae.settings.verbs.cost import CostConfig
from pcae.terminal import answer, table

COLUMNS = ["GMACs", "parameters", "tokens that enter each block"]


def run(config: CostConfig) -> None:
    """Count and print."""
    answer(image_cost(config), config.json, show_pretraining if config.pretrain else show)


def show(found: dict[str, Any]) -> None:
    """One row, of the classifier."""
    table(f"{found['model']} at drop ratio {found['drop_ratio']:g}", COLUMNS, [cells(found)])


def cells(cost: dict[str, Any]) -> list[str]:
    """The cells of a row."""
    return [f"{cost['gmacs']:.2f}", f"{cost['parameters']:,}", " ".join(map(str, cost["tokens"]))]


def show_pretraining(found: dict[str, Any]) -> None:
    """A row for each part of the method."""
    counts = " -> ".join(map(str, [f"{found['hidden']} hidden", *found["kept"]]))
    rows = [[part, *cells(found[part])] for part in ("student", "teacher", "decoder") if part in found]
    title = f"{found['model']}, {found['method']}: {found['visible']} visible, {counts}"
    table(title, ["one pass", *COLUMNS], rows)
    per_view = f", {found['training_gmacs'] / found['views']:.2f} for each view" if found["views"] > 1 else ""
    print(f"a training image: {found['training_gmacs']:.2f} GMACs (3 x student and decoder + teacher){per_view}")
