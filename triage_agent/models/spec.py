"""What `bundle.json` may say: one pydantic model, nothing extra allowed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, StringConstraints

HEAD_FILE = "head.safetensors"
ENCODER_FILE = "encoder.safetensors"
CARD_FILE = "MODEL_CARD.md"
IN_BUNDLE = "bundle"  # the encoder source that means "its weights are in this bundle"

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class BaseWeights(_Strict):
    """The checkpoint that tuned weights started from."""

    source: str
    revision: str | None = None
    digest: Sha256 | None = None


class EncoderSpec(_Strict):
    """Which encoder, where its weights are, and how to rebuild it without them.

    Attributes:
        kind: a key of `registry.REGISTRY`.
        source: a local folder, a hub id (`owner/name`), or "bundle" for `encoder.safetensors` beside this file.
        revision: the hub commit; a bundle that names a hub id must have one.
        digest: `Encoder.digest()` of the weights; checked when they are loaded, where present.
        config: what the encoder's class is built from; enough to rebuild the architecture without the base weights.
        image_size: side of the square input in pixels.
        pooling: how patch tokens become one embedding ("mean", "head", ...).
        base: the checkpoint that tuned weights started from.
    """

    kind: Name
    source: Name
    revision: str | None = None
    digest: Sha256 | None = None
    config: dict[str, JsonValue] = Field(default_factory=dict)
    image_size: int = Field(gt=0)
    pooling: str = "mean"
    base: BaseWeights | None = None


class HeadSpec(_Strict):
    """The classifier on the embedding: `hidden` widths from first to last, none for a linear head."""

    kind: Literal["mlp", "linear"]
    input_dim: int = Field(gt=0)
    hidden: tuple[Annotated[int, Field(gt=0)], ...] = ()
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)


class CalibrationSpec(_Strict):
    """Platt scaling: probability = sigmoid(a * logit + b), rising with the logit (Platt 1999)."""

    kind: Literal["platt"] = "platt"
    a: float = Field(default=1.0, gt=0.0)
    b: float = 0.0


class Thresholds(_Strict):
    """Probabilities at or above which a study is abnormal, and at or above which one image raises it at once."""

    abnormal: Probability = 0.5
    alert: Probability = 0.9


class ConformalSpec(_Strict):
    """Split-conformal quantiles of 1 - p(true class), by class ("normal", "abnormal"), at error rate `alpha`."""

    alpha: float = Field(gt=0.0, lt=1.0)
    quantiles: dict[str, float]


class BundleSpec(_Strict):
    """A model, as `bundle.json` describes it.

    `digest` and `files` are filled in by `write_bundle`: `files` maps each file's name to its SHA-256, and `digest` is
    the SHA-256 over the canonical JSON of everything else, so that it changes whenever anything in the bundle does.
    """

    format_version: Literal[1] = 1
    name: Name
    version: Name
    created: AwareDatetime
    encoder: EncoderSpec
    head: HeadSpec
    calibration: CalibrationSpec = CalibrationSpec()
    thresholds: Thresholds = Thresholds()
    conformal: ConformalSpec | None = None
    anatomies: tuple[Name, ...] = ()
    training_data: dict[str, JsonValue] = Field(default_factory=dict)
    metrics: dict[str, JsonValue] = Field(default_factory=dict)
    licence: str = ""
    notice: str = ""
    clinical_use: bool = False
    files: dict[FileName, Sha256] = Field(default_factory=dict)
    digest: str = ""
