"""The Kubernetes manifests hold together: with the agent, and with the restricted Pod Security Standard."""

import re

import pytest
from support.deployed import DEPLOY, documents, known_variable, settled_environment
from support.manifests import KUBERNETES, containers, in_bytes, pod_of, written

from triage_agent.cli.serving import Role
from triage_agent.domain.backlog import Backlog
from triage_agent.ops.gauges import BacklogGauges
from triage_agent.settings import load_settings
from triage_agent.web.app import build_app

WRITTEN = written()
PODS = {name: pod_of(thing) for name, thing in WRITTEN.items() if pod_of(thing)}
CONTAINERS = {f"{name} {one['name']}": one for name, (pod, _) in PODS.items() for one in containers(pod)}
SERVING = {name: one for name, one in CONTAINERS.items() if one.get("args", [None])[0] == "serve"}
_DRAIN_SECONDS = 30


def of_kind(kind):
    return {name: thing for name, thing in WRITTEN.items() if thing["kind"] == kind}


# --- the restricted Pod Security Standard, as Kubernetes documents it ------------------------------------------------
@pytest.mark.parametrize("name", PODS)
def test_a_pod_is_of_a_user_who_is_not_root_under_the_runtimes_filter(name):
    pod, _ = PODS[name]
    context = pod["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] > 0
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    kinds = {kind for volume in pod["volumes"] for kind in volume.keys() - {"name"}}
    assert kinds <= {"configMap", "secret", "emptyDir", "persistentVolumeClaim", "projected", "downwardAPI", "csi"}


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_can_gain_nothing_and_write_nothing_but_its_mounts(name):
    context = CONTAINERS[name]["securityContext"]
    assert context == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_namespace_refuses_what_is_contained_less():
    (namespace,) = of_kind("Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


# --- the agent ---------------------------------------------------------------
def test_every_role_has_a_deployment():
    assert {Role(one["args"][2]) for one in SERVING.values()} == set(Role) - {Role.ALL}
    assert all(one["args"][:2] == ["serve", "--role"] for one in SERVING.values())


def test_its_variables_are_keys_of_the_configuration():
    names = {variable["name"] for one in CONTAINERS.values() for variable in one.get("env", [])}
    for component in KUBERNETES.glob("components/*/kustomization.yaml"):
        names |= set(re.findall(r"name: (TRIAGE_AGENT\w+)", component.read_text()))
    assert {"TRIAGE_AGENT__MODEL__DEVICE", "TRIAGE_AGENT__SPOOL__URL"} <= names
    assert [name for name in names if not known_variable(name)] == []


@pytest.mark.parametrize("name", SERVING)
def test_every_probe_asks_what_the_agent_answers_and_waits_longer_than_a_database_that_is_away_takes(name):
    container = SERVING[name]
    answers = {route.path for route in build_app({}, bytes, "1").routes}
    ports = {port["name"] for port in container["ports"]}
    paths = {}
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        probe = container[kind]
        paths[kind] = probe["httpGet"]["path"]
        assert probe["httpGet"]["path"] in answers
        assert probe["httpGet"]["port"] in ports
        assert probe["timeoutSeconds"] > 7
    # Who cannot work is asked nothing of, and not killed: a database that is away would have every pod restarted.
    assert paths == {"startupProbe": "/readyz", "readinessProbe": "/readyz", "livenessProbe": "/healthz"}
    assert container["startupProbe"]["periodSeconds"] * container["startupProbe"]["failureThreshold"] >= 300


@pytest.mark.parametrize("name", [name for name in PODS if "Deployment/" in name])
def test_a_pod_has_the_time_to_drain(name):
    pod, _ = PODS[name]
    (container,) = pod["containers"]
    before = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] >= _DRAIN_SECONDS + before + 5


@pytest.mark.parametrize("name", [name for name in PODS if "Deployment/" in name])
def test_a_pod_waits_for_its_tables_with_the_role_that_may_only_read_them(name):
    pod, _ = PODS[name]
    (waiting,) = pod["initContainers"]
    assert waiting["args"] == ["db", "wait"]
    assert waiting["env"] == pod["containers"][0]["env"]


def test_the_tables_are_made_by_their_owner_and_the_grants_run_after_it():
    pod, _ = PODS["base/migrate.yaml Job/migrate"]
    (upgrade,), (grants,) = pod["initContainers"], pod["containers"]
    assert upgrade["args"] == ["db", "upgrade"]
    assert "grants.sql" in grants["args"][0]
    secrets = {volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume}
    assert secrets == {"triage-database-owner"}
    for name, (other, _) in PODS.items():
        if "Deployment/" in name:
            assert "triage-database-owner" not in str(other)


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_asks_for_what_it_needs_and_is_bounded(name):
    resources = CONTAINERS[name]["resources"]
    assert {"cpu", "memory"} <= resources["requests"].keys()
    assert in_bytes(resources["limits"]["memory"]) >= in_bytes(resources["requests"]["memory"])


@pytest.mark.parametrize("name", PODS)
def test_what_is_mounted_is_a_volume_of_the_pod_and_every_volume_is_mounted(name):
    pod, _ = PODS[name]
    mounted = {mount["name"] for one in containers(pod) for mount in one["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_a_read_only_container_has_the_folders_that_the_agent_writes_to():
    for container in SERVING.values():
        writable = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
        assert writable == {"/var/lib/triage-agent", "/tmp"}  # noqa: S108 - of a container


# --- what goes with what ---------------------------------------------------------------
def labels_of_pods():
    return [labels for _, labels in PODS.values()]


def chosen(selector):
    """The pods' labels that a selector fits."""
    wanted = selector.get("matchLabels", {})
    among = {one["key"]: one["values"] for one in selector.get("matchExpressions", [])}
    return [
        labels
        for labels in labels_of_pods()
        if wanted.items() <= labels.items() and all(labels.get(key) in values for key, values in among.items())
    ]


@pytest.mark.parametrize(
    "name", [name for name in WRITTEN if name.split()[1].startswith(("Service/", "PodDis", "Deploy"))]
)
def test_a_selector_chooses_one_kind_of_pod(name):
    thing = WRITTEN[name]
    selector = thing["spec"]["selector"]
    found = chosen(selector if "matchLabels" in selector else {"matchLabels": selector})
    assert len(found) == 1


def test_a_services_port_is_one_of_its_pods_and_where_the_configuration_listens(monkeypatch, tmp_path):
    url = tmp_path / "url"
    url.write_text("postgresql+psycopg://triage_agent@db/triage")
    settled_environment(monkeypatch, TRIAGE_AGENT__DATABASE__URL_FILE=url)
    settings = load_settings(KUBERNETES / "example" / "agent.toml")
    listens = {"dicom": settings.dicom.port, "http": settings.web.port}
    for container in SERVING.values():
        for port in container["ports"]:
            assert port["containerPort"] == listens[port["name"]]
    for service in of_kind("Service").values():
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in listens
    assert {settings.dicom.host, settings.web.host} == {"0.0.0.0"}  # noqa: S104 - of a container


def test_a_sender_is_seen_with_its_own_address():
    assert WRITTEN["base/listener.yaml Service/dicom"]["spec"]["externalTrafficPolicy"] == "Local"


def test_every_policy_of_the_network_chooses_pods_and_the_first_closes_all():
    policies = of_kind("NetworkPolicy")
    shut = policies["base/network.yaml NetworkPolicy/nothing-else"]["spec"]
    assert shut == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    ports = {port["name"] for container in SERVING.values() for port in container["ports"]}
    for name, policy in policies.items():
        assert chosen(policy["spec"]["podSelector"]), name
        for rule in policy["spec"].get("ingress", []):
            assert {port["port"] for port in rule["ports"]} <= ports


def test_every_role_has_a_budget_for_disruptions():
    budgets = {budget["metadata"]["name"] for budget in of_kind("PodDisruptionBudget").values()}
    assert budgets == {role.value for role in Role if role is not Role.ALL}


def test_what_scales_scales_the_workers_by_a_metric_that_there_is():
    nothing = Backlog(waiting=0, since=None, held=0, pending={}, retrievals=0)
    metrics = {one.name for one in BacklogGauges(lambda _now: nothing, lambda: None).collect()}
    scaled = [*of_kind("HorizontalPodAutoscaler").values(), *of_kind("ScaledObject").values()]
    assert len(scaled) == 2
    for thing in scaled:
        assert thing["spec"]["scaleTargetRef"]["name"] == "worker"
        (metric,) = set(re.findall(r"triage_\w+", str(thing["spec"])))
        assert metric in metrics


def test_what_prometheus_chooses_is_every_serving_pod():
    (monitor,) = of_kind("PodMonitor").values()
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["path"] in {route.path for route in build_app({}, bytes, "1").routes}
    assert len(chosen(monitor["spec"]["selector"])) == len(SERVING)


def test_no_secret_is_made_here():
    assert of_kind("Secret") == {}
    for file in DEPLOY.rglob("kustomization.yaml"):
        (kustomization,) = documents(file)
        assert "secretGenerator" not in kustomization


def test_every_image_is_named_by_the_example():
    (example,) = documents(KUBERNETES / "example" / "kustomization.yaml")
    component = (KUBERNETES / "components" / "gpu" / "kustomization.yaml").read_text()
    used = {one["image"] for one in CONTAINERS.values()} | set(re.findall(r"image: (\S+)", component))
    assert {image["name"] for image in example["images"]} == used
    assert all(image["newTag"] != "latest" for image in example["images"])


def test_every_file_of_a_kustomization_is_there_and_every_file_is_in_one():
    named = set()
    for file in KUBERNETES.rglob("kustomization.yaml"):
        (kustomization,) = documents(file)
        for entry in (*kustomization.get("resources", []), *kustomization.get("components", [])):
            assert (file.parent / entry).exists(), entry
            named.add((file.parent / entry).resolve())
    for file in KUBERNETES.rglob("*.yaml"):
        if file.name != "kustomization.yaml":
            assert file.resolve() in named, file
