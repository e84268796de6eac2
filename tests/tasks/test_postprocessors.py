"""Postprocessors: what becomes of a written text before it is scored."""

import pytest

from softprompt_tf.errors import ConfigError, DataError
from softprompt_tf.tasks import POSTPROCESSORS, Row, Task, postprocessed

REFERENTS = [
    ("the fuzzy bunny", "Bunny", "True"),
    ("bunny", "the fuzzy bunny", "True"),
    ("THE BUNNY", "bunny", "True"),
    ("his bunny ears", "fuzzy bunny", "False"),
    ("Bob", "Bob's hat", "False"),
    ("Bob's hat", "Bob's", "True"),
    ("Ann", "Bob", "False"),
    ("", "Bob", ""),
    (" the ", "Bob", ""),
    ("Bob", "the", "False"),
]


@pytest.mark.parametrize(("written", "referent", "verdict"), REFERENTS)
def test_wsc_referent_says_whether_the_candidate_was_named(written, referent, verdict):
    assert POSTPROCESSORS["wsc_referent"](written, Row({"referent": referent}, "row 1")) == verdict


def test_wsc_referent_needs_a_referent():
    with pytest.raises(DataError, match="row 2: the row has no field `referent`"):
        postprocessed("Bob", Row({}, "row 2"), ["wsc_referent"])


def test_without_postprocessors_a_text_stays_as_it_is():
    assert postprocessed(" Bob", Row({}, "row 2"), ()) == " Bob"


def test_a_task_refuses_an_unknown_postprocessor():
    with pytest.raises(ConfigError, match=r"Unknown postprocessor. Received: 'wsc'. (Did you mean|Known)"):
        Task("t", "{x}", postprocess=("wsc",))
