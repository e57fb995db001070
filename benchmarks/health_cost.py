"""What looking at a run's health costs: a look at 128 images and a training step of PCAE, taking turns in one run.

    python benchmarks/health_cost.py [--model vit_base_patch16_224] [--batch 32] [--rounds 5] [--device cpu]
    python benchmarks/health_cost.py --recipe sample [--rounds 15]

Prints JSON: seconds (medians over rounds), and the share of the training time that looks take at the default interval
(or the recipe's), the median over rounds of the ratio within a round. One look before the first step comes to it.
"""

import argparse
import json
import platform
from pathlib import Path
from statistics import median

import torch

from pcae.data.augment import Normalise
from pcae.evaluation.stepper import Stepper
from pcae.evaluation.throughput import device_name, turns
from pcae.methods.choice import build_method
from pcae.methods.health import IMAGES, examine
from pcae.model.encoder import build_encoder
from pcae.runs.health import health_every
from pcae.settings.network import EncoderConfig
from pcae.settings.recipes import read_recipe
from pcae.settings.run import RunConfig
from pcae.settings.values import build
from pcae.settings.verbs.pretrain import PretrainConfig
from pcae.training.optimizer import build_optimizer
from pcae.training.plan import autocast_dtype, make_plan
from pcae.training.randomness import randomness


def chosen(said: argparse.Namespace) -> PretrainConfig:
    """The run that is measured."""
    if said.recipe:
        values = read_recipe(PretrainConfig, said.recipe) | {"out": Path(), "channels": 1}
        return build(PretrainConfig, {"data": "sample"} | values)
    encoder, run = EncoderConfig(model=said.model, channels=3), RunConfig(batch_size=said.batch)
    return PretrainConfig(data="sample", out=Path(), encoder=encoder, run=run)


def main() -> None:
    """Measure and print."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--model", default="vit_base_patch16_224")
    words.add_argument("--recipe")
    words.add_argument("--batch", type=int, default=32)
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--device", default="cpu")
    said = words.parse_args()
    device, config = torch.device(said.device), chosen(said)
    batch, channels = config.run.batch_size, config.encoder.channels or 3
    torch.manual_seed(0)
    method = build_method(build_encoder(config.encoder), config.method, config.decoder).to(device)
    pixels = torch.randint(0, 255, (IMAGES, channels, *config.encoder.image_size), dtype=torch.uint8, device=device)
    normalise = Normalise([0.5] * channels, [0.25] * channels, channels).to(device)
    autocast = autocast_dtype(config.run.precision, device)
    stepper = Stepper(method, build_optimizer(method, config.optimizer), normalise(pixels[:batch]), autocast)
    random = randomness(0, 0, IMAGES, device)

    def look() -> list[float]:
        with torch.autocast(device.type, dtype=autocast, enabled=autocast is not None):
            return [value.item() for value in examine(method, pixels, normalise, random, 4 * batch).values()]

    every = health_every(config.health, make_plan(config.run, config.optimizer, 1_000_000, 1))
    seconds = turns({"look": look, "step": stepper.step}, device, said.rounds)
    shares = [one / (every * step) for one, step in zip(seconds["look"], seconds["step"], strict=True)]
    print(
        json.dumps(
            vars(said)
            | {"batch": batch, "threads": torch.get_num_threads(), "machine": platform.machine()}
            | {"device": device_name(device), "torch": str(torch.__version__)}
            | {f"seconds_a_{name}": round(median(spent), 4) for name, spent in seconds.items()}
            | {"steps_between_looks": every, "share_of_training": round(median(shares), 5)},
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
