"""How many jobs per second the batch's own Dask setup hands out.

    python -m tests.benchmarks.scheduler [--jobs 10000] [--workers 2]

Trivial jobs through `cluster.run_on`, so that what is measured is the scheduler and the driver, which share
a process. Its CPU seconds hardly depend on what else the machine does.
"""

import argparse
import time

from osvos_keras.batch.cluster import open_client, run_on


def nothing(job: int) -> int:
    return job


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with open_client(None, arguments.workers, arguments.jobs) as client:
        client.wait_for_workers(arguments.workers)
        start, cpu = time.perf_counter(), time.process_time()
        jobs = range(arguments.jobs)
        ended = run_on(client, nothing, jobs, [f"job{index}" for index in jobs])
        assert sum(result == index for index, _, result in ended) == arguments.jobs
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    rates = f"{arguments.jobs / seconds:.0f} jobs/s, {arguments.jobs / cpu:.0f} per CPU second"
    print(f"{arguments.jobs} jobs in {seconds:.1f} s, {cpu:.1f} CPU s of the driver: {rates}")


if __name__ == "__main__":
    main()
