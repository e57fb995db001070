import pytest
import torch
from timm.layers import resample_abs_pos_embed

from pcae.weights.matching import fit
from tests.weights.tiny import tiny_vit


def test_everything_fits_and_the_model_has_the_tensors():
    source, model = tiny_vit(num_classes=3), tiny_vit(seed=1, num_classes=3)
    torch.nn.init.zeros_(model.blocks[1].mlp.fc1.weight)
    match = fit(model, source.state_dict())
    assert set(match.matched) == set(source.state_dict()) and match.share == 1.0
    assert (match.missing, match.unexpected, match.resized) == ((), (), {})
    assert match.describe() == ["32 of 32 tensors matched, 100.0% of the encoder"]
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in model.state_dict().items())


def test_positions_of_another_grid_are_timms_in_float32_with_antialias():
    source = tiny_vit().half()
    for size in ((48, 24), (16, 16)):
        model = tiny_vit(seed=1, img_size=size)
        match = fit(model, source.state_dict(), (4, 4))
        after = (size[0] // 8, size[1] // 8)
        assert match.resized == {"pos_embed": ((4, 4), after)} and "pos_embed" not in match.matched
        table = source.pos_embed.detach().float()
        expected = resample_abs_pos_embed(table, list(after), [4, 4], num_prefix_tokens=1, antialias=True)
        torch.testing.assert_close(model.pos_embed.detach(), expected, rtol=0, atol=0)
        rough = resample_abs_pos_embed(table, list(after), [4, 4], num_prefix_tokens=1, antialias=False)
        assert size == (48, 24) or not torch.allclose(expected, rough, atol=1e-3)
    assert match.describe()[1] == "resized: pos_embed from 4 x 4 to 2 x 2 positions"


def test_positions_of_a_grid_that_is_no_square_need_it_said():
    source, model = tiny_vit(img_size=(32, 48)), tiny_vit(seed=1, img_size=(48, 32))
    fit(model, source.state_dict(), (4, 6))
    expected = resample_abs_pos_embed(source.pos_embed.detach(), [6, 4], [4, 6])
    torch.testing.assert_close(model.pos_embed.detach(), expected)
    with pytest.raises(ValueError, match="pos_embed has 25 positions, which are not 1 and a grid of 4 x 4"):
        fit(tiny_vit(), source.state_dict())


def test_another_task_leaves_classifier_and_last_norm_as_they_were():
    source, model = tiny_vit(num_classes=3), tiny_vit(seed=1, num_classes=5, global_pool="avg")
    before = model.head.weight.clone()
    match = fit(model, source.state_dict())
    assert set(match.missing) == {"fc_norm.weight", "fc_norm.bias", "head.weight", "head.bias"}
    assert match.unexpected == ("norm.weight", "norm.bias") and match.share == 1.0
    assert torch.equal(model.head.weight, before)
    assert match.describe() == [
        "28 of 32 tensors matched, 100.0% of the encoder",
        "missing, left as initialised: fc_norm.weight, fc_norm.bias, head.weight and 1 more",
        "unexpected, left out: norm: 2",
    ]


def test_a_lacking_tensor_is_named_and_counted():
    tensors = tiny_vit().state_dict()
    lost = tensors.pop("blocks.1.mlp.fc1.bias")
    match = fit(tiny_vit(), tensors)
    encoder = sum(value.numel() for name, value in tensors.items() if not name.startswith("norm."))
    assert match.missing == ("blocks.1.mlp.fc1.bias",)
    assert match.share == pytest.approx(encoder / (encoder + lost.numel()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"depth": 3},
            r"hold \d+ of the encoder's \d+ parameters \(68%\), less than 90%.*missing blocks.2.norm1.weight",
        ),
        ({"depth": 1}, "no place for blocks.1.norm1.weight, .* and 9 more"),
        ({"embed_dim": 64}, r"cls_token is \(1, 1, 128\) in the weights and \(1, 1, 64\) in the model"),
        ({"in_chans": 1}, r"patch_embed.proj.weight is \(128, 3, 8, 8\) .* and \(128, 1, 8, 8\)"),
        (
            {"class_token": False, "global_pool": "avg"},
            "pos_embed has 17 positions, which are not 0 and a grid of 4 x 4",
        ),
    ],
)
def test_weights_of_another_model_are_refused_with_numbers_and_change_nothing(options, message):
    model = tiny_vit(seed=1, **options)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        fit(model, tiny_vit().state_dict())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda value: (value * 50).to(torch.int8), "blocks.1.mlp.fc1.weight is int8, .* before they were quantised"),
        (lambda value: torch.quantize_per_tensor(value, 0.01, 0, torch.qint8), "is qint8"),
        (lambda value: value.to(torch.float8_e4m3fn), "is float8_e4m3fn"),
        (lambda value: value.to(torch.complex64), "is complex64"),
        (lambda value: value.to_sparse(), "is sparse"),
        (lambda value: value.to("meta"), "is without values"),
        (lambda value: value.clone().index_fill_(0, torch.tensor([1]), torch.nan), "holds 128 values that are NaN"),
        (lambda value: (value * 1e6).half(), r"holds \d+ values that are NaN or infinite"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*quantize:DeprecationWarning", "ignore:.*quantize:UserWarning")
def test_tensors_that_are_not_the_weights_themselves_are_refused(change, message):
    tensors, model = tiny_vit().state_dict(), tiny_vit(seed=1)
    before = model.cls_token.clone()
    tensors["blocks.1.mlp.fc1.weight"] = change(tensors["blocks.1.mlp.fc1.weight"])
    with pytest.raises(ValueError, match=message):
        fit(model, tensors)
    assert torch.equal(model.cls_token, before)
