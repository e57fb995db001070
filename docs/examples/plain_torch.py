"""PCAE in a loop of one's own, in plain torch: python docs/examples/plain_torch.py PHOTOS encoder.safetensors 100

PHOTOS: a folder of folders of images; 100: epochs. Any loader of normalised floats of the encoder's size will do.
"""

import sys

import torch
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

import pcae

photos, out, epochs = sys.argv[1], sys.argv[2], int(sys.argv[3])
mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
crop = [v2.RandomResizedCrop(64, scale=(0.2, 1.0)), v2.RandomHorizontalFlip()]
pixels = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)]
loader = DataLoader(ImageFolder(photos, v2.Compose(crop + pixels)), batch_size=64, shuffle=True)

encoder = pcae.build_encoder(pcae.EncoderConfig(model="vit_tiny_patch16_224", image_size=64, patch_size=8))
method = pcae.PCAE(encoder).to(device)
optimizer = torch.optim.AdamW(method.parameters(), lr=1.5e-4, betas=(0.9, 0.95), weight_decay=0.05)
step, steps = 0, epochs * len(loader)
for epoch in range(epochs):
    for images, _ in loader:
        result = method(
            images.to(device)
        )  # or method(images, pcae.StepRandom(seed, step)), to have the same masks again
        optimizer.zero_grad()
        result.loss.backward()
        optimizer.step()
        method.update_teacher(step, steps)
        step += 1
    print(f"epoch {epoch}: loss {result.loss.item():.4f}")

pcae.save(method.student, out, mean=mean, std=std)  # for pcae.load, every verb's --weights, and plain timm
