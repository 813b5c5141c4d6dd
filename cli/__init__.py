"""What the commands of ``rowcast`` share. Imports any room; only ``rowcast.py`` imports it."""
