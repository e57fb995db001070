import re
from pathlib import Path

import pytest
import timm
import torch
from timm.models import save_for_hf

from pcae.model.encoder import plain_vit
from pcae.weights.files import fill, find, load
from pcae.weights.timm_models import describe, differs
from tests.weights.tiny import assert_same_features, pixels, shaken, tiny_vit


@pytest.fixture
def downloads(monkeypatch):
    """What a download would bring: for every name the same weights."""
    monkeypatch.setattr("timm.models._builder.load_pretrained", lambda model, *_, **__: known(model))


def known(model):
    torch.manual_seed(3)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


@pytest.mark.parametrize(("name", "n_prefix"), [("test_vit", 1), ("test_vit2.r160_in1k", 1), ("test_vit3", 1)])
def test_a_name_of_timms_has_its_features_and_facts(downloads, name, n_prefix):
    theirs = known(timm.create_model(name))
    model, match = fill(find(f"timm:{name}"))
    facts, said = model.facts, theirs.pretrained_cfg
    assert match.share == 1.0 and not match.missing and not match.unexpected
    assert (facts.mean, facts.std, facts.crop_pct) == (list(said["mean"]), list(said["std"]), said["crop_pct"])
    assert facts.encoder.image_size == said["input_size"][1:] and facts.encoder.model == name
    with torch.no_grad():
        normalised = model.normalise(pixels(160))
        assert_same_features(model, theirs.forward_features(normalised), n_prefix)
        if theirs.num_classes:
            assert facts.classes == [str(index) for index in range(theirs.num_classes)]
            torch.testing.assert_close(model.classifier(0.0)(pixels(160)), theirs(normalised), rtol=1e-5, atol=1e-5)


def test_a_folder_of_timms_is_read_without_a_network_and_built_from_its_facts(tmp_path):
    theirs = tiny_vit(embed_dim=24, num_classes=3, global_pool="avg", in_chans=1, drop_path_rate=0.1)
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2, "in_chans": 1}
    more = {"global_pool": "avg", "drop_path_rate": 0.1}
    theirs.pretrained_cfg |= {"mean": [0.3], "std": [0.2]}
    save_for_hf(theirs, tmp_path, {"label_names": ["cat", "dog", "ray"]}, model_args=sizes | more)
    found = find(f"timm:local-dir:{tmp_path}")
    model, _ = fill(found)
    assert (found.facts.encoder.model, found.facts.encoder.heads) == ("vit_tiny_patch16_224", 2)
    assert (found.facts.classes, found.facts.global_pool) == (["cat", "dog", "ray"], "avg")
    with torch.no_grad():
        expected = theirs(model.normalise(pixels(channels=1)))
        torch.testing.assert_close(model.classifier(0.0)(pixels(channels=1)), expected, rtol=1e-5, atol=1e-5)


def test_settings_that_name_and_sizes_do_not_hold_are_refused(tmp_path):
    theirs = shaken(timm.create_model("test_vit", act_layer="relu"))
    save_for_hf(theirs, tmp_path, model_args={"act_layer": "relu"})
    with pytest.raises(ValueError, match=r"have blocks.0.mlp.act ReLU\(.*, where timm's test_vit has .* GELU"):
        load(f"timm:local-dir:{tmp_path}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vit_tiny_patch16_22", "'vit_tiny_patch16_22' is not known to timm; did you mean"),
        ("cait_xxs24_224", "are supported, got Cait"),
        ("test_vit.nobody", "cannot be had: Invalid pretrained tag"),
        ("local-dir:nowhere", "cannot be had: Config file not found"),
        ("elsewhere:vit", "cannot be had: "),
    ],
)
def test_names_that_bring_nothing_are_refused_in_one_line(name, message):
    with pytest.raises(ValueError, match=message) as caught:
        load(f"timm:{name}")
    assert "\n" not in str(caught.value)


def test_a_download_that_fails_is_one_line_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match="timm:test_vit cannot be had: .*; check name and connection, or") as caught:
        load("timm:test_vit")
    assert "\n" not in str(caught.value)


TABLE = (Path(__file__).parents[2] / "docs" / "downstream.md").read_text(encoding="utf-8")
PUBLIC = re.findall(r"^\| [^|]+ \| `timm:(\S+\.\S+)` \| (\d+) x (\d+) \| ([^|]+) \|$", TABLE, re.MULTILINE)
"""Name, height, width and licence, as the documentation has them."""


def version(words: str) -> tuple[int, ...]:
    return tuple(int(word) for word in words.split(".")[:3])


WRITTEN = version(re.search(r"what timm (\d+\.\d+\.\d+) has", TABLE)[1])
older = pytest.mark.skipif(version(timm.__version__) < WRITTEN, reason="names that this timm does not have yet")


@older
def test_public_weights_in_the_documentation_are_as_timm_has_them():
    assert 15 <= len(PUBLIC) < 20
    for name, height, width, licence in PUBLIC:
        said = timm.get_pretrained_cfg(name)
        assert said is not None, name
        assert (said.license or "not said by timm", said.input_size[1:]) == (licence, (int(height), int(width))), name


@older
@pytest.mark.parametrize("name", [name for name, *_ in PUBLIC])
def test_public_weights_in_the_documentation_are_read(name):
    """All but the download: the network that they are of is one that pcae builds, setting by setting."""
    with torch.device("meta"):
        vit = plain_vit(timm.create_model(name))
        facts = describe(vit, name)
    assert facts.encoder.model == name and differs(vit, facts) is None
