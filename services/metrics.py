"""What is counted of runs, for Prometheus.  Every label has a fixed set of values: configured backends, error codes."""

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.reports import RunReport

WAIT_BUCKETS_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
TEXT_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 30, 60)
RUN_BUCKETS_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800)
STATES = ("queued", "running")


class RunMetrics:
    """Counts runs.  Safe to use from any thread; workers of one server count together (see metrics_folder)."""

    def __init__(self, registry: CollectorRegistry, backends: Iterable[str]) -> None:
        """``backends`` are those whose counters are to be there from the start."""
        self._backends = tuple(backends)
        self._runs = Counter(
            "clinvk_runs", "Runs that have ended: done, or an error's code.", ["backend", "outcome"], registry=registry
        )
        self._warm = Counter(
            "clinvk_warm_runs", "Runs whose CLI had been started in advance.", ["backend"], registry=registry
        )
        self._queue_s = _histogram("queue", "From the request to a run slot.", WAIT_BUCKETS_S, registry)
        self._text_s = _histogram("first_text", "From the request to the first text.", TEXT_BUCKETS_S, registry)
        self._run_s = _histogram("duration", "From the request to the run's end.", RUN_BUCKETS_S, registry)
        self._tokens = Counter(
            "clinvk_tokens", "Tokens of runs that told them.", ["backend", "kind"], registry=registry
        )
        self._cost_usd = Counter(
            "clinvk_cost_usd", "Cost in US dollars of runs that told it.", ["backend"], registry=registry
        )
        self._now = Gauge(
            "clinvk_runs_now",
            "Runs that wait for a slot or go on, in all workers.",
            ["state"],
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        self._slots = Gauge("clinvk_run_slots", "Run slots.", registry=registry, multiprocess_mode="mostrecent")
        self._waiting = Gauge(
            "clinvk_warm_processes",
            "CLIs that wait for a prompt, started in advance, in all workers.",
            ["backend"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.set_waiting({})
        for backend in self._backends:
            self._runs.labels(backend, "done")
            self._cost_usd.labels(backend)
            self._warm.labels(backend)

    def tell(self, report: RunReport) -> None:
        """Count a run that has ended."""
        backend = report.backend
        self._runs.labels(backend, report.outcome).inc()
        if report.warm:
            self._warm.labels(backend).inc()
        self._queue_s.labels(backend).observe(report.queued_s)
        self._run_s.labels(backend).observe(report.duration_s)
        if report.first_text_s is not None:
            self._text_s.labels(backend).observe(report.first_text_s)
        for name, number in report.usage.told().items():
            self._tokens.labels(backend, name.removesuffix("_tokens")).inc(number)
        if report.cost_usd:
            self._cost_usd.labels(backend).inc(report.cost_usd)

    def set_waiting(self, counts: Mapping[str, int]) -> None:
        """Note how many CLIs wait in this worker, by backend."""
        for backend in self._backends:
            self._waiting.labels(backend).set(counts.get(backend, 0))

    def set_now(self, runs: Mapping[str, int], slots: int) -> None:
        """Note what is going on, before somebody reads it: runs by state in all workers, and all their slots."""
        for state in STATES:
            self._now.labels(state).set(runs.get(state, 0))
        self._slots.set(slots)


def _histogram(name: str, text: str, buckets: Iterable[float], registry: CollectorRegistry) -> Histogram:
    return Histogram(f"clinvk_run_{name}_seconds", text, ["backend"], buckets=tuple(buckets), registry=registry)
