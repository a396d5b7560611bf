"""Metrics: what a Prometheus server may read, under vLLM's names where they fit."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640)
"""Bounds of the histograms, vLLM's."""
BY_MODEL = ("model_name",)


class Metrics:
    """The figures of one server, in a registry of its own."""

    def __init__(self, running: Callable[[], int], waiting: Callable[[], int]) -> None:
        self._registry = registry = CollectorRegistry()

        def gauge(name: str, about: str, value: Callable[[], float]) -> None:
            Gauge(f"osum:{name}", about, registry=registry).set_function(value)

        def counter(name: str, about: str, labels: tuple[str, ...] = BY_MODEL) -> Counter:
            return Counter(f"osum:{name}", about, labels, registry=registry)

        def seconds(name: str, about: str, labels: tuple[str, ...] = BY_MODEL) -> Histogram:
            return Histogram(f"osum:{name}", about, labels, registry=registry, buckets=SECONDS)

        gauge("num_requests_running", "Requests that are answered now.", running)
        gauge("num_requests_waiting", "Requests that wait for a place.", waiting)
        self.successes = counter("request_success", "Requests answered.", ("model_name", "finished_reason"))
        self.failures = counter("request_failure", "Requests refused or failed.", ("status",))
        self.rejections = counter("admission_rejections", "Requests for which there was no place.", ("reason",))
        self.prompt_tokens = counter("prompt_tokens", "Tokens of prompts, audio included.")
        self.generation_tokens = counter("generation_tokens", "Tokens of answers.")
        self.audio_seconds = counter("audio_seconds", "Seconds of audio answered about.")
        self.first_token = seconds("time_to_first_token_seconds", "From the request to its first token, streaming.")
        self.latency = seconds("e2e_request_latency_seconds", "From the request to the end of its answer.", ("route",))
        self.queue_time = seconds("request_queue_time_seconds", "From the request to its place.", ())
        self.first_audio = seconds("time_to_first_audio_seconds", "From the request to its first sound.")
        self.websockets = Gauge("osum:websocket_connections_active", "WebSockets that are open.", registry=registry)
        self.websockets_opened = counter("websocket_connections", "WebSockets that were opened.", ())
        self.websocket_seconds = seconds("websocket_connection_duration_seconds", "How long they were open.", ())
        self.barge_in = seconds("barge_in_stop_seconds", "From speech of the user to the end of the reply.", ())

    def page(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self._registry)
