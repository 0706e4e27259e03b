"""Tiny models with random weights and real tokenizers, one for each architecture that headstart is checked on. No network, no files."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

ARCHITECTURES = ("bert", "mpnet", "distilbert", "roberta", "deberta-v2", "modernbert", "gpt2", "llama", "gemma3_text")
CAUSAL = ("gpt2", "llama", "gemma3_text")
HIDDEN = 32
MAX_LENGTH = 64
_WORDS = (
    "the a to i my is it and of for you not have in on with was can card account money how why what help please when pay lost order "
    "refund password login late broken wrong new price cancel change good bad great hate love happy sad angry film car food city time"
)
WORDS = _WORDS.split()

# The special tokens of each family: (begin, end, pad, unknown, further), by their order in the vocabulary.
_SPECIALS = {
    "bert": ("[CLS]", "[SEP]", "[PAD]", "[UNK]"),
    "roberta": ("<s>", "</s>", "<pad>", "<unk>"),
    "gpt2": (None, "<|endoftext|>", None, "<|endoftext|>"),
    "llama": ("<s>", "</s>", None, "<unk>"),
    "gemma": ("<bos>", "<eos>", "<pad>", "<unk>"),
}
_FAMILY = {
    "bert": "bert",
    "distilbert": "bert",
    "deberta-v2": "bert",
    "modernbert": "bert",
    "mpnet": "roberta",
    "roberta": "roberta",
    "gpt2": "gpt2",
    "llama": "llama",
    "gemma3_text": "gemma",
}


def make_tokenizer(architecture: str, words: tuple[str, ...] = ()) -> Any:
    """A fast tokenizer that knows `WORDS`, further `words` and every printable ASCII character, so that nothing English is unknown."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    begin, end, pad, unknown = _SPECIALS[_FAMILY[architecture]]
    # RoBERTa and MPNet number their positions from the padding's id, so <pad> must be 1, as in the originals.
    specials = [begin, pad, end, unknown] if _FAMILY[architecture] == "roberta" else [pad, unknown, begin, end]
    characters = [c for c in string.printable if not c.isspace() and not c.isupper()]
    pieces = [t for t in dict.fromkeys(specials) if t] + characters + ["##" + c for c in characters] + [*WORDS, *words]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=unknown, max_input_chars_per_word=10_000))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase(), normalizers.StripAccents()])
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if begin:
        # Encoders close the text with a token of their own, causal models only open it.
        single = [begin, "$A"] if architecture in CAUSAL else [begin, "$A", end]
        pair = None if architecture in CAUSAL else [begin, "$A", end, "$B:1", f"{end}:1"]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=single, pair=pair, special_tokens=[(token, vocabulary[token]) for token in (begin, end)]
        )
    named = {"bos_token": begin, "eos_token": end} if _FAMILY[architecture] != "bert" else {"cls_token": begin, "sep_token": end}
    named |= {"unk_token": unknown, "pad_token": pad}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=MAX_LENGTH, **{key: token for key, token in named.items() if token}
    )


def make_config(architecture: str, vocabulary: int, pad: int | None, blocks: int) -> Any:
    """The configuration of a tiny model: width 32, two heads, `blocks` blocks, 64 positions."""
    from transformers import AutoConfig

    common = {"vocab_size": vocabulary, "pad_token_id": pad, "num_hidden_layers": blocks, "initializer_range": 0.1}
    sizes = {"hidden_size": HIDDEN, "num_attention_heads": 2, "intermediate_size": 64}
    ends = {"bos_token_id": 0, "eos_token_id": 1}
    match architecture:
        case "bert":
            extra = {**sizes, "max_position_embeddings": MAX_LENGTH}
        case "mpnet" | "roberta":  # two positions stand before the first token's
            extra = {**sizes, "max_position_embeddings": MAX_LENGTH + 2, "type_vocab_size": 1, "bos_token_id": 0, "eos_token_id": 2}
        case "distilbert":
            extra = {"dim": HIDDEN, "n_heads": 2, "hidden_dim": 64, "n_layers": blocks, "max_position_embeddings": MAX_LENGTH}
            del common["num_hidden_layers"]
        case "deberta-v2":
            extra = {
                **sizes,
                "max_position_embeddings": MAX_LENGTH,
                "type_vocab_size": 0,
                "relative_attention": True,
                "position_buckets": 16,
            }
            extra |= {"norm_rel_ebd": "layer_norm", "share_att_key": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False}
        case "modernbert":
            extra = {**sizes, "max_position_embeddings": MAX_LENGTH, "local_attention": 8, "global_attn_every_n_layers": 3}
            extra |= {"cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
        case "gpt2":
            extra = {"n_embd": HIDDEN, "n_head": 2, "n_layer": blocks, "n_positions": MAX_LENGTH, "bos_token_id": 0, "eos_token_id": 0}
            del common["num_hidden_layers"]
        case "llama":
            extra = {**sizes, **ends, "max_position_embeddings": MAX_LENGTH, "num_key_value_heads": 1}
        case "gemma3_text":
            extra = {**sizes, **ends, "max_position_embeddings": MAX_LENGTH, "num_key_value_heads": 1, "head_dim": 16, "sliding_window": 8}
        case _:
            raise ValueError(f"There is no tiny {architecture!r}; choose from {', '.join(ARCHITECTURES)}.")
    return AutoConfig.for_model(architecture, **common, **extra)


def make_tiny(
    folder: Path, architecture: str, *, seed: int = 0, blocks: int = 4, words: tuple[str, ...] = (), pooling: str | None = None
) -> Path:
    """A tiny model and its tokenizer saved under `folder`, as a source that can be opened; the same seed gives the same weights.

    `words` join the vocabulary as whole tokens. `pooling` (`mean`, `cls`, `max`, `lasttoken`) also writes the sentence-transformers files.
    Returns the folder.
    """
    import torch
    from transformers import AutoModel

    tokenizer = make_tokenizer(architecture, words)
    config = make_config(architecture, len(tokenizer), tokenizer.pad_token_id, blocks)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModel.from_config(config)
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if pooling is not None:
        write_sentence_files(folder, pooling)
    return folder


def make_causal(folder: Path, architecture: str) -> Path:
    """A tiny source that writes, saved as the causal class of transformers with an output layer of its own. Returns the folder."""
    import torch
    from transformers import AutoModelForCausalLM

    make_tiny(folder, architecture, blocks=3)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        whole = AutoModelForCausalLM.from_pretrained(folder)
        for parameter in whole.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
    whole.save_pretrained(folder)
    return folder


def write_sentence_files(folder: Path, pooling: str, *, max_seq_length: int = 32) -> None:
    """The files by which sentence-transformers says how its vectors are made."""
    kind = "sentence_transformers.models."
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": kind + name}
        for i, (path, name) in enumerate([("", "Transformer"), ("1_Pooling", "Pooling")])
    ]
    names = {"mean": "mean_tokens", "cls": "cls_token", "max": "max_tokens", "lasttoken": "lasttoken"}
    flags = {f"pooling_mode_{name}": key == pooling for key, name in names.items()}
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": HIDDEN, **flags}))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": max_seq_length, "do_lower_case": False}))


def count_hooks(module: Any) -> int:
    """Hooks on all parts of a model; transformers leaves some of its own where hidden states were asked for, by whatever test."""
    return sum(len(part._forward_pre_hooks) + len(part._forward_hooks) for part in module.modules())


# --- encoder-decoders ---

PARENTS = ("marian", "t5", "bart")


def make_pieces(kind: str, texts: tuple[str, ...] = (_WORDS,)) -> Any:
    """A tokenizer with pieces learnt from texts: `BPE` on bytes, `Unigram`, or `WordPiece`; each ends a text with </s>."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    common = {"special_tokens": ["<pad>", "</s>", "<unk>"], "show_progress": False}
    if kind == "BPE":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
        trainer = trainers.BpeTrainer(vocab_size=320, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), **common)
    elif kind == "Unigram":
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=120, unk_token="<unk>", initial_alphabet=list(string.ascii_lowercase), **common)
    else:
        tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
        tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Whitespace(), decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(vocab_size=120, initial_alphabet=list(string.ascii_lowercase), **common)
    tokenizer.train_from_iterator([text for text in texts for _ in range(3)], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=MAX_LENGTH
    )


def make_parent(folder: Path, architecture: str = "marian", *, pieces: str = "BPE", seed: int = 0) -> Path:
    """A folder with a tiny encoder-decoder of random weights, two blocks a side; returns it."""
    import torch
    from transformers import BartConfig, BartForConditionalGeneration, MarianConfig, MarianMTModel, T5Config, T5ForConditionalGeneration

    tokenizer = make_pieces(pieces)
    ends = {"vocab_size": len(tokenizer), "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
    sizes = {"d_model": HIDDEN, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    sizes |= {"encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": MAX_LENGTH, "forced_eos_token_id": None}
    torch.manual_seed(seed)
    if architecture == "marian":
        model: Any = MarianMTModel(MarianConfig(**ends, **sizes))
    elif architecture == "bart":
        model = BartForConditionalGeneration(BartConfig(**ends, **sizes, bos_token_id=None))
    else:
        model = T5ForConditionalGeneration(T5Config(**ends, d_model=HIDDEN, d_kv=16, d_ff=64, num_layers=2, num_heads=2))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
