"""Models with random weights that see or hear, of the architectures' own classes: Qwen2.5-VL, Qwen3-VL, the thinker of Qwen2.5-Omni.

Their text part has the sizes that a `Scratch` says; the vision part has as many layers, at most two, and half of the width, the audio part one layer.
Pictures are scaled to at most `Scratch.pixels`; a sound may last `_SECONDS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toolkit.generation import MediaProcessor

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from toolkit.training._training_config import Scratch

_VISION = {"start": "<|vision_start|>", "end": "<|vision_end|>", "image": "<|image_pad|>", "video": "<|video_pad|>"}
_OMNI = {
    "start": "<|vision_bos|>",
    "end": "<|vision_eos|>",
    "image": "<|IMAGE|>",
    "video": "<|VIDEO|>",
    "audio_start": "<|audio_bos|>",
    "audio_end": "<|audio_eos|>",
    "audio": "<|AUDIO|>",
}
MEDIA_TOKENS = {"qwen2_5_vl": _VISION, "qwen3_vl": _VISION, "qwen2_5_omni": _OMNI}
"""Tokens of an architecture around files and in their place, by the names that its published models give them."""

_SECONDS = 8
_MELS = 32
_ROPE = 10_000.0


def media_template(architecture: str) -> str:
    """The part of a chat template that writes a file, as ``p.type`` says."""
    token = MEDIA_TOKENS[architecture]
    seen = f"{{% if p.type == 'image' %}}{{{{ '{token['start']}{token['image']}{token['end']}' }}}}"
    heard = f"{{% elif p.type == 'audio' %}}{{{{ '{token['audio_start']}{token['audio']}{token['audio_end']}' }}}}" if "audio" in token else ""
    return seen + heard


def tokenizer_names(architecture: str) -> dict[str, str]:
    """The tokens by the names under which transformers' processors look them up in a tokenizer."""
    token = MEDIA_TOKENS[architecture]
    names = {"image_token": token["image"], "video_token": token["video"]}
    if "audio" in token:
        names |= {"audio_token": token["audio"], "audio_bos_token": token["audio_start"], "audio_eos_token": token["audio_end"]}
        return names | {"vision_bos_token": token["start"], "vision_eos_token": token["end"]}
    return names | {"vision_start_token": token["start"], "vision_end_token": token["end"]}


def scratch_media_model(scratch: Scratch, tokenizer: PreTrainedTokenizerBase, init: float) -> PreTrainedModel:
    """The model; the caller sets the seed of its weights before.

    Args:
        scratch: sizes.
        tokenizer: with the tokens of `MEDIA_TOKENS`.
        init: standard deviation of the weights.
    """
    import transformers as tf

    architecture = scratch.architecture
    id_of = {name: tokenizer.convert_tokens_to_ids(token) for name, token in MEDIA_TOKENS[architecture].items()}
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    text, vision = _text(scratch, len(tokenizer), init) | ends, _vision(scratch, init)
    ids = {"image_token_id": id_of["image"], "video_token_id": id_of["video"], "vision_start_token_id": id_of["start"]}
    make: Any
    if architecture == "qwen2_5_omni":
        audio = _audio(scratch, init)
        ids = {"image_token_index": id_of["image"], "video_token_index": id_of["video"], "audio_token_index": id_of["audio"]}
        ids |= {"audio_start_token_id": id_of["audio_start"], "audio_end_token_id": id_of["audio_end"], "vision_start_token_id": id_of["start"]}
        make = tf.Qwen2_5OmniThinkerConfig
        config = make(text_config=text, vision_config=vision, audio_config=audio, initializer_range=init, tie_word_embeddings=True, **ids, **ends)
        make = tf.Qwen2_5OmniThinkerForConditionalGeneration
    else:
        ids["vision_end_token_id"] = id_of["end"]
        make = tf.Qwen3VLConfig if architecture == "qwen3_vl" else tf.Qwen2_5_VLConfig
        config = make(text_config=text, vision_config=vision, tie_word_embeddings=True, **ids, **ends)
        make = tf.Qwen3VLForConditionalGeneration if architecture == "qwen3_vl" else tf.Qwen2_5_VLForConditionalGeneration
    model: PreTrainedModel = make(config)
    return model


def scratch_processor(scratch: Scratch | None, config: Any) -> MediaProcessor | None:
    """The processors of such a model; None for one that takes text alone."""
    if scratch is None or scratch.architecture == "llama":
        return None
    from transformers import WhisperFeatureExtractor
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    vision = config.vision_config
    make: Any = Qwen2VLImageProcessorPil
    side = vision.patch_size * vision.spatial_merge_size
    size = {"shortest_edge": side * side, "longest_edge": max(scratch.pixels, side * side)}
    images = make(size=size, patch_size=vision.patch_size, temporal_patch_size=vision.temporal_patch_size, merge_size=vision.spatial_merge_size)
    make = WhisperFeatureExtractor
    hears = scratch.architecture == "qwen2_5_omni"
    return MediaProcessor(config, images, make(feature_size=_MELS, chunk_length=_SECONDS) if hears else None)


def _text(scratch: Scratch, vocabulary: int, init: float) -> dict[str, Any]:
    half = scratch.width // scratch.heads // 2
    across = half // 3
    sizes = {
        "vocab_size": vocabulary,
        "hidden_size": scratch.width,
        "intermediate_size": scratch.feed_forward or 3 * scratch.width,
        "num_hidden_layers": scratch.layers,
        "num_attention_heads": scratch.heads,
        "num_key_value_heads": scratch.heads,
        "max_position_embeddings": scratch.max_length,
        "initializer_range": init,
        "tie_word_embeddings": True,
        "attention_dropout": 0.0,
        "rope_parameters": {"rope_type": "default", "rope_theta": _ROPE, "mrope_section": [half - 2 * across, across, across]},
    }
    return sizes | ({"head_dim": scratch.width // scratch.heads} if scratch.architecture == "qwen3_vl" else {})


def _vision(scratch: Scratch, init: float) -> dict[str, Any]:
    depth, width = min(scratch.layers, 2), 8 * scratch.heads * max(1, scratch.width // (16 * scratch.heads))
    sizes = {
        "depth": depth,
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_heads": scratch.heads,
        "out_hidden_size": scratch.width,
        "initializer_range": init,
    }
    if scratch.architecture == "qwen3_vl":
        return sizes | {"num_position_embeddings": 256, "deepstack_visual_indexes": [0], "patch_size": 16}
    return sizes | {"fullatt_block_indexes": [depth - 1], "patch_size": 14}


def _audio(scratch: Scratch, init: float) -> dict[str, Any]:
    width = 8 * scratch.heads * max(1, scratch.width // (16 * scratch.heads))
    return {
        "num_mel_bins": _MELS,
        "encoder_layers": 1,
        "encoder_attention_heads": scratch.heads,
        "encoder_ffn_dim": 2 * width,
        "d_model": width,
        "output_dim": scratch.width,
        "initializer_range": init,
    }
