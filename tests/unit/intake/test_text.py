import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.charset import python_encoding

from triage_agent.intake.text import character_sets, decode_person_name, decode_text


@pytest.mark.parametrize(
    ("declared", "encoded", "text"),
    [
        (b"", b"Doe^Jane ", "Doe^Jane"),
        (b"ISO_IR 100", b"Buc^J\xe9r\xf4me", "Buc^Jérôme"),
        (b"ISO_IR 192", "Ωmega^王".encode(), "Ωmega^王"),
        (b"GB18030", "王^小东".encode("gb18030"), "王^小东"),
        (b"ISO_IR 144", b"\xbb\xee\xda", "Люк"),
        (
            b"\\ISO 2022 IR 87",
            b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
            "Yamada^Tarou=山田^太郎=やまだ^たろう",
        ),
        (
            b"\\ISO 2022 IR 149",
            b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
            "Hong^Gildong=洪^吉洞=홍^길동",
        ),
    ],
)
def test_names_are_decoded_in_their_character_sets(declared, encoded, text):
    assert decode_person_name(encoded, character_sets(declared)) == text


@pytest.mark.parametrize("misspelt", [b"ISO-IR 100", b"ISO_IR_100", b"iso_ir 100", b"ISO IR 100", b"ISO_IR 100 \0"])
def test_a_misspelt_character_set_is_understood(misspelt):
    assert decode_text(b"J\xe9r", character_sets(misspelt)) == "Jér"


@pytest.mark.parametrize("declared", [b"", b"ISO_IR 999", b"\\", b"\xff\xfe", b"ISO 2022 IR 6\\nonsense"])
def test_an_unknown_character_set_reads_as_latin(declared):
    assert decode_text(b"J\xe9r", character_sets(declared)) == "Jér"


def test_bytes_that_cannot_be_decoded_are_replaced():
    assert decode_text(b"a\xffb", character_sets(b"ISO_IR 192")) == "a\ufffdb"


@pytest.mark.parametrize("encoded", [b"\x1b", b"\x1b" * 5000, b"\x1b$", b"\x1b$B", b"\x1b$)", b"a\x1b(Zb\x1b$B\xff"])
def test_broken_escape_sequences_end(encoded):
    assert isinstance(decode_text(encoded, character_sets(b"\\ISO 2022 IR 87\\ISO 2022 IR 149")), str)


def test_control_characters_and_nuls_are_dropped():
    assert decode_text(b"A\0B\r\nC\x9b", character_sets(b"ISO_IR 100")) == "ABC"


def test_text_is_cut_at_256_characters():
    assert len(decode_text(b"x" * 100_000, character_sets(b""))) == 256


@given(st.sampled_from(sorted(python_encoding)), st.binary(max_size=64))
def test_no_bytes_in_no_character_set_raise(term, encoded):
    codecs = character_sets(b"\\" + term.encode())
    for decoded in (decode_text(encoded, codecs), decode_person_name(encoded, (codecs[1], codecs[0]))):
        assert decoded.isprintable() or all(ord(char) > 0x9F or char.isprintable() for char in decoded)
