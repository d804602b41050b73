"""Signing in by an identity provider that signs with real keys: who it vouches for gets in, and nobody by a lie."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from support.oidc import CLIENT, SECRET, provider
from support.site import Hospital, csrf_of

from triage_agent.cli import doctor
from triage_agent.domain.accounts import Role, Source
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.settings import load_settings
from triage_agent.web.site.provider import ProviderSettings

ROLES = {Role.RADIOLOGIST: frozenset({"rad"}), Role.ADMIN: frozenset({"it", "chief"})}
BASE = "http://testserver"


class Setting:
    def __init__(self, folder, theirs, **changes):
        self.theirs = theirs
        known = {
            "issuer": theirs.issuer,
            "client_id": CLIENT,
            "client_secret": SECRET,
            "redirect": f"{BASE}/oidc/back",
            "roles": ROLES,
            "timeout_seconds": 4.0,
        }
        self.site = Hospital(folder, second_factor=tuple(Role), provider=ProviderSettings(**{**known, **changes}))

    def go(self, then="/"):
        """A browser that has been sent to the provider, and the address that it comes back by."""
        browser = self.site.browser()
        answer = browser.get("/oidc/start", params={"next": then})
        assert answer.status_code == 303, answer.text
        back = self.theirs.authorize(answer.headers["location"])
        assert back.startswith(BASE)
        return browser, back.removeprefix(BASE)

    def sign_in(self, then="/"):
        browser, back = self.go(then)
        return browser, browser.get(back)

    def why(self):
        return [event.detail["reason"] for event in self.site.audited(AuditAction.SIGN_IN_REFUSED)]


@pytest.fixture
def theirs():
    clock = {"site": None}
    with provider(lambda: clock["site"].now if clock["site"] else datetime(2026, 3, 1, 8, tzinfo=UTC)) as made:
        made.clock = clock
        yield made


@pytest.fixture
def setting(tmp_path, theirs):
    made = Setting(tmp_path, theirs)
    theirs.clock["site"] = made.site
    yield made
    made.site.engine.dispose()


def test_whom_the_provider_vouches_for_gets_in_with_the_roles_of_the_groups(setting):
    browser, answer = setting.sign_in("/?days=all")
    assert answer.headers["location"] == "/?days=all"
    page = browser.get("/?days=all")
    assert page.status_code == 200
    account = setting.site.accounts.account("grace")
    assert (account.source, account.roles) == (Source.OIDC, {Role.RADIOLOGIST})
    assert browser.get("/audit").status_code == 403
    (event,) = setting.site.audited(AuditAction.SIGNED_IN)
    assert (event.actor, event.detail["strong"]) == ("grace", True)
    assert browser.post("/logout", data={"csrf": csrf_of(page)}).headers["location"] == "/login"
    assert browser.get("/").status_code == 303


def test_the_sign_in_page_leads_there_and_remembers_where_one_wanted_to_go(setting):
    page = setting.site.browser().get("/login?next=/audit").text
    assert 'href="/oidc/start?next=/audit">Sign in with the house' in page


def test_roles_are_those_of_the_last_sign_in(setting):
    browser, _ = setting.sign_in()
    setting.theirs.person["groups"] = ["chief"]
    setting.sign_in()
    assert setting.site.accounts.account("grace").roles == {Role.ADMIN}
    assert browser.get("/audit").status_code == 200  # the older session has them, too
    setting.theirs.person["groups"] = []
    _, refused = setting.sign_in()
    assert refused.status_code == 403
    assert browser.get("/").headers["location"].startswith("/login")


@pytest.mark.parametrize("groups", [None, [], "nobody", ["RAD"], {"rad": True}, [["rad"]], 7])
def test_nobody_without_a_role_gets_in(setting, groups):
    setting.theirs.person["groups"] = groups
    browser, answer = setting.sign_in()
    assert answer.status_code == 403
    assert browser.get("/").headers["location"] == "/login"
    assert setting.site.accounts.account("grace") is None
    assert setting.why() == ["identity provider: no role comes of the person's groups"]


LIES = {
    "another nonce": ({"lies": {"nonce": "n" * 32}}, "(invalid_claim nonce)"),
    "no nonce": ({"lies": {"nonce": None}}, "(missing_claim nonce)"),
    "another audience": ({"lies": {"aud": "somebody-else"}}, "(invalid_claim aud)"),
    "another audience too, and its party": (
        {"lies": {"aud": [CLIENT, "other"], "azp": "other"}},
        "(invalid_claim azp)",
    ),
    "another issuer": ({"lies": {"iss": "http://127.0.0.1/evil"}}, "(invalid_claim iss)"),
    "expired": ({"lies": {"exp": 1}}, "(expired_token exp)"),
    "no expiry": ({"lies": {"exp": None}}, "(missing_claim exp)"),
    "of tomorrow": ({"lies": {"iat": 4_000_000_000, "exp": 4_100_000_000}}, "(invalid_claim iat)"),
    "an expiry that is no number": ({"lies": {"exp": "never"}}, "(invalid_claim exp)"),
    "no subject": ({"lies": {"sub": None}}, "(missing_claim sub)"),
    "a subject that is no text": ({"lies": {"sub": {"a": 1}}}, "(invalid_claim sub)"),
    "unsigned": ({"alg": "none"}, "(unsupported_algorithm)"),
    "signed with the public key": ({"alg": "HS256"}, "(unsupported_algorithm)"),
    "an algorithm that is not on the list": ({"alg": "RS512"}, "(unsupported_algorithm)"),
    "a key that is not published": ({"key": 1}, "(invalid_key_id)"),
    "no name": ({"person": {"sub": "s", "groups": ["rad"]}}, "names nobody"),
    "a name that is none": ({"lies": {"preferred_username": "../../etc"}}, "cannot be an account's"),
    "a description of another": ({"description": {"issuer": "http://127.0.0.1/other"}}, "of another issuer"),
}


@pytest.mark.parametrize("lie", LIES)
def test_nobody_gets_in_by_a_lie(setting, lie):
    browser, back = setting.go()
    for name, value in LIES[lie][0].items():
        setattr(setting.theirs, name, value)
    setting.site.now += timedelta(hours=2)  # description and keys are asked for again
    assert browser.get(back).status_code == 403
    assert browser.get("/").headers["location"] == "/login"
    assert [one.name for one in setting.site.accounts.accounts()] == ["admin", "auditor", "everybody", "radiologist"]
    (why,) = setting.why()
    assert LIES[lie][1] in why


def test_a_state_is_good_once_and_only_for_the_browser_that_was_sent(setting):
    browser, back = setting.go()
    kept = dict(browser.cookies)
    assert setting.site.browser().get(back).status_code == 403  # somebody else's browser
    assert browser.get(back).status_code == 303
    again = setting.site.browser()
    again.cookies.update(kept)
    assert again.get(back).status_code == 403
    other, theirs = setting.go()
    state = parse_qs(urlsplit(theirs).query)["state"][0]
    assert other.get(theirs.replace(state, "x" * len(state))).status_code == 403
    assert setting.why() == [
        "identity provider: the browser came back with another state",
        "identity provider: the browser came back twice",
        "identity provider: the browser was not sent by us, or too long ago",
    ]


def test_another_provider_cannot_send_the_browser_back(setting):
    browser, back = setting.go()
    assert browser.get(f"{back}&iss=http://127.0.0.1/evil").status_code == 403
    browser, back = setting.go()
    assert browser.get(f"{back}&iss={setting.theirs.issuer}").status_code == 303


def test_an_error_of_the_provider_is_not_repeated(setting):
    browser, back = setting.go()
    state = parse_qs(urlsplit(back).query)["state"][0]
    answer = browser.get("/oidc/back", params={"error": "<b>denied</b>", "state": state})
    assert answer.status_code == 403
    assert "denied" not in answer.text


def test_a_new_key_is_fetched_when_a_token_has_one(setting):
    setting.sign_in()
    setting.theirs.key, setting.theirs.published = 1, [0, 1]
    setting.site.now += timedelta(minutes=2)
    assert setting.sign_in()[1].status_code == 303
    fetched = setting.theirs.asked.count("/realm/keys")
    assert fetched == 2
    setting.theirs.alg = "none"
    for _ in range(5):  # strangers cannot make us ask all the time
        assert setting.sign_in()[1].status_code == 403
    assert setting.theirs.asked.count("/realm/keys") == fetched


def test_a_local_account_is_never_taken_over_and_a_renamed_person_keeps_theirs(setting):
    setting.theirs.person["preferred_username"] = "admin"
    assert setting.sign_in()[1].status_code == 403
    assert setting.site.accounts.account("admin").source is Source.LOCAL
    setting.theirs.person["preferred_username"] = "grace"
    assert setting.sign_in()[1].status_code == 303
    setting.theirs.person["preferred_username"] = "hopper"
    assert setting.sign_in()[1].status_code == 303
    assert setting.site.accounts.account("hopper") is None
    setting.theirs.person = {"sub": "s-2", "preferred_username": "grace", "groups": ["rad"]}
    assert setting.sign_in()[1].status_code == 403  # the name is the other's


def test_a_disabled_account_stays_out(setting):
    setting.sign_in()
    setting.site.accounts.disable("grace", "test", setting.site.now)
    assert setting.sign_in()[1].status_code == 403


def test_whose_password_is_asked_for_is_not_known_here(setting):
    setting.sign_in()
    answer = setting.site.browser().post("/login", data={"name": "grace", "password": "x"})
    assert answer.status_code == 403


def test_a_site_can_ask_for_the_providers_second_factor(tmp_path, theirs):
    setting = Setting(tmp_path, theirs, amr=frozenset({"mfa", "hwk"}), roles_claim="realm_access.roles")
    theirs.clock["site"] = setting.site
    theirs.person |= {"groups": None, "realm_access": {"roles": "rad"}}
    assert setting.sign_in()[1].status_code == 403
    theirs.person["amr"] = ["pwd", "mfa"]
    assert setting.sign_in()[1].status_code == 303
    setting.site.engine.dispose()


def test_a_provider_that_is_away_costs_a_page_and_no_more(setting):
    setting.theirs.description = {"token_endpoint": "http://127.0.0.1:9/token", "jwks_uri": "file:///etc/passwd"}
    assert setting.sign_in()[1].status_code == 403
    setting.theirs.description = {"authorization_endpoint": "javascript:alert(1)"}
    setting.site.now += timedelta(hours=2)
    assert setting.site.browser().get("/oidc/start").status_code == 503
    assert setting.site.browser().get("/login").status_code == 200


def test_without_a_provider_there_is_no_such_page(tmp_path):
    site = Hospital(tmp_path)
    assert site.browser().get("/oidc/start").status_code == 404
    assert "/oidc" not in site.browser().get("/login").text
    site.engine.dispose()


@pytest.mark.parametrize(
    ("description", "says"),
    [
        ({}, "answers, with 1 key"),
        ({"issuer": "http://127.0.0.1/other"}, "another issuer"),
        ({"token_endpoint": "ftp://x"}, "no token_endpoint that can be used"),
        ({"jwks_uri": "http://127.0.0.1:9/keys"}, "does not answer"),
    ],
)
def test_check_says_whether_the_provider_can_be_used(tmp_path, theirs, description, says):
    theirs.description = description
    file = tmp_path / "agent.toml"
    file.write_text(
        f'data_dir = "{tmp_path}/var"\n[web]\npublic_url = "{BASE}"\n'
        f'[web.oidc]\nissuer = "{theirs.issuer}"\nclient_id = "c"\nroles = {{ admin = ["it"] }}\n'
    )
    parts = dict(doctor._parts(load_settings(file)))
    finding = doctor._examine("identity provider", parts["identity provider"])
    assert finding.ok is (description == {})
    assert says in finding.says
