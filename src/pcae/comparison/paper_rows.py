"""The paper's tables as comparisons, at a scale that a machine can bear."""

from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from pcae.comparison.paper_tables import TABLES, PaperRow, PaperTable, paper_table
from pcae.comparison.rows import Comparison, Row, over
from pcae.methods.choice import build_method
from pcae.model.encoder import build_encoder
from pcae.model.pretrained import PretrainedFacts
from pcae.settings.choices import ScaleName
from pcae.settings.methods import MethodConfig
from pcae.settings.network import DecoderConfig, EncoderConfig
from pcae.settings.values import build, check_values, leaves
from pcae.settings.verbs.finetune import FinetuneConfig
from pcae.settings.verbs.probe import ProbeConfig
from pcae.settings.yaml_files import read_yaml
from pcae.weights.files import save_model

RANDOM = "random"
"""Stands for weights that a scale does not have: a network with random ones takes their place."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What the rows of all tables share at one scale.

    data: without it, the caller's. epoch_share: epochs here for one of the paper's. rounds: of measuring speed.
    architectures: settings by the paper's name of a network. teachers: weights by the tables' names of fixed teachers.
    """

    epoch_share: float
    rounds: int
    architectures: dict[str, dict[str, dict[str, Any]]]
    teachers: dict[str, str]
    data: str | None = None
    pretrain: dict[str, Any] = field(default_factory=dict)
    finetune: dict[str, Any] = field(default_factory=dict)
    probe: dict[str, Any] = field(default_factory=dict)

    def settings(self, architecture: str, verb: str = "pretrain") -> dict[str, Any]:
        """What all rows of an architecture share, of a verb."""
        return {**getattr(self, verb), **self.architectures[architecture].get(verb, {})}


def read_scale(name: ScaleName) -> Scale:
    """A scale that the package ships."""
    with resources.as_file(TABLES / f"scale-{name}.yaml") as path:
        return Scale(**read_yaml(Scale, path))


def paper_comparison(number: int, name: ScaleName, out: Path) -> Comparison:
    """A table of the paper at a scale. Raises ValueError for one that is not there.

    out: where a stand-in for a teacher that the scale does not have is written.
    """
    table, scale = paper_table(number), read_scale(name)
    return Comparison(
        title=f"Table {number}, scale {name}: {table.title}",
        rows=tuple(row_of(row, scale, out) for row in table.rows),
        measures=table.measures,
        figures=table.figures,
        remark=remark_of(table, name),
        rounds=scale.rounds,
    )


def remark_of(table: PaperTable, name: ScaleName) -> str:
    """The table's remark, and what its accuracies are not at a smaller scale."""
    said = {
        "smoke": "Scale smoke proves that every row runs: its accuracies and speeds say nothing about the methods.",
        "small": "Scale small is Fashion-MNIST with small ViTs: other data and sizes than the paper's.",
        "paper": "",
    }
    return " ".join(part for part in (table.remark, said[name]) if part)


def row_of(row: PaperRow, scale: Scale, out: Path) -> Row:
    """A row of a table at a scale."""
    facts = {"paper": row.paper, "quoted": row.quoted, "control": row.control}
    if row.quoted:
        return Row(name=row.name, **facts)
    pretrain = over(scale.settings(row.architecture), translated(row, scale, out), row.name)
    if row.epochs:
        pretrain |= {"epochs": row.epochs * scale.epoch_share}
    if row.batch_size:
        pretrain |= {"batch_size": row.batch_size}
    return Row(
        name=row.name,
        pretrain=pretrain,
        finetune=over(scale.settings(row.architecture, "finetune"), row.finetune, row.name, FinetuneConfig),
        probe=over(scale.probe, {}, row.name, ProbeConfig),
        trained=row.epochs != 0,
        speed_only=row.batch_size is not None,
        **facts,
    )


def translated(row: PaperRow, scale: Scale, out: Path) -> dict[str, Any]:
    """A row's settings, with what tables leave to the scale filled in: a fixed teacher, a number of random targets."""
    own = dict(row.pretrain)
    if own.get("teacher") in scale.teachers:
        own["teacher"] = scale.teachers[own["teacher"]]
        if own["teacher"] == RANDOM:
            own["teacher"] = str(stand_in(scale, out))
    if own.get("random-targets") == "kept":
        own["random-targets"] = kept_by_three_stages(scale.settings(row.architecture), own.get("mask-ratio"))
    return own


def kept_by_three_stages(shared: dict[str, Any], mask_ratio: float | None) -> int:
    """As many targets as PCAE's usual teacher keeps of these images."""
    config = MethodConfig(mask_ratio=mask_ratio)
    with torch.device("meta"):
        return build_method(build_encoder(encoder_of(shared)), config, DecoderConfig()).counts[-1]


def encoder_of(settings: dict[str, Any]) -> EncoderConfig:
    """The network that settings describe."""
    own = {name: value for name, value in settings.items() if name.replace("-", "_") in leaves(EncoderConfig)}
    return build(EncoderConfig, check_values(EncoderConfig, own, "scale"))


def stand_in(scale: Scale, out: Path) -> Path:
    """A ViT-S with random weights, that reads images as all rows of the scale do; written once."""
    config = replace(encoder_of(scale.settings("ViT-S")), patch_scale=1.0)
    path = out / f"random-vit-s-{config.width}.safetensors"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            facts = PretrainedFacts(encoder=config, mean=scale.pretrain["mean"], std=scale.pretrain["std"])
            save_model(path, build_encoder(config).vit, facts)
    return path
