"""How much a request may take: bytes, the event loop's time, descriptors; and what the machine has."""
