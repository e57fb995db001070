import json

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from tokenizers.models import BPE
from transformers import (
    AutoImageProcessor,
    CLIPImageProcessor,
    CLIPProcessor,
    PreTrainedTokenizerFast,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
    ViTMAEConfig,
    ViTMAEForPreTraining,
    ViTMAEModel,
    ViTModel,
)

from pcae.weights.files import fill, find, load, save_model
from tests.weights.tiny import assert_same_features, pixels, shaken

SIZES = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 96, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip
DECODER = {
    "decoder_hidden_size": 16, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 32,
}  # fmt: skip


def saved(model, folder, **options):
    """The model, which lies in the folder too."""
    model = shaken(model).eval()
    model.save_pretrained(folder, **options)
    return model


@pytest.mark.parametrize("options", [{}, {"max_shard_size": "20KB"}], ids=["one file", "shards"])
def test_an_encoder_has_their_features(tmp_path, options):
    theirs = saved(ViTModel(ViTConfig(**SIZES)), tmp_path, **options)
    assert (tmp_path / "model.safetensors.index.json").exists() == bool(options)
    found = find(tmp_path)
    model, match = fill(found)
    with torch.no_grad():
        assert_same_features(model, theirs(model.normalise(pixels())).last_hidden_state)
    assert match.describe() == ["30 of 30 tensors matched, 100.0% of the encoder", "unexpected, left out: pooler: 2"]
    assert model.facts.classes is None and model.facts.mean == [0.5] * 3
    assert found.remarks == ("taken for granted: mean and std 0.5, as preprocessor_config.json names none",)


def test_small_activations_keep_their_epsilon_through_our_own_files(tmp_path):
    """1e-12 against timm's 1e-6 shows where tokens hardly vary."""
    theirs = ViTModel(ViTConfig(**SIZES)).eval()
    theirs.save_pretrained(tmp_path)
    model = load(tmp_path)
    save_model(tmp_path / "ours.safetensors", model.encoder.vit, model.facts)
    with torch.no_grad():
        expected = theirs(model.normalise(pixels())).last_hidden_state
    assert_same_features(model, expected)
    assert_same_features(load(tmp_path / "ours.safetensors"), expected)


def test_mae_has_their_features_where_nothing_is_hidden(tmp_path):
    theirs = saved(ViTMAEModel(ViTMAEConfig(**SIZES, mask_ratio=0.0)), tmp_path)
    model = load(tmp_path)
    in_order = torch.arange(16.0).expand(2, -1)
    with torch.no_grad():
        assert_same_features(model, theirs(model.normalise(pixels()), noise=in_order).last_hidden_state)


def test_maes_decoder_is_left_out_and_counted(tmp_path):
    theirs = saved(ViTMAEForPreTraining(ViTMAEConfig(**SIZES, **DECODER, mask_ratio=0.0)), tmp_path)
    model, match = fill(find(tmp_path))
    n_decoder = len(theirs.decoder.state_dict())
    assert match.describe()[1:] == [f"unexpected, left out: decoder: {n_decoder}"]
    in_order = torch.arange(16.0).expand(2, -1)
    with torch.no_grad():
        assert_same_features(model, theirs.vit(model.normalise(pixels()), noise=in_order).last_hidden_state)


def test_a_classifier_has_their_logits_and_class_names(tmp_path):
    theirs = saved(ViTForImageClassification(ViTConfig(**SIZES, id2label={0: "cat", 1: "dog", 2: "ray"})), tmp_path)
    ViTImageProcessor(image_mean=[0.1, 0.2, 0.3], image_std=[0.4, 0.5, 0.6]).save_pretrained(tmp_path)
    found = find(tmp_path)
    model, _ = fill(found)
    assert found.remarks == () and found.source.endswith("Hugging Face's vit")
    assert (model.facts.classes, model.facts.global_pool) == (["cat", "dog", "ray"], "token")
    normalised = (pixels().float() / 255 - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / torch.tensor(
        [0.4, 0.5, 0.6]
    ).view(3, 1, 1)
    with torch.no_grad():
        expected = theirs(normalised).logits
        torch.testing.assert_close(model.classifier(0.0)(pixels()), expected, rtol=1e-5, atol=1e-5)


def test_rectangles_and_other_channels(tmp_path):
    sizes = SIZES | {"image_size": (32, 48), "num_channels": 1}
    theirs = saved(ViTModel(ViTConfig(**sizes), add_pooling_layer=False), tmp_path)
    model = load(tmp_path)
    assert model.encoder.grid == (4, 6)
    images = torch.randint(256, (2, 1, 32, 48), dtype=torch.uint8)
    with torch.no_grad():
        expected = theirs(model.normalise(images)).last_hidden_state[:, 1:]
        torch.testing.assert_close(model(images).tokens, expected, rtol=1e-5, atol=1e-5)
    assert load(tmp_path, image_size=(16, 24)).encoder.grid == (2, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"model_type": "swin"},
            "a model of type 'swin', which has windows and relative position bias; .* vit, vit_mae",
        ),
        ({"model_type": ["vit"]}, "; of transformers' are read"),
        ({"model_type": None, "architecture": "nobodys"}, "cannot be had: .*nobodys"),
        ({"intermediate_size": 48}, "intermediate_size is 48, but the weights are for 96"),
        ({"hidden_act": "relu"}, "hidden_act is 'relu'; only gelu, .*quick_gelu are read"),
        ({"qkv_bias": False}, "qkv_bias is False, but the weights are for True"),
        ({"patch_size": [8, 4]}, r"patch_size is \[8, 4\]; only square"),
        ({"num_hidden_layers": 3}, "num_hidden_layers is 3, but the weights have 2 blocks"),
        ({"hidden_size": None}, "hidden_size is None, but the weights are for 24"),
        ({"num_channels": None}, "channels"),
        ({"num_channels": "3"}, "channels|holds no model that can be read"),
        ({"layer_norm_eps": None}, "holds no model that can be read"),
        ({"layer_norm_eps": "x"}, "could not convert string to float"),
        ({"num_attention_heads": "two"}, "config.json: heads takes a whole number, got 'two'"),
    ],
)
def test_what_a_plain_vit_does_not_compute_is_refused_by_name(tmp_path, change, message):
    saved(ViTModel(ViTConfig(**SIZES)), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ValueError, match=message) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"image_mean": 0.5, "image_std": 0.5}, "holds no model that can be read"),
        ({"do_rescale": False}, "does not scale pixels to"),
        ({"rescale_factor": 1.0}, "does not scale pixels to"),
    ],
)
def test_preprocessing_of_another_kind_is_refused(tmp_path, said, message):
    saved(ViTModel(ViTConfig(**SIZES)), tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    with pytest.raises(ValueError, match=message) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/hostname", ["a"]])
def test_an_index_names_files_of_its_folder_only(tmp_path, name):
    saved(ViTModel(ViTConfig(**SIZES)), tmp_path / "inner")
    (tmp_path / "inner" / "model.safetensors").rename(tmp_path / "model.safetensors")
    (tmp_path / "inner" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(ValueError, match="which is no file of the folder"):
        load(tmp_path / "inner")


def test_a_folder_without_its_parts_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(ValueError, match=r"no model.safetensors or pytorch_model.bin, nor the index of its parts$"):
        load(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ValueError, match="has no weight_map"):
        load(tmp_path)
    (tmp_path / "config.json").write_text("[")
    with pytest.raises(ValueError, match="cannot be read as JSON"):
        load(tmp_path)


def halves(folder) -> None:
    """The tensors in two files of torch's with an index, as transformers 4 wrote large models."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    files = {name: f"pytorch_model-0000{1 + place % 2}-of-00002.bin" for place, name in enumerate(tensors)}
    for file in set(files.values()):
        torch.save({name: tensors[name] for name in files if files[name] == file}, folder / file)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": files}))


def test_parts_of_torchs_are_read_by_their_index_and_all_must_be_there(tmp_path):
    theirs = saved(ViTModel(ViTConfig(**SIZES)), tmp_path)
    halves(tmp_path)
    model = load(tmp_path)
    with torch.no_grad():
        expected = theirs(model.normalise(pixels())).last_hidden_state
    assert_same_features(model, expected)
    part = tmp_path / "pytorch_model-00002-of-00002.bin"
    tensors = torch.load(part)
    lost = tensors.popitem()[0]
    torch.save(tensors, part)
    with pytest.raises(ValueError, match=f"promises {lost}, which {part.name} does not hold"):
        load(tmp_path)
    part.unlink()
    with pytest.raises(ValueError, match=f"names {part.name}, which is not there: fetch the folder again"):
        load(tmp_path)


def test_a_variants_name_has_its_remedy(tmp_path):
    saved(ViTModel(ViTConfig(**SIZES)), tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "model.fp16.safetensors")
    with pytest.raises(ValueError, match=r"model.fp16.safetensors is called otherwise: rename it to model.safetensors"):
        load(tmp_path)


def test_mean_and_std_are_read_where_transformers_5_writes_them_for_images_and_texts(tmp_path):
    """Its processor of both has them in its own file alone; AutoImageProcessor reads that first."""
    saved(ViTModel(ViTConfig(**SIZES)), tmp_path)
    words = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(BPE(vocab={"a": 0}, merges=[])))
    CLIPProcessor(CLIPImageProcessor(image_mean=[0.1, 0.2, 0.3], image_std=[0.4, 0.5, 0.6]), words).save_pretrained(
        tmp_path
    )
    assert not (tmp_path / "preprocessor_config.json").exists()
    theirs = AutoImageProcessor.from_pretrained(tmp_path)
    facts = load(tmp_path).facts
    assert (facts.mean, facts.std) == ([*theirs.image_mean], [*theirs.image_std]) == ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6])
