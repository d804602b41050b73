"""Lists under a name, and what orders say of a study: as pages show them."""

import pytest
from support.site import csrf_of

from triage_agent.domain.orders import Message, Order
from triage_agent.domain.vocabulary import Priority


@pytest.fixture
def browser(hospital):
    return hospital.browser("radiologist")


def save(browser, name, query):
    return browser.post("/views", data={"csrf": csrf_of(browser.get("/")), "name": name, "query": query})


def test_a_list_is_saved_shown_and_removed(browser):
    answer = save(browser, "  Knees,   today ", "region=XR_KNEE&days=1&after=")
    assert answer.headers["location"] == "/?region=XR_KNEE&days=1"
    page = browser.get("/")
    assert '<a href="/?region=XR_KNEE&amp;days=1"><bdi>Knees, today</bdi></a>' in page.text
    assert "Save this list" not in browser.get("/?region=XR_KNEE&days=1").text
    browser.post("/views/1/remove", data={"csrf": csrf_of(page)})
    assert "Knees, today" not in browser.get("/").text


@pytest.mark.parametrize("name", ["", "  ", "x" * 41, "a\x00b", "a\u202eb"])
def test_names_that_are_none_are_refused(browser, name):
    assert save(browser, name, "days=1").status_code == 400


@pytest.mark.parametrize("query", ["days=99", "color=red", "priority=high", "after=xx"])
def test_what_is_no_list_is_not_saved(browser, query):
    assert save(browser, "Mine", query).status_code == 400


def test_another_list_is_not_overwritten_by_one_of_its_name(browser):
    assert save(browser, "Mine", "days=1").status_code == 303
    assert save(browser, "Mine", "days=1").status_code == 303
    refused = save(browser, "Mine", "days=3")
    assert (refused.status_code, "another list of this name" in refused.text) == (409, True)
    assert '<a href="/?days=1"><bdi>Mine</bdi></a>' in browser.get("/").text


def test_a_name_is_text_and_no_markup(browser):
    save(browser, "<script>alert(1)</script>", "days=1")
    assert "<script>alert" not in browser.get("/").text


def test_a_21st_is_refused_with_the_reason(browser):
    answers = [save(browser, str(number), "days=1").status_code for number in range(21)]
    assert answers == [303] * 20 + [409]


def test_no_view_has_a_number_that_none_can_have(browser):
    csrf = csrf_of(browser.get("/"))
    assert browser.post("/views/99999999999/remove", data={"csrf": csrf}).status_code == 404


def test_what_was_ordered_and_from_where_stands_on_the_list(hospital, browser):
    assert '<td data-head="Ordered">—</td>' in browser.get("/").text
    order = Order(
        accession_number="A1", patient_class="E", patient_location="ED room 4", priority=Priority.STAT, modality="DX"
    )
    message = Message(control_id="1", sender="RIS", received_at=hospital.story.tick())
    hospital.worklist.keep_orders([order], message)
    text = browser.get("/").text
    assert '<td data-head="Ordered">STAT <abbr class="tag" title="Emergency department">ED</abbr>' in text
    assert '<span class="why"><bdi>ED room 4</bdi></span>' in text
    assert "ED room 4" in browser.get("/studies/1.2.1").text
