"""Reading one study after the other: keys between list and studies, what moves and leaves, images that are busy."""

from playwright.sync_api import expect
from support import story
from support.agent import eventually

from triage_agent.domain.vocabulary import Priority

STUDY = f"/studies/{story.STUDY}"


def rows(page):
    return page.locator("#rows tr")


def raised(served, study, priority=Priority.URGENT):
    told = served.hospital.story
    told.complete(study)
    told.claim()
    assert told.decide(study=study, priority=priority)


def test_keys_lead_from_study_to_study_and_back_to_the_same_row_and_over_the_end_of_a_page(served):
    for one in range(2, 53):
        served.hospital.story.receive(f"1.2.{one}", patient_name=f"Patient^{one}")
    for study in ("1.2.2.1", "1.2.3.1"):
        served.radiograph(study)
    page = served.reader(viewport={"width": 1280, "height": 500})
    expect(rows(page)).to_have_count(50)
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/studies/1.2.2", wait_until="domcontentloaded")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("j")
    page.wait_for_url("**/studies/1.2.3", wait_until="domcontentloaded")
    expect(page.get_by_role("button", name="Claim")).to_be_enabled()
    page.keyboard.press("c")
    expect(page.get_by_text("You read this study.")).to_be_visible()
    page.keyboard.press("u")
    page.wait_for_url(f"{served.base}/")
    expect(page.locator("tr.selected")).to_have_attribute("data-uid", "1.2.3")
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    page.wait_for_url("**/studies/1.2.2", wait_until="domcontentloaded")
    page.go_back()
    expect(page.locator("tr.selected")).to_have_attribute("data-uid", "1.2.2")
    for _ in range(48):
        page.keyboard.press("j")
    last = page.locator("tr.selected")
    expect(last).to_have_attribute("data-uid", "1.2.50")
    foot = page.locator(".honest").bounding_box()["y"]
    assert last.bounding_box()["y"] + last.bounding_box()["height"] <= foot
    page.keyboard.press("j")
    expect(rows(page)).to_have_count(2)
    expect(page.locator("tr.selected")).to_have_attribute("data-uid", "1.2.51")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0


def test_the_first_key_after_the_help_is_heard_before_the_page_is_drawn_again(served):
    page = served.reader()
    expect(rows(page)).to_have_count(1)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    selected = """() => { const press = () => document.activeElement.dispatchEvent(
            new KeyboardEvent("keydown", { key: "j", bubbles: true, cancelable: true }));
        const any = () => document.querySelectorAll("tr.selected").length;
        press(); const open = any(); keys.close(); press(); return [open, any()]; }"""
    assert page.evaluate(selected) == [0, 1]


def test_the_search_opens_on_a_phone_by_its_key(served):
    page = served.reader(viewport={"width": 390, "height": 800})
    expect(page.get_by_label("Search")).to_be_hidden()
    page.keyboard.press("/")
    expect(page.get_by_label("Search")).to_be_focused()


def test_a_click_just_after_the_list_moved_does_nothing_and_what_was_raised_is_named(served):
    for one in (2, 3):
        served.hospital.story.receive(f"1.2.{one}", patient_name=f"Patient^{one}")
    page = served.reader()
    routine = served.reader("everybody", then="/?priority=routine")
    expect(rows(page)).to_have_count(3)
    expect(rows(routine)).to_have_count(3)
    box = page.locator('[data-uid="1.2.1"] .claim').bounding_box()
    at = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*at)
    page.evaluate("""() => { new MutationObserver((_, seen) => {
        if (rows.firstElementChild.dataset.uid !== "1.2.3") return;
        seen.disconnect();
        queueMicrotask(() => setTimeout(() => rows.querySelector('[data-uid="1.2.3"] .claim').dispatchEvent(
            new MouseEvent("click", { bubbles: true, cancelable: true, detail: 1 })), 50));
    }).observe(rows, { childList: true }); }""")
    raised(served, "1.2.3")
    expect(page.get_by_text("The list moved just then")).to_be_visible()
    expect(page.get_by_role("status").filter(has_text="Raised: Patient, 3 to Urgent.")).to_be_in_viewport()
    assert served.hospital.readers.one("1.2.3").claimed_by is None
    page.wait_for_timeout(800)
    page.mouse.click(*at)
    expect(rows(page).first.locator(".owner")).to_have_text("radiologist")
    expect(rows(routine)).to_have_count(2)
    expect(routine.get_by_text("Raised: Patient, 3 to Urgent, so it is not in this list any more.")).to_be_visible()


def test_a_name_that_is_taken_is_said_where_one_looks(served):
    page = served.reader(then="/?priority=routine")
    page.get_by_label("Save this list as").fill("Mine")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("link", name="Mine")).to_be_visible()
    page.goto("/?days=1")
    page.get_by_label("Save this list as").fill("Mine")
    with served.refusals():
        page.get_by_role("button", name="Save").click()
        said = page.get_by_role("alert").filter(has_text="another list of this name")
        expect(said).to_be_in_viewport()
    expect(page.get_by_label("Save this list as")).to_have_value("Mine")
    said.get_by_role("button", name="Close").click()
    expect(said).to_have_count(0)


def test_an_image_that_is_busy_is_asked_for_again_and_contrast_and_zoom_do_what_they_say(served):
    page = served.reader()
    is_busy = [True]

    def busy(route):
        if is_busy:
            route.fulfill(status=503, headers={"Retry-After": "3"}, json={"detail": "Later."})
        else:
            route.continue_()

    page.route("**/images/**", busy)
    image = page.locator("[data-image]")
    with served.refusals():
        page.goto(STUDY)
        expect(page.get_by_text("It is asked for again.")).to_be_visible()
        is_busy.clear()
        expect(image).to_be_visible()
        spread = """async image => { await image.decode();
            const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight), draw = canvas.getContext("2d");
            draw.drawImage(image, 0, 0);
            const grey = draw.getImageData(0, 0, canvas.width, canvas.height).data.filter((_, at) => at % 4 === 0);
            return Math.max(...grey) - Math.min(...grey); }"""
        whole = image.evaluate(spread)
        with page.expect_response(lambda answer: "low=-0.5" in answer.url):
            page.get_by_label("Contrast").fill("25")
        eventually(lambda: image.evaluate(spread) < 0.7 * whole)  # it takes the place of the other when it is drawn
        page.get_by_role("button", name="Zoom in").click()
        pane = page.locator(".pane")
        middle = """pane => [(pane.scrollLeft + pane.clientWidth / 2) / pane.scrollWidth,
            (pane.scrollTop + pane.clientHeight / 2) / pane.scrollHeight]"""
        assert all(abs(place - 0.5) < 0.02 for place in pane.evaluate(middle))
        page.get_by_role("button", name="Zoom in").click()
        assert all(abs(place - 0.5) < 0.02 for place in pane.evaluate(middle))
        expect(page.get_by_role("button", name="Zoom in")).to_be_disabled()
        before, box = pane.evaluate("pane => pane.scrollTop"), pane.bounding_box()
        page.mouse.move(box["x"] + 200, box["y"] + 200)
        page.mouse.down()
        page.mouse.move(box["x"] + 200, box["y"] + 150, steps=3)
        page.mouse.up()
        assert pane.evaluate("pane => pane.scrollTop") == before + 50
        page.get_by_role("button", name="Zoom out").click()
        page.get_by_role("button", name="Zoom out").click()
        expect(pane).to_have_class("pane")
