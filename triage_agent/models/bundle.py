"""What a model is on disk: a folder with `bundle.json`, the weights that are ours, and a model card.

Reading, checking and showing a bundle needs no torch: tensors are touched only by `write_bundle` and by the scorer.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from triage_agent.domain.decision import ModelIdentity
from triage_agent.domain.errors import BundleError, ConfigurationError
from triage_agent.models.conformal import bands
from triage_agent.models.spec import (
    CARD_FILE,
    ENCODER_FILE,
    HEAD_FILE,
    IN_BUNDLE,
    REFERENCE_FILE,
    BaseWeights,
    BundleSpec,
    CalibrationSpec,
    ConformalSpec,
    EncoderSpec,
    HeadSpec,
    Thresholds,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

__all__ = [
    "EMBEDDED",
    "BaseWeights",
    "Bundle",
    "BundleSpec",
    "CalibrationSpec",
    "ConformalSpec",
    "EncoderSpec",
    "HeadSpec",
    "Thresholds",
    "load_bundle",
    "verify",
    "write_bundle",
]

SPEC_FILE = "bundle.json"
EMBEDDED = "embedded"
_RESTORE = "restore the bundle from its original, or train it again"
_MODE = 0o755


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose files have been checked against its digests."""

    folder: Path
    spec: BundleSpec

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical `bundle.json`, hex; it covers every file and the encoder's weights."""
        return self.spec.digest

    @property
    def head_path(self) -> Path:
        """The head's weights."""
        return self.folder / HEAD_FILE

    @property
    def model_card(self) -> str:
        """The model card, Markdown."""
        return (self.folder / CARD_FILE).read_text(encoding="utf-8")

    @property
    def reference_path(self) -> Path:
        """The tensors of the outlier score and the region head."""
        return self.folder / REFERENCE_FILE

    @property
    def identity(self) -> ModelIdentity:
        """What outputs say about the model, at the bundle's own error rate."""
        return self.identity_at(None)

    def identity_at(self, error_rate: float | None) -> ModelIdentity:
        """The identity at the error rate that a site chose; None for the bundle's own, 0 for the threshold alone.

        Raises:
            ConfigurationError: the bundle has no such error rate.
        """
        conformal = self.spec.conformal
        rate = (conformal.alpha if conformal else 0.0) if error_rate is None else error_rate
        if rate and conformal is None:
            raise ConfigurationError(
                f"the bundle {self.spec.name} has no error rates", remedy="set model.error_rate to 0"
            )
        return ModelIdentity(
            error_rate=rate or None,
            bands=bands(conformal, rate, self.spec.thresholds.abnormal) if conformal and rate else {},
            name=self.spec.name,
            version=self.spec.version,
            digest=self.spec.digest,
            anatomies=self.spec.anatomies,
            threshold=self.spec.thresholds.abnormal,
            alert=self.spec.thresholds.alert,
            clinical_use=self.spec.clinical_use,
            notice=self.spec.notice,
        )


def load_bundle(ref: str | Path) -> Bundle:
    """Read a bundle and check every file in it.

    Args:
        ref: a bundle's folder, or "embedded" for the one that ships with the package.

    Raises:
        BundleError: there is no bundle, its description is wrong, or a file is missing, changed or not listed.
    """
    folder = _locate(ref)
    spec, problems = _inspect(folder)
    if spec is None or problems:
        raise BundleError(f"bundle {folder}: {'; '.join(problems)}", remedy=_RESTORE)
    return Bundle(folder=folder, spec=spec)


def verify(ref: str | Path) -> list[str]:
    """What is wrong with a bundle, one line a problem; empty when nothing is."""
    try:
        folder = _locate(ref)
    except BundleError as error:
        return [str(error)]
    return _inspect(folder)[1]


def write_bundle(
    out: Path,
    spec: BundleSpec,
    head_state: Mapping[str, Tensor],
    encoder_state: Mapping[str, Tensor] | None,
    model_card: str,
    reference_state: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write a bundle under its final name only when it is whole; returns `out`.

    `spec.files` and `spec.digest` are filled in. An older bundle at `out` is replaced.

    Args:
        out: the folder to make.
        spec: everything the bundle says about itself.
        head_state: `Head.state_dict()`.
        encoder_state: `Encoder.state_dict()` where `spec.encoder.source` is "bundle", else None.
        model_card: Markdown.
        reference_state: `learning.reference.fit_reference`'s, where the spec has an outlier limit or a region head.

    Raises:
        BundleError: the encoder's weights and its source contradict each other, or `out` is something else.
    """
    _check_writable(out, spec, encoder_state)
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        _write_tensors(temporary / HEAD_FILE, head_state)
        if encoder_state is not None:
            _write_tensors(temporary / ENCODER_FILE, encoder_state)
        if reference_state is not None:
            _write_tensors(temporary / REFERENCE_FILE, reference_state)
        (temporary / CARD_FILE).write_text(model_card, encoding="utf-8")
        files = {path.name: _sha256(path) for path in sorted(temporary.iterdir())}
        _write_spec(temporary / SPEC_FILE, spec.model_copy(update={"files": files, "digest": ""}))
        for path in temporary.iterdir():
            _fsync(path)
        temporary.chmod(_MODE)
        _put_in_place(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return out


def _locate(ref: str | Path) -> Path:
    folder = Path(__file__).parent / EMBEDDED if str(ref) == EMBEDDED else Path(ref).expanduser().resolve()
    if not (folder / SPEC_FILE).is_file():
        raise BundleError(f"there is no model bundle at {folder}", remedy="give a folder that holds a bundle.json")
    return folder


def _inspect(folder: Path) -> tuple[BundleSpec | None, list[str]]:
    try:
        content = json.loads((folder / SPEC_FILE).read_text(encoding="utf-8"))
        spec = BundleSpec.model_validate(content)
    except (OSError, ValueError) as error:
        return None, [f"{SPEC_FILE} is not a bundle description: {_one_line(error)}"]
    problems = [f"{SPEC_FILE} was changed: it does not match its own digest"] * (_digest(content) != spec.digest)
    required = {HEAD_FILE, CARD_FILE} | ({ENCODER_FILE} if spec.encoder.source == IN_BUNDLE else set())
    required |= {REFERENCE_FILE} if spec.outlier or spec.region else set()
    problems += [f"{name} is not listed in {SPEC_FILE}" for name in sorted(required - set(spec.files))]
    problems += [problem for name, digest in spec.files.items() if (problem := _check_file(folder / name, digest))]
    present = {path.name for path in folder.iterdir()} - {SPEC_FILE}
    problems += [f"{name} does not belong to the bundle" for name in sorted(present - set(spec.files) - required)]
    return spec, problems


def _check_file(path: Path, digest: str) -> str:
    if path.is_symlink() or not path.is_file():
        return f"{path.name} is missing or not a plain file"
    return "" if _sha256(path) == digest else f"{path.name} was changed: it does not match its digest"


def _check_writable(out: Path, spec: BundleSpec, encoder_state: Mapping[str, Tensor] | None) -> None:
    if (spec.encoder.source == IN_BUNDLE) != (encoder_state is not None):
        raise BundleError(
            f"the encoder's source is {spec.encoder.source!r} and its weights are "
            f"{'not given' if encoder_state is None else 'given'}",
            remedy="give an encoder_state exactly where the source is 'bundle'",
        )
    replaceable = out.is_dir() and ((out / SPEC_FILE).is_file() or not any(out.iterdir()))
    if out.is_symlink() or (out.exists() and not replaceable):
        raise BundleError(f"{out} exists and is not a bundle", remedy="choose another --out")


def _write_tensors(path: Path, state: Mapping[str, Tensor]) -> None:
    from safetensors.torch import save_file  # noqa: PLC0415 - brings torch, which `bundle show` must not need

    save_file({name: tensor.detach().to("cpu").contiguous().clone() for name, tensor in state.items()}, path)
    path.chmod(0o644)


def _write_spec(path: Path, spec: BundleSpec) -> None:
    content: dict[str, Any] = spec.model_dump(mode="json", exclude={"digest"})
    sealed = {**content, "digest": _digest(content)}
    path.write_text(json.dumps(sealed, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _digest(content: Mapping[str, Any]) -> str:
    covered = {key: value for key, value in content.items() if key != "digest"}
    canonical = json.dumps(covered, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _put_in_place(temporary: Path, out: Path) -> None:
    """Rename `temporary` to `out`; what was there is moved aside first and deleted after."""
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.old.", dir=out.parent))
    try:
        if out.exists():
            out.rename(aside / "bundle")
        try:
            temporary.rename(out)
        except OSError:
            if (aside / "bundle").exists():
                (aside / "bundle").rename(out)
            raise
        _fsync(out.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _one_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        details = (f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        return ", ".join(details)
    return re.sub(r"\s+", " ", str(error))
