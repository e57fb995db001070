"""What the numbers, curves and files of a run mean, in words for the page of `pcae report`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plot:
    """Numbers of metrics.jsonl that are drawn together, by the names that they have in the picture; what they mean.

    share: they are shares. log: they may differ by powers of ten. floor: it matters how far from 0 they are. quiet:
    there is nothing to see while they are 0.
    """

    title: str
    says: str
    lines: dict[str, str]
    share: bool = False
    log: bool = False
    floor: bool = False
    quiet: bool = False


CURVES = (
    Plot(
        "Loss",
        "What training makes smaller. It should fall, fast at first and slowly later; a jump that stays is a fault.",
        {"loss": "loss"},
    ),
    Plot(
        "Loss by what is predicted",
        "The parts of the loss, before --pixel-weight: the teacher's features (1 - cosine similarity) and pixels "
        "(squared difference). Both should fall; which one makes good features, the probes say.",
        {"feature_loss": "features", "pixel_loss": "pixels"},
    ),
    Plot(
        "Learning rate",
        "How far a step goes: up during the warm-up, then down to 0 at the last step.",
        {"learning_rate": "learning rate"},
    ),
    Plot(
        "Gradient norm",
        "How hard the loss pulls at the weights. Level or slowly changing is healthy; peaks that grow call for a lower "
        "learning rate or --clip-grad.",
        {"grad_norm": "gradient norm"},
        log=True,
    ),
    Plot(
        "Speed",
        "Images trained on in a second. Dips are other programs, checkpoints or slow storage.",
        {"images_per_second": "images per second"},
        floor=True,
    ),
    Plot(
        "Waiting for data",
        "Share of the time in which training waited for images. Above 10 % it is worth reading faster: more --workers, "
        "or pcae pack.",
        {"data_wait_share": "share of the time"},
        share=True,
        floor=True,
    ),
    Plot(
        "Skipped steps",
        "Steps so far whose gradient was not finite, so that they changed nothing. A few are harmless.",
        {"skipped": "skipped steps"},
        floor=True,
        quiet=True,
    ),
    Plot(
        "Drop ratio",
        "Share of the patch tokens that each stage of the classifier dropped in training.",
        {"drop_ratio": "drop ratio"},
        share=True,
        floor=True,
    ),
)
HEALTH = (
    Plot(
        "Spread of the features",
        "How much the mean features of different images differ. Healthy: level or growing after the first steps. Not "
        "healthy: falling towards 0, where all images look the same to the network (collapse).",
        {"health/student_std": "student", "health/teacher_std": "teacher"},
        floor=True,
    ),
    Plot(
        "Effective rank of the features (RankMe)",
        "In how many directions the mean features of images differ, of at most {most}. Healthy: level or growing after "
        "the first steps. Not healthy: near 1, or a small share of what it was at the start, where few directions are "
        "left to tell images apart by.",
        {"health/student_rank": "student", "health/teacher_rank": "teacher"},
        floor=True,
    ),
    Plot(
        "Variety of the targets",
        "How much targets at the same position differ between images. Healthy: level and well above 0. Not healthy: "
        "near 0, where every image asks for the same answer and nothing is left to learn.",
        {"health/target_std": "targets"},
        floor=True,
    ),
    Plot(
        "Share of the target that position predicts",
        "How much of the targets can be said without looking at the image. Healthy: small, or falling. Not healthy: "
        "near 100 %, where positions drown the content; --patch-scale 3 helps with small patches.",
        {"health/position_share": "share"},
        share=True,
        floor=True,
    ),
    Plot(
        "Spread of the redundancy scores",
        "How much the tokens of an image differ in how redundant they are. Healthy: above 0. Not healthy: near 0, "
        "where all tokens look alike and chance decides which are kept.",
        {"health/score_std": "scores"},
        floor=True,
    ),
    Plot(
        "Teacher and student alike",
        "Cosine of their features of the same patches, 1 where both begin. Healthy: high, as the teacher follows the "
        "student. Not healthy: near 0, where they have parted, or 1 while the spread of the features is near 0, where "
        "both are constant.",
        {"health/teacher_student_cosine": "cosine"},
        floor=True,
    ),
    Plot(
        "Spread within a batch",
        "How much the mean features and the mean targets of the images of a batch differ, at each step that was "
        "written down. Healthy: not falling towards 0.",
        {"batch_student_std": "student", "batch_target_std": "targets"},
        floor=True,
    ),
)
PROBES = (
    Plot(
        "Nearest neighbours",
        "Share of held-out images whose nearest neighbours, by the features as they are, have the right label. It "
        "should climb; it says what the features are worth while the loss does not.",
        {"probe/knn": "right"},
        share=True,
    ),
    Plot(
        "Accuracy",
        "Share of the held-out images whose class is the most likely one, or among the five most likely ones.",
        {"top1": "first", "top5": "first five"},
        share=True,
    ),
)
DETECTION = (
    Plot(
        "Average precision",
        "COCO's AP of masks and boxes on the held-out images: the mean over overlaps of 50 to 95 %, and at 50 % alone.",
        {"mask_ap": "masks", "box_ap": "boxes", "mask_ap50": "masks, 50 %", "box_ap50": "boxes, 50 %"},
        share=True,
        floor=True,
    ),
    Plot(
        "Parts of the loss",
        "The five losses of Mask R-CNN: what an object is, where its box ends, its mask; and of the proposals, whether "
        "there is one and where. All should fall.",
        {
            "loss_classifier": "class",
            "loss_box_reg": "box",
            "loss_mask": "mask",
            "loss_objectness": "proposal",
            "loss_rpn_box_reg": "its box",
        },
    ),
)
OTHER = "A number that the method writes down; this version has no words for it."
NUMBERS = {
    "loss": "loss at the last step",
    "top1": "of the held-out images right",
    "best_top1": "right at best",
    "top5": "right among the first five",
    "knn": "right by nearest neighbours",
    "mask_ap": "mask AP",
    "mask_ap50": "mask AP at an overlap of 50 %",
    "box_ap": "box AP",
    "box_ap50": "box AP at an overlap of 50 %",
    "best_ap": "AP at best",
    "images_per_second": "images a second",
    "seconds": "of training",
    "data_wait_share": "of the time waiting for data",
    "skipped": "steps skipped",
    "bad_files": "files not readable",
    "images": "images",
    "epochs": "epochs",
    "learning_rate": "learning rate",
    "grad_norm": "gradient norm",
    "classes": "classes",
    "held_out": "held-out images",
}
"""What a main number counts, behind its value, in the order of the page."""
PLOTS = (*CURVES, *HEALTH, *PROBES, *DETECTION)
SHARES = {"best_top1", "best_ap"}.union(
    name.removeprefix("probe/") for plot in PLOTS if plot.share for name in plot.lines
)
"""Numbers that are shown in per cent."""
FILES = {
    "config.yaml": "all settings, as the run took them; --config takes it again",
    "metrics.jsonl": "the numbers behind the curves, a line of JSON a step",
    "summary.json": "what the run came to; there once it is finished",
    "encoder.safetensors": "the encoder: every --weights takes it, and timm's names are in it",
    "decoder.safetensors": "the decoder, to go on from by --init",
    "classifier.safetensors": "the classifier after the last step: every --weights takes it",
    "detector.safetensors": "the detector after the last step, for pcae detect evaluate and predict",
    "best-encoder.safetensors": "the encoder as it was when it sorted the labelled images best",
    "best.safetensors": "the classifier or detector as it was when it was best on the held-out images",
    "confusion.png": "which classes are taken for which",
    "kept-tokens.png": "what the teacher kept of a few images",
    "bad-files.jsonl": "files that could not be read, each with the reason",
    "checkpoints": "everything that the run needs to go on",
    "tensorboard": "the numbers for TensorBoard",
    "report.html": "this page",
}
