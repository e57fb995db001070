"""MAE as transformers and lightly have it, as methods of our loop, to be measured beside ours."""

from importlib import import_module
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from pcae.model.encoder import create_vit
from pcae.settings.network import DecoderConfig, EncoderConfig
from pcae.training.loop import Progress, StepResult
from pcae.training.randomness import StepRandom

MASK_RATIO = 0.75
USUAL_DEPTH = 8


class Peer(nn.Module):
    """A method that nothing moves but the optimizer."""

    def after_step(self, progress: Progress) -> None:
        """Nothing to do."""


class TransformersMAE(Peer):
    """transformers' ViTMAEForPreTraining of these sizes. Raises ValueError where transformers is not installed."""

    def __init__(self, config: EncoderConfig, decoder: DecoderConfig) -> None:
        super().__init__()
        transformers = imported("transformers")
        vit = create_vit(config, channels=config.channels or 3)
        block: Any = vit.blocks[0]
        self.theirs = transformers.ViTMAEForPreTraining(
            transformers.ViTMAEConfig(
                hidden_size=vit.embed_dim,
                num_hidden_layers=len(vit.blocks),
                num_attention_heads=block.attn.num_heads,
                intermediate_size=4 * vit.embed_dim,
                image_size=config.image_size[0],
                patch_size=vit.patch_embed.patch_size[0],
                num_channels=config.channels or 3,
                decoder_hidden_size=decoder.decoder_width,
                decoder_num_hidden_layers=decoder.decoder_depth or USUAL_DEPTH,
                decoder_num_attention_heads=decoder.decoder_heads,
                decoder_intermediate_size=4 * decoder.decoder_width,
                mask_ratio=MASK_RATIO,
                norm_pix_loss=True,
            )
        )

    def forward(self, batch: Float[Tensor, "batch channels height width"], random: StepRandom) -> StepResult:
        """Their loss, with our noise."""
        tokens = self.theirs.vit.embeddings.patch_embeddings.num_patches
        return StepResult(self.theirs(batch, noise=random.uniform("mask", tokens)).loss)


class LightlyMAE(Peer):
    """MAE out of lightly's parts, put together as their documentation has it. Raises ValueError without lightly."""

    def __init__(self, config: EncoderConfig, decoder: DecoderConfig) -> None:
        super().__init__()
        modules, self.tools = imported("lightly.models.modules"), imported("lightly.models.utils")
        vit = create_vit(config, channels=config.channels or 3, num_classes=0, global_pool="")
        self.patch, self.tokens = vit.patch_embed.patch_size[0], vit.patch_embed.num_patches
        width = decoder.decoder_width
        self.encoder = modules.MaskedVisionTransformerTIMM(vit)
        self.embed = nn.Linear(vit.embed_dim, width)
        self.decoder = modules.MaskedVisionTransformerDecoderTIMM(
            num_patches=self.tokens,
            embed_dim=width,
            depth=decoder.decoder_depth or USUAL_DEPTH,
            num_heads=decoder.decoder_heads,
        )
        self.predict = nn.Linear(width, self.patch**2 * (config.channels or 3))

    def forward(self, batch: Float[Tensor, "batch channels height width"], random: StepRandom) -> StepResult:
        """The squared difference of normalised pixels at the hidden patches."""
        tools, images = self.tools, len(batch)
        keep, mask = tools.random_token_mask((images, self.tokens + 1), MASK_RATIO, device=batch.device)
        seen = self.embed(self.encoder.encode(batch, idx_keep=keep))
        whole = tools.repeat_token(self.decoder.mask_token, (images, self.tokens + 1))
        decoded = self.decoder(tools.set_at_index(whole, keep, seen.type_as(whole)))
        predictions = self.predict(tools.get_at_index(decoded, mask))
        targets = tools.get_at_index(tools.patchify(batch, self.patch), mask - 1)
        mean, variance = targets.mean(dim=-1, keepdim=True), targets.var(dim=-1, keepdim=True)
        return StepResult(F.mse_loss(predictions, (targets - mean) / (variance + 1e-6).sqrt()))


def imported(name: str) -> Any:
    """A package that is there only to be measured. Raises ValueError with the remedy where it is not."""
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise ValueError(f"{package} is not installed, and is to be measured: pip install {package}") from error


PEERS: dict[str, type[TransformersMAE] | type[LightlyMAE]] = {"transformers": TransformersMAE, "lightly": LightlyMAE}
