"""Peers that `check` cannot tell apart, since the listener could not either."""

import pytest

from triage_agent.cli.callers import require_distinct
from triage_agent.cli.ports import Noteworthy
from triage_agent.settings import Settings

NAMES = {"pacs": frozenset({"10.1.0.5"}), "10.1.0.5": frozenset({"10.1.0.5"}), "far": frozenset({"192.0.2.7"})}


def look_up(host):
    if host not in NAMES:
        raise OSError("no such name")
    return NAMES[host]


def of(*peers):
    named = [{"name": f"peer-{number}", "may": ["store"], **peer} for number, peer in enumerate(peers)]
    return Settings(dicom={"peers": named})


def at(host, ae_title="PACS", port=104):
    return {"ae_title": ae_title, "host": host, "port": port}


def within(network, ae_title="PACS"):
    return {"ae_title": ae_title, "networks": [network]}


@pytest.mark.parametrize(
    "peers",
    [
        (at("pacs"), at("pacs", port=105)),
        (at("pacs"), at("10.1.0.5")),
        (at("pacs"), within("10.1.0.0/16")),
        (within("10.1.2.0/24"), at("far"), within("10.1.0.0/16")),
    ],
)
def test_two_peers_with_one_title_and_a_common_address_are_remarked_on(peers):
    with pytest.raises(Noteworthy, match="cannot be told apart when they call") as told:
        require_distinct(of(*peers), look_up)
    assert "what one may, both may" in told.value.message
    assert told.value.remedy


@pytest.mark.parametrize(
    "peers",
    [
        (),
        (at("pacs"), at("far")),
        (at("pacs"), at("pacs", "OTHER", 105)),
        (at("pacs"), within("192.0.2.0/24")),
        (within("10.1.0.0/16"), within("fd00::/8")),
        (at("unknown"), at("pacs")),
    ],
)
def test_peers_that_differ_in_title_or_address_are_told_apart(peers):
    require_distinct(of(*peers), look_up)


def test_a_peer_with_our_own_title_is_remarked_on():
    with pytest.raises(Noteworthy, match="peer-1 has our own AE title TRIAGE"):
        require_distinct(of(at("pacs"), within("10.9.0.0/16", "TRIAGE")), look_up)
