"""PCAE: predict the few features of hidden patches that the teacher did not drop on its way."""

from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from pcae.methods.mae import squared_difference
from pcae.methods.masked import pixel_targets
from pcae.methods.teacher import Taught, Teacher, cosine_distance, spread
from pcae.model.decoder import Decoder
from pcae.model.encoder import Encoder
from pcae.model.pretrained import as_encoder
from pcae.model.tokens import count_visible, gather, split
from pcae.settings.bounds import check_bounds
from pcae.settings.methods import PCAEConfig
from pcae.settings.network import DecoderConfig
from pcae.training.loop import StepResult
from pcae.training.randomness import Randomness, StepRandom


def pool_size(config: PCAEConfig, n_tokens: int, n_visible: int) -> int:
    """Patches that views are drawn from. Raises ValueError for settings that do not go together."""
    n_pool = n_visible if config.pool_ratio is None else count_visible(n_tokens, 1 - config.pool_ratio)
    if n_pool < n_visible or (config.views > 1 and n_pool == n_visible):
        raise ValueError(
            f"{config.views} views of {n_visible} patches (mask_ratio {config.mask_ratio:g}) need a larger pool than "
            f"{n_pool} of {n_tokens} patches; raise --pool-ratio (now {config.pool_ratio}) or --mask-ratio"
        )
    return n_pool


def check_class_target(student: Encoder, teacher: nn.Module | None) -> None:
    """Raise ValueError unless student and teacher have class tokens for one to predict the other's."""
    if teacher is None:
        raise ValueError(
            "class_target needs a fixed teacher, since a moving average runs without class token; give one "
            "(--teacher), or leave class_target out"
        )
    for name, encoder in (("student", student), ("teacher", as_encoder(teacher))):
        if not encoder.has_class_token:
            raise ValueError(
                f"class_target needs class tokens, the {name} has none; leave it out, or take a {name} that has one, "
                "such as vit_base_patch16_224"
            )


class PCAE(Taught):
    """Progressively compressed autoencoder (section 3).

    The student encodes the visible patches, the teacher the hidden ones, dropping redundant tokens stage by stage;
    the decoder predicts the teacher's tokens that are left. Loss: 1 - cosine similarity (Eq. 1); with `pixel_weight`,
    which is ours, plus so many times MAE's loss at the same patches.
    teacher: a fixed, pre-trained encoder in place of the moving average (Table 12). With `class_target`, ours as well,
    the student's class token predicts the teacher's by the decoder's prediction layer; the losses add up. Several views
    share a pool of patches and the teacher's targets; what a view misses of the pool is neither seen nor predicted.
    n_visible: a view's tokens; n_pool: patches that views are drawn from; counts: the teacher's tokens, at its input
    and after each stage.
    Raises ValueError for settings that fit neither each other nor the encoder.
    """

    predicts = "features"

    def __init__(
        self,
        encoder: nn.Module,
        config: PCAEConfig | None = None,
        decoder: DecoderConfig | None = None,
        teacher: nn.Module | None = None,
    ) -> None:
        config = config or PCAEConfig()
        super().__init__(encoder, config.mask_ratio)
        check_bounds(config)
        encoder = self.student
        if config.class_target:
            check_class_target(encoder, teacher)
        self.views, self.pixel_weight = config.views, config.pixel_weight
        self.n_pool = pool_size(config, self.n_tokens, self.n_visible)
        n_hidden = self.n_tokens - self.n_pool
        self.teacher = Teacher(encoder, config, n_hidden, fixed=teacher, class_target=config.class_target)
        pixels = encoder.patch_values if self.pixel_weight else 0
        predicted = self.teacher.encoder.width + pixels
        self.decoder = Decoder(decoder or DecoderConfig(), in_dim=encoder.width, out_dim=predicted, grid=encoder.grid)
        self.counts = self.teacher.counts

    def forward(self, batch: Float[Tensor, "batch channels height width"], random: Randomness = None) -> StepResult:
        """The loss of normalised images of the encoder's size, hidden by `random`: see `Masked`."""
        grid = self.student.grid
        patches, random = self.begin(batch, random)
        pool_ids, hidden_ids = split(random.uniform("mask", patches.shape[1]), self.n_pool)

        targets = self.targets(patches, hidden_ids, random)
        visible_ids = self.drawn_views(pool_ids, random)
        seen = self.student(gather(self.each_view(patches), visible_ids), visible_ids, grid)
        predictions = self.decoder(seen.prefix, seen.tokens, seen.ids, self.each_view(targets.ids), grid)

        width = targets.features.shape[-1]
        loss = feature_loss = cosine_distance(predictions[..., :width], self.each_view(targets.features))
        signals = {"batch_target_std": spread(targets.features), "batch_student_std": spread(seen.tokens)}
        if targets.class_token is not None:
            prediction = self.decoder.predict(seen.prefix[:, :1])
            class_loss = cosine_distance(prediction[..., :width], self.each_view(targets.class_token))
            signals |= {"feature_loss": feature_loss.detach(), "class_loss": class_loss.detach()}
            loss = loss + class_loss
        if self.pixel_weight:
            pixels = self.each_view(pixel_targets(gather(patches, targets.ids), norm=True))
            pixel_loss = squared_difference(predictions[..., width:], pixels)
            signals |= {"feature_loss": feature_loss.detach(), "pixel_loss": pixel_loss.detach()}
            loss = loss + self.pixel_weight * pixel_loss
        return StepResult(loss, signals)

    def each_view(self, values: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "batch_of_views ..."]:
        """The same for every view, one view of all images after the other."""
        return values if self.views == 1 else values.repeat(self.views, *[1] * (values.ndim - 1))

    def drawn_views(
        self, pool_ids: Int[Tensor, "batch pool"], random: StepRandom
    ) -> Int[Tensor, "batch_of_views visible"]:
        """Positions that each view sees: a random part of the pool, or all of it."""
        if self.n_visible == self.n_pool:
            return self.each_view(pool_ids)
        noise = random.uniform("views", self.views, self.n_pool).transpose(0, 1).flatten(0, 1)
        places, _ = split(noise, self.n_visible)
        return self.each_view(pool_ids).gather(1, places)
