"""open_clip's models as backbones: loading by name, and a class for each kind of vision tower."""

from .loading import load_openclip

__all__ = ["load_openclip"]
