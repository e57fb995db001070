"""The paper's tables: what each row is, by the settings of `pcae pretrain` and `pcae finetune`, and its figures."""

from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Literal

import yaml

from pcae.settings.choices import Measure
from pcae.settings.values import check_values
from pcae.settings.yaml_files import Yaml

TABLES = resources.files("pcae") / "tables"
LAST = 15


@dataclass(frozen=True, kw_only=True)
class PaperRow:
    """A row, under the paper's name.

    paper: its figures, by the table's keys. epochs: of pre-training in the paper; 0 is training from scratch, None
    with `batch_size`, where speed and memory alone are measured. pretrain, finetune: settings as flags without the
    dashes in front. quoted: a method that is not built here. control: a row of ours that the paper lacks.
    """

    name: str
    paper: dict[str, float]
    architecture: Literal["ViT-S", "ViT-B", "ViT-L"] = "ViT-B"
    epochs: int | None = None
    pretrain: dict[str, Any] = field(default_factory=dict)
    finetune: dict[str, Any] = field(default_factory=dict)
    batch_size: int | None = None
    quoted: bool = False
    control: bool = False


@dataclass(frozen=True, kw_only=True)
class PaperTable:
    """A table. figures: what the paper reports, in words with the unit, by key. measures: what we measure."""

    title: str
    figures: dict[str, str]
    measures: tuple[Measure, ...]
    rows: tuple[PaperRow, ...]
    remark: str = ""


def paper_table(number: int) -> PaperTable:
    """A table of the paper. Raises ValueError for one that is not there."""
    if number == 2:
        raise ValueError("Table 2 is detection on COCO, for `pcae detect train`; choose 1 or 3 to 15")
    if not 1 <= number <= LAST:
        raise ValueError(f"the paper has Tables 1 to {LAST}, got {number}; choose 1 or 3 to {LAST}")
    name = f"table-{number:02}.yaml"
    values = yaml.load((TABLES / name).read_text("utf-8"), Yaml)
    rows = tuple(PaperRow(**check_values(PaperRow, row, f"{name}: {row['name']}")) for row in values.pop("rows"))
    return PaperTable(rows=rows, **check_values(PaperTable, values, name))
