"""What a run of fine-tuning makes of its settings of labels: images for both sides, and what is said of them."""

from pathlib import Path

from torch import Tensor

from pcae.data.images import Images
from pcae.data.tables.labelled import open_labelled
from pcae.data.tables.split_off import check_split, open_split
from pcae.settings.labels import LabelsConfig
from pcae.settings.reading import DataConfig
from pcae.settings.verbs.finetune import FinetuneConfig
from pcae.writing import replace_bytes


def check_labels_config(config: FinetuneConfig) -> None:
    """Raise ValueError, with the remedy, for settings of labels that do not go together."""
    labels = config.labels
    check_split(labels, config.validation)
    if labels.multi_label and labels.sampler == "balanced":
        raise ValueError("sampler balanced needs one class an image; with --multi-label use --class-weights balanced")


def open_both(config: FinetuneConfig, channels: int | None, reading: DataConfig) -> tuple[Images, Images]:
    """Training and held-out images."""
    labels, pixel_range, bands = config.labels, reading.pixel_range, reading.bands
    if labels.val_fraction is not None:
        return open_split(config.data, labels, config.run.seed, channels, pixel_range, bands, labels.multi_label)
    return open_labelled(config.data, channels, pixel_range, config.validation, bands, labels.multi_label)


def describe_labels(images: Images, labels: LabelsConfig, weights: Tensor | None) -> list[str]:
    """What there is to say of the images' labels, and of what balances classes."""
    lines = []
    if images.label_sets is not None:
        lines.append(f"{sum(map(len, images.label_sets)) / len(images):.3g} labels an image on the mean")
        lines += [images.said.remark] if images.said and images.said.remark else []
    if weights is not None:
        low, high = float(weights.min()), float(weights.max())
        lines.append(f"class weights {low:.3g} to {high:.3g}, 1 on the mean over the images")
    if labels.sampler == "balanced":
        lines.append("every epoch shows each class alike")
    if weights is not None and labels.sampler == "balanced":
        lines.append("class weights and the balanced sampler correct the same thing twice; one of them is enough")
    return lines


def write_names(path: Path, images: Images) -> None:
    """Write which images these are, as they are called below DATA, one a line."""
    names = "".join(f"{images.short(row)}\n" for row in range(len(images)))
    replace_bytes(path, names.encode("utf-8", "surrogateescape"))
