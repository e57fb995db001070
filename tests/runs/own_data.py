"""A run on a Dataset and a transform of one's own, in float64: python -m tests.runs.own_data FOLDER OUT STEPS"""

import sys

import torch
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

import pcae

TINY = {
    "model": "vit_tiny_patch16_224", "width": 24, "depth": 4, "heads": 2, "decoder_width": 16, "decoder_heads": 2,
    "image_size": (16, 16), "patch_size": 4, "batch_size": 4, "device": "cpu", "health_every": 0,
    "checkpoint_every": 2, "keep_checkpoints": 99,
}  # fmt: skip
OWN = v2.Compose([v2.RandomResizedCrop((16, 16)), v2.RandomVerticalFlip(), v2.ColorJitter(0.4)])

if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    pcae.pretrain(ImageFolder(sys.argv[1]), sys.argv[2], transform=OWN, steps=int(sys.argv[3]), **TINY)
