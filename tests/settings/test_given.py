"""An object in the place of a name passes settings whole, and stands in files by its words."""

import pickle

from pcae.settings.given import Given
from pcae.settings.recipes import configure
from pcae.settings.values import to_yaml
from pcae.settings.verbs.pretrain import PretrainConfig


def test_an_object_passes_settings_whole_and_is_written_by_its_words():
    given = Given([1, 2], "<list of 2 images>")
    config = configure(PretrainConfig, "pretrain", lambda _: "", data=given, out="run", steps=3)
    assert isinstance(config.data, Given) and config.data.value is given.value
    assert "data: <list of 2 images>" in to_yaml(config)


def test_it_goes_to_other_processes_with_its_object():
    again = pickle.loads(pickle.dumps(Given([1, 2], "two")))
    assert again == "two" and again.value == [1, 2]
