"""pcae: self-supervised pre-training of Vision Transformers by progressive token reduction."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pcae.commands.finetune import finetune
    from pcae.commands.pretrain import pretrain
    from pcae.data.images import open_images
    from pcae.evaluation.features import embed
    from pcae.methods.mae import MAE, MAEConfig
    from pcae.methods.pcae import PCAE, PCAEConfig
    from pcae.methods.simmim import SimMIM, SimMIMConfig
    from pcae.model.decoder import Decoder, DecoderConfig
    from pcae.model.encoder import Encoder, EncoderConfig, build_encoder
    from pcae.model.pretrained import Pretrained
    from pcae.model.reduced import reduce
    from pcae.model.reduction import Reduction
    from pcae.weights.files import load

_PUBLIC = {
    "Decoder": "model.decoder",
    "DecoderConfig": "model.decoder",
    "Encoder": "model.encoder",
    "EncoderConfig": "model.encoder",
    "MAE": "methods.mae",
    "MAEConfig": "methods.mae",
    "PCAE": "methods.pcae",
    "PCAEConfig": "methods.pcae",
    "Pretrained": "model.pretrained",
    "Reduction": "model.reduction",
    "SimMIM": "methods.simmim",
    "SimMIMConfig": "methods.simmim",
    "build_encoder": "model.encoder",
    "embed": "evaluation.features",
    "finetune": "commands.finetune",
    "load": "weights.files",
    "open_images": "data.images",
    "pretrain": "commands.pretrain",
    "reduce": "model.reduced",
}
__all__ = [
    "MAE", "PCAE", "Decoder", "DecoderConfig", "Encoder", "EncoderConfig", "MAEConfig", "PCAEConfig", "Pretrained",
    "Reduction", "SimMIM", "SimMIMConfig", "build_encoder", "embed", "finetune", "load", "open_images", "pretrain",
    "reduce",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(f"pcae.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'pcae' has no attribute {name!r}")
