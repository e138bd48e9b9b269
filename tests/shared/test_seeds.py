"""Seeds are stable hashes, and seeding for a while leaves no trace."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import pytest
import torch

from landbridge.shared.seeds import derive_seed, generator, seed_globally, seed_libraries, seeded


def test_a_seed_is_the_start_of_a_sha256() -> None:
    digest = hashlib.sha256(b"digits\x1f0\x1fnetwork").hexdigest()
    assert derive_seed("digits", 0, "network") == int(digest[:16], 16) // 2
    assert derive_seed("optdigits", 0) == 3874928288522357023  # published numbers hang on it


def test_every_part_and_its_place_count() -> None:
    seeds = [("a", 1), ("a", 2), ("b", 1), (1, "a"), ("a1",), ("a",), ()]
    assert len({derive_seed(*parts) for parts in seeds}) == len(seeds)


def test_a_generator_is_seeded_by_its_parts() -> None:
    drawn = torch.rand(3, generator=generator("x", 1))
    assert torch.equal(drawn, torch.rand(3, generator=generator("x", 1)))
    assert not torch.equal(drawn, torch.rand(3, generator=generator("x", 2)))


@pytest.mark.usefixtures("keeps_random_state")
def test_seeded_is_seeded_within_and_gone_afterwards() -> None:
    with seeded("x", 1):
        one = torch.rand(3)
    with seeded("x", 1):
        assert torch.equal(torch.rand(3), one)
    with seeded("x", 2):
        assert not torch.equal(torch.rand(3), one)


@pytest.mark.usefixtures("keeps_random_state")
def test_seeded_gives_the_state_back_after_an_error() -> None:
    with pytest.raises(RuntimeError, match="within"), seeded("x"):
        raise RuntimeError("within")


def test_seeding_globally_is_manual_seed() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(2**62 + 1)
        expected = torch.rand(3)
        seed_globally(2**62 + 1)
        assert torch.equal(torch.rand(3), expected)


def test_seeding_libraries() -> None:
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        drawn = []
        for seed in (2**62, 2**62, 2**62 + 1):
            seed_libraries(seed)
            drawn.append((random.random(), np.random.rand()))  # noqa: NPY002
        assert drawn[0] == drawn[1]
        assert drawn[0][0] != drawn[2][0]
        assert drawn[0][1] != drawn[2][1]
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
