"""A load test in one file of HTML: what was measured is in ``measure.py``, the page is drawn by ``page.js``."""
