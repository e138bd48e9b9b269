"""Names that the docstrings' examples may use without an import."""

import numpy as np
import pytest
import torch

import landbridge


@pytest.fixture(autouse=True)
def _names_for_doctests(doctest_namespace: dict[str, object]) -> None:
    doctest_namespace["np"] = np
    doctest_namespace["torch"] = torch
    doctest_namespace["lb"] = landbridge
