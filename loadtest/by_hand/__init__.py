"""What ``locustfile.py`` is made of: an open-loop user, what each protocol sends, and the promise at the end."""
