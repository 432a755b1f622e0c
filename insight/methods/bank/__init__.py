"""Banks of concepts: what classes are recognised by, in words; read, made, shipped, and said as prompts."""

from .concept_bank import ConceptBank
from .from_model import ModelBank, bank_from_model
from .importers import form_of, import_bank
from .prompts import because, caption, check_length, clinical, photo_of, which
from .shipped import shipped_bank, shipped_banks

__all__ = [
    "ConceptBank",
    "ModelBank",
    "bank_from_model",
    "because",
    "caption",
    "check_length",
    "clinical",
    "form_of",
    "import_bank",
    "photo_of",
    "shipped_bank",
    "shipped_banks",
    "which",
]
