"""The worklist in a browser: signing in, rows that move by themselves, filters, claims, keys; and without scripts."""

from datetime import timedelta

from playwright.sync_api import expect
from support.site import PASSWORD

from triage_agent.domain.vocabulary import Event, Finding, Priority
from triage_agent.web.site import live


def rows(page):
    return page.locator("#rows tr")


def listed(page, *studies):
    """Wait until the page shows these, in this order."""
    page.wait_for_function(
        "wanted => JSON.stringify([...document.querySelectorAll('#rows tr')].map(r => r.dataset.uid))"
        " === JSON.stringify(wanted)",
        arg=list(studies),
    )


def filled(served, number=3):
    """Studies 1.2.1 (of the hospital), 1.2.2 ...; decided ones first."""
    for one in range(2, number + 1):
        served.hospital.story.receive(f"1.2.{one}", patient_name=f"Patient^{one}", accession_number=f"A{one}")
    return served.hospital.story


def raised(story, study):
    story.complete(study)
    story.claim()
    assert story.decide(study=study)


def test_signing_in_and_out(served):
    page = served.open()
    page.goto("/")
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.type("radiologist")
    page.keyboard.press("Tab")
    page.keyboard.type("not the password")
    page.keyboard.press("Enter")
    with served.refusals():
        expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("Name").fill("radiologist")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(rows(page)).to_have_count(1)
    expect(rows(page)).to_contain_text("Åkesson, Görel")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto("/")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_raised_study_moves_up_without_a_reload_and_is_marked_once(served):
    story = filled(served)
    page = served.reader()
    listed(page, "1.2.1", "1.2.2", "1.2.3")
    page.evaluate("window.same = true")
    raised(story, "1.2.3")
    listed(page, "1.2.3", "1.2.1", "1.2.2")
    row = rows(page).first
    expect(row).to_contain_text("Urgent")
    expect(row).to_contain_text("from routine")
    expect(row).to_have_class("p-urgent moved")
    story.receive("1.2.4")
    expect(rows(page)).to_have_count(4)
    assert page.evaluate("window.same")
    assert page.evaluate("document.querySelectorAll('[data-uid=\"1.2.3\"].moved').length") == 1


def test_filters_and_search_narrow_the_list_and_can_be_kept_as_an_address(served):
    story = filled(served)
    raised(story, "1.2.3")
    page = served.reader()
    listed(page, "1.2.3", "1.2.1", "1.2.2")
    page.get_by_label("Priority").select_option("urgent")
    listed(page, "1.2.3")
    assert "priority=urgent" in page.url
    page.goto("/")
    page.get_by_label("Search").fill("akesson")
    page.keyboard.press("Enter")
    listed(page, "1.2.1")
    page.reload()
    listed(page, "1.2.1")
    expect(page.get_by_label("Search")).to_have_value("akesson")
    page.get_by_label("Search").fill("nobody")
    page.keyboard.press("Enter")
    expect(page.locator("#none")).to_contain_text("No study here for “nobody”.")


def test_two_readers_do_not_open_the_same_study(served):
    served.hospital.person("second", *served.hospital.accounts.account("radiologist").roles)
    one, two = served.reader(), served.reader("second")
    one.get_by_role("button", name="Claim").click()
    expect(rows(two).first.locator(".owner")).to_have_text("radiologist")
    expect(two.get_by_role("button", name="Claim")).to_have_count(0)
    rows(two).first.locator("a.open").click()
    expect(two.get_by_text("radiologist reads this study.")).to_be_visible()
    expect(two.get_by_role("button", name="Mark as read")).to_have_count(0)
    two.go_back()
    rows(one).first.locator("a.open").click()
    one.get_by_role("button", name="Give it back").click()
    expect(one.get_by_role("button", name="Claim")).to_be_visible()
    expect(two.get_by_role("button", name="Claim")).to_be_visible()


def test_the_list_is_worked_through_with_keys_alone(served):
    story = filled(served)
    served.radiograph("1.2.2.1")
    page = served.reader()
    listed(page, "1.2.1", "1.2.2", "1.2.3")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator("tr.selected")).to_have_attribute("data-uid", "1.2.2")
    page.keyboard.press("k")
    page.keyboard.press("j")
    page.keyboard.press("c")
    expect(rows(page).nth(1).locator(".owner")).to_have_text("radiologist")
    raised(story, "1.2.3")
    listed(page, "1.2.3", "1.2.1", "1.2.2")
    assert page.evaluate("document.activeElement.closest('tr').dataset.uid") == "1.2.2"
    expect(page.locator("tr.selected")).to_have_attribute("data-uid", "1.2.2")
    raised(story, "1.2.2")
    listed(page, "1.2.2", "1.2.3", "1.2.1")
    assert page.evaluate("document.activeElement.closest('tr').dataset.uid") == "1.2.2"
    page.keyboard.press("c")
    expect(page.locator("tr.selected").get_by_role("button", name="Claim")).to_be_visible()
    page.keyboard.press("/")
    expect(page.get_by_label("Search")).to_be_focused()
    page.keyboard.type("j?c")
    expect(page.get_by_label("Search")).to_have_value("j?c")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.locator("main").focus()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.locator("tr.selected a.open").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/studies/1.2.2")


def test_a_session_that_ends_while_the_page_is_open_leads_to_the_sign_in(served, monkeypatch):
    monkeypatch.setattr(live, "_BEAT_SECONDS", 0.5)
    page = served.reader()
    expect(rows(page)).to_have_count(1)
    served.hospital.accounts.disable("radiologist", "admin", served.hospital.now)
    with served.refusals():
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        assert "Åkesson" not in page.content()


def test_it_works_without_scripts(served):
    story = filled(served, 53)
    raised(story, "1.2.3")
    served.radiograph("1.2.3.1")
    page = served.reader(java_script_enabled=False)
    expect(rows(page)).to_have_count(50)
    page.get_by_role("link", name="Next page").click()
    expect(rows(page)).to_have_count(3)
    page.get_by_label("Priority").select_option("urgent")
    page.get_by_role("button", name="Show").click()
    expect(rows(page)).to_have_count(1)
    page.locator("a.open").click()
    page.get_by_role("button", name="Claim").click()
    page.get_by_role("button", name="Mark as read").click()
    expect(page.get_by_text("Read by radiologist.")).to_be_visible()
    page.get_by_role("link", name="Worklist").click()
    expect(rows(page)).to_have_count(50)
    assert page.locator('[data-uid="1.2.3"]').count() == 0


def test_studies_that_need_a_human_are_in_view_whatever_is_filtered(served):
    story = filled(served, 2)
    story.complete("1.2.2")
    story.claim()
    assert story.decide(
        study="1.2.2",
        finding=Finding.NOT_ASSESSED,
        probability=None,
        priority=Priority.ROUTINE,
        event=Event.FAILED,
        status_reason="the image is blank",
    )
    page = served.reader(then="/?priority=stat")
    expect(rows(page)).to_have_count(0)
    expect(page.locator("#human")).to_contain_text("the image is blank")
    expect(page.locator("#human").get_by_role("link", name="Patient, 2")).to_be_visible()


def test_an_agent_that_is_degraded_says_so_on_pages_that_are_open(serve):
    served = serve(idle=timedelta(hours=5))
    story = served.hospital.story
    page = served.reader()
    listed(page, "1.2.1")
    banner = page.get_by_text("The agent is degraded")
    expect(banner).to_have_count(0)
    story.complete("1.2.1")
    served.hospital.now = story.now + timedelta(minutes=30)
    served.hospital.site.condition.step()
    expect(banner).to_be_visible()
    expect(page.locator("#trouble")).to_contain_text("1 study waits to be scored, and no worker takes them up.")
    expect(page.locator("#trouble")).to_contain_text("Raises may be missing.")
    page.goto("/studies/1.2.1")
    expect(banner).to_be_visible()
    story.claim()
    served.hospital.site.condition.step()
    page.go_back()
    expect(banner).to_have_count(0)
