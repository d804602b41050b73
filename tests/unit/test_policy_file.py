"""A policy file: what it may say, and how each mistake in it is told with its line."""

import re
import tomllib
from datetime import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from triage_agent.decision.rules import Hours
from triage_agent.domain.errors import ConfigurationError, ProblemsError
from triage_agent.domain.vocabulary import Finding, Priority
from triage_agent.sections.policy_file import read_rules, rules_of
from triage_agent.sections.toml_lines import Document
from triage_agent.settings import build_settings, default_config_path, load_settings

GOOD = """\
# ours
[[rules]]
name = "ED at night"
[rules.when]
finding = "abnormal"
probability = ">= 0.5, <= 0.9"
regions = ["wrist", "XR_KNEE"]
order_priority = ["stat", "urgent"]
location = ["ED"]
patient_class = ["E"]
age = { min = 2, max = 15 }
between = "18:00-07:00"
weekdays = ["sat", "sun"]
[rules.then]
priority = "stat"
acr_category = "1"
routes = ["pacs"]

[[rules]]
name = "doubt"
when = { uncertainty = true }
then = { priority = "urgent" }
"""
RULE = '[[rules]]\nname = "mine"\n'
ONE_OF = "must be one of abnormal, normal, uncertain"
LINE_3 = 'p.toml:3: rule "mine":'


def read(text, destinations=("pacs", "ris")):
    return rules_of(text if isinstance(text, bytes) else text.encode(), "p.toml", destinations)


def lines(text):
    with pytest.raises(ProblemsError) as told:
        read(text)
    return list(told.value.lines)


def test_a_rule_says_all_that_a_site_may_ask_for():
    first, second = (rule.rule() for rule in read(GOOD).rules)
    assert (first.name, first.priority, first.acr_category, first.routes) == (
        "ED at night",
        Priority.STAT,
        "1",
        ("pacs",),
    )
    when = first.when
    assert (when.finding, when.min_probability, when.max_probability) == (Finding.ABNORMAL, 0.5, 0.9)
    assert (when.anatomies, when.order_priorities) == (("XR_WRIST", "XR_KNEE"), (Priority.STAT, Priority.URGENT))
    assert (when.locations, when.patient_classes, when.min_age, when.max_age) == (("ED",), ("E",), 2, 15)
    assert (when.hours, when.weekdays) == (Hours(time(18), time(7)), (5, 6))
    assert (second.when.uncertainty, second.priority, second.routes) == (True, Priority.URGENT, ())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ["p.toml:1: there are no [[rules]]; write one, or take [policy] file out"]),
        ("x = 1\n[[rules]\n", ["p.toml:2: not TOML: Expected ']]' at the end of an array declaration; mend that line"]),
        ("rules = [\n", ["p.toml:2: not TOML: Invalid value; mend that line"]),
        (b"# a\n\xff\n", ["p.toml:2: not UTF-8; save the file as UTF-8"]),
        (f"# a\nx = {'9' * 5000}\n", ["p.toml:2: not TOML: a value that cannot be read; mend that line"]),
        (f"# a\nx = {'[' * 5000}\n", ["p.toml:2: not TOML: nested too deeply; mend that line"]),
        (f"{RULE}when = {{}}\n\nruels = 1\n", ["p.toml:5: rule \"mine\": unknown key 'ruels'; did you mean 'routes'?"]),
        (
            f'{RULE}when = {{ finding = "abnormel" }}\n',
            [f"{LINE_3} when.finding: {ONE_OF}; did you mean 'abnormal'? (it is 'abnormel')"],
        ),
        (
            f"{RULE}[rules.when]\nregions = [\n  'wrist',\n  7,\n]\nage = {{ min = 9, max = 3 }}\n",
            [
                'p.toml:4: rule "mine": when.regions.1: must be text, in quotes (it is 7)',
                'p.toml:8: rule "mine": when.age: min 9 is above max 3: the rule can never hold; swap them',
            ],
        ),
        (f"{RULE}when = {{}}\n" * 2, ['p.toml:5: rule "mine": another rule has that name; choose another']),
        (
            f"{RULE}when = {{}}\nroutes = ['pac']\n",
            ["p.toml:4: rule \"mine\": routes: no [[routes]] leads to 'pac'; did you mean 'pacs'?"],
        ),
        (f"{RULE}when = {{}}\nroutes = []\n", ['p.toml:4: rule "mine": routes: must have at least 1']),
        ("[[rules]]\nwhen = {}\n", ["p.toml:1: rule 1: name: is missing; give it a value"]),
        (
            f"{RULE}when = {{}}\npriority = 'stat'\nthen = {{}}\n",
            ['p.toml:1: rule "mine": priority beside then; put all into then'],
        ),
        (
            f"{RULE}when = {{ finding = 'abnormal', uncertainty = true }}\n",
            [f"{LINE_3} when: finding abnormal and uncertainty true exclude each other; take one of them out"],
        ),
        (
            f"{RULE}when = {{ between = '07:00-07:00' }}\n",
            [f"{LINE_3} when.between: begins when it ends; take it out where any time will do (it is '07:00-07:00')"],
        ),
    ],
)
def test_each_mistake_is_told_with_its_line_and_how_to_mend_it(text, told):
    assert lines(text) == told


@pytest.mark.parametrize("given", ["0.8", ">= 2", ">= 0.5, >= 0.6", "<= 0.2, >= 0.8", "> 0.5", "", "about 0.5"])
def test_a_probability_that_cannot_be_read_is_refused(given):
    assert lines(f'{RULE}when = {{ probability = "{given}" }}\n')[0].startswith('p.toml:3: rule "mine": when')


def test_all_mistakes_are_told_at_once_in_the_order_of_lines():
    text = GOOD.replace('"abnormal"', '"x"').replace('"18:00-07:00"', '"24:00-7"').replace("uncertainty", "certainty")
    assert [line.split(":")[1] for line in lines(text)] == ["5", "12", "21"]


def test_text_of_the_file_reaches_no_terminal_as_it_is():
    assert "\x1b" not in "".join(lines('[[rules]]\nname = "\\u001b[2J"\nwhen = {}\n'))


def test_the_line_of_a_key_is_where_its_statement_begins():
    document = Document(GOOD, "p.toml")
    assert document.line_of(("rules", 0)) == 2
    assert document.line_of(("rules", 0, "when", "age", "max")) == 11
    assert document.line_of(("rules", 1, "then", "nothing")) == 22
    assert document.line_of(("nothing",)) == 1


def test_what_is_no_small_file_is_refused_before_it_is_read(tmp_path):
    (tmp_path / "large.toml").write_bytes(b"#" * 70_000)
    (tmp_path / "long.toml").write_bytes(b"\n" * 1_500)
    for name, said in (("large.toml", "larger than 64 KiB"), ("no.toml", "No such file"), ("", "is no file")):
        with pytest.raises(ConfigurationError, match=said):
            read_rules(tmp_path / name, ())
    with pytest.raises(ProblemsError, match=r"long\.toml:1001: the file goes on"):
        read_rules(tmp_path / "long.toml", ())


@pytest.fixture
def site(tmp_path):
    """Writes a configuration that names a policy file beside it."""

    def write(rules, policy='file = "policy.toml"\ntime_zone = "Europe/Berlin"', routes='"pacs"'):
        (tmp_path / "policy.toml").write_text(rules)
        config = tmp_path / "agent.toml"
        peers = '[[dicom.peers]]\nname = "pacs"\nae_title = "P"\nhost = "h"\nport = 104\n'
        config.write_text(f"[policy]\n{policy}\n{peers}[[routes]]\nto = {routes}\nsend = ['sr']\n")
        return config

    return write


def test_the_configuration_names_the_file_beside_it_and_its_time_zone(site, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    settings = load_settings(site(GOOD))
    policy = settings.policy.policy()
    assert ([rule.name for rule in policy.rules], str(policy.zone)) == (["ED at night", "doubt"], "Europe/Berlin")
    assert settings.policy.file == tmp_path / "policy.toml"


def test_a_mistake_in_the_file_is_one_of_the_configuration(site, tmp_path):
    with pytest.raises(ProblemsError) as told:
        load_settings(site(GOOD.replace("pacs", "nobody")))
    assert told.value.lines == (
        f"{tmp_path}/policy.toml:17: rule \"ED at night\": routes: no [[routes]] leads to 'nobody'; known are pacs",
    )


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"file": "p.toml", "rules": [{"name": "a", "when": {}}]}, "keep the rules in one of them"),
        ({"file": ""}, "must not be empty"),
        ({"time_zone": "Mars/Olympus"}, "is no time zone"),
        ({"time_zone": "../../etc/passwd"}, "is no time zone"),
        ({"time_zone": ""}, "is no time zone"),
        ({"rules": [{"name": "a", "when": {}, "routes": ["nobody"]}]}, "no \\[\\[routes\\]\\] leads to 'nobody'"),
        ({"rules": [{"name": "alert", "when": {}}]}, "the agent's own name"),
    ],
)
def test_what_cannot_be_meant_is_refused(policy, said):
    with pytest.raises(ConfigurationError, match=said):
        build_settings({"policy": policy}, "agent.toml")


def test_the_shipped_example_is_a_policy():
    example_file = default_config_path().with_name("policy.example.toml")
    assert len(read_rules(example_file, ()).rules) == 6


def test_rules_without_their_routes_are_a_policy_anywhere(site):
    kept = load_settings(site(GOOD)).policy.without_routes()
    again = build_settings({"policy": kept}, "demo").policy.policy()
    assert [(rule.name, rule.priority, rule.routes) for rule in again.rules] == [
        ("ED at night", Priority.STAT, ()),
        ("doubt", Priority.URGENT, ()),
    ]


pieces = st.lists(
    st.sampled_from([*GOOD.encode().splitlines(keepends=True), b"[[rules]]\n", b"[", b"'", b'"', b"=", b"}", b"\xff"])
    | st.binary(max_size=6),
    max_size=25,
).map(b"".join)


@given(pieces | st.binary(max_size=60))
@example(b"[[rules]]\nname='a'\nwhen={age={min=0x" + b"f" * 20_000 + b"}}")
@example(b"self = 1\n[[rules]]\nname = 'a'\nwhen = {}\nself = 2")
@example(b"rules = [[]]")
@example(b"rules = 1")
@example(b"[[rules]]\nwhen = {min_probability = nan}")
@settings(deadline=None, max_examples=150)
def test_any_bytes_are_rules_or_problems_with_lines(written):
    problems = []
    try:
        assert [rule.rule().name for rule in read(written).rules]
    except ProblemsError as told:
        problems = [line.split(":", 2) for line in told.lines]
    else:
        assert tomllib.loads(written.decode("utf-8-sig"))["rules"]
        return
    assert problems
    for where, number, what in problems:
        assert (where, bool(what.strip())) == ("p.toml", True)
        assert 1 <= int(number) <= written.count(b"\n") + 1


def test_what_the_page_about_rules_has_a_site_copy_works():
    page = (Path(__file__).parents[2] / "docs" / "policy.md").read_text()
    configuration, rules = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert (
        build_settings({"policy": {**tomllib.loads(configuration)["policy"]}}, "page").policy.time_zone
        == "Europe/Berlin"
    )
    assert [rule.name for rule in read(rules).rules] == ["ED at night", "children", "STAT orders", "abnormal"]
