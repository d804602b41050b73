"""What the files of deploy/ say, for tests that hold it against the agent."""

import os
import re
from pathlib import Path

import yaml
from pydantic import BaseModel

from triage_agent.settings import Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
_PREFIX = "TRIAGE_AGENT__"


def documents(file):
    """The YAML documents of a file."""
    return [one for one in yaml.safe_load_all(Path(file).read_text()) if one is not None]


def known_variable(name):
    """Whether a variable of the environment is a key of the configuration, or the file of a secret one."""
    if name == "TRIAGE_AGENT_CONFIG":
        return True
    if not name.startswith(_PREFIX):
        return False
    model = Settings
    for part in name.removeprefix(_PREFIX).lower().split("__"):
        fields = getattr(model, "model_fields", {})
        key = part if part in fields else part.removesuffix("_file")
        if key not in fields:
            return False
        types = [one for one in _types(fields[key].annotation) if isinstance(one, type)]
        model = next((one for one in types if issubclass(one, BaseModel)), None)
    return True


def _types(annotation):
    return (annotation, *getattr(annotation, "__args__", ()))


def stages(dockerfile):
    """The stages of a Dockerfile in their order: name -> (what it is made from, [(instruction, rest)])."""
    text = re.sub(r"^\s*#.*\n", "", Path(dockerfile).read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    found, instructions = {}, []
    for line in filter(None, map(str.strip, text.splitlines())):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            instructions = []
            found[name] = (base, instructions)
        else:
            instructions.append((word, " ".join(rest.split())))
    return found


def settled_environment(monkeypatch, **values):
    """Nothing of the agent's configuration in the environment but this."""
    for name in [name for name in os.environ if name.startswith("TRIAGE_AGENT")]:
        monkeypatch.delenv(name)
    for name, value in values.items():
        monkeypatch.setenv(name, str(value))
