"""transformers' ViTMAEForPreTraining into ours, and back."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import ViTMAEConfig, ViTMAEForPreTraining

from pcae.model.decoder import Decoder
from pcae.model.tokens import gather, patchify, sincos_positions, split
from pcae.settings.network import DecoderConfig
from pcae.weights.decoders import fit_decoder
from pcae.weights.export.formats import export
from pcae.weights.files import fill, find, load
from tests.weights.exported import pictures
from tests.weights.tiny import shaken

SIZES = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 96, "image_size": 32,
    "patch_size": 8, "decoder_hidden_size": 32, "decoder_num_hidden_layers": 2, "decoder_num_attention_heads": 4,
    "decoder_intermediate_size": 128,
}  # fmt: skip


def saved(folder, grid=(4, 4), **change) -> ViTMAEForPreTraining:
    """A random network, with the fixed positions that transformers' own start leaves at zero; it lies in the folder."""
    model = shaken(ViTMAEForPreTraining(ViTMAEConfig(**SIZES | change))).eval()
    with torch.no_grad():
        for table in (model.vit.embeddings.position_embeddings, model.decoder.decoder_pos_embed):
            table.zero_()
            table[0, 1:] = sincos_positions(grid, table.shape[-1])
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize(
    ("grid", "change"),
    [
        ((4, 4), {}),
        ((4, 4), {"num_channels": 1, "layer_norm_eps": 1e-3}),
        ((2, 8), {"image_size": (16, 64)}),
    ],
)
def test_our_encoder_and_decoder_predict_what_theirs_predict(tmp_path, grid, change):
    theirs = saved(tmp_path, grid, **change)
    found = find(tmp_path)
    encoder = fill(found)[0].encoder
    config = DecoderConfig(decoder_width=32, decoder_depth=2, decoder_heads=4)
    channels, (height, width) = change.get("num_channels", 3), change.get("image_size", (32, 32))
    decoder = Decoder(config, in_dim=24, out_dim=64 * channels, grid=grid).eval()
    assert fit_decoder(decoder, found, "pixels") == ["decoder: 31 of 31 tensors matched, 32 x 2 with 4 heads"]
    norms = [part.eps for part in decoder.modules() if isinstance(part, nn.LayerNorm)]
    assert norms == [change.get("layer_norm_eps", 1e-12)] * 5
    images, noise = torch.randn(3, channels, height, width), torch.rand(3, 16)
    patches, (visible_ids, hidden_ids) = patchify(images, (8, 8)), split(noise, 4)
    with torch.no_grad():
        seen = encoder(gather(patches, visible_ids), visible_ids, grid)
        ours = decoder(seen.prefix, seen.tokens, visible_ids, hidden_ids, grid)
        latent = theirs.vit(images, noise=noise)
        everywhere = theirs.decoder(latent.last_hidden_state, latent.ids_restore).logits
    expected = gather(everywhere, hidden_ids).view(3, 12, 8, 8, channels).permute(0, 1, 4, 2, 3).flatten(2)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4)
    assert expected.std() > 0.1


@pytest.mark.parametrize("norm_pix_loss", [True, False])
def test_theirs_through_ours_and_back_is_the_same_to_the_bit(tmp_path, norm_pix_loss):
    theirs = saved(tmp_path / "a", norm_pix_loss=norm_pix_loss)
    model = load(tmp_path / "a")
    assert model.decoder is not None and model.decoder.facts.norm_pix_loss == norm_pix_loss
    parity = export(model, "vitmae", tmp_path / "b", 0.0, [pictures(model, 3)])
    assert parity.holds and parity.tolerance == 1e-4
    again, lost = ViTMAEForPreTraining.from_pretrained(tmp_path / "b", output_loading_info=True)
    assert not lost["missing_keys"] and not lost["unexpected_keys"]
    state = again.state_dict()
    assert state.keys() == theirs.state_dict().keys()
    assert all(torch.equal(value, state[name]) for name, value in theirs.state_dict().items())
    assert again.config.norm_pix_loss == norm_pix_loss and again.config.layer_norm_eps == 1e-12
    images, noise = torch.randn(2, 3, 32, 32), torch.rand(2, 16)
    with torch.no_grad():
        assert torch.equal(again.eval()(images, noise=noise).loss, theirs(images, noise=noise).loss)


@pytest.mark.parametrize("written", ["decoder_layers.", "decoder_encoder.layer."])
def test_layers_are_read_under_the_hubs_name_and_the_one_that_transformers_5_writes(tmp_path, written):
    saved(tmp_path / "a")
    model = load(tmp_path / "a")
    export(model, "vitmae", tmp_path / "b", 0.0, [pictures(model, 3)])
    tensors = load_file(tmp_path / "b" / "model.safetensors")
    assert "decoder.decoder_layers.1.attention.attention.value.bias" in tensors
    renamed = {name.replace("decoder_layers.", written): value for name, value in tensors.items()}
    save_file(renamed, tmp_path / "b" / "model.safetensors")
    again = load(tmp_path / "b")
    assert model.decoder is not None and again.decoder is not None
    for name, value in model.decoder.tensors.items():
        assert torch.equal(value, again.decoder.tensors[name])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decoder_num_hidden_layers": 3}, "it has 2 blocks, config.json says 3"),
        ({"decoder_num_attention_heads": 5}, "decoder_width 32 must be a multiple of decoder_heads 5"),
        ({"decoder_num_attention_heads": "four"}, "decoder_heads takes a whole number, got 'four'"),
    ],
)
def test_a_decoder_that_its_config_denies_is_a_remark(tmp_path, change, message):
    saved(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    found = find(tmp_path)
    assert found.decoder is None and message in found.remarks[-1] and "\n" not in found.remarks[-1]
    assert fill(found)[1].share == 1.0


def test_positions_that_are_not_computed_ones_are_a_remark(tmp_path):
    """A network as transformers 5.24 starts it has zeros there."""
    theirs = ViTMAEForPreTraining(ViTMAEConfig(**SIZES))
    nn.init.zeros_(theirs.decoder.decoder_pos_embed)
    theirs.save_pretrained(tmp_path)
    found = find(tmp_path)
    assert found.decoder is None
    assert (
        found.remarks[-1] == "decoder left out: decoder_pos_embed is not sine-cosine, and others are not computed here"
    )


def test_another_mlp_ratio_of_the_decoder_is_a_remark(tmp_path):
    saved(tmp_path, decoder_intermediate_size=64)
    assert "size mismatch for blocks.0.mlp.fc1.weight" in find(tmp_path).remarks[-1]
