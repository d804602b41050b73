"""The alerts and the dashboard at Prometheus itself: its own tool tries the alerts, its server asks a running agent."""

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request

import pytest
import yaml
from support.agent import eventually
from support.exposition import RULES, panels, plain, rules
from support.ports import free_port
from support.programs import require_program
from support.xrays import radiograph, send

pytestmark = pytest.mark.external


def promtool(*arguments):
    return subprocess.run(
        [require_program("promtool"), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=RULES.parent,
    )


def test_the_alerts_are_rules():
    done = promtool("check", "rules", RULES.name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules())} rules found" in done.stdout


def test_each_alert_fires_when_it_should_and_not_before():
    done = promtool("test", "rules", "rules_test.yml", "rules_hours_test.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_tool_sees_an_alert_that_comes_too_late(tmp_path):
    """So that the test above is one."""
    text = RULES.read_text().replace("for: 2m", "for: 20m")
    (tmp_path / "rules.yml").write_text(text)
    tests = yaml.safe_load((RULES.parent / "rules_test.yml").read_text())
    tests["tests"] = [one for one in tests["tests"] if one["name"] == "TriageAgentDown"]
    (tmp_path / "rules_test.yml").write_text(yaml.safe_dump(tests))
    done = promtool("test", "rules", tmp_path / "rules_test.yml")
    assert done.returncode != 0
    assert "TriageAgentDown" in done.stdout + done.stderr


class Prometheus:
    """A server on loopback that scrapes an agent every second, with our rules."""

    def __init__(self, folder, targets):
        self.port = free_port()
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [{"job_name": "triage-agent", "static_configs": [{"targets": targets}]}],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(
            [
                require_program("prometheus"),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            stdout=self._log,
            stderr=self._log,
        )

    def close(self):
        self._process.kill()
        self._process.wait()
        self._log.close()

    def ask(self, path, **what):
        """What the API says; errors are answers, too."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(what)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                said = error.read()
            return json.loads(said) if said.startswith(b"{") else {"status": "away"}  # while it starts: 503
        except OSError:
            return {"status": "away"}

    def value(self, query):
        """Of a query with one result; None without."""
        found = self.ask("query", query=query).get("data", {}).get("result", [])
        return float(found[0]["value"][1]) if found else None


@pytest.fixture(scope="module")
def watched(shared_agent, shared_pacs, alarming_bundle, tmp_path_factory):
    """An agent that has raised a study, and the server that watches it."""
    running = shared_agent(bundle=alarming_bundle, pacs_port=shared_pacs.port)
    folder = tmp_path_factory.mktemp("prometheus")
    server = Prometheus(folder, [f"127.0.0.1:{running.web_port}"])
    try:
        eventually(lambda: server.value("triage_ready") == 1)
        image = radiograph()
        send(running.port, image)
        running.settled(image.StudyInstanceUID)
        eventually(lambda: server.value("triage_deliveries_total") == 1)
        yield server
    finally:
        server.close()


def test_every_query_of_the_dashboard_is_answered(watched):
    wrong = {}
    for queries in panels().values():
        for query in queries:
            answer = watched.ask("query", query=plain(query))
            if answer["status"] != "success":
                wrong[query] = answer["error"]
    assert wrong == {}
    assert watched.ask("query", query="sum(")["status"] == "error", "or nothing would be wrong"


def test_the_panels_of_what_happened_show_something(watched):
    titles = ("Images received", "Decisions", "Seconds of the model", "Ready", "Memory", "Backlog", "Free at the spool")

    def shown():
        """An increase needs two scrapes of what has been counted."""
        found = [watched.ask("query", query=plain(panels()[one][0]))["data"]["result"] for one in titles]
        return all(found)

    assert eventually(shown)


def test_every_rule_is_evaluated_without_an_error_and_a_site_in_order_alarms_nobody(watched):
    def evaluated():
        found = [rule for group in watched.ask("rules")["data"]["groups"] for rule in group["rules"]]
        return found if all(rule["health"] != "unknown" for rule in found) else None

    found = eventually(evaluated)
    assert {rule["name"] for rule in found} == {rule["alert"] for rule in rules()}
    assert {rule["name"]: rule.get("lastError") for rule in found if rule["health"] != "ok"} == {}
    assert [rule["name"] for rule in found if rule["state"] == "firing"] == []
