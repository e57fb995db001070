"""The networks of transformers' that are read, and what their settings are where none are said."""

from pathlib import Path
from typing import Any

VIT: dict[str, Any] = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "image_size": 224,
    "patch_size": 16,
    "num_channels": 3,
    "qkv_bias": True,
}
DINOV2: dict[str, Any] = VIT | {"intermediate_size": None, "mlp_ratio": 4, "layer_norm_eps": 1e-6}
SIGLIP: dict[str, Any] = VIT | {"hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6}
DINOV3: dict[str, Any] = VIT | {
    "hidden_size": 384,
    "num_attention_heads": 6,
    "intermediate_size": 1536,
    "layer_norm_eps": 1e-5,
    "rope_theta": 100.0,
    "query_bias": True,
    "key_bias": False,
    "value_bias": True,
    "proj_bias": True,
    "mlp_bias": True,
    "use_gated_mlp": False,
    "num_register_tokens": 0,
}
BEIT: dict[str, Any] = VIT | {
    "use_absolute_position_embeddings": False,
    "use_relative_position_bias": False,
    "use_shared_relative_position_bias": False,
    "use_mean_pooling": True,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "vit": VIT,
    "vit_mae": VIT | {"decoder_num_attention_heads": 16, "decoder_num_hidden_layers": 8, "norm_pix_loss": False},
    "vit_msn": VIT | {"layer_norm_eps": 1e-6},
    "deit": VIT,
    "ijepa": VIT,
    "dinov2": DINOV2 | {"patch_size": 14},
    "dinov2_with_registers": DINOV2,
    "dinov3_vit": DINOV3,
    "beit": BEIT,
    "siglip_vision_model": SIGLIP,
    "siglip2_vision_model": SIGLIP | {"image_size": None, "num_patches": 256},
    "clip_vision_model": VIT | {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "patch_size": 32},
}
"""Settings that a config.json leaves out, by its model_type."""
TOWERS = {"siglip": "siglip_vision_model", "siglip2": "siglip2_vision_model", "clip": "clip_vision_model"}
"""Models of images and texts, and what their image side is."""
CLASSIFIERS = {
    "vit": {"classifier": "head"},
    "vit_msn": {"classifier": "head"},
    "deit": {"classifier": "head", "cls_classifier": "head", "distillation_classifier": "head_dist"},
}
"""Classifiers that are linear layers on the class token, or on DeiT's two tokens, and timm's names of them."""
APART = {
    "deit": ("classifier.", "cls_classifier.", "distillation_classifier."),
    "beit": ("classifier.", "layernorm."),
}
"""How the names begin of what stands beside an encoder and belongs to its network, where it is not as usual."""
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "quick_gelu": "quick_gelu",
}
"""Their names of activations, and timm's."""
OTHERS = {
    "data2vec-vision": "relative position bias",
    "swin": "windows and relative position bias",
    "swinv2": "windows and relative position bias",
    "hiera": "stages of several widths",
    "vitdet": "windows and relative position bias",
    "dinov3_convnext": "convolutions",
}
"""What networks have that none of those that are read has."""


def family_of(said: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The settings of the image side, those that are not said filled in. Raises ValueError, by name and reason."""
    kind = str(said.get("model_type"))
    if kind in TOWERS:
        inner = said.get("vision_config") or {}
        return family_of({**inner, "model_type": TOWERS[kind]}, folder)
    if kind not in FAMILIES:
        reason = f", which has {OTHERS[kind]}" if kind in OTHERS else ""
        raise ValueError(
            f"{folder} holds a model of type {kind!r}{reason}; of transformers' are read "
            f"{', '.join([*FAMILIES, *TOWERS])}"
        )
    return FAMILIES[kind] | said


def check_settings(config: dict[str, Any], folder: Path) -> None:
    """Raise ValueError, by name, for settings that timm's plain ViT does not have."""
    if config["hidden_act"] not in ACTIVATIONS:
        raise ValueError(f"{folder}: hidden_act is {config['hidden_act']!r}; only {', '.join(ACTIVATIONS)} are read")
    if config.get("use_swiglu_ffn"):
        raise ValueError(f"{folder}: use_swiglu_ffn is true; of networks with gated MLPs only timm:NAME is read")
