"""Loss terms by step, read every so many."""

from __future__ import annotations

import pytest
import torch

from landbridge.shared.history import History, TrainingDiverged


def write(history: History, *values: tuple[float, float]) -> list[bool]:
    return [history.write({"task": torch.tensor(a), "domain": torch.tensor(b, dtype=torch.float64)}) for a, b in values]


def test_terms_by_step() -> None:
    history = History(interval=2)
    assert write(history, (1.0, 4.0), (2.0, 5.0)) == [False, True]
    history.read()
    assert write(history, (3.0, 6.0)) == [False]
    assert len(history) == 3
    assert history.names == ["task", "domain"]
    assert history["domain"].tolist() == [4.0, 5.0, 6.0]
    assert torch.equal(history.values, torch.tensor([[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]))
    assert len(history) == 3
    assert history.values.dtype == torch.float32


def test_latest_is_the_mean_of_the_block_read_last() -> None:
    history = History(interval=2)
    assert history.latest() == {}
    write(history, (1.0, 4.0), (2.0, 6.0))
    assert history.latest() == {}  # not read yet
    history.read()
    assert history.latest() == {"task": 1.5, "domain": 5.0}


def test_nothing_written() -> None:
    history = History()
    history.read()
    assert len(history) == 0
    assert history.values.shape == (0, 0)


def test_goes_on_from_a_state() -> None:
    one, other = History(interval=4), History(interval=3)
    write(one, (1.0, 4.0), (2.0, 5.0))
    state = one.state()
    other.load(state["names"], state["values"])  # type: ignore[arg-type]
    write(other, (3.0, 6.0))
    assert other.names == one.names
    assert other["task"].tolist() == [1.0, 2.0, 3.0]
    assert one["task"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_term_that_is_no_number_is_named_with_its_first_step(bad: float) -> None:
    history = History(interval=2)
    write(history, (1.0, 1.0), (1.0, 1.0))
    history.read()
    write(history, (1.0, bad), (bad, bad))
    with pytest.raises(TrainingDiverged, match=rf"the term 'domain' is {bad} at step 2\. Lower the learning rate"):
        history.read()
    assert len(history) == 4  # what was read is there to look at


def test_terms_keep_their_names() -> None:
    history = History()
    write(history, (1.0, 1.0))
    with pytest.raises(ValueError, match=r"must keep their names; they were \['task', 'domain'\] and are \['task'\]"):
        history.write({"task": torch.tensor(1.0)})
