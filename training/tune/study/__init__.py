"""The study: what is tried next and what came of it, whoever runs it, kept where a kill costs nothing.

study.py        what is tried next, what came of it, and what of a killed process is tried again
limits.py       what time a trial has
rungs.py        when a trial is compared with those before it, and ended if it is no good
owners.py       whose a trial is, and whether that process is still there
storage.py      where it is kept: a journal of its own, or a database
"""
