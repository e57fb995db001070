"""pcae's reduction beside ToMe's public code, which is run out of its own checkout: a ViT, whole and reduced, in turns.

    git clone https://github.com/facebookresearch/ToMe
    python benchmarks/against_tome.py ToMe [--model vit_base_patch16_224] [--batch 16] [--rounds 9] [--device cpu]

All keep the same counts of patch tokens at three stages; ToMe's stand between attention and MLP, ours there and, as the
paper has them, after a block. A last row keeps fewer after blocks, so that its multiply-accumulates are ToMe's. Prints
JSON: multiply-accumulates of an image, what they allow (the dense model's over these), how many times as fast as the
dense model (median over rounds of the ratio in a round) and as ToMe.
"""

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import pcae
from pcae.evaluation.cost import measure
from pcae.evaluation.throughput import device_name, ratios, turns
from pcae.model.encoder import config_of, create_vit
from pcae.model.reduced import ReducedViT
from pcae.model.reduction import Reduction, mean_similarity

DENSE, TOME = "dense", "ToMe"
AFTER = (0, 7, 10)
COUNTS = (137, 95, 66)


def model_of(said: argparse.Namespace) -> Any:
    """The ViT, with the same weights every time."""
    torch.manual_seed(0)
    return create_vit(config_of(said.model, 224), channels=3).to(said.device).eval()


def tome(said: argparse.Namespace) -> nn.Module:
    """ToMe's, merging as many tokens at the same blocks."""
    sys.path.insert(0, str(said.checkout))
    from tome.patch.timm import apply_patch

    model = model_of(said)
    apply_patch(model)
    stages = dict(zip(AFTER, dropped(COUNTS, model.patch_embed.num_patches), strict=True))
    model.r = [stages.get(block, 0) for block in range(len(model.blocks))]
    return model


def dropped(counts: tuple[int, ...], tokens: int) -> list[int]:
    """How many each stage drops."""
    return [before - after for before, after in zip((tokens, *counts), counts, strict=False)]


def ours(vit: Any, counts: tuple[int, ...], **rule: Any) -> ReducedViT:
    """pcae's, keeping these counts."""
    keeps = [count / before for before, count in zip((vit.patch_embed.num_patches, *counts), counts, strict=False)]
    model = pcae.reduce(vit, 0.0)
    model.reduction = Reduction(keep=tuple(keeps), after=AFTER, **rule)
    return model


def gmacs(model: Any, images: Tensor) -> float:
    """10^9 multiply-accumulates of an image."""
    with torch.no_grad():
        return measure(model, getattr(model, "vit", model).blocks, images[:1]).gmacs


def at_cost(vit: Any, target: float, images: Tensor, **rule: Any) -> ReducedViT:
    """pcae's with one drop ratio at all stages, at the multiply-accumulates nearest to a target."""
    able = [pcae.reduce(vit, step / 500, after=AFTER) for step in range(120, 220)]
    for one in able:
        one.reduction = Reduction(keep=one.reduction.keep, after=AFTER, **rule)
    return min(able, key=lambda one: abs(gmacs(one, images) - target))


def rows(said: argparse.Namespace, images: Tensor) -> dict[str, Any]:
    """The models, by what they are."""
    vit, other = model_of(said), tome(said)
    bipartite = pcae.reduce(vit, 0.1, criterion="bipartite", fold="merge").reduction.criterion
    found = {
        DENSE: vit,
        TOME: other,
        "mean-similarity, append, before MLP": ours(vit, COUNTS, fold="append", before_mlp=True),
        "mean-similarity, leave, before MLP": ours(vit, COUNTS, fold="leave", before_mlp=True),
        "mean-similarity, merge, before MLP": ours(vit, COUNTS, fold="merge", before_mlp=True),
        "bipartite, merge, before MLP": ours(vit, COUNTS, fold="merge", before_mlp=True, criterion=bipartite),
        "mean-similarity, append, after block": ours(vit, COUNTS, fold="append"),
        "bipartite, merge, after block": ours(vit, COUNTS, fold="merge", criterion=bipartite),
    }
    target = gmacs(other, images)
    equal = at_cost(vit, target, images, fold="append", criterion=mean_similarity)
    return found | {"mean-similarity, append, after block, ToMe's MACs": equal}


def measured(said: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each model."""
    images = torch.randn(said.batch, 3, 224, 224, device=said.device)
    with torch.inference_mode():
        models = rows(said, images)
        seconds = turns({name: partial(model, images) for name, model in models.items()}, images.device, said.rounds)
    faster, than_tome = ratios(seconds, DENSE), ratios(seconds, TOME)
    macs = {name: gmacs(model, images) for name, model in models.items()}
    return [
        {
            "row": name,
            "gmacs": round(macs[name], 3),
            "macs_allow": round(macs[DENSE] / macs[name], 3),
            "times_as_fast": round(faster[name], 3),
            "than_tome": round(than_tome[name], 3),
        }
        for name in models
    ]


def main() -> None:
    """Measure and print."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("checkout", type=Path)
    words.add_argument("--model", default="vit_base_patch16_224")
    words.add_argument("--batch", type=int, default=16)
    words.add_argument("--rounds", type=int, default=9)
    words.add_argument("--device", default="cpu")
    said = words.parse_args()
    machine = {"threads": torch.get_num_threads(), "device_name": device_name(torch.device(said.device))}
    found = {"stages": AFTER, "kept": COUNTS, "rows": measured(said)}
    asked = {name: value for name, value in vars(said).items() if name != "checkout"}
    print(json.dumps(asked | machine | {"torch": str(torch.__version__)} | found, indent=2))


if __name__ == "__main__":
    main()
