from dataclasses import asdict, replace

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.layers import resample_abs_pos_embed

from pcae.model.pretrained import PretrainedFacts, build_model
from pcae.training.checkpoint import save_atomically
from pcae.weights.files import CLASSIFIER_FILE, FILE, load, save_model


def test_a_saved_encoder_comes_back_and_loads_into_plain_timm(encoder, config, images, tmp_path):
    facts = PretrainedFacts(encoder=config, mean=[0.1, 0.2, 0.3], std=[1.0, 2.0, 3.0])
    save_model(tmp_path / FILE, encoder.vit, facts)
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
        (
            lambda path: (path / "a.safetensors").write_bytes(b"no") and path / "a.safetensors",
            "no whole safetensors file",
        ),
        (
            lambda path: save_file({"x": torch.ones(1)}, path / "b.safetensors") or path / "b.safetensors",
            "holds no encoder: no patch_embed.proj.weight among x",
        ),
    ],
)
def test_what_is_no_encoder_is_refused_by_name(tmp_path, make, message):
    with pytest.raises(ValueError, match=message):
        load(make(tmp_path))


def test_tensors_that_do_not_fit_their_description_are_refused(encoder, config, tmp_path):
    facts = PretrainedFacts(encoder=replace(config, width=48), mean=[0.1] * 3, std=[1.0] * 3)
    save_model(tmp_path / FILE, encoder.vit, facts)
    with pytest.raises(ValueError, match="holds no encoder of pcae's"):
        load(tmp_path)


def test_a_classifier_comes_back_before_the_encoder_it_grew_from(encoder, config, tmp_path):
    facts = PretrainedFacts(encoder=config, mean=[0.1] * 3, std=[1.0] * 3)
    save_model(tmp_path / FILE, encoder.vit, facts)
    tuned = replace(facts, classes=["cat", "dog"], global_pool="avg", drop_ratios=(0.0, 0.4), crop_pct=0.9)
    classifier = build_model(tuned)
    save_model(tmp_path / CLASSIFIER_FILE, classifier.encoder.vit, tuned)
    model = load(tmp_path)
    assert model.facts == tuned
    pixels = torch.zeros(1, 3, 32, 48, dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(model.classifier(0.3)(pixels), classifier.eval().classifier(0.3)(pixels))
    assert load(tmp_path / FILE).facts == facts


def test_files_from_before_there_were_classifiers_still_load(encoder, config, tmp_path):
    header = {"encoder": asdict(config), "mean": [0.1] * 3, "std": [1.0] * 3, "pixel_range": [0, 4095]}
    save_atomically(tmp_path / FILE, dict(encoder.vit.state_dict()), header)
    assert load(tmp_path).facts == PretrainedFacts(
        encoder=config, mean=[0.1] * 3, std=[1.0] * 3, pixel_range=(0.0, 4095.0)
    )


def test_a_setting_that_this_release_does_not_know_is_refused(encoder, config, tmp_path):
    header = {"encoder": asdict(config) | {"window": 7}, "mean": [0.1] * 3, "std": [1.0] * 3}
    save_atomically(tmp_path / FILE, dict(encoder.vit.state_dict()), header)
    with pytest.raises(ValueError, match="unknown key 'window'"):
        load(tmp_path)


def test_another_image_size_resizes_positions_of_a_grid_that_is_no_square(encoder, config, tmp_path):
    save_model(tmp_path / FILE, encoder.vit, PretrainedFacts(encoder=config, mean=[0.1] * 3, std=[1.0] * 3))
    model = load(tmp_path, image_size=(48, 32))
    expected = resample_abs_pos_embed(encoder.vit.pos_embed.detach(), [6, 4], [4, 6])
    torch.testing.assert_close(model.encoder.vit.pos_embed.detach(), expected)
    with pytest.raises(ValueError, match=r"image_size \(30, 48\) must be a positive multiple of the patch size"):
        load(tmp_path, image_size=(30, 48))


def test_a_checkpoint_names_the_folder_that_is_the_remedy(encoder, config, tmp_path):
    place = tmp_path / "run" / "checkpoints" / "step-00000060.safetensors"
    place.parent.mkdir(parents=True)
    save_atomically(place, {"method.student.vit.cls_token": torch.ones(1)}, {"step": 60})
    with pytest.raises(ValueError, match=r"the run is not finished: start it again with --out \S+run, then give"):
        load(place)
    facts = PretrainedFacts(encoder=config, mean=[0.1] * 3, std=[1.0] * 3)
    save_model(tmp_path / "run" / FILE, encoder.vit, facts)
    (place.parent / "last").write_text(place.name)
    for path in (place, place.parent, place.parent / "last"):
        with pytest.raises(ValueError, match=r"checkpoint.*; give the run's folder: \S+run$") as caught:
            load(path)
        load(str(caught.value).rsplit(": ", maxsplit=1)[1])


def test_tensors_beside_their_settings_name_the_folder(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    save_file({"embeddings.cls_token": torch.ones(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=f"says nothing of itself.*; give the folder: {tmp_path}$"):
        load(tmp_path / "model.safetensors")
