"""Checkpoints of MedGemma's architecture, a few ten thousand weights small, with weights drawn at random."""

import torch
from transformers import Gemma3Config, Gemma3ForConditionalGeneration

VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 56,
    "patch_size": 14,
}
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "query_pre_attn_scalar": 8,
    "vocab_size": 300,
    "sliding_window": 16,
    "max_position_embeddings": 128,
    "layer_types": ["sliding_attention", "full_attention"],
}


def tiny_gemma(seed=0):
    """A whole Gemma3 with a SigLIP tower."""
    torch.manual_seed(seed)
    config = Gemma3Config(
        vision_config={**VISION, "model_type": "siglip_vision_model", "vision_use_head": False},
        text_config=TEXT,
        mm_tokens_per_image=4,
        boi_token_index=296,
        eoi_token_index=297,
        image_token_index=298,
    )
    return Gemma3ForConditionalGeneration(config)


def save_tiny_gemma(folder, seed=0):
    """Save one as a checkpoint; returns its folder."""
    tiny_gemma(seed).save_pretrained(folder)
    return folder
