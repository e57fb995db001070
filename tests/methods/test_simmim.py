import numpy as np
import pytest
import torch

from pcae.methods.simmim import PCAESimMIM, SimMIM
from pcae.model.encoder import build_encoder
from pcae.model.tokens import gather, patchify
from pcae.settings.methods import PCAESimMIMConfig
from pcae.settings.network import EncoderConfig
from pcae.training.loop import Progress
from pcae.training.randomness import randomness
from tests.methods.test_pcae import visible_and_hidden

pytestmark = pytest.mark.trains

SMALL_BASE = EncoderConfig(model="vit_base_patch16_224", width=24, depth=12, heads=2)


def whole_vit(method, images: torch.Tensor, masked: list[list[int]]) -> torch.Tensor:
    """The student's tokens after its norm, by timm's own steps on whole images, embeddings replaced where masked."""
    vit = method.student.vit
    tokens = vit.patch_embed(images)
    for image, ids in enumerate(masked):
        tokens[image, ids] = method.mask_token[0, 0]
    tokens = torch.cat([vit.cls_token.expand(len(images), -1, -1), tokens], dim=1) + vit.pos_embed
    for block in vit.blocks:
        tokens = block(tokens)
    return vit.norm(tokens)[:, 1:]


def test_the_loss_is_the_absolute_difference_of_hidden_pixels_written_out(encoder, images, random):
    method = SimMIM(encoder).double().eval()
    images = images.double()
    _, hidden = visible_and_hidden(random.uniform("mask", 24), 9)  # int(24 * 0.4)
    tokens = whole_vit(method, images, hidden).detach().numpy()
    weight, bias = method.head.weight.detach().numpy(), method.head.bias.detach().numpy()
    patches = patchify(images, (8, 8)).numpy()
    differences = [
        np.abs(tokens[image, position] @ weight.T + bias - patches[image, position]).mean()
        for image in range(4)
        for position in hidden[image]
    ]
    assert abs(method(images, random).loss.item() - np.mean(differences)) < 1e-8


def tokens_in_the_encoder(method, channels: int = 3) -> set[int]:
    counts = set()
    for block in method.student.vit.blocks:
        block.register_forward_pre_hook(lambda _, args: counts.add(args[0].shape[1]))
    method(torch.randn(1, channels, 224, 224), randomness(0, 0, 1, torch.device("cpu")))
    return counts


def test_the_encoder_sees_196_tokens_in_simmim_and_96_in_pcae_simmim_and_the_class_token():
    encoder = build_encoder(SMALL_BASE)
    assert tokens_in_the_encoder(SimMIM(encoder)) == {197}
    assert tokens_in_the_encoder(PCAESimMIM(encoder)) == {97}
    assert (SimMIM(encoder).n_visible, SimMIM(encoder).counts) == (78, [118])
    assert (PCAESimMIM(encoder).n_visible, PCAESimMIM(encoder).counts) == (78, [118, 63, 34, 18])


def test_mask_tokens_stand_where_the_teachers_tokens_are_left(encoder, images, random):
    """The loss of PCAE on SimMIM: 1 - cosine between the head's outputs there and the teacher's features."""
    method = PCAESimMIM(encoder, PCAESimMIMConfig(keep_ratio=0.5)).double().eval()
    images = images.double()
    visible, hidden = (torch.tensor(ids) for ids in visible_and_hidden(random.uniform("mask", 24), 9))
    patches = patchify(images, (8, 8))
    targets = method.teacher(gather(patches, hidden), hidden, random)
    assert targets.ids.shape == (4, 1)  # 15 -> 7 -> 3 -> 1
    ids = torch.cat([visible, targets.ids], dim=1)
    seen = method.student.embed(gather(patches, visible))
    tokens = torch.cat([seen, method.mask_token.expand(4, 1, -1)], dim=1)
    predictions = method.head(method.student.encode(tokens, ids, (4, 6)).tokens[:, 9:])
    cosines = torch.cosine_similarity(predictions, targets.features, dim=-1)
    assert abs(method(images, random).loss.item() - (1 - cosines.mean().item())) < 1e-8


@pytest.mark.parametrize("make", [SimMIM, PCAESimMIM])
def test_all_that_is_trained_gets_a_gradient_and_a_teacher_moves(encoder, images, random, make):
    method = make(encoder)
    before = [parameter.detach().clone() for parameter in method.student.parameters()]
    method(images, random).loss.backward()
    assert all(parameter.grad is not None for parameter in method.parameters() if parameter.requires_grad)
    with torch.no_grad():
        for parameter in method.student.parameters():
            parameter += 1
    method.after_step(Progress(8, 0))
    if make is PCAESimMIM:  # momentum 1 - 4 / 8
        for old, mine in zip(before, method.teacher.encoder.parameters(), strict=True):
            torch.testing.assert_close(mine, old + 0.5)
