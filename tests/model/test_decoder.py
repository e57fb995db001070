import pytest
import torch

from pcae.model.decoder import Decoder
from pcae.settings.network import DecoderConfig

SMALL = DecoderConfig(decoder_width=16, decoder_depth=2, decoder_heads=2)


@pytest.fixture
def decoder() -> Decoder:
    torch.manual_seed(0)
    return Decoder(SMALL, in_dim=24, out_dim=10, grid=(4, 6)).eval()


def test_predictions_stand_at_the_wanted_positions_and_follow_them(decoder):
    prefix, visible = torch.randn(2, 1, 24), torch.randn(2, 3, 24)
    visible_ids, wanted = torch.tensor([[0, 5, 9], [1, 2, 3]]), torch.tensor([[7, 8, 20, 21], [4, 6, 22, 23]])
    out = decoder(prefix, visible, visible_ids, wanted, (4, 6))
    assert out.shape == (2, 4, 10)
    torch.testing.assert_close(decoder(prefix, visible, visible_ids, wanted.flip(1), (4, 6)), out.flip(1))
    moved = decoder(prefix, visible, visible_ids.roll(1, 1), wanted, (4, 6))
    assert (moved - out).abs().max() > 1e-4


def test_any_grid_works(decoder):
    ids = torch.tensor([[0, 1]])
    out = decoder(torch.zeros(1, 0, 24), torch.randn(1, 2, 24), ids, torch.tensor([[2, 80]]), (9, 9))
    assert out.shape == (1, 2, 10)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="decoder_heads 3"):
        Decoder(DecoderConfig(decoder_width=16, decoder_heads=3), in_dim=8, out_dim=8, grid=(2, 2))
