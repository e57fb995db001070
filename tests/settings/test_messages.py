"""What a message says of flags is said of arguments where it was Python that called."""

import pytest
from PIL import Image

import pcae
from pcae.settings.signatures import in_python
from pcae.settings.values import leaves
from pcae.settings.verbs import config_of
from pcae.settings.verbs.finetune import FinetuneConfig
from pcae.settings.words import parse


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("use --val-fraction 0.2", "use val_fraction=0.2"),
        ("--validation OTHER or --val-fraction 0.2.", "validation=OTHER or val_fraction=0.2."),
        ("with --multi-label use --class-weights balanced", "with multi_label=True use class_weights='balanced'"),
        ("leave --bands out; see --drop-ratio 0:0.4, too", "leave bands out; see drop_ratio='0:0.4', too"),
        ("needs --global-pool avg, got 'token'", "needs global_pool='avg', got 'token'"),
        ("--mixup 0 --cutmix 0", "mixup=0 cutmix=0"),
        ("a folder my--photos, 3 -- 4", "a folder my--photos, 3 -- 4"),
        ("data 'my --seed 3/photos' has no labels", "data 'my --seed 3/photos' has no labels"),
    ],
)
def test_flags_become_arguments(message, words):
    assert in_python(message, leaves(FinetuneConfig)) == words


def test_errors_of_a_call_name_arguments_that_exist(tmp_path):
    with pytest.raises(ValueError, match=r"give weights=W, or from_scratch=True for random weights") as refused:
        pcae.finetune("sample", tmp_path / "run")
    assert "--" not in str(refused.value)


def test_images_for_the_probe_of_a_run_are_named_so(tmp_path):
    one = [(Image.new("RGB", (32, 32)), 0)]
    with pytest.raises(ValueError, match=r"knn_data: .* has no held-out images; give \{'train': ..., 'test': ...\}"):
        pcae.pretrain(
            "sample", tmp_path / "run", knn_data=one, model="vit_tiny_patch16_224", image_size=32, patch_size=4, steps=1
        )


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--before-mlp", "true"], True), (["--before-mlp=false"], False), (["--before-mlp", "False"], False), ([], None)],
)
def test_true_and_false_are_taken_as_messages_spell_them(words, said):
    assert parse(config_of("export"), ["--weights", "w", *words], "pcae export").rule.before_mlp is said
