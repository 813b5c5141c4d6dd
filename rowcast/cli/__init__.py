"""The command ``rowcast``: a file for each verb. Hands over to the rooms, computes nothing."""

from rowcast.cli.app import main

__all__ = ["main"]
