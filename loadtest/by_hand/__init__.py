"""What ``locustfile.py`` is made of: its options, an open-loop user, what each protocol sends, and the promise
at the end.
"""
