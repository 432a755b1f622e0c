"""What stands at a path, in the words of a message."""

from __future__ import annotations

import stat
from pathlib import Path

FOLDER, FILE, NOTHING = "a folder", "a file", "nothing"


def found_at(path: Path | str) -> str:
    """`FOLDER`, `FILE`, `NOTHING`, or other words; never an exception, whatever the path or the machine is like."""
    try:
        mode = Path(path).stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return NOTHING
    except (OSError, ValueError) as error:
        return f"nothing that can be looked at ({error.strerror if isinstance(error, OSError) else error})"
    return FOLDER if stat.S_ISDIR(mode) else FILE if stat.S_ISREG(mode) else "neither a file nor a folder"
