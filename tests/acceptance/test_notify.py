"""People are told of STAT findings, of studies that need a human, and of a RIS that is away: by the whole agent."""

from support.agent import eventually
from support.mail_server import mail_server
from support.ports import free_port
from support.xrays import picture, radiograph, send

_TABLES = """
[[policy.rules]]
name = "abnormal"
when = {{ finding = "abnormal" }}
priority = "stat"
[notify]
time_zone = "Europe/Vienna"
[[notify.email]]
name = "mail"
on = ["stat", "needs_human", "route_failing"]
after_minutes = 0.02
host = "127.0.0.1"
port = {mail}
security = "none"
from = "triage@hospital.example"
to = ["admin@hospital.example"]
include = ["accession_number"]
"""


def subjects(server):
    return [message["Subject"] for _, message in server.messages]


def test_people_are_told_once_also_when_the_agent_is_killed(agent, alarming_bundle, pacs, ris):
    ris_port = free_port()
    with mail_server() as server:
        tables = _TABLES.format(mail=server.port)
        running = agent(bundle=alarming_bundle, pacs_port=pacs.port, ris_port=ris_port, tables=tables)
        image = radiograph(seed=1, AccessionNumber="ACC7", PatientName="Gr\u00f6n^Eva", PatientID="P4711")
        assert list(send(running.port, image).values()) == [0x0000]
        eventually(lambda: any("STAT" in one for one in subjects(server)))
        eventually(lambda: any("Nothing can be delivered to ris" in one for one in subjects(server)))
        running.kill()
        running.config.write_text(running.config.read_text().replace(f"port = {ris_port}\n", f"port = {ris.port}\n"))
        running.start()
        eventually(lambda: any("delivered to ris again" in one for one in subjects(server)))
        assert list(send(running.port, radiograph(picture() * 0)).values()) == [0x0000]
        eventually(lambda: any("needs a human" in one for one in subjects(server)))
        listed = running.cli("notify", "list")
        said = [message.as_string() for _, message in server.messages]
        kinds = [one.split("]", 1)[1].split(" to ")[0] for one in subjects(server)]
    assert len(kinds) == len({*subjects(server)}) == 4
    assert "ACC7" in said[0] + said[1]
    assert not [word for word in ("Gr\u00f6n", "Eva", "P4711", str(image.StudyInstanceUID)) if word in "".join(said)]
    assert "P4711" not in running.log_text
    assert listed.returncode == 0
    assert "mail" in listed.stdout
