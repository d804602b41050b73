"""Tokenizers of checkpoints, needed only while a zero-shot bundle is made. No code of a checkpoint is ever run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from triage_agent.domain.errors import BundleError, MissingPackageError

if TYPE_CHECKING:
    from pathlib import Path

TOKENIZER = "tokenizer.json"
SENTENCEPIECE = "spiece.model"
# What a checkpoint's tokenizer and chat format may be made of; one of the first two must be there.
FILES = (
    TOKENIZER,
    SENTENCEPIECE,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a checkpoint: of its `tokenizer.json`, else of SigLIP's `spiece.model`.

    Raises:
        BundleError: neither is there, or it is broken.
        MissingPackageError: there is only `spiece.model`, and sentencepiece or protobuf is not installed.
    """
    if (folder / TOKENIZER).is_file():
        from transformers import PreTrainedTokenizerFast as Tokenizer  # noqa: PLC0415 - brings torch
    elif (folder / SENTENCEPIECE).is_file():
        Tokenizer = _sentencepiece()  # noqa: N806 - a class
    else:
        raise BundleError(
            f"{folder} has neither {TOKENIZER} nor {SENTENCEPIECE}", remedy="copy or download the whole checkpoint"
        )
    try:
        return Tokenizer.from_pretrained(folder, local_files_only=True)  # a local folder # nosec B615
    except Exception as error:  # the tokenizers library raises bare exceptions for files that it cannot read
        reason = " ".join(str(error).split())[:200]
        raise BundleError(f"the tokenizer in {folder} cannot be read: {reason}", remedy="download it again") from error


def _sentencepiece() -> Any:
    for package in ("sentencepiece", "google.protobuf"):
        try:
            __import__(package)
        except ModuleNotFoundError:
            raise MissingPackageError(package.replace("google.", ""), extra="zero-shot") from None
    from transformers import SiglipTokenizer  # noqa: PLC0415 - needs both

    return SiglipTokenizer
