"""The system's clock: the one place where the present instant comes from."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class SystemClock:
    """The port `Clock`, as this machine has it."""

    def now(self) -> datetime:
        """Return the present instant, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never jump."""
        return time.monotonic()
