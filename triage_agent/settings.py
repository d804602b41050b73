"""The configuration: TOML, overridden by environment, checked whole before anything starts."""

import os
import re
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from triage_agent.domain.errors import ConfigurationError
from triage_agent.domain.study import CompletenessRule
from triage_agent.domain.vocabulary import Family
from triage_agent.sections.audit import AuditSettings
from triage_agent.sections.base import YEAR, Section
from triage_agent.sections.dicom import DicomSettings, PeerSettings
from triage_agent.sections.dicomweb import DicomwebSettings
from triage_agent.sections.fhir import FhirSettings
from triage_agent.sections.hl7 import Hl7Settings, require_version
from triage_agent.sections.mistakes import first_problem, hint
from triage_agent.sections.notify import NotifySettings
from triage_agent.sections.places import Folder
from triage_agent.sections.policy import PolicySettings
from triage_agent.sections.policy_file import read_rules, unknown_destinations
from triage_agent.sections.ray import RaySettings
from triage_agent.sections.results import ResultsSettings
from triage_agent.sections.routes import RouteSettings
from triage_agent.sections.spool import SpoolSettings
from triage_agent.sections.telemetry import TelemetrySettings
from triage_agent.sections.web import WebSettings
from triage_agent.sections.words import PriorityWordsSettings

CONFIG_VARIABLE = "TRIAGE_AGENT_CONFIG"
_ENV_PREFIX = "TRIAGE_AGENT__"


class DatabaseSettings(Section):
    """Where the worklist is kept."""

    url: str = "sqlite:///{data_dir}/triage.db"

    @field_validator("url")
    @classmethod
    def _is_filled_in(cls, url: str) -> str:
        """A placeholder that nobody fills in would become the name of a folder."""
        for name in re.findall(r"\{[^{}]*\}", url):
            if name != "{data_dir}":
                raise ValueError(f"{name} stands for nothing; only {{data_dir}} is filled in")
        return url


class StudySettings(Section):
    """When a study counts as complete, and what of it is scored."""

    quiet_seconds: float = Field(default=30, gt=0, le=YEAR)
    max_wait_seconds: float = Field(default=900, gt=0, le=YEAR)
    ask_peer: str | None = None
    ask_after_seconds: float = Field(default=2, gt=0, le=YEAR)
    ask_steady_seconds: float = Field(default=20, ge=0, le=YEAR)
    score_secondary_captures: bool = False
    fetch_missing: bool = False
    fetch_tries: int = Field(default=3, ge=1, le=100)
    fetch_pause_seconds: float = Field(default=10, gt=0, le=YEAR)
    fetch_seconds: float = Field(default=600, gt=0, le=YEAR)
    priority_words: PriorityWordsSettings = PriorityWordsSettings()

    @model_validator(mode="after")
    def _waits_fit(self) -> Self:
        if self.quiet_seconds > self.max_wait_seconds:
            raise ValueError(
                f"quiet_seconds {self.quiet_seconds:g} is above max_wait_seconds {self.max_wait_seconds:g}, which ends "
                "every wait; raise max_wait_seconds"
            )
        return self

    def rule(self) -> CompletenessRule:
        """The same as a domain value."""
        return CompletenessRule(
            quiet=timedelta(seconds=self.quiet_seconds),
            max_wait=timedelta(seconds=self.max_wait_seconds),
            ask_after=timedelta(seconds=self.ask_after_seconds) if self.ask_peer else None,
            steady=timedelta(seconds=self.ask_steady_seconds),
            fetch=self.fetch_missing,
        )


class ModelSettings(Section):
    """Which bundle scores, and where."""

    bundle: str = "embedded"
    encoder: str | None = None
    shadow: str = ""
    shadow_encoder: str | None = None
    runner: Literal["local", "ray"] = "local"
    ray: RaySettings = RaySettings()
    own_process: bool = True
    device: Literal["auto", "cuda", "cpu"] = "auto"
    batch: int = Field(default=8, ge=1, le=4096)
    threads: int | None = Field(default=None, ge=1, le=1024)
    error_rate: float | None = Field(default=None, ge=0, le=0.3)
    outlier_limit: float = Field(default=1.0, ge=0, le=100)
    compile: bool = False
    latency_ms: float = Field(default=20, ge=0, le=10_000)
    precision: Literal["auto", "float32"] = "auto"


class StorageSettings(Section):
    """The spool's disk."""

    low_water_percent: float = Field(default=10, ge=0, lt=100)
    reserve_mb: int = Field(default=64, ge=0, le=65536)
    retention_days: int = Field(default=30, ge=0, le=36500)
    keep_originals: Literal["retention_days", "until_delivered"] = "retention_days"
    quarantine_days: int = Field(default=0, ge=0, le=36500)

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.keep_originals == "until_delivered" and not self.retention_days:
            raise ValueError(
                'keep_originals = "until_delivered" deletes originals at once, retention_days = 0 keeps them for ever; '
                "take one of them out"
            )
        return self


class WorkerSettings(Section):
    """How work is held, and what reading one image may cost."""

    lease_seconds: float = Field(default=15, ge=1, le=YEAR)  # renewed four times in it, by a tick that may be late
    poll_seconds: float = Field(default=0.25, gt=0, le=3600)
    decode_seconds: float = Field(
        default=60, ge=1, le=3600
    )  # in less, a large radiograph on a busy machine is not read
    decode_memory_mb: int = Field(default=2048, ge=512, le=1 << 20)
    decoders: int | None = Field(default=None, ge=1, le=1024)
    loops: int | None = Field(default=None, ge=1, le=64)


class DeliverySettings(Section):
    """How results are sent again when a destination does not take them."""

    first_retry_seconds: float = Field(default=2, gt=0, le=YEAR)
    longest_retry_seconds: float = Field(default=300, gt=0, le=YEAR)
    give_up_after_hours: float = Field(default=72, gt=0, le=YEAR / 3600)
    commit_answer_seconds: float = Field(default=3600, gt=0, le=YEAR)
    commit_asks: int = Field(default=3, ge=1, le=1000)
    commit_resends: int = Field(default=3, ge=0, le=1000)

    @model_validator(mode="after")
    def _waits_fit(self) -> Self:
        if self.first_retry_seconds > self.longest_retry_seconds:
            raise ValueError(
                f"first_retry_seconds {self.first_retry_seconds:g} is above longest_retry_seconds "
                f"{self.longest_retry_seconds:g}; make it the smaller one"
            )
        return self


class LoggingSettings(Section):
    """How log lines look."""

    format: Literal["console", "json"] = "console"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(BaseSettings):
    """The whole configuration, every reference checked."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=_ENV_PREFIX,
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    data_dir: Folder = Path("var")
    institution: str = ""
    database: DatabaseSettings = DatabaseSettings()
    dicom: DicomSettings = DicomSettings()
    hl7: Hl7Settings = Hl7Settings()
    dicomweb: DicomwebSettings = DicomwebSettings()
    fhir: FhirSettings = FhirSettings()
    study: StudySettings = StudySettings()
    model: ModelSettings = ModelSettings()
    policy: PolicySettings = PolicySettings()
    routes: tuple[RouteSettings, ...] = ()
    results: ResultsSettings = ResultsSettings()
    web: WebSettings = WebSettings()
    audit: AuditSettings = AuditSettings()
    storage: StorageSettings = StorageSettings()
    spool: SpoolSettings = SpoolSettings()
    worker: WorkerSettings = WorkerSettings()
    delivery: DeliverySettings = DeliverySettings()
    notify: NotifySettings = NotifySettings()
    logging: LoggingSettings = LoggingSettings()
    telemetry: TelemetrySettings = TelemetrySettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic-settings calls with these names
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment goes before the file."""
        return env_settings, init_settings

    @property
    def database_url(self) -> str:
        """The database's URL with `{data_dir}` filled in."""
        return self.database.url.replace("{data_dir}", str(self.data_dir.absolute()))

    def _takers(self, family: Family) -> dict[str, list[str]]:
        """The tables whose peers take such results, with the peers' names."""
        dicom = {"dicom": [peer.name for peer in self.dicom.peers]}
        hl7 = {"hl7": [peer.name for peer in self.hl7.peers]}
        dicom_or_web = dicom | {"dicomweb": [peer.name for peer in self.dicomweb.peers]}
        takers: dict[Family, dict[str, list[str]]] = {
            Family.DICOM_OBJECT: dicom_or_web,
            Family.WORKITEM: dicom_or_web,
            Family.HL7_MESSAGE: hl7,
            Family.FHIR_RESOURCE: {"fhir": [peer.name for peer in self.fhir.peers]},
        }
        return takers[family]

    @model_validator(mode="after")
    def _references_resolve(self) -> Self:
        dicom_names = [peer.name for peer in self.dicom.peers]
        hl7_names = [peer.name for peer in self.hl7.peers]
        names = dicom_names + hl7_names + [peer.name for peer in (*self.dicomweb.peers, *self.fhir.peers)]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two peers are named {name!r}; give each its own name")
        if self.study.ask_peer is not None and self.study.ask_peer not in dicom_names:
            raise ValueError(
                f"study.ask_peer {self.study.ask_peer!r} is no [[dicom.peers]] name"
                f"{hint(self.study.ask_peer, dicom_names)}"
            )
        callers = [peer.name for peer in self.dicom.peers if not peer.host]
        for called in {self.study.ask_peer, *(route.to for route in self.routes)} & {*callers}:
            raise ValueError(f"peer {called!r} cannot be called; give its host and port")
        _require_certificates(self.hl7, self.dicom)
        _require_retrieval(self.study, self.dicom.peers)
        for route in self.routes:
            if route.to not in names:
                raise ValueError(f"a route's to {route.to!r} is no peer's name{hint(route.to, names)}")
            if route.commit and route.to not in dicom_names:
                raise ValueError(f"a route asks {route.to!r} to commit, which is not one of [[dicom.peers]]")
            for kind in route.send:
                tables = self._takers(kind.family)
                if not any(route.to in taking for taking in tables.values()):
                    where = " or ".join(f"[[{table}.peers]]" for table in tables)
                    raise ValueError(f"a route sends {kind.value} to {route.to!r}, which is not one of {where}")
        return self

    @model_validator(mode="after")
    def _folders_are_apart(self) -> Self:
        self.spool.require_folders_apart(self.data_dir)
        return self

    @model_validator(mode="after")
    def _rules_lead_somewhere(self) -> Self:
        for number, said in unknown_destinations(self.policy.rules, [route.to for route in self.routes]):
            raise ValueError(f"policy.rules.{number}.{said}")
        return self

    @model_validator(mode="after")
    def _evidence_is_meant(self) -> Self:
        for route in self.routes:
            if not self.results.evidence and (kinds := [one.value for one in route.send if one.is_evidence]):
                raise ValueError(f"a route sends {kinds[0]}, which needs results.evidence = true: it shows regions")
        return self

    @model_validator(mode="after")
    def _hl7_fits(self) -> Self:
        for peer in self.hl7.peers:
            if peer.tls and peer.ca is None and self.dicom.tls is None:
                raise ValueError(f"[[hl7.peers]] {peer.name!r} needs ca for TLS: who signed its certificate")
        for route in self.routes:
            for peer in self.hl7.peers:
                if peer.name == route.to:
                    require_version(peer, route.send)
        return self


def _require_certificates(hl7: Hl7Settings, dicom: DicomSettings) -> None:
    """One machine has one identity: HL7 is listened for with DICOM's."""
    if hl7.listen is not None and hl7.listen.tls and dicom.tls is None:
        raise ValueError("hl7.listen.tls = true needs [dicom.tls]; add its certificate, key and ca")


def _require_retrieval(study: StudySettings, peers: tuple[PeerSettings, ...]) -> None:
    """What the PACS has more of can be fetched only from one that says so, and that we know how to ask."""
    if not study.fetch_missing:
        return
    if study.ask_peer is None:
        raise ValueError("study.fetch_missing needs study.ask_peer: name the peer that has the images")
    if not any(peer.name == study.ask_peer and peer.retrieve for peer in peers):
        raise ValueError(
            f'study.fetch_missing needs retrieve = "move" or "get" in the [[dicom.peers]] that is {study.ask_peer!r}'
        )


def default_config_path() -> Path:
    """`config/agent.toml` of the installation: beside the package when installed, of the repository otherwise."""
    package = Path(__file__).resolve().parent
    installed = package / "_share" / "config" / "agent.toml"
    return installed if installed.exists() else package.parent / "config" / "agent.toml"


def config_path(named: Path | None = None) -> Path:
    """Which file is the configuration: `named`, else `TRIAGE_AGENT_CONFIG`, else the installation's default."""
    variable = os.environ.get(CONFIG_VARIABLE)
    return named or (Path(variable) if variable else default_config_path())


def load_settings(path: Path | None = None) -> Settings:
    """Read the configuration of `config_path`.

    Raises:
        ConfigurationError: with one line that says what is wrong, where, and how to mend it.
    """
    path = config_path(path)
    try:
        written = path.read_bytes()
        values = tomllib.loads(written.decode("utf-8-sig"))  # some editors begin a file with a mark
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}", remedy="name a readable file with --config") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{path}: line {line} is not UTF-8", remedy="save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: not TOML: {error}", remedy="mend that line") from None
    return _with_policy_file(build_settings(values, str(path)), path.parent)


def _with_policy_file(settings: Settings, folder: Path) -> Settings:
    """With the rules of the policy file that is named; `folder` is the configuration's."""
    if (named := settings.policy.file) is None:
        return settings
    file = folder / named.expanduser()
    read = read_rules(file, [route.to for route in settings.routes])
    return settings.model_copy(
        update={"policy": settings.policy.model_copy(update={"file": file, "rules": read.rules})}
    )


def build_settings(values: dict[str, Any], where: str) -> Settings:
    """A configuration of `values`, which came from `where`, and the environment, which goes before them.

    Raises:
        ConfigurationError: with one line that says what is wrong, where, and how to mend it.
    """
    _refuse_unknown_variables()
    try:
        return Settings(**values)
    except ValidationError as error:
        raise ConfigurationError(f"{where}: {first_problem(error, Settings)}") from None
    except SettingsError as error:
        raise ConfigurationError(f"environment: {error}", remedy="give lists and tables as JSON") from None


def _refuse_unknown_variables() -> None:
    """pydantic-settings passes over variables whose first part is no key; a typing error must not be silent."""
    for variable in os.environ:
        if variable.upper().startswith(_ENV_PREFIX):
            key = variable[len(_ENV_PREFIX) :].lower().split("__")[0]
            if key not in Settings.model_fields:
                raise ConfigurationError(
                    f"environment: {variable}: unknown key {key!r}{hint(key, [*Settings.model_fields])}"
                )
