import math

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from pcae.evaluation.claims import (
    KEEPS,
    counts_of,
    diversity_verdicts,
    examine,
    high_energy,
    mean_shift,
    parts,
    spectrum,
    spread,
    verdicts,
)
from pcae.evaluation.diversity import traces
from pcae.model.reduction import Reduction
from pcae.model.tokens import patchify
from pcae.pictures import diversity as diversity_plots
from pcae.pictures.diversity import Line, draw_claims, draw_diversity

REDUCTION = Reduction.for_pretraining(6)


@pytest.fixture
def measured(encoder, images) -> dict[str, torch.Tensor]:
    """What is measured of four images by one network."""
    noise = torch.rand(4, 24, generator=torch.Generator().manual_seed(2))
    patches = patchify(images, (8, 8))
    with torch.inference_mode():
        found = traces(encoder, patches, ["ptr"], REDUCTION, noise)["ptr"]
        return {"ids": found.encoded.ids} | examine(encoder, patches, patches.sigmoid(), found, REDUCTION, noise)


def test_shift_of_the_mean_is_its_definition_and_that_of_the_other_half():
    """At exactly one half ||a - a_r|| = ||a - a_d||: the paper's proportion (section 3.2)."""
    tokens = torch.randn(3, 10, 6, generator=torch.Generator().manual_seed(0)).double()
    for count in (5, 8):
        kept = torch.arange(count).expand(3, -1)
        mean, after, dropped = tokens.mean(1), tokens[:, :count].mean(1), tokens[:, count:].mean(1)
        found = mean_shift(tokens, kept)
        assert torch.allclose(found.distance, (mean - after).norm(dim=-1) / mean.norm(dim=-1))
        assert torch.allclose(found.cosine, (mean * after).sum(-1) / mean.norm(dim=-1) / after.norm(dim=-1))
        rest = (mean - dropped).norm(dim=-1) / mean.norm(dim=-1)
        assert torch.allclose(found.distance, (10 - count) / count * rest)


def test_shifts_are_those_of_ptr_a_draw_and_the_reverse(measured):
    """Half kept at a stage: PTR and its reverse keep halves that complete each other."""
    half = 1 + KEEPS.index(0.5)
    for stage in (0, 1):
        shift = {name: measured[f"shift of the mean, {name}"][:, stage, half] for name in ("ptr", "reversed")}
        assert torch.allclose(shift["ptr"], shift["reversed"], atol=1e-5)
    quarter = 1 + KEEPS.index(0.25)
    assert not torch.allclose(
        measured["shift of the mean, ptr"][:, 0, quarter], measured["shift of the mean, reversed"][:, 0, quarter]
    )
    assert measured["shift of the mean, random"].shape == (4, 3, 5)


def test_counts_leave_at_least_one_token_and_drop_at_least_one():
    assert counts_of(196) == [195, 176, 147, 98, 49]
    assert counts_of(3) == [2, 2, 2, 1, 1] and counts_of(2) == [1, 1, 1, 1, 1]


@pytest.mark.parametrize(("rows", "columns", "ring"), [(0, 1, 1), (3, 0, 3), (3, 4, 5), (0, 8, 8), (8, 8, 11)])
def test_a_wave_has_all_its_energy_in_the_ring_of_its_frequency(rows, columns, ring):
    """Cycles a patch of 16 pixels; the variance is the same for every place of the wave, but for the highest."""
    down, across = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    wave = torch.cos(2 * math.pi * (rows * down + columns * across) / 16) + 7
    pixels = torch.cat([wave.flatten(), torch.zeros(512)])[None, None].double()  # the first of three channels
    found = spectrum(pixels, (16, 16))[0, 0]
    assert found[ring].item() == pytest.approx(wave.double().var(correction=0).item() / 3, rel=1e-5)
    assert found.sum().item() == pytest.approx(found[ring].item(), rel=1e-5)
    high = high_energy(found, (16, 16)).item()
    assert high == pytest.approx(found.sum().item() if ring > 4 else 0, abs=1e-9)


def test_all_rings_together_are_the_variance_of_the_pixels():
    pixels = torch.rand(2, 5, 3 * 8 * 4, generator=torch.Generator().manual_seed(0)).double()
    planes = pixels.reshape(2, 5, 3, -1)
    expected = planes.var(dim=-1, correction=0).mean(dim=-1)
    assert torch.allclose(spectrum(pixels, (8, 4)).sum(dim=-1), expected)
    assert spectrum(torch.full((1, 1, 3), 0.7), (1, 1)).tolist() == [[[0.0]]]


def test_kept_and_dropped_parts_are_all_of_it():
    values = torch.arange(10.0).reshape(1, 5, 2)
    kept, dropped = parts(values, torch.tensor([[1, 4]]))
    assert kept.tolist() == [[[2, 3], [8, 9]]] and dropped.tolist() == [[[0, 1], [4, 5], [6, 7]]]


def test_energies_of_kept_and_dropped_weigh_up_to_those_of_all(measured):
    for what in ("spectrum", "energy", "high energy"):
        kept, dropped, everything = (measured[f"{what}, {name}"][:, 0] for name in ("kept", "dropped", "all"))
        assert torch.allclose((kept + dropped) / 2, everything, atol=1e-6)
    assert torch.allclose(
        measured["high share, kept"], measured["high energy, kept"] / measured["energy, kept"], atol=1e-6
    )
    parted = [measured[f"outside the mean, {name}"][:, 0] for name in ("dropped", "all", "kept")]
    assert (parted[0] < parted[1]).all() and (parted[1] < parted[2]).all()


def test_distances_between_survivors_are_in_patches():
    found = spread(torch.tensor([[0, 3, 18], [0, 1, 2]]), (4, 6))  # (0, 0), (0, 3), (3, 0) and three in a row
    assert found[0].tolist() == pytest.approx([(3 + 3 + math.sqrt(18)) / 3, 3])
    assert found[1].tolist() == pytest.approx([4 / 3, 1])
    assert spread(torch.tensor([[5]]), (4, 6)).tolist() == [[0, 0]]


def test_survivors_of_stages_one_stage_and_a_draw_are_as_many(measured):
    assert torch.allclose(measured["distance of two, stages"], spread(measured["ids"], (4, 6))[:, 0])
    places = np.stack(np.divmod(np.arange(24), 6), axis=1)
    distances = np.linalg.norm(places[:, None] - places[None], axis=-1)
    assert measured["distance of two, grid"].tolist() == pytest.approx([distances.sum() / (24 * 23)] * 4, rel=1e-5)
    assert not torch.equal(measured["distance of two, stages"], measured["distance of two, one stage"])


def test_verdicts_name_what_is_larger(measured):
    values = {name: value[None] for name, value in measured.items() if name != "ids"}
    found = verdicts(values, REDUCTION.after)
    assert len(found) == 2 * 3 * 5 + 4 * 3 + 4
    first = found[0]
    assert (first.section, first.case) == ("3.2", "after block 0, all but one kept")
    assert first.larger == pytest.approx(values["shift of the mean, random"][0, :, 0, 0].double().mean().item())
    assert first.smaller == pytest.approx(values["shift of the mean, ptr"][0, :, 0, 0].double().mean().item())
    layers = {"none": torch.tensor([[[9.0, 0.1], [9.0, 0.2]]]), "ptr": torch.tensor([[[0.0, 0.3], [0.0, 0.5]]])}
    (only,) = diversity_verdicts(layers)
    assert only.claim == "diversity: ptr > none" and only.holds and only.larger == pytest.approx(0.4)
    (one_image,) = diversity_verdicts({name: values[:, :1] for name, values in layers.items()})
    assert one_image.holds is None


def test_patches_of_one_colour_are_drawn_without_a_warning(tmp_path, measured):
    values = {name: value[None] for name, value in measured.items()}
    flat = values | {name: torch.zeros_like(value) for name, value in values.items() if "spectrum" in name}
    draw_claims(tmp_path / "claims.png", {"a": (values, 24), "b": (flat | {"energy, all": torch.zeros(1, 4, 3)}, 24)})
    with Image.open(tmp_path / "claims.png") as picture:
        assert picture.height > 1000
    assert (tmp_path / "claims.svg").is_file()


@pytest.mark.filterwarnings("ignore:Glyph .* missing from")  # of the test's own look at the letters
@pytest.mark.parametrize("labels", [["vit"], ["a", "b", "timm:" + "a long name with $x_1$, ĉ 漢 " * 9]])
def test_no_label_of_the_picture_is_clipped(tmp_path, monkeypatch, labels):
    made = []
    monkeypatch.setattr(diversity_plots, "ENDINGS", (".svg", ".png"))  # the last one drawn is the one that is looked at
    monkeypatch.setattr("pcae.pictures.figures.Figure", lambda **options: made.append(Figure(**options)) or made[-1])
    values = torch.rand(2, 3, 13, generator=torch.Generator().manual_seed(0))
    lines = [Line(label, name, values) for label in labels for name in ("none", "sampled", "random", "ptr")]
    draw_diversity(tmp_path / "diversity.png", lines)
    (figure,) = made
    axes = figure.axes[0]
    texts = [axes.xaxis.label, axes.yaxis.label, axes._left_title, *figure.legends[0].get_texts()]
    assert len(texts) == 3 + len(lines)
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in texts]
    assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1 for box in boxes)
    assert axes.lines[0].get_ydata() == pytest.approx(values.double().mean(dim=(0, 1)).numpy())
    assert len({(line.get_color(), line.get_linestyle(), line.get_marker()) for line in axes.lines}) == len(lines)
