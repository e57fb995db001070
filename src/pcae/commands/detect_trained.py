"""The trained detector that a verb works with, and what of it is chosen anew where it is used."""

from dataclasses import dataclass, replace

from pcae.commands.terminal import console
from pcae.data.coco_views import check_sides
from pcae.weights.detectors import DetectorFacts, FoundDetector, find_detector


@dataclass(frozen=True, kw_only=True)
class UsedConfig:
    """A trained detector, and how it looks at images."""

    weights: str
    """Run folder of `pcae detect train`, or one of its files: detector.safetensors, best.safetensors."""
    shortest_side: int | None = None
    """Pixels of an image's shorter side where objects are looked for; without it, as it was trained."""
    longest_side: int | None = None
    """Pixels that the longer side may have then; without it, as it was trained."""
    window: int | None = None
    """Side in patches of the windows in which blocks attend, 0 for none; without it, as it was trained."""
    drop_ratio: float | None = None
    """Share of the patch tokens that each stage drops, in [0, 1); without it, as it was trained."""
    reduce_after: tuple[int, ...] | None = None
    """Blocks, counted from 0, after which tokens are dropped; without it, as it was trained."""
    detections_per_image: int | None = None
    """Most predictions that an image gets, the best ones; without it, as it was trained."""
    max_bad_files: float = 0.05
    """Share of the images that may be unreadable, in [0, 1); they are left out and named at the end."""
    workers: int = 0
    """Processes that read images beside this one."""
    device: str = "auto"
    """cpu, cuda, mps, ...; auto is the first accelerator, else the CPU."""


def find_used(config: UsedConfig, is_main: bool, score_threshold: float | None = None) -> FoundDetector:
    """The detector with what was chosen anew; says where it comes from. Raises ValueError for what cannot be."""
    found = find_detector(config.weights)
    if is_main:
        console.print(f"weights: {found.source}")
    return replace(found, facts=chosen(found.facts, config, score_threshold))


def chosen(facts: DetectorFacts, config: UsedConfig, score_threshold: float | None) -> DetectorFacts:
    """What the detector says of itself, with what was chosen anew."""
    values = {
        "drop_ratio": config.drop_ratio,
        "reduce_after": config.reduce_after,
        "detections_per_image": config.detections_per_image,
        "score_threshold": score_threshold,
    }
    detection = replace(facts.detection, **{name: value for name, value in values.items() if value is not None})
    if config.window is not None:
        detection = replace(detection, window=config.window or None)
    if config.window == 0:
        detection = replace(detection, global_blocks=None)
    shortest = facts.min_size if config.shortest_side is None else config.shortest_side
    longest = max(facts.max_size, shortest) if config.longest_side is None else config.longest_side
    check_sides((shortest,), longest, "shortest_side")
    return replace(facts, detection=detection, min_size=shortest, max_size=longest)
