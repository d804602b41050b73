import json
import logging
import warnings

import pytest
import structlog

from triage_agent.ops.logging import configure_logging


@pytest.fixture
def lines(capsys):
    """What was logged; puts the process's logging back at the end."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def read():
        return capsys.readouterr().err.splitlines()

    yield read
    root.handlers, root.level = handlers, level
    logging.getLogger("asyncio").filters.clear()
    structlog.reset_defaults()


def test_a_json_line_carries_the_event_its_values_and_the_time_in_utc(lines):
    configure_logging("json")
    structlog.get_logger("triage_agent.test").info("received", study_instance_uid="1.2.3")
    (line,) = lines()
    record = json.loads(line)
    assert record["event"] == "received"
    assert record["study_instance_uid"] == "1.2.3"
    assert record["timestamp"].endswith("Z")


@pytest.mark.parametrize("form", ["json", "console"])
def test_patient_data_never_reaches_a_line(lines, form):
    configure_logging(form)
    structlog.get_logger("triage_agent.test").warning("oops", patient_name="DOE^JANE", patient_id="4711", ok="seen")
    (line,) = lines()
    assert "DOE" not in line
    assert "4711" not in line
    assert "seen" in line


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_value_with_line_breaks_cannot_forge_a_line(lines, form):
    configure_logging(form)
    structlog.get_logger("triage_agent.test").info("rejected", calling="EVIL\n2026 [info] all is well\r\u2028x")
    logging.getLogger("other").warning("a\nforged line")
    assert len(lines()) == 2


_HOSTILE = 'EVIL","level":"info","event":"forged\x1b[2J\x9b1m\u202e\n{"event":"forged"}'


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("value", [_HOSTILE, [_HOSTILE], {"ae": _HOSTILE}, {_HOSTILE: 1}, (_HOSTILE, [_HOSTILE])])
def test_no_value_however_wrapped_forges_a_line_or_moves_the_cursor(lines, form, value):
    configure_logging(form)
    structlog.get_logger("triage_agent.test").warning("rejected", calling_ae_title=value, **{_HOSTILE: "key"})
    logging.getLogger("other").warning("%s", _HOSTILE)
    said = lines()
    assert len(said) == 2
    assert not any(letter in "".join(said) for letter in "\x1b\x9b\u202e\u2028")
    if form == "json":
        records = [json.loads(line) for line in said]
        assert records[0]["event"] == "rejected"
        assert {record["level"] for record in records} == {"warning"}


@pytest.mark.parametrize(
    ("library", "level"),
    [
        ("pynetdicom.dimse", logging.INFO),
        ("pydicom", logging.ERROR),
        ("apscheduler.scheduler", logging.WARNING),  # of each tick that a slow one made superfluous
    ],
)
def test_libraries_that_print_data_sets_or_chatter_are_silent(lines, library, level):
    configure_logging("json", "debug")
    logging.getLogger(library).log(level, "(0010,0010) PN [DOE^JANE]")
    assert lines() == []


def test_an_error_of_the_scheduler_is_heard(lines):
    configure_logging("console")
    logging.getLogger("apscheduler.scheduler").error("a job ended abnormally")
    assert len(lines()) == 1


def test_a_warning_of_pydicom_is_not_shown(lines):
    with warnings.catch_warnings(record=True) as shown:
        configure_logging("console")
        warnings.warn_explicit("Invalid value: Doe^Jane", UserWarning, "valuerep.py", 1, module="pydicom.valuerep")
    assert shown == []


def test_a_study_bound_in_context_is_on_every_line_of_its_work(lines):
    configure_logging("json")
    with structlog.contextvars.bound_contextvars(study_instance_uid="1.2.3"):
        structlog.get_logger("triage_agent.test").info("one")
    structlog.get_logger("triage_agent.test").info("two")
    assert [("study_instance_uid" in json.loads(line)) for line in lines()] == [True, False]


def test_that_no_file_is_left_for_connections_is_one_line_a_minute_without_a_traceback(lines):
    configure_logging("json")
    configure_logging("json")  # which must not count it twice
    for _ in range(1000):
        try:
            raise OSError(24, "Too many open files")  # noqa: TRY301 - as asyncio has it
        except OSError:
            said = "socket.accept() out of system resource\nsocket: <asyncio.TransportSocket fd=7>"
            logging.getLogger("asyncio").exception(said)
    logging.getLogger("asyncio").error("something else")
    one, other = (json.loads(line) for line in lines())
    assert one["event"] == "socket.accept() out of system resource: raise `ulimit -n`"
    assert "exception" not in one
    assert other["event"] == "something else"
