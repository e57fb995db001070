"""What is claimed of ViT-B on one H100 or H200, held against the sections that benchmarks/gpu.py measured."""

from typing import Any

Found = dict[str, Any]
PAIR = ("mae", "pcae-85")
FASTER = {0.1: 1.05, 0.2: 1.20, 0.3: 1.38, 0.4: 1.60}
"""Inference: times as fast as without dropping, by drop ratio."""


def claims(found: dict[str, Found]) -> list[Found]:
    """Each claim, what was measured, and what became of it: holds, falls short or not measured."""
    views = {row["row"]: row["per_view"] for row in rows_of(found, "more-rows-512-eager")}
    judged = [
        *training_claims(best_speeds(found)),
        ("rows whose step never waits for the host, of two", without_waits(found), 2),
        ("from a packed folder against made-up images", packed_share(found), 0.9),
        ("4 views, per view, against our MAE", views.get("pcae-85-4-views"), 2.6),
    ]
    by_ratio = {row["drop_ratio"]: row for row in rows_of(found, "inference-bf16-compiled")}  # the large batch is last
    for ratio, least in FASTER.items():
        judged.append((f"inference at drop ratio {ratio:g}", by_ratio.get(ratio, {}).get("times_as_fast"), least))
    return [
        {"claim": what, "measured": value, "at_least": least, "verdict": verdict(value, least)}
        for what, value, least in judged
    ]


def training_claims(best: dict[str, float]) -> list[tuple[str, float | None, float]]:
    """Of speed in training; each method in its own fastest way."""
    mae, ours = (best.get(name) for name in PAIR)
    return [
        ("MAE, images/s", mae, 6_000),
        ("PCAE 85 %, images/s", ours, 12_000),
        ("PCAE 85 % against our MAE", ours / mae if ours and mae else None, 1.95),
    ]


def best_speeds(found: dict[str, Found]) -> dict[str, float]:
    """Images per second of each row in the fastest of the ways in which ViT-B was trained."""
    best: dict[str, float] = {}
    for name in found:
        for row in rows_of(found, name) if name.startswith("training-") else ():
            best[row["row"]] = max(best.get(row["row"], 0.0), row["images_per_second"])
    return best


def without_waits(found: dict[str, Found]) -> int | None:
    """Rows in whose step the host waited for nothing; CUDA's own check ends the section where it does."""
    free = [row["host_waits"] == 0 for row in rows_of(found, "kernels")]
    return sum(free) if free else None


def packed_share(found: dict[str, Found]) -> float | None:
    """Speed from a packed folder over that on made-up images."""
    packed, made_up = rows_of(found, "from-packed"), rows_of(found, "training-512-compiled")
    if not packed or not made_up:
        return None
    return packed[0]["images_per_second"] / made_up[-1]["images_per_second"]


def rows_of(found: dict[str, Found], name: str) -> list[Found]:
    """The rows of a section; none where it was not measured."""
    return found.get(name, {}).get("rows", [])


def verdict(value: float | None, least: float) -> str:
    """What became of a claim."""
    if value is None:
        return "not measured"
    return "holds" if value >= least else "falls short"
