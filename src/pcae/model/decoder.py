"""Visible tokens + wanted positions -> predictions at those positions."""

import torch
from jaxtyping import Float, Int
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from pcae.model.compiled import run_block
from pcae.model.encoder import initialise, set_norm_eps
from pcae.model.tokens import Grid, gather, sincos_positions
from pcae.settings.bounds import check_bounds
from pcae.settings.network import DecoderConfig


class LastBlock(Block):
    """timm's block, whose second half leaves out the tokens that nothing is predicted at: nobody looks at them."""

    def forward(self, sequence: Tensor, wanted: int) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """(batch, all, width) -> (batch, wanted, width): what the block makes of the last `wanted` tokens."""
        sequence = (sequence + self.drop_path1(self.ls1(self.attn(self.norm1(sequence)))))[:, -wanted:]
        return sequence + self.drop_path2(self.ls2(self.mlp(self.norm2(sequence))))


class Decoder(nn.Module):
    """Linear adapter, transformer blocks over prefix, visible and mask tokens, norm, linear (appendix B).

    in_dim, out_dim: widths of the encoder's tokens and of the predictions. grid: the usual one; others work too.
    usual_depth: blocks, where the configuration does not say. norm_eps: of the norms; MAE's.
    """

    def __init__(
        self,
        config: DecoderConfig,
        *,
        in_dim: int,
        out_dim: int,
        grid: Grid,
        usual_depth: int = 2,
        norm_eps: float = 1e-6,
    ) -> None:
        super().__init__()
        width, heads = config.decoder_width, config.decoder_heads
        depth = usual_depth if config.decoder_depth is None else config.decoder_depth
        check_bounds(config)
        if width % heads:
            raise ValueError(f"decoder_width {width} must be a multiple of decoder_heads {heads}")
        self.grid = grid
        self.adapter = nn.Linear(in_dim, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        kinds = [*[Block] * (depth - 1), LastBlock]
        self.blocks = nn.ModuleList(kind(width, heads, qkv_bias=True, norm_layer=nn.LayerNorm) for kind in kinds)
        self.grad_checkpointing = False
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, out_dim)
        self.register_buffer("positions", sincos_positions(grid, width), persistent=False)
        set_norm_eps(self, norm_eps)
        initialise(self)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(
        self,
        prefix: Float[Tensor, "batch prefix dim"],
        visible: Float[Tensor, "batch visible dim"],
        visible_ids: Int[Tensor, "batch visible"],
        wanted_ids: Int[Tensor, "batch wanted"],
        grid: Grid,
    ) -> Float[Tensor, "batch wanted out_dim"]:
        """Predictions at `wanted_ids`; mask tokens stand at those positions only."""
        positions = self._positions(grid).expand(len(visible), -1, -1)
        seen = self.adapter(visible) + gather(positions, visible_ids)
        asked = self.mask_token + gather(positions, wanted_ids)
        sequence = torch.cat([self.adapter(prefix), seen, asked.to(seen.dtype)], dim=1)
        *blocks, last = self.blocks
        for block in blocks:
            sequence = run_block(block, sequence, grad_checkpointing=self.grad_checkpointing)
        wanted = wanted_ids.shape[1]
        return self.head(self.norm(run_block(last, sequence, wanted, grad_checkpointing=self.grad_checkpointing)))

    def predict(self, tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens out_dim"]:
        """Predictions from tokens alone: no blocks, so that nothing else has a part in them."""
        return self.head(self.norm(self.adapter(tokens)))

    def _positions(self, grid: Grid) -> Float[Tensor, "tokens dim"]:
        if grid == self.grid:
            return self.get_buffer("positions")
        return sincos_positions(grid, self.mask_token.shape[-1]).to(self.mask_token.device)
