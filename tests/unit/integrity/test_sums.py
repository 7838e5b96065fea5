from __future__ import annotations

from itertools import combinations

from headwater.integrity import file_sum, sum_of


def test_kinds_lengths_and_order_count() -> None:
    rows = [
        (), (None,), (0,), (1,), (1.0,), ("1",), (b"1",), ("",), (b"",), ("a", "bc"), ("ab", "c"), ("abc",), (1, 2),
        (2, 1), ("\ud800",), (-1,), (2**63 - 1,), (True, None), (None, True),
    ]  # fmt: skip
    for one, other in combinations(rows, 2):
        assert sum_of(one) != sum_of(other), (one, other)
    assert sum_of((True,)) == sum_of((1,))


def test_a_sum_goes_on_from_another() -> None:
    assert sum_of((1, "b"), sum_of((None,))) == sum_of((None, 1, "b"))


def test_of_a_file() -> None:
    assert file_sum(b"{}") == "crc32:a3a6bf43"
    assert file_sum(b"{}") != file_sum(b"{ ")
