"""The real application on each engine, with a clock of ours."""

from __future__ import annotations

from tests.store.conftest import Clock, app, clock

__all__ = ["Clock", "app", "clock"]
