"""SigLIP's other half: sentences to embeddings, while a zero-shot bundle is made. Scoring needs none of it."""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import torch
from torch.nn import functional
from transformers import SiglipTextConfig, SiglipTextModel

from triage_agent.domain.errors import BundleError
from triage_agent.models.checkpoint import LOGIT_SCALE, check_names, file_digest, read_config, read_tensors, text_name
from triage_agent.models.encoder import weights_digest
from triage_agent.models.tokenizer import SENTENCEPIECE, TOKENIZER, load_tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from triage_agent.models.spec import PromptSet

_BATCH = 16
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True, slots=True)
class TextTower:
    """A SigLIP checkpoint's text tower (Zhai et al. 2023), on the CPU in float32, with its tokenizer.

    Attributes:
        model: the tower.
        tokenizer: cuts sentences into its tokens.
        scale: what the model multiplies cosines by, `exp(logit_scale)`.
        digest: `weights_digest` of the tower.
        tokenizer_digest: SHA-256 of the tokenizer's file.
    """

    model: Any
    tokenizer: Any
    scale: float
    digest: str
    tokenizer_digest: str

    @classmethod
    def from_checkpoint(cls, folder: Path) -> Self:
        """The text tower of a SigLIP or MedSigLIP checkpoint; no tensor of the vision tower is read.

        Raises:
            BundleError: the folder has no such tower, its tensors do not fill it, or it has no tokenizer.
            MissingPackageError: the tokenizer's file needs a package that is not installed.
        """
        text = read_config(folder).get("text_config")
        if not isinstance(text, dict):
            raise BundleError(f"{folder} has no text tower", remedy="give a whole SigLIP or MedSigLIP checkpoint")
        tensors = read_tensors(folder, text_name)
        scale = tensors.pop(LOGIT_SCALE, None)
        if scale is None:
            raise BundleError(f"{folder} has no {LOGIT_SCALE}", remedy="give a whole SigLIP or MedSigLIP checkpoint")
        model = _tower(text, tensors, folder)
        name = TOKENIZER if (folder / TOKENIZER).is_file() else SENTENCEPIECE
        return cls(
            model=model,
            tokenizer=load_tokenizer(folder),
            scale=float(scale.float().exp()),
            digest=weights_digest(model),
            tokenizer_digest=file_digest(folder / name),
        )

    def embed(self, prompts: PromptSet) -> Tensor:
        """One direction for abnormal and one for normal, float32 [2, D], each of length 1.

        Each sentence's embedding is made length 1, each class's are averaged, and the mean is made length 1 again
        (prompt ensembling, Radford et al. 2021).

        Raises:
            BundleError: a sentence is too long for the tower.
        """
        means = [self._sentences(sentences).mean(dim=0) for sentences in (prompts.abnormal, prompts.normal)]
        return functional.normalize(torch.stack(means), dim=-1)

    def _sentences(self, sentences: Sequence[str]) -> Tensor:
        """Length-1 embeddings of sentences, float32 [N, D]."""
        ids = torch.stack([self._tokens(sentence) for sentence in sentences])
        with torch.inference_mode():  # no attention mask: SigLIP was trained without one and sees the padding
            parts = [self.model(input_ids=part).pooler_output for part in torch.split(ids, _BATCH)]
        return functional.normalize(torch.cat(parts).clone(), dim=-1)

    def _tokens(self, sentence: str) -> Tensor:
        length = int(self.model.config.max_position_embeddings)
        canonical = " ".join(sentence.lower().translate(_WITHOUT_PUNCTUATION).split())
        ids = self.tokenizer(canonical, padding="max_length", max_length=length, padding_side="right")["input_ids"]
        if len(ids) != length:
            raise BundleError(
                f"a prompt has {len(ids)} tokens, the text tower reads {length}: {sentence!r}", remedy="shorten it"
            )
        if max(ids) >= int(self.model.config.vocab_size):
            raise BundleError("the tokenizer has more words than the text tower", remedy="give the checkpoint's own")
        return torch.tensor(ids)


def _tower(config: dict[str, Any], tensors: dict[str, Tensor], where: Path) -> Any:
    unused: dict[str, Any] = {"bos_token_id": None, "eos_token_id": None}  # defaults of another model, never used # nosec B105
    described = SiglipTextConfig.from_dict({**config, **unused, "attn_implementation": "sdpa"})
    with torch.device("meta"):  # half a billion numbers need not be drawn at random first
        model = SiglipTextModel(described)
    tower = getattr(model, "text_model", model)  # early transformers 5 wraps the tower once more
    check_names(where, tensors, tower.state_dict())
    tower.load_state_dict({name: tensor.to(torch.float32, copy=True) for name, tensor in tensors.items()}, assign=True)
    positions = tower.embeddings.position_ids  # the one buffer that no checkpoint carries
    tower.embeddings.position_ids = torch.arange(positions.shape[-1], device="cpu").expand((1, -1))
    return model.eval().requires_grad_(requires_grad=False)
