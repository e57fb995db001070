"""How diverse tokens are, layer by layer, of one or more models, and what holds of the paper's claims."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pcae.data.unreadable import BadFiles, Batch
from pcae.evaluation.claims import diversity_verdicts, examine, verdicts
from pcae.evaluation.diversity import diversities, traces
from pcae.evaluation.estimates import by_claim, by_place
from pcae.inference.models import LabelledModel, check_models, models_of, read
from pcae.inference.trained import say_left_out
from pcae.model.pretrained import Pretrained
from pcae.model.reduction import Reduction, kept_counts
from pcae.model.tokens import patchify
from pcae.pictures.diversity import Line, draw_claims, draw_diversity
from pcae.settings.choices import Dropping
from pcae.settings.values import to_plain
from pcae.settings.verbs.diversity import DiversityConfig
from pcae.terminal import bar, console
from pcae.training.distributed import pick_device
from pcae.training.randomness import randomness
from pcae.writing import check_place, replace_text


class MeasuredModel(NamedTuple):
    """What was measured of a model, Float[seeds images ...] by name: for each kind of dropping, and for the claims.

    tokens: how many are left at each layer.
    """

    of: LabelledModel
    reduction: Reduction
    tokens: list[int]
    diversity: dict[Dropping, dict[str, Tensor]]
    claims: dict[str, Tensor]
    bad_files: BadFiles

    @property
    def images(self) -> int:
        """How many images were read."""
        return len(self.bad_files.images) - len(self.bad_files.found)

    @property
    def verdicts(self) -> list[dict[str, Any]]:
        """What holds."""
        found = diversity_verdicts({name: values["after"] for name, values in self.diversity.items()})
        return by_claim(found + (verdicts(self.claims, self.reduction.after) if self.claims else []))


def check(config: DiversityConfig) -> None:
    """Raise ValueError for what cannot be, before any work."""
    check_models(config.models)
    if len(set(config.reductions)) != max(1, len(config.reductions)):
        raise ValueError("reductions needs at least one value, and each once")
    if config.out is not None:
        check_place(config.out, config.data)


def measure_diversity(config: DiversityConfig) -> dict[str, Any]:
    """Measure all models, and write where that is asked for; everything as JSON has it.

    Raises ValueError for what cannot be, and when too many images cannot be read.
    """
    check(config)
    device = pick_device(config.device)
    measured = [measure(config, labelled, device) for labelled in models_of(config)]
    found = described(config, measured)
    if config.out is not None:
        write(config.out, found, measured)
    for bad_files in {one.bad_files.describe(): one.bad_files for one in measured}.values():
        say_left_out(bad_files)
    return found


def measure(config: DiversityConfig, labelled: LabelledModel, device: torch.device) -> MeasuredModel:
    """Measure a model as often as it has seeds; images are read once."""
    model = labelled.build(0, device)
    encoder = model.encoder
    reduction = Reduction.for_pretraining(encoder.depth, stages=config.stages, keep=config.keep_ratio)
    tokens = tokens_by_layer(encoder.grid[0] * encoder.grid[1], reduction, encoder.depth)
    bad_files, batches = read(config, labelled.facts)
    found = []
    for seed in bar(f"measuring {labelled.label}")(range(labelled.seeds)):
        model = labelled.build(seed, device) if seed else model
        noise = randomness(seed, 0, len(bad_files.images), torch.device("cpu")).uniform("drop", tokens[0])
        with torch.inference_mode():
            parts = [of_batch(model, batch, reduction, noise[batch.indices], config.reductions) for batch in batches]
        found.append({key: torch.cat([part[key] for part in parts]).cpu() for key in parts[0]})
    values = {key: torch.stack([one[key] for one in found]) for key in found[0]}
    diversity: dict[Dropping, dict[str, Tensor]] = {
        name: {what: value for (of, what), value in values.items() if of == name} for name in config.reductions
    }
    claims = {what: value for (of, what), value in values.items() if of == "claims"}
    return MeasuredModel(labelled, reduction, tokens, diversity, claims, bad_files)


def tokens_by_layer(positions: int, reduction: Reduction, depth: int) -> list[int]:
    """How many tokens are left at each layer. Raises ValueError when a stage would drop none, or all."""
    counts, left = kept_counts(positions, reduction), [positions]
    for block in range(depth):
        left.append(counts.get(block, left[-1]))
        if block in counts and left[-1] == left[-2]:
            raise ValueError(f"keep_ratio {reduction.share:g} drops none of {left[-1]} tokens; choose a lower one")
    return left


def of_batch(
    model: Pretrained, batch: Batch, reduction: Reduction, noise: Tensor, reductions: tuple[Dropping, ...]
) -> dict[tuple[str, str], Tensor]:
    """Diversities by (kind of dropping, which), and what the claims need by ("claims", what)."""
    pixels, noise, encoder = batch.pixels.to(model.device), noise.to(model.device), model.encoder
    patches = patchify(model.normalise(pixels), encoder.patch_size)
    found = traces(encoder, patches, reductions, reduction, noise)
    values = {(name, what): value for name, one in found.items() for what, value in diversities(one).items()}
    if "ptr" in found:
        plain = patchify(pixels.float() / 255, encoder.patch_size)
        claims = examine(encoder, patches, plain, found["ptr"], reduction, noise)
        values |= {("claims", what): value for what, value in claims.items()}
    return values


def described(config: DiversityConfig, measured: list[MeasuredModel]) -> dict[str, Any]:
    """Everything as JSON has it."""
    models = [
        {
            "label": one.of.label,
            "source": one.of.found.source if one.of.found else "random weights",
            "encoder": asdict(one.of.facts.encoder),
            "seeds": one.of.seeds,
            "images": one.images,
            "stages_after": one.reduction.after,
            "tokens": one.tokens,
            "diversity": {
                name: {what: by_place(value) for what, value in values.items()}
                for name, values in one.diversity.items()
            },
            "measured": {what: by_place(value) for what, value in one.claims.items()},
            "claims": one.verdicts,
        }
        for one in measured
    ]
    bad_files = {name: why for one in measured for name, why in one.bad_files.by_name().items()}
    return {"models": models, "bad_files": bad_files, "settings": to_plain(config)}


def write(out: Path, result: dict[str, Any], measured: list[MeasuredModel]) -> None:
    """Write the pictures and the JSON."""
    out.mkdir(parents=True, exist_ok=True)
    lines = [Line(one.of.label, name, values["after"]) for one in measured for name, values in one.diversity.items()]
    draw_diversity(out / "diversity.png", lines)
    claims = {one.of.label: (one.claims, one.tokens[0]) for one in measured if one.claims}
    if claims:
        draw_claims(out / "claims.png", claims)
    replace_text(out / "diversity.json", json.dumps(result, indent=1, default=str) + "\n")
    console.print(f"pictures and numbers: {out}")
