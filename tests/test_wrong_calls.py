"""Calls of the package that cannot be: each a ValueError with the value and the remedy.

They run in a process of their own, where calls are as a user makes them: here types are checked before the package sees
them.
"""

import json
import subprocess
import sys

import pytest

CALLS = {
    "floats for pixels": (
        "model(pixels.float() / 255)",
        "wanted, uint8 from 0 to 255, got torch.float32; give (images",
    ),
    "floats for a classifier": ("classifier(pixels.float() / 255)", "uint8 from 0 to 255, got torch.float32"),
    "another size": ("model(pixels[:, :, :16])", "takes images of 32 x 32 pixels, got 16 x 32; resize them"),
    "another size for a classifier": ("classifier(pixels[:, :, :16])", "takes images of 32 x 32 pixels, got 16 x 32"),
    "other channels": ("model(pixels[:, :1])", "takes images of 3 channels, got 1; convert them"),
    "one image": ("model(pixels[0])", "got (3, 32, 32); for a single image, give images[None]"),
    "pixels for a method": ("method(pixels)", "normalised images in floats are wanted, got torch.uint8: divide by 255"),
    "another size for a method": ("method(images[:, :, :16])", "takes images of 32 x 32 pixels, got 16 x 32"),
    "other channels for a method": ("method(images[:, :1])", "EncoderConfig(channels=1), timm's in_chans=1"),
    "a seed for random numbers": ("method(images, 3)", "a StepRandom(seed, step) or left out, got 3; a seed alone"),
    "pixels for an encoder": ("encoder(pixels)", "normalised images in floats are wanted, got torch.uint8"),
    "another size for an encoder": ("encoder(images[:, :, :16])", "takes images of 32 x 32 pixels, got 16 x 32"),
    "another family": (
        "pcae.PCAE(timm.create_model('resnet18'))",
        "are supported, got ResNet",
    ),
    "timm's patches for a NaFlexVit": (
        "naflex({'patches': torch.zeros(1, 9, 192), 'patch_coord': None})",
        "width, got a dict of patches, patch_coord; give the images, those of other sizes in a batch of their own, or",
    ),
    "patches without a dict": ("naflex(torch.zeros(1, 9, 192))", "width, got shape (1, 9, 192); give the images"),
    "blocks of patches": (
        "naflex.forward_intermediates({'patches': torch.zeros(1, 9, 192)})",
        "got a dict of patches;",
    ),
    "a range of drop ratios": (
        "pcae.reduce(vit, drop_ratio=(0, 0.4))",
        "one number in [0, 1), such as 0.3, got (0, 0.4); a range",
    ),
    "a word for a drop ratio": ("pcae.reduce(vit, drop_ratio='0.3')", "one number in [0, 1), such as 0.3, got '0.3'"),
    "percents": ("pcae.reduce(vit, drop_ratio=30)", "drop_ratio must lie in [0, 1), got 30"),
    "a range for a classifier": ("model.classifier((0, 0.4))", "one number in [0, 1), such as 0.3, got (0, 0.4)"),
    "one side of an image": (
        "pcae.build_encoder(pcae.EncoderConfig(image_size=(32,)))",
        "or height and width, in pixels; got (32,)",
    ),
    "an unknown model": ("pcae.build_encoder('vit_tiny_patch16_225')", "did you mean vit_tiny_patch16_224"),
    "weights that are a number": ("pcae.load(3)", "weights are a path, timm:NAME or a model, got <int>: 3"),
    "weights that are a method": ("pcae.load(method)", "<PCAE> is a method of pre-training; give its .student"),
    "features of another family": (
        "pcae.embed(timm.create_model('resnet18'), pcae.open_images('sample'))",
        "got ResNet",
    ),
    "saved without statistics": (
        "pcae.save(encoder, 'e.safetensors')",
        "mean and std are missing, by which the images",
    ),
    "saved for other channels": ("pcae.save(encoder, 'e.safetensors', mean=[0.5], std=0.2)", "must have 3 values"),
    "saved by another name": (
        "pcae.save(encoder, 'e.pth', mean=0.5, std=0.2)",
        "must end in .safetensors, got 'e.pth'; use 'e.safetensors'",
    ),
}
SCRIPT = """
import json, sys, timm, torch, pcae
sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 2}
vit = timm.create_model("vit_tiny_patch16_224", num_classes=5, **sizes)
own = {name: size for name, size in sizes.items() if name != "img_size"}
naflex = pcae.reduce(timm.create_model("naflexvit_base_patch16_gap", **own), 0.3)
encoder = pcae.build_encoder(pcae.EncoderConfig(image_size=32, patch_size=8, width=24, depth=3, heads=2))
model = pcae.load(vit)
classifier, method = model.classifier(0.0), pcae.PCAE(encoder)
pixels, images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8), torch.randn(2, 3, 32, 32)
said = {}
for name, call in json.load(sys.stdin).items():
    try:
        eval(call)
        said[name] = "no error"
    except Exception as error:
        said[name] = f"{type(error).__name__}: {error}"
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    calls = json.dumps({name: call for name, (call, _) in CALLS.items()})
    place = tmp_path_factory.mktemp("calls")
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT], input=calls, capture_output=True, text=True, cwd=place, check=False
    )
    assert run.returncode == 0, run.stderr
    assert not [*place.iterdir()]
    return json.loads(run.stdout)


@pytest.mark.parametrize("name", CALLS)
def test_it_is_refused_with_the_remedy(name, said):
    assert said[name].startswith("ValueError: ") and "\n" not in said[name]
    assert CALLS[name][1] in said[name]
