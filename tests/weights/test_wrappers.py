"""Encoders behind the names of wrappers and beside others: the right one is read, and a line says which."""

import pytest
import torch
from safetensors.torch import save_file

from pcae.weights.files import fill, find, load
from tests.weights.tiny import assert_same_features, pixels, tiny_vit

REGISTERS = "vit_small_patch14_reg4_dinov2"


def named(start: str, vit=None) -> dict[str, torch.Tensor]:
    return {start + name: value for name, value in (vit or tiny_vit()).state_dict().items()}


def in_chunks(vit, of: int, through: bool) -> dict[str, torch.Tensor]:
    """The blocks in chunks; `through`: counted on from chunk to chunk, as DINOv2 does."""

    def chunked(name: str) -> str:
        start, _, rest = name.removeprefix("blocks.").partition(".")
        block = int(start)
        return f"blocks.{block // of}.{block if through else block % of}.{rest}"

    return {chunked(name) if name.startswith("blocks.") else name: value for name, value in vit.state_dict().items()}


def compiled(vit) -> dict[str, torch.Tensor]:
    """As torch.compile of the model and of each block names them."""
    return {
        f"_orig_mod.{name.replace('.norm1', '._orig_mod.norm1')}": value for name, value in vit.state_dict().items()
    }


HEAD = {"dino_head.last_layer.weight": torch.ones(2, 2)}
WRAPPED = {
    "torch.compile": compiled,
    "several devices, compiled": lambda vit: {"model": named("module._orig_mod.", vit)},
    "a teacher's backbone": lambda vit: {"teacher": named("backbone.", vit) | HEAD},
    "model_state": lambda vit: {"model_state": vit.state_dict(), "epoch": 3},
    "lightning": lambda vit: {"state_dict": named("model.", vit), "hyper_parameters": {"lr": 0.1}},
    "some nested name": lambda vit: {"network": {"trunk": named("visual.", vit)}},
    "an optimizer beside it": lambda vit: {"model": vit.state_dict(), "optimizer": {"state": {0: named("exp_avg.")}}},
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_an_encoder_behind_any_name_is_read(kind, tmp_path):
    vit = tiny_vit()
    torch.save(WRAPPED[kind](vit), tmp_path / "a.pth")
    model = load(tmp_path / "a.pth")
    assert_same_features(model, vit.forward_features(model.normalise(pixels())).detach())


@pytest.mark.parametrize(("of", "through"), [(1, True), (2, True), (2, False), (3, False)])
def test_blocks_in_chunks_are_counted_through(of, through, tmp_path):
    vit = tiny_vit(depth=5)
    save_file(in_chunks(vit, of, through), tmp_path / "a.safetensors")
    model = load(tmp_path / "a.safetensors")
    assert_same_features(model, vit.forward_features(model.normalise(pixels())).detach())


def test_a_block_that_lacks_between_chunks_is_missed(tmp_path):
    tensors = {
        name: value for name, value in in_chunks(tiny_vit(depth=4), 2, True).items() if "blocks.1.2." not in name
    }
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="no place for blocks.3"):
        load(tmp_path / "a.safetensors")


BOTH = {
    "a teacher before its student": (("student.backbone.", "teacher.backbone."), "teacher.backbone"),
    "whichever comes first": (("teacher_backbone.", "student_backbone."), "teacher_backbone"),
    "under state_dict": (("state_dict.student.", "state_dict.teacher."), "state_dict.teacher"),
    "a network before its average": (("model_ema.", "model."), "model"),
    "timm's average": (("state_dict.", "state_dict_ema."), "state_dict"),
}


@pytest.mark.parametrize("kind", BOTH)
def test_of_two_encoders_the_usual_one_is_taken_and_both_are_named(kind, tmp_path):
    starts, taken = BOTH[kind]
    vits = {start: tiny_vit(seed=seed) for seed, start in enumerate(starts)}
    tensors = {name: value for start, vit in vits.items() for name, value in named(start, vit).items()}
    torch.save(tensors, tmp_path / "a.pth")
    found = find(tmp_path / "a.pth")
    (other,) = (start.removesuffix(".") for start in starts if start != f"{taken}.")
    apart = next(part for part in other.split(".") if part not in taken.split("."))
    assert found.remarks[0].startswith(f"taken: {taken}; left out beside it: {apart}: 30")
    for root in (taken, other):
        model = load(f"{tmp_path / 'a.pth'}#{root}")
        expected = vits[f"{root}."].forward_features(model.normalise(pixels())).detach()
        assert_same_features(model, expected)
        assert root == other or all(
            torch.equal(value, found.tensors[name]) for name, value in model.encoder.vit.state_dict().items()
        )


def test_of_several_that_are_not_usual_none_is_guessed(tmp_path):
    torch.save({"encoder": named(""), "target_encoder": named("")}, tmp_path / "a.pth")
    with pytest.raises(
        ValueError, match=r"several encoders, encoder, target_encoder; .*: (\S+a.pth#target_encoder)"
    ) as caught:
        load(tmp_path / "a.pth")
    load(str(caught.value).rsplit(": ", maxsplit=1)[1])
    with pytest.raises(ValueError, match="begin with 'nobody'; there are 'encoder', 'target_encoder'"):
        load(f"{tmp_path / 'a.pth'}#nobody")


@pytest.mark.parametrize("name", ["register_tokens", "pos_embed", "tokens.cls_token"])
def test_tokens_outside_the_encoder_are_not_dropped(name, tmp_path):
    torch.save(named("trunk.") | {name: torch.ones(1, 2, 128)}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=f"has {name} outside its encoder"):
        load(tmp_path / "a.pth")


def test_a_classifier_beside_a_backbone_is_left_out_by_name(tmp_path):
    torch.save({"state_dict": named("backbone.") | {"head.weight": torch.ones(3, 128)}}, tmp_path / "a.pth")
    found = find(tmp_path / "a.pth")
    assert found.facts.classes is None
    assert found.remarks[0] == "taken: state_dict.backbone; left out beside it: head: 1"


@pytest.mark.parametrize("name", ["prompt_tokens", "patch_embed.norm.weight", "scale", "temporal_embed"])
def test_what_may_change_features_is_refused_and_the_remedy_works(name, tmp_path):
    tensors = tiny_vit().state_dict()
    save_file(tensors | {name: torch.ones(1, 2, 128)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=f"no place for {name}.*can be left out of the file"):
        load(tmp_path / "a.safetensors")
    save_file(tensors, tmp_path / "a.safetensors")
    load(tmp_path / "a.safetensors")


def test_what_would_stay_random_is_refused(tmp_path):
    tensors = tiny_vit().state_dict()
    del tensors["blocks.1.mlp.fc1.bias"]
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="lack blocks.1.mlp.fc1.bias, which would stay random"):
        load(tmp_path / "a.safetensors")


def metas(vit) -> dict[str, torch.Tensor]:
    """A file of DINOv2's with registers: a position of the class token, which timm adds to the token."""
    tensors = dict(vit.state_dict())
    first = torch.randn(1, 1, 128, generator=torch.Generator().manual_seed(5))
    tensors["cls_token"] = tensors["cls_token"] - first
    tensors["pos_embed"] = torch.cat([first, tensors["pos_embed"]], dim=1)
    return tensors | {"register_tokens": tensors.pop("reg_token"), "mask_token": torch.zeros(1, 128)}


@pytest.mark.parametrize(
    "wrap", [lambda tensors: tensors, lambda tensors: {f"teacher.backbone.{n}": v for n, v in tensors.items()}]
)
def test_metas_dinov2_with_registers_has_timms_features(wrap, tmp_path):
    vit = tiny_vit(REGISTERS)
    torch.save(wrap(metas(vit)), tmp_path / "a.pth")
    found = find(tmp_path / "a.pth")
    model, match = fill(found)
    assert_same_features(model, vit.forward_features(model.normalise(pixels())).detach(), n_prefix=5)
    assert match.describe() == ["35 of 35 tensors matched, 100.0% of the encoder", "unexpected, left out: decoder: 1"]
    assert any("4 register tokens, layer scale" in line for line in found.remarks)


@pytest.mark.parametrize("classes", [0, 3])
def test_a_distilled_deit_has_timms_features_and_logits(classes, tmp_path):
    """Without its two classifiers its second token is a register with a position."""
    vit = tiny_vit("deit_tiny_distilled_patch16_224", num_classes=classes)
    torch.save({"model": vit.state_dict()}, tmp_path / "a.pth")
    found = find(tmp_path / "a.pth")
    assert "classifier on the class token" not in found.remarks[-1]
    model, match = fill(found)
    normalised = model.normalise(pixels())
    assert_same_features(model, vit.forward_features(normalised).detach(), n_prefix=2)
    assert not match.missing and not match.unexpected and model.facts.classes == (["0", "1", "2"] if classes else None)
    if classes:
        torch.testing.assert_close(model.classifier(0.0)(pixels()), vit(normalised), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("lost", ["head.", "dist_token"])
def test_a_classifier_of_deit_goes_where_its_other_half_is_not_there(lost, tmp_path):
    tensors = tiny_vit("deit_tiny_distilled_patch16_224", num_classes=3).state_dict()
    tensors = {name: value for name, value in tensors.items() if not name.startswith(lost)}
    if lost == "dist_token":
        tensors["pos_embed"] = tensors["pos_embed"][:, 1:]
    torch.save(tensors, tmp_path / "a.pth")
    model, match = fill(find(tmp_path / "a.pth"))
    assert model.facts.classes is None
    assert "head_dist: 2" in match.describe()[-1]


def test_average_pooling_behind_the_last_norm_is_read_as_it_is(tmp_path):
    vit = tiny_vit("vit_base_patch16_gap_224", num_classes=3, global_pool="avg", fc_norm=False)
    save_file(vit.state_dict(), tmp_path / "a.safetensors")
    model, match = fill(find(tmp_path / "a.safetensors"))
    assert not match.missing and not match.unexpected
    with torch.no_grad():
        expected = vit(model.normalise(pixels()))
        torch.testing.assert_close(model.classifier(0.0)(pixels()), expected, rtol=1e-5, atol=1e-5)


def test_a_small_vit_is_called_small(tmp_path):
    vit = tiny_vit(REGISTERS, embed_dim=384, num_heads=6)
    save_file(vit.state_dict(), tmp_path / "a.safetensors")
    found = find(tmp_path / "a.safetensors")
    assert found.facts.encoder.model.startswith("vit_small_patch16_224:reg_tokens=4")
    assert found.remarks[0] == (
        "read as a ViT of 2 blocks of width 384, patches of 8 x 8, 4 register tokens, layer scale; 6 heads, "
        "by the width"
    )
