import argparse
from dataclasses import replace
from functools import cache

import pytest
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import Block
from torch import nn

from pcae.model.decoder import Decoder
from pcae.model.pretrained import build_decoder
from pcae.model.tokens import patchify
from pcae.settings.network import DecoderConfig
from pcae.training.checkpoint import read, save_atomically
from pcae.weights.decoders import DECODER_FILE, fit_decoder, save_decoder
from pcae.weights.export.formats import export
from pcae.weights.files import CLASSIFIER_FILE, FILE, fill, find, load, save_model
from tests.weights.exported import decoder_of, model_of, pictures
from tests.weights.tiny import shaken, tiny_vit


def positions(side: int, width: int) -> torch.Tensor:
    """MAE's, value by value: sine and cosine of the column, then of the row; zero at the class token."""
    table = torch.zeros(1, 1 + side**2, width, dtype=torch.float64)
    quarter = width // 4
    for place in range(side**2):
        for half, axis in enumerate((place % side, place // side)):
            for index in range(quarter):
                angle = torch.tensor(axis / 10000 ** (index / quarter), dtype=torch.float64)
                table[0, 1 + place, half * 2 * quarter + index] = angle.sin()
                table[0, 1 + place, (half * 2 + 1) * quarter + index] = angle.cos()
    return table.float()


@cache
def theirs() -> dict[str, torch.Tensor]:
    """A network of MAE's code: an encoder of width 128 on 4 x 4 patches of 8 pixels, a decoder of width 32."""
    parts = nn.ModuleDict({
        "decoder_embed": nn.Linear(128, 32),
        "decoder_blocks": nn.ModuleList(Block(32, 16, qkv_bias=True) for _ in range(2)),
        "decoder_norm": nn.LayerNorm(32),
        "decoder_pred": nn.Linear(32, 192),
    })  # fmt: skip
    token = torch.randn(1, 1, 32, generator=torch.Generator().manual_seed(2))
    more = {"mask_token": token, "decoder_pos_embed": positions(4, 32)}
    return {**tiny_vit().state_dict(), **shaken(parts).state_dict(), **more}


def saved(path, **more) -> str:
    torch.save({"model": theirs()} | more, path / "a.pth")
    return str(path / "a.pth")


def assert_one_remark(found, message):
    """The encoder is read, the decoder is not, for one reason."""
    (remark,) = [remark for remark in found.remarks if "left out" in remark]
    assert found.decoder is None and message in remark and "\n" not in remark
    assert found.facts.encoder.depth


def test_maes_decoder_is_read_in_our_names_and_our_order_of_a_patchs_values(tmp_path):
    patch = torch.rand(3, 8, 8)
    tensors = theirs() | {"decoder_pred.bias": patch.permute(1, 2, 0).flatten()}
    torch.save({"model": tensors, "args": argparse.Namespace(norm_pix_loss=False)}, tmp_path / "a.pth")
    found = find(tmp_path / "a.pth")
    assert found.decoder is not None
    facts = found.decoder.facts
    assert facts.decoder == DecoderConfig(decoder_width=32, decoder_depth=2, decoder_heads=16)
    assert (facts.predicts, facts.norm_eps, facts.norm_pix_loss) == ("pixels", 1e-6, False)
    assert found.remarks[-1] == "decoder of 32 x 2 with 16 heads, predicts pixels; taken for granted: 16 heads"
    assert fill(found)[1].describe() == ["30 of 30 tensors matched, 100.0% of the encoder"]
    assert torch.equal(found.decoder.tensors["head.bias"], patchify(patch[None], (8, 8))[0, 0])
    assert torch.equal(found.decoder.tensors["adapter.weight"], tensors["decoder_embed.weight"])
    row = tensors["decoder_pred.weight"].view(8, 8, 3, 32)[5, 2, 1]
    assert torch.equal(found.decoder.tensors["head.weight"].view(3, 8, 8, 32)[1, 5, 2], row)
    build_decoder(found.decoder, (2, 3))


@pytest.mark.parametrize(
    ("said", "predicts", "remark"),
    [
        ({}, "pixels", "16 heads, pixels"),
        ({"args": "--lr 1e-3"}, "pixels", "16 heads, pixels"),
        ({"args": argparse.Namespace(lr=1e-3)}, "pixels", "16 heads, pixels"),
        ({"args": argparse.Namespace(norm_pix_loss="yes")}, "pixels", "16 heads"),
        ({"args": argparse.Namespace(norm_pix_loss=True, decoder_depth=2, decoder_embed_dim=32)}, "pixels", "16 heads"),
        ({"args": argparse.Namespace(decoder_depth=2, decoder_embed_dim=32, drop_stage=3)}, "features", "16 heads"),
        ({"args": {"decoder_depth": 2, "decoder_embed_dim": 32}, "teacher": {}}, "features", "16 heads"),
    ],
)
def test_the_training_scripts_settings_tell_pixels_from_features(tmp_path, said, predicts, remark):
    found = find(saved(tmp_path, **said))
    assert found.decoder is not None and found.decoder.facts.predicts == predicts
    assert found.remarks[-1].endswith(f"predicts {predicts}; taken for granted: {remark}")
    as_theirs = torch.equal(found.decoder.tensors["head.weight"], theirs()["decoder_pred.weight"])
    assert as_theirs == (predicts == "features")


def test_maes_file_goes_through_ours_and_back_without_a_changed_bit(tmp_path):
    model = load(saved(tmp_path, args=argparse.Namespace(norm_pix_loss=True)))
    assert export(model, "mae", tmp_path / "b.pth", 0.0, [pictures(model, 3)]).max_difference == 0
    content = torch.load(tmp_path / "b.pth", weights_only=True)
    statistics = {"pcae_mean": [0.485, 0.456, 0.406], "pcae_std": [0.229, 0.224, 0.225]}
    assert content["args"] == {"num_heads": 2, "decoder_num_heads": 16, "norm_pix_loss": True} | statistics
    assert content["model"].keys() == theirs().keys()
    for name, value in theirs().items():
        if name == "decoder_pos_embed":  # computed anew
            torch.testing.assert_close(content["model"][name], value)
        else:
            assert torch.equal(content["model"][name], value)


WITHOUT_BLOCKS = [name for name in theirs() if name.startswith(("decoder_blocks", "decoder_norm", "decoder_pred"))]
WITHOUT_ONE = [name for name in theirs() if name.startswith("decoder_blocks.0.")]
BROKEN = {
    "cut off": (dict.fromkeys(WITHOUT_BLOCKS), "it lacks"),
    "a block missing": (dict.fromkeys(WITHOUT_ONE), "Missing key(s)"),
    "a part of a block missing": ({"decoder_blocks.1.mlp.fc1.bias": None}, "Missing key(s)"),
    "a part too many": ({"decoder_blocks.1.ls1.gamma": torch.ones(32)}, "Unexpected key(s)"),
    "no head": ({"decoder_pred.weight": None}, "it lacks"),
    "no mask token": ({"mask_token": None}, "it lacks"),
    "another mask token": ({"mask_token": torch.ones(())}, "decoder left out: "),
    "another encoder's": ({"decoder_embed.weight": torch.ones(32, 96)}, "tokens of width 96, the encoder has 128"),
    "other patches": ({"decoder_pred.weight": torch.ones(768, 32)}, "it predicts 768 values, a patch has 192"),
    "another bias": ({"decoder_pred.bias": torch.ones(5)}, "decoder left out: "),
    "no multiple of the heads": ({"mask_token": torch.ones(1, 1, 24)}, "24 must be a multiple of decoder_heads 16"),
    "no positions": ({"decoder_pos_embed": None}, "it lacks decoder_pos_embed"),
    "another grid": ({"decoder_pos_embed": positions(3, 32)}, "a grid of 4 x 4 has 17"),
    "learned positions": ({"decoder_pos_embed": positions(4, 32) * 0.99}, "is not sine-cosine"),
    "a class token's position": ({"decoder_pos_embed": positions(4, 32) + torch.eye(17, 1)}, "is not sine-cosine"),
    "positions of no shape": ({"decoder_pos_embed": torch.ones(())}, "decoder left out: "),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_a_decoder_that_cannot_be_read_is_a_remark_and_the_encoder_is_read(kind, tmp_path):
    change, message = BROKEN[kind]
    tensors = {name: value for name, value in (theirs() | change).items() if value is not None}
    save_file(tensors, tmp_path / "a.safetensors")
    assert_one_remark(find(tmp_path / "a.safetensors"), message)
    assert load(tmp_path / "a.safetensors").decoder is None


def test_positions_in_half_precision_are_the_computed_ones(tmp_path):
    save_file({name: value.half() for name, value in theirs().items()}, tmp_path / "a.safetensors")
    assert find(tmp_path / "a.safetensors").decoder is not None


def run_folder(folder, predicts="pixels", **more):
    """A model and a decoder, which lie in the folder."""
    model = model_of()
    decoder = build_decoder(decoder_of(model, predicts), model.encoder.grid)
    save_model(folder / FILE, model.encoder.vit, model.facts)
    config = DecoderConfig(decoder_width=32, decoder_depth=None, decoder_heads=8)
    save_decoder(folder / DECODER_FILE, decoder, config, predicts, **more)
    return model, decoder


@pytest.mark.parametrize(("predicts", "norm_pix_loss"), [("pixels", False), ("features", None)])
def test_a_run_folders_decoder_comes_back_with_all_that_it_is(tmp_path, predicts, norm_pix_loss):
    _, decoder = run_folder(tmp_path, predicts, norm_pix_loss=norm_pix_loss)
    found = find(tmp_path)
    assert found.decoder is not None and found.remarks == (f"decoder of 32 x 2 with 8 heads, predicts {predicts}",)
    facts = found.decoder.facts
    assert facts.decoder == DecoderConfig(decoder_width=32, decoder_depth=2, decoder_heads=8)
    assert (facts.predicts, facts.norm_pix_loss, facts.norm_eps) == (predicts, norm_pix_loss, 1e-6)
    state = decoder.state_dict()
    assert state.keys() == found.decoder.tensors.keys()
    assert all(torch.equal(value, found.decoder.tensors[name]) for name, value in state.items())
    assert load(tmp_path).decoder is not None
    assert find(tmp_path / FILE).decoder is None


def test_a_classifier_has_no_decoder_though_one_lies_beside_it(tmp_path):
    run_folder(tmp_path)
    tuned = model_of(classes=["cat", "dog"])
    save_model(tmp_path / CLASSIFIER_FILE, tuned.encoder.vit, tuned.facts)
    assert load(tmp_path).facts.classes == ["cat", "dog"] and load(tmp_path).decoder is None


LIES = {
    "another depth": ({"decoder": {"decoder_width": 32, "decoder_depth": 3, "decoder_heads": 8}}, "Missing key(s)"),
    "no depth": ({"decoder": {"decoder_width": 32, "decoder_heads": 8}}, "does not say its decoder_depth"),
    "another setting": ({"decoder": {"decoder_window": 7}}, "unknown key 'decoder_window'"),
    "nothing": ({"decoder": None}, f"{DECODER_FILE} left out: "),
    "another kind": ({"predicts": "words"}, "'pixels' or 'features'"),
    "another epsilon": ({"norm_eps": "small"}, "valid number"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_decoder_of_ours_that_lies_is_a_remark(lie, tmp_path):
    run_folder(tmp_path)
    tensors, header = read(tmp_path / DECODER_FILE)
    change, message = LIES[lie]
    save_atomically(tmp_path / DECODER_FILE, tensors, header | change)
    assert_one_remark(find(tmp_path), message)


def test_a_damaged_decoder_of_ours_and_another_encoders_are_remarks(tmp_path):
    run_folder(tmp_path)
    whole = (tmp_path / DECODER_FILE).read_bytes()
    (tmp_path / DECODER_FILE).write_bytes(whole[:-40])
    assert_one_remark(find(tmp_path), f"{DECODER_FILE} left out: {tmp_path / DECODER_FILE} is no whole file")
    other = Decoder(DecoderConfig(decoder_width=32), in_dim=12, out_dim=192, grid=(4, 6))
    save_decoder(tmp_path / DECODER_FILE, other, DecoderConfig(decoder_width=32), "pixels")
    assert_one_remark(find(tmp_path), "tokens of width 12, the encoder has 24")


def new_decoder(out_dim: int = 192, grid=(4, 6), **sizes) -> Decoder:
    config = DecoderConfig(**{"decoder_width": 32, "decoder_depth": 2, "decoder_heads": 8} | sizes)
    return Decoder(config, in_dim=24, out_dim=out_dim, grid=grid)


def test_a_decoder_that_agrees_is_taken_whole_for_any_grid(tmp_path):
    _, source = run_folder(tmp_path)
    found = find(tmp_path)
    assert found.decoder is not None
    found = replace(found, decoder=replace(found.decoder, facts=replace(found.decoder.facts, norm_eps=1e-12)))
    decoder = new_decoder(grid=(3, 2))
    assert fit_decoder(decoder, found, "pixels") == ["decoder: 31 of 31 tensors matched, 32 x 2 with 8 heads"]
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in decoder.state_dict().items())
    assert {part.eps for part in decoder.modules() if isinstance(part, nn.LayerNorm)} == {1e-12}


@pytest.mark.parametrize(("predicts", "out_dim"), [("features", 192), ("pixels", 64)])
def test_other_predictions_take_the_trunk_and_leave_the_head_new(predicts, out_dim, tmp_path):
    _, source = run_folder(tmp_path)
    decoder = new_decoder(out_dim)
    head = decoder.head.weight.clone()
    assert fit_decoder(decoder, find(tmp_path), predicts) == [
        "decoder: 29 of 31 tensors matched, 32 x 2 with 8 heads",
        f"decoder: its head predicts 192 values of pixels, here are {out_dim} of {predicts}: the head is left as "
        "initialised",
    ]
    assert torch.equal(decoder.head.weight, head)
    trunk = [name for name in source.state_dict() if not name.startswith("head.")]
    assert all(torch.equal(decoder.state_dict()[name], source.state_dict()[name]) for name in trunk)


@pytest.mark.parametrize(
    ("sizes", "here", "flags"),
    [
        ({"decoder_depth": 8}, "32 x 8 with 8 heads", "--decoder-depth 2"),
        ({"decoder_width": 16}, "16 x 2 with 8 heads", "--decoder-width 32"),
        ({"decoder_heads": 16}, "32 x 2 with 16 heads", "--decoder-heads 8"),
        ({"decoder_depth": 1, "decoder_heads": 4}, "32 x 1 with 4 heads", "--decoder-depth 2 --decoder-heads 8"),
    ],
)
def test_other_sizes_take_nothing_and_name_both_and_the_remedy(sizes, here, flags, tmp_path):
    run_folder(tmp_path)
    decoder = new_decoder(**sizes)
    before = {name: value.clone() for name, value in decoder.state_dict().items()}
    (line,) = fit_decoder(decoder, find(tmp_path), "pixels")
    assert line == f"decoder: 32 x 2 with 8 heads in the weights, {here} here: nothing of it is taken; {flags} takes it"
    assert all(torch.equal(value, before[name]) for name, value in decoder.state_dict().items())


def test_weights_without_a_decoder_say_so(tmp_path):
    run_folder(tmp_path)
    (tmp_path / DECODER_FILE).unlink()
    (line,) = fit_decoder(new_decoder(), find(tmp_path), "pixels")
    assert line == f"decoder: none in {tmp_path / FILE} that can be taken; it starts as initialised"
