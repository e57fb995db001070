"""The trained detector that a verb works with, and what of it is chosen anew where it is used."""

from dataclasses import replace

from pcae.data.coco.views import check_sides
from pcae.settings.trained import UsedConfig
from pcae.terminal import console
from pcae.weights.detectors import DetectorFacts, LoadedDetector, find_detector


def find_used(config: UsedConfig, is_main: bool, score_threshold: float | None = None) -> LoadedDetector:
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
