"""What a comparison compares: settings by name, and the runs that they stand for."""

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from pcae.data.images import Images
from pcae.runs import finetuning, pretraining
from pcae.settings.choices import Measure
from pcae.settings.recipes import configure
from pcae.settings.sources import Data
from pcae.settings.training import RUNTIME_SETTINGS
from pcae.settings.values import build, check_values, expand, leaves, to_plain, without_rivals
from pcae.settings.verbs.finetune import FinetuneConfig
from pcae.settings.verbs.pretrain import PretrainConfig, settings_without_effect
from pcae.settings.verbs.probe import ProbeConfig
from pcae.settings.yaml_files import Yaml
from pcae.sharing.contents import stored
from pcae.training.distributed import pick_device
from pcae.training.plan import autocast_dtype

NOT_IN_DIGESTS = (RUNTIME_SETTINGS - {"mean", "std", "validation"}) | {"weights", "probes", "token_gib"}
"""Settings that do not change what a run comes to, or that a cell says otherwise. Which images it is about is told by
their names, not where they lie."""
MEASURES: tuple[Measure, ...] = ("knn", "linear", "training_images_per_second", "training_gmacs", "seconds")
"""What is measured where nothing is asked for."""
TENSORS = {".safetensors", ".pth", ".pt", ".bin"}
"""Files of a folder that weights lie in."""
SET_BY_COMPARISON = {
    "data", "out", "seed", "resume", "json", "config", "weights", "from_scratch", "device", "workers", "accumulation",
    "probes", "validation", "pixels", "pool", "dry_run",
}  # fmt: skip
"""Settings that a row cannot have, because the comparison does."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of a comparison.

    pretrain, finetune, probe: settings of the three verbs. trained: False is a network with random weights. speed_only:
    nothing is trained, only speed and memory are measured. paper: what the paper reports. quoted: it is not built here.
    control: a row that the paper lacks.
    """

    name: str
    pretrain: dict[str, Any] = field(default_factory=dict)
    finetune: dict[str, Any] = field(default_factory=dict)
    probe: dict[str, Any] = field(default_factory=dict)
    trained: bool = True
    speed_only: bool = False
    paper: dict[str, float] = field(default_factory=dict)
    quoted: bool = False
    control: bool = False


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Rows with what is measured of them. figures: the paper's, in words, by key. remark: what must be said."""

    title: str
    rows: tuple[Row, ...]
    measures: tuple[Measure, ...] = MEASURES
    figures: dict[str, str] = field(default_factory=dict)
    remark: str = ""
    rounds: int = 7


@dataclass(frozen=True, kw_only=True)
class FileRow:
    """A row of a file of rows."""

    name: str
    pretrain: dict[str, Any] = field(default_factory=dict)
    finetune: dict[str, Any] = field(default_factory=dict)
    scratch: bool = False


@dataclass(frozen=True, kw_only=True)
class RowsFile:
    """A file of rows: what all share, and each by its name."""

    rows: list[dict[str, Any]]
    title: str = "Comparison"
    pretrain: dict[str, Any] = field(default_factory=dict)
    finetune: dict[str, Any] = field(default_factory=dict)
    probe: dict[str, Any] = field(default_factory=dict)
    measures: tuple[Measure, ...] = MEASURES


def read_rows(path: Path) -> Comparison:
    """The comparison that a YAML file describes. Raises ValueError when it cannot be read or does not make sense."""
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Yaml)
    except Exception as error:  # the loader raises errors of every kind on what only looks like YAML
        raise ValueError(f"rows {str(path)!r} cannot be read: {' '.join(str(error).split())}") from error
    rows = values.get("rows") if isinstance(values, dict) else None
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"rows {str(path)!r} must hold `rows:` with a list of `- name: ...`; see docs/compare.md")
    file = RowsFile(**check_values(RowsFile, values, str(path)))
    compared = tuple(row_of(row, file, path) for row in file.rows)
    names = [row.name for row in compared]
    for name in names:
        if not name.strip():
            raise ValueError(f"rows {str(path)!r} has a row with an empty name: {name!r}")
        if names.count(name) > 1:
            raise ValueError(f"rows {str(path)!r} has two rows named {name!r}; tell them apart")
    return Comparison(title=file.title, rows=compared, measures=file.measures)


def row_of(values: dict[str, Any], file: RowsFile, path: Path) -> Row:
    """A row of the file, with what it shares with the others. Raises ValueError for one without a name."""
    if "name" not in values:
        raise ValueError(f"rows {str(path)!r} has a row without a name: {values}")
    written = FileRow(**check_values(FileRow, values, f"{path}, row {values['name']}"))
    return Row(
        name=written.name,
        pretrain=over(file.pretrain, written.pretrain, written.name),
        finetune=over(file.finetune, written.finetune, written.name, FinetuneConfig),
        probe=over(file.probe, {}, written.name, ProbeConfig),
        trained=not written.scratch,
    )


def over(shared: dict[str, Any], own: dict[str, Any], name: str, cls: type = PretrainConfig) -> dict[str, Any]:
    """A row's settings over the shared ones, less those of these that its method does not have.

    Raises ValueError naming the row for an unknown setting or one that is the comparison's to set.
    """
    shared, own = (check_values(cls, settings, f"row {name}") for settings in (shared, own))
    for setting in SET_BY_COMPARISON & leaves(cls).keys():
        if setting in shared | own:
            raise ValueError(f"row {name}: {setting} is the comparison's to set; leave it out")
    if cls is PretrainConfig:
        void = settings_without_effect(shared | own)
        shared = {setting: value for setting, value in shared.items() if setting not in void or setting in own}
    k = (shared | own).get("k", (20,))
    if cls is ProbeConfig and len(k) != 1:
        raise ValueError(f"row {name}: k must be one number here, so that there is one kNN accuracy, got {list(k)}")
    return without_rivals(shared, own) | own


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What all rows share beside their settings: images, device and how the runs are made.

    files: a short name of the images, channels and classes theirs.
    """

    data: Data
    files: str
    channels: int
    classes: int
    runs: Path
    device: str
    workers: int
    accumulation: int


def pretrain_config(row: Row, at: Conditions, seed: int, **budget: Any) -> PretrainConfig:
    """The pre-training of a row; its folder is named by all that decides its result.

    budget: steps or epochs over the row's own; the warm-up is then the usual share of them.
    """
    own = without_rivals(row.pretrain, budget) | budget | {"accumulation": at.accumulation}
    if budget:
        own.pop("warmup_epochs", None)
    config = configured(PretrainConfig, pretraining.choose_recipe, row, at, seed, own)
    name = digest_of([at.files, row.trained, result_settings(config)])
    return replace(config, out=at.runs / f"{'pretrained' if row.trained else 'untrained'}-{name}")


def finetune_config(row: Row, at: Conditions, seed: int, weights: Path) -> FinetuneConfig:
    """The fine-tuning of a row from its weights, or from random ones of their architecture."""
    own = row.finetune | {"weights": str(weights), "from_scratch": not row.trained, "accumulation": 1}
    config = configured(FinetuneConfig, finetuning.choose_recipe, row, at, seed, own)
    return replace(config, out=at.runs / f"finetuned-{digest_of([at.files, weights.name, result_settings(config)])}")


def probe_config(row: Row, at: Conditions, weights: Path) -> ProbeConfig:
    """How a row's features are probed."""
    shared = {"data": at.data, "weights": str(weights), "workers": at.workers, "device": at.device}
    return build(ProbeConfig, row.probe | shared)


def configured(cls: Any, choose_recipe: Any, row: Row, at: Conditions, seed: int, own: dict[str, Any]) -> Any:
    """The configuration of a run of a row."""
    shared = {"data": at.data, "out": str(at.runs / "unnamed"), "device": at.device, "workers": at.workers}
    return configure(cls, f"row {row.name}", choose_recipe, seed=seed, **own, **shared)


def result_settings(config: Any) -> dict[str, Any]:
    """All settings that change what a run comes to; other weights by what is in them.

    What has its usual value is left out, so that cells are still known by a newer pcae, with more settings.
    """
    usual = to_plain(build(type(config), {}))
    values = {
        name: value
        for name, value in to_plain(config).items()
        if name not in NOT_IN_DIGESTS and (value != usual[name] or name == "precision")
    }
    if "precision" in values:  # "auto" is another one on another device
        values["precision"] = str(autocast_dtype(values["precision"], pick_device(config.run.device)))
    return values | {name: identity(values[name]) for name in ("init", "teacher") if values.get(name)}


def fingerprint(images: Images) -> str:
    """A short name of images: their names, labels and what is stored of 64 of them."""
    digest = hashlib.blake2b(f"{images.digest()} {images.labels} {images.classes}".encode())
    for index in images.some(64):
        digest.update(stored(images, index))
    return digest.hexdigest()


def identity(weights: str) -> str:
    """What weights are: a digest of their files, or the words that name them elsewhere."""
    place, (file, _, root) = expand(weights), weights.rpartition("#")
    if not place.exists() and expand(file).is_file():  # one of several encoders in a file
        return digest_of([file_digest(expand(file)), root])
    files = [place] if place.is_file() else sorted(path for path in place.glob("*") if path.suffix in TENSORS)
    return digest_of([file_digest(path) for path in files]) if files else weights


def file_digest(path: Path) -> str:
    """A digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def digest_of(values: Any) -> str:
    """A short name of values in JSON's types."""
    return hashlib.blake2b(json.dumps(values, sort_keys=True).encode(), digest_size=6).hexdigest()
