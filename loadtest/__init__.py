"""Does a served model keep its promise? Imports ``models`` only.

- :func:`check` holds a service to a p99 latency at a rate and prints the :class:`Verdict`.
- :mod:`rowcast.loadtest.openloop` sends the load, :class:`Payloads` makes the rows.
- ``locust -f loadtest/locustfile.py`` explores by hand.
"""

from rowcast.loadtest.openloop import Result, schedule
from rowcast.loadtest.payloads import Payloads
from rowcast.loadtest.promise import check
from rowcast.loadtest.served import NotServed, ServedModel
from rowcast.loadtest.verdict import Verdict

__all__ = ["NotServed", "Payloads", "Result", "ServedModel", "Verdict", "check", "schedule"]
