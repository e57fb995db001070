"""Pictures with a bright bar on top, at the left, both or neither, and a table that says so."""

from pathlib import Path

import torch
from PIL import Image


def make_bars(folder: Path, count: int) -> str:
    """The table: path, patient (three pictures each) and labels, which may be none."""
    (folder / "img").mkdir(parents=True)
    generator, rows = torch.Generator().manual_seed(0), ["path,patient,labels"]
    for place in range(count):
        pixels = torch.randint(0, 90, (28, 28), generator=generator, dtype=torch.uint8)
        top, left = (torch.rand(2, generator=generator) < torch.tensor([0.5, 0.3])).tolist()
        pixels[: 6 * top] = 220
        pixels[:, : 6 * left] = 220
        Image.fromarray(pixels.numpy()).save(folder / "img" / f"{place:03d}.png")
        labels = "|".join(name for name, there in (("top", top), ("left", left)) if there)
        rows.append(f"img/{place:03d}.png,p{place // 3},{labels}")
    (folder / "labels.csv").write_text("\n".join(rows))
    return str(folder / "labels.csv")
