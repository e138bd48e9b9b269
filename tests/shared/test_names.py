"""The sentence for a name that nobody knows."""

from __future__ import annotations

import pytest

from landbridge.shared.names import nearest, same_name


@pytest.mark.parametrize(
    ("given", "known", "sentence"),
    [
        ("dan", ["ddc", "dann"], "unknown method 'dan'; did you mean 'dann'? Known: dann, ddc"),
        ("zebra", ["ddc", "dann"], "unknown method 'zebra'; Known: dann, ddc"),
        ("dan", [], "unknown method 'dan'; Known: none"),
        ("DANNN", ["ddc", "dann"], "unknown method 'DANNN'; did you mean 'dann'? Known: dann, ddc"),
        ("deep-corl", ["deepcoral"], "unknown method 'deep-corl'; did you mean 'deepcoral'? Known: deepcoral"),
        ("sdg", ["sgd", "adam"], "unknown method 'sdg'; did you mean 'sgd'? Known: adam, sgd"),  # letters exchanged
        ("resnet", ["dann", "deepcoral"], "unknown method 'resnet'; Known: dann, deepcoral"),  # nothing is near
        ("mmd", ["mcd", "mcc"], "unknown method 'mmd'; Known: mcc, mcd"),  # two of three letters are not near
    ],
)
def test_the_nearest_known_name_and_all_known_names(given: str, known: list[str], sentence: str) -> None:
    assert nearest("method", given, known) == sentence


@pytest.mark.parametrize(
    ("given", "known", "same"),
    [
        ("DANN", ["dann", "dan"], "dann"),
        ("deep_coral", ["deepcoral", "dann"], "deepcoral"),
        ("CDAN+E", ["cdan", "cdan-e"], "cdan-e"),
        ("Source Only", ["source-only"], "source-only"),
        ("dan", ["dann"], None),
        ("+", ["dann", "-"], None),  # nothing is left of either
        ("a-b", ["ab", "a_b"], None),  # two are the same
        ("ab", ["ab", "a_b"], "ab"),
    ],
)
def test_the_name_that_is_the_same_but_for_its_writing(given: str, known: list[str], same: str | None) -> None:
    assert same_name(given, known) == same
