"""The worklist as readers use it: who reads which study, what a page that stays open hears, filters and pages."""

import re
from datetime import timedelta

import pytest
from support.site import csrf_of
from support.story import STUDY

from triage_agent.domain.accounts import Role


def test_a_study_is_claimed_by_one_reader(hospital):
    hospital.person("other", Role.RADIOLOGIST)
    ada, bob = hospital.browser("radiologist"), hospital.browser("other")
    mine, theirs = ({"csrf": csrf_of(one.get("/password"))} for one in (ada, bob))
    assert ada.post(f"/studies/{STUDY}/claim", data=mine).status_code == 303
    refused = bob.post(f"/studies/{STUDY}/claim", data=theirs, headers={"Accept": "application/json"})
    assert (refused.status_code, refused.json()["detail"]) == (409, "radiologist reads this study.")
    assert bob.post(f"/studies/{STUDY}/release", data=theirs).status_code == 409
    assert "<bdi>radiologist</bdi> reads this study." in bob.get(f"/studies/{STUDY}").text
    assert ada.post(f"/studies/{STUDY}/release", data=mine).status_code == 303
    assert bob.post(f"/studies/{STUDY}/claim", data=theirs).status_code == 303
    assert bob.post("/studies/1.2.9/claim", data=theirs).status_code == 404


def test_a_claim_that_was_forgotten_is_taken_over_by_who_says_from_whom(hospital):
    hospital.person("other", Role.RADIOLOGIST)
    ada, bob = hospital.browser("radiologist"), hospital.browser("other")
    mine, theirs = ({"csrf": csrf_of(one.get("/password"))} for one in (ada, bob))
    taken = theirs | {"from": "radiologist"}
    assert ada.post(f"/studies/{STUDY}/claim", data=mine).status_code == 303
    assert bob.post(f"/studies/{STUDY}/claim", data=taken).status_code == 409
    assert "Take over" not in bob.get("/?days=all").text
    hospital.now += timedelta(minutes=59, seconds=59)
    assert bob.post(f"/studies/{STUDY}/claim", data=taken).status_code == 409
    hospital.now += timedelta(seconds=1)
    assert 'name="from" value="radiologist"' in bob.get("/?days=all").text
    assert "Take it over from <bdi>radiologist</bdi>" in bob.get(f"/studies/{STUDY}").text
    refused = bob.post(f"/studies/{STUDY}/claim", data=theirs)
    assert (refused.status_code, "over an hour" in refused.text) == (409, True)
    assert bob.post(f"/studies/{STUDY}/claim", data=theirs | {"from": "somebody"}).status_code == 409
    assert bob.post(f"/studies/{STUDY}/claim", data=taken).status_code == 303
    ada = hospital.browser("radiologist")
    late = {"csrf": csrf_of(ada.get("/password")), "from": "radiologist"}
    assert ada.post(f"/studies/{STUDY}/claim", data=late).status_code == 409
    assert hospital.readers.one(STUDY).claimed_by == "other"


def test_a_page_that_stays_open_hears_how_its_study_stands_and_nothing_of_the_patient(hospital):
    browser = hospital.browser("radiologist")
    page = browser.get(f"/studies/{STUDY}").text
    told = browser.get(f"/condition?study={STUDY}")
    said = told.json()
    assert f'data-mark="{said["mark"]}"' in page
    assert (said["who"], said["csrf"], said["priority"]) == (
        "radiologist",
        csrf_of(browser.get("/password")),
        "Routine",
    )
    assert "Claim</button>" in said["now"]
    text = told.text.replace(said["csrf"], "")  # by chance, that may have any two signs
    assert not any(word in text for word in ("Åkesson", "\\u00c5kesson", "A1"))
    hospital.readers.claim(STUDY, "somebody", hospital.now, hospital.now)
    assert "<bdi>somebody</bdi> reads this study" in browser.get(f"/condition?study={STUDY}").json()["now"]
    assert browser.get(f"/condition?study={STUDY}").json()["mark"] == said["mark"]
    hospital.story.receive(image="1.2.1.2")
    assert browser.get(f"/condition?study={STUDY}").json()["mark"] != said["mark"]
    assert browser.get("/condition?study=1.2.9").status_code == 404
    assert browser.get("/condition?study=../..").status_code == 404


def test_what_was_read_is_shown_only_where_it_is_asked_for(hospital):
    browser = hospital.browser("radiologist")
    form = {"csrf": csrf_of(browser.get("/password"))}
    assert browser.post(f"/studies/{STUDY}/read", data=form).status_code == 409  # says not how much was seen
    assert browser.post(f"/studies/{STUDY}/read", data=form | {"instances": "1"}).status_code == 303
    assert "Åkesson" not in browser.get("/?days=all").text
    assert "Read by <bdi>radiologist</bdi>" in browser.get("/?days=all&read=1").text
    assert browser.post(f"/studies/{STUDY}/unread", data=form).status_code == 303
    assert "Åkesson" in browser.get("/?days=all").text


@pytest.mark.parametrize(
    "query", ["q=akes", "region=", "priority=routine", "order=newest", "days=all&status=receiving"]
)
def test_filters_find_it(hospital, query):
    assert "Åkesson" in hospital.browser("radiologist").get(f"/?days=all&{query}").text


@pytest.mark.parametrize("query", ["q=zzz", "priority=stat", "region=XR_HAND", "status=delivered"])
def test_filters_leave_it_out(hospital, query):
    page = hospital.browser("radiologist").get(f"/?days=all&{query}")
    assert page.status_code == 200
    assert "Åkesson" not in page.text


@pytest.mark.parametrize("query", ["days=5", "order=x", "after=e30", "after=%00", "after=WzFd", "color=red"])
def test_a_view_that_is_none_is_refused(hospital, query):
    assert hospital.browser("radiologist").get(f"/?{query}").status_code == 400


def test_the_next_page_begins_where_the_last_one_ends(hospital):
    for number in range(70):
        hospital.story.receive(f"1.2.840.5.{number}", accession_number=f"N{number}")
    browser, seen, path = hospital.browser("radiologist"), [], "/?days=all"
    while path:
        page = browser.get(path).text
        seen += re.findall(r'data-uid="([^"]+)"', page)
        found = re.search(r'rel="next" href="([^"]+)"', page)
        path = found and found.group(1).replace("&amp;", "&")
    assert len(seen) == len(set(seen)) == 71
