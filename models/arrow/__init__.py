"""Arrow's stream format, read from bytes that nobody vouches for, and written.

A stream is messages: a schema, dictionaries, record batches, an end. Each is a flatbuffer that says where in the bytes
behind it the buffers of its columns are. Here whatever it says is held against those bytes before it is used, and
values are read some rows at a time, when they are asked for: memory is bounded by the bytes that came, not by what they
claim to hold. Malformed bytes raise :class:`Malformed`, and can do nothing else, for there is no code here but Python's
and NumPy's.

Not read, and said so: compressed buffers (16 MB may claim to be a terabyte), dictionary deltas, big-endian machines'
streams, and types that no column of a model takes, such as lists.

Source: https://arrow.apache.org/docs/format/Columnar.html, format version 1.5
"""

from rowcast.models.arrow.arrays import Array, Texts, Values
from rowcast.models.arrow.batch import Batch
from rowcast.models.arrow.dictionaries import DictionaryArray
from rowcast.models.arrow.flatbuffer import Malformed
from rowcast.models.arrow.stream import END, Stream, head_of, metadata_of, schema_of
from rowcast.models.arrow.types import Family, Field, Schema, Type

MEDIA_TYPE = "application/vnd.apache.arrow.stream"

__all__ = [
    "END",
    "MEDIA_TYPE",
    "Array",
    "Batch",
    "DictionaryArray",
    "Family",
    "Field",
    "Malformed",
    "Schema",
    "Stream",
    "Texts",
    "Type",
    "Values",
    "head_of",
    "metadata_of",
    "schema_of",
]
