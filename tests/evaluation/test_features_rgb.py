import numpy as np
import torch

from pcae.evaluation.features_rgb import features_rgb


def test_colours_are_the_first_three_components_of_all_images_together():
    tokens = torch.randn(3, 40, 8, generator=torch.Generator().manual_seed(0)) * torch.arange(8, 0, -1)
    colours, explained = features_rgb(tokens)
    flat = tokens.flatten(0, 1).double().numpy()
    _, values, right = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(explained, (values**2 / (values**2).sum())[:3], rtol=1e-6)
    along = (flat - flat.mean(axis=0)) @ right[:3].T
    for colour in range(3):
        order = colours.flatten(0, 1)[:, colour].double().numpy()
        assert abs(np.corrcoef(order, along[:, colour])[0, 1]) > 0.98
    assert colours.min() == 0 and colours.max() == 255


def test_one_odd_token_does_not_take_the_contrast_from_the_others():
    tokens = torch.randn(2, 100, 6, generator=torch.Generator().manual_seed(0))
    tokens[0, 0] *= 1000
    colours, _ = features_rgb(tokens)
    assert (colours.flatten(0, 1)[1:].float().std(dim=0) > 30).all()


def test_features_without_any_difference_have_colours_too():
    colours, explained = features_rgb(torch.ones(1, 4, 8))
    assert colours.shape == (1, 4, 3) and explained == [0, 0, 0]
