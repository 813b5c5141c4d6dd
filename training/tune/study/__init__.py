"""The study: what is tried next and what came of it, whoever runs it, kept where a kill costs nothing.

opening.py      a study begun, or gone on with
study.py        what is tried next, what came of it, and what of a killed process is tried again
limits.py       what time a trial has
record.py       what is known of a trial that is over
refusal.py      why a study cannot be gone on with
rungs.py        when a trial is compared with those before it, and ended if it is no good
owners.py       whose a trial is, and whether that process is still there
storage.py      where it is kept: a journal of its own, or a database
"""
