"""Odd requests made of the application's own description, by an admin, a program and nobody: no fault, no leak."""

import hashlib
import secrets
from datetime import timedelta

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, strategies
from support.site import Hospital
from support.story import STUDY

from triage_agent.domain.accounts import NewSession
from triage_agent.web.access import Access, Caller
from triage_agent.web.site.rules import RULES, Door

TOKEN = "t" * 30
EXAMPLES = 12  # a route and caller
BOUNDED = hypothesis.settings(
    max_examples=EXAMPLES,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
ENDLESS = {"/live"}  # its stream has tests of its own
FIELDS = ("name", "password", "again", "old", "code", "sealed", "csrf", "next")
FORMS = strategies.dictionaries(strategies.sampled_from(FIELDS), strategies.text(max_size=300), max_size=5)
OPERATIONS = sorted((method, path) for method, path in RULES if path not in ENDLESS)


@pytest.fixture(scope="module")
def hospital(tmp_path_factory):
    caller = Caller(name="TOOL", token=TOKEN, may=frozenset({"worklist", "audit"}))
    plenty = {"tries": 10**6, "requests": 10**6, "access": Access((caller,))}
    made = Hospital(tmp_path_factory.mktemp("site"), entrance=plenty)
    made.schema = schemathesis.openapi.from_dict(made.app.openapi())
    yield made
    made.engine.dispose()


def signed_in(hospital, name):
    """A browser with a session that began without the cost of a password, and its forms' token."""
    token = secrets.token_urlsafe(16)
    new = NewSession(
        digest=hashlib.sha256(token.encode()).hexdigest(), csrf="c" * 32, ends_at=hospital.now + timedelta(hours=1)
    )
    hospital.accounts.begin_session(name, new, "10.0.0.9", hospital.now)
    browser = hospital.browser()
    browser.cookies.set("triage", token)
    return browser


def ask(browser, case, form, headers=None):
    """The case as it was made up; its study and image are ours often enough to reach what lies behind them."""
    path = case.path
    for name, value in (case.path_parameters or {}).items():
        known = {"uid": STUDY, "image": f"{STUDY}.1"}.get(name)
        said = known if known and len(str(value)) % 2 else quoted(value)
        path = path.replace(f"{{{name}}}", said)
    data = form if case.method != "GET" else None
    return browser.request(case.method, path, params=case.query or None, headers=headers, data=data)


def quoted(value):
    """One segment of a path, whatever is in it."""
    return "".join(f"%{byte:02X}" for byte in str(value).encode("utf-8", "replace")) or "%20"


def every_case(hospital, method, path, check):
    asked = []

    @hypothesis.seed(20260301)
    @BOUNDED
    @hypothesis.given(case=hospital.schema[path][method].as_strategy(), form=FORMS)
    def probe(case, form):
        asked.append(case)
        check(case, form)

    probe()
    assert asked


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_nothing_that_an_admin_asks_for_is_a_fault(hospital, method, path):
    def check(case, form):
        answer = ask(signed_in(hospital, "admin"), case, {**form, "csrf": "c" * 32})
        assert answer.status_code < 500, (answer.status_code, answer.text[:300])
        assert "Traceback" not in answer.text

    every_case(hospital, method, path, check)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_nothing_that_nobody_asks_for_is_a_fault_or_a_leak(hospital, method, path):
    rule = RULES[method, path]

    def check(case, form):
        answer = ask(hospital.browser(), case, form)
        assert answer.status_code < 500, (answer.status_code, answer.text[:300])
        assert "kesson" not in answer.text
        if rule.door is not Door.OPEN:
            assert answer.status_code in {303, 401}

    every_case(hospital, method, path, check)


@pytest.mark.parametrize("path", ["/api/worklist", "/api/audit"])
def test_nothing_that_a_program_asks_for_is_a_fault(hospital, path):
    def check(case, form):
        answer = ask(hospital.browser(), case, form, {"Authorization": f"Bearer {TOKEN}"})
        assert answer.status_code in {200, 400, 422}, answer.text[:300]

    every_case(hospital, "GET", path, check)


def test_every_route_but_the_endless_one_is_probed(hospital):
    described = {
        (method.upper(), path) for path, methods in hospital.app.openapi()["paths"].items() for method in methods
    }
    assert described - set(OPERATIONS) == {("GET", path) for path in ENDLESS}
