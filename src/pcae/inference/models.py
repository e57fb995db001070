"""The models that are measured one by one, trained ones and random weights, and the images that they are shown."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from pcae.data.batches import pixel_statistics, whole_loader
from pcae.data.images import open_images
from pcae.data.unreadable import BadFiles, Batch
from pcae.evaluation.features import readable
from pcae.inference.trained import at_most, images_for
from pcae.model.encoder import build_encoder, create_vit
from pcae.model.pretrained import Pretrained, PretrainedFacts
from pcae.settings.network import EncoderConfig
from pcae.settings.trained import RANDOM, ModelsConfig
from pcae.settings.verbs.diversity import DiversityConfig
from pcae.terminal import bar, console
from pcae.weights.files import fill, find
from pcae.weights.loaded import Loaded


class LabelledModel(NamedTuple):
    """A model by its label. found: its weights; None for random ones. seeds: how often it is measured."""

    label: str
    facts: PretrainedFacts
    found: Loaded | None
    seeds: int

    def build(self, seed: int, device: torch.device) -> Pretrained:
        """The model, in evaluation mode; the seed decides random weights."""
        if self.found is not None:
            return fill(self.found, device, self.facts.encoder.image_size)[0]
        torch.manual_seed(seed)
        return Pretrained(build_encoder(self.facts.encoder), self.facts).to(device).eval()


def check_models(config: ModelsConfig) -> None:
    """Raise ValueError for what cannot be, before any work."""
    if len(set(config.weights)) != max(1, len(config.weights)):
        raise ValueError(f"weights needs at least one value, and each once, got {' '.join(config.weights) or 'none'}")
    if config.model is not None and config.weights != (RANDOM,):
        raise ValueError(f"model {config.model!r} is for random weights alone; other weights say what they are")
    labels = labels_of(config)
    if len(labels) != len(config.weights) or len(set(labels)) < len(labels):
        raise ValueError(
            f"labels must give each of {len(config.weights)} weights a name of its own, got {' '.join(labels)}"
        )


def labels_of(config: ModelsConfig) -> list[str]:
    """What the weights are called."""
    if config.labels is not None:
        return [*config.labels]
    return [weights if ":" in weights else Path(weights).resolve().name for weights in config.weights]


def models_of(config: DiversityConfig) -> Iterator[LabelledModel]:
    """The models, none of them built yet. Raises ValueError for weights that cannot be had."""
    asked = config.models
    found = {weights: find(weights) for weights in asked.weights if weights != RANDOM}
    others = [one.facts for one in found.values()]
    for label, weights in zip(labels_of(asked), asked.weights, strict=True):
        one = found.get(weights)
        if one is not None:
            console.print(f"{label}: {one.source}")
        facts = one.facts if one else others[0] if others else untrained(config)
        size = asked.image_size or facts.encoder.image_size
        facts = replace(facts, encoder=replace(facts.encoder, image_size=size))
        yield LabelledModel(label, facts, one, 1 if one else asked.seeds)


def untrained(config: DiversityConfig) -> PretrainedFacts:
    """The facts of a new network for these images, with their own mean and standard deviation."""
    asked = config.models
    images = at_most(open_images(config.data, config.shown.split), asked.most_images)
    encoder = EncoderConfig(model=asked.model or EncoderConfig.model, channels=images.channels)
    encoder = replace(encoder, image_size=asked.image_size or encoder.image_size)
    with torch.device("meta"):  # what cannot be is refused before an image is read
        create_vit(encoder, channels=images.channels)
    bad_files = BadFiles(images, config.shown.max_bad_files)
    mean, std = pixel_statistics(images, encoder.image_size, bad_files, follow=bar("mean and standard deviation"))
    return PretrainedFacts(encoder=encoder, mean=mean, std=std)


def read(config: DiversityConfig, facts: PretrainedFacts) -> tuple[BadFiles, list[Batch]]:
    """What cannot be read of the images, and the others, as the model takes them, in batches that stay in memory."""
    shown, size = config.shown, facts.encoder.image_size
    images = images_for(facts, config.data, shown.split)
    bad_files = BadFiles(at_most(images, config.models.most_images), shown.max_bad_files)
    loader = whole_loader(bad_files.images, size, None, config.models.batch_size, shown.workers, facts.crop_pct)
    return bad_files, list(readable(loader, bad_files, bar("reading images")))
