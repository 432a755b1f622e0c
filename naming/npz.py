"""npz files: written whole or not at all, read without pickle, with a clear error when they are not as expected."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sae.errors import InsightError
from sae.files import atomic_write


def write_npz(path: Path | str, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as one npz, whole or not at all."""
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_npz(path: Path | str, names: list[str], remedy: str) -> dict[str, np.ndarray]:
    """The named arrays of an npz. `InsightError` when it is missing, damaged or lacks one; `remedy` says what to do."""
    path = Path(path)
    try:
        if not zipfile.is_zipfile(path) and path.exists():  # numpy would say how to read it unsafely
            raise InsightError(f"{path}: expected an npz archive, found a damaged file or another; {remedy}")
        with np.load(path, allow_pickle=False) as archive:
            lacking = [name for name in names if name not in archive.files]
            if lacking:
                found = ", ".join(archive.files) or "nothing"
                raise InsightError(f"{path}: expected arrays {', '.join(lacking)}, found {found}; {remedy}")
            return {name: archive[name] for name in names}
    except FileNotFoundError:
        raise InsightError(f"{path}: no such file; {remedy}") from None
    except InsightError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise InsightError(f"{path}: expected an npz archive, found a damaged file ({error}); {remedy}") from None
