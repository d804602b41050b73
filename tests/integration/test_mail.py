"""E-mail, with a real server in this process, and with servers that no library would be."""

import contextlib
import socket
import ssl
import threading
import time
from datetime import UTC, datetime
from random import Random

import pytest
from support.certificates import Authority
from support.mail_server import PASSWORD, USER, implicit_tls, mail_server

from triage_agent.delivery.mail import Mailer, MailServer
from triage_agent.domain.errors import DeliveryError

AT = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
SENDER, ADMIN, CHIEF = "triage@hospital.example", "admin@hospital.example", "chief@hospital.example"


def mailer(port, *recipients, **server):
    values = {"host": "127.0.0.1", "security": "none", "seconds": 20.0, **server}
    return Mailer(MailServer(port=port, **values), SENDER, recipients or (ADMIN, CHIEF))


def send(port, *recipients, subject="[triage] STAT", **server):
    mailer(port, *recipients, **server).send("11-22", subject, "Some words: Grüße\n.\nmore\n", AT)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def certificate(authority):
    return authority.files("mail")


def test_a_message_arrives_whole_with_its_headers():
    with mail_server() as server:
        send(server.port)
        ((envelope, message),) = server.messages
    assert (envelope.mail_from, envelope.rcpt_tos) == (SENDER, [ADMIN, CHIEF])
    assert message["Subject"] == "[triage] STAT"
    assert message["Message-ID"] == "<11-22@hospital.example>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"].datetime == AT
    assert message.get_content().replace("\r\n", "\n") == "Some words: Grüße\n.\nmore\n"


def test_by_starttls_with_a_login_after_it(authority, certificate):
    tls = implicit_tls(certificate)
    with mail_server(tls=tls, require_tls=True, login=True) as server:
        send(server.port, security="starttls", ca=authority.ca, user=USER, password=PASSWORD)
        assert len(server.messages) == len(server.logins) == 1


def test_by_tls_from_the_first_byte_on(authority, certificate):
    def speak(connection):
        secured = implicit_tls(certificate).wrap_socket(connection, server_side=True)
        with secured, secured.makefile("rwb") as talk:
            obliging(talk)

    with answering(speak) as port:
        send(port, security="tls", ca=authority.ca)
        assert "by TLS" in mailer(port, security="tls", ca=authority.ca).check()


def obliging(talk, farewell=lambda: None):
    """A server that takes everything."""

    def say(line):
        talk.write(line + b"\r\n")
        talk.flush()

    say(b"220 ready")
    for line in talk:
        word = line.split()[0].upper()
        if word == b"QUIT":
            farewell()
        say({b"DATA": b"354 go on", b"QUIT": b"221 bye"}.get(word, b"250 OK"))
        if word == b"QUIT":
            return
        if word == b"DATA":
            while talk.readline() != b".\r\n":
                pass
            say(b"250 taken")


def failure(port, *recipients, **server):
    with pytest.raises(DeliveryError) as caught:
        send(port, *recipients, **server)
    assert PASSWORD not in str(caught.value)
    assert "@" not in str(caught.value)  # nobody's address, and nothing that the server said
    return caught.value


def test_a_certificate_of_somebody_else_is_not_talked_to(authority, certificate, tmp_path):
    other = Authority(tmp_path / "other", "Other CA")
    with mail_server(tls=implicit_tls(certificate), require_tls=True) as server:
        error = failure(server.port, security="starttls", ca=other.ca)
        assert "no TLS connection" in str(error)
        assert not server.messages
    named_otherwise = authority.files("elsewhere", hosts=("elsewhere.example",))
    with mail_server(tls=implicit_tls(named_otherwise), require_tls=True) as server:
        assert "no TLS connection" in str(failure(server.port, security="starttls", ca=authority.ca))


def test_a_file_of_certificates_that_is_not_there_is_named_as_what_is_wrong(certificate, tmp_path):
    with mail_server(tls=implicit_tls(certificate), require_tls=True) as server:
        error = failure(server.port, security="starttls", ca=tmp_path / "none.pem")
    assert "the certificate's file cannot be read" in str(error)


def test_a_server_without_starttls_gets_neither_password_nor_message():
    with mail_server() as server:
        error = failure(server.port, security="starttls", user=USER, password=PASSWORD)
        assert "STARTTLS" in str(error) or "login" in str(error)
        assert (server.messages, server.logins) == ([], [])


def test_a_wrong_password_may_be_mended(authority, certificate):
    with mail_server(tls=implicit_tls(certificate), require_tls=True, login=True) as server:
        error = failure(server.port, security="starttls", ca=authority.ca, user=USER, password="wrong")  # noqa: S106
    assert (error.permanent, error.remedy) == (False, "check user and password")


def test_not_now_and_then_taken():
    with mail_server(answers=["451 4.3.0 later, admin@hospital.example"]) as server:
        assert not failure(server.port).permanent
        send(server.port)
        assert len(server.messages) == 1


def test_a_message_that_is_refused_as_it_is_is_not_sent_again():
    with mail_server(answers=["554 5.6.0 no"]) as server:
        assert failure(server.port).permanent


def test_one_recipient_that_is_refused_does_not_keep_it_from_the_others():
    with mail_server(refuses=(ADMIN,)) as server:
        send(server.port, ADMIN, CHIEF)
        ((envelope, _),) = server.messages
        assert envelope.rcpt_tos == [CHIEF]
        error = failure(server.port, ADMIN)
    assert (error.permanent, "550" in str(error)) == (False, True)


def test_check_logs_in_and_sends_nothing(authority, certificate):
    with mail_server(tls=implicit_tls(certificate), require_tls=True, login=True) as server:
        how = mailer(server.port, security="starttls", ca=authority.ca, user=USER, password=PASSWORD).check()
        assert ("by STARTTLS" in how, server.messages, len(server.logins)) == (True, [], 1)


def test_nobody_there_is_said_at_once():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    error = failure(port)
    assert (error.away, error.permanent) == (True, False)


def test_a_header_cannot_be_smuggled_in():
    with mail_server() as server:
        with pytest.raises(ValueError, match="linefeed"):
            send(server.port, subject="[triage]\r\nBcc: all@hospital.example")
        assert not server.messages


@contextlib.contextmanager
def answering(how):
    """A server that does `how` with every connection."""
    server = socket.create_server(("127.0.0.1", 0))

    def one(connection):
        with connection, contextlib.suppress(OSError, ssl.SSLError, ValueError):
            how(connection)

    def run():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                threading.Thread(target=one, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(5)


def drip(connection, line=b"220-x\r\n"):
    for number in range(400):
        connection.sendall(line[number % len(line) :][:1])
        time.sleep(0.02)


def flood(connection):
    while True:
        connection.sendall(b"220-" + b"x" * 500 + b"\r\n")


def hangs_after_data(connection):
    with connection.makefile("rwb") as talk:
        talk.write(b"220 ready\r\n")
        talk.flush()
        for line in talk:
            asked = line.upper().startswith(b"DATA")
            talk.write(b"354 go on\r\n" if asked else b"250 OK\r\n")
            talk.flush()
            if asked:
                time.sleep(5)


def hangs_at_the_farewell(connection):
    with connection.makefile("rwb") as talk:
        obliging(talk, farewell=lambda: time.sleep(8))


RUDE = {
    "silent": lambda connection: time.sleep(5),
    "dripping": drip,
    "endless": flood,
    "gone": lambda connection: connection.close(),
    "of another protocol": lambda connection: connection.sendall(b"SSH-2.0-x\r\n"),
    "deaf after the message": hangs_after_data,
}


@pytest.mark.parametrize("how", RUDE)
@pytest.mark.parametrize("security", ["none", "tls"])
def test_a_server_that_is_rude_costs_its_time_and_no_more(how, security):
    with answering(RUDE[how]) as port:
        started = time.monotonic()
        error = failure(port, security=security, seconds=0.5)
    assert time.monotonic() - started < 4
    assert not error.permanent


_WORDS = (
    b"220 x",
    b"250 x",
    b"250-STARTTLS",
    b"250-AUTH CRAM-MD5 PLAIN",
    b"250 SIZE",
    b"334 !!",
    b"334 ",
    b"354 x",
    b"421",
    b"550 \xff",
    b"-",
    b"\x00\x1b[2J",
    b"999999 x",
    b"25",
)


@pytest.mark.parametrize("seed", range(25))
def test_whatever_a_server_says_is_a_delivery_or_a_failure_that_is_told(seed):
    rng = Random(seed)

    def babble(connection):
        connection.sendall(b"".join(rng.choice(_WORDS[:5]) + b"\r\n" for _ in range(rng.randrange(4))))
        while connection.recv(4096):
            connection.sendall(b"".join(rng.choice(_WORDS) + b"\r\n" for _ in range(rng.randrange(4))))

    with answering(babble) as port, contextlib.suppress(DeliveryError):
        security = rng.choice(["none", "starttls"])
        send(port, security=security, seconds=0.3, user=USER, password=PASSWORD)


def test_what_was_taken_is_taken_though_the_server_does_not_say_farewell():
    with answering(hangs_at_the_farewell) as port:
        started = time.monotonic()
        send(port)
    assert time.monotonic() - started < 7


def test_closing_does_not_wait_for_an_answer():
    with answering(RUDE["silent"]) as port:
        sending, errors = mailer(port), []

        def send_it():
            try:
                sending.send("1", "x", "x", AT)
            except DeliveryError as error:
                errors.append(error)

        thread = threading.Thread(target=send_it)
        thread.start()
        while sending._talk is None or sending._talk._wire is None:
            time.sleep(0.01)
        sending.close()
        thread.join(4)
    assert [error.away for error in errors] == [True]
