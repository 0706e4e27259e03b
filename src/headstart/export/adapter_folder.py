"""The adapter of a model that was tuned by low-rank adapters, beside the whole model: a folder that `peft` opens on top of the source.

It holds the head too (`modules_to_save`), for an adapter without its head gives back the source with a head of chance. For texts

    config = AutoConfig.from_pretrained(MODEL, trust_remote_code=True)
    model = AutoModelForSequenceClassification.from_config(config, trust_remote_code=True)
    model.backbone = AutoModel.from_pretrained(SOURCE)
    model = PeftModel.from_pretrained(model, MODEL + "/adapter")

and for words and answers, whose class is a stock one (of answers AutoModelForQuestionAnswering),

    model = AutoModelForTokenClassification.from_pretrained(SOURCE, config=AutoConfig.from_pretrained(MODEL))
    model = PeftModel.from_pretrained(model, MODEL + "/adapter")

What writes texts or translates has no head of its own:

    model = AutoModelForCausalLM.from_pretrained(SOURCE)  # or AutoModelForSeq2SeqLM
    model = PeftModel.from_pretrained(model, MODEL + "/adapter")
"""

from __future__ import annotations

from pathlib import Path

from headstart.export.model_folder import whole_folder
from headstart.strategies.adapter import Adapter
from headstart.strategies.base import LinearHead

FOLDER = "adapter"


def save_adapter(folder: Path, *, adapter: Adapter, head: LinearHead | None, source: str, body: str, place: str = "") -> None:
    """Write adapter_config.json and adapter_model.safetensors. A folder that was there before is replaced in one step.

    Args:
        folder: where to.
        adapter: what was learnt.
        head: weight (c, d) and bias (c,); None: the source's own output layer is all there is.
        source: where the source's files stand, for `base_model_name_or_path`.
        body: where in the saved model's class the backbone stands; "": the names are those of the whole.
        place: where in it the head stands; "": there is none.

    Raises:
        ResourceError: no room or no permission.
    """
    import torch
    from peft import LoraConfig
    from safetensors.torch import save

    before = f"{body}." if body else ""
    config = LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha,
        target_modules=[f"{before}{name}" for name in adapter.layers],
        modules_to_save=[place] if place else None,
        fan_in_fan_out=adapter.transposed,
        base_model_name_or_path=source,
        inference_mode=True,
    )
    weights = {f"base_model.model.{before}{name}": tensor.contiguous() for name, tensor in adapter.weights.items()}
    if head is not None:
        weights[f"base_model.model.{place}.weight"] = torch.tensor(head.weight, dtype=torch.float32)
        weights[f"base_model.model.{place}.bias"] = torch.tensor(head.bias, dtype=torch.float32)
    with whole_folder(folder) as room:
        config.save_pretrained(str(room))
        (room / "adapter_model.safetensors").write_bytes(save(weights, metadata={"format": "pt"}))
