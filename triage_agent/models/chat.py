"""A question as Gemma's token ids, image tokens included, and the tokens that mean yes and no.

Needed only while a bundle is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import torch
from transformers import Gemma3Config

from triage_agent.domain.errors import BundleError
from triage_agent.models.checkpoint import read_config
from triage_agent.models.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

_SPELLINGS = ("{}", " {}")  # a word at the start of a line, and after a space
_TURN = "<start_of_turn>{role}\n{text}<end_of_turn>\n"


@dataclass(frozen=True, slots=True)
class Chat:
    """A Gemma 3 checkpoint's way of writing a conversation about one image.

    Attributes:
        tokenizer: the checkpoint's.
        start, image, end: the special tokens before an image, of each piece of it, and after it.
        pieces: how many tokens an image has (256 in MedGemma).
        words: size of the vocabulary that the model can answer in.
        width: of the language model's hidden state.
    """

    tokenizer: Any
    start: int
    image: int
    end: int
    pieces: int
    words: int
    width: int

    @classmethod
    def from_checkpoint(cls, folder: Path) -> Self:
        """The conventions of the checkpoint in `folder`.

        Raises:
            BundleError: it is no Gemma 3, or has no tokenizer.
        """
        content = read_config(folder)
        if content.get("model_type") != "gemma3":
            raise BundleError(f"{folder} is no Gemma 3", remedy="give google/medgemma-4b-it or its folder")
        config = Gemma3Config.from_dict(content)
        return cls(
            tokenizer=load_tokenizer(folder),
            start=int(config.boi_token_index),
            image=int(config.image_token_id),
            end=int(config.eoi_token_index),
            pieces=int(config.mm_tokens_per_image),
            words=int(config.text_config.vocab_size),
            width=int(config.text_config.hidden_size),
        )

    def prompt(self, question: str) -> Tensor:
        """Token ids of the question after one image, up to where the answer begins; int64 [T].

        As Gemma3Processor does it: an image is its start, its pieces and its end, an empty line around them.

        Raises:
            BundleError: the tokenizer or its chat template does not know images as the model does.
        """
        start, image, end = self.tokenizer.convert_ids_to_tokens([self.start, self.image, self.end])
        if None in (start, image, end):
            raise BundleError("the tokenizer lacks the image tokens", remedy="give the checkpoint's own tokenizer")
        text = self._conversation(question, start)
        if text.count(start) != 1:
            raise BundleError("the chat template does not place one image", remedy="give the -it checkpoint's own")
        whole = text.replace(start, f"\n\n{start}{image * self.pieces}{end}\n\n")
        ids = self.tokenizer(whole, add_special_tokens=False)["input_ids"]
        if (ids.count(self.start), ids.count(self.image), ids.count(self.end)) != (1, self.pieces, 1):
            raise BundleError("the tokenizer does not know the image tokens", remedy="give the checkpoint's own")
        return torch.tensor(ids, dtype=torch.int64)

    def answer(self, word: str) -> tuple[Tensor, tuple[str, ...]]:
        """Ids, int64 [N], and spellings of every single token that means `word` in lower, title or upper case.

        Raises:
            BundleError: there is none.
        """
        found: set[int] = set()
        for shape in _SPELLINGS:
            for case in (word.lower(), word.title(), word.upper()):
                ids = self.tokenizer(shape.format(case), add_special_tokens=False)["input_ids"]
                if len(ids) == 1 and ids[0] != self.tokenizer.unk_token_id and ids[0] < self.words:
                    found.add(ids[0])
        if not found:
            raise BundleError(f"the tokenizer has no token for {word!r}", remedy="give the checkpoint's own tokenizer")
        ordered = sorted(found)
        return torch.tensor(ordered, dtype=torch.int64), tuple(self.tokenizer.convert_ids_to_tokens(ordered))

    def _conversation(self, question: str, image: str) -> str:
        """The text up to the answer, by the checkpoint's chat template where it has one, else as Gemma 3's says."""
        if not self.tokenizer.chat_template:
            bos = self.tokenizer.bos_token or ""
            return f"{bos}{_TURN.format(role='user', text=image + question)}<start_of_turn>model\n"
        content = [{"type": "image"}, {"type": "text", "text": question}]
        try:
            text: str = self.tokenizer.apply_chat_template(
                [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
            )
        except Exception as error:  # jinja's errors, and what templates raise themselves
            reason = " ".join(str(error).split())[:200]
            raise BundleError(f"the chat template cannot be used: {reason}", remedy="download it again") from error
        return text
