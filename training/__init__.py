"""A table in, a model out. Imports ``models``; the only room that imports torch."""
