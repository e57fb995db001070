"""TODO."""

from collections.abc import Callable

import torch
from torch import Tensor

from pcae.data.images import Images
from pcae.evaluation.features import embed
from pcae.evaluation.knn import knn_accuracies
from pcae.model.encoder import build_encoder
from pcae.model.pretrained import Pretrained, PretrainedFacts
from pcae.settings.verbs.pretrain import PretrainConfig


def untrained(settings: PretrainConfig, facts: PretrainedFacts, device: torch.device) -> Pretrained:
    """The encoder as the run began."""
    torch.manual_seed(settings.run.seed)
    return Pretrained(build_encoder(facts.encoder), facts).to(device).eval()


def probe(model: Pretrained, train: Images, test: Images) -> float:
    """kNN accuracy of the mean of the patch tokens."""
    return knn(lambda images: embed(model, images), train, test)


def knn(features: Callable[[Images], Tensor], train: Images, test: Images) -> float:
    """Accuracy of the 20 nearest neighbours."""
    labels = [torch.tensor(list(images.labels or [])) for images in (train, test)]
    return knn_accuracies(features(train), labels[0], features(test), labels[1])[20]
