"""The real SigLIP and Gemma 3 classes, a few ten thousand weights small: as models, and as checkpoints on disk."""

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipModel,
)

VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 56,
    "patch_size": 14,
}
WORDS = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
BOI, EOI, IMAGE = 296, 297, 298
CHAT = (
    "{{ bos_token }}{% for message in messages %}<start_of_turn>{{ message['role'] }}\n"
    "{% for item in message['content'] %}{% if item['type'] == 'image' %}<start_of_image>"
    "{% else %}{{ item['text'] | trim }}{% endif %}{% endfor %}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
_SAID = """
a an radiograph x ray of with without normal abnormal fracture dislocation knee wrist bone or joint hardware healthy is
this it show any does the answer in one word
""".split()  # noqa: SIM905 - a list of so many words is not read
_UNKNOWN = {"unk_token": "<unk>"}
_SIGLIP_TOKENS = {"pad_token": "</s>", "eos_token": "</s>"}
_GEMMA_TOKENS = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"}


def tiny_siglip(seed=1):
    """A whole SigLIP: both towers."""
    torch.manual_seed(seed)
    text = {**WORDS, "vocab_size": 100, "projection_size": 32, "max_position_embeddings": 16, "pad_token_id": 1}
    return _randomised(SiglipModel(SiglipConfig(vision_config=VISION, text_config=text)))


def write_siglip(folder, seed=1):
    """Saves one, with a tokenizer that knows a few words."""
    tiny_siglip(seed).save_pretrained(folder)
    vocabulary = {word: place for place, word in enumerate(["<unk>", "</s>", *_SAID])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))  # noqa: S106 - no password
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **_UNKNOWN, **_SIGLIP_TOKENS).save_pretrained(folder)
    return folder


def tiny_gemma(seed=0):
    """A whole Gemma 3 with a vision tower."""
    torch.manual_seed(seed)
    text = {
        **WORDS,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "query_pre_attn_scalar": 8,
        "vocab_size": 300,
        "sliding_window": 16,
        "max_position_embeddings": 128,
        "layer_types": ["sliding_attention", "full_attention"],
    }
    config = Gemma3Config(
        vision_config={**VISION, "model_type": "siglip_vision_model", "vision_use_head": False},
        text_config=text,
        mm_tokens_per_image=4,
        boi_token_index=BOI,
        eoi_token_index=EOI,
        image_token_index=IMAGE,
    )
    return _randomised(Gemma3ForConditionalGeneration(config))


def write_gemma(folder, *, chat=CHAT, answers=("yes", "Yes", "no", "No", "NO"), seed=0):
    """Saves one, with a tokenizer whose special tokens are where the model expects them."""
    tiny_gemma(seed).save_pretrained(folder)
    gemma_tokenizer(answers, chat).save_pretrained(folder)
    return folder


def gemma_tokenizer(answers, chat):
    """Words, line breaks and punctuation; special tokens as Gemma has them."""
    words = ["<pad>", "<eos>", "<bos>", "<unk>", "\n", "\n\n", ".", ",", "?", "user", "model", *_SAID, *answers]
    vocabulary = {word: place for place, word in enumerate(words)}
    vocabulary |= {f"<unused{place}>": place for place in range(len(words), BOI - 2)}
    special = ["<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>", "<image_soft_token>"]
    vocabulary |= {token: BOI - 2 + place for place, token in enumerate(special)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))  # noqa: S106 - no password
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(" ", "removed"),
            pre_tokenizers.Split(Regex("\n+"), "isolated"),
            pre_tokenizers.Punctuation(),
        ]
    )
    tokenizer.add_special_tokens([*special, "<bos>"])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **_UNKNOWN,
        **_GEMMA_TOKENS,
        chat_template=chat,
        extra_special_tokens={
            "boi_token": "<start_of_image>",
            "eoi_token": "<end_of_image>",
            "image_token": "<image_soft_token>",
        },
    )


def _randomised(model):
    """Biases and norms away from their neutral start, so that none of them can be lost unseen."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()
