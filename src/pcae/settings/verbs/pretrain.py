"""What `pcae pretrain` is told."""

from dataclasses import dataclass
from typing import Any

from pcae.settings.bounds import OnlyPython, Portion
from pcae.settings.methods import WITHOUT_TEACHER, MethodConfig, inapplicable_settings
from pcae.settings.network import DecoderConfig, EncoderConfig
from pcae.settings.run import HealthConfig
from pcae.settings.training import RunSettings

BY_METHOD = {"mask_ratio", "keep_ratio", "decoder_depth"}
"""Settings that every method has its own usual value of."""


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(RunSettings):
    """Pre-train a Vision Transformer on images without labels, by PCAE or by what it is compared with.

    DATA is a folder (flat or nested), a .txt or .csv list, WebDataset shards, hf:NAME, `sample` or `fashion-mnist`.
    Flags come before --config FILE, that before --recipe NAME, that before the defaults, which are the paper's ViT-B.
    """

    EXAMPLES = (
        "photos --recipe auto --out runs/photos",
        "photos --recipe vit-s-224 --mask-ratio 0.85 --epochs 100 --dry-run --out runs/photos",
    )
    USUAL = "data out recipe method init model image_size mask_ratio epochs steps batch_size device dry_run"

    init: str | None = None
    """Weights to go on from, with their decoder where it fits: a run folder, MAE's .pth, a folder of Hugging Face's
    ViTMAE, timm:NAME, hf-hub:OWNER/NAME. Network and normalisation are theirs where none are given; so is an image
    size of 224 224."""
    teacher: str | None = None
    """Weights of a fixed teacher in place of the moving average of the student, of any family
    and patch size."""
    layer_decay: Portion | None = None
    """With --init: the learning rate falls by this factor from block to block, from the last to the patch embedding,
    so that a network that has learned much moves little at its beginning. Without it, all blocks move alike."""
    dry_run: bool = False
    """Make a few steps, write nothing, and say what the run takes: hours, images/s, memory, the largest batch."""
    transform: OnlyPython = None
    """A callable on an image, in place of crops and mirroring; from Python alone."""
    encoder: EncoderConfig = EncoderConfig()
    method: MethodConfig = MethodConfig()
    decoder: DecoderConfig = DecoderConfig()
    health: HealthConfig = HealthConfig()

    @staticmethod
    def applicable(recipe: dict[str, Any], chosen: dict[str, Any]) -> dict[str, Any]:
        """A recipe less the settings that another method, a fixed teacher or a network that exists does not have."""
        usual = recipe.get("method", "pcae")
        void = settings_without_effect(recipe | chosen) | (BY_METHOD if chosen.get("method", usual) != usual else set())
        return {name: value for name, value in recipe.items() if name not in void}


def settings_without_effect(values: dict[str, Any]) -> set[str]:
    """Settings that another method, a fixed teacher or a network that exists does not have."""
    method = values.get("method", "pcae")
    void = inapplicable_settings(method) | ({"teacher"} if method in WITHOUT_TEACHER else set())
    void |= {"momentum", "momentum_end"} if values.get("teacher") else set()
    return void | ({"patch_scale"} if values.get("init") else {"layer_decay"})
