"""Weights for other channels: the right kernels in the right places, the new ones at the mean, all of it said."""

from dataclasses import replace

import pytest
import torch

from pcae.weights.bands import for_bands, for_channels, with_bands
from pcae.weights.files import fill, find, save_model
from tests.weights.exported import decoder_of, model_of


@pytest.fixture
def rgb(tmp_path):
    """Weights for 3 channels, with mean and std of their own in each."""
    model = model_of()
    facts = replace(model.facts, mean=[0.1, 0.2, 0.6], std=[0.2, 0.3, 0.7])
    save_model(tmp_path / "a.safetensors", model.encoder.vit, facts)
    return find(tmp_path / "a.safetensors")


def test_bands_take_their_kernels_and_new_ones_the_mean(rgb):
    found = with_bands(rgb, [2, None, 0, 1, None])
    before, after = (loaded.tensors["patch_embed.proj.weight"] for loaded in (rgb, found))
    expected = [before[:, 2], before.mean(1), before[:, 0], before[:, 1], before.mean(1)]
    assert all(torch.equal(after[:, place], kernel) for place, kernel in enumerate(expected))
    assert found.facts.mean == pytest.approx([0.6, 0.3, 0.1, 0.2, 0.3])
    assert found.facts.std == pytest.approx([0.7, 0.4, 0.2, 0.3, 0.4])
    assert found.remarks == (
        "channels: 1 takes kernel 3, 2 is new, 3 takes kernel 1, 4 takes kernel 2, 5 is new; new ones begin at the "
        "mean of the 3",
    )
    model, match = fill(found)
    assert model.facts.encoder.channels == 5 and not match.missing and match.share == 1


def test_a_fourth_channel_is_new_and_fewer_are_refused_with_the_remedy(rgb):
    assert for_channels(rgb, None) is rgb and for_channels(rgb, 3) is rgb
    assert (
        for_channels(rgb, 4)
        .remarks[0]
        .startswith("channels: 1 takes kernel 1, 2 takes kernel 2, 3 takes kernel 3, 4 is")
    )
    with pytest.raises(ValueError, match=r"channels 1 is asked for, but .* takes 3; leave --channels out"):
        for_channels(rgb, 1)
    with pytest.raises(ValueError, match="kernels for channels 1 to 3, not 4"):
        with_bands(rgb, [0, 3])


def test_a_decoder_of_pixels_of_the_old_channels_is_left_out(rgb):
    model = model_of()
    pixels, features = (decoder_of(model, predicts) for predicts in ("pixels", "features"))
    found = with_bands(replace(rgb, decoder=pixels), [0, 1, 2, None])
    assert found.decoder is None and "decoder left out" in found.remarks[-1]
    assert with_bands(replace(rgb, decoder=features), [0, 1, 2, None]).decoder is features


def test_bands_of_a_file_take_kernels_in_order_and_by_number_where_the_weights_know_theirs(rgb):
    first = for_bands(rgb, None, (4, 3, 2, 9))
    before, after = (loaded.tensors["patch_embed.proj.weight"] for loaded in (rgb, first))
    assert torch.equal(after[:, :3], before) and torch.equal(after[:, 3], before.mean(1))
    assert first.facts.bands == (4, 3, 2, 9) and first.facts.encoder.channels == 4
    assert first.remarks == (
        "bands: 4 takes kernel 1, 3 takes kernel 2, 2 takes kernel 3, 9 is new; new ones begin at the mean of the 3",
    )
    second = for_bands(first, None, (2, 4, 7)).tensors["patch_embed.proj.weight"]
    assert torch.equal(second[:, 0], after[:, 2]) and torch.equal(second[:, 1], after[:, 0])
    assert torch.equal(second[:, 2], after.mean(1))


def test_one_band_is_gray_to_weights_of_three_and_two_are_too_few(rgb):
    gray = for_bands(rgb, None, (5,))
    assert gray.tensors is rgb.tensors and gray.facts.bands == (5,) and gray.facts.encoder.channels == 3
    assert gray.remarks == ("bands: 5, read as gray in three channels",)
    with pytest.raises(
        ValueError, match="2 bands are asked for, but .* takes 3; name as many or more, one of them twice"
    ):
        for_bands(rgb, None, (1, 2))
    assert for_bands(rgb, None, (1, 2, 1)).facts.bands == (1, 2, 1)
    with pytest.raises(ValueError, match="channels 4 and 3 bands are asked for; leave --channels out"):
        for_bands(rgb, 4, (3, 2, 1))


def test_weights_keep_their_bands(rgb, tmp_path):
    model, _ = fill(for_bands(rgb, None, (4, 3, 2)))
    save_model(tmp_path / "b.safetensors", model.encoder.vit, model.facts)
    assert find(tmp_path / "b.safetensors").facts.bands == (4, 3, 2)
