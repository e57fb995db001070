"""What a finished run's features are like, in pictures: neighbours before and after, a map, clusters."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from pcae.data.images import Images
from pcae.data.unreadable import BadFiles, Batch
from pcae.evaluation.features import features_of
from pcae.model.encoder import build_encoder
from pcae.model.pretrained import Pretrained
from pcae.pages.html import picture_address
from pcae.pages.kept_tokens import read_some
from pcae.pages.run_data import RunData, images_of
from pcae.pictures.stages import to_rgb
from pcae.search.exact import exact_neighbours, without
from pcae.search.rows import HeldRows
from pcae.weights.files import load

MOST_IMAGES, LEAST_IMAGES = 1000, 64
TRAINED_FOR_ONE = 100
"""Images trained on for one on the map, so that drawing it costs little beside the run."""
ASKED, NEIGHBOURS = 8, 5
CLUSTERS, TYPICAL = 8, 6
SIDE = 40
"""Pixels of a side of a small picture."""
MOST_COLOURS = 8
OTHERS = "others"
MISSING = "a t-SNE map and clusters need scikit-learn: pip install 'pcae[report]'"


def feature_map(run: RunData) -> dict[str, Any]:
    """What the page shows of the features of some images, spread over the data. Raises ValueError, OSError where there
    are no images or weights any more."""
    if run.summary is None:
        raise ValueError("it is drawn once the run is finished")
    model, images = load(run.folder), images_of(run, "train")
    count = min(MOST_IMAGES, max(LEAST_IMAGES, run.step * run.config.run.batch_size // TRAINED_FOR_ONE))
    pixels, indices = read_some(images, model, min(count, len(images)), BadFiles(images, 1.0))
    features, start = encode(model, pixels), at_start(run, model)
    spots, clusters, how = laid_out(features)
    groups, legend = grouped(images, indices, clusters)
    return {
        "images": len(indices),
        "names": [images.short(index) for index in indices],
        "sprite": picture_address(sprite(pixels), "jpeg", quality=80),
        "columns": columns(len(pixels)),
        "side": SIDE,
        "rows": -(-len(pixels) // columns(len(pixels))),
        "spots": spots.tolist(),
        "groups": groups,
        "legend": legend,
        "how": how,
        "asked": neighbours_of(features, encode(start, pixels) if start else None),
        "begun": run.config.init or "random weights",
        "clusters": typical(features, clusters) if clusters is not None else [],
        "missing": MISSING if clusters is None else None,
    }


def at_start(run: RunData, model: Pretrained) -> Pretrained | None:
    """The network as the run began; None where its first weights are gone."""
    if run.config.init is not None:
        try:
            return load(run.config.init)
        except ValueError:
            return None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.config.run.seed)
        return Pretrained(build_encoder(model.facts.encoder), model.facts).eval()


def encode(model: Pretrained, pixels: UInt8[Tensor, "images channels height width"]) -> Float[Tensor, "images dim"]:
    """Mean patch features."""
    return torch.cat([features_of(model, Batch(part, [], {}), "mean") for part in pixels.split(64)])


def neighbours_of(
    features: Float[Tensor, "images dim"], before: Float[Tensor, "images start_dim"] | None
) -> list[dict[str, Any]]:
    """Images spread over those of the map, and the nearest others by cosine similarity, at the start and now."""
    asked = torch.linspace(0, len(features) - 1, min(ASKED, len(features))).long().unique()
    after = nearest(features, asked)
    begun = nearest(before, asked) if before is not None else [[] for _ in asked]
    return [
        {"image": image, "before": old, "after": new}
        for image, old, new in zip(asked.tolist(), begun, after, strict=True)
    ]


def nearest(features: Float[Tensor, "images dim"], asked: Int[Tensor, " asked"]) -> list[list[int]]:
    """The nearest others of each image that is asked for."""
    rows, own = HeldRows(features.numpy()), asked.numpy()
    return without(exact_neighbours(rows, rows.values[own], NEIGHBOURS + 1), own).rows.tolist()


def laid_out(features: Float[Tensor, "images dim"]) -> tuple[Tensor, list[int] | None, str]:
    """Places in [0, 1000] of the images, the cluster of each, and what laid them out.

    That is t-SNE and k-means of scikit-learn; where it is missing, two principal components, and no clusters.
    """
    vectors = F.normalize(features, dim=1)
    try:
        from sklearn.cluster import KMeans
        from sklearn.manifold import TSNE
    except ImportError:
        centred = vectors - vectors.mean(0)
        return in_square(centred @ torch.linalg.svd(centred, full_matrices=False)[2][:2].T), None, "two components"
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    spots = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(vectors.numpy())
    found = KMeans(min(CLUSTERS, len(vectors)), random_state=0).fit_predict(vectors.numpy())
    return in_square(torch.from_numpy(spots)), found.tolist(), "t-SNE"


def in_square(spots: Float[Tensor, "images 2"]) -> Int[Tensor, "images 2"]:
    """Places from 0 to 1000 in both directions."""
    low, high = spots.amin(0), spots.amax(0)
    return ((spots - low) / (high - low).clamp_min(1e-12) * 1000).round().long()


def grouped(images: Images, indices: Sequence[int], clusters: list[int] | None) -> tuple[list[int], list[str]]:
    """A colour of each image, and what the colours stand for: the most frequent classes, where labels are known, else
    clusters."""
    if images.labels is None or len(images.classes) < 2:
        names = [f"cluster {number + 1}" for number in range(max(clusters, default=-1) + 1)] if clusters else []
        return clusters or [0] * len(indices), names
    labels = [int(images.labels[index]) for index in indices]
    often = [label for label, _ in Counter(labels).most_common()]
    shown = sorted(often if len(often) <= MOST_COLOURS else often[: MOST_COLOURS - 1])
    names = [str(images.classes[label]) for label in shown] + ([OTHERS] if len(shown) < len(often) else [])
    return [shown.index(label) if label in shown else len(shown) for label in labels], names


def typical(features: Float[Tensor, "images dim"], clusters: Sequence[int]) -> list[dict[str, Any]]:
    """Of each cluster its size and the images nearest to its centre, the largest cluster first."""
    vectors, found = F.normalize(features, dim=1), torch.tensor(clusters)
    groups = []
    for number in found.unique():
        members = (found == number).nonzero().flatten()
        close = (vectors[members] @ vectors[members].mean(0)).argsort(descending=True)
        groups.append({"size": len(members), "images": members[close[:TYPICAL]].tolist(), "number": int(number) + 1})
    return sorted(groups, key=lambda group: -group["size"])


def columns(count: int) -> int:
    """Small pictures in a row of the sprite."""
    return math.ceil(math.sqrt(count))


def sprite(pixels: UInt8[Tensor, "images channels height width"]) -> Image.Image:
    """Small pictures of all images in one, row by row."""
    wide = columns(len(pixels))
    whole = Image.new("RGB", (wide * SIDE, -(-len(pixels) // wide) * SIDE))
    for place, picture in enumerate(to_rgb(pixels)):
        small = Image.fromarray(picture.contiguous().numpy()).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        whole.paste(small, (place % wide * SIDE, place // wide * SIDE))
    return whole
