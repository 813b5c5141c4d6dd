"""Does a served model keep its promise? Imports ``models`` only.

- :func:`check` holds a service to a p99 latency at a rate and prints the :class:`Verdict`.
- :mod:`loadtest.openloop` sends the load, :class:`Payloads` makes the rows.
- ``locust -f loadtest/locustfile.py`` explores by hand.
"""

from loadtest.openloop import Result, schedule
from loadtest.payloads import Payloads
from loadtest.promise import check
from loadtest.served import NotServed, ServedModel
from loadtest.verdict import Verdict

__all__ = ["NotServed", "Payloads", "Result", "ServedModel", "Verdict", "check", "schedule"]
