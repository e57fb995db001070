"""The ways in which a model drops tokens, with the settings of its run; and a picture of what a finished run keeps."""

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args

import torch
from jaxtyping import UInt8
from torch import Tensor

from pcae.data.batches import whole_loader
from pcae.data.images import Images
from pcae.data.unreadable import BadFiles
from pcae.evaluation.features import readable
from pcae.evaluation.kept import Way, decide, way_of_classifier, way_of_teacher
from pcae.model.pretrained import Pretrained
from pcae.pictures.stages import draw_stages
from pcae.settings.choices import KeptMode
from pcae.settings.methods import WITHOUT_TEACHER, TeacherConfig
from pcae.settings.trained import KeepingConfig
from pcae.settings.values import check_values
from pcae.training.run_folder import config_of
from pcae.weights.files import CLASSIFIER_FILE, FILE, load
from pcae.weights.teacher import load_teacher

USUAL_MASK_RATIO = 0.75
"""Share of the patches that is hidden where no run says otherwise."""
USUAL_DROP_RATIO = 0.3
"""Share that a classifier drops which was fine-tuned without dropping."""
OF_TEACHER = ("keep_ratio", "stages", "placement", "stages_after", "criterion")


def run_folder(weights: Path) -> Path | None:
    """The folder, if it is that of a finished pre-training run."""
    return weights if (weights / FILE).is_file() and not (weights / CLASSIFIER_FILE).is_file() else None


def settled(config: KeepingConfig, run: Path | None) -> KeepingConfig:
    """The settings, with the run's own where none are given. Raises ValueError for a damaged config.yaml."""
    theirs = settings_of(run) if run else {}
    if config.stages_after is not None:
        theirs = {name: value for name, value in theirs.items() if name not in {"stages", "placement"}}
    elif config.stages is not None or config.placement is not None:
        theirs.pop("stages_after", None)
    return replace(config, **{name: value for name, value in theirs.items() if getattr(config, name) is None})


def settings_of(run: Path) -> dict[str, Any]:
    """What a pre-training run's config.yaml says of its teacher."""
    values = config_of(run)
    known = {field.name for field in fields(KeepingConfig)} - {"modes"}
    said = {name: values[name] for name in known if values.get(name) is not None}
    checked = check_values(KeepingConfig, said, str(run / "config.yaml"))
    if isinstance(values.get("pool_ratio"), float):  # several views: the teacher sees what is outside their pool
        checked["mask_ratio"] = 1 - values["pool_ratio"]
    return checked


def check_keeping(config: KeepingConfig) -> None:
    """Raise ValueError for what cannot be, before any work."""
    if config.modes is not None and len(set(config.modes)) != max(1, len(config.modes)):
        raise ValueError(f"modes needs at least one name and none twice, got {' '.join(config.modes) or 'nothing'}")


def modes_of(config: KeepingConfig, model: Pretrained) -> tuple[KeptMode, ...]:
    """The modes that are shown. Raises ValueError for a setting of a mode that is not among them."""
    usual: tuple[KeptMode, ...] = ("masked", "whole") if model.facts.classes is None else get_args(KeptMode)
    modes = config.modes or usual
    if set(modes) - set(usual):
        raise ValueError(
            "mode classifier is for a fine-tuned model, and these weights are an encoder; fine-tune it first"
        )
    needs = {"mask_ratio": {"masked"}, "drop_ratio": {"classifier"}} | {key: {"masked", "whole"} for key in OF_TEACHER}
    for name, wanted in needs.items():
        if getattr(config, name) is not None and not wanted & set(modes):
            raise ValueError(
                f"{name} {getattr(config, name)} is for mode {' or '.join(sorted(wanted))}, and shown is "
                f"{', '.join(modes)}; leave it out, or choose other --modes"
            )
    return modes


def ways_of(
    config: KeepingConfig, modes: tuple[KeptMode, ...], model: Pretrained, teacher: Pretrained | None = None
) -> list[Way]:
    """What drops tokens in each mode. teacher: what serves as the teacher instead of the model.

    Raises ValueError for settings that fit neither each other nor the model, and that drop nothing.
    """
    given = {name: getattr(config, name) for name in OF_TEACHER if getattr(config, name) is not None}
    mask_ratio = USUAL_MASK_RATIO if config.mask_ratio is None else config.mask_ratio
    most_dropped = model.facts.drop_ratios[1] or USUAL_DROP_RATIO
    drop_ratio = most_dropped if config.drop_ratio is None else config.drop_ratio
    makers: dict[KeptMode, Callable[[], Way]] = {
        "masked": lambda: way_of_teacher(teacher or model, TeacherConfig(**given), mask_ratio),
        "whole": lambda: way_of_teacher(teacher or model, TeacherConfig(**given), None),
        "classifier": lambda: way_of_classifier(model, drop_ratio),
    }
    return [makers[mode]() for mode in modes]


def draw_run(run: Path, images: Images, path: Path, count: int = 8) -> None:
    """Write a picture (PNG) of what a finished run keeps of so many images, spread over the data.

    For pre-training: of their hidden patches by the teacher. For fine-tuning: by the classifier at its highest drop
    ratio. Raises ValueError for a run that drops nothing, and when none of the images can be read.
    """
    model, place = load(run), run_folder(run)
    if place is None:
        if not model.facts.drop_ratios[1]:
            raise ValueError(f"{run} was fine-tuned at drop ratio 0: its classifier drops nothing")
        way, seed = way_of_classifier(model, model.facts.drop_ratios[1]), 0
    else:
        method = config_of(run).get("method")
        found = None if method in WITHOUT_TEACHER else load_teacher(run)
        if found is None:
            why = f"method {method} drops nothing" if method in WITHOUT_TEACHER else "its checkpoints are gone"
            raise ValueError(f"{run} has no teacher to show: {why}")
        config = settled(KeepingConfig(), place)
        (way,), seed = ways_of(config, ("masked",), model, found[0]), config.seed or 0
    pixels, _ = read_some(images, model, count, BadFiles(images, 1.0))
    draw_stages(path, pixels, way.columns(decide(way, pixels, way.ratio, seed)), model.encoder.grid)


def read_some(
    images: Images, model: Pretrained, count: int, bad_files: BadFiles, workers: int = 0
) -> tuple[UInt8[Tensor, "images channels height width"], list[int]]:
    """So many images, spread evenly, as the model takes them, and their indices; less those that cannot be read.

    Raises ValueError when too many cannot be read.
    """
    facts, chosen = model.facts, images.some(count)
    pixels, indices = [], []
    loader = whole_loader(images, facts.encoder.image_size, chosen, 16, workers, facts.crop_pct)
    for batch in readable(loader, bad_files, looked_at=len(chosen)):
        pixels.append(batch.pixels)
        indices += batch.indices
    if not indices:
        raise ValueError(f"{bad_files.describe(f'{len(chosen)} images looked at')}; none is left to show")
    return torch.cat(pixels), indices
