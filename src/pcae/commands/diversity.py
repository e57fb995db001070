"""`pcae diversity`: how diverse tokens are, layer by layer (Figure 3), and the paper's claims about what is dropped."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor
from tyro.conf import Positional, arg

from pcae.commands.specimens import Specimen, SpecimensConfig, check_specimens, read, specimens
from pcae.commands.terminal import as_json, bar, console, table
from pcae.commands.trained import ShownConfig
from pcae.data.unreadable import BadFiles, Batch
from pcae.evaluation.claims import diversity_verdicts, examine, verdicts
from pcae.evaluation.diversity import Dropping, diversities, traces
from pcae.evaluation.diversity_plots import NAMES, Line, draw_claims, draw_diversity
from pcae.evaluation.estimates import by_claim, by_place, estimate
from pcae.model.pretrained import Pretrained
from pcae.model.reduction import Reduction, kept_counts
from pcae.model.tokens import patchify
from pcae.settings import to_plain
from pcae.training.checkpoint import replace_text
from pcae.training.distributed import pick_device
from pcae.training.folder import check_place
from pcae.training.randomness import randomness


@dataclass(frozen=True, kw_only=True)
class Config:
    """Measure the diversity of tokens at every layer: the nuclear norm of the sequence over its length (Appendix A).

    Images are seen whole, without class token, as a teacher sees its patches. With ptr among the reductions, what the
    paper says of dropped and kept tokens (sections 3.2 and 3.3) is measured, too.
    """

    data: Annotated[str, Positional, arg(metavar="IMAGES")]
    """An image, a folder, a .txt or .csv list, WebDataset shards, `hf:NAME`, or a built-in word."""
    specimens: SpecimensConfig = SpecimensConfig()
    reductions: tuple[Dropping, ...] = ("none", "random", "ptr")
    """none: all tokens stay. random, ptr: random ones, or those most like the mean, are dropped. sampled: all stay, but
    only those that random would keep are measured."""
    keep_ratio: float = 0.5
    """Share of the tokens that each stage keeps, in (0, 1)."""
    stages: int = 3
    """Times that tokens are dropped: after blocks 0, 4, 8 of 12, likewise for other numbers."""
    device: str = "auto"
    """cpu, cuda, mps, ...; auto is the first accelerator, else the CPU."""
    out: Path | None = None
    """Folder for diversity.png, claims.png (both also .svg) and diversity.json."""
    shown: ShownConfig = ShownConfig()
    json: bool = False
    """Print everything as JSON."""


class Measured(NamedTuple):
    """What was measured of a model, Float[seeds images ...] by name: for each kind of dropping, and for the claims.

    tokens: how many are left at each layer.
    """

    specimen: Specimen
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


def run(config: Config) -> None:
    """Measure, print and draw."""
    check(config)
    device = pick_device(config.device)
    found = specimens(config.specimens, config.shown, config.data)
    measured = [measure(config, specimen, device) for specimen in found]
    result = described(config, measured)
    if config.out is not None:
        write(config.out, result, measured)
    if config.json:
        as_json(result)
    else:
        for one in measured:
            report(one)
    for said in dict.fromkeys(one.bad_files.describe() for one in measured if one.bad_files.found):
        console.print(f"{said}; they were left out")


def check(config: Config) -> None:
    """Raise ValueError for what cannot be, before any work."""
    check_specimens(config.specimens, config.shown)
    if len(set(config.reductions)) != max(1, len(config.reductions)):
        raise ValueError("reductions needs at least one value, and each once")
    if config.stages < 1:
        raise ValueError(f"stages must be at least 1, got {config.stages}; to drop nothing use --reductions none")
    if not 0 < config.keep_ratio < 1:
        raise ValueError(f"keep_ratio must lie in (0, 1), got {config.keep_ratio:g}")
    if config.out is not None:
        check_place(config.out, config.data)


def measure(config: Config, specimen: Specimen, device: torch.device) -> Measured:
    """Measure a model as often as it has seeds; images are read once."""
    model = specimen.model(0, device)
    encoder = model.encoder
    reduction = Reduction.for_pretraining(encoder.depth, stages=config.stages, keep=config.keep_ratio)
    tokens = tokens_by_layer(encoder.grid[0] * encoder.grid[1], reduction, encoder.depth)
    bad_files, batches = read(config.specimens, config.shown, config.data, specimen.facts)
    found = []
    for seed in bar(f"measuring {specimen.label}")(range(specimen.seeds)):
        model = specimen.model(seed, device) if seed else model
        noise = randomness(seed, 0, len(bad_files.images), torch.device("cpu")).uniform("drop", tokens[0])
        with torch.inference_mode():
            parts = [of_batch(model, batch, reduction, noise[batch.indices], config.reductions) for batch in batches]
        found.append({key: torch.cat([part[key] for part in parts]).cpu() for key in parts[0]})
    values = {key: torch.stack([one[key] for one in found]) for key in found[0]}
    diversity: dict[Dropping, dict[str, Tensor]] = {
        name: {what: value for (of, what), value in values.items() if of == name} for name in config.reductions
    }
    claims = {what: value for (of, what), value in values.items() if of == "claims"}
    return Measured(specimen, reduction, tokens, diversity, claims, bad_files)


def tokens_by_layer(positions: int, reduction: Reduction, depth: int) -> list[int]:
    """How many tokens are left at each layer. Raises ValueError when a stage would drop none, or all."""
    counts, left = kept_counts(positions, reduction), [positions]
    for block in range(depth):
        left.append(counts.get(block, left[-1]))
        if block in counts and left[-1] == left[-2]:
            raise ValueError(f"keep_ratio {reduction.keep:g} drops none of {left[-1]} tokens; choose a lower one")
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


def described(config: Config, measured: list[Measured]) -> dict[str, Any]:
    """Everything as JSON has it."""
    models = [
        {
            "label": one.specimen.label,
            "source": one.specimen.found.source if one.specimen.found else "random weights",
            "encoder": asdict(one.specimen.facts.encoder),
            "seeds": one.specimen.seeds,
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


def report(one: Measured) -> None:
    """Print diversities at some layers, and what holds."""
    layers = sorted({0, *(block + 1 for block in one.reduction.after), len(one.tokens) - 1})
    rows = [
        [NAMES[name], *(shown(values["after"][..., layer]) for layer in layers), shown(values["output"])]
        for name, values in one.diversity.items()
    ]
    of = f"{one.specimen.label}, {one.images} images"
    columns = ["nuclear norm / N", *(f"layer {layer}" for layer in layers), "past the norm"]
    table(f"diversity of tokens: {of}", columns, rows)
    if one.verdicts:
        columns = ["section and claim", "left", "right", "difference", "holds"]
        table(f"what the paper says: {of}", columns, [in_words(claim) for claim in one.verdicts])


def shown(values: Tensor) -> str:
    """A mean and its standard error."""
    found = estimate(values)
    return f"{found.mean:.3f} ± {found.error:.3f}"


def in_words(claim: dict[str, Any]) -> list[str]:
    """A row of the table of claims: numbers of the last case, and in how many cases it holds."""
    cases, last = claim["cases"], claim["cases"][-1]
    error = max(last["difference"]["over_images"] or 0, last["difference"]["over_seeds"] or 0)
    numbers = [f"{last['larger']:.3g}", f"{last['smaller']:.3g}", f"{last['difference']['mean']:+.2g} ± {error:.1g}"]
    held = sum(case["holds"] or False for case in cases)
    holds = ("yes" if held else "no") if len(cases) == 1 else f"in {held} of {len(cases)} cases"
    if claim["holds"] is None:
        numbers[-1], holds = f"{last['difference']['mean']:+.2g}", "one image says nothing"
    where = f" ({last['case']})" if len(cases) > 1 else ""
    return [f"{claim['section']} {claim['claim']}{where}", *numbers, holds]


def write(out: Path, result: dict[str, Any], measured: list[Measured]) -> None:
    """Write the pictures and the JSON."""
    out.mkdir(parents=True, exist_ok=True)
    lines = [
        Line(one.specimen.label, name, values["after"]) for one in measured for name, values in one.diversity.items()
    ]
    draw_diversity(out / "diversity.png", lines)
    claims = {one.specimen.label: (one.claims, one.tokens[0]) for one in measured if one.claims}
    if claims:
        draw_claims(out / "claims.png", claims)
    replace_text(out / "diversity.json", json.dumps(result, indent=1, default=str) + "\n")
    console.print(f"pictures and numbers: {out}")
