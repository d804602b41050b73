"""The images of a study in a browser: the evidence map, off until it is asked for, and two images side by side."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from support import story
from support.evidence_pages import mapped

from triage_agent.domain.vocabulary import ArtifactKind

STUDY = f"/studies/{story.STUDY}"
NOTICE = "Evidence map, not a lesion outline; preliminary; machine-made."


@pytest.fixture
def shown(serve):
    """A study of three images, the first of which has a map, and a site that shows it."""
    served = serve(evidence=True)
    mapped(served.hospital, images=3)
    return served


def coloured(image):
    """How many pixels of what is shown are not grey; waits for it."""
    return image.evaluate("""async image => {
        await image.decode();
        const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight), draw = canvas.getContext("2d");
        draw.drawImage(image, 0, 0);
        const all = draw.getImageData(0, 0, canvas.width, canvas.height).data;
        let found = 0;
        for (let at = 0; at < all.length; at += 4) if (Math.abs(all[at] - all[at + 2]) > 40) found++;
        return found;
    }""")


def image(page, number):
    return page.locator(f'img[data-alt="Radiograph {number} of 3"]')


def violations(page):
    found = Axe().run(page).response["violations"]
    return [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found]


def test_the_evidence_map_is_off_until_it_is_asked_for_and_never_without_its_words(shown):
    page = shown.reader(then=STUDY)
    switch, words = page.get_by_role("checkbox", name="Evidence map"), page.get_by_text(NOTICE)
    expect(switch).not_to_be_checked()
    expect(words).to_be_hidden()
    assert coloured(image(page, 1)) == 0
    with page.expect_response(lambda answer: "evidence=true" in answer.url):
        page.keyboard.press("e")
    expect(switch).to_be_checked()
    expect(words).to_be_visible()
    assert coloured(image(page, 1)) > 100
    assert coloured(image(page, 2)) == 0  # it has no map
    expect(image(page, 1)).to_have_attribute("alt", "Radiograph 1 of 3, with its evidence map")
    with page.expect_response(lambda answer: "inverted=true" in answer.url and "evidence=true" in answer.url):
        page.get_by_role("button", name="Invert").first.click()
    assert coloured(image(page, 1)) > 100
    assert violations(page) == []
    switch.click()
    expect(words).to_be_hidden()
    assert coloured(image(page, 1)) == 0
    page.keyboard.press("e")
    page.reload()
    expect(switch).not_to_be_checked()
    expect(words).to_be_hidden()


def test_the_map_can_be_asked_for_without_scripts(shown):
    page = shown.reader(then=STUDY, java_script_enabled=False)
    page.get_by_role("checkbox", name="Evidence map").check()
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text(NOTICE)).to_be_visible()
    assert "evidence=true" in image(page, 1).get_attribute("src")


def test_a_picture_is_shown_where_no_outlines_were_made(serve):
    served = serve(evidence=True)
    mapped(served.hospital, (ArtifactKind.EVIDENCE_SC,))
    page = served.reader(then=STUDY)
    picture = page.get_by_role("img", name="The evidence map of this study as a picture")
    expect(picture).to_be_hidden()
    page.keyboard.press("e")
    expect(picture).to_be_visible()
    expect(page.locator("#evidence-picture figcaption")).to_have_text(NOTICE)


def test_a_site_without_evidence_has_no_switch(serve):
    served = serve()
    mapped(served.hospital)
    page = served.reader(then=STUDY)
    expect(page.get_by_role("img", name="Radiograph 1 of 1")).to_be_visible()
    expect(page.get_by_role("checkbox", name="Evidence map")).to_have_count(0)
    page.keyboard.press("e")
    assert coloured(page.get_by_role("img", name="Radiograph 1 of 1")) == 0


def test_two_images_stand_side_by_side_each_with_its_own_window_and_zoom(shown):
    page = shown.reader(then=STUDY, viewport={"width": 1600, "height": 900})
    page.keyboard.press("s")
    expect(page.get_by_role("button", name="Side by side")).to_have_attribute("aria-pressed", "true")
    one, two = image(page, 1), image(page, 2)
    expect(image(page, 3)).to_be_hidden()
    left_pick, right_pick = page.locator("[data-pick]").first, page.locator("[data-pick]").last
    left, right = one.bounding_box(), two.bounding_box()
    assert (left["y"], left["width"] > 700) == (right["y"], True)
    assert left["x"] + left["width"] <= right["x"]
    right_pick.select_option(label="3")
    expect(two).to_be_hidden()
    expect(image(page, 3)).to_be_visible()
    third = page.locator(".view", has=image(page, 3))
    with page.expect_response(lambda answer: "inverted=true" in answer.url):
        third.get_by_role("button", name="Invert").click()
    third.get_by_role("button", name="Zoom in").click()
    expect(third.locator(".pane")).to_have_class("pane zoomed")
    expect(page.locator(".view", has=one).locator(".pane")).to_have_class("pane")
    assert "inverted=false" in one.get_attribute("src")
    assert violations(page) == []
    left_pick.select_option(label="3")  # then the other one moves on
    assert right_pick.input_value() == "0"
    assert image(page, 3).bounding_box()["x"] < one.bounding_box()["x"]
    page.get_by_role("button", name="Side by side").click()
    expect(two).to_be_visible()
