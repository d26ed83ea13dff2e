"""The data plane: inference exchanges from one socket to the other, by weight.

Rule: nothing here knows a database, and nothing on the way of an exchange is a task, a timer or
an ASGI scope. `Gateway` is all that other planes use.
"""

from app.proxy.bounds.limits import Limits
from app.proxy.gateway import Gateway
from app.proxy.upstream.breaker import OpenBrake
from app.recording.recorder import Recorder
from app.recording.totals import TotalsSinceStart, VersionTotals

__all__ = ["Gateway", "Limits", "OpenBrake", "Recorder", "TotalsSinceStart", "VersionTotals"]
