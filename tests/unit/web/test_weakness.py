"""Which passwords are refused, and that each is told why; and the site's own list, read at each change."""

import pytest
from structlog.testing import capture_logs

from triage_agent.web.site.weakness import LONGEST, PasswordRules, trouble_with_list

RULES = PasswordRules(institution="Sankt Göran Hospital")
OURS = [
    "ada.byron is here",
    "My Name Is Byron!",
    "8yr0n and the sea",
    "the tri-age desk 5",
    "7r1ag3 for everybody",
    "to göran with love",
    "SanktGöran likes me",
    "a hospital by the sea",
]
GUESSED = [
    "qwertyuiop12",
    "Qwertzuiop!!",
    "asdfghjklyxcvbnm",
    "1qaz2wsx3edc",
    "poiuytrewq09",
    "123456789012",
    "abcdefghijkl",
    "password2024",
    "P@ssw0rd2023!",
    "Welcome123456",
    "abcabcabcabc",
    "hunter2hunter2",
    "summersummersummer",
    "aaaabbbbccccdddd",
    "20231999201820",
    "secret1234567",
    "............",
]
GOOD = [
    "correct horse battery",
    "correct horse 2024",
    "Vier Raben im Nebel",
    "x9#Lm2!vQ7$e",
    "the year 1984 was long",
    "qwerty is no ferry boat",
    "åtta röda äpplen",
    "пароль из восьми слов",
]


@pytest.mark.parametrize("password", ["elevenchars", "", "x" * (LONGEST + 1)])
def test_a_password_is_neither_short_nor_endless(password):
    assert "characters" in RULES.weakness(password, "ada.byron")


@pytest.mark.parametrize("password", OURS)
def test_names_of_the_account_the_institution_and_the_product_are_in_no_password(password):
    assert "neither your name" in RULES.weakness(password, "ada.byron")


@pytest.mark.parametrize("password", GUESSED)
def test_rows_of_keys_repetitions_and_years_make_no_password(password):
    assert "guessed first" in RULES.weakness(password, "ada.byron")


@pytest.mark.parametrize("password", GOOD)
def test_what_has_enough_of_its_own_is_taken(password):
    assert RULES.weakness(password, "ada.byron") is None


def test_of_a_provider_s_address_the_part_before_the_at_counts():
    assert PasswordRules().weakness("grace and her moths", "grace@navy.example")
    assert PasswordRules().weakness("the navy has moths", "grace@navy.example") is None


def test_an_account_of_one_letter_refuses_no_password_that_has_it():
    assert PasswordRules().weakness("correct horse battery", "a") is None


def test_weak_ones_are_found_quickly_however_they_are_made():
    for password in ("ab" * 100, "a" * 99 + "b" + "a" * 100, "qwer" * 50, "(" * 200, "1" * 200):
        assert PasswordRules().weakness(password, "ada")


@pytest.fixture
def listed(tmp_path):
    """The site's list, and rules that know it."""
    file = tmp_path / "common.txt"
    file.write_bytes("Correct Horse Battery\r\n# no comment here\nÅtta Röda Äpplen\n".encode() + b"\xff\xfe broken\n\n")
    return file, PasswordRules(refused=str(file))


@pytest.mark.parametrize("password", ["correct horse battery", "åtta röda äpplen", "# NO comment here"])
def test_a_site_s_own_list_refuses_what_is_on_it_whatever_the_case(listed, password):
    assert "site's list" in listed[1].weakness(password, "ada")
    assert listed[1].weakness(f"{password} too", "ada") is None


def test_a_new_list_holds_at_once_and_one_that_is_gone_refuses_everything(listed):
    file, rules = listed
    file.write_text("vier raben im nebel\n", encoding="utf-8")
    assert rules.weakness("correct horse battery", "ada") is None
    assert rules.weakness("Vier Raben im Nebel", "ada")
    file.unlink()
    with capture_logs() as lines:
        assert "Ask an admin" in rules.weakness("correct horse battery", "ada")
    assert [line["event"] for line in lines] == ["refused_passwords_unreadable"]
    assert "correct horse" not in str(lines)


def test_a_list_is_looked_at_no_further_than_it_may_be_long(listed, monkeypatch):
    file, rules = listed
    monkeypatch.setattr("triage_agent.web.site.weakness._BIGGEST_LIST", 100)
    file.write_bytes(b"x" * 5000 + b"\ncorrect horse battery\n")
    assert rules.weakness("correct horse battery", "ada") is None
    assert "64 MiB" in trouble_with_list(str(file))


def test_what_can_be_no_list_is_told_before_anybody_needs_it(listed, tmp_path):
    assert trouble_with_list(str(listed[0])) is None
    assert "is no file" in trouble_with_list(str(tmp_path))
    assert "is no file" in trouble_with_list(str(tmp_path / "none"))
