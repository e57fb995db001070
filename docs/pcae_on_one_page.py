"""PCAE on one page, in plain torch and timm: from patches to the loss, to a step of training, to the dial.

    python docs/pcae_on_one_page.py      # about a minute on two CPU cores

"Progressively Compressed AutoEncoder for Self-supervised Representation Learning" (ICLR 2023): equations and sections
in the comments are that paper's. tests/test_one_page.py holds the package's loss and kept tokens equal to these.
"""

import copy
import gzip
import math
import time
from pathlib import Path

import timm
import torch
from timm.layers import LayerNorm, build_sincos2d_pos_embed
from timm.models.vision_transformer import Block
from torch import nn
from torch.nn import functional as F


# 1. An image is a sequence of patches. `ids` are their places in the grid, counted row by row from 0.
def take(tokens, places):
    """(batch, tokens, width), (batch, chosen) -> (batch, chosen, width)."""
    return tokens.gather(1, places.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))


def positions(side, width):
    """p, a fixed code of the column and row of each place in a square grid, as in MAE: (places, width)."""
    return build_sincos2d_pos_embed([side, side], width, interleave_sin_cos=True).roll(width // 2, dims=1)


def lowest(scores, count):
    """Places of the `count` lowest scores of each row, and of the others; both ascending."""
    order = scores.argsort(dim=1)
    return order[:, :count].sort(dim=1).values, order[:, count:].sort(dim=1).values


# 2. The idea (section 3.2). Tokens like the mean of their sequence are redundant. With sim the cosine similarity,
#    S(x) = rank(sim(x, sum_j x^j / N)), and T(x; k) = gather[x, S(x) < floor(N k)] is the share k that stays.  (Eq. 3)
#    Redundant tokens leave after some layers I: x_i = T(f_i(x_{i-1}); k) if i in I, else f_i(x_{i-1}).         (Eq. 2)
def select(tokens, keep):
    """Places of the tokens that stay, and of those that are dropped (Eq. 3)."""
    similarity = F.cosine_similarity(tokens, tokens.mean(dim=1, keepdim=True), dim=-1)
    return lowest(similarity, math.floor(tokens.shape[1] * keep + 1e-9))  # so that 0.7 of 70 is 49, in floats too


def encode(vit, images, ids, drop_after=(), keep=1.0, cls=True, append=False):
    """A Vision Transformer over the patches at `ids` (Eq. 2): the tokens that are left, their ids, and other tokens.

    The others are CLS and, with `append`, the mean of what each stage dropped (section 3.4); they are never dropped.
    """
    side, embedding = vit.patch_embed.patch_size[0], vit.patch_embed.proj
    patches = take(F.unfold(images, side, stride=side).transpose(1, 2), ids)  # (batch, chosen, pixels of a patch)
    p = vit.pos_embed.expand(len(ids), -1, -1)  # of CLS, then of the patches
    tokens = F.linear(patches, embedding.weight.flatten(1), embedding.bias) + take(p, ids + 1)
    others = vit.cls_token + p[:, :1] if cls else tokens[:, :0]
    for i, block in enumerate(vit.blocks):
        others, tokens = block(torch.cat([others, tokens], dim=1)).tensor_split([others.shape[1]], dim=1)
        if i in drop_after and keep < 1:
            kept, dropped = select(tokens, keep)
            if append:
                others = torch.cat([others, take(tokens, dropped).mean(dim=1, keepdim=True)], dim=1)
            tokens, ids = take(tokens, kept), ids.gather(1, kept)
    return vit.norm(tokens), ids, vit.norm(others)


# 3. The objective (section 3.1). From the visible patches M x, predict what the teacher leaves of the hidden ones:
#    max over theta, phi, omega of E_x sim{ f_ema[(1 - M) x; k], g_phi{ h[f_theta(M x), omega + p] } }.         (Eq. 1)
class Decoder(nn.Module):
    """g_phi: a linear layer, two blocks, a linear layer (appendix B). Mask tokens stand at the wanted places alone."""

    def __init__(self, encoder_width, side, width=512, depth=2, heads=16):
        super().__init__()
        self.adapter = nn.Linear(encoder_width, width)
        self.mask_token = nn.Parameter(0.02 * torch.randn(1, 1, width))  # omega
        self.register_buffer("p", positions(side, width), persistent=False)
        self.blocks = nn.Sequential(*[Block(width, heads, qkv_bias=True, norm_layer=LayerNorm) for _ in range(depth)])
        self.norm, self.head = LayerNorm(width), nn.Linear(width, encoder_width)

    def forward(self, tokens, ids, cls, wanted):
        """Predictions at `wanted` from the student's tokens at `ids`, which h puts into one sequence."""
        seen, asked = self.adapter(tokens) + self.p[ids], self.mask_token + self.p[wanted]
        sequence = self.blocks(torch.cat([self.adapter(cls), seen, asked], dim=1))
        return self.head(self.norm(sequence[:, -wanted.shape[1] :]))


def pcae_loss(student, teacher, decoder, images, noise, mask_ratio=0.75, keep=0.5):
    """1 - sim, the mean over all targets; and the ids of these. noise: (batch, patches), the mask M is made of it."""
    visible, hidden = lowest(noise, int(noise.shape[1] * (1 - mask_ratio)))
    drop_after = [len(teacher.blocks) // 3 * stage for stage in range(3)]  # 0, 4, 8 of 12 (section 4)
    with torch.no_grad():  # of 147 hidden patches it leaves 73, then 36, then 18 (ViT-B/16)
        targets, wanted, _ = encode(teacher, images, hidden, drop_after, keep, cls=False)
        targets = F.layer_norm(targets, targets.shape[-1:])  # the paper has none; its authors' code has
    predictions = decoder(*encode(student, images, visible), wanted)
    return 1 - F.cosine_similarity(predictions, targets, dim=-1).mean(), wanted


# 4. The dial (section 3.4). A classifier drops redundant tokens as well; how many can be chosen whenever it is used.
def classify(vit, images, drop_ratio):
    """Logits. The appended means of dropped tokens leave before the average."""
    ids = torch.arange(vit.patch_embed.num_patches).expand(len(images), -1)
    drop_after = [block * len(vit.blocks) // 12 for block in (0, 7, 10)]
    tokens, _, _ = encode(vit, images, ids, drop_after, keep=1 - drop_ratio, append=True)
    return vit.head(tokens.mean(dim=1))


# 5. Training, on 10,000 images of Fashion-MNIST, of which the last 1,000 are held out.
def train(loss_of, parameters, steps, peak):
    """AdamW on random images; the learning rate rises to its peak and falls by a cosine."""
    optimizer = torch.optim.AdamW(parameters, lr=peak, betas=(0.9, 0.95), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, steps, pct_start=0.1, cycle_momentum=False)
    for step in range(1, steps + 1):
        loss = loss_of(torch.randint(9_000, (64,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == 1:
            print(f"step {step:4d}: loss {loss.item():.3f}")


if __name__ == "__main__":
    torch.manual_seed(0)
    sample = Path(__file__).parents[1] / "src/pcae/data/sample"
    files = (gzip.decompress((sample / f"{kind}-ubyte.gz").read_bytes()) for kind in ("images-idx3", "labels-idx1"))
    pixels, labels = (torch.frombuffer(bytearray(file), dtype=torch.uint8) for file in files)
    images, labels = (pixels[16:].view(-1, 1, 28, 28) / 255 - 0.286) / 0.353, labels[8:].long()  # mean 0, deviation 1

    size = {"img_size": 28, "patch_size": 4, "in_chans": 1, "embed_dim": 96, "depth": 6, "num_heads": 4}
    student = timm.create_model("vit_tiny_patch16_224", **size, num_classes=10, global_pool="avg", fc_norm=False)
    student.pos_embed.requires_grad_(False)[0] = torch.cat([torch.zeros(1, 96), positions(7, 96)])
    teacher, decoder = copy.deepcopy(student).requires_grad_(False).eval(), Decoder(96, side=7, width=64, heads=4)

    def pretraining(chosen):
        for f_ema, f_theta in zip(teacher.parameters(), student.parameters(), strict=True):
            f_ema.lerp_(f_theta.detach(), 1 - 0.995)  # after each step; 0.9999 in the paper's long runs (appendix B)
        return pcae_loss(student, teacher, decoder, images[chosen], torch.rand(64, 49))[0]

    def finetuning(chosen):
        return F.cross_entropy(classify(student, images[chosen], torch.randint(5, ()).item() / 10), labels[chosen])

    train(pretraining, [*student.parameters(), *decoder.parameters()], steps=400, peak=1e-3)
    train(finetuning, student.parameters(), steps=200, peak=1e-3)
    for drop_ratio in (0, 0.1, 0.2, 0.3, 0.4):
        with torch.no_grad():
            start, logits = time.perf_counter(), classify(student, images[9_000:], drop_ratio)
        right, seconds = (logits.argmax(dim=1) == labels[9_000:]).float().mean(), time.perf_counter() - start
        print(f"drop ratio {drop_ratio}: {right:.1%} right, {seconds:.2f} s")
