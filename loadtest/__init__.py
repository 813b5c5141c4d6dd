"""Does a served model keep its promise, and how much can it take? Imports ``models`` only.

- :func:`check` holds a service to a p99 latency at a rate and prints the :class:`Verdict`.
- :func:`search` finds the highest rate that holds, and prints the :class:`Search`.
- :mod:`rowcast.loadtest.openloop` sends the load, :class:`Payloads` makes the rows.
- ``locust -f loadtest/locustfile.py`` explores by hand.
"""

from rowcast.loadtest.highest_rate import Search, search
from rowcast.loadtest.openloop import Result, schedule
from rowcast.loadtest.payloads import Payloads
from rowcast.loadtest.promise import check
from rowcast.loadtest.served import NotServed, ServedModel
from rowcast.loadtest.verdict import Verdict

__all__ = ["NotServed", "Payloads", "Result", "Search", "ServedModel", "Verdict", "check", "schedule", "search"]
