"""The conformance statement of a small site, and what its tables say."""

from triage_agent.conformance.statement import build_statement
from triage_agent.settings import build_settings

SITE = {
    "institution": "St | Elsewhere",
    "dicom": {
        "ae_title": "TRIAGE",
        "worklist_days": 12,
        "peers": [
            {"name": "pacs", "ae_title": "PACS", "host": "192.0.2.7", "port": 104, "may": ["store", "commit"]},
            {"name": "ris", "ae_title": "RIS", "networks": ["192.0.2.0/28"], "may": ["query"]},
        ],
    },
    "hl7": {"peers": [{"name": "hub", "host": "192.0.2.8", "port": 2575, "version": "2.3"}]},
    "routes": [
        {"to": "pacs", "send": ["sr", "sc"], "commit": True},
        {"to": "hub", "send": ["hl7-oru"]},
    ],
}


def stated(**changes):
    """The statement of the site, with other tables in the place of some."""
    return build_statement(build_settings({**SITE, **changes}, "test"))


def tables(document):
    """{title: rows} of every table, wherever it stands."""
    found = {}

    def walk(part):
        for block in part.blocks:
            if hasattr(block, "rows"):
                found.setdefault(block.title, []).extend(block.rows)
        for section in part.sections:
            walk(section)

    walk(document)
    return found
