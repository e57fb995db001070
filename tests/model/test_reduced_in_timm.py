"""A reduced model is what timm's own code takes a model for: its functions do with it what they do with the model."""

import copy
import pickle

import pytest
import timm
import torch
from timm.data import create_transform, resolve_model_data_config
from timm.layers import convert_sync_batchnorm
from timm.models._features import FeatureGetterNet
from timm.optim import create_optimizer_v2
from timm.utils import AverageMeter, ModelEmaV3, accuracy, get_state_dict, unwrap_model
from torch.utils.data import DataLoader
from torchvision.datasets import FakeData

import pcae
from tests.model.test_encoder import make_vit

KINDS = {
    "cls": {},
    "registers, average": {"reg_tokens": 3, "global_pool": "avg"},
    "no prefix, average": {"class_token": False, "global_pool": "avg"},
}
ASKED = {
    "all": {},
    "the last two, normed": {"indices": 2, "norm": True},
    "some, with prefix": {"indices": [0, -1], "return_prefix_tokens": True},
    "sequences": {"indices": [1], "output_fmt": "NLC", "stop_early": True},
    "alone": {"indices": [1, 2], "intermediates_only": True},
    "by name": {"output_dict": True, "return_prefix_tokens": True},
    "by name, alone": {"output_dict": True, "intermediates_only": True, "indices": 1},
}
NAMES = ["num_features", "head_hidden_size", "embed_dim", "num_classes", "num_prefix_tokens", "global_pool"]
CONFIGS = ["pretrained_cfg", "default_cfg", "feature_info"]


@pytest.fixture
def images():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", NAMES + CONFIGS)
def test_what_a_timm_model_says_of_itself(name):
    vit = make_vit()
    assert getattr(pcae.reduce(vit, drop_ratio=0.3), name) == getattr(vit, name)
    assert pcae.reduce(vit, drop_ratio=0.3).get_classifier() is vit.head


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("asked", ASKED)
def test_at_drop_ratio_zero_intermediates_are_timms(kind, asked, images):
    vit = make_vit(**KINDS[kind])
    with torch.no_grad():
        found = pcae.reduce(vit, drop_ratio=0.0).forward_intermediates(images, **ASKED[asked])
        torch.testing.assert_close(found, vit.forward_intermediates(images, **ASKED[asked]))


@pytest.mark.parametrize("norm", [False, True])
def test_tokens_stand_at_their_positions_and_dropped_ones_are_zero(norm, images):
    vit = make_vit(**KINDS["registers, average"], fc_norm=False)
    reduced = pcae.reduce(vit, drop_ratio=0.4)
    with torch.no_grad():
        features, maps = reduced.forward_intermediates(images, norm=norm)
        encoded = reduced.encode(images, record=range(4))
        torch.testing.assert_close(features, reduced.forward_features(images))
    for block, count in enumerate([16, 9, 9, 5]):  # the stages stand behind blocks 0, 2 and 3
        tokens, ids = encoded.recorded[block]
        for image in range(2):
            by_place = dict(zip(ids[image].tolist(), vit.norm(tokens[image]) if norm else tokens[image], strict=True))
            assert len(by_place) == count
            for place in range(16):
                expected = by_place.get(place, torch.zeros(32))
                torch.testing.assert_close(maps[block][image, :, place // 4, place % 4], expected)


def test_what_cannot_be_asked_of_shrinking_sequences_is_refused(images):
    reduced = pcae.reduce(make_vit(), drop_ratio=0.3)
    with pytest.raises(ValueError, match="attn_mask and is_causal are of whole sequences"):
        reduced.forward_intermediates(images, is_causal=True)
    with pytest.raises(ValueError, match="output_fmt must be NCHW or NLC, got 'NHWC'"):
        reduced.forward_intermediates(images, output_fmt="NHWC")


def test_timms_pyramids_of_features(images):
    vit = make_vit()
    with torch.no_grad():
        expected = pcae.reduce(vit, drop_ratio=0.4).forward_intermediates(images, [0, 2], intermediates_only=True)
        reduced = pcae.reduce(copy.deepcopy(vit), drop_ratio=0.4)
        net = FeatureGetterNet(reduced, out_indices=[0, 2])
        torch.testing.assert_close(net(images), expected)
    assert net.feature_info.channels() == [32, 32] and len(reduced.vit.blocks) == 3


@pytest.mark.parametrize("layer_decay", [None, 0.75])
def test_timms_optimizers_group_the_same_parameters(layer_decay):
    vit = make_vit(reg_tokens=2)
    groups = [
        create_optimizer_v2(model, opt="adamw", lr=1e-3, weight_decay=0.05, layer_decay=layer_decay).param_groups
        for model in (pcae.reduce(vit, drop_ratio=0.3), vit)
    ]
    ours, theirs = (
        {(id(one), group["weight_decay"], group.get("lr_scale")) for group in of for one in group["params"]}
        for of in groups
    )
    assert ours == theirs and len({decay for _, decay, _ in ours}) == 2


def test_its_state_dict_is_timms_both_ways(images):
    vit, other = make_vit(), make_vit()
    for parameter in other.parameters():
        parameter.data += 1
    reduced = pcae.reduce(vit, drop_ratio=0.3)
    plain = copy.deepcopy(other)
    plain.load_state_dict(get_state_dict(reduced, unwrap_model), strict=True)
    assert all(torch.equal(value, vit.state_dict()[name]) for name, value in plain.state_dict().items())
    reduced.load_state_dict(other.state_dict())
    assert torch.equal(vit.head.weight, other.head.weight)
    inside = torch.nn.ModuleDict({"model": reduced})
    assert {name.split(".")[1] for name in inside.state_dict()} == {"vit"}  # as checkpoints of runs have it
    inside.load_state_dict(inside.state_dict())
    again = pickle.loads(pickle.dumps(reduced))
    again.load_state_dict(reduced.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(again(images), reduced(images))


def test_a_moving_average_of_it_is_that_of_the_model(images):
    vit, reduced = make_vit(), pcae.reduce(make_vit(), drop_ratio=0.3)
    averages = ModelEmaV3(reduced, decay=0.5), ModelEmaV3(vit, decay=0.5)
    for model, average in ((reduced, averages[0]), (vit, averages[1])):
        for parameter in model.parameters():
            parameter.data += 1
        average.update(model)
    ours, theirs = (average.module.state_dict() for average in averages)
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert averages[0].module(images).shape == (2, 5)


def test_timms_validation_loop():
    """What timm's validate.py does to a model: its transform, a loader, the accuracy of its logits."""
    vit = make_vit(num_classes=10)
    reduced = convert_sync_batchnorm(pcae.reduce(vit, drop_ratio=0.3)).eval()
    config = resolve_model_data_config(reduced) | {"input_size": (3, 32, 32)}
    assert resolve_model_data_config(reduced) == resolve_model_data_config(vit)
    data = FakeData(6, (3, 40, 48), num_classes=reduced.num_classes, transform=create_transform(**config))
    top, right = AverageMeter(), 0
    with torch.inference_mode():
        for pixels, labels in DataLoader(data, batch_size=3):
            logits = reduced(pixels)
            top.update(accuracy(logits, labels, topk=(1, 5))[0].item(), len(pixels))
            right += (logits.argmax(-1) == labels).sum().item()
    assert top.avg == pytest.approx(100 * right / 6)


def test_another_classifier_and_checkpointing(images):
    vit = make_vit(global_pool="avg")
    reduced = pcae.reduce(vit, drop_ratio=0.3, pool_dropped=True)
    reduced.reset_classifier(7)
    reduced.set_grad_checkpointing()
    assert vit.grad_checkpointing and reduced.train()(images).shape == (2, 7) and vit.training
    assert not reduced.eval().vit.training
    with pytest.raises(ValueError, match="this one has pooling 'token'"):
        reduced.reset_classifier(3, "token")
    assert reduced.num_classes == 7


def test_a_model_without_timms_description_has_none():
    plain = timm.models.vision_transformer.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=24, depth=1, num_heads=2
    )
    assert getattr(pcae.reduce(plain, drop_ratio=0.0), "pretrained_cfg", None) is None
