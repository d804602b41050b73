"""MedGemma asked a question: the probability that its next token is yes rather than no. No text is generated or read.

One forward pass of `Gemma3ForConditionalGeneration` (Gemma 3 technical report, 2025; MedGemma, Sellergren et al. 2025).
The prompt's token ids were made with the bundle, so that scoring needs no tokenizer and no chat template.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import Gemma3ForConditionalGeneration
from transformers.utils import logging

from triage_agent.domain.errors import BundleError
from triage_agent.models.checkpoint import file_digests, is_hub_id, locate, read_config, read_file
from triage_agent.models.siglip import CHANNELS, pad_and_resize
from triage_agent.models.zero_shot import ZeroShotScorer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from triage_agent.models.bundle import Bundle
    from triage_agent.models.spec import EncoderSpec, Question

DEFAULT, YES, NO = "default", "answer.yes", "answer.no"  # names in head.safetensors; a region's own name is its prompt
_MEAN = _STD = 0.5


class QuestionScorer(ZeroShotScorer):
    """Asks a fixed question about an image: logit = logsumexp(yes tokens) - logsumexp(no tokens) of the next token.

    bfloat16 on CUDA, float32 on the CPU, SDPA attention.
    """

    def __init__(
        self,
        bundle: Bundle,
        question: Question,
        device: str = "auto",
        threads: int | None = None,
        batch: int = 8,
        encoder_source: str | None = None,
        error_rate: float | None = None,
    ) -> None:
        """Check the checkpoint's files, read the model and move it to its device.

        Args:
            bundle: the model, its files checked.
            question: what it says about the question.
            device: as in `Scorer`, like the next two.
            threads: for the CPU.
            batch: for a GPU.
            encoder_source: where this site keeps the checkpoint, instead of where it was found.
            error_rate: of the findings, as in `Scorer`.

        Raises:
            BundleError: the checkpoint is not there, is not the recorded one or not whole, or the device is not there.
        """
        super().__init__(bundle, tuple(question.regions), device, threads, batch, error_rate)
        tensors = read_file(bundle.head_path)
        folder = locate_whole(bundle.spec.encoder, encoder_source)
        check_files(folder, question.files)
        dtype = torch.bfloat16 if self._device.type == "cuda" else torch.float32
        self._model = _read_model(folder, dtype).to(self._device)
        self._dtype = dtype
        self._size = self.sampled_side = bundle.spec.encoder.image_size
        self._image_token = int(self._model.config.image_token_id)
        ids = {name: tensor.to(self._device) for name, tensor in tensors.items()}
        missing = sorted({DEFAULT, YES, NO, *question.regions} - set(ids))
        if missing:
            raise BundleError(f"{bundle.head_path} lacks {', '.join(missing)}", remedy="make the bundle again")
        self._yes, self._no = ids.pop(YES), ids.pop(NO)
        self._prompts: dict[str | None, Tensor] = {
            None: ids[DEFAULT],
            **{region: ids[region] for region in question.regions},
        }

    def _preprocess(self, display: NDArray[np.float32]) -> Tensor:
        return (pad_and_resize(display, self._size) - _MEAN).div(_STD).expand(CHANNELS, -1, -1)

    def _forward(self, batch: Tensor, region: str | None) -> Tensor:
        ids = self._prompts[region].expand(len(batch), -1)
        output = self._model(
            input_ids=ids,
            pixel_values=batch.to(self._dtype),
            token_type_ids=(ids == self._image_token).long(),  # an image's tokens see each other in both directions
            use_cache=False,
            logits_to_keep=1,
        )
        logits = output.logits[:, -1].float()
        difference: Tensor = logits[:, self._yes].logsumexp(-1) - logits[:, self._no].logsumexp(-1)
        return difference


def locate_whole(spec: EncoderSpec, source: str | None = None) -> Path:
    """The folder of the whole checkpoint, downloaded first where it is a hub id with a pinned revision.

    Raises:
        BundleError: it is not there, or no revision is pinned.
    """
    where = source or spec.source
    if is_hub_id(where) and not spec.revision:
        raise BundleError(f"no revision is pinned for {where}", remedy="record the hub's commit")
    return locate(where, spec.revision, str)


def check_files(folder: Path, recorded: Mapping[str, str]) -> None:
    """Refuse a checkpoint whose configuration, index or weights are not byte for byte the recorded ones.

    Every byte is read at every start: size and time of change can be set at will, and prove nothing.

    Raises:
        BundleError: naming the files that differ.
    """
    found = file_digests(folder)
    wrong = sorted(name for name in {*found, *recorded} if found.get(name) != recorded.get(name))
    if wrong:
        raise BundleError(
            f"{', '.join(wrong)} in {folder} are not the files that the bundle was made with",
            remedy="give the checkpoint that the bundle was made with, or make the bundle again",
        )


def image_size(folder: Path) -> int:
    """Side in pixels of what a Gemma 3 checkpoint's vision tower takes.

    Raises:
        BundleError: it is no Gemma 3 with a vision tower.
    """
    content = read_config(folder)
    size = content.get("vision_config", {}).get("image_size")
    if content.get("model_type") != "gemma3" or not isinstance(size, int):
        raise BundleError(f"{folder} is no Gemma 3 that sees images", remedy="give google/medgemma-4b-it or its folder")
    return size


def _read_model(folder: Path, dtype: torch.dtype) -> Any:
    told = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # a service's log is no place for it
    try:
        model, found = Gemma3ForConditionalGeneration.from_pretrained(  # a local folder, checked file by file # nosec B615
            folder,
            dtype=dtype,
            attn_implementation="sdpa",
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise BundleError(f"{folder} cannot be read: {reason}", remedy="copy or download it again") from error
    finally:
        if told:
            logging.enable_progress_bar()
    # transformers fills what is missing with random numbers, and only says so
    missing = sorted(found["missing_keys"])
    if missing:
        raise BundleError(f"{folder} lacks {', '.join(missing[:5])}", remedy="copy or download the whole checkpoint")
    return model.eval().requires_grad_(requires_grad=False)
