"""All methods by name, under the same conditions."""

import pytest
import torch

from pcae.methods.choice import build_method
from pcae.settings.methods import MethodConfig, TeacherConfig
from pcae.settings.network import DecoderConfig
from tests.gradients import assert_falls_as_its_gradient_says
from tests.methods.test_pcae import SMALL

pytestmark = pytest.mark.trains

METHODS = ("pcae", "mae", "simmim", "pcae-simmim", "mae-discard")


def build(encoder, method: str, **options):
    decoder = DecoderConfig() if "simmim" in method else SMALL
    return build_method(encoder, MethodConfig(method=method, **options), decoder)


@pytest.mark.parametrize("method", METHODS)
def test_at_the_same_ratio_and_seed_all_methods_hide_the_same_patches(encoder, images, random, method):
    built = build(encoder, method, mask_ratio=0.75).eval()
    inputs = []
    embed = built.student.embed
    built.student.embed = lambda patches: inputs.append(patches) or embed(patches)
    built(images, random)
    mae = build(encoder, "mae", mask_ratio=0.75).eval()
    mae.student.embed = lambda patches: inputs.append(patches) or embed(patches)
    mae(images, random)
    assert torch.equal(inputs[0], inputs[1])


@pytest.mark.parametrize("method", METHODS)
def test_the_usual_mask_ratio_is_the_methods_own(encoder, method):
    assert build(encoder, method).n_visible == (9 if "simmim" in method else 6)


@pytest.mark.parametrize("method", METHODS)
def test_its_loss_falls_as_its_gradient_says(encoder, images, random, method):
    built, pixels = build(encoder, method).double(), images.double()
    assert_falls_as_its_gradient_says(built, lambda: built(pixels, random).loss)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "mae", "teacher": TeacherConfig(momentum=0.9)}, "momentum 0.9 is no setting of method mae"),
        ({"method": "pcae", "norm_pix_loss": False}, "norm_pix_loss False is no setting of method pcae"),
        ({"method": "simmim", "norm_pix_loss": False}, "norm_pix_loss False is no setting of method simmim"),
        ({"method": "mae", "discard": "decode"}, "discard decode is no setting of method mae"),
        ({"method": "simmim", "teacher": TeacherConfig(stages=2)}, "stages 2 is no setting of method simmim"),
    ],
)
def test_a_setting_of_another_method_is_refused(encoder, options, message):
    with pytest.raises(ValueError, match=message):
        build_method(encoder, MethodConfig(**options), DecoderConfig())


def test_what_a_method_has_not_is_refused(encoder):
    with pytest.raises(ValueError, match="method mae has no teacher"):
        build_method(encoder, MethodConfig(method="mae"), DecoderConfig(), encoder)
    with pytest.raises(ValueError, match="method simmim has no decoder but a linear head"):
        build_method(encoder, MethodConfig(method="simmim"), SMALL)
