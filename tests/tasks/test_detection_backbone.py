"""Maps of an encoder at four scales: windows, reduction, any size."""

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from pcae.model.backbones.backbone import plain_calls
from pcae.model.compiled import checkpoint_blocks, compile_blocks
from pcae.model.encoder import Encoder
from pcae.model.reduction import Reduction
from pcae.model.tokens import all_ids, patchify
from pcae.settings.tasks import DetectionConfig
from pcae.tasks.detection_backbone import DetectionBackbone, filled_maps, quarters
from pcae.tasks.drop_path import draw_paths, install_drop_path
from pcae.tasks.pyramid import rescale
from pcae.tasks.windows import in_windows, into_windows, out_of_windows

SMALL = {"img_size": 64, "embed_dim": 32, "depth": 4, "num_heads": 2, "num_classes": 0, "dynamic_img_size": True}


def make_vit(patch_size: int = 8, **options):
    torch.manual_seed(0)
    options = {"class_token": False, "global_pool": "avg"} | options
    vit = timm.create_model("vit_tiny_patch16_224", patch_size=patch_size, **(SMALL | options))
    for parameter in vit.parameters():
        nn.init.normal_(parameter, std=0.2)
    return vit


def make(patch_size: int = 8, options: dict | None = None, **knobs) -> DetectionBackbone:
    torch.manual_seed(0)
    config = DetectionConfig(pyramid_channels=16, **knobs)
    return DetectionBackbone(Encoder(make_vit(patch_size, **(options or {}))), config)


def in_window(block: nn.Module, grid: tuple[int, int], window: int):
    """The block over token maps of a grid, in windows."""
    call = in_windows(plain_calls, grid, window, ())(torch.arange(grid[0] * grid[1])[None], 0, 0)
    return lambda tokens: call(0, block, tokens)


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("pyramid", ["fpn", "simple"])
@pytest.mark.parametrize("patch_size", [2, 4, 8, 16, 32, 64])
def test_levels_stand_at_strides_4_to_64_for_any_patch(patch_size, pyramid):
    levels = make(patch_size, pyramid=pyramid)(torch.randn(1, 3, 64, 128))
    assert list(levels) == ["0", "1", "2", "3", "pool"]
    sizes = [(16, 32), (8, 16), (4, 8), (2, 4), (1, 2)]
    assert [level.shape for level in levels.values()] == [(1, 16, *size) for size in sizes]


def test_the_last_blocks_of_the_quarters_are_taken():
    assert [quarters(depth) for depth in (12, 24, 6, 4)] == [
        (2, 5, 8, 11), (5, 11, 17, 23), (0, 2, 3, 5), (0, 1, 2, 3),
    ]  # fmt: skip
    assert make(pyramid="simple").recorded == (3,)


@pytest.mark.parametrize("size", [(64, 64), (96, 64)])
def test_token_maps_are_timms_own_intermediates_at_any_size(size):
    """timm resizes positions for another grid by itself."""
    backbone, images = make(), torch.randn(2, 3, *size)
    expected = backbone.encoder.vit.forward_intermediates(images, norm=False, intermediates_only=True)
    for block, dense in enumerate(backbone.token_maps(images).values()):
        torch.testing.assert_close(dense, expected[block])


def test_no_class_or_register_token_takes_part(pictures):
    backbone = make(options={"class_token": True, "global_pool": "token", "reg_tokens": 2})
    before = backbone(pictures)["0"]
    with torch.no_grad():
        backbone.encoder.vit.cls_token.add_(1)
        backbone.encoder.vit.reg_token.add_(1)
    torch.testing.assert_close(backbone(pictures)["0"], before, rtol=0, atol=0)


def test_all_that_is_trained_has_a_gradient_and_the_rest_of_the_vit_is_frozen(pictures):
    """Processes that exchange gradients would wait for one that never comes."""
    backbone = make(options={"class_token": True, "global_pool": "token", "num_classes": 5})
    sum(level.square().mean() for level in backbone(pictures).values()).backward()
    still = {name for name, parameter in backbone.encoder.vit.named_parameters() if not parameter.requires_grad}
    assert still == {"cls_token", "norm.weight", "norm.bias", "head.weight", "head.bias"}
    for name, parameter in backbone.named_parameters():
        assert not parameter.requires_grad or parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("stride", [4, 8, 16, 32])
def test_a_position_reaches_the_pixels_of_its_patch_and_no_others(stride):
    scale = rescale(8, 16, stride)
    dense = torch.randn(1, 8, 4, 6)
    other = dense.clone()
    other[:, :, 1, 2] += 3
    changed = (scale(dense) != scale(other)).any(dim=1)[0].nonzero().tolist()
    rows, columns = ([1], [2]) if stride == 16 else ([0], [1])
    if stride < 16:
        times = 16 // stride
        rows, columns = list(range(times, 2 * times)), list(range(2 * times, 3 * times))
    assert changed == [[row, column] for row in rows for column in columns]


def test_larger_strides_are_max_pooled():
    dense = torch.randn(1, 8, 8, 12)
    torch.testing.assert_close(rescale(8, 8, 32)(dense), dense.view(1, 8, 2, 4, 3, 4).amax(dim=(3, 5)))


@pytest.mark.parametrize("stride", [4, 8])
def test_upscaled_maps_start_with_about_the_variance_of_the_others(stride):
    torch.manual_seed(0)
    dense = F.layer_norm(torch.randn(2, 16, 16, 64), (64,)).permute(0, 3, 1, 2)
    assert 0.3 < rescale(64, 16, stride)(dense).var() < 1.5  # GELU in between halves what it gets


grids = st.tuples(st.integers(1, 9), st.integers(1, 9))


@settings(max_examples=50, deadline=None)
@given(grids, grids)
def test_windows_hold_the_rectangles_of_the_map_with_zeros_beyond_it(grid, sides):
    tokens = torch.arange(1.0, 2 * grid[0] * grid[1] + 1).view(2, -1, 1)
    cut = into_windows(tokens, grid, sides)
    expected = []
    for dense in tokens.view(2, *grid):
        for top in range(0, grid[0], sides[0]):
            for left in range(0, grid[1], sides[1]):
                inside = dense[top : top + sides[0], left : left + sides[1]]
                window = torch.zeros(sides)
                window[: inside.shape[0], : inside.shape[1]] = inside
                expected.append(window.view(-1, 1))
    assert torch.equal(cut, torch.stack(expected))
    assert torch.equal(out_of_windows(cut, grid, sides), tokens)


@pytest.mark.parametrize("window", [8, 9, 100])
def test_a_window_as_large_as_the_grid_is_global_attention(window):
    block = make_vit().blocks[0]
    tokens = torch.randn(2, 40, 32)
    torch.testing.assert_close(in_window(block, (5, 8), window)(tokens), block(tokens), rtol=0, atol=0)


def test_a_token_sees_its_own_window_and_no_other():
    grid, window = (5, 7), 3  # neither side is a multiple
    block, tokens = in_window(make_vit().blocks[0], grid, window), torch.randn(1, 35, 32, requires_grad=True)
    for place in range(35):
        (gradient,) = torch.autograd.grad(block(tokens)[0, place].sum(), tokens)
        seen = gradient[0].abs().sum(dim=-1).view(grid) > 0
        expected = torch.zeros(grid, dtype=torch.bool)
        top, left = place // 7 // window * window, place % 7 // window * window
        expected[top : top + window, left : left + window] = True
        assert torch.equal(seen, expected), place


def test_padding_takes_part_in_attention_as_zeros():
    block, tokens = make_vit().blocks[0], torch.randn(1, 6, 32)
    padded = torch.cat([tokens.view(2, 3, 32), torch.zeros(2, 1, 32)], dim=1).view(2, 2, 2, 32)
    left, right = (block(padded[:, part].reshape(1, 4, 32)).view(2, 2, 32) for part in range(2))
    expected = torch.cat([left, right], dim=1)[:, :3].reshape(1, 6, 32)
    torch.testing.assert_close(in_window(block, (2, 3), 2)(tokens), expected)


@pytest.mark.parametrize(("global_blocks", "reaches"), [((), 16), ((3,), 96), ((0, 1, 2, 3), 96)])
def test_only_global_blocks_carry_anything_across_windows(pictures, global_blocks, reaches):
    backbone = make(window=4, global_blocks=global_blocks)
    images = pictures[:1].requires_grad_()
    (gradient,) = torch.autograd.grad(backbone.token_maps(images)[3][0, :, 0, 0].sum(), images)
    assert (patchify(gradient, (8, 8)).abs().sum(dim=-1) > 0).sum() == reaches


@pytest.mark.parametrize("global_blocks", [(), (1, 3)])
def test_checkpointed_blocks_with_windows_and_drop_path_give_the_same_gradient(pictures, global_blocks):
    gradients = []
    for checkpointed in (False, True):
        backbone = make(window=3, global_blocks=global_blocks)
        paths = install_drop_path(backbone.encoder.vit, 0.5)
        draw_paths(paths, torch.rand(2, len(paths), generator=torch.Generator().manual_seed(3)))
        if checkpointed:
            checkpoint_blocks(backbone)
        backbone(pictures)["1"].square().mean().backward()
        gradients.append(backbone.encoder.backbone.projection.grad)
    torch.testing.assert_close(gradients[1], gradients[0])


def test_all_windows_of_an_image_lose_a_branch_together(pictures):
    backbone = make(window=4, global_blocks=())
    paths = install_drop_path(backbone.encoder.vit, 0.75)
    noise = torch.ones(2, len(paths))
    noise[1] = 0  # below every rate but block 0's
    draw_paths(paths, noise)
    maps = backbone.token_maps(pictures)
    torch.testing.assert_close(maps[3][1], maps[0][1], rtol=0, atol=0)
    assert ((maps[3][0] - maps[0][0]).abs().amax(dim=0) > 0).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_a_compiled_block_computes_the_same_in_windows():
    plain, compiled = (make_vit(depth=1).double() for _ in range(2))
    compile_blocks(compiled)
    torch._dynamo.utils.counters.clear()
    tokens = torch.randn(2, 35, 32).double()
    for vit in (plain, compiled):
        in_window(vit.blocks[0], (5, 7), 3)(tokens).square().mean().backward()
    for one, other in zip(plain.blocks.parameters(), compiled.blocks.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


@pytest.mark.parametrize("pyramid", ["fpn", "simple"])
def test_keep_1_is_the_dense_backbone(pictures, pyramid):
    dense = make(pyramid=pyramid)(pictures)
    kept = make(pyramid=pyramid, drop_ratio=0.0, reduce_after=(1, 2))(pictures)
    for name, level in dense.items():
        torch.testing.assert_close(kept[name], level, rtol=0, atol=0)


def test_after_late_reductions_every_position_has_the_last_features_that_it_had(pictures):
    reduction = Reduction(keep=0.5, after=(1, 2), fold="append")
    backbone = make(drop_ratio=0.5, reduce_after=(1, 2))
    encoder, patches = backbone.encoder, patchify(pictures, (8, 8))
    encoded = encoder(
        patches, all_ids(2, 96, patches.device), (8, 12), prefix=False, reduction=reduction, record=range(4)
    )
    assert [ids.shape[1] for _, ids in encoded.recorded.values()] == [96, 96, 48, 24]
    maps = backbone.token_maps(pictures)
    for level in range(4):
        for image in range(2):
            found = {}
            for block in range(level + 1):
                tokens, ids = encoded.recorded[block]
                found |= dict(zip(ids[image].tolist(), tokens[image], strict=True))
            expected = torch.stack([found[place] for place in range(96)]).T.view(32, 8, 12)
            torch.testing.assert_close(maps[level][image], expected, rtol=0, atol=0)


def test_a_stage_between_recorded_blocks_fills_positions_too(pictures):
    """Of six blocks 0, 2, 3 and 5 are taken; tokens that leave after block 4 leave with the features of block 4."""
    backbone = make(options={"depth": 6}, drop_ratio=0.75, reduce_after=(4,))
    maps = backbone.token_maps(pictures)
    stays = (maps[5] != maps[4]).any(dim=1).flatten(1)
    assert stays.sum(dim=1).tolist() == [24, 24] and list(maps) == [0, 2, 3, 4, 5]


def test_a_gradient_comes_back_through_filled_maps():
    early, late = torch.randn(1, 4, 2, requires_grad=True), torch.randn(1, 2, 2, requires_grad=True)
    ids = torch.tensor([[0, 3]])
    maps = filled_maps({1: (early, torch.arange(4).view(1, 4)), 2: (late, ids)}, (2, 2))
    maps[2].sum().backward()
    assert early.grad[0, :, 0].tolist() == [0, 1, 1, 0] and late.grad[0, :, 0].tolist() == [1, 1]
