"""PCAE as a LightningModule: python docs/examples/lightning_module.py PHOTOS encoder.safetensors 100"""

import sys
from typing import Any

import pytorch_lightning as lightning
import torch
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

import pcae

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


class Pretraining(lightning.LightningModule):
    """A method of pre-training around an encoder. Lightning's strategies, precisions and loggers do the rest."""

    def __init__(self, method: pcae.PCAE) -> None:
        super().__init__()
        self.method = method

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        """The loss of a batch; it and the method's signals are logged."""
        result = self.method(batch[0])
        self.log_dict({"loss": result.loss, **result.signals}, prog_bar=True)
        return result.loss

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """The optimizer's step, then the teacher's."""
        super().optimizer_step(*args, **kwargs)
        self.method.update_teacher(self.global_step, int(self.trainer.estimated_stepping_batches))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW as in MAE."""
        return torch.optim.AdamW(self.method.parameters(), lr=1.5e-4, betas=(0.9, 0.95), weight_decay=0.05)


if __name__ == "__main__":
    photos, out, epochs = sys.argv[1], sys.argv[2], int(sys.argv[3])
    crop = [v2.RandomResizedCrop(64, scale=(0.2, 1.0)), v2.RandomHorizontalFlip()]
    pixels = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    loader = DataLoader(ImageFolder(photos, v2.Compose(crop + pixels)), batch_size=64, shuffle=True)
    encoder = pcae.build_encoder(pcae.EncoderConfig(model="vit_tiny_patch16_224", image_size=64, patch_size=8))
    module = Pretraining(pcae.PCAE(encoder))
    lightning.Trainer(max_epochs=epochs, logger=False, enable_checkpointing=False).fit(module, loader)
    pcae.save(module.method.student, out, mean=MEAN, std=STD)
