"""What a message says of flags is said of arguments where it was Python that called."""

import pytest

import pcae
from pcae.settings.signatures import in_python
from pcae.settings.values import leaves
from pcae.settings.verbs.finetune import FinetuneConfig


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
    ],
)
def test_flags_become_arguments(message, words):
    assert in_python(message, leaves(FinetuneConfig)) == words


def test_errors_of_a_call_name_arguments_that_exist(tmp_path):
    with pytest.raises(ValueError, match=r"give weights=W, or from_scratch=True for random weights") as refused:
        pcae.finetune("sample", tmp_path / "run")
    assert "--" not in str(refused.value)
