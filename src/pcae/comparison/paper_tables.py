"""The paper's tables: what each row is, by the settings of `pcae pretrain` and `pcae finetune`, and its figures."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from importlib import resources
from typing import Any, Literal, TypeVar

import yaml

from pcae.settings.choices import Measure
from pcae.settings.values import check_values
from pcae.settings.yaml_files import Yaml

Made = TypeVar("Made")
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
    return read_table((TABLES / name).read_text("utf-8"), name)


def read_table(text: str, source: str) -> PaperTable:
    """A table from YAML. Raises ValueError naming `source` for unknown, missing or contradicting entries."""
    values = yaml.load(text, Yaml)
    rows = tuple(read_row(row, source) for row in values.pop("rows", ()))
    table = made(PaperTable, check_values(PaperTable, values, source) | {"rows": rows}, source)
    names = [row.name for row in rows]
    for row in rows:
        if names.count(row.name) > 1:
            raise ValueError(f"{source}: two rows are named {row.name!r}; tell them apart")
        for key in row.paper.keys() - table.figures.keys():
            raise ValueError(f"{source}: {row.name} has a figure {key!r} that the table does not explain")
    return table


def read_row(values: Mapping[str, Any], source: str) -> PaperRow:
    """A row of a table. Raises ValueError naming `source`."""
    source = f"{source}: {values.get('name')}"
    row = made(PaperRow, check_values(PaperRow, dict(values), source), source)
    trained = row.epochs is not None or row.batch_size is not None
    if row.quoted and (trained or row.pretrain or row.finetune):
        raise ValueError(f"{source} is quoted, and has settings; leave one of them out")
    if not row.quoted and (row.epochs is None) == (row.batch_size is None):
        raise ValueError(f"{source} needs either epochs, or batch-size where no more than speed is measured")
    if not row.quoted and bool(row.pretrain) == (row.epochs == 0):
        raise ValueError(f"{source} needs settings of pretrain unless its epochs are 0")
    return row


def made(cls: type[Made], values: dict[str, Any], source: str) -> Made:
    """A row or a table of checked values. Raises ValueError naming `source` when one that has no default is missing."""
    for known in fields(cls):  # pyright: ignore[reportArgumentType]
        if known.name not in values and known.default is MISSING and known.default_factory is MISSING:
            raise ValueError(f"{source}: {known.name} is missing")
    return cls(**values)
