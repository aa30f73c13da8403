"""CPU and memory are sampled under the names that MLflow's page shows."""

import math
import threading
import time

import psutil
from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor

from conftest import wait_until
from train.tracking.system_metrics import SystemMetrics


def mlflow_names():
    names = set()
    for monitor in (CPUMonitor(), DiskMonitor()):
        monitor.collect_metrics()
        names |= {f"system/{name}" for name in monitor.aggregate_metrics()}
    return names


def wait_for_samples(system, count=1):
    samples = []
    wait_until(lambda: samples.extend(system.take()) or len({sample.step for sample in samples}) >= count)
    return samples


def test_machine_and_process_are_sampled_under_the_names_of_mlflow():
    with SystemMetrics(time.time(), 0.02) as system:
        values = {sample.key: sample.value for sample in wait_for_samples(system)}
    assert {key for key in values if "process_" not in key} <= mlflow_names()
    assert {"system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"} <= values.keys()
    assert 10 < values["system/process_memory_usage_megabytes"] < values["system/system_memory_usage_megabytes"] * 2
    assert all(math.isfinite(value) and value >= 0 for value in values.values())


def test_each_sample_is_returned_once_and_steps_count_from_the_start_of_the_run():
    with SystemMetrics(time.time() - 100, 0.02) as system:
        samples = wait_for_samples(system, count=3)
    identities = [(sample.key, sample.timestamp) for sample in samples]
    assert len(identities) == len(set(identities))
    assert min(sample.step for sample in samples) >= 5000
    assert "system-metrics" not in {thread.name for thread in threading.enumerate()}


def test_a_training_shorter_than_the_interval_has_one_sample():
    with SystemMetrics(time.time(), 1000) as system:
        assert system.take() == []
    assert "system/process_memory_usage_megabytes" in {sample.key for sample in system.take()}


def test_a_failed_measurement_does_not_end_the_sampling(monkeypatch):
    failures = iter([True, True])

    def usage(path):
        if next(failures, False):
            raise PermissionError(path)
        return real(path)

    real = psutil.disk_usage
    monkeypatch.setattr(psutil, "disk_usage", usage)
    with SystemMetrics(time.time(), 0.01) as system:
        assert wait_for_samples(system)
