"""A whole reading with the keyboard alone: signing in, claiming, the study, feedback, and signing out."""

from playwright.sync_api import expect
from support import story
from support.site import PASSWORD

from triage_agent.domain.feedback import Verdict

_FAR = 60  # more stops than a page has


def tab_to(page, wanted):
    """Press Tab until `wanted` has the focus, which is seen then."""
    for _ in range(_FAR):
        page.keyboard.press("Tab")
        if wanted.evaluate("one => one === document.activeElement"):
            assert wanted.evaluate("one => getComputedStyle(one).outlineStyle !== 'none'")
            return
    raise AssertionError("it cannot be reached")


def test_a_study_is_read_from_the_sign_in_to_the_sign_out_without_a_mouse(served):
    page = served.open()
    page.goto("/")
    page.keyboard.type("radiologist")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator("#rows tr")).to_have_count(1)
    page.wait_for_load_state()  # rows are there before what listens for keys
    page.keyboard.press("j")
    page.keyboard.press("c")
    expect(page.locator("#rows .owner")).to_have_text("radiologist")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/studies/{story.STUDY}")
    page.keyboard.press("f")
    page.keyboard.press("ArrowDown")
    chosen = page.locator("#feedback input:checked")
    expect(chosen).to_be_focused()
    said = chosen.get_attribute("value")
    page.keyboard.press("Tab")
    page.keyboard.type("j k c, and a ?")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#feedback-given")).to_contain_text("j k c, and a ?")
    (word,) = served.hospital.feedback.of_study(story.STUDY, 9)
    assert (word.reader, word.verdict) == ("radiologist", Verdict(said))
    tab_to(page, page.get_by_role("button", name="Invert"))
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Invert")).to_have_attribute("aria-pressed", "true")
    page.evaluate("document.activeElement.blur()")
    tab_to(page, page.get_by_role("button", name="Mark as read"))
    page.keyboard.press("Enter")
    expect(page.get_by_text("Read by radiologist.")).to_be_visible()
    tab_to(page, page.get_by_role("button", name="Sign out"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
