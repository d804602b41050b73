from pathlib import Path

import pytest

from triage_agent.builders import build_tls, build_transports
from triage_agent.domain.errors import ConfigurationError
from triage_agent.domain.vocabulary import ArtifactKind
from triage_agent.sections.hl7_listen import Hl7ListenSettings
from triage_agent.settings import Settings, default_config_path, load_settings

PEER = '[[dicom.peers]]\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 11115\n'
CALLER = '[[dicom.peers]]\nname = "ct"\nae_title = "CT"\n'
TLS = '[dicom.tls]\ncertificate = "c"\nkey = "k"\nca = "a"\n'


@pytest.fixture
def config(tmp_path):
    def write(text):
        path = tmp_path / "agent.toml"
        path.write_text(text)
        return path

    return write


def test_the_shipped_default_configuration_says_exactly_what_the_defaults_are():
    assert load_settings(default_config_path()) == Settings()


def test_the_shipped_default_configuration_names_every_key_of_the_listener_for_orders():
    text = default_config_path().read_text()
    assert [key for key in Hl7ListenSettings.model_fields if f"# {key} =" not in text] == []


def test_the_shipped_default_configuration_names_every_key():
    text = default_config_path().read_text()
    for name, field in Settings.model_fields.items():
        table = field.annotation
        keys = getattr(table, "model_fields", {name: field})
        tables = {key: (f"{key} =", f"[{name}.{key}]", f"[[{name}.{key}") for key in keys if key != "routes"}
        missing = [key for key, ways in tables.items() if not any(way in text for way in ways)]
        assert missing == [], f"[{name}] {missing} not in config/agent.toml"


def test_an_empty_file_means_the_defaults(config):
    assert load_settings(config("")) == Settings()


def test_the_database_url_has_the_data_directory_filled_in(config):
    settings = load_settings(config('data_dir = "/srv/triage"'))
    assert settings.database_url == "sqlite:////srv/triage/triage.db"


def test_the_environment_goes_before_the_file(config, monkeypatch):
    monkeypatch.setenv("TRIAGE_AGENT__DICOM__PORT", "4242")
    settings = load_settings(config('[dicom]\nport = 104\nae_title = "MINE"'))
    assert (settings.dicom.port, settings.dicom.ae_title) == (4242, "MINE")


def test_the_environment_can_name_the_file(config, monkeypatch):
    monkeypatch.setenv("TRIAGE_AGENT_CONFIG", str(config("institution = 'St Elsewhere'")))
    assert load_settings().institution == "St Elsewhere"


def test_lists_come_from_the_environment_as_json(config, monkeypatch):
    monkeypatch.setenv("TRIAGE_AGENT__ROUTES", '[{"to": "pacs", "send": ["sr"]}]')
    assert load_settings(config(PEER)).routes[0].send == (ArtifactKind.SR,)


def test_any_value_can_be_given_as_a_file(config, tmp_path):
    secret = tmp_path / "url"
    secret.write_text("postgresql+psycopg://triage:secret@db/triage\n")
    settings = load_settings(config(f'[database]\nurl_file = "{secret}"'))
    assert settings.database_url == "postgresql+psycopg://triage:secret@db/triage"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[dicom]\nprot = 104", "unknown key 'dicom.prot'; did you mean 'port'?"),
        ("instituton = 'x'", "unknown key 'instituton'; did you mean 'institution'?"),
        ("[dicom]\nport = 70000", "dicom.port: Input should be less than or equal to 65535 (it is 70000)"),
        ('[dicom.tls]\ncertificate = "c"\nkey = "k"', "dicom.tls.ca: Field required"),
        ('[dicom.tls]\nkey_file = "k"', "dicom.tls: key_file: write key, which is the name of a file"),
        ("[dicom]\nplain = false", "dicom: plain = false leaves nothing to listen on; add [dicom.tls]"),
        ("[dicom]\nport = 2762\n" + TLS, "dicom: port 2762 cannot be plain and TLS"),
        (PEER + "tls = true", "dicom: peer 'pacs' needs TLS; add [dicom.tls]"),
        (PEER + 'certificate_name = "pacs"', "dicom: peer 'pacs' needs TLS; add [dicom.tls]"),
        (PEER + 'networks = ["10.1.2.3/16"]', "write a network as 10.1.0.0/16"),
        (CALLER, "dicom.peers.0: give the peer's host, or the networks that it calls from"),
        (CALLER + 'networks = ["10.1.0.0/16"]\nmay = ["commit"]', "tls, retrieve and commit mean that"),
        (TLS + "prot = 1", "unknown key 'dicom.tls.prot'; did you mean 'port'?"),
        (CALLER + 'host = "ct"', "dicom.peers.0: give host and port, or neither"),
        (CALLER + 'networks = ["10.1.0.0/16"]\n[[routes]]\nto = "ct"\nsend = ["sr"]', "peer 'ct' cannot be called"),
        ('[database]\nurl_file = "/nowhere/url"', "/nowhere/url: No such file or directory; name a readable file"),
        ('[[routes]]\nto = "pcs"\nsend = ["sr"]\n' + PEER, "'pcs' is no peer's name; did you mean 'pacs'?"),
        (
            '[[routes]]\nto = "pacs"\nsend = ["hl7-oru"]\n' + PEER,
            "sends hl7-oru to 'pacs', which is not one of [[hl7.peers]]",
        ),
        (
            '[[hl7.peers]]\nname = "r"\nhost = "r"\nport = 1\n[[routes]]\nto = "r"\nsend = ["hl7-oru"]\ncommit = true',
            "asks 'r' to commit, which is not one of [[dicom.peers]]",
        ),
        ('[study]\nask_peer = "ris"\n' + PEER, "study.ask_peer 'ris' is no [[dicom.peers]] name"),
        (PEER + PEER, "two peers are named 'pacs'; give each its own name"),
        ("[[policy.rules]]\nname = 'a'", "policy.rules.0.when: Field required"),
        ("[dicom", "not TOML"),
        ("[study]\nquiet_seconds = inf", "study.quiet_seconds: Input should be less than or equal to"),
        ("[worker]\nlease_seconds = nan", "worker.lease_seconds: Input should be"),
        (
            "[delivery]\ngive_up_after_hours = 1e12",
            "delivery.give_up_after_hours: Input should be less than or equal to",
        ),
        ("[model]\nthreads = 100000", "model.threads: Input should be less than or equal to 1024"),
        ("[database]\nurl_file = 5", "5 is not the name of a file"),
    ],
)
def test_a_wrong_configuration_is_one_line_that_says_where_and_how_to_mend_it(config, text, says):
    path = config(text)
    with pytest.raises(ConfigurationError) as caught:
        load_settings(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("title", ["", "   ", "SEVENTEEN-LETTERS", "A\\\\B", "TAB\\t", "KLINIK-Ä", "LINE\\nBREAK"])
@pytest.mark.parametrize(
    ("text", "place"),
    [('[dicom]\nae_title = "TITLE"', "dicom.ae_title"), (PEER.replace('"PACS"', '"TITLE"'), "dicom.peers.0.ae_title")],
)
def test_a_title_that_dicom_cannot_carry_is_one_line(config, title, text, place):
    with pytest.raises(ConfigurationError) as caught:
        load_settings(config(text.replace("TITLE", title)))
    assert f"{place}: give 1 to 16 characters of printable ASCII" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("title", "means"), [("A", "A"), ("SIXTEEN-LETTERS.", "SIXTEEN-LETTERS."), (" my ~AE ", "my ~AE")]
)
def test_a_title_is_taken_without_its_padding(config, title, means):
    settings = load_settings(config(f'[dicom]\nae_title = "{title}"\n' + PEER.replace("PACS", title)))
    assert (settings.dicom.ae_title, settings.dicom.peers[0].ae_title) == (means, means)


def test_an_unknown_variable_is_an_error_too(config, monkeypatch):
    monkeypatch.setenv("TRIAGE_AGENT__DICM__PORT", "104")
    with pytest.raises(ConfigurationError, match="did you mean 'dicom'"):
        load_settings(config(""))


def test_a_missing_file_is_a_configuration_error():
    with pytest.raises(ConfigurationError, match="No such file"):
        load_settings(Path("/nowhere/agent.toml"))


def test_a_peer_that_only_calls_has_networks_and_no_transport(config):
    settings = load_settings(config(PEER + CALLER + 'networks = ["10.1.0.0/16", "192.0.2.7", "fd00::/8"]'))
    assert [str(network) for network in settings.dicom.peers[1].networks] == ["10.1.0.0/16", "192.0.2.7/32", "fd00::/8"]
    assert build_transports(settings).keys() == {"pacs"}


def test_a_tls_key_s_password_can_come_from_a_file(config, tmp_path):
    (tmp_path / "password").write_text("secret\n")
    settings = load_settings(config(TLS + f'key_password_file = "{tmp_path}/password"'))
    assert settings.dicom.tls.key_password == "secret"  # noqa: S105 - of nothing
    assert build_tls(settings) is build_tls(settings), "a new certificate would be new for one of them"
    assert build_tls(load_settings(config(PEER))) is None


def test_tls_can_be_set_by_environment(config, monkeypatch):
    for name in ("certificate", "key", "ca"):
        monkeypatch.setenv(f"TRIAGE_AGENT__DICOM__TLS__{name.upper()}", f"/tls/{name}.pem")
    tls = load_settings(config("")).dicom.tls
    assert (str(tls.certificate), tls.port, tls.require_client_certificate) == ("/tls/certificate.pem", 2762, True)


ASKING = '[study]\nask_peer = "pacs"\nfetch_missing = true\n'


def test_what_is_missing_is_fetched_from_whom_is_asked(config):
    settings = load_settings(config(ASKING + PEER + 'retrieve = "get"\n'))
    assert settings.study.rule().fetch
    assert not load_settings(config("")).study.rule().fetch


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[study]\nfetch_missing = true\n", "study.fetch_missing needs study.ask_peer"),
        (ASKING + PEER, 'study.fetch_missing needs retrieve = "move" or "get"'),
        (PEER + 'retrieve = "push"\n', "dicom.peers.0.retrieve"),
        (PEER + 'may = ["query"]\nretrieve = "move"\n', 'dicom.peers.0: retrieve = "move" .* add "store" to its may'),
    ],
)
def test_fetching_from_nobody_or_in_no_way_is_a_wrong_configuration(config, text, says):
    with pytest.raises(ConfigurationError, match=says):
        load_settings(config(text))
