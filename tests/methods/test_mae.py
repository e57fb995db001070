from dataclasses import replace

import numpy as np
import pytest
import torch

from pcae.methods.mae import MAE
from pcae.model.encoder import build_encoder
from pcae.model.tokens import gather, patchify, split
from pcae.settings.methods import MAEConfig
from pcae.settings.network import DecoderConfig
from tests.conftest import TINY
from tests.methods.test_pcae import SMALL, visible_and_hidden

pytestmark = pytest.mark.trains


@pytest.mark.parametrize("norm", [True, False])
def test_the_loss_is_the_squared_difference_of_hidden_pixels_written_out(encoder, images, random, norm):
    method = MAE(encoder, MAEConfig(norm_pix_loss=norm), SMALL).double()
    images = images.double()
    visible, hidden = visible_and_hidden(random.uniform("mask", 24), 6)
    patches = patchify(images, (8, 8))
    seen = method.student(gather(patches, torch.tensor(visible)), torch.tensor(visible), (4, 6))
    predictions = method.decoder(seen.prefix, seen.tokens, seen.ids, torch.tensor(hidden), (4, 6))
    differences = []
    for image in range(4):
        for place, position in enumerate(hidden[image]):
            row, column = divmod(position, 6)
            target = images[image, :, row * 8 : row * 8 + 8, column * 8 : column * 8 + 8].flatten().numpy()
            if norm:
                target = (target - target.mean()) / np.sqrt(target.var(ddof=1) + 1e-6)
            differences.append(((predictions[image, place].detach().numpy() - target) ** 2).mean())
    assert abs(method(images, random).loss.item() - np.mean(differences)) < 1e-8


def test_the_decoder_has_eight_blocks_of_512_and_mae_lite_two(encoder):
    assert (len(MAE(encoder).decoder.blocks), MAE(encoder).decoder.norm.weight.numel()) == (8, 512)
    assert len(MAE(encoder, decoder=DecoderConfig(decoder_depth=2)).decoder.blocks) == 2


def test_all_that_is_trained_gets_a_gradient(encoder, images, random):
    method = MAE(encoder, None, SMALL)
    method(images, random).loss.backward()
    assert all(parameter.grad is not None for parameter in method.parameters() if parameter.requires_grad)


def test_the_student_sees_visible_patches_only(encoder, images, random):
    """Other pixels at the hidden places change what is predicted from them in nothing."""
    method = MAE(encoder, None, SMALL).eval()
    visible, hidden = (torch.tensor(ids) for ids in visible_and_hidden(random.uniform("mask", 24), 6))
    inputs = []
    method.student.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    method(images, random)
    patches = patchify(images, (8, 8))
    assert torch.equal(inputs[0], gather(patches, visible)) and hidden.shape == (4, 18)


def test_lightlys_parts_give_the_same_predictions(encoder, images, random):
    """lightly's encoder and decoder with our weights: predictions at the hidden patches to 1e-4."""
    from lightly.models.modules import MaskedVisionTransformerDecoderTIMM, MaskedVisionTransformerTIMM
    from timm import create_model

    config = DecoderConfig(decoder_width=16, decoder_depth=2, decoder_heads=2)
    square = build_encoder(replace(TINY, image_size=(32, 32)))
    method = MAE(square, MAEConfig(norm_pix_loss=False), config).eval()
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 6, "num_heads": 2}
    vit = create_model("vit_tiny_patch16_224", **sizes, num_classes=0, global_pool="")
    theirs = MaskedVisionTransformerTIMM(vit).eval()
    theirs.vit.load_state_dict(square.vit.state_dict())
    decoder = MaskedVisionTransformerDecoderTIMM(num_patches=16, embed_dim=16, depth=2, num_heads=2).eval()
    own = method.decoder.state_dict()
    missing, unexpected = decoder.load_state_dict(
        {name: value for name, value in own.items() if name.startswith(("blocks", "norm", "mask_token"))}, strict=False
    )
    assert missing == ["pos_embed"] and not unexpected
    torch.testing.assert_close(decoder.pos_embed[0, 1:], method.decoder.positions)

    images = images[..., :32]
    visible, hidden = split(random.uniform("mask", 16), method.n_visible)
    everything = torch.full((4, 1), 0)
    encoded = theirs.encode(images, idx_keep=torch.cat([everything, visible + 1], dim=1))
    sequence = decoder.mask_token.repeat(4, 17, 1)
    places = torch.cat([everything, visible + 1], dim=1).unsqueeze(-1).expand(-1, -1, 16)
    decoded = decoder(sequence.scatter(1, places, method.decoder.adapter(encoded)))
    predicted = method.decoder.head(gather(decoded, hidden + 1))

    kept = []
    method.decoder.register_forward_hook(lambda _, __, out: kept.append(out))
    loss = method(images, random).loss
    torch.testing.assert_close(kept[0], predicted, rtol=0, atol=1e-4)
    expected = (predicted - gather(patchify(images, (8, 8)), hidden)).square().mean()
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-5)
