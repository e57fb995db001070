import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from pcae.model import tokens as t


def test_patchify_is_what_a_convolution_sees():
    images, weight = torch.randn(2, 5, 16, 24), torch.randn(7, 5, 8, 4)
    embedded = F.conv2d(images, weight, stride=(8, 4)).flatten(2).transpose(1, 2)
    torch.testing.assert_close(t.patchify(images, (8, 4)) @ weight.flatten(1).T, embedded, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(30, 32), (32, 30), (0, 16)])
def test_an_image_that_patches_do_not_divide_is_refused(size):
    with pytest.raises(ValueError, match="multiple of the patch"):
        t.grid_of(size, (16, 16))


@pytest.mark.parametrize(("ratio", "visible"), [(0.75, 49), (0.85, 29), (0.9, 19)])
def test_visible_tokens_are_counted_as_mae_counts_them(ratio, visible):
    assert t.count_visible(196, ratio) == visible == int(196 * (1 - ratio))


@pytest.mark.parametrize("ratio", [0.0, 1.0, -1.0, 1.5, 0.999, math.nan])
def test_mask_ratios_that_leave_nothing_are_refused(ratio):
    with pytest.raises(ValueError, match="mask_ratio"):
        t.count_visible(49, ratio)


@given(st.integers(2, 60), st.data())
def test_split_parts_the_positions_in_two_by_noise(n, data):
    n_visible = data.draw(st.integers(1, n - 1))
    noise = torch.rand(3, n, generator=torch.Generator().manual_seed(data.draw(st.integers(0, 999))))
    visible, hidden = t.split(noise, n_visible)
    for row, seen, unseen in zip(noise, visible.tolist(), hidden.tolist(), strict=True):
        assert sorted(seen + unseen) == list(range(n))
        assert seen == sorted(seen) and unseen == sorted(unseen)
        assert row[seen].max() <= row[unseen].min()


@given(st.integers(1, 6), st.integers(1, 6), st.data())
def test_put_back_undoes_gather(rows, columns, data):
    n = rows * columns
    ids = torch.tensor([sorted(data.draw(st.sets(st.integers(0, n - 1), min_size=1)))])
    dense = torch.randn(1, n, 3)
    back = t.put_back(t.gather(dense, ids), ids, (rows, columns), fill=7.0)
    there = t.present(ids, (rows, columns))
    assert set(there.flatten().nonzero().flatten().tolist()) == set(ids[0].tolist())
    expected = dense.transpose(1, 2).reshape(1, 3, rows, columns)
    torch.testing.assert_close(back, torch.where(there[:, None], expected, 7.0))


@given(st.data())
def test_locate_finds_ids_among_ids(data):
    ids = sorted(data.draw(st.sets(st.integers(0, 200), min_size=1)))
    wanted = sorted(data.draw(st.sets(st.sampled_from(ids), min_size=1)))
    places = t.locate(torch.tensor([ids]), torch.tensor([wanted]))
    assert [ids[place] for place in places[0].tolist()] == wanted


def test_positions_are_maes_formula_written_out():
    rows, columns, dim = 3, 5, 8
    positions = t.sincos_positions((rows, columns), dim)
    for row in range(rows):
        for column in range(columns):
            waves = []
            for place in (column, row):
                angles = [place / 10000 ** (i / (dim / 4)) for i in range(dim // 4)]
                waves += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
            np.testing.assert_allclose(positions[row * columns + column], waves, atol=1e-6)


def test_positions_need_a_width_of_fours():
    with pytest.raises(ValueError, match="multiple of 4"):
        t.sincos_positions((2, 2), 6)
