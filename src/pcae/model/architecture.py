"""The name of a network: one of timm's, and behind a colon what it has otherwise than timm's of that name."""

from collections.abc import Callable, Mapping
from typing import Any

from pcae.settings.network import EncoderConfig


def boolean(word: str) -> bool:
    """A truth value as it is written. Raises KeyError for another word."""
    return {"true": True, "false": False}[word.lower()]


OPTIONS: dict[str, Callable[[str], Any]] = {
    "class_token": boolean,
    "reg_tokens": int,
    "no_embed_class": boolean,
    "pre_norm": boolean,
    "init_values": float,
    "mlp_ratio": float,
    "qkv_bias": boolean,
    "fc_norm": boolean,
    "act_layer": str,
}
"""Arguments of timm's VisionTransformer that may stand behind a name, and how each is read."""


def with_options(model: str, options: Mapping[str, Any]) -> str:
    """The name with options behind it: `vit_base_patch16_224:reg_tokens=4,no_embed_class=true`."""
    said = [f"{name}={str(value).lower()}" for name, value in options.items()]
    return f"{model}:{','.join(said)}" if said else model


def parts_of(model: str) -> tuple[str, dict[str, Any]]:
    """timm's name, and the options behind it. Raises ValueError for one that is unknown or no value of its kind."""
    name, _, words = model.partition(":")
    options = {}
    for word in words.split(",") if words else ():
        option, _, value = word.partition("=")
        if option not in OPTIONS:
            raise ValueError(f"model {model!r} has the option {option!r}; there are {', '.join(OPTIONS)}")
        try:
            options[option] = OPTIONS[option](value)
        except (KeyError, ValueError) as error:
            raise ValueError(f"model {model!r}: {value!r} is no value of {option}") from error
    return name, options


def in_words(config: EncoderConfig, parts: Mapping[str, Any]) -> str:
    """A Vision Transformer in words, by its sizes and its options."""
    size = f"{config.depth} blocks of width {config.width}, patches of {config.patch_size} x {config.patch_size}"
    registers = parts.get("reg_tokens", 0)
    said = {
        "no class token": parts.get("class_token") is False,
        f"{registers} register token{'s' if registers > 1 else ''}": registers,
        "layer scale": "init_values" in parts,
        "a norm before the blocks": parts.get("pre_norm"),
        f"mlp ratio {parts.get('mlp_ratio', 4):.4g}": "mlp_ratio" in parts,
        f"activation {parts.get('act_layer')}": "act_layer" in parts,
        "no bias of queries, keys and values": parts.get("qkv_bias") is False,
    }
    return ", ".join([size, *(what for what, there in said.items() if there)])
