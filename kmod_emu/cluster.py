"""Work spread over a Dask cluster, whose workers see the same files under the same names.

A job that a worker died of is done again elsewhere; one that several died of ends with an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Job = TypeVar("Job")
Result = TypeVar("Result")


class NoCluster(Exception):
    """There is no cluster to work on; the text says why."""


def spread(
    function: Callable[[Job], Result], jobs: Iterable[Job], address: str
) -> Iterator[tuple[Job, Result | Exception]]:
    """Call a function for each job, somewhere; jobs with what came of each, as they are done.

    Args:
        function: Of a module that the workers have too; jobs and results are pickled.
        jobs: What it is called with, one at a time.
        address: Of the scheduler: `tcp://host:8786`.

    Raises:
        NoCluster: Dask is not installed, or nobody answers.
    """
    try:
        from dask import distributed
    except ImportError:
        raise NoCluster("--dask needs Dask: pip install 'kmod-emu[dask]'") from None
    try:
        client = distributed.Client(address)
    except (OSError, ValueError) as error:
        raise NoCluster(str(error)) from None
    with client:
        futures = {client.submit(function, job, pure=False): job for job in jobs}
        try:
            for future in distributed.as_completed(futures):
                if future.status == "finished":
                    yield futures[future], future.result()
                else:
                    cause = None if future.cancelled() else future.exception()
                    yield futures[future], cause or RuntimeError("the cluster gave it up")
        finally:
            client.cancel(list(futures))
