from pathlib import Path

import pytest

from triage_agent.builders import build_tls, build_transports
from triage_agent.domain.errors import ConfigurationError
from triage_agent.domain.hl7_form import USUAL_FORM, Hl7Form
from triage_agent.domain.vocabulary import ArtifactKind, Priority, Unscored
from triage_agent.sections.hl7_listen import Hl7ListenSettings
from triage_agent.settings import Settings, default_config_path, load_settings

PEER = '[[dicom.peers]]\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 11115\n'
RIS = '[[hl7.peers]]\nname = "r"\nhost = "r"\nport = 1\n'
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
        ("[dicom]\nport = 70000", "dicom.port: must be at most 65535 (it is 70000)"),
        ('[dicom.tls]\ncertificate = "c"\nkey = "k"', "dicom.tls.ca: is missing; give it a value"),
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
            RIS + '[[routes]]\nto = "r"\nsend = ["hl7-oru"]\ncommit = true',
            "asks 'r' to commit, which is not one of [[dicom.peers]]",
        ),
        (RIS + 'version = "2.4"\n[[routes]]\nto = "r"\nsend = ["hl7-omi"]', "has no such message but hl7-orm, hl7-oru"),
        (RIS + 'version = "2.9"', "hl7.peers.0.version: "),
        (RIS + 'charset = "UNICODE UTF-16"', "hl7.peers.0.charset: "),
        (RIS + '[hl7.peers.fields]\n"OBX[rul]-3" = "x"', "hl7.peers.0: peer 'r': OBX[rul]-3: there is no such"),
        (RIS + "tls = true", "[[hl7.peers]] 'r' needs ca for TLS"),
        (RIS + 'ca = "a"', "ca is for TLS; add tls = true"),
        (RIS + 'tls = true\nca = "a"\nkey = "k"', "give certificate and key, or neither"),
        (RIS + 'tls = true\ncertificate = "c"\nkey = "k"', "give ca too"),
        (RIS + 'tls = true\nca_file = "a"', "ca_file: write ca, which is the name of a file"),
        (RIS + '[hl7.peers.fields]\n"OBR-4" = 5', "hl7.peers.0.fields.OBR-4: "),
        ('[study]\nask_peer = "ris"\n' + PEER, "study.ask_peer 'ris' is no [[dicom.peers]] name"),
        (PEER + PEER, "two peers are named 'pacs'; give each its own name"),
        ("[[policy.rules]]\nname = 'a'", "policy.rules.0.when: is missing; give it a value"),
        ("[dicom", "not TOML"),
        ("[study]\nquiet_seconds = inf", "study.quiet_seconds: must be at most 31536000"),
        ("[worker]\nlease_seconds = nan", "worker.lease_seconds: must be"),
        (
            "[delivery]\ngive_up_after_hours = 1e12",
            "delivery.give_up_after_hours: must be at most 8760",
        ),
        ("[model]\nthreads = 100000", "model.threads: must be at most 1024 (it is 100000)"),
        ("[database]\nurl_file = 5", "5 is not the name of a file"),
        ('data_dir = ""', "data_dir: must not be empty; name a folder"),
        ('data_dir = "/proc/triage"', "data_dir: nothing can be kept under /proc; name a folder on a disk"),
        ('data_dir = "/srv/../sys"', "data_dir: nothing can be kept under /sys"),
        ('data_dir = "/dev/null"', "data_dir: nothing can be kept under /dev"),
        ("data_dir = 5", "data_dir: must be a path, in quotes (it is 5)"),
        (PEER + PEER.replace('"pacs"', '"two"'), "dicom: peers 'pacs' and 'two' are one application"),
        ('[dicom]\nae_title = "PACS"\nport = 11115\n' + PEER, "dicom: peer 'pacs' is this agent itself"),
        (
            "[study]\nmax_wait_seconds = 20",
            "study: quiet_seconds 30 is above max_wait_seconds 20, which ends every wait",
        ),
        ("[worker]\ndecode_seconds = 0.01", "worker.decode_seconds: must be at least 1 (it is 0.01)"),
        ("[worker]\nlease_seconds = 0.1", "worker.lease_seconds: must be at least 1 (it is 0.1)"),
        (
            '[storage]\nkeep_originals = "until_delivered"\nretention_days = 0',
            'storage: keep_originals = "until_delivered" deletes originals at once, retention_days = 0 keeps them',
        ),
        (
            "[delivery]\nfirst_retry_seconds = 10\nlongest_retry_seconds = 5",
            "delivery: first_retry_seconds 10 is above longest_retry_seconds 5; make it the smaller one",
        ),
        (
            '[model]\ndevice = "Cdua"',
            "model.device: must be one of auto, cuda, cpu; did you mean 'cuda'? (it is 'Cdua')",
        ),
        (
            '[[routes]]\nto = "pacs"\nsend = ["srr"]\n' + PEER,
            "routes.0.send.0: must be one of sr, sr-comprehensive, sr-enhanced",
        ),
        (
            '[[policy.rules]]\nname = "a"\nwhen = { finding = "abnormel" }',
            "finding: must be one of abnormal, normal, uncertain; did you mean 'abnormal'? (it is 'abnormel')",
        ),
        (
            '[[routes]]\nto = "pacs"\nsend = ["sr", "evidence-sc"]\n' + PEER,
            "a route sends evidence-sc, which needs results.evidence = true: it shows regions",
        ),
        ('[results]\ntime_zone = "Europe/Stokholm"', "no time zone is called so; give one such as Europe/Stockholm"),
        ('[results]\ntime_zone = "../etc/passwd"', "no time zone is called so"),
        ('[audit]\nsyslog = "loghost"', "audit: syslog = 'loghost' is no address; write tls://host:6514"),
        ("[model]\nbatch = 4097", "model.batch: must be at most 4096 (it is 4097)"),
        ("[dicom]\nprocesses = 3\nmax_associations = 2", "dicom: processes 3 is above max_associations 2, which is"),
        ("[study]\nquiet_seconds = 0", "study.quiet_seconds: must be above 0 (it is 0)"),
        ("[storage]\nlow_water_percent = 100", "storage.low_water_percent: must be below 100 (it is 100)"),
        ('[dicom]\nport = "x"', "dicom.port: must be a whole number (it is 'x')"),
        ("[dicom]\nport = 1.5", "dicom.port: must be a whole number (it is 1.5)"),
        ('[dicom]\nplain = "maybe"', "dicom.plain: must be true or false (it is 'maybe')"),
        ('[storage]\nlow_water_percent = "much"', "storage.low_water_percent: must be a number (it is 'much')"),
        ("dicom = 5", "dicom: must be a table of keys (it is 5)"),
        ("[dicom]\npeers = 5", "dicom.peers: must be a list, in [ ] (it is 5)"),
        ("institution = 5", "institution: must be text, in quotes (it is 5)"),
        ('[[routes]]\nto = "pacs"\nsend = []', "routes.0.send: must have at least 1"),
        ('[[hl7.peers]]\nname = ""\nhost = "h"\nport = 1', "hl7.peers.0.name: must have at least 1 character"),
        (f'[logging]\nlevel = "{"x" * 10_000}"', "(it is 'xxxx"),
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


def test_whether_we_call_by_tls_is_known_to_whoever_judges_our_certificate(config):
    calls = [build_tls(load_settings(config(TLS + PEER + tls)))._calling for tls in ("", "tls = true")]
    assert calls == [False, True]


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


def test_a_site_s_words_for_priorities_are_understood_beside_dicom_s(config, monkeypatch):
    monkeypatch.setenv("TRIAGE_AGENT__STUDY__PRIORITY_WORDS__URGENT", '["ASAP"]')
    words = load_settings(config('[study]\npriority_words = { stat = ["Emergency"] }')).study.priority_words.words()
    meant = [words.meaning(word) for word in ("EMERGENCY", "asap", "STAT", "whenever")]
    assert meant == [Priority.STAT, Priority.URGENT, Priority.STAT, None]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('stat = ["HIGH"]', "study.priority_words: 'HIGH' is DICOM's word for urgent; take it out of stat"),
        ('now = ["X"]', "unknown key 'study.priority_words.now'; known are routine, stat, urgent"),
    ],
)
def test_a_word_that_cannot_be_used_is_a_wrong_configuration(config, text, says):
    with pytest.raises(ConfigurationError) as caught:
        load_settings(config(f"[study]\npriority_words = {{ {text} }}"))
    assert says in str(caught.value)


def test_a_message_is_short_whatever_the_value_is_and_repeats_no_secret(config):
    with pytest.raises(ConfigurationError) as long:
        load_settings(config(f'[logging]\nlevel = "{"x" * 10_000}"'))
    assert len(str(long.value)) < 500
    with pytest.raises(ConfigurationError) as secret:
        load_settings(config('[database]\nurl = "postgresql+psycopg://triage:hunter2@{datadir}/triage"'))
    assert "{datadir} stands for nothing" in str(secret.value)
    assert "hunter2" not in str(secret.value)


@pytest.mark.parametrize(
    ("written", "says"),
    [
        (b'institution = "H\xf4pital"', "line 1 is not UTF-8; save the file as UTF-8"),
        (b'# one\n\ninstitution = "H\xf4pital"', "line 3 is not UTF-8"),
        ('institution = "H\u00f4pital"'.encode("utf-16"), "line 1 is not UTF-8"),
    ],
)
def test_a_file_in_another_encoding_is_told_with_the_line(config, written, says):
    path = config("")
    path.write_bytes(written)
    with pytest.raises(ConfigurationError, match=says):
        load_settings(path)


def test_a_file_may_begin_with_a_byte_order_mark_and_end_its_lines_as_windows_does(config):
    path = config("")
    path.write_bytes(b"\xef\xbb\xbfinstitution = 'St Elsewhere'\r\n[dicom]\r\nport = 104\r\n")
    settings = load_settings(path)
    assert (settings.institution, settings.dicom.port) == ("St Elsewhere", 104)


@pytest.mark.parametrize("folder", ["/dev/shm/triage", "/device", "proc", "."])  # noqa: S108 - nothing is made
def test_a_folder_that_only_looks_like_the_kernel_s_is_taken(config, folder):
    assert str(load_settings(config(f'data_dir = "{folder}"')).data_dir) == folder


def test_one_application_may_have_two_ports_and_one_that_only_calls_our_title(config):
    two = PEER + PEER.replace('"pacs"', '"pacs-tls"').replace("11115", "2762")
    ours = CALLER.replace('"CT"', '"TRIAGE"') + 'networks = ["10.1.0.0/16"]'
    assert [peer.name for peer in load_settings(config(two + ours)).dicom.peers] == ["pacs", "pacs-tls", "ct"]


def test_a_ris_s_form_comes_from_its_keys(config):
    keys = 'version = "2.4"\ncharset = "8859/1"\nreceiving_facility = "H"\n[hl7.peers.fields]\n"OBR-4" = "{region}"\n'
    plain, formed = (load_settings(config(RIS + more)).hl7.peers[0].form() for more in ("", keys))
    assert plain == USUAL_FORM
    assert formed == Hl7Form(version="2.4", charset="8859/1", receiving_facility="H", fields=(("OBR-4", "{region}"),))


@pytest.mark.parametrize(
    ("said", "told"),
    [("false", Unscored.NONE), ("true", Unscored.RADIOGRAPHS), ('"all"', Unscored.ALL)],
)
def test_a_route_says_of_which_studies_without_a_score_it_tells(said, told, config):
    path = config(f'{PEER}[[routes]]\nto = "pacs"\nsend = ["sr"]\nunscored = {said}\n')
    (route,) = load_settings(path).routes
    assert route.told_of() is told


def test_a_route_that_tells_of_what_it_cannot_is_refused(config):
    with pytest.raises(ConfigurationError, match="unscored"):
        load_settings(config(f'{PEER}[[routes]]\nto = "pacs"\nsend = ["sr"]\nunscored = "some"\n'))


def test_a_route_cannot_ask_for_rejection_notes(config):
    with pytest.raises(ConfigurationError, match="triage-agent withdraw"):
        load_settings(config(f'{PEER}[[routes]]\nto = "pacs"\nsend = ["rejection"]\n'))


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("audit", "anchor_key"),
        ("audit", "anchors"),
        ("audit", "syslog_ca"),
        ("audit", "syslog_certificate"),
        ("audit", "syslog_key"),
        ("dicom.tls", "key"),
        ("web.tls", "key"),
        ("web.oidc", "ca"),
        ("policy", "file"),
        ("notify.webhook", "ca"),
        ("hl7.peers", "key"),
        ("fhir.peers", "key"),
        ("dicomweb.peers", "key"),
    ],
)
def test_no_private_key_is_read_into_a_message_where_the_name_of_a_file_is_asked_for(config, tmp_path, table, key):
    secret = tmp_path / "key.pem"
    secret.write_text("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEI\n")
    is_list = table.endswith((".peers", ".webhook"))
    head = f"[[{table}]]" if is_list else f"[{table}]"
    with pytest.raises(ConfigurationError, match=f"{key}_file: write {key}, which is the name of a file") as raised:
        load_settings(config(f'{head}\n{key}_file = "{secret}"'))
    assert "PRIVATE" not in str(raised.value)
    assert "MC4C" not in str(raised.value)
