"""What browsers say of themselves, in words of ours."""

import pytest

from triage_agent.domain.sessions import LONGEST_BROWSER
from triage_agent.web.site.browsers import browser_in_words

MOZILLA = "Mozilla/5.0"
KHTML = "AppleWebKit/537.36 (KHTML, like Gecko)"
SAID = {
    f"{MOZILLA} (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0": "Firefox on Windows",
    f"{MOZILLA} (Windows NT 10.0; Win64; x64) {KHTML} Chrome/126.0.0.0 Safari/537.36": "Chrome on Windows",
    f"{MOZILLA} (Windows NT 10.0) {KHTML} Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0": "Edge on Windows",
    f"{MOZILLA} (X11; Linux x86_64) {KHTML} HeadlessChrome/126.0.0.0 Safari/537.36": "Chrome on Linux",
    f"{MOZILLA} (X11; CrOS x86_64 14541.0.0) {KHTML} Chrome/126.0.0.0 Safari/537.36": "Chrome on ChromeOS",
    f"{MOZILLA} (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 "
    "Safari/605.1.15": "Safari on macOS",
    f"{MOZILLA} (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 "
    "Mobile/15E148 Safari/604.1": "Safari on an iPhone",
    f"{MOZILLA} (Linux; Android 14) {KHTML} SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36": (
        "Samsung Internet on Android"
    ),
    f"{MOZILLA} (X11; Linux x86_64) {KHTML} Chrome/126.0.0.0 Safari/537.36 OPR/112.0": "Opera on Linux",
    "curl/8.5.0": "another browser",
    "": "",
}


@pytest.mark.parametrize(("said", "words"), SAID.items(), ids=list(SAID.values()))
def test_a_browser_is_named_with_its_system(said, words):
    assert browser_in_words(said) == words


@pytest.mark.parametrize(
    "said",
    ["<script>alert(1)</script>", "\x00\x1b[31m Windows", "A" * 1_000_000, "Version/" + "1." * 100_000, "\ud800"],
)
def test_nothing_of_what_a_hostile_one_says_is_repeated(said):
    words = browser_in_words(said)
    assert words.replace(" ", "").isalpha()
    assert len(words) <= LONGEST_BROWSER
