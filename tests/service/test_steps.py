"""Work in steps, see ``service.limits.steps``."""

from __future__ import annotations

from rowcast.service.limits.steps import at_once, holds

MIB = 2**20


def test_what_is_sought_is_found_wherever_it_lies_even_across_two_pieces():
    for place in (0, 5, MIB - 3, MIB, 3 * MIB - 5):
        body = b"y" * place + b"NaN" + b"y" * (3 * MIB - place - 3)
        assert at_once(holds(body, b"NaN")), place
    assert not at_once(holds(b"", b"NaN"))
    assert not at_once(holds(b"Na" * MIB, b"NaN"[:2] + b"M"))


def test_no_step_of_a_search_looks_at_more_than_a_mebibyte():
    assert sum(1 for _ in holds(b"y" * (16 * MIB), b'"priority"')) == 16
