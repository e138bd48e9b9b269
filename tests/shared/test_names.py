"""The sentence for a name that nobody knows."""

from __future__ import annotations

import pytest

from landbridge.shared.names import nearest


@pytest.mark.parametrize(
    ("given", "known", "sentence"),
    [
        ("dan", ["ddc", "dann"], "unknown method 'dan'; did you mean 'dann'? Known: dann, ddc"),
        ("zebra", ["ddc", "dann"], "unknown method 'zebra'; Known: dann, ddc"),
        ("dan", [], "unknown method 'dan'; Known: none"),
    ],
)
def test_the_nearest_known_name_and_all_known_names(given: str, known: list[str], sentence: str) -> None:
    assert nearest("method", given, known) == sentence
