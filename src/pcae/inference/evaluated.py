"""What `evaluate` finds: a classifier's accuracy, cost and speed by drop ratio, and what is right of each class."""

from dataclasses import dataclass
from typing import Any

from pcae.evaluation.estimates import in_percent
from pcae.results import Block, Result, Table
from pcae.settings.choices import CriterionName, FoldName
from pcae.settings.trained import Rule

START = "images_per_second_at_"
"""Of the keys of a row's speeds; the batch size follows."""
NAMES = {"top1": "top-1", "top5": "top-5", "balanced_accuracy": "balanced", "map": "mAP"}
"""What the table calls shares."""
MOST_CLASSES = 20
"""Classes that are named, the worst ones."""


@dataclass(frozen=True, repr=False)
class Evaluated(Result):
    """A classifier's accuracy, cost and speed: a row for each drop ratio.

    classes: how many it tells apart. remark: what the reader should know of the images.
    """

    weights: str
    data: str
    model: str
    criterion: CriterionName
    fold: FoldName
    after: tuple[int, ...] | None
    before_mlp: bool
    device: str
    precision: str
    threads: int
    rows: list[dict[str, Any]]
    classes: int
    remark: str = ""

    @property
    def speeds(self) -> dict[str, list[float]]:
        """Images per second (median) by batch size, for every row."""
        sizes = [key.removeprefix(START) for key in self.rows[0] if key.startswith(START)]
        return {size: [row[START + size] for row in self.rows] for size in sizes if size.isdigit()}

    def blocks(self) -> list[Block]:
        """A row for each drop ratio, and what is right of each class at the first."""
        rule = Rule(criterion=self.criterion, fold=self.fold, after=self.after, before_mlp=self.before_mlp).describe()
        rule = rule and f", {rule}"
        shown = f"{self.rows[0]['images']} images in {self.classes} classes"
        shares = [name for name in NAMES if name in self.rows[0]]
        lines = [
            [f"{row['drop_ratio']:g}", *(in_percent(row[name], row["intervals"][name]) for name in shares)]
            + [f"{row['gmacs']:.3g}"]
            + [f"{speed[place]:.4g} ({speed[place] / speed[0]:.2f}x)" for speed in self.speeds.values()]
            for place, row in enumerate(self.rows)
        ]
        columns = ["drop ratio", *map(NAMES.__getitem__, shares), "GMACs"]
        columns += [f"images/s, batch {size}" for size in self.speeds]
        whole = Table(f"{self.model}, {shown}, float32 on {self.device}{rule}", columns, lines)
        return [whole, *of_classes(self.rows[0]), *filter(None, [self.remark])]

    def records(self) -> list[dict[str, Any]]:
        """A row for each drop ratio."""
        return self.rows


def of_classes(row: dict[str, Any]) -> list[Block]:
    """What is right of each class, worst first; of many classes the worst alone."""
    measure = "average_precision" if "map" in row else "recall"
    worst = sorted(row["by_class"].items(), key=lambda one: one[1][measure])
    lines = [
        [name, str(said["images"]), in_percent(said[measure], said.get("interval"))]
        for name, said in worst[:MOST_CLASSES]
    ]
    more = f", the {MOST_CLASSES} worst of {len(worst)} (all: --json)" if len(worst) > MOST_CLASSES else ""
    title = f"by class at drop ratio {row['drop_ratio']:g}{more}"
    table, absent = Table(title, ["class", "images", measure.replace("_", " ")], lines), row["absent_classes"]
    named = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
    return [table, *([f"{len(absent)} classes that no image shows are left out of means: {named}"] if absent else [])]
