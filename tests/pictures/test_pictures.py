"""Blanked patches are exactly the dropped ids, in the right place, from a real network down to the written files."""

import base64
import io
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from pcae.evaluation.kept import Kept, Way, decide, way_of_classifier, way_of_teacher
from pcae.model.blocks import Stage
from pcae.model.encoder import build_encoder
from pcae.model.pretrained import Pretrained, PretrainedFacts, build_model
from pcae.pictures.heat import BLANK, LEVELS, Scale, heat, palette, scale_of
from pcae.pictures.stages import (
    Panel,
    Row,
    blank_out,
    draw_rows,
    draw_stages,
    heat_panels,
    laid_out,
    save_stages,
    stage_panels,
    to_rgb,
)
from pcae.settings.methods import TeacherConfig
from pcae.settings.network import EncoderConfig

SIZES = {(14, 14): (112, 112), (8, 12): (64, 96), (7, 7): (56, 56)}
"""Height and width of the images in pixels, by grid: patches of 8 x 8."""
NETWORK = EncoderConfig(model="vit_tiny_patch16_224", patch_size=8, channels=3, width=24, depth=6, heads=2)


def network(grid: tuple[int, int], classes: list[str] | None = None) -> Pretrained:
    torch.manual_seed(0)
    config = replace(NETWORK, image_size=SIZES[grid])
    facts = PretrainedFacts(
        encoder=config, mean=[0.5] * 3, std=[0.25] * 3, classes=classes, global_pool="avg" if classes else ""
    )
    return build_model(facts).eval() if classes else Pretrained(build_encoder(config), facts).eval()


def noise(grid: tuple[int, int], count: int = 3) -> torch.Tensor:
    """Images in which no pixel has the colour of a blank patch."""
    return torch.randint(0, 200, (count, 3, *SIZES[grid]), dtype=torch.uint8)


def ways(grid: tuple[int, int]) -> list[tuple[Way, Pretrained]]:
    plain, classifier = network(grid), network(grid, ["a", "b"])
    return [
        (way_of_teacher(plain, TeacherConfig(), 0.75), plain),
        (way_of_teacher(plain, TeacherConfig(stages=2), None), plain),
        (way_of_classifier(classifier, 0.3), classifier),
    ]


def check_patches(picture: np.ndarray, image: torch.Tensor, ids: set[int], grid: tuple[int, int]) -> None:
    """Pixel by pixel: patches at `ids` are the image's, all others blank."""
    assert picture.shape == (*image.shape[1:], 3)
    for position in range(grid[0] * grid[1]):
        top, left = (8 * place for place in divmod(position, grid[1]))
        own = image[:, top : top + 8, left : left + 8].permute(1, 2, 0).numpy()
        expected = own if position in ids else np.broadcast_to(np.array(BLANK, dtype=np.uint8), (8, 8, 3))
        assert np.array_equal(picture[top : top + 8, left : left + 8], expected), position


@pytest.mark.parametrize("grid", SIZES)
def test_blank_patches_of_a_real_network_are_exactly_the_dropped_ids(grid):
    images = noise(grid, 2)
    for way, model in ways(grid):
        kept = decide(way, images, way.ratio, seed=3)
        columns, panels = way.columns(kept), stage_panels(images, way.columns(kept), grid)
        assert [stage.block for stage in kept.stages] == list(way.after) and model.encoder.grid == grid
        left = [ids for _, ids in columns]
        assert all(set(after[0].tolist()) < set(before[0].tolist()) for before, after in pairwise(left))
        for image in range(2):
            check_patches(panels[image][0].pixels.numpy(), images[image], set(range(grid[0] * grid[1])), grid)
            for panel, (_, ids) in zip(panels[image][1:], columns, strict=True):
                check_patches(panel.pixels.numpy(), images[image], set(ids[image].tolist()), grid)


@pytest.mark.parametrize("grid", SIZES)
def test_what_is_kept_is_what_the_network_decides_by_itself(grid):
    """The stages are those of the encoder called by hand, and the scores rank what is kept below what is dropped."""
    images = noise(grid)
    for way, model in ways(grid)[1:]:
        kept = decide(way, images, way.ratio, seed=0)
        pixels = model.normalise(images)
        with torch.no_grad():
            if way.name == "classifier":
                stages = model.classifier(way.ratio).reduced.encode(pixels).stages
            else:
                cut = pixels.unfold(2, 8, 8).unfold(3, 8, 8).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)
                reduction = way_reduction(model, way)
                ids = torch.arange(grid[0] * grid[1]).expand(3, -1)
                stages = model.encoder(cut, ids, grid, prefix=False, reduction=reduction).stages
        for ours, theirs in zip(kept.stages, stages, strict=True):
            assert torch.equal(ours.kept_ids, theirs.kept_ids)
            stays = (ours.ids[:, :, None] == ours.kept_ids[:, None]).any(dim=2)
            for image in range(3):
                assert ours.scores[image][stays[image]].max() <= ours.scores[image][~stays[image]].min()


def way_reduction(model: Pretrained, way: Way):
    from pcae.model.reduction import Reduction

    return Reduction(keep=1 - way.ratio, after=way.after)


def test_batches_decide_as_one_image_after_the_other_would(monkeypatch):
    images, grid = noise((7, 7), 5), (7, 7)
    way = ways(grid)[0][0]
    whole = decide(way, images, 0.5, seed=1)
    monkeypatch.setattr("pcae.evaluation.kept.BATCH", 2)
    parts = decide(way, images, 0.5, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(whole.left_ids(), parts.left_ids(), strict=True))
    assert not torch.equal(whole.shown_ids, decide(way, images, 0.5, seed=2).shown_ids)


def test_ratios_reach_as_far_as_tokens_are_left_and_nothing_is_dropped_at_zero():
    way = ways((7, 7))[0][0]  # 37 hidden patches at three stages
    assert way.ratios() == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    assert replace(way, ratio=0.46).ratios() == [0, 0.1, 0.2, 0.3, 0.4, 0.46, 0.5, 0.6]
    kept = decide(way, noise((7, 7)), 0.0, seed=0)
    assert all(torch.equal(ids, kept.shown_ids) for ids in kept.left_ids()) and len(kept.stages) == 3
    for ratio in way.ratios()[1:]:
        counts = [ids.shape[1] for ids in decide(way, noise((7, 7)), ratio, seed=0).left_ids()]
        assert counts[0] == 37 and all(after == int(before * (1 - ratio) + 1e-9) for before, after in pairwise(counts))


def test_fates_say_how_far_every_position_came():
    kept = Kept(
        torch.tensor([[0, 2, 3, 5]]),
        (
            Stage(0, torch.tensor([[0, 2, 3, 5]]), torch.rand(1, 4), torch.tensor([[2, 5]])),
            Stage(1, torch.tensor([[2, 5]]), torch.rand(1, 2), torch.tensor([[5]])),
        ),
    )
    assert kept.fates(6).tolist() == [[1, 0, 2, 1, 0, 3]]


@pytest.mark.parametrize(("channels", "first"), [(1, (0, 0, 0)), (2, (0, 0, 0)), (3, (0, 1, 2)), (5, (0, 1, 2))])
def test_the_first_three_channels_are_colours_and_fewer_are_gray(channels, first):
    images = torch.randint(0, 255, (2, channels, 8, 12), dtype=torch.uint8)
    assert torch.equal(to_rgb(images), images[:, list(first)].permute(0, 2, 3, 1))
    assert blank_out(images, torch.tensor([[0], [1]]), (2, 3)).shape == (2, 8, 12, 3)


def test_scores_have_their_colour_and_earlier_dropped_tokens_are_blank():
    stage = Stage(4, torch.tensor([[1, 2, 5]]), torch.tensor([[-9.0, 0.5, 9.0]]), torch.tensor([[1]]))
    colours = heat(stage, Scale("x", 0.0, 1.0), (2, 3))[0]
    expected = [list(BLANK), palette()[0].tolist(), palette()[LEVELS // 2].tolist()]
    expected += [list(BLANK), list(BLANK), palette()[-1].tolist()]
    assert colours.reshape(6, 3).tolist() == expected
    assert list(BLANK) not in palette().tolist()


def test_a_scale_leaves_out_few_odd_scores():
    scores = torch.linspace(0, 1, 1001)[None]
    ids = torch.arange(1001)[None]
    kept = Kept(ids, (Stage(0, ids, torch.cat([scores[:, :-1], torch.tensor([[50.0]])], dim=1), ids),))
    assert scale_of("x", [kept])[1:] == pytest.approx((0.05, 0.95), abs=1e-6)


def panels_in(svg: str) -> list[np.ndarray]:
    """The pictures inside an SVG, in order, as they are stored."""
    found = re.findall(r'xlink:href="data:image/png;base64,\s*([^"]+)"', svg)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(one))).convert("RGB")) for one in found]


@pytest.mark.parametrize("grid", SIZES)
def test_files_hold_the_patches_pixel_by_pixel(grid, tmp_path):
    """An SVG has each panel in the image's own pixels, a PNG in a whole multiple of them."""
    images = noise(grid, 2)
    way = ways(grid)[0][0]
    columns = way.columns(decide(way, images, way.ratio, seed=0))
    draw_stages(tmp_path / "a.svg", images, columns, grid)
    text = (tmp_path / "a.svg").read_text()
    assert ">after block 2<" in text
    figure = laid_out([Row(panels) for panels in stage_panels(images, columns, grid)], SIZES[grid], 1 + len(columns))
    save_stages(figure, tmp_path / "a.png")
    stored, drawn = panels_in(text), panels_on(figure, tmp_path / "a.png", SIZES[grid])
    for image in range(2):
        for place, (_, ids) in enumerate(columns, image * (1 + len(columns)) + 1):
            check_patches(stored[place], images[image], set(ids[image].tolist()), grid)
            frame = slice(1, -1)  # the frame lies over the outermost pixels
            assert np.array_equal(drawn[place][frame, frame], stored[place][frame, frame])


def panels_on(figure: Figure, path: Path, size: tuple[int, int]) -> list[np.ndarray]:
    """The panels of a PNG in the image's own pixels; each of them must be a square of one colour."""
    with Image.open(path) as file:
        picture, found = np.asarray(file.convert("RGB")), []
    for axes in figure.axes:
        box, (height, width) = axes.get_position(), picture.shape[:2]
        left, right = (round(share * width) for share in (box.x0, box.x1))
        top, bottom = (round((1 - share) * height) for share in (box.y1, box.y0))
        squares = picture[top:bottom, left:right].reshape(size[0], (bottom - top) // size[0], size[1], -1, 3)
        found.append(squares[:, 0, :, 0])
        assert (squares == squares[:, :1, :, :1])[1:-1, :, 1:-1].all()
    return found


@pytest.mark.parametrize("size", [(224, 224), (64, 96), (32, 256), (160, 48), (28, 28), (1024, 768)])
@pytest.mark.parametrize("label", ["similarity to the mean token", "attention from CLS, negative"])
def test_no_text_is_cut_off_or_runs_into_another(size, label):
    blank = torch.zeros(2, 2, 3, dtype=torch.uint8)
    titles = ["image", "hidden\n147 patches", "after block 10\n1024 patches", "PCA of features\n100 % explained"]
    panels = [Panel(title, blank) for title in titles]
    rows = [Row(panels, "classifier"), Row([None, *panels[1:]], "scores", Scale(label, -0.0253, -0.0111))]
    figure = laid_out(rows, size, len(panels))
    figure.draw_without_rendering()
    bars = [axes for axes in figure.axes if not axes.images]
    beyond = [tick.label2 for axes in bars for tick in axes.yaxis.get_major_ticks() if not within(axes, tick)]
    everything = [text for text in figure.findobj(Text) if text.get_text() and text not in beyond]
    boxes = [text.get_window_extent() for text in everything]
    width, height = figure.get_size_inches() * figure.dpi
    assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height for box in boxes)
    assert min(text.get_fontsize() for text in everything) >= 9
    for place, box in enumerate(boxes):
        assert not any(overlap(box, other) for other in boxes[:place])


def within(axes, tick) -> bool:
    """Whether a tick is drawn: it lies on the scale."""
    return axes.get_ylim()[0] <= tick.get_loc() <= axes.get_ylim()[1]


def overlap(one, other) -> bool:
    return min(one.x1, other.x1) - max(one.x0, other.x0) > 1 and min(one.y1, other.y1) - max(one.y0, other.y0) > 1


def test_scores_stand_under_what_they_decide(tmp_path):
    images, grid = noise((7, 7)), (7, 7)
    for way, before in ((ways(grid)[0][0], 2), (ways(grid)[1][0], 1)):
        kept = decide(way, images, way.ratio, seed=0)
        panels = heat_panels(way, kept, scale_of(way.score, [kept]), grid, 1)
        assert len(panels) == len(way.columns(kept)) + 1 and panels[:before] == [None] * before
        assert all(panel is not None and panel.pixels.shape == (7, 7, 3) for panel in panels[before:])


def test_many_images_stand_in_two_groups(tmp_path):
    images, ids = noise((7, 7), 13), torch.arange(5).expand(13, -1)
    draw_stages(tmp_path / "few.png", images[:12], [("kept", ids[:12])], (7, 7))
    draw_stages(tmp_path / "many.png", images, [("kept", ids)], (7, 7))
    with Image.open(tmp_path / "few.png") as one, Image.open(tmp_path / "many.png") as other:
        few, many = one.size, other.size
    assert many[0] > 2 * few[0] and many[1] < 0.65 * few[1]


def test_nothing_half_written_is_left(tmp_path):
    with pytest.raises(ValueError, match=r"gone/a\.png cannot be written"):
        draw_rows([tmp_path / "gone" / "a.png"], [Row([Panel("x", torch.zeros(4, 4, 3, dtype=torch.uint8))])], (4, 4))
    assert not list(tmp_path.iterdir())
