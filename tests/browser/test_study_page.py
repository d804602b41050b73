"""A study and the audit console in a browser: its images, trying again, who did what."""

from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import expect
from support import story
from support.site import PASSWORD

from triage_agent.domain.vocabulary import ArtifactKind

STUDY = f"/studies/{story.STUDY}"


def width(image):
    """Of what was loaded; waits for it."""
    return image.evaluate("async image => { await image.decode(); return image.naturalWidth }")


def asked(image):
    """The query of the image's address."""
    return {key: value for key, (value,) in parse_qs(urlsplit(image.get_attribute("src")).query).items()}


def mean(image):
    """The mean grey value of what is shown, 0 to 255."""
    return image.evaluate("""async image => {
        await image.decode();
        const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight), draw = canvas.getContext("2d");
        draw.drawImage(image, 0, 0);
        const grey = draw.getImageData(0, 0, canvas.width, canvas.height).data.filter((_, at) => at % 4 === 0);
        return grey.reduce((sum, one) => sum + one, 0) / grey.length;
    }""")


def test_images_are_windowed_inverted_and_enlarged(served):
    page = served.reader(then=STUDY)
    image = page.get_by_role("img", name="Radiograph 1 of 1")
    assert width(image) == 200
    before = mean(image)
    with page.expect_response(lambda answer: "inverted=true" in answer.url):
        page.get_by_role("button", name="Invert").click()
    assert abs(mean(image) - (255 - before)) < 2
    assert page.get_by_role("button", name="Invert").get_attribute("aria-pressed") == "true"
    with page.expect_response(lambda answer: "high=0.800" in answer.url):
        page.get_by_label("Brightness").fill("70")
    with page.expect_response(lambda answer: "size=4096" in answer.url):
        page.get_by_role("button", name="Zoom in").click()
    assert asked(image)["inverted"] == "true"
    expect(page.locator(".pane")).to_have_class("pane zoomed")
    page.get_by_role("button", name="Reset").click()
    assert mean(image) == before
    assert asked(image) == {}


def test_an_image_that_cannot_be_shown_says_so_in_its_place(served):
    (served.folder / "1.2.1.1.dcm").write_bytes(b"no image")
    page = served.open()
    with served.refusals():
        page.goto(f"/login?next={STUDY}")
        page.get_by_label("Name").fill("radiologist")
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        expect(page.locator(".pane p")).to_contain_text("DICOM")


def test_what_failed_is_sent_again(served):
    told = served.hospital.story
    told.complete()
    told.claim()
    assert told.decide(story.shipment(to="pacs", kind=ArtifactKind.HL7_ORU, body=b"MSH"))
    told.lose("connection refused")
    page = served.reader(then=STUDY)
    expect(page.get_by_role("row", name="HL7 result (ORU)")).to_contain_text("connection refused")
    page.get_by_role("button", name="Try again what failed").click()
    expect(page.get_by_role("row", name="HL7 result (ORU)")).not_to_contain_text("Failed")
    assert [one.artifact.kind for one in told.deliveries()] == [ArtifactKind.HL7_ORU]


def test_the_notice_is_in_view_wherever_one_scrolls(served):
    page = served.reader(then=STUDY, viewport={"width": 390, "height": 600})
    notice = page.get_by_text("Preliminary. Machine-made. Not a diagnosis.")
    expect(notice).to_be_in_viewport()
    page.evaluate("scrollTo(0, document.body.scrollHeight / 2)")
    expect(notice).to_be_in_viewport()


def test_a_reader_finds_no_way_into_the_audit_console(served):
    page = served.reader()
    expect(page.get_by_role("link", name="Audit")).to_have_count(0)
    with served.refusals():
        assert page.goto("/audit").status == 403
    expect(page.get_by_role("alert")).to_have_text("Your account may not open this page.")
