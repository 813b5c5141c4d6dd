"""One text to one value, where it is not written the plain way: numbers, dates and durations as people write them.

Every way to ask a model reads its texts with these functions; training finds out which of them a column needs.
"""

from rowcast.models.texts.dates import parse_date
from rowcast.models.texts.durations import parse_duration
from rowcast.models.texts.nulls import MARKERS, is_marker
from rowcast.models.texts.numbers import parse_number

__all__ = ["MARKERS", "is_marker", "parse_date", "parse_duration", "parse_number"]
