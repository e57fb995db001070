from copy import deepcopy

import pytest
import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from pcae.weights.export.formats import FORMATS, export
from pcae.weights.files import find, load
from tests.weights.exported import decoder_of, model_of, pictures

CLASSES = ["a", "b", "c"]
SQUARE = {"image_size": (32, 32)}
FILES = {"mae": "a.pth", "pcae-code": "a.pth", "vitmae": "a"}


def model_with(predicts: str | None = "pixels", out_dim: int | None = None, norm_eps: float = 1e-6, **options):
    """A model on 4 x 4 patches with the decoder that it was trained with."""
    model = model_of(**SQUARE | options)
    model.decoder = decoder_of(model, predicts, out_dim, norm_eps=norm_eps) if predicts else None
    return model


def assert_same(model, again):
    """The tensors of encoder and decoder, to the bit."""
    ours, theirs = model.encoder.state_dict(), again.tensors
    assert all(torch.equal(value, theirs[name.removeprefix("vit.")]) for name, value in ours.items())
    assert again.decoder is not None and again.decoder.facts.predicts == model.decoder.facts.predicts
    assert again.decoder.facts.decoder == model.decoder.facts.decoder
    assert again.decoder.tensors.keys() == model.decoder.tensors.keys()
    for name, value in model.decoder.tensors.items():
        assert torch.equal(value, again.decoder.tensors[name])


@pytest.mark.parametrize(
    ("to", "predicts", "channels"), [("mae", "pixels", 3), ("mae", "pixels", 1), ("pcae-code", "features", 3)]
)
def test_ours_into_a_pth_and_back_is_the_same_to_the_bit(to, predicts, channels, tmp_path):
    model = model_with(predicts, channels=channels)
    parity = export(model, to, tmp_path / "a.pth", 0.0, [pictures(model, 3)])
    assert parity.max_difference == 0 and parity.tolerance == 1e-5
    assert_same(model, find(tmp_path / "a.pth"))
    with torch.no_grad():
        images = pictures(model, 2)
        assert torch.equal(load(tmp_path / "a.pth")(images).tokens, model(images).tokens)  # normalised as it was
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]


@pytest.mark.parametrize("norm_pix_loss", [None, True, False])
def test_ours_into_vitmae_and_back_is_the_same_to_the_bit(norm_pix_loss, tmp_path):
    model = model_with()
    model.decoder = decoder_of(model, norm_pix_loss=norm_pix_loss)
    assert export(model, "vitmae", tmp_path / "a", 0.0, [pictures(model, 3)]).holds
    again = find(tmp_path / "a")
    assert_same(model, again)
    assert again.decoder.facts.norm_pix_loss == (norm_pix_loss is not False)
    assert (again.facts.mean, again.facts.std) == (model.facts.mean, model.facts.std)


def test_the_public_codes_file_holds_a_teacher_of_the_same_weights(tmp_path):
    model = model_with("features")
    export(model, "pcae-code", tmp_path / "a.pth", 0.0, [pictures(model, 3)])
    content = torch.load(tmp_path / "a.pth", weights_only=True)
    assert content["teacher"].keys() == model.encoder.vit.state_dict().keys()
    assert all(torch.equal(value, content["model"][name]) for name, value in content["teacher"].items())
    assert torch.equal(content["model"]["decoder_pred.weight"], model.decoder.tensors["head.weight"])
    assert content["args"] == {
        "num_heads": 2,
        "pcae_mean": [0.4] * 3,
        "pcae_std": [0.2] * 3,
        "decoder_num_heads": 8,
        "decoder_depth": 2,
        "decoder_embed_dim": 32,
    }


@pytest.mark.parametrize(
    "options",
    [{}, {"classes": CLASSES}, {"classes": CLASSES, "global_pool": "avg"}, {"predicts": "features"}],
    ids=["encoder", "class token", "average pooling", "decoder of features"],
)
def test_what_has_no_decoder_of_pixels_becomes_a_file_without_one(options, tmp_path):
    model = model_with(**{"predicts": None} | options)
    assert export(model, "mae", tmp_path / "a.pth", 0.0, [pictures(model, 3)]).max_difference == 0
    content = torch.load(tmp_path / "a.pth", weights_only=True)
    said = {"num_heads": 2, "pcae_mean": [0.4] * 3, "pcae_std": [0.2] * 3}
    assert content["args"] == said and content["model"].keys() == model.encoder.vit.state_dict().keys()
    facts = load(tmp_path / "a.pth").facts
    assert (facts.classes is None, facts.global_pool) == (model.facts.classes is None, model.facts.global_pool)
    left = "the decoder predicts features and is left out; --to pcae-code takes it"
    assert (left in FORMATS["mae"].remarks(model)) == (options.get("predicts") == "features")


def test_what_maes_code_has_to_be_told_is_said():
    model = model_with(norm_eps=1e-5)
    assert FORMATS["mae"].remarks(model) == [
        "heads of the encoder: the weights are for 2, MAE's code takes 1 if it is not told",
        f"mean: the weights are for [0.4, 0.4, 0.4], MAE's code takes {list(IMAGENET_DEFAULT_MEAN)} if it is not told",
        f"std: the weights are for [0.2, 0.2, 0.2], MAE's code takes {list(IMAGENET_DEFAULT_STD)} if it is not told",
        "heads of the decoder: the weights are for 8, MAE's code takes 16 if it is not told",
        "epsilon of the decoder's norms: the weights are for 1e-05, MAE's code takes 1e-06 if it is not told",
    ]


NO_PIXELS = "--to vitmae needs a decoder that predicts pixels, the weights have"
NO_FEATURES = "--to pcae-code needs a decoder that predicts features, the weights have"
REFUSED = [
    ("vitmae", {"predicts": None}, rf"{NO_PIXELS} no decoder that can be read; use --to hf"),
    ("vitmae", {"predicts": "features"}, rf"{NO_PIXELS} one that predicts features; use --to hf"),
    ("vitmae", {"classes": CLASSES}, "cannot hold a classifier; use --to hf"),
    ("vitmae", {"image_size": (32, 48)}, "takes square images, not 32 x 48; use --to hf"),
    ("vitmae", {"norm_eps": 1e-5}, "one epsilon for all norms, the encoder has 1e-06 and the decoder 1e-05"),
    ("vitmae", {"model": "vit_base_patch14_reg4_dinov2"}, "cannot hold register tokens, layer scale"),
    ("pcae-code", {"predicts": None}, rf"{NO_FEATURES} no decoder that can be read; use --to mae"),
    ("pcae-code", {}, rf"{NO_FEATURES} one that predicts pixels; use --to mae"),
    (
        "pcae-code",
        {"predicts": "features", "out_dim": 24},
        "as many values as a patch has, 192; this decoder predicts 24 features",
    ),
    ("pcae-code", {"model": "vit_base_patch14_reg4_dinov2"}, "cannot hold register tokens, layer scale"),
    ("mae", {"model": "vit_base_patch14_reg4_dinov2"}, "cannot hold register tokens, layer scale"),
    ("mae", {"model": "vit_base_patch16_gap_224"}, "cannot hold a model without class token"),
    ("mae", {"model": "vit_base_patch16_clip_quickgelu_224"}, "another activation than GELU"),
    ("mae", {"model": "deit3_base_patch16_224"}, "layer scale, positions of patches alone"),
    ("mae", {"model": "vit_base_patch16_siglip_224", "classes": CLASSES, "global_pool": "map"}, "attention pooling"),
    ("mae", {"classes": CLASSES, "global_pool": "max"}, "a classifier with global_pool 'max'"),
    ("mae", {"image_size": (32, 48)}, "a grid of 4 x 6 patches, which is no square; use --to timm"),
]


@pytest.mark.parametrize(("to", "options", "message"), REFUSED)
def test_what_a_format_cannot_hold_is_refused_by_name_with_the_remedy(to, options, message, tmp_path):
    with pytest.raises(ValueError, match=message) as caught:
        export(model_with(**options), to, tmp_path / FILES[to], 0.0, [])
    assert "\n" not in str(caught.value) and "use --to" in str(caught.value)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(("to", "predicts"), [("mae", "pixels"), ("pcae-code", "features"), ("vitmae", "pixels")])
@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_an_export_with_other_weights_is_not_kept(to, predicts, part, tmp_path, monkeypatch):
    model = model_with(predicts)
    disturbed = deepcopy(model)
    with torch.no_grad():
        disturbed.encoder.vit.blocks[1].mlp.fc2.bias[3] += 0.01 * (part == "encoder")
        disturbed.decoder.tensors["blocks.1.mlp.fc2.bias"][3] += 0.01 * (part == "decoder")
    form = FORMATS[to]
    write = form.write
    monkeypatch.setattr(form, "write", lambda _, ratio, place: write(disturbed, ratio, place))
    message = "does not answer as PyTorch does|the decoder is not read back as it was written"
    with pytest.raises(ValueError, match=message):
        export(model, to, tmp_path / FILES[to], 0.0, [pictures(model, 4)])
    assert not [*tmp_path.iterdir()]
