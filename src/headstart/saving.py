"""The winner saved, opened again in a fresh process, and compared."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import cast

from headstart.deciding import train_plain
from headstart.errors import HeadstartError
from headstart.export.adapter_folder import FOLDER, save_adapter
from headstart.export.card import model_card
from headstart.export.model_folder import proven_folder, save_model, save_text_model
from headstart.export.span_folder import save_span_model
from headstart.export.token_folder import ANSWERS, save_token_model, token_places
from headstart.export.translator_folder import save_translator
from headstart.export.verify import BEGUN, as_given, verify, verify_answers
from headstart.export.writing_folder import save_writing_model
from headstart.loaded import load
from headstart.planner import Decision
from headstart.progress import say, warn
from headstart.records import Results, Verdict
from headstart.runs import WITHOUT
from headstart.settings import Export, Settings
from headstart.sources import files
from headstart.sources.resolve import WITHOUT_TRANSFER
from headstart.strategies.base import Answering, Fitted, Trained
from headstart.strategies.language import WritingModel
from headstart.strategies.model import TransferModel
from headstart.strategies.outputs import Output, output_of
from headstart.strategies.prompts import asked
from headstart.strategies.sentence import SentenceModel
from headstart.strategies.spans import SpanModel
from headstart.strategies.translation import Translator
from headstart.strategies.windows import make_windows
from headstart.strategies.word_model import WordModel
from headstart.target import Target
from headstart.tasks.registry import TWO_TEXTS, get_task

# Texts on which the saved model is compared with the trained one.
COMPARED = 32
# Rows on which answers are: each may take a text's writing.
ANSWERED = 8


def save_winner(folder: Path, model: Trained, target: Target, results: Results, *, adapter: bool = False) -> None:
    """Save the model in the Hugging Face layout, with its card, and prove that what was saved is what was trained.

    `adapter`: where the model is one of `lora`, its adapter is saved beside it, and proven in the same way.

    Raises:
        RunError: the saved model answers otherwise.
        ResourceError: no room or no permission.
    """
    with proven_folder(folder) as place:
        if output_of(target.rows.y) is Output.TEXT:
            _save_answering(place, cast(Answering, model), target, results, adapter=adapter)
        else:
            _save_fitted(place, cast(Fitted, model), target, results, adapter=adapter)


def _save_fitted(folder: Path, model: Fitted, target: Target, results: Results, *, adapter: bool) -> None:
    """A model with outputs by class, or numbers, saved, opened in a fresh process and compared."""
    if isinstance(model, TransferModel):
        backbone = model.reader.backbone
        save_model(
            folder,
            backbone_module=model.module if model.module is not None else backbone.module,
            tokenizer=backbone.tokenizer,
            pooling=backbone.pooling,
            layers=model.layers,
            head=model.head,
            labels=target.labels,
            max_length=backbone.max_length,
            card=model_card(results, backbone.source, max_length=backbone.max_length),
            output=output_of(target.rows.y),
            pairs=backbone.pairs,
        )
    elif isinstance(model, WordModel):
        backbone = model.reader.backbone
        save_token_model(
            folder,
            backbone_module=model.module if model.module is not None else backbone.module,
            tokenizer=backbone.tokenizer,
            layer=model.layer,
            head=model.head,
            labels=target.labels,
            max_length=backbone.max_length,
            card=model_card(results, backbone.source, max_length=backbone.max_length),
        )
    else:
        save_text_model(folder, model, target.labels, model_card(results, None), task=target.task)  # type: ignore[arg-type]
    some = target.rows.texts
    if isinstance(model, WordModel):
        backbone = model.reader.backbone  # a pipeline reads no windows
        some = tuple({w.text: None for w in make_windows(backbone.tokenizer, backbone.max_length, some[: 10 * COMPARED])})
    step = max(1, len(some) // COMPARED)
    texts = list(some[::step][:COMPARED])
    expected = get_task(target.task).probabilities(model.predict_logits(texts))
    difference = verify(folder, texts, expected, words=target.rows.sizes is not None, pairs=target.task in TWO_TEXTS)
    say(f"opened the saved model in a fresh process: greatest difference {difference:.1g}")
    if adapter:
        _save_adapter(folder, model, texts, target)


def save_without_transfer(run: Path, final: Decision, target: Target, results: Results) -> None:
    """Where transfer won on the training rows and the verdict is *hurts*, save the best rung without transfer beside it.

    The judged rows decide nothing (law 1), so the winner stays what it is; which of the two is used is for the user to say.

    Raises:
        RunError, ResourceError: as `save_winner`.
    """
    if results.gain is None or results.gain.verdict is not Verdict.HURTS or not results.winner.transfers:
        return
    plain = train_plain(final)
    if plain is None or results.opponent is None or results.opponent_scores is None:
        return
    say(f"transfer hurts on the judged rows: {results.opponent.name} is saved beside the winner")
    save_winner(run / WITHOUT, plain, target, replace(results, winner=results.opponent, scores=results.opponent_scores))


def _save_answering(folder: Path, model: Answering, target: Target, results: Results, *, adapter: bool) -> None:
    """A model that answers with texts: it saves itself, and a fresh process has to give the same answers."""
    backbone = None if model.reader is None else model.reader.backbone
    began = None if backbone is None or results.winner.source is None else backbone.source  # a writer from random weights has none
    card = model_card(results, began, max_length=None if backbone is None else backbone.max_length)
    if isinstance(model, SentenceModel):
        save_text_model(folder, model, (), card, task=target.task)
    elif isinstance(model, SpanModel):
        save_span_model(folder, model, card)
    elif isinstance(model, WritingModel):
        save_writing_model(folder, model, card)
    elif isinstance(model, Translator):
        save_translator(folder, model, card)
    else:
        raise TypeError(f"{type(model).__name__} cannot be saved")
    some = target.rows.take(range(0, len(target.rows), max(1, len(target.rows) // ANSWERED))[:ANSWERED])
    if isinstance(model, WritingModel):
        # Of texts without prompts a first half is what is gone on from.
        prompts = model.fitting([text[: max(1, len(text) // 2)] if model.continues else text for text in some.texts])
        given, expected = [asked(prompt, continues=model.continues) for prompt in prompts], tuple(model.complete(prompts, BEGUN))
    else:
        given, expected = as_given(some.texts, target.task in TWO_TEXTS), model.answer(some).answers
    verify_answers(folder, target.task, given, expected)
    say(f"opened the saved model in a fresh process: the same answers to {len(given)} rows")
    if not adapter:
        return
    if not isinstance(model, SpanModel | WritingModel | Translator) or model.adapter is None or backbone is None:
        say("no adapter is saved: the winner is not lora")
        return
    head, body, place = None, "", ""
    if isinstance(model, SpanModel):
        head, (body, place) = model.head, token_places(backbone.module, backbone.source.name, ANSWERS)
    elif isinstance(model, WritingModel):
        body = model.whole.base_model_prefix
    source = str(backbone.source.folder.resolve())
    save_adapter(folder / FOLDER, adapter=model.adapter, head=head, source=source, body=body, place=place)
    verify_answers(folder, target.task, given, expected, adapter=True)
    say(f"opened the adapter on its source in a fresh process: the same answers to {len(given)} rows")


def _save_adapter(folder: Path, model: Fitted, texts: list[str], target: Target) -> None:
    if not isinstance(model, TransferModel | WordModel) or model.adapter is None:
        say("no adapter is saved: the winner is not lora")
        return
    words = isinstance(model, WordModel)
    backbone = model.reader.backbone
    body, place = token_places(backbone.module, backbone.source.name) if words else ("backbone", "classifier")
    source = str(backbone.source.folder.resolve())
    save_adapter(folder / FOLDER, adapter=model.adapter, head=model.head, source=source, body=body, place=place)
    expected = get_task(target.task).probabilities(model.predict_logits(texts))
    difference = verify(folder, texts, expected, words=words, pairs=target.task in TWO_TEXTS, adapter=True)
    say(f"opened the adapter on its source in a fresh process: greatest difference {difference:.1g}")


def stands(folder: Path) -> bool:
    """Whether a saved model is there and whole, as far as its files' names, headers and lengths tell: no weights of a source are read."""
    try:
        config = files.read_json(folder / "config.json")
        if config.get("model_type") == WITHOUT_TRANSFER:
            load(folder)
            return True
        weights = files.weight_files(folder)
        files.vocabulary_size(folder)  # raises where there is no tokenizer
        return all(files.read_shapes(path) for path in weights) and bool(config) and bool(weights)
    except (HeadstartError, OSError, ValueError, TypeError, LookupError, AttributeError):  # whatever damaged files hold
        return False


def export_model(folder: Path, settings: Settings) -> None:
    """The saved model in the other form that was asked for, if any and not there yet; one without transfer has none, which is told.

    Raises:
        RunError: it cannot be exported.
    """
    place = folder / "model.onnx"
    if settings.export is not Export.ONNX or place.exists():
        return
    if json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type") == WITHOUT_TRANSFER:
        warn("no ONNX file is saved: the winner is without transfer")
        return
    from headstart.export.onnx import export_onnx

    export_onnx(folder, place)
