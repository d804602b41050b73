"""What is left of a name and an identifier for those who need not know them."""

import pytest

from triage_agent.web.site.masking import masked_id, masked_name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Åkesson^Görel", "Å. G."),
        ("van der Berg^Jan Willem^^Dr", "v. d. B. J. W. D."),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Y. T."),
        ("^^^^=山田^太郎", "山. 太."),
        ("O'Neil", "O."),
        ("12345", "…"),
        ("", "…"),
        (None, None),
    ],
)
def test_a_name_is_its_initials(name, shown):
    assert masked_name(name) == shown


@pytest.mark.parametrize(
    ("identifier", "shown"),
    [("MRN-00123", "…23"), ("12345", "…45"), ("1234", "…"), ("7", "…"), ("", "…"), (None, None)],
)
def test_an_identifier_is_its_end(identifier, shown):
    assert masked_id(identifier) == shown
