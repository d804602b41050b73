"""An application with accounts of every role, on a database of its own, and browsers that sign in."""

import re
from datetime import UTC, datetime

from argon2 import PasswordHasher
from fastapi.testclient import TestClient
from support.story import Story

from triage_agent.audit.messages import Source
from triage_agent.domain.accounts import Account, Role
from triage_agent.domain.audit import AuditQuestion
from triage_agent.imaging.loader import DirectLoader
from triage_agent.web.app import build_app
from triage_agent.web.site.audit_chain import AuditParts
from triage_agent.web.site.images import Radiographs
from triage_agent.web.site.passwords import Passwords
from triage_agent.web.site.site import Site, SiteSettings
from triage_agent.worklist import SqlAccounts, SqlAuditLog, SqlReadingList, SqlWorklist, open_engine, upgrade

PASSWORD = "correct horse battery"  # noqa: S105 - of nobody
QUICK = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
SOURCE = Source(source_id="TRIAGE", site="Hospital", ae_title="TRIAGE", host="here", patients="id")


class Hospital:
    """An application with accounts of every role, on a database of its own."""

    def __init__(self, folder, **settings):
        url = f"sqlite:///{folder / 'triage.db'}"
        upgrade(url)
        self.engine = open_engine(url)
        self.worklist = SqlWorklist(self.engine)
        self.story = Story(self.worklist)
        self.now = datetime(2026, 3, 1, 8, tzinfo=UTC)
        self.accounts = SqlAccounts(self.worklist.database)
        self.trail = SqlAuditLog(self.worklist.database)
        self.readers = SqlReadingList(self.worklist.database)
        self.anchors = ()
        for role in (Role.RADIOLOGIST, Role.ADMIN, Role.AUDITOR):
            self.person(role.value, role)
        self.story.receive(patient_name="Åkesson^Görel", accession_number="A1")
        self.site = site = Site(
            SiteSettings(**settings),
            self.worklist,
            self.accounts,
            AuditParts(log=self.trail, source=SOURCE, anchors=lambda: self.anchors),
            self.readers,
            Radiographs(DirectLoader(), folder),
            lambda: self.now,
            "9.9",
            QUICK,
        )
        self.app = build_app({}, lambda: b"", "9.9", (), site)

    def person(self, name, *roles):
        digest = QUICK.digest(PASSWORD)
        self.accounts.make_account(Account(name=name, roles=frozenset(roles), password_hash=digest), "test", self.now)

    def browser(self, name=None, base="http://testserver"):
        made = TestClient(self.app, base_url=base, follow_redirects=False)
        if name:
            assert made.post("/login", data={"name": name, "password": PASSWORD}).status_code == 303
        return made

    def audited(self, action):
        return [record.event for record in self.trail.records(AuditQuestion(action=action))]


def csrf_of(page):
    return re.search(r'name="csrf" value="([^"]+)"', page.text).group(1)
