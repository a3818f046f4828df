"""The metrics: read from the overview when Prometheus asks, so that nothing is counted twice."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from service.pipeline.overview import TABLE_TERMS, Overview
from service.pipeline.timings import Histogram

OUTCOMES = ("loaded", "unchanged", "stale", "duplicate", "filtered", "quarantined")


class Metrics(Collector):
    """Turns the overview into metric families. Counters begin at zero with the process, as Prometheus expects."""

    def __init__(self, overview: Overview) -> None:
        self._overview = overview

    def collect(self) -> Iterator[Metric]:
        """Give every family."""
        yield from self._counters()
        yield from self._gauges()
        yield from self._histograms()

    def _counters(self) -> Iterator[Metric]:
        messages = CounterMetricFamily("headrace_received_messages", "Messages safe in the buffer.", labels=["feed"])
        size = CounterMetricFamily("headrace_received_bytes", "Bytes of those messages.", labels=["feed"])
        records = CounterMetricFamily("headrace_records", "Records by what became of them.", labels=["feed", "outcome"])
        reconnects = CounterMetricFamily("headrace_feed_reconnects", "Starts after the first.", labels=["feed"])
        gaps = CounterMetricFamily("headrace_feed_gaps", "Gaps written to headrace.gaps.", labels=["feed"])
        paused = CounterMetricFamily("headrace_source_paused_seconds", "Time spent waiting for room.", labels=["feed"])
        conflated = CounterMetricFamily(
            "headrace_conflated_messages", "Messages dropped for newer ones, as the buffer was full.", labels=["feed"]
        )
        for line in self._overview.lines:
            for outcome in OUTCOMES:
                records.add_metric([line.name, outcome], getattr(line.ledger.session, outcome))
            if line.inlet is not None and line.feed is not None:
                messages.add_metric([line.name], line.inlet.messages)
                conflated.add_metric([line.name], line.inlet.conflated)
                size.add_metric([line.name], line.inlet.bytes_received)
                reconnects.add_metric([line.name], line.feed.reconnects)
                gaps.add_metric([line.name], line.gaps.found if line.gaps is not None else 0)
                paused.add_metric([line.name], line.inlet.paused_seconds)
        rows = CounterMetricFamily("headrace_rows", "Rows by what became of them.", labels=["table", "outcome"])
        for table, counts in self._overview.tables().items():
            for outcome in TABLE_TERMS:
                rows.add_metric([table, outcome], getattr(counts, outcome))
        yield from (messages, size, records, reconnects, gaps, paused, conflated, rows)
        yield from self._races()

    def _races(self) -> Iterator[Metric]:
        """Give how redundant connections do against each other."""
        labels = ["feed", "connection", "copy"]
        first = CounterMetricFamily("headrace_copies_first", "Messages that this copy brought first.", labels=labels)
        later = CounterMetricFamily("headrace_copies_later", "Messages that another brought before.", labels=labels)
        behind = CounterMetricFamily("headrace_copies_behind_seconds", "By how much, in all.", labels=labels)
        for line in self._overview.lines:
            for part, copy, runner in line.feed.runners() if line.feed is not None else ():
                which = [line.name, str(part), str(copy)]
                first.add_metric(which, runner.first)
                later.add_metric(which, runner.later)
                behind.add_metric(which, runner.behind)
        yield from (first, later, behind)

    def _gauges(self) -> Iterator[Metric]:
        ready = GaugeMetricFamily("headrace_ready", "1 while the check of /readyz is ok.", labels=["check"])
        for check, found in self._overview.checks().items():
            ready.add_metric([check], float(found == "ok"))
        up = GaugeMetricFamily("headrace_feed_up", "1 while the provider answers.", labels=["feed"])
        lag = GaugeMetricFamily("headrace_feed_lag_seconds", "Age of the oldest uncommitted message.", labels=["feed"])
        stale = GaugeMetricFamily("headrace_feed_stale", "1 while data are overdue.", labels=["feed"])
        tripped = GaugeMetricFamily(
            "headrace_feed_breaker_open", "1 while nothing is loaded, as most records are refused.", labels=["feed"]
        )
        silence = GaugeMetricFamily("headrace_feed_silence_seconds", "Time since the last data.", labels=["feed"])
        fresh = GaugeMetricFamily("headrace_feed_freshness_seconds", "Silence that makes it stale.", labels=["feed"])
        missing = GaugeMetricFamily("headrace_feed_open_gaps", "Gaps that nothing has filled.", labels=["feed"])
        waiting = GaugeMetricFamily("headrace_feed_waiting_deltas", "Deltas whose row does not exist.", labels=["feed"])
        held = GaugeMetricFamily("headrace_queue_bytes", "Bytes waiting.", labels=["queue", "feed"])
        room = GaugeMetricFamily("headrace_queue_capacity_bytes", "The most that may wait.", labels=["queue", "feed"])
        for line in self._overview.lines:
            up.add_metric([line.name], float(line.feed is not None and line.feed.up))
            lag.add_metric([line.name], line.lag())
            tripped.add_metric([line.name], float(line.breaker.reason is not None))
            waiting.add_metric([line.name], line.ledger.waiting)
            missing.add_metric([line.name], line.gaps.open if line.gaps is not None else 0)
            if line.feed is not None:
                stale.add_metric([line.name], float(line.feed.state == "stale"))
                silence.add_metric([line.name], line.feed.silence or 0.0)
            if line.feed is not None and line.feed.freshness is not None:
                fresh.add_metric([line.name], line.feed.freshness)
            if line.inlet is not None and line.lane is not None:
                stat = line.lane.stat()
                held.add_metric(["inlet", line.name], line.inlet.held)
                room.add_metric(["inlet", line.name], line.inlet.capacity)
                held.add_metric(["buffer", line.name], stat.bytes)
                room.add_metric(["buffer", line.name], stat.max_bytes)
        yield from (ready, up, lag, tripped, stale, silence, fresh, missing, waiting, held, room)

    def _histograms(self) -> Iterator[Metric]:
        rows = HistogramMetricFamily("headrace_batch_rows", "Rows of a batch.", labels=["feed"])
        seconds = HistogramMetricFamily("headrace_batch_seconds", "Seconds of a batch's transaction.", labels=["feed"])
        age = HistogramMetricFamily(
            "headrace_end_to_end_seconds", "Receipt to commit of a batch's oldest message.", labels=["feed"]
        )
        for line in self._overview.lines:
            if line.loader is not None:
                _add(rows, line.name, line.loader.timings.rows)
                _add(seconds, line.name, line.loader.timings.seconds)
                _add(age, line.name, line.loader.timings.end_to_end)
        yield from (rows, seconds, age)


def _add(family: HistogramMetricFamily, feed: str, histogram: Histogram) -> None:
    family.add_metric([feed], histogram.buckets(), histogram.sum)
