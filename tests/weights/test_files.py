import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from pcae.model.pretrained import PretrainedFacts
from pcae.weights.files import FILE, load, save_encoder


def test_a_saved_encoder_comes_back_and_loads_into_plain_timm(encoder, config, images, tmp_path):
    facts = PretrainedFacts(encoder=config, mean=[0.1, 0.2, 0.3], std=[1.0, 2.0, 3.0])
    save_encoder(tmp_path / FILE, encoder, facts)
    model = load(tmp_path)
    assert model.facts == facts and not model.training
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, model.encoder.state_dict()[name])
    plain = timm.create_model(
        config.model, img_size=config.image_size, patch_size=8, embed_dim=24, depth=6, num_heads=2, num_classes=0
    )
    plain.load_state_dict(load_file(tmp_path / FILE), strict=True)
    with torch.no_grad():
        pixels = (images.abs() * 60).to(torch.uint8)
        torch.testing.assert_close(
            model(pixels).tokens, plain.eval().forward_features(model.normalise(pixels))[:, 1:], rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path / "nowhere", "neither a run folder"),
        (lambda path: path, "neither a run folder"),
        (lambda path: (path / "a.safetensors").write_bytes(b"no") and path / "a.safetensors", "no whole file"),
        (
            lambda path: save_file({"x": torch.ones(1)}, path / "b.safetensors") or path / "b.safetensors",
            "no whole file",
        ),
    ],
)
def test_what_is_no_encoder_is_refused_by_name(tmp_path, make, message):
    with pytest.raises(ValueError, match=message):
        load(make(tmp_path))


def test_tensors_that_do_not_fit_their_description_are_refused(encoder, config, tmp_path):
    from dataclasses import replace

    facts = PretrainedFacts(encoder=replace(config, width=48), mean=[0.1] * 3, std=[1.0] * 3)
    save_encoder(tmp_path / FILE, encoder, facts)
    with pytest.raises(ValueError, match="holds no encoder of pcae's"):
        load(tmp_path)
