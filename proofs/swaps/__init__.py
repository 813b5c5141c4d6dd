"""Proof: what is served is replaced again and again under load, and no request fails, none is answered by nobody."""
