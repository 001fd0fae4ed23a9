# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The bundled model's shape: a Qwen2.5-VL of a few million parameters, and its first weights.

The words for shapes, colours and rooms start as orthogonal vectors, shared by their spellings
with and without a leading space. The vision tower is first taught to answer in these very
vectors, so the language model receives pictures in its own vocabulary.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.vlm.knowledge import SIMULATED_ONLY
from infinipot_ros.vlm.pixels import MEAN, STD
from tools.tiny_model.export import EYE_WORDS, published_name
from tools.tiny_model.house import COLOUR_NAMES, ROOMS, SHAPES
from tools.tiny_model.tokenizer import SPECIALS, write_tokenizer

WORDS = (*SHAPES, *COLOUR_NAMES, *ROOMS)


@dataclass(frozen=True)
class Size:
    """How large the model is; heads are 32 wide."""

    hidden: int = 192
    layers: int = 4
    heads: int = 6
    kv_heads: int = 3
    intermediate: int = 384
    vision_hidden: int = 128
    vision_blocks: int = 4
    vision_heads: int = 4
    vision_intermediate: int = 256
    rope_theta: float = 1e10


def config_dict(size: Size, tokenizer: Any) -> dict[str, Any]:
    """Build config.json in the layout of the published checkpoints, which every release reads."""
    token = dict(zip(SPECIALS, tokenizer.convert_tokens_to_ids(list(SPECIALS)), strict=True))
    return {
        'architectures': ['Qwen2_5_VLForConditionalGeneration'],
        'model_type': 'qwen2_5_vl',
        SIMULATED_ONLY: True,
        'torch_dtype': 'float16',
        'vocab_size': len(tokenizer),
        'hidden_size': size.hidden,
        'intermediate_size': size.intermediate,
        'num_hidden_layers': size.layers,
        'num_attention_heads': size.heads,
        'num_key_value_heads': size.kv_heads,
        'hidden_act': 'silu',
        'rms_norm_eps': 1e-6,
        'max_position_embeddings': 32768,
        'max_window_layers': size.layers,
        'use_sliding_window': False,
        'sliding_window': 32768,
        'attention_dropout': 0.0,
        'initializer_range': 0.02,
        'rope_theta': size.rope_theta,
        # The six fastest frequencies tell the time; the sixth makes half a turn in half an hour,
        # so that older and newer can be told apart. The others hardly turn over a whole tour, so
        # what is shown can be matched however long ago it was.
        'rope_scaling': {'type': 'mrope', 'mrope_section': [6, 5, 5]},
        'tie_word_embeddings': True,
        'use_cache': True,
        'bos_token_id': token['<|endoftext|>'],
        'eos_token_id': token['<|im_end|>'],
        'pad_token_id': token['<|endoftext|>'],
        'image_token_id': token['<|image_pad|>'],
        'video_token_id': token['<|video_pad|>'],
        'vision_start_token_id': token['<|vision_start|>'],
        'vision_end_token_id': token['<|vision_end|>'],
        'vision_token_id': token['<|vision_pad|>'],
        'vision_config': {
            'model_type': 'qwen2_5_vl',
            'depth': size.vision_blocks,
            'hidden_size': size.vision_hidden,
            'intermediate_size': size.vision_intermediate,
            'num_heads': size.vision_heads,
            'out_hidden_size': size.hidden,
            'hidden_act': 'silu',
            'in_chans': 3,
            'in_channels': 3,
            'patch_size': 14,
            'spatial_patch_size': 14,
            'spatial_merge_size': 2,
            'temporal_patch_size': 2,
            'tokens_per_second': 2,
            'window_size': 112,
            # Everywhere: a token is to know the whole view it belongs to.
            'fullatt_block_indexes': list(range(size.vision_blocks)),
        },
    }


PREPROCESSOR = {
    'min_pixels': 3136,
    'max_pixels': 12845056,
    'patch_size': 14,
    'temporal_patch_size': 2,
    'merge_size': 2,
    'image_mean': list(MEAN),
    'image_std': list(STD),
    'image_processor_type': 'Qwen2VLImageProcessor',
    'processor_class': 'Qwen2_5_VLProcessor',
}


def write_description(folder: Path, size: Size) -> None:
    """Write everything of a checkpoint but its weights into ``folder``."""
    from transformers import AutoTokenizer
    write_tokenizer(folder)
    tokenizer = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False)
    config = config_dict(size, tokenizer)
    generation = {
        'bos_token_id': config['bos_token_id'],
        'pad_token_id': config['pad_token_id'],
        'eos_token_id': [config['eos_token_id'], config['bos_token_id']],
        'do_sample': False,
    }
    for name, content in (
            ('config.json', config), ('generation_config.json', generation),
            ('preprocessor_config.json', PREPROCESSOR), ('world.json', asdict(size))):
        (folder / name).write_text(json.dumps(content, indent=2) + '\n')


def word_ids(tokenizer: Any, word: str) -> list[int]:
    """List the single tokens that spell a word: with a leading space or not, and capitalised."""
    spellings = (f' {word}', word, f' {word.capitalize()}', word.capitalize())
    found = [tokenizer(spelling).input_ids for spelling in spellings]
    return sorted({ids[0] for ids in found if len(ids) == 1})


def new_model(folder: Path, seed: int = 0) -> Any:
    """Build the untrained model described in ``folder``, float32."""
    from transformers import AutoConfig, AutoTokenizer, Qwen2_5_VLForConditionalGeneration
    torch.manual_seed(seed)
    config = AutoConfig.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False)
    config.dtype = torch.float32
    model = Qwen2_5_VLForConditionalGeneration(config).float()
    tokenizer = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim >= 2:
                fan_in = weight[0].numel()
                weight.copy_(torch.randn(weight.shape, generator=generator) * fan_in ** -0.5)
                if name.endswith(('o_proj.weight', 'down_proj.weight', 'attn.proj.weight')):
                    weight.mul_(0.5)
        model.model.visual.merger.mlp[2].weight.mul_(0.2)
        table = model.get_input_embeddings().weight
        hidden = table.shape[1]
        table.copy_(torch.randn(table.shape, generator=generator) * hidden ** -0.5)
        basis, _ = torch.linalg.qr(torch.randn(hidden, len(WORDS), generator=generator))
        for index, word in enumerate(WORDS):
            for number in word_ids(tokenizer, word):
                table[number] = basis[:, index]
    model.tie_weights()
    return model


def start_from(model: Any, tokenizer: Any, folder: Path) -> None:
    """
    Give a model the weights of an earlier checkpoint of the same size.

    The tokenizers may differ: a token both know keeps its vector, others keep the model's own.

    :raises ConfigurationError: no such checkpoint, or one of another size.
    """
    from safetensors.torch import load_file
    from transformers import AutoTokenizer
    file = folder / 'model.safetensors'
    if not file.is_file():
        raise ConfigurationError(f'{file} is not there; give the folder of a checkpoint')
    known = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False).get_vocab()
    own = {published_name(name): value for name, value in model.state_dict().items()
           if name != 'lm_head.weight'}
    earlier = load_file(file)
    table = 'model.embed_tokens.weight'
    # Of the table only the width counts: the words may be others.
    differing = sorted(
        name for name in {*own, *earlier}
        if name not in own or name not in earlier
        or own[name].shape[name == table:] != earlier[name].shape[name == table:])
    if differing:
        raise ConfigurationError(
            f'{file} differs from this model in {", ".join(differing[:3])} ({len(differing)} '
            'weights in all); start from a checkpoint of the same size')
    with torch.no_grad():
        for name, value in own.items():
            if name != table:
                value.copy_(earlier[name])
        for token, number in tokenizer.get_vocab().items():
            if token in known:
                own[table][number] = earlier[table][known[token]]


def write_eye_words(folder: Path, words: Tensor) -> None:
    """Keep the vectors the eye learns to answer in; the model's own words move on from them."""
    from safetensors.torch import save_file
    save_file({'words': words.detach().contiguous()}, folder / EYE_WORDS)


def read_eye_words(folder: Path) -> Tensor:
    """
    Read the vectors a checkpoint's eye answers in: float32 ``[words, hidden]``.

    :raises ConfigurationError: the checkpoint has none.
    """
    from safetensors.torch import load_file
    file = folder / EYE_WORDS
    if not file.is_file():
        raise ConfigurationError(
            f'{file} is not there: the vectors its eye was taught to answer in are needed to '
            'teach it on; start from a checkpoint that `infinipot train` wrote')
    words = load_file(file)['words']
    if words.shape[0] != len(WORDS):
        raise ConfigurationError(
            f'{file} holds {words.shape[0]} words, this world has {len(WORDS)}; train anew')
    return words


def word_table(model: Any, tokenizer: Any) -> Tensor:
    """Return the embeddings of ``WORDS``, float32 ``[words, hidden]``."""
    ids = [tokenizer(f' {word}').input_ids for word in WORDS]
    assert all(len(found) == 1 for found in ids)
    table: Tensor = model.get_input_embeddings().weight[[found[0] for found in ids]]
    return table


def _rotary(head: int, rows: int, columns: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the patches of one grid, in merge order, ``[patches, head]``."""
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing='ij')
    order = torch.stack([row, column], -1).reshape(rows // 2, 2, columns // 2, 2, 2)
    order = order.transpose(1, 2).reshape(-1, 2).float()
    steps = 1 / (10000 ** (torch.arange(0, head // 2, 2).float() / (head // 2)))
    angles = (order[:, :, None] * steps).reshape(len(order), -1).repeat(1, 2)
    return angles.cos().to(device), angles.sin().to(device)


def _turn(vectors: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    half = vectors.shape[-1] // 2
    turned = torch.cat([-vectors[..., half:], vectors[..., :half]], -1)
    return vectors * cosine + turned * sine


def encode_grids(visual: nn.Module, patches: Tensor, rows: int = 8, columns: int = 12) -> Tensor:
    """
    Run the vision tower on many grids at once.

    The same figures as the tower's own forward pass (a test compares them), which goes through the
    grids one by one; possible because every block attends within the whole of one grid.

    :param patches: float32 ``[grids, rows * columns, 1176]``.
    :return: ``[grids, rows * columns / 4, hidden]``.
    """
    tower: Any = visual
    weight = tower.patch_embed.proj.weight
    hidden = functional.linear(patches, weight.reshape(weight.shape[0], -1))
    count, length, width = hidden.shape
    heads = tower.blocks[0].attn.num_heads
    cosine, sine = _rotary(width // heads, rows, columns, patches.device)
    for block in tower.blocks:
        mixed = block.attn.qkv(block.norm1(hidden))
        query, key, value = mixed.reshape(count, length, 3, heads, -1).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(
            _turn(query, cosine, sine).to(value.dtype), _turn(key, cosine, sine).to(value.dtype),
            value)
        hidden = hidden + block.attn.proj(attended.transpose(1, 2).reshape(count, length, width))
        hidden = hidden + block.mlp(block.norm2(hidden))
    merged: Tensor = tower.merger(hidden.reshape(count * length, width))
    return merged.reshape(count, length // 4, -1)
