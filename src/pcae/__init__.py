"""pcae: self-supervised pre-training of Vision Transformers by progressive token reduction."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pcae.data.images import open_images
    from pcae.evaluation.features import embed
    from pcae.methods.mae import MAE
    from pcae.methods.pcae import PCAE
    from pcae.methods.simmim import SimMIM
    from pcae.model.decoder import Decoder
    from pcae.model.encoder import Encoder, build_encoder
    from pcae.model.pretrained import Pretrained
    from pcae.model.reduced import reduce
    from pcae.model.reduction import Reduction
    from pcae.runs.finetuning import finetune
    from pcae.runs.pretraining import pretrain
    from pcae.settings.methods import MAEConfig, PCAEConfig, SimMIMConfig
    from pcae.settings.network import DecoderConfig, EncoderConfig
    from pcae.weights.files import load

_PUBLIC = {
    "Decoder": "model.decoder",
    "DecoderConfig": "settings.network",
    "Encoder": "model.encoder",
    "EncoderConfig": "settings.network",
    "MAE": "methods.mae",
    "MAEConfig": "settings.methods",
    "PCAE": "methods.pcae",
    "PCAEConfig": "settings.methods",
    "Pretrained": "model.pretrained",
    "Reduction": "model.reduction",
    "SimMIM": "methods.simmim",
    "SimMIMConfig": "settings.methods",
    "build_encoder": "model.encoder",
    "embed": "evaluation.features",
    "finetune": "runs.finetuning",
    "load": "weights.files",
    "open_images": "data.images",
    "pretrain": "runs.pretraining",
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
