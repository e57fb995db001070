"""What it costs that a token's rotary row travels with it: a reduced Eva with its rows gathered and not, in turns.

    python benchmarks/rotary_rows.py [--model vit_base_patch16_dinov3] [--drop-ratios 0.1 0.2 0.3 0.4] [--batch 8]
        [--rounds 9] [--device cpu]

The model that gathers nothing takes the first rows of the table for whatever tokens are left: wrong, as fast as can be.
Prints JSON: by drop ratio how many times as fast as the dense model (median over rounds of the ratio in a round), what
its multiply-accumulates allow, how many times as fast it is without gathering, and the share of a pass that making the
rows takes when it is timed alone.
"""

import argparse
import json
from functools import partial
from statistics import median
from unittest import mock

import torch
from torch import Tensor, nn

from pcae.evaluation.cost import inference_cost
from pcae.evaluation.throughput import device_name, ratios, turns
from pcae.model.backbones import backbone_of, eva
from pcae.model.encoder import config_of, create_vit
from pcae.model.reduced import ReducedViT, reduce
from pcae.model.reduction import kept_counts
from pcae.model.tokens import all_ids

DENSE = "dense"


def first_rows(table: Tensor, ids: Tensor) -> Tensor:
    """As many rows as there are tokens, gathered from nowhere."""
    return table[:, : ids.shape[1]].expand(ids.shape[0], -1, -1, -1)


def unmoved(model: nn.Module, images: Tensor) -> Tensor:
    """A pass in which no row is gathered."""
    with mock.patch.object(eva, "rows_at", first_rows):
        return model(images)


def make_rows(model: ReducedViT, images: Tensor) -> None:
    """What a pass makes of rotary rows, and nothing else of it."""
    backbone = backbone_of(model.vit)
    grid = backbone.grid_of(images)
    calling, whole = backbone.calling(grid), all_ids(len(images), grid[0] * grid[1], images.device)
    calling(whole, model.num_prefix_tokens, 0)
    for stage, kept in enumerate(kept_counts(whole.shape[1], model.reduction).values()):
        calling(whole[:, :kept], model.num_prefix_tokens, stage + 1)


def measured(model: nn.Module, images: Tensor, said: argparse.Namespace) -> list[dict[str, float]]:
    """A row for each drop ratio."""
    calls = {DENSE: partial(model, images)}
    reduced = {ratio: reduce(model, ratio) for ratio in said.drop_ratios}
    for ratio, one in reduced.items():
        calls |= {f"{ratio}": partial(one, images), f"{ratio} unmoved": partial(unmoved, one, images)}
        calls |= {f"{ratio} rows": partial(make_rows, one, images)}
    seconds = turns(calls, images.device, said.rounds)
    faster, macs = ratios(seconds, DENSE), {ratio: macs_of(said.model, ratio) for ratio in [0.0, *reduced]}
    return [
        {
            "drop_ratio": ratio,
            "times_as_fast": round(faster[f"{ratio}"], 3),
            "macs_allow": round(macs[0.0] / macs[ratio], 3),
            "without_gathering": round(ratios(seconds, f"{ratio}")[f"{ratio} unmoved"], 3),
            "share_of_making_rows": round(median(seconds[f"{ratio} rows"]) / median(seconds[f"{ratio}"]), 5),
        }
        for ratio in reduced
    ]


def macs_of(model: str, drop_ratio: float) -> float:
    """Multiply-accumulates of an image, in 10^9."""
    return inference_cost(config_of(model, 224), drop_ratio)["gmacs"]


def main() -> None:
    """Measure and print."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--model", default="vit_base_patch16_dinov3")
    words.add_argument("--drop-ratios", type=float, nargs="+", default=[0.1, 0.2, 0.3, 0.4])
    words.add_argument("--batch", type=int, default=8)
    words.add_argument("--rounds", type=int, default=9)
    words.add_argument("--device", default="cpu")
    said = words.parse_args()
    torch.manual_seed(0)
    model = create_vit(config_of(said.model, 224), channels=3).to(said.device).eval()
    with torch.inference_mode():
        rows = measured(model, torch.randn(said.batch, 3, 224, 224, device=said.device), said)
    machine = {"threads": torch.get_num_threads(), "device_name": device_name(torch.device(said.device))}
    print(json.dumps(vars(said) | machine | {"torch": str(torch.__version__), "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
