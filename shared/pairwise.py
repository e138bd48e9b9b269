"""Several sources, each aligned with the target by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import TYPE_CHECKING, ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from .again import again
from .checks import check_whole
from .method import Method, Source, Target, Terms, Update

if TYPE_CHECKING:
    from .network import Network

__all__ = ["Pairwise"]


class Pairwise(Method):
    r"""A method applied to each source and the target, with parameters of its own for each source, averaged.

    .. math:: \frac1k \sum_{i=1}^{k} L_i(S_i, T)

    with S_i the rows of source i and T the target's batch. Where several sources taken together as one are aligned as
    a mixture, here each is aligned by itself, and the sources with each other only through the target. Weights and
    schedules are the parts' own; the mean also divides what a part learns by itself (a discriminator's loss) by k.
    Terms, and what is watched, are named as the method's, averaged over the sources.

    A batch holds its source rows in k equal blocks, in the order of the sources, as ``fit`` makes them of a list of
    sources: the shapes are static, and nothing waits for the device.

    Args:
        sources: k >= 1.
        make: called once for each source, without arguments, for a new method.
        method: instead of ``make``, a method of which each source gets a copy; all start from the same parameters.

    Raises:
        TypeError: for what is no Method.
        ValueError: for no source, both or neither of ``make`` and ``method``, methods of different kinds, or one that
            tells sources apart itself; and at a batch without ``Source.domain``, or whose rows are not in equal blocks.

    Source: for domain discriminators, the sum over k pairs in Zhao et al., Adversarial Multiple Source Domain
    Adaptation, NeurIPS 2018, with their mean instead of their maximum or its smoothing.

    >>> method = Pairwise(sources=2, make=lambda: lb.DANN(features=8, hidden=[16]))
    >>> source = lb.Source(torch.randn(6, 8), domain=torch.tensor([0, 0, 0, 1, 1, 1]))
    >>> sorted(method.losses(source, lb.Target(torch.randn(4, 8)), torch.tensor(1.0)))
    ['accuracy', 'domain']
    """

    weighs: ClassVar[Literal["terms", "inside"]] = "inside"

    def __init__(self, *, sources: int, make: Callable[[], Method] | None = None, method: Method | None = None) -> None:
        super().__init__()
        sources = check_whole("Pairwise", "sources", sources)
        if (make is None) == (method is None):
            raise ValueError(
                "Pairwise needs make=a function that returns a new method, or method=a method to copy, one of the two; "
                f"got {'neither' if make is None else 'both'}. Write Pairwise(sources={sources}, method=DAN())."
            )
        made = [make() if make is not None else deepcopy(method) for _ in range(sources)]
        for part in made:
            if not isinstance(part, Method):
                raise TypeError(f"Pairwise needs methods; got {type(part).__name__}. Use, for example, method=DAN().")
        parts = cast("list[Method]", made)
        _check_parts(parts)
        first = parts[0]
        self.parts = nn.ModuleList(parts)
        self.sources = sources
        self.needs = first.needs | {"source", "domain"}  # type: ignore[misc]  # the method decides, and below
        self.least = first.least  # type: ignore[misc]
        self.watches = first.watches  # type: ignore[misc]
        self.sees_target = first.sees_target
        self.refresh_every = first.refresh_every

    @property
    def assumes_proportions(self) -> bool:  # type: ignore[override]
        """Whether its method does."""
        return self._parts()[0].assumes_proportions

    def _parts(self) -> list[Method]:
        return cast("list[Method]", list(self.parts))

    def check(self, source: Source | None, target: Target) -> None:
        super().check(source, target)
        assert source is not None  # asked for in needs
        n_s, k = source.features.shape[0], self.sources
        if n_s % k or n_s // k < self.least:
            raise ValueError(
                f"Pairwise needs source rows in {k} equal blocks of at least {self.least}; got {n_s} rows. Pass as "
                "many rows of each source, one source after the other."
            )
        assert source.domain is not None
        if not torch.compiler.is_compiling() and source.domain.device.type == "cpu":
            blocks = source.domain.view(k, n_s // k)  # on a GPU asking would make the step wait
            if not bool((blocks == torch.arange(k)[:, None]).all()):
                raise ValueError(
                    f"Pairwise needs source rows in {k} equal blocks, in the order of the sources; got "
                    f"domain={source.domain.tolist()}. Sort the batch by domain, with as many rows of each source."
                )
        first = self._parts()[0]
        if type(first).check is not Method.check:  # sizes of its own, which are the same for every part
            first.check(source, target)

    def terms(self, source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        return self._mean([part.terms for part in self._parts()], source, target, progress)

    def _mean(self, formulas: list[Terms], source: Source, target: Target, progress: Tensor) -> dict[str, Tensor]:
        seen: dict[str, list[Tensor]] = {}
        blocks = _blocks(source, self.sources)
        for part, formula, block in zip(self._parts(), formulas, blocks, strict=True):
            for name, term in part.weighted(formula(block, target, progress), progress).items():
                seen.setdefault(name, []).append(term)
        return {name: sum(terms[1:], terms[0]) / self.sources for name, terms in seen.items()}

    def updates(self) -> tuple[Update, ...]:
        every = [part.updates() for part in self._parts()]
        first = self._parts()[0]
        if every[0] == (Update(first.terms),):
            return (Update(self.terms),)
        return tuple(
            update._replace(terms=self._joint([updates[i].terms for updates in every]))
            for i, update in enumerate(every[0])
        )

    def _joint(self, formulas: list[Terms]) -> Terms:
        def terms(source: Source | None, target: Target, progress: Tensor) -> dict[str, Tensor]:
            assert source is not None
            return self._mean(formulas, source, target, progress)

        return terms

    def begin(self, network: Network) -> None:
        for part in self._parts():
            part.begin(network)

    def refresh(self, network: Network, target_batches: Iterable[Tensor]) -> None:
        refreshed = [part for part in self._parts() if type(part).refresh is not Method.refresh]
        batches = again(target_batches) if len(refreshed) > 1 else target_batches
        for part in refreshed:
            part.refresh(network, batches)


def _blocks(source: Source, sources: int) -> list[Source]:
    """Each source's own rows, as a batch of one source."""
    n = source.features.shape[0] // sources
    cut = [slice(i * n, (i + 1) * n) for i in range(sources)]
    alone = source._replace(domain=None)
    return [Source(*(None if value is None else value[rows] for value in alone)) for rows in cut]  # type: ignore[arg-type]


def _check_parts(parts: list[Method]) -> None:
    first = parts[0]
    if len({id(part) for part in parts}) < len(parts):
        raise ValueError("Pairwise needs a method of its own for each source; make() returned the same one twice.")
    for part in parts:
        if part.sources > 1 or "domain" in part.needs:
            raise ValueError(
                f"Pairwise hands each method one source; got {type(part).__name__}, made for {part.sources}. Use it "
                "without Pairwise, or make it for one source."
            )
        if _kind(part) != _kind(first):
            raise ValueError(
                f"Pairwise needs methods of one kind and settings; make() returned {type(first).__name__} and "
                f"{type(part).__name__} that read or train different things."
            )


def _kind(part: Method) -> tuple[object, ...]:
    steps = tuple((update.trains, update.task, update.repeat, update.fresh) for update in part.updates())
    return type(part), part.needs, part.least, part.watches, part.sees_target, part.refresh_every, steps
