"""An iterable that can be gone through again."""

from __future__ import annotations

from landbridge.shared.again import Again, again


def test_what_is_made_anew_is_not_kept() -> None:
    made = Again(lambda: iter([1, 2]))
    assert again(made) is made
    assert [*made, *made] == [1, 2, 1, 2]
    items = [1]
    assert again(items) is items
