from __future__ import annotations

import os
import shutil
from pathlib import Path


def resolve(name: str) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tenantwave" / "bin"
    for found in cache.glob(f"*/{name}"):
        return found
    found_path = shutil.which(name)
    if found_path is None:
        raise RuntimeError(f"no {name}")
    return Path(found_path)


class BinaryMissingError(RuntimeError):
    pass
