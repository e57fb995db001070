"""Where pre-training begins: a new network or other weights, their decoder too; and the fixed teacher."""

from dataclasses import dataclass, replace

from pcae.methods.choice import Pretraining, build_method
from pcae.methods.discarding import DiscardingMAE
from pcae.methods.mae import MAE
from pcae.model.decoder import Decoder
from pcae.model.encoder import Encoder, build_encoder, set_norm_eps
from pcae.settings.methods import MethodConfig
from pcae.settings.network import DecoderConfig, EncoderConfig
from pcae.settings.reading import DataConfig
from pcae.weights.decoders import fit_decoder
from pcae.weights.files import fill, find
from pcae.weights.loaded import Loaded
from pcae.weights.matching import fit


@dataclass(frozen=True)
class InitialWeights:
    """What is known before the first image is read: the network, how pixels are normalised, the weights.

    lines: what of the weights matched.
    """

    encoder: EncoderConfig
    reading: DataConfig
    init: Loaded | None
    teacher: Loaded | None
    lines: tuple[str, ...] = ()

    @property
    def norm_eps(self) -> float | None:
        """Epsilon of the norms, where the weights have another than timm."""
        return self.init.facts.norm_eps if self.init else None


def load_initial(encoder: EncoderConfig, reading: DataConfig, init: str | None, teacher: str | None) -> InitialWeights:
    """The network and the normalisation that the weights ask for. Raises ValueError where settings say otherwise.

    A network that is not described is that of `init`. Pixels are normalised as the fixed teacher has it, else `init`.
    """
    first, fixed = (find(weights) if weights else None for weights in (init, teacher))
    if first is not None:
        encoder = network_of(encoder, first)
    for found in (fixed, first):
        if found is not None:
            encoder = with_channels(encoder, found)
            reading = normalised_as(reading, found, strict=found is fixed)
            reading = replace(reading, pixel_range=reading.pixel_range or found.facts.pixel_range)
    return InitialWeights(encoder, reading, first, fixed)


def network_of(config: EncoderConfig, found: Loaded) -> EncoderConfig:
    """The network that is described, or where none is, that of the weights; at the image size that is asked for."""
    if config.patch_scale != 1:
        raise ValueError(f"patch_scale {config.patch_scale:g} is for new networks; leave it out with --init")
    usual = EncoderConfig()
    if replace(config, image_size=usual.image_size, channels=None) != usual:
        return config
    size = found.facts.encoder.image_size if config.image_size == usual.image_size else config.image_size
    return replace(found.facts.encoder, image_size=size, channels=config.channels)


def with_channels(config: EncoderConfig, found: Loaded) -> EncoderConfig:
    """As many channels as the weights take. Raises ValueError when another number is asked for."""
    theirs = found.facts.encoder.channels or 3
    if config.channels not in (None, theirs):
        raise ValueError(f"channels {config.channels} is asked for, but {found.source} takes {theirs}")
    return replace(config, channels=theirs)


def normalised_as(reading: DataConfig, found: Loaded, *, strict: bool) -> DataConfig:
    """Pixels normalised as the weights had them, where nothing else is asked for; with `strict` nothing else may be."""
    mean, std = tuple(found.facts.mean), tuple(found.facts.std)
    if reading.mean is None and reading.std is None:
        return replace(reading, mean=mean, std=std)
    if strict and (reading.mean, reading.std) != (mean, std):
        raise ValueError(
            f"mean {reading.mean} and std {reading.std} are asked for, but the teacher {found.source} has {mean} and "
            f"{std}; leave --mean and --std out"
        )
    return reading


def initial_method(
    initial: InitialWeights, method: MethodConfig, decoder: DecoderConfig
) -> tuple[Pretraining, InitialWeights]:
    """The method with all that the weights have for it, and what of them matched."""
    encoder, of_encoder = initial_encoder(initial)
    teacher, of_teacher = fixed_teacher(initial)
    built = build_method(encoder, method, decoder, teacher)
    of_decoder = fill_decoder(built, initial)
    return built, replace(initial, lines=(*of_encoder, *of_decoder, *of_teacher))


def initial_encoder(initial: InitialWeights) -> tuple[Encoder, list[str]]:
    """The encoder that is trained, and what of the weights matched. Its positions stay as they begin."""
    encoder, found = build_encoder(initial.encoder), initial.init
    if found is None:
        return encoder, []
    if initial.norm_eps is not None:
        set_norm_eps(encoder, initial.norm_eps)
    try:
        match = fit(encoder.vit, found.tensors, found.grid)
    except ValueError as error:
        remedy = "to have its own network, describe none by flags, recipe or file"
        raise ValueError(f"init {found.source}: {error}; {remedy}") from error
    return encoder, [f"init: {found.source}", *match.describe(), *found.remarks]


def fill_decoder(method: Pretraining, initial: InitialWeights) -> list[str]:
    """Put the decoder that came with the weights into the method's; returns what matched."""
    decoder = decoder_of(method)
    if initial.init is None:
        return []
    if decoder is None:
        return ["decoder: the method has a mask token and a linear head instead, which start as initialised"]
    lines = fit_decoder(decoder, initial.init, method.predicts)
    there = initial.init.decoder and initial.init.decoder.facts.norm_pix_loss
    if isinstance(method, MAE | DiscardingMAE) and there not in (None, method.config.norm_pix_loss):
        lines.append(f"decoder: it was trained with norm_pix_loss {there}, here it is {method.config.norm_pix_loss}")
    return lines


def decoder_of(method: Pretraining) -> Decoder | None:
    """The method's decoder; SimMIM's kind has none."""
    decoder = dict(method.named_children()).get("decoder")
    return decoder if isinstance(decoder, Decoder) else None


def fixed_teacher(initial: InitialWeights) -> tuple[Encoder | None, list[str]]:
    """The teacher that stays as it is, for the same images, and what of its weights matched."""
    found = initial.teacher
    if found is None:
        return None, []
    model, match = fill(found, image_size=initial.encoder.image_size)
    return model.encoder, [f"teacher, fixed: {found.source}", *match.describe(), *found.remarks]
