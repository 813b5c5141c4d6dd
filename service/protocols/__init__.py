"""What callers speak: a folder each, with its decoder, its encoder and its routes."""
