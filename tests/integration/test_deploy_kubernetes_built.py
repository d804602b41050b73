"""What kustomize makes of the manifests, against Kubernetes' own schemas."""

import shutil

import kubernetes_validate
import pytest
from support.deployed import DEPLOY
from support.manifests import KUBERNETES, built, containers, objects, pod_of, written

from triage_agent.sections.dicom import TlsSettings

pytestmark = pytest.mark.external

OTHERS = {"PodMonitor", "ScaledObject"}  # kinds that operators bring, with schemas of their own
VERSIONS = ("1.30", "1.34")


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_fits_the_schema_of_its_kind(version):
    for thing in [*written().values(), *objects(built())]:
        if thing["kind"] not in OTHERS:
            kubernetes_validate.validate(thing, version, strict=True)


def test_a_field_that_is_none_would_be_found():
    (budget, *_) = [thing for thing in written().values() if thing["kind"] == "PodDisruptionBudget"]
    wrong = {**budget, "spec": {**budget["spec"], "maxAvailable": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


@pytest.fixture(scope="module")
def site():
    """What the example makes: {(kind, name): object}."""
    return {(thing["kind"], thing["metadata"]["name"]): thing for thing in objects(built())}


def test_the_example_gives_every_worker_a_gpu_and_leaves_their_number_to_the_autoscaler(site):
    worker = site["Deployment", "worker"]
    assert "replicas" not in worker["spec"]
    (container,) = worker["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    names = [variable["name"] for variable in container["env"]]
    assert names == ["TRIAGE_AGENT__MODEL__DEVICE", "TRIAGE_AGENT__DATABASE__URL_FILE"]
    assert site["HorizontalPodAutoscaler", "worker"]["spec"]["minReplicas"] >= 1


def test_a_change_of_the_configuration_makes_new_pods(site):
    made = {name for kind, name in site if kind == "ConfigMap"}
    for role in ("listener", "worker", "web"):
        pod, _ = pod_of(site["Deployment", role])
        (configuration,) = [one["configMap"]["name"] for one in pod["volumes"] if "configMap" in one]
        assert configuration in made
        assert configuration != "triage-agent"  # a digest of what is in it stands behind


def test_all_is_in_one_namespace_and_every_image_is_the_sites(site):
    for (kind, _), thing in site.items():
        assert kind == "Namespace" or thing["metadata"]["namespace"] == "triage"
        for container in containers(pod_of(thing)[0]) if pod_of(thing) else ():
            assert container["image"].startswith(("registry.hospital.example/triage-agent:", "postgres:"))


def site_with(folder, *components):
    """What base makes with these components: {(kind, name): object}."""
    (folder / "kubernetes").mkdir()
    for name in ("base", "components"):
        shutil.copytree(KUBERNETES / name, folder / "kubernetes" / name)
    shutil.copytree(DEPLOY / "postgres", folder / "postgres")
    site = folder / "kubernetes" / "site"
    site.mkdir()
    wanted = ", ".join(f"../components/{name}" for name in components)
    (site / "kustomization.yaml").write_text(f"resources: [../base]\ncomponents: [{wanted}]\n")
    return {(one["kind"], one["metadata"]["name"]): one for one in objects(built(site))}


@pytest.mark.parametrize(
    ("components", "added"),
    [
        ((), {}),
        (("dicom-tls",), {"dicom-tls": 2762}),
        (("orders",), {"hl7": 2576}),
        (("dicom-tls", "orders"), {"dicom-tls": 2762, "hl7": 2576}),
    ],
)
def test_a_port_more_of_the_listener_is_one_of_its_service_and_of_its_policy(components, added, tmp_path):
    made = site_with(tmp_path, *components)
    for kind, name in (("Service", "dicom"), ("NetworkPolicy", "senders"), ("Deployment", "listener")):
        kubernetes_validate.validate(made[kind, name], VERSIONS[-1], strict=True)
    (container,) = pod_of(made["Deployment", "listener"])[0]["containers"]
    opened = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert opened == {"dicom": 11112, "http": 8080, **added}
    served = {port["targetPort"]: port["port"] for port in made["Service", "dicom"]["spec"]["ports"]}
    assert served == {"dicom": 11112, **added}
    (rule,) = made["NetworkPolicy", "senders"]["spec"]["ingress"]
    assert {port["port"] for port in rule["ports"]} == served.keys()


def test_every_role_has_the_files_of_dicom_by_tls_and_its_port_is_the_one_that_it_takes_by_itself(tmp_path):
    made = site_with(tmp_path, "dicom-tls")
    for role in ("listener", "worker", "web"):
        pod, _ = pod_of(made["Deployment", role])
        (container,) = pod["containers"]
        assert {"name": "dicom-tls", "mountPath": "/run/secrets/dicom-tls", "readOnly": True} in container[
            "volumeMounts"
        ]
        (volume,) = [one for one in pod["volumes"] if one["name"] == "dicom-tls"]
        assert volume["secret"] == {"secretName": "triage-dicom-tls", "defaultMode": 0o440}
    files = dict.fromkeys(("certificate", "key", "ca"), "/run/secrets/dicom-tls/file.pem")
    assert TlsSettings.model_validate(files).port == 2762
    assert "dicom-tls" not in str(made["Job", "migrate"])


def test_with_an_object_store_each_pod_has_copies_of_its_own_and_the_jobs_nothing_of_it(tmp_path):
    made = site_with(tmp_path, "object-store")
    for role in ("listener", "worker", "web"):
        kubernetes_validate.validate(made["Deployment", role], VERSIONS[-1], strict=True)
        pod, _ = pod_of(made["Deployment", role])
        (container,) = pod["containers"]
        given = {variable["name"]: variable["value"] for variable in container["env"]}
        mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        assert given["TRIAGE_AGENT__SPOOL__WRITE_AHEAD"].startswith("/var/cache/triage-agent/")
        assert mounted["/var/cache/triage-agent"] == "copies"
        assert {"name": "copies", "emptyDir": {"sizeLimit": "10Gi"}} in pod["volumes"]
    assert "SPOOL" not in str(made["Job", "migrate"])
