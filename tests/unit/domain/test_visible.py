import pytest

from triage_agent.domain.visible import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb\rc\0", "a\\x0ab\\x0dc\\x00"),
        ("\x9b31m", "\\x9b31m"),
        ("a\u2028b\u2029c", "a\\u2028b\\u2029c"),
        ("routine\u202etats", "routine\\u202etats"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(text, shown):
    assert visible(text) == shown


@pytest.mark.parametrize(
    "name", ["Äneas^Rüdiger", "قباني^لنزار", "שרון\u200f^דבורה", "山田^太郎=やまだ^たろう", "[bold]x[/]", "a\u00a0b"]
)
def test_names_of_all_scripts_stay_as_they_are(name):
    assert visible(name) == name
