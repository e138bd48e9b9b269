"""Streams of random integers: known answers, and independence of the rows beside."""

from __future__ import annotations

import hashlib

import numpy as np

from landbridge.benchmarks.datasets.streams import _splitmix, bell, random_words

WORD = 2**64


def slow_mix(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % WORD
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % WORD
    return z ^ (z >> 31)


def test_splitmix_gives_the_published_numbers():
    # the reference implementation's output for seed 1234567
    words = _splitmix(np.array([1234567], dtype=np.uint64), 5)[0].tolist()
    assert words == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_random_words_are_those_of_python_integers():
    gamma = 0x9E3779B97F4A7C15
    key = int.from_bytes(hashlib.sha256(b"a name").digest()[:8], "little")
    for row, words in zip([0, 3, 70000], random_words("a name", np.array([0, 3, 70000]), 4).tolist(), strict=True):
        seed = slow_mix((key + row * gamma) % WORD)
        assert words == [slow_mix((seed + j * gamma) % WORD) for j in range(1, 5)]


def test_random_words_of_a_row_depend_on_nothing_beside():
    every = random_words("name", np.arange(100), 3)
    assert (random_words("name", np.array([70, 3]), 3) == every[[70, 3]]).all()
    assert (random_words("name", np.arange(100), 1) == every[:, :1]).all()
    assert (random_words("other", np.arange(100), 3) != every).all()


def test_bell_has_the_stated_moments():
    values = bell(random_words("bell", np.arange(1000), 100)).astype(float)
    assert abs(values.mean()) < 3
    assert abs(values.std() - np.sqrt(8 * (256**2 - 1) / 12)) < 3
    assert bell(np.array([0x0102030405060708], dtype=np.uint64)).tolist() == [36 - 1020]
