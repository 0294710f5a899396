"""When a request may leave: never a fourth for a link in a minute, never a fifteenth at once.

Pure arithmetic: the time comes in (seconds of a monotonic clock), a decision goes out. Nothing here waits,
sends or reads a clock, so thousands of links can be proven right in virtual time.
"""

from exporter.polling.pacing import Pacing
from exporter.polling.planner import Planner
from exporter.polling.ticket import Ticket

__all__ = ["Pacing", "Planner", "Ticket"]
