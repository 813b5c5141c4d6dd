"""A run of several processes of Locust: its workers count, and the master judges what all of them counted.

Workers send what they counted along with their figures, every few seconds. When the run ends the master asks each to
finish: to wait for what is under way, and to send the rest. Locust's own message to quit leaves half a second for that.
"""

from __future__ import annotations

from typing import Any

import gevent
from gevent.lock import Semaphore

from rowcast.loadtest.by_hand.ending import Promise
from rowcast.loadtest.by_hand.options import promised_p99_ms
from rowcast.loadtest.trial import answered_within

REPORT = "rowcast_promise"
FINISH, FINISHED = "rowcast-finish", "rowcast-finished"
_GRACE_S = 10.0
"""Beyond the time that answers are waited for: for the messages, and a worker that is busy."""
_EVERY_S = 0.05


def count_in_worker(promise: Promise, environment: Any, runner: Any) -> None:
    """Count here, and send it to the master."""
    environment.events.request.add_listener(promise.count)

    def report(client_id: str, data: dict[str, Any]) -> None:
        data[REPORT] = promise.taken()

    once = Semaphore()

    def finish(**_: Any) -> None:
        with once:  # asked by the master, or by Ctrl-C, or by both
            runner.stop()
        runner.send_message(FINISHED, {REPORT: promise.taken()})

    environment.events.report_to_master.add_listener(report)
    environment.events.quitting.add_listener(finish)
    runner.register_message(FINISH, finish, concurrent=True)


def judge_in_master(promise: Promise, environment: Any, runner: Any) -> None:
    """Add up what workers send, wait for all of it when the run ends, and judge it when Locust does."""
    connected: set[str] = set()  # those that take part: Locust forgets one that is silent for a minute
    unfinished: set[str] = set()

    def add(client_id: str, data: dict[str, Any]) -> None:
        promise.add(data.get(REPORT))

    def finished(msg: Any, **_: Any) -> None:
        promise.add(msg.data[REPORT])
        if msg.node_id not in unfinished:  # it leaves by itself
            connected.discard(msg.node_id)
        unfinished.discard(msg.node_id)

    def finish(environment: Any, **_: Any) -> None:
        unfinished.update(connected, runner.clients)
        for worker in list(runner.clients):
            runner.send_message(FINISH, client_id=worker)
        limit = answered_within(promised_p99_ms(environment.parsed_options)) + _GRACE_S
        limit += environment.stop_timeout or 0.0  # after which a worker ends the users that go on
        with gevent.Timeout(limit, False):
            while unfinished & {worker.id for worker in runner.clients.all if worker.state != "missing"}:
                gevent.sleep(_EVERY_S)
        promise.lost = len(unfinished)
        connected.difference_update(unfinished)  # the next run is without them
        unfinished.clear()

    environment.events.worker_connect.add_listener(lambda client_id, **_: connected.add(client_id))
    environment.events.worker_report.add_listener(add)
    environment.events.test_stopping.add_listener(finish)
    runner.register_message(FINISHED, finished)
    environment.events.quitting.add_listener(lambda environment, **_: promise.end(environment))
