"""What a password must be like (NIST SP 800-63B, OWASP ASVS 5.0 6.2): long, and not easy to guess at this site."""

import re
import unicodedata
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

SHORTEST = 12  # characters (NIST SP 800-63B asks for 8 beside a second factor, 15 without; a pause follows wrong ones)
LONGEST = 200
_LEFT = 8  # characters beside what everybody guesses
_RUN = 4  # keys beside each other that count as a row
_SHORTEST_WORD = 4
_BIGGEST_LIST = 64 << 20  # bytes
_ROWS = (
    "1234567890",
    "qwertyuiop",
    "asdfghjkl",
    "zxcvbnm",
    "qwertzuiop",
    "yxcvbnm",
    "azertyuiop",
    "qsdfghjklm",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
    "abcdefghijklmnopqrstuvwxyz",
)
_STEPS = frozenset(row[at : at + 2] for line in _ROWS for row in (line, line[::-1]) for at in range(len(row) - 1)) | {
    "90",
    "01",
    "09",
    "10",
}
_REPEATED = re.compile(r"(.{1,20}?)\1{2,}", re.DOTALL)
_DOUBLED = re.compile(r"(.{1,100}?)\1+", re.DOTALL)
_YEAR = re.compile(r"(?:19|20)\d\d")
_PLAIN = str.maketrans("0134578@$!", "oieastbasi")
# Not a list of common passwords: what people begin one with where they are asked for twelve characters.
_BASES = ("password", "passwort", "passw", "welcome", "letmein", "changeme", "secret", "login", "iloveyou", "default")
_PRODUCT = ("triage",)


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordRules:
    """Why a password cannot be taken here.

    Attributes:
        institution: its words are in no password.
        refused: a file of passwords that are refused, one a line, UTF-8; "" for none. It is read at each change, so
            that a new one holds at once.
    """

    institution: str = ""
    refused: str = ""

    def weakness(self, password: str, name: str) -> str | None:
        """In words for whoever chose it; None where it can be taken."""
        if len(password) < SHORTEST:
            return f"Take at least {SHORTEST} characters; several words make a good password."
        if len(password) > LONGEST:
            return f"Take at most {LONGEST} characters."
        if self._names_us(password, name):
            return "Take one that has neither your name, the hospital's nor the product's in it."
        if len(set(password)) < SHORTEST // 2 or _is_guessed(password):
            return (
                "Take one with more of your own: rows of keys, repetitions, years and words such as "
                "“password” are guessed first."
            )
        return self._listed(password)

    def _names_us(self, password: str, name: str) -> bool:
        local, said = name.partition("@")[0], _forms(password)
        words = [local, *re.split(r"[^a-z0-9]+", local), *_words(self.institution)]
        known = [word for word in words if len(word) >= _SHORTEST_WORD or (word == local and len(word) > 1)]
        return any(word in form for form in said for word in (*known, *_PRODUCT))

    def _listed(self, password: str) -> str | None:
        if not self.refused:
            return None
        try:
            listed = _stands_in(Path(self.refused), password)
        except OSError as error:
            log.error("refused_passwords_unreadable", error=error.strerror, remedy="see [web] refused_passwords_file")  # noqa: TRY400 - an admin needs the remedy
            return "No password can be taken at the moment. Ask an admin."
        return "Take another one: this is on the site's list of passwords that are guessed first." if listed else None


def trouble_with_list(path: str) -> str | None:
    """Why a file cannot be the list of refused passwords; None where it can."""
    try:
        size = Path(path).stat().st_size if Path(path).is_file() else -1
    except OSError as error:
        return f"{path}: {error.strerror}"
    if size < 0:
        return f"{path} is no file"
    return f"{path} has more than 64 MiB" if size > _BIGGEST_LIST else None


def _stands_in(file: Path, password: str) -> bool:
    """Whether it is a line of the file, whatever the case."""
    meant, left = _same(password), _BIGGEST_LIST
    with file.open("rb") as lines:
        while left > 0 and (line := lines.readline(8 * LONGEST)):
            left -= len(line)
            if _same(line.decode("utf-8", "replace").rstrip("\r\n")) == meant:
                return True
    return False


def _same(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _forms(password: str) -> tuple[str, ...]:
    """As it is, and with letters in place of the signs that people write for them; with and without what separates."""
    said = _same(password)
    plain = said.translate(_PLAIN)
    return said, plain, re.sub(r"[\W_]+", "", said), re.sub(r"[\W_]+", "", plain)


def _words(text: str) -> list[str]:
    words = re.findall(r"\w+", _same(text))
    return [*words, "".join(words)]


def _is_guessed(password: str) -> bool:
    """Whether little is left without rows of keys, repetitions, years and what passwords begin with."""
    said = _same(password)
    doubled = _DOUBLED.fullmatch(said)
    left = _REPEATED.sub(r"\1", doubled.group(1) if doubled else said)
    left = _YEAR.sub("", _without_rows(left))
    plain = left.translate(_PLAIN)
    for base in _BASES:
        at = plain.find(base)
        if at >= 0:
            left, plain = left[:at] + left[at + len(base) :], plain[:at] + plain[at + len(base) :]
    return len(left.strip()) < _LEFT


def _without_rows(said: str) -> str:
    """Without runs of four or more keys that lie beside each other, either way round."""
    kept, run = [], said[:1]
    for before, sign in pairwise(said):
        if before + sign in _STEPS:
            run += sign
            continue
        kept.append(run if len(run) < _RUN else "")
        run = sign
    kept.append(run if len(run) < _RUN else "")
    return "".join(kept)
