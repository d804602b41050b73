"""What a browser says of itself, in words by which its owner knows it again: "Firefox on Windows"."""

import re

# A later name is said by browsers that say an earlier one, too: the first that fits is meant.
_BROWSERS = (
    ("Edge", re.compile(r"\bEdg(?:e|A|iOS)?/\d")),
    ("Opera", re.compile(r"\b(?:OPR|Opera)/\d")),
    ("Samsung Internet", re.compile(r"\bSamsungBrowser/\d")),
    ("Firefox", re.compile(r"\b(?:Firefox|FxiOS)/\d")),
    ("Chrome", re.compile(r"\b(?:HeadlessChrome|Chrome|CriOS)/\d")),
    ("Safari", re.compile(r"\bVersion/\d[\d.]* (?:Mobile/\w+ )?Safari/\d")),
)
_SYSTEMS = (
    ("an iPhone", re.compile(r"\biPhone\b")),
    ("an iPad", re.compile(r"\biPad\b")),
    ("Android", re.compile(r"\bAndroid\b")),
    ("Windows", re.compile(r"\bWindows\b")),
    ("macOS", re.compile(r"\bMacintosh\b")),
    ("ChromeOS", re.compile(r"\bCrOS\b")),
    ("Linux", re.compile(r"\bLinux\b")),
)
_LONGEST = 400  # characters that are looked at


def browser_in_words(user_agent: str) -> str:
    """A User-Agent (RFC 9110 section 10.1.5) in words of ours alone: none of what it says is repeated."""
    said = user_agent[:_LONGEST]
    browser = next((name for name, form in _BROWSERS if form.search(said)), "another browser" if said else "")
    system = next((name for name, form in _SYSTEMS if form.search(said)), "")
    return f"{browser} on {system}" if browser and system else browser
