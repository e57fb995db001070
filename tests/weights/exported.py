"""Tiny models to export, and images for them."""

import json
import tarfile
from pathlib import Path

import torch

from pcae.model.decoder import Decoder
from pcae.model.pretrained import DecoderFacts, Pretrained, PretrainedFacts, TrainedDecoder, build_model
from pcae.settings.network import DecoderConfig, EncoderConfig
from pcae.weights.export.onnxruntime_web import FILES, VERSION
from tests.weights.tiny import shaken


def model_of(
    model: str = "vit_tiny_patch16_224",
    channels: int = 3,
    classes: list[str] | None = None,
    global_pool: str | None = None,
    image_size: tuple[int, int] = (32, 48),
    **facts,
) -> Pretrained:
    """A model of 3 blocks on 32 x 48 pixels (4 x 6 patches) in which every part counts."""
    config = EncoderConfig(
        model=model, image_size=image_size, patch_size=8, channels=channels, width=24, depth=3, heads=2
    )
    pool = global_pool if global_pool is not None else "token" if classes else ""
    given = {"mean": [0.4] * channels, "std": [0.2] * channels, "classes": classes, "global_pool": pool}
    whole = build_model(PretrainedFacts(encoder=config, **given | facts)).eval()
    shaken(whole.encoder.vit)
    return whole


def decoder_of(model: Pretrained, predicts: str = "pixels", out_dim: int | None = None, **facts) -> TrainedDecoder:
    """A decoder of 2 blocks for the model in which every part counts."""
    config = DecoderConfig(decoder_width=32, decoder_depth=2, decoder_heads=8)
    values = model.encoder.patch_values
    decoder = shaken(Decoder(config, in_dim=24, out_dim=out_dim or values, grid=model.encoder.grid))
    return TrainedDecoder(tensors=decoder.state_dict(), facts=DecoderFacts(decoder=config, predicts=predicts, **facts))


def pictures(model: Pretrained, batch: int) -> torch.Tensor:
    size = (batch, model.facts.encoder.channels, *model.facts.encoder.image_size)
    return torch.randint(256, size, generator=torch.Generator().manual_seed(batch), dtype=torch.uint8)


def npm_package(folder: Path, name: str = "onnxruntime-web", version: str = VERSION) -> Path:
    """What `npm pack` leaves, with stand-ins for the files that a page needs; the same unpacked lies beside it."""
    said = {"package.json": json.dumps({"name": name, "version": version})}
    for inside, text in (said | {f"dist/{file}": file for file in FILES}).items():
        place = folder / "package" / inside
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    packed = folder / f"{name}-{version}.tgz"
    with tarfile.open(packed, "w:gz") as archive:
        archive.add(folder / "package", "package")
    return packed
