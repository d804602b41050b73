import logging

import pytest
from pynetdicom import AE, _config
from pynetdicom._globals import MODE_ACCEPTOR, MODE_REQUESTOR
from pynetdicom.association import Association
from pynetdicom.transport import AddressInformation
from structlog.testing import capture_logs

from triage_agent.dimse import library
from triage_agent.dimse.library import configure_pynetdicom


@pytest.fixture
def fresh(monkeypatch):
    """A logger as the library has it, whose throttle has seen nothing."""
    configure_pynetdicom()
    logger = logging.getLogger("pynetdicom")
    monkeypatch.setattr(logger, "handlers", [library._ToStructlog()])
    return logger.getChild("acse")


def test_the_library_prints_no_identifiers(fresh):
    assert _config.LOG_HANDLER_LEVEL == "none"
    assert not _config.LOG_REQUEST_IDENTIFIERS
    assert not _config.LOG_RESPONSE_IDENTIFIERS


def test_only_warnings_reach_the_log_and_only_through_structlog(fresh):
    with capture_logs() as lines:
        fresh.debug("pdu")
        fresh.info("pdu")
        fresh.warning("what happened")
    assert [(line["event"], line["what"], line["held_back"]) for line in lines] == [("pynetdicom", "what happened", 0)]
    assert lines[0]["where"].startswith("pynetdicom.acse.test_only_warnings")
    assert not logging.getLogger("pynetdicom").propagate


@pytest.mark.parametrize("module", ["dimse_messages", "dimse_primitives", "service_class", "utils", "association"])
def test_modules_that_see_elements_say_only_where(fresh, module):
    with capture_logs() as lines:
        logging.getLogger(f"pynetdicom.{module}").warning("Invalid UID: Doe^Jane")
    assert [line["what"] for line in lines] == [""]
    assert f"pynetdicom.{module}" in lines[0]["where"]
    assert "Doe" not in str(lines)


def test_an_exception_is_named_and_its_values_are_not_shown(fresh):
    with capture_logs() as lines:
        try:
            int("Doe^Jane")
        except ValueError as error:
            fresh.exception(error)
    assert [line["what"] for line in lines] == ["ValueError"]
    assert "Doe" not in str(lines)


def test_a_line_that_repeats_is_throttled(fresh):
    with capture_logs() as lines:
        for _ in range(100):
            fresh.warning("again")
    assert len(lines) == library._LINES


def in_its_thread(association, say):
    """Have the association's thread say something."""
    association.run = say
    with capture_logs() as lines:
        association.start()
        association.join(5)
    return lines


@pytest.mark.parametrize(("mode", "where"), [(MODE_ACCEPTOR, "requestor"), (MODE_REQUESTOR, "acceptor")])
def test_a_line_names_the_peer_in_whose_association_it_is_said(fresh, mode, where):
    association = Association(AE(), mode)
    peer = getattr(association, where)
    peer.address_info = AddressInformation("192.0.2.7", 104)
    peer.ae_title = "MODALITY"
    (line,) = in_its_thread(association, lambda: fresh.warning("what happened"))
    assert (line["peer_ae_title"], line["address"]) == ("MODALITY", "192.0.2.7")


def test_a_line_of_an_upper_layer_names_the_peer_as_far_as_it_is_known(fresh):
    association = Association(AE(), MODE_ACCEPTOR)
    association.requestor.address_info = AddressInformation("192.0.2.7", 104)
    association.dul.run = lambda: fresh.warning("what happened")
    with capture_logs() as lines:
        association.dul.start()
        association.dul.join(5)
    assert [line["address"] for line in lines] == ["192.0.2.7"]


@pytest.mark.parametrize(("response", "level"), [("A-RELEASE", "debug"), ("A-ABORT", "warning")])
def test_an_idle_association_that_is_let_go_of_is_no_warning(fresh, response, level):
    association = Association(AE(), MODE_REQUESTOR)
    association.network_timeout_response = response
    logger = logging.getLogger("pynetdicom.association")
    (line,) = in_its_thread(association, lambda: logger.error(library._IDLE))
    assert line["log_level"] == level


def test_configuring_twice_adds_one_handler():
    configure_pynetdicom()
    configure_pynetdicom()
    handlers = logging.getLogger("pynetdicom").handlers
    assert len([handler for handler in handlers if isinstance(handler, library._ToStructlog)]) == 1
