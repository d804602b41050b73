"""What `bundle.json` may say: one pydantic model, nothing extra allowed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, StringConstraints

HEAD_FILE = "head.safetensors"
ENCODER_FILE = "encoder.safetensors"
REFERENCE_FILE = "reference.safetensors"  # what the outlier score and the region head are made of
CARD_FILE = "MODEL_CARD.md"
IN_BUNDLE = "bundle"  # the encoder source that means "its weights are in this bundle"

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Sentence = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]


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
    """The classifier on the embedding: `hidden` widths from first to last, none for a linear head.

    `regions` are those of a "mixture" head, which has a line for each. An "attention" head first pools the tokens of a
    grid by one learned query with `attention_heads` heads. The kinds "prompts" and "question" are those of a zero-shot
    bundle, which `BundleSpec.zero_shot` describes.
    """

    kind: Literal["mlp", "linear", "mixture", "attention", "prompts", "question"]
    input_dim: int = Field(gt=0)
    attention_heads: int = Field(default=1, gt=0)
    hidden: tuple[Annotated[int, Field(gt=0)], ...] = ()
    regions: tuple[Name, ...] = ()
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)


class Line(_Strict):
    """The two numbers of Platt scaling: probability = sigmoid(a * logit + b), rising with the logit."""

    a: float = Field(default=1.0, gt=0.0)
    b: float = 0.0


class CalibrationSpec(Line):
    """Platt scaling (Platt 1999): one line for everything, and one for each region that has its own.

    An image of a region without a line of its own, or of no known region, is given the common one.
    """

    kind: Literal["platt"] = "platt"
    regions: dict[Name, Line] = Field(default_factory=dict)

    def of(self, anatomy: str | None) -> Line:
        """The line for a region."""
        return self.regions.get(anatomy or "", self)


class Thresholds(_Strict):
    """Probabilities at or above which a study is abnormal, and at or above which one image raises it at once.

    The rules say in words what each was chosen for, and on which images.
    """

    abnormal: Probability = 0.5
    alert: Probability = 0.9
    abnormal_rule: str = ""
    alert_rule: str = ""


class ConformalGroup(_Strict):
    """What one region's calibration studies say, at each error rate of the `ConformalSpec` that holds it.

    Attributes:
        n_normal, n_abnormal: calibration studies of each class.
        normal, abnormal: quantiles of 1 - p(true class) of each class's studies; 1 where there are too few to tell.
    """

    n_normal: int = Field(ge=0)
    n_abnormal: int = Field(ge=0)
    normal: tuple[Probability, ...]
    abnormal: tuple[Probability, ...]


class ConformalSpec(_Strict):
    """Mondrian split-conformal prediction by region and class (Vovk 2012), for the error rate that a site chooses.

    Attributes:
        alpha: the error rate that holds where the site chooses none.
        alphas: the error rates that can be chosen, rising.
        groups: by region; `everywhere` is for regions without enough studies of their own, and unknown ones.
    """

    alpha: float = Field(gt=0.0, lt=1.0)
    alphas: tuple[Annotated[float, Field(gt=0.0, lt=1.0)], ...]
    everywhere: ConformalGroup
    groups: dict[Name, ConformalGroup] = Field(default_factory=dict)


class OutlierSpec(_Strict):
    """When an image is too unlike the training images to be scored: Mahalanobis distance of its embedding.

    The mean and the whitening matrix are in `reference.safetensors`.

    Attributes:
        limit: distances above it are outliers.
        held_back: the largest distance of the held-back images, for comparison.
        rule: how the limit was set, in words.
    """

    limit: float = Field(gt=0.0)
    held_back: float = Field(gt=0.0)
    rule: str = ""


class RegionSpec(_Strict):
    """The region head: a linear softmax on the embedding; its weights are in `reference.safetensors`.

    Attributes:
        anatomies: what it can tell apart, in the order of its outputs.
        sure: the softmax probability from which it is believed.
        accuracy: share of the held-back images that it names right, of those that it is sure of.
        told: share of the held-back images that it is sure of.
    """

    anatomies: tuple[Name, ...] = Field(min_length=2)
    sure: Probability
    accuracy: Probability
    told: Probability


class PromptSet(_Strict):
    """What one region's radiographs are compared with: sentences about abnormal ones and about normal ones."""

    abnormal: tuple[Sentence, ...] = Field(min_length=1)
    normal: tuple[Sentence, ...] = Field(min_length=1)


class TextPrompts(_Strict):
    """Zero-shot by text prompts: an image is as abnormal as it is nearer to the one text than to the other.

    Attributes:
        default: for images of no known region, and of regions without sentences of their own.
        regions: by region. `head.safetensors` holds the sentences' embeddings, this order sorted, the default first.
        scale: what the difference of the two cosines is multiplied by; one over the softmax's temperature.
        text_digest: `weights_digest` of the text tower that read the sentences.
        tokenizer: the digest of the file that cut them into tokens.
    """

    kind: Literal["prompts"] = "prompts"
    default: PromptSet
    regions: dict[Name, PromptSet] = Field(default_factory=dict)
    scale: float = Field(gt=0.0)
    text_digest: Sha256
    tokenizer: Sha256


class Question(_Strict):
    """Zero-shot by a question: how much likelier a language model's next token is "yes" than "no".

    Attributes:
        default: the question about images of no known region, and of regions without a question of their own.
        regions: by region. `head.safetensors` holds the token ids of each, and of the answers.
        yes, no: the tokens that count as each answer, as the tokenizer spells them.
        files: SHA-256 of the checkpoint's files, by name; checked whenever it is loaded.
    """

    kind: Literal["question"] = "question"
    default: Sentence
    regions: dict[Name, Sentence] = Field(default_factory=dict)
    yes: tuple[str, ...] = Field(min_length=1)
    no: tuple[str, ...] = Field(min_length=1)
    files: dict[FileName, Sha256] = Field(min_length=1)


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
    outlier: OutlierSpec | None = None
    region: RegionSpec | None = None
    zero_shot: Annotated[TextPrompts | Question, Field(discriminator="kind")] | None = None
    anatomies: tuple[Name, ...] = ()
    training_data: dict[str, JsonValue] = Field(default_factory=dict)
    metrics: dict[str, JsonValue] = Field(default_factory=dict)
    licence: str = ""
    notice: str = ""
    clinical_use: bool = False
    files: dict[FileName, Sha256] = Field(default_factory=dict)
    digest: str = ""
