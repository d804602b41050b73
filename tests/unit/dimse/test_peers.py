import threading
import time
from dataclasses import replace
from functools import partial
from ipaddress import ip_network
from unittest.mock import Mock

import pytest

from triage_agent.dimse.peers import (
    STORE,
    UNKNOWN_CALLER,
    WRONG_CERTIFICATE,
    AccessPolicy,
    Grant,
    Peer,
    normal_address,
    ourselves,
    resolve_host,
    within,
)

HOSTS = {"pacs.hospital": {"10.0.0.1", "10.0.0.2"}, "10.0.0.9": {"10.0.0.9"}}


def peer(name="pacs", ae_title="PACS", host="pacs.hospital", may=("store",)):
    return Peer(name=name, ae_title=ae_title, host=host, port=104, may=frozenset(may))


class Names:
    """A name service that counts, and can be away."""

    def __init__(self):
        self.asked, self.now, self.away = [], 0.0, False

    def __call__(self, host):
        self.asked.append(host)
        if self.away or host not in HOSTS:
            raise OSError("name service is away")
        return frozenset(HOSTS[host])


@pytest.fixture
def names():
    return Names()


def policy(names, *peers, accept_unknown=False):
    return AccessPolicy(peers or [peer()], accept_unknown=accept_unknown, resolve=names, monotonic=lambda: names.now)


@pytest.mark.parametrize(
    ("title", "address", "permissions"),
    [
        ("PACS", "10.0.0.1", {"store"}),
        ("PACS", "10.0.0.2", {"store"}),
        (" PACS ", "10.0.0.1", {"store"}),
        ("PACS", "::ffff:10.0.0.1", {"store"}),
        ("PACS", "10.0.0.3", None),
        ("pacs", "10.0.0.1", None),
        ("CT", "10.0.0.1", None),
        ("", "10.0.0.1", None),
    ],
)
def test_title_and_address_must_both_be_a_peers(names, title, address, permissions):
    assert policy(names).permissions(title, address) == permissions


def test_peers_that_share_a_title_and_an_address_share_their_permissions(names):
    both = policy(names, peer(), peer("pacs2", may=("query", "commit")), peer("other", host="10.0.0.9", may=("all",)))
    assert both.permissions("PACS", "10.0.0.1") == {"store", "query", "commit"}


def test_where_unknown_peers_are_accepted_they_may_store_and_known_ones_keep_what_they_have(names):
    open_house = policy(names, peer(may=("query",)), accept_unknown=True)
    assert open_house.permissions("WHO", "10.9.9.9") == {"store"}
    assert open_house.permissions("PACS", "10.0.0.1") == {"query"}


def test_a_host_is_looked_up_once_a_minute(names):
    asking = policy(names)
    for _ in range(3):
        asking.permissions("PACS", "10.0.0.1")
    assert names.asked == ["pacs.hospital"]
    names.now = 61
    asking.permissions("PACS", "10.0.0.1")
    assert len(names.asked) == 2


def test_the_last_known_addresses_hold_while_the_name_service_is_away(names):
    asking = policy(names)
    asking.permissions("PACS", "10.0.0.1")
    names.now, names.away = 61, True
    assert asking.permissions("PACS", "10.0.0.1") == {"store"}
    assert asking.permissions("PACS", "10.0.0.1") == {"store"}
    assert len(names.asked) == 2


def test_a_host_that_was_never_found_is_nobodys(names):
    assert policy(names, peer(host="gone")).permissions("PACS", "10.0.0.1") is None


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_every_loopback_address_stands_for_all(host, address):
    assert normal_address(address) in resolve_host(host)


@pytest.mark.parametrize(("address", "normal"), [("fe80::1%eth0", "fe80::1"), ("0:0::1", "::1"), ("name", "name")])
def test_an_address_has_one_spelling(address, normal):
    assert normal_address(address) == normal


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "127.0.0.1"])  # noqa: S104 - nothing is bound
def test_the_agent_itself_comes_in_from_its_own_address_and_may_store_nothing(host):
    access = AccessPolicy([], own=ourselves("TRIAGE", host, 104))
    assert access.permissions("TRIAGE", "127.0.0.1") == frozenset()
    assert access.permissions("OTHER", "127.0.0.1") is None
    assert access.permissions("TRIAGE", "192.0.2.1") is None


def test_where_anybody_may_store_the_agent_s_own_title_may_too():
    access = AccessPolicy([], accept_unknown=True, own=ourselves("TRIAGE", "127.0.0.1", 104))
    assert access.permissions("TRIAGE", "127.0.0.1") == {STORE}


def network_peer(**more):
    return Peer(name="ct", ae_title="CT", host="", port=0, may=frozenset({"store"}), **more)


@pytest.mark.parametrize(
    ("address", "permissions"),
    [
        ("10.1.255.3", {"store"}),
        ("::ffff:10.1.0.9", {"store"}),
        ("fd00::7", {"store"}),
        ("10.2.0.1", None),
        ("fe80::1", None),
        ("name", None),
        ("", None),
    ],
)
def test_a_peer_calls_from_its_networks(names, address, permissions):
    networks = (ip_network("10.1.0.0/16"), ip_network("fd00::/8"))
    access = policy(names, network_peer(networks=networks))
    assert access.permissions("CT", address) == permissions
    assert access.permissions("MR", address) is None
    assert names.asked == [], "a peer without a host has nothing to look up"


def test_a_peer_with_a_host_and_networks_calls_from_either(names):
    access = policy(names, replace(peer(), networks=(ip_network("192.0.2.0/24"),)))
    assert access.permissions("PACS", "10.0.0.1") == {"store"}
    assert access.permissions("PACS", "192.0.2.7") == {"store"}
    assert access.permissions("PACS", "192.0.3.7") is None


@pytest.mark.parametrize("accept_unknown", [False, True])
def test_a_peer_with_a_certificate_s_name_is_nobody_without_it(names, accept_unknown):
    access = policy(names, replace(peer(), certificate_name="Pacs.Hospital"), accept_unknown=accept_unknown)
    assert access.admit("PACS", "10.0.0.1", frozenset({"x", "pacs.hospital"})).may == {"store"}
    for other in (frozenset(), frozenset({"ct.hospital"})):
        assert access.admit("PACS", "10.0.0.1", other) == WRONG_CERTIFICATE


def test_who_is_known_is_told_apart_from_who_is_not(names):
    one = peer()
    assert policy(names, one).admit("PACS", "10.0.0.1", frozenset()) == Grant(frozenset({"store"}), (one,))
    assert policy(names, one).admit("CT", "10.0.0.1", frozenset()) == UNKNOWN_CALLER
    assert policy(names, one, accept_unknown=True).admit("CT", "10.0.0.1", frozenset()) == Grant(frozenset({"store"}))


def test_a_name_service_that_hangs_holds_nobody_for_long():
    hangs = threading.Event()
    access = AccessPolicy([peer()], resolve=partial(within, 0.05, lambda _host: hangs.wait(60)))
    started = time.monotonic()
    assert access.permissions("PACS", "10.0.0.1") is None
    assert access.permissions("PACS", "10.0.0.1") is None
    assert time.monotonic() - started < 30
    hangs.set()


def test_what_the_name_service_says_in_time_is_taken():
    assert within(5, lambda host: frozenset({host}), "10.0.0.9") == {"10.0.0.9"}
    with pytest.raises(OSError, match="gone"):
        within(5, Mock(side_effect=OSError("gone")), "pacs")
