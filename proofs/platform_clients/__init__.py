"""What each platform's client is had do, in an environment that has the client and nothing of ours.

A script is given the port of a service, and a row on standard input. It prints a JSON object: for each exchange True,
or the probability of "late" that came back.
"""
