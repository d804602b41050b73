"""Kubernetes manifests as deploy/kubernetes has them, and as `kubectl kustomize` makes one of them for a site."""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import yaml
from support.deployed import DEPLOY, documents
from support.programs import require_program

KUBERNETES = DEPLOY / "kubernetes"
_OTHERS = {"kustomization.yaml"}  # kustomize's own


def written():
    """Every object as it stands in a file: {"base/listener.yaml Deployment/listener": object}."""
    return {
        f"{file.relative_to(KUBERNETES)} {one['kind']}/{one['metadata']['name']}": one
        for file in sorted(KUBERNETES.rglob("*.yaml"))
        if file.name not in _OTHERS
        for one in documents(file)
    }


@cache
def built(folder="example"):
    """What a folder's kustomization makes, as text."""
    kubectl = require_program(str(Path(sys.executable).with_name("kubectl")), "kubectl")
    done = subprocess.run(
        [kubectl, "kustomize", str(KUBERNETES / folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def objects(text):
    """The objects of a text."""
    return [one for one in yaml.safe_load_all(text) if one is not None]


def pod_of(thing):
    """The pod that an object makes, and its labels; None where it makes none."""
    template = thing.get("spec", {}).get("template")
    return (template["spec"], template["metadata"]["labels"]) if template else None


def containers(pod):
    """Its containers, those that run before the others too."""
    return [*pod.get("initContainers", []), *pod["containers"]]


def in_bytes(quantity):
    """`512Mi` as a number."""
    number, unit = re.fullmatch(r"(\d+)(Ki|Mi|Gi|Ti)", quantity).groups()
    return int(number) << {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40}[unit]
