"""What a translator's training begins from: a parent with its pieces kept, extended or new; a new decoder over an encoder; or nothing.

Letters in shapes: v pieces, d width.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from headstart.backbone.backbone import Backbone
from headstart.errors import SourceError
from headstart.settings import Vocabulary
from headstart.sources.opening import open_encoder_decoder, quiet_transformers
from headstart.strategies.base import Rows
from headstart.strategies.ladder import Job
from headstart.strategies.translation import end_of
from headstart.strategies.vocabulary import carried_over, extended, learn_again, learn_vocabulary

# Where a saved translator keeps the tokenizer of its translations, if that is another than the one of its texts.
TARGET = "target_tokenizer"
# A new decoder, and a translator from nothing: few pairs fill no more, and more pairs gained little from more (docs/log.md).
WIDTH, BLOCKS, HEADS, INNER = 256, 2, 4, 1024
_POSITIONS = 512
# Tokens of a configuration that go by a piece's number.
_SPECIAL = ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id", "forced_bos_token_id", "forced_eos_token_id")


@dataclass(frozen=True)
class Start:
    """A translator before it learns: see `translation.Translator`. `own`: its encoder reads as the source's own does."""

    whole: Any
    reads: Any
    writes: Any
    own: bool


def require_translator(backbone: Backbone) -> None:
    """Raise where no translator can be made of a source.

    Raises:
        SourceError: it asks for a language's code, or its tokenizer ends no text.
    """
    if not backbone.source.decodes:
        return
    writes = target_tokenizer(backbone.source.folder) or backbone.tokenizer
    if hasattr(writes, "lang_code_to_token") or hasattr(writes, "tgt_lang"):
        raise SourceError(
            f"The source {backbone.source.name!r} is told the language by a code, which headstart does not set. Choose a parent of one "
            "pair of languages (Marian, T5, BART ...)."
        )
    if writes.eos_token_id is None and writes.sep_token_id is None:
        raise SourceError(
            f"The tokenizer of {backbone.source.name!r} has no token that ends a text, so no translation would end; choose another source."
        )


def begin(job: Job) -> Start:
    """What training on the job's rows begins from, on its source; it writes as training has it."""
    start = _start_of(job)
    write_as_trained(start.whole, start.writes)
    return start


def write_as_trained(whole: Any, writes: Any) -> None:
    """Have a translator write what training shows it: no forced tokens, least lengths or penalties of the parent's, in place.

    Where the parent may not write some pieces, as Marian's its padding, which no training tells, the padding stays forbidden.
    """
    before = whole.generation_config
    settings = type(before)()
    settings.decoder_start_token_id = whole.config.decoder_start_token_id
    settings.eos_token_id, settings.pad_token_id = end_of(writes), writes.pad_token_id
    if before.bad_words_ids and writes.pad_token_id not in (None, settings.eos_token_id):
        settings.bad_words_ids = [[writes.pad_token_id]]
    whole.generation_config = settings


def _start_of(job: Job) -> Start:
    backbone = job.source.backbone
    if not backbone.source.decodes:
        writes = learn_vocabulary(job.rows.y.tolist())
        return Start(joined(copy.deepcopy(backbone.module), writes, job.seed), backbone.tokenizer, writes, True)
    whole = open_encoder_decoder(backbone.source)
    reads = backbone.tokenizer
    writes = target_tokenizer(backbone.source.folder) or reads
    asked = job.settings.vocabulary
    if asked is Vocabulary.KEEP:
        return Start(whole, reads, writes, True)
    learn = extended if asked is Vocabulary.EXTEND else learn_again
    if writes is not reads:  # the encoder's own pieces are of a side by themselves
        new = learn(writes, job.rows.y.tolist())
        renew(whole.decoder, writes, new, job.seed)
        _renumber(whole, writes, new)
        return Start(whole, reads, new, True)
    new = learn(reads, [*job.rows.texts, *job.rows.y.tolist()])
    renew(whole, reads, new, job.seed)
    _renumber(whole, reads, new)
    return Start(whole, new, new, False)


def target_tokenizer(folder: Path) -> Any:
    """The tokenizer of translations that a saved translator has beside that of its texts; None: there is none."""
    from transformers import AutoTokenizer

    if not (folder / TARGET).is_dir():
        return None
    return AutoTokenizer.from_pretrained(folder / TARGET, trust_remote_code=False, local_files_only=True)


def from_nothing(rows: Rows, seed: int, max_length: int) -> Start:
    """A small translator with random weights and pieces learnt from both sides of the rows (Vaswani et al. 2017, as Marian has it)."""
    from transformers import MarianConfig, MarianMTModel

    tokenizer = learn_vocabulary([*rows.texts, *rows.y.tolist()])
    config = MarianConfig(
        vocab_size=len(tokenizer),
        d_model=WIDTH,
        encoder_layers=BLOCKS,
        decoder_layers=BLOCKS,
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        encoder_ffn_dim=INNER,
        decoder_ffn_dim=INNER,
        activation_function="relu",
        max_position_embeddings=max(_POSITIONS, max_length),
        scale_embedding=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
        forced_eos_token_id=None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        whole = MarianMTModel(config).eval()
        _spread_evenly(whole)
        nn.init.normal_(whole.get_input_embeddings().weight, std=WIDTH**-0.5)
    write_as_trained(whole, tokenizer)
    return Start(whole, tokenizer, tokenizer, False)


def joined(encoder: Any, writes: Any, seed: int) -> Any:
    """The stock class of an encoder under a decoder of another kind, here a new one with random weights."""
    from transformers import BertConfig, BertLMHeadModel, EncoderDecoderModel

    config = BertConfig(
        vocab_size=len(writes),
        hidden_size=WIDTH,
        num_hidden_layers=BLOCKS,
        num_attention_heads=HEADS,
        intermediate_size=INNER,
        max_position_embeddings=_POSITIONS,
        type_vocab_size=1,
        pad_token_id=writes.pad_token_id,
        eos_token_id=writes.eos_token_id,
        is_decoder=True,
        add_cross_attention=True,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        decoder = BertLMHeadModel(config)
        _spread_evenly(decoder)
        whole = EncoderDecoderModel(encoder=encoder, decoder=decoder).eval()
    config = whole.config
    config.pad_token_id, config.eos_token_id, config.decoder_start_token_id = writes.pad_token_id, writes.eos_token_id, writes.pad_token_id
    config.vocab_size = len(writes)
    return whole


def _spread_evenly(module: nn.Module) -> None:
    """Glorot's weights for linear layers, with which few steps get far; embeddings and norms stay as they are made."""
    for part in module.modules():
        if isinstance(part, nn.Linear) and part.weight.shape[0] < 4 * INNER:  # not the output layer, which may be the embeddings
            nn.init.xavier_uniform_(part.weight)


def renew(whole: Any, old: Any, new: Any, seed: int) -> None:
    """Give a model the rows of a new vocabulary, in place: embeddings, output layer and its bias, tied or not."""
    generator = torch.Generator().manual_seed(seed)
    before, now = old.get_vocab(), new.get_vocab()
    rows = whole.get_input_embeddings().weight.detach().clone()
    layer = whole.get_output_embeddings()
    tied = layer.weight is whole.get_input_embeddings().weight
    out = None if tied else layer.weight.detach().clone()
    bias = None if layer.bias is None else layer.bias.detach().clone()
    final = getattr(whole, "final_logits_bias", None)
    final = None if final is None else final.detach().clone()
    size = max(now.values()) + 1
    with quiet_transformers():  # of how it would draw the new rows, which are put in its place
        whole.resize_token_embeddings(size, mean_resizing=False)
    layer = whole.get_output_embeddings()
    with torch.no_grad():
        whole.get_input_embeddings().weight.copy_(carried_over(rows, before, now, generator))
        if out is not None:
            layer.weight.copy_(carried_over(out, before, now, generator))
        if bias is not None:
            layer.bias.copy_(carried_over(bias, before, now, generator))
        if final is not None:
            whole.final_logits_bias.copy_(carried_over(final[0], before, now, generator)[None])


def _renumber(whole: Any, old: Any, new: Any) -> None:
    """Special tokens go by their new numbers."""
    numbers = new.get_vocab()
    for settings in (whole.config, getattr(whole.config, "decoder", None)):
        for name in _SPECIAL if settings is not None else ():
            number = getattr(settings, name, None)
            if isinstance(number, int):
                piece = old.convert_ids_to_tokens(number)
                setattr(settings, name, numbers.get(piece, number))
