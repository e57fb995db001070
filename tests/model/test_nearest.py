"""What is refused is told which name works."""

import pytest
import timm
import torch
from timm.models import is_model_pretrained

import pcae
from pcae.model.backbones import backbone_of
from pcae.model.backbones.nearest import by_name, nearest

NEAREST = {
    "vit_base_r50_s16_224": "vit_base_patch16_224",
    "vit_small_r26_s32_384": "vit_small_patch16_384",
    "swin_base_patch4_window7_224": "vit_base_patch16_224",
    "swin_large_patch4_window12_384": "vit_large_patch16_384",
    "convnext_tiny": "vit_small_patch16_224",
    "cait_s24_384": "vit_base_patch16_384",
    "vit_relpos_base_patch32_plus_rpn_256": "vit_base_patch32_224",
    "mixer_b16_224": "vit_base_patch16_224",
    "xcit_tiny_12_p8_224": "vit_tiny_patch16_224",
    "vitamin_large_224": "vit_large_patch16_224",
    "resnet50": "vit_small_patch16_224",
    "convnext_xxlarge": "vit_huge_patch14_224",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NEAREST)
def test_a_name_that_is_refused_is_told_the_nearest_that_works(name):
    with pytest.raises(ValueError, match=rf"^model '{name}': only .*, got \w+; try {NEAREST[name]}$"):
        pcae.build_encoder(name)


def test_names_weights_and_models_are_told_alike():
    name = "convnext_atto"
    told = r"only timm's .*, got ConvNeXt; try vit_tiny_patch16_224$"
    for given, refused in (("", pcae.build_encoder), ("timm:", pcae.load)):
        with pytest.raises(ValueError, match=f"^model '{name}': {told}"):
            refused(given + name)
    for refused in (lambda model: pcae.reduce(model, 0.3), pcae.PCAE, pcae.load):
        with pytest.raises(ValueError, match=f"^{told}"):
            refused(by_name(name))


@pytest.mark.slow
def test_all_names_that_may_be_told_work():
    names = {
        nearest(name, parameters) for name in timm.list_models() for parameters in (1, *(10**i for i in range(11)))
    }
    assert {"vit_base_patch32_384", "vit_huge_patch14_224", "vit_base_patch8_224"} <= names and len(names) < 20
    for name in names:
        backbone_of(by_name(name))
        assert is_model_pretrained(name)


def test_of_several_networks_of_one_size_that_with_its_patches_is_told():
    found = [nearest(name, 86_000_000) for name in ("a_patch32_384", "a_patch32_384.tag", "a_patch7_192", "")]
    assert found == ["vit_base_patch32_384", "vit_base_patch32_384", "vit_base_patch16_224", "vit_base_patch16_224"]


def test_a_name_that_is_nearly_one_of_another_family_is_found():
    with pytest.raises(ValueError, match="did you mean eva02_tiny_patch14_224"):
        pcae.build_encoder("eva02_tiny_patch14_24")


def test_what_was_never_timms_is_told_a_size():
    with pytest.raises(ValueError, match="got Linear; try vit_small_patch16_224"), torch.device("meta"):
        backbone_of(torch.nn.Linear(4000, 5000))
