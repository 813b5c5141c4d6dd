"""The Python API: what ``import rowcast`` gives, a file for each. ``rowcast/__init__.py`` hands over to them."""
