"""Words for priorities: DICOM's, always, and a site's own."""

import pytest

from triage_agent.domain.priorities import STANDARD, PriorityWords
from triage_agent.domain.vocabulary import Priority

SITE = PriorityWords.of({Priority.STAT: ["EMERGENCY", "1", "至急"], Priority.URGENT: ["Très urgent", "DRINGEND"]})


@pytest.mark.parametrize(
    ("word", "means"),
    [
        ("STAT", Priority.STAT),
        (" stat ", Priority.STAT),
        ("HIGH", Priority.URGENT),
        ("Medium", Priority.ROUTINE),
        ("LOW", Priority.ROUTINE),
        ("routine", Priority.ROUTINE),
        ("", Priority.ROUTINE),
        ("   ", Priority.ROUTINE),
        ("emergency", Priority.STAT),
        ("1", Priority.STAT),
        ("\N{FULLWIDTH DIGIT ONE}", Priority.STAT),
        ("至急", Priority.STAT),
        ("TRÈS  URGENT", Priority.URGENT),
        ("tre\N{COMBINING GRAVE ACCENT}s urgent", Priority.URGENT),
        ("dringend", Priority.URGENT),
        ("urgent", None),
        ("EMERGENCY2", None),
    ],
)
def test_a_word_is_compared_without_case_padding_and_width(word, means):
    assert SITE.meaning(word) is means


def test_without_a_site_s_words_only_dicom_s_are_understood():
    assert STANDARD.meaning("STAT") is Priority.STAT
    assert STANDARD.meaning("EMERGENCY") is None


def test_a_word_of_any_length_is_only_not_understood():
    assert SITE.meaning("x" * 1_000_000) is None


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({Priority.STAT: ["now"], Priority.URGENT: ["NOW "]}, "here already a word for stat; take it out of urgent"),
        ({Priority.STAT: ["high"]}, "DICOM's word for urgent; take it out of stat"),
        ({Priority.URGENT: ["  "]}, "is no word"),
        ({Priority.URGENT: ["x" * 65]}, "is no word"),
    ],
)
def test_a_word_that_means_two_things_or_nothing_is_refused(words, says):
    with pytest.raises(ValueError, match=says):
        PriorityWords.of(words)


def test_a_word_may_be_given_twice_for_one_priority():
    assert PriorityWords.of({Priority.STAT: ["stat", "Now", "NOW"]}).meaning("now") is Priority.STAT
