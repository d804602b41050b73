"""An application with accounts of every role, on a database of its own, and browsers that sign in."""

import re
from datetime import UTC, datetime

import pyotp
from argon2 import PasswordHasher
from fastapi.testclient import TestClient
from support.migrated import migrated
from support.story import Story

from triage_agent.audit.messages import Source
from triage_agent.domain.accounts import Account, Role
from triage_agent.domain.audit import AuditQuestion
from triage_agent.imaging.loader import DirectLoader
from triage_agent.ops.gauges import Disk
from triage_agent.web.app import build_app
from triage_agent.web.site.audit_chain import AuditParts
from triage_agent.web.site.entrance import Entrance
from triage_agent.web.site.images import Radiographs
from triage_agent.web.site.passwords import Passwords
from triage_agent.web.site.provider import Provider
from triage_agent.web.site.sealing import Seal
from triage_agent.web.site.second import SecondFactor, SecondSettings
from triage_agent.web.site.site import Site, SiteSettings
from triage_agent.worklist import (
    SqlAccounts,
    SqlAuditLog,
    SqlFeedback,
    SqlReadingList,
    SqlSavedViews,
    SqlSecondFactors,
    SqlWorklist,
    open_engine,
)
from triage_agent.worklist.figures import SqlFigures
from triage_agent.worklist.sessions import SqlSessions

PASSWORD = "correct horse battery"  # noqa: S105 - of nobody
QUICK = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
SOURCE = Source(source_id="TRIAGE", site="Hospital", ae_title="TRIAGE", host="here", patients="id")


class Hospital:
    """An application with accounts of every role, on a database of its own."""

    def __init__(
        self,
        folder,
        *,
        began=datetime(2026, 3, 1, 8, tzinfo=UTC),
        empty=False,
        second_factor=(),
        provider=None,
        entrance=None,
        **settings,
    ):
        self.folder = folder
        url = migrated(folder / "triage.db")
        self.engine = open_engine(url)
        self.worklist = SqlWorklist(self.engine)
        self.story = Story(self.worklist)
        self.now = began
        self.accounts = SqlAccounts(self.worklist.database)
        self.trail = SqlAuditLog(self.worklist.database)
        self.readers = SqlReadingList(self.worklist.database)
        self.feedback = SqlFeedback(self.worklist.database)
        self.anchors = ()
        for role in (Role.RADIOLOGIST, Role.ADMIN, Role.AUDITOR):
            self.person(role.value, role)
        self.person("everybody", Role.RADIOLOGIST, Role.ADMIN)
        if not empty:
            self.story.receive(patient_name="Åkesson^Görel", accession_number="A1")
        self.seal = Seal("of this hospital alone, hard to guess")
        self.second = second = SecondFactor(
            SqlSecondFactors(self.worklist.database),
            self.seal,
            lambda: self.now,
            SecondSettings(required=frozenset(second_factor)),
        )
        self.site = site = Site(
            SiteSettings(**settings),
            self.worklist,
            self.accounts,
            AuditParts(log=self.trail, source=SOURCE, anchors=lambda: self.anchors),
            self.readers,
            Radiographs(DirectLoader(), folder),
            self.feedback,
            SqlFigures(self.worklist.database),
            lambda: Disk(free_bytes=5 << 30, free_percent=41.0, quarantine_files=2, quarantine_bytes=9),
            lambda: self.now,
            "9.9",
            QUICK,
            Entrance(
                seal=self.seal,
                second=second,
                provider=provider and Provider(provider, lambda: self.now),
                label="Sign in with the house",
                **(entrance or {}),
            ),
            views=SqlSavedViews(self.worklist.database),
            sessions=SqlSessions(self.worklist.database),
        )
        self.site = site
        self.app = build_app({}, lambda: b"", "9.9", (), site)

    def person(self, name, *roles):
        digest = QUICK.digest(PASSWORD)
        self.accounts.make_account(Account(name=name, roles=frozenset(roles), password_hash=digest), "test", self.now)

    def authenticator(self, name):
        """Set up somebody's second factor; what shows its codes."""
        account = self.accounts.account(name)
        offer = self.second.offer(account)
        shown = pyotp.TOTP(self.second.offered(account, offer))
        assert self.second.accept(account, offer, shown.at(self.now))
        return shown

    def browser(self, name=None, base="http://testserver"):
        made = TestClient(self.app, base_url=base, follow_redirects=False)
        if name:
            assert made.post("/login", data={"name": name, "password": PASSWORD}).status_code == 303
        return made

    def audited(self, action):
        return [record.event for record in self.trail.records(AuditQuestion(action=action))]


def csrf_of(page):
    return re.search(r'name="csrf" value="([^"]+)"', page.text).group(1)
