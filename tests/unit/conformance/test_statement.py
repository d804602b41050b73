"""What the statement says follows from the configuration, and from every table of the code that it speaks of."""

import importlib
from typing import get_args

import pytest
from hl7apy.v2_3.fields import FIELDS as FIELDS_2_3
from hl7apy.v2_5_1.fields import FIELDS as FIELDS_2_5_1
from hl7apy.v2_6.fields import FIELDS as FIELDS_2_6
from support.statements import SITE, stated, tables

from triage_agent.conformance.hl7_names import FIELDS
from triage_agent.conformance.web import transaction
from triage_agent.conformance.writing import as_html, as_markdown
from triage_agent.dimse.answers import ANSWERS
from triage_agent.dimse.proposals import PROPOSALS, Purpose
from triage_agent.domain.uids import IMPLEMENTATION_CLASS_UID
from triage_agent.domain.vocabulary import ArtifactKind, Family
from triage_agent.domain.workitem import Verdict
from triage_agent.hl7in.desk import MERGES, ORDERS, UPDATES
from triage_agent.results.hl7_versions import CODECS, VERSIONS
from triage_agent.results.registry import REGISTRY
from triage_agent.sections.web import WebSettings, WebTokenSettings

# Statuses that no module of a service has as a constant of its own.
_SERVICES = {
    "Storage (C-STORE)": ["dimse.server"],
    "Storage Commitment (N-ACTION, N-EVENT-REPORT)": ["dimse.commitment"],
    "Modality Worklist (C-FIND)": ["dimse.modality_worklist"],
    "Unified Procedure Step": ["dimse.ups", "steps.desk"],
}


def test_every_kind_of_result_is_named_with_where_it_goes(statement):
    rows = {row[0]: row for row in tables(statement)["Results"]}
    assert rows.keys() == {kind.value for kind in ArtifactKind}
    assert REGISTRY.keys() | {ArtifactKind.REJECTION} == {*ArtifactKind}
    assert rows["sr"][2] == rows["rejection"][2] == "pacs"
    assert rows["hl7-oru"][2] == "hub"
    assert rows["gsps"][2] == "nobody"


def test_every_object_is_described_and_names_its_maker(statement):
    titles = [section.title for chapter in statement.sections for section in chapter.sections]
    for kind in ArtifactKind:
        if kind.family in {Family.DICOM_OBJECT, Family.WORKITEM}:
            assert any(title.endswith(f"({kind.value})") for title in titles), kind
    objects = [section for chapter in statement.sections for section in chapter.sections if section.title[-1] == ")"]
    for section in objects:
        rows = {row[0]: row for block in section.blocks if hasattr(block, "rows") for row in block.rows}
        assert rows["(0010,0020)"] == ("(0010,0020)", "Patient ID", "LO", "images")
        assert rows["(0008,0018)"][3] == "agent"
        assert ("(0018,A001)" in rows) or section.title.endswith("(ups)") or section.title.endswith("(rejection)")


@pytest.mark.parametrize("service", ANSWERS)
def test_every_status_of_a_service_is_explained(service, statement):
    """A new constant of a service's module that is no row here fails."""
    known = {
        value
        for name in _SERVICES[service]
        for constant, value in vars(importlib.import_module(f"triage_agent.{name}")).items()
        if constant.isupper() and isinstance(value, int) and not constant.startswith("_") and constant not in _NO_STATUS
    }
    known |= {int(verdict) for verdict in Verdict} if service.startswith("Unified") else set()
    rows = tables(statement)[service]
    assert {int(row[0], 16) for row in rows} == known
    assert all(row[1] in {"Success", "Warning", "Failure", "Cancel", "Pending"} and row[3] for row in rows)


# Constants in upper case that are numbers and no statuses: kinds of request.
_NO_STATUS = {"REQUEST", "CHANGE_STATE", "REQUEST_CANCEL", "SUBSCRIBE", "UNSUBSCRIBE", "SUSPEND"}


def test_every_purpose_of_calling_has_its_contexts():
    assert PROPOSALS.keys() == {*Purpose}
    assert all(proposal.contexts for proposal in PROPOSALS.values())


def test_who_is_served_and_who_is_called_are_the_site_s(statement):
    services = {row[0]: row[1:] for row in tables(statement)["DICOM network services"]}
    assert services["Verification SOP Class"] == ("yes", "yes", "pacs", "pacs, ris")
    assert services["Storage Commitment Push Model SOP Class"] == ("yes", "yes", "pacs", "pacs")
    assert services["Modality Worklist Information Model - FIND"] == ("no", "yes", "nobody", "ris")
    assert services["Unified Procedure Step - Push SOP Class"][3] == "nobody"
    assert services["Unified Procedure Step - Pull SOP Class"][3] == "ris"


def test_another_configuration_is_another_statement(statement):
    before = as_markdown(statement)
    for change in (
        {"dicom": {**SITE["dicom"], "ae_title": "OTHER"}},
        {"dicom": {**SITE["dicom"], "worklist_days": 13}},
        {"dicom": {**SITE["dicom"], "accept_unknown_peers": True}},
        {"routes": [{"to": "pacs", "send": ["kos"]}]},
        {"storage": {"retention_days": 77}},
    ):
        assert as_markdown(stated(**change)) != before
    assert as_markdown(stated()) == before


def test_permissions_decide_from_whom_a_service_is_accepted():
    peers = [{**peer, "may": ["ups"]} for peer in SITE["dicom"]["peers"]]
    made = tables(stated(dicom={**SITE["dicom"], "peers": peers}))
    services = {row[0]: row[4] for row in made["DICOM network services"]}
    assert services["Unified Procedure Step - Push SOP Class"] == "pacs, ris"
    assert services["Modality Worklist Information Model - FIND"] == "nobody"
    assert {row[5] for row in made["Accepted presentation contexts"] if row[4] == "store"} == {"nobody"}


def test_the_implementation_identifies_itself(statement):
    general = dict(tables(statement)["General"])
    assert general["Implementation class UID"] == IMPLEMENTATION_CLASS_UID
    assert general["Implementation version name"].startswith("TRIAGE_")


def test_no_secret_gets_into_it():
    secret, password = "s3cr3t-" * 5, "hush-hush"
    made = stated(
        web={"stow": True, "tokens": [{"name": "EDGE", "token": secret, "may": ["store"]}]},
        dicomweb={"peers": [{"name": "archive", "url": "http://a.example/dicom-web", "token": secret}]},
        fhir={"peers": [{"name": "ehr", "url": "http://e.example/fhir", "user": "u", "password": password}]},
        database={"url": "postgresql+psycopg://u:hush-hush@db/triage"},
    )
    for text in (as_markdown(made), as_html(made), repr(made)):
        assert secret not in text
        assert password not in text
    callers = next(rows for title, rows in tables(made).items() if title.startswith("Callers"))
    assert callers == [("EDGE", "store")]


def test_every_resource_of_the_web_server_is_named_and_has_its_transaction(statement):
    switched = {name: True for name, field in WebSettings.model_fields.items() if field.annotation is bool}
    (rights, _more) = get_args(WebTokenSettings.model_fields["may"].annotation)
    token = {"name": "ALL", "token": "t" * 32, "may": [*get_args(rights)]}
    off, on = tables(statement)["Resources"], tables(stated(web={**switched, "tokens": [token]}))["Resources"]
    assert [row[:4] for row in off] == [row[:4] for row in on]
    assert {row[4] for row in off} == {"no"}
    assert {row[4] for row in on} == {"yes"}
    own = {row[1] for row in on if row[2] == "the agent's own"}
    assert all(path.endswith("/{requester}") for path in own), own  # dcm4chee's paths for two of the transactions


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("POST", "/dicom-web/studies/{study}", "Store (STOW-RS)"),
        ("GET", "/dicom-web/studies/{study}", "Retrieve (WADO-RS)"),
        ("GET", "/dicom-web/studies/{study}/instances", "Search (QIDO-RS)"),
        ("GET", "/dicom-web/studies/{study}/series/{series}/metadata", "Retrieve metadata (WADO-RS)"),
        ("PUT", "/dicom-web/workitems/{workitem}/state", "Change state (UPS-RS)"),
        ("DELETE", "/dicom-web/workitems/{workitem}/subscribers/{ae}", "Subscribe, unsubscribe (UPS-RS)"),
        ("GET", "/dicom-web/elsewhere", "no transaction of the standard"),
    ],
)
def test_a_resource_is_called_by_the_standard_s_transaction(method, path, name):
    assert transaction(method, path)[1] == name


def test_fields_are_called_what_hl7_calls_them():
    for segment, fields in FIELDS.items():
        for number, name in fields.items():
            key = f"{segment}_{number}"
            known = {table[key][3] for table in (FIELDS_2_6, FIELDS_2_5_1, FIELDS_2_3) if key in table}
            assert segment == "ZDS" or name.upper().replace(" ", "_") in known, key


def test_every_field_that_is_written_or_read_has_a_name():
    """`hl7_names.FIELDS` lacks what is listed here."""
    peers = [
        {"name": f"v{version}", "host": "192.0.2.9", "port": 1, "version": version, "acknowledgement": "application"}
        for version in VERSIONS
    ]
    routes = [{"to": f"v{version}", "send": sorted(facts.kinds)} for version, facts in VERSIONS.items()]
    made = tables(stated(hl7={"peers": peers}, routes=routes))
    said = [row[1] for row in made["Segments and fields"]] + [row[2] for row in made["Fields that are read"]]
    assert not [field for row in said for field in row.split(", ") if " " not in field]
    assert {row[0] for row in made["Segments and fields"]} >= {"MSH", "PID", "ORC", "OBR", "TQ1", "OBX", "IPC", "ZDS"}


def test_a_message_is_shown_as_its_destination_gets_it(statement):
    def examples(part):
        yield from (block.lines for block in part.blocks if hasattr(block, "lines"))
        for section in part.sections:
            yield from examples(section)

    shown = list(examples(statement))
    assert len(shown) == len([kind for kind in ArtifactKind if kind.family is Family.HL7_MESSAGE])
    assert [lines[0].split("|")[11] for lines in shown] == ["2.3", "2.5.1", "2.5.1"]


def test_what_is_read_of_messages_is_all_there(statement):
    made = tables(statement)
    messages = {row[0] for row in made["Messages (MSH-9)"]}
    assert messages >= {f"{kind}^{event}" for kind, event in ORDERS} | {f"ADT^{event}" for event in UPDATES | MERGES}
    read = {(row[0], row[1]): row[2] for row in made["Fields that are read"]}
    for field in ("OBR-18 Placer Field 1", "OBR-27 Quantity Timing", "OBR-31 Reason For Study"):
        assert field in read["order", "OBR"]
    assert read["order", "TQ1"] == "TQ1-7 Start Date Time, TQ1-9 Priority"
    assert read["ADT", "MRG"] == "MRG-1 Prior Patient Identifier List"


def test_a_site_s_own_place_of_the_accession_number_is_read():
    listen = {"port": 2576, "networks": ["192.0.2.0/28"], "accession": "OBR-12"}
    made = tables(stated(hl7={"listen": listen}, routes=[]))
    read = {(row[0], row[1]): row[2] for row in made["Fields that are read"]}
    assert "OBR-12" in read["order", "OBR"]
    assert "IPC-1 " not in read["order", "IPC"]


def test_every_character_set_that_messages_can_have_is_named(statement):
    text = as_markdown(statement)
    assert all(name in text for name in CODECS)


def test_what_a_peer_s_status_means_is_what_is_done(statement):
    made = tables(statement)
    stored = {row[0]: row[2] for row in made["C-STORE of a result"]}
    assert (stored["0000"], stored["A700 to A7FF"], stored["C000 to CFFF"]) == ("accepted", "try again", "permanent")
    fetched = {row[0]: row[2] for row in made["C-MOVE and C-GET of a study"]}
    assert fetched["A801"] == fetched["0122"] == "not asked again"
    assert fetched["A702"] == fetched["B000"] == "asked again, a bounded number of times"
    assert not {"0000", "FF00"} & fetched.keys()
