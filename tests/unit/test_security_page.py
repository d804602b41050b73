"""The page of security: every test that it leans on is there, and so is every chapter and every key."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


def test_every_test_that_the_page_names_exists():
    named = {word for word in re.findall(r"`([a-z0-9]+(?:_[a-z0-9]+)+)`", PAGE) if word.count("_") > 3}
    there = set()
    for file in (ROOT / "tests").rglob("test_*.py"):
        there |= set(re.findall(r"def test_(\w+)\(", file.read_text(encoding="utf-8")))
    assert len(named) > 50
    assert sorted(named - there) == []


def test_every_chapter_is_on_the_page():
    assert [number for number in range(1, 18) if f"**V{number}**" not in PAGE] == []


def test_every_key_that_the_page_names_is_one():
    keys = set(tomllib.loads((ROOT / "config" / "agent.toml").read_text(encoding="utf-8"))["web"])
    named = {"second_factor", "secrets_key", "sign_ins_per_minute", "mask_names_for", "idle_minutes", "session_hours"}
    assert named <= keys
    assert [key for key in named if f"`{key}" not in PAGE] == []
