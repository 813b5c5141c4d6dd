"""From measured service times to a plan: how many workers and machines a rate takes.

1. :mod:`rowcast.loadtest.plan.local_service` starts the service with one worker, then with two.
2. :mod:`rowcast.loadtest.plan.service_times` measures what a run of n requests costs a worker, and the client;
   :mod:`rowcast.loadtest.plan.calibration` finds the way, jitter and pauses in latencies.
3. :mod:`rowcast.loadtest.plan.simulation` simulates client, workers and batches from these figures, on cores that
   :mod:`rowcast.loadtest.plan.cores` hands out.
4. :mod:`rowcast.loadtest.plan.validation` holds the simulation to measurements at one and two workers, with connections
   that :mod:`rowcast.loadtest.plan.spread` counts.
5. :mod:`rowcast.loadtest.plan.planning` asks the simulation how many workers the rate takes.
"""
