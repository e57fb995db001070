import torch

from pcae.inference.trained import open_trained
from pcae.settings.trained import TrainedConfig
from tests.weights.tiny import tiny_vit


def test_opening_says_on_standard_error_what_was_matched(capsys, tmp_path):
    torch.save({"model": tiny_vit().state_dict() | {"mask_token": torch.zeros(1, 1, 8)}}, tmp_path / "mae.pth")
    config = TrainedConfig(weights=str(tmp_path / "mae.pth"), image_size=(48, 48), device="cpu")
    model = open_trained(config)
    said = capsys.readouterr()
    assert said.out == "" and said.err.splitlines() == [
        f"weights: {tmp_path / 'mae.pth'}",
        "  30 of 30 tensors matched, 100.0% of the encoder",
        "  resized: pos_embed from 4 x 4 to 6 x 6 positions",
        "  unexpected, left out: decoder: 1",
        "  read as a ViT of 2 blocks of width 128, patches of 8 x 8; 2 heads, by the width",
        "  taken for granted: activation GELU, mean and std of ImageNet, images of 32 x 32, as the positions have it",
    ]
    assert model.facts.encoder.image_size == (48, 48) and not model.training
