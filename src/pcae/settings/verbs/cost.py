"""What `pcae cost` is told."""

from dataclasses import dataclass

from pcae.settings.methods import MethodConfig
from pcae.settings.network import DecoderConfig, EncoderConfig


@dataclass(frozen=True, kw_only=True)
class CostConfig:
    """What one image costs, in 10^9 multiply-accumulates of matrix products (Table 5 of the paper)."""

    EXAMPLES = ("--model vit_base_patch16_224 --drop-ratio 0.4", "--pretrain --method mae --mask-ratio 0.75")
    USUAL = "model image_size patch_size drop_ratio pretrain method mask_ratio keep_ratio views decoder_depth json"

    drop_ratio: float = 0.0
    """Share of the patch tokens that each of the classifier's three stages drops, in [0, 1)."""
    pretrain: bool = False
    """The cost of pre-training instead of classifying."""
    json: bool = False
    """Print as JSON."""
    encoder: EncoderConfig = EncoderConfig()
    method: MethodConfig = MethodConfig()
    decoder: DecoderConfig = DecoderConfig()
