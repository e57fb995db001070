"""What a run begins with: a new network or other weights, their decoder too; and the fixed teacher."""

from dataclasses import dataclass, replace

from pcae.methods.choice import Pretraining, build_method
from pcae.methods.discarding import DiscardingMAE
from pcae.methods.mae import MAE
from pcae.model.backbones import ViT
from pcae.model.decoder import Decoder
from pcae.model.encoder import Encoder, build_encoder, set_norm_eps
from pcae.model.pretrained import PretrainedFacts
from pcae.settings.methods import MethodConfig
from pcae.settings.network import DecoderConfig, EncoderConfig, NetworkConfig
from pcae.settings.reading import DataConfig
from pcae.settings.verbs.detect import DetectTrainConfig
from pcae.settings.verbs.finetune import FinetuneConfig
from pcae.weights.bands import for_bands
from pcae.weights.decoders import fit_decoder
from pcae.weights.files import fill, find, image_size_of
from pcae.weights.loaded import Loaded
from pcae.weights.matching import fit


@dataclass(frozen=True)
class InitialWeights:
    """What is known before the first image is read: the network, how pixels are normalised, the weights.

    loaded: the weights; None for a new network. random: they say what the network is, and are not put in place.
    teacher: the weights of a fixed one.
    """

    encoder: EncoderConfig
    reading: DataConfig
    loaded: Loaded | None
    random: bool = False
    teacher: Loaded | None = None

    @property
    def source(self) -> str:
        """Where the network comes from, in words."""
        if self.loaded is None:
            return f"a new {self.encoder.model} with random weights"
        source = self.loaded.source
        return f"random weights, of the architecture of {source}" if self.random else source

    @property
    def remedy(self) -> str:
        """How other weights are had, where these are random."""
        return "; --weights timm:NAME starts from timm's" if self.loaded is None or self.random else ""

    @property
    def facts(self) -> PretrainedFacts | None:
        """What the weights say of their data."""
        return self.loaded.facts if self.loaded else None

    @property
    def norm_eps(self) -> float | None:
        """Epsilon of the norms, where the weights have another than timm."""
        return self.facts.norm_eps if self.facts else None

    def layer_decay(self, asked: float | None, usual: float) -> float:
        """The learning rate's decay by layer that is asked for, else the usual one, which random weights have none
        of."""
        return (1.0 if self.random else usual) if asked is None else asked

    def fill(self, vit: ViT) -> list[str]:
        """Put the weights in place, or random ones; returns what matched."""
        if self.loaded is None or self.random:
            fit(vit, build_encoder(self.encoder).vit.state_dict())
            return []
        return [*fit(vit, self.loaded.tensors, self.loaded.grid).describe(), *self.loaded.remarks]


def load_weights(config: FinetuneConfig | DetectTrainConfig) -> InitialWeights:
    """The weights, or with `from_scratch` random weights: of their architecture, or of the network that is described.

    Raises ValueError when neither is there, or when both say what the network is.
    """
    network, reading = config.network, config.reading
    if config.weights is None:
        if not config.from_scratch:
            raise ValueError("weights are missing; give --weights W, or --from-scratch for random weights")
        return InitialWeights(network.encoder(), reading, None, random=True)
    if replace(network, image_size=None, channels=None) != NetworkConfig():
        raise ValueError("a network is described, but the weights say what it is; use --from-scratch without --weights")
    loaded = for_bands(find(config.weights), network.channels, reading.bands)
    size = network.image_size or loaded.facts.encoder.image_size
    encoder = replace(loaded.facts.encoder, image_size=size)
    return InitialWeights(encoder, normalised_as(reading, loaded), loaded, config.from_scratch)


def load_initial(encoder: EncoderConfig, reading: DataConfig, init: str | None, teacher: str | None) -> InitialWeights:
    """The network and the normalisation that pre-training begins with. Raises ValueError where settings say otherwise.

    A network that is not described is that of `init`. Pixels are normalised as the fixed teacher has it, else `init`.
    """
    first, fixed = (
        for_bands(find(weights), encoder.channels, reading.bands) if weights else None for weights in (init, teacher)
    )
    if first is not None:
        encoder = network_of(encoder, first)
    for loaded in (fixed, first):
        if loaded is not None:
            encoder = with_channels(encoder, loaded)
            reading = normalised_as(reading, loaded, strict=loaded is fixed)
    return InitialWeights(encoder, reading, first, teacher=fixed)


def network_of(config: EncoderConfig, loaded: Loaded) -> EncoderConfig:
    """The network that is described, or where none is, that of the weights; at the image size that is asked for."""
    if config.patch_scale != 1:
        raise ValueError(f"patch_scale {config.patch_scale:g} is for new networks; leave it out with --init")
    usual = EncoderConfig()
    if replace(config, image_size=usual.image_size, channels=None) != usual:
        return config
    size = loaded.facts.encoder.image_size if config.image_size == usual.image_size else config.image_size
    return replace(loaded.facts.encoder, image_size=size, channels=config.channels)


def with_channels(config: EncoderConfig, loaded: Loaded) -> EncoderConfig:
    """As many channels as the weights take. Raises ValueError when another number is asked for."""
    theirs = loaded.facts.encoder.channels or 3
    if config.channels not in (None, theirs):
        raise ValueError(f"channels {config.channels} is asked for, but {loaded.source} takes {theirs}")
    return replace(config, channels=theirs)


def normalised_as(reading: DataConfig, loaded: Loaded, *, strict: bool = False) -> DataConfig:
    """Pixels as the weights had them, where nothing else is asked for; with `strict` they must be normalised so."""
    facts = loaded.facts
    mean, std = tuple(facts.mean), tuple(facts.std)
    reading = replace(reading, pixel_range=reading.pixel_range or facts.pixel_range, bands=reading.bands or facts.bands)
    if reading.mean is None:
        return replace(reading, mean=mean, std=std)
    if strict and (reading.mean, reading.std) != (mean, std):
        raise ValueError(
            f"mean {reading.mean} and std {reading.std} are asked for, but the teacher {loaded.source} has {mean} and "
            f"{std}; leave --mean and --std out"
        )
    return reading


def initial_method(
    initial: InitialWeights, method: MethodConfig, decoder: DecoderConfig
) -> tuple[Pretraining, list[str]]:
    """The method with all that the weights have for it, and what of them matched."""
    encoder, of_encoder = initial_encoder(initial)
    teacher, of_teacher = fixed_teacher(initial, encoder)
    built = build_method(encoder, method, decoder, teacher)
    of_decoder = fill_decoder(built, initial)
    return built, [*of_encoder, *of_decoder, *of_teacher]


def initial_encoder(initial: InitialWeights) -> tuple[Encoder, list[str]]:
    """The encoder that is trained, and what of the weights matched. Its positions stay as they begin."""
    encoder, loaded = build_encoder(initial.encoder), initial.loaded
    if loaded is None:
        return encoder, ["init: random; --init timm:NAME starts from timm's"]
    if initial.norm_eps is not None:
        set_norm_eps(encoder, initial.norm_eps)
    try:
        return encoder, [f"init: {loaded.source}", *initial.fill(encoder.vit)]
    except ValueError as error:
        remedy = "to have its own network, describe none by flags, recipe or file"
        raise ValueError(f"init {loaded.source}: {error}; {remedy}") from error


def fill_decoder(method: Pretraining, initial: InitialWeights) -> list[str]:
    """Put the decoder that came with the weights into the method's; returns what matched."""
    decoder = decoder_of(method)
    if initial.loaded is None:
        return []
    if decoder is None:
        return ["decoder: the method has a mask token and a linear head instead, which start as initialised"]
    lines = fit_decoder(decoder, initial.loaded, method.predicts)
    there = initial.loaded.decoder and initial.loaded.decoder.facts.norm_pix_loss
    if isinstance(method, MAE | DiscardingMAE) and there not in (None, method.norm_pixels):
        lines.append(f"decoder: it was trained with norm_pix_loss {there}, here it is {method.norm_pixels}")
    return lines


def decoder_of(method: Pretraining) -> Decoder | None:
    """The method's decoder; SimMIM's kind has none."""
    decoder = dict(method.named_children()).get("decoder")
    return decoder if isinstance(decoder, Decoder) else None


def fixed_teacher(initial: InitialWeights, student: Encoder) -> tuple[Encoder | None, list[str]]:
    """The teacher that stays as it is, for the student's grid, and what of its weights matched."""
    loaded = initial.teacher
    if loaded is None:
        return None, []
    size = image_size_of(loaded, student.grid)
    model, match = fill(loaded, image_size=size)
    lines = [f"teacher, fixed: {loaded.source}", *match.describe(), *loaded.remarks]
    if size != student.image_size:
        lines.append(f"for the teacher images are resized to {size[0]} x {size[1]}, so that both have as many patches")
    return model.encoder, lines
