"""A fine-tuned model to a folder and back: `method.json` (what it is, of which backbone, with which bank) and
`method.safetensors` (what was trained, and nothing else). Never pickle.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from sae.errors import InsightError
from sae.files import atomic_write, read_json, write_json

from ..backbones import Backbone
from ..backbones import load as load_backbone
from .bank import ConceptBank
from .fine_tuned import FineTuned

FORMAT, VERSION = "insight-method", 1
FACTS, WEIGHTS = "method.json", "method.safetensors"


def save_method(method: FineTuned, folder: Path | str, **about: Any) -> None:
    """Write both files, `method.json` last. about: more facts for it, such as the history of the training."""
    folder = Path(folder)
    tensors = {name: value.detach().cpu().contiguous() for name, value in method.trained().items()}
    with atomic_write(folder / WEIGHTS) as temporary:
        save_file(tensors, temporary)
    facts = {
        "format": FORMAT,
        "format_version": VERSION,
        "method": method.kind,
        "backbone": {"name": method.base_name, "fingerprint": method.base_fingerprint},
        "settings": asdict(method.settings),
        "bank": method.bank.to_dict(),
        "fingerprint": method.fingerprint,
    }
    write_json(folder / FACTS, {**facts, **about})


def load_method(
    folder: Path | str, *, backbone: Backbone | None = None, device: torch.device | str = "cpu"
) -> FineTuned:
    """Read a fine-tuned model. backbone: the one it was made of, if it is at hand; else it is loaded by its name.

    `InsightError` names the file that is missing, damaged or something else, and refuses another backbone.
    """
    from .registry import method_class

    folder = Path(folder)
    if not (folder / FACTS).exists():
        raise InsightError(
            f"{folder}: expected the folder of a fine-tuned model with {FACTS}, found none; make one by"
            " `insight finetune`"
        )
    facts = read_json(folder / FACTS)
    found = (facts.get("format"), facts.get("format_version")) if isinstance(facts, dict) else (None, None)
    if found != (FORMAT, VERSION):
        raise InsightError(
            f'{folder / FACTS}: expected format "{FORMAT}" version {VERSION}, found "{found[0]}" version {found[1]};'
            " read it with the version of this package that wrote it"
        )
    try:
        name, fingerprint, said = facts["backbone"]["name"], facts["backbone"]["fingerprint"], facts["fingerprint"]
    except (KeyError, TypeError) as error:
        raise InsightError(f"{folder / FACTS}: expected the facts of a method, found others ({error})") from None
    backbone = backbone or load_backbone(name, device=device)
    if backbone.fingerprint != fingerprint:
        raise InsightError(
            f"{folder}: was made of backbone {name} with fingerprint {fingerprint[:12]}…, found {backbone.name} with"
            f" {backbone.fingerprint[:12]}…; use that backbone, or fine-tune again"
        )
    try:
        kind = method_class(facts["method"])
        settings = {name: tuple(v) if isinstance(v, list) else v for name, v in facts["settings"].items()}
        method = kind(backbone, ConceptBank.from_dict(facts["bank"]), kind.Settings(**settings))
    except (KeyError, TypeError) as error:
        raise InsightError(f"{folder / FACTS}: expected the facts of a method, found others ({error})") from None
    try:
        tensors = load_file(folder / WEIGHTS)
    except (SafetensorError, OSError) as error:
        what = f"expected safetensors, found something else ({error})"
        raise InsightError(f"{folder / WEIGHTS}: {what}; copy it again") from None
    trained = method.trained()
    if {n: v.shape for n, v in tensors.items()} != {n: v.shape for n, v in trained.items()}:
        raise InsightError(f"{folder}: {FACTS} and {WEIGHTS} are of different methods; restore them")
    with torch.no_grad():
        for name, value in trained.items():
            value.copy_(tensors[name])
    method.to(backbone.colour_mean.device).eval()
    if method.fingerprint != said:
        raise InsightError(f"{folder / WEIGHTS}: its weights are not those that {FACTS} was written for; restore them")
    return method
