"""`demo`: the whole hospital, from a bare machine to reports at the PACS."""

import json
import re

import pytest
from support.agent import cold, triage_agent


@pytest.fixture(scope="module")
def done(shipped_bundle, tmp_path_factory):
    kept = tmp_path_factory.mktemp("demo")
    ended = cold(
        *("demo", "--studies", 3, "--exit-when-done", "--json", "--keep", kept),
        TRIAGE_AGENT__MODEL__BUNDLE=str(shipped_bundle),
    )
    assert ended.returncode == 0, ended.stderr + ended.stdout
    return json.loads(ended.stdout), kept


def test_every_study_is_decided_and_every_report_is_at_the_pacs(done):
    facts, _ = done
    assert facts["done"] is True
    assert facts["failure"] is None
    assert facts["studies_sent"] == facts["studies_on_worklist"] == facts["reports_at_pacs"] == 3
    assert facts["hl7_messages_at_ris"] >= 3
    assert {item["status"] for item in facts["worklist"]} == {"delivered"}


def test_the_list_is_in_the_order_of_its_priorities(done):
    facts, _ = done
    ranks = [["stat", "urgent", "routine"].index(item["priority"]) for item in facts["worklist"]]
    assert ranks == sorted(ranks)


def test_the_link_for_the_first_sign_in_lies_where_the_demonstration_looks_for_it(done):
    _, kept = done
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/first/\S+\n", (kept / "first-sign-in").read_text())


def test_what_was_kept_can_be_looked_at_afterwards(done):
    facts, kept = done
    listed = triage_agent("worklist", "--json", TRIAGE_AGENT__DATA_DIR=str(kept))
    assert listed.returncode == 0, listed.stderr
    assert json.loads(listed.stdout) == facts["worklist"]
