"""CPU and memory under the names by which MLflow's page knows them."""

import math
import threading
import time

import psutil
from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor

from conftest import wait_until
from train.report.system_metrics import SystemMetrics


def names_of_mlflow():
    found = set()
    for monitor in (CPUMonitor(), DiskMonitor()):
        monitor.collect_metrics()
        found |= {f"system/{name}" for name in monitor.aggregate_metrics()}
    return found


def sampled(system, least=1):
    found = []
    wait_until(lambda: found.extend(system.take()) or len({one.step for one in found}) >= least)
    return found


def test_machine_and_process_are_sampled_under_mlflow_s_names():
    with SystemMetrics(time.time(), 0.02) as system:
        found = {one.key: one.value for one in sampled(system)}
    assert {key for key in found if "process_" not in key} <= names_of_mlflow()
    assert {"system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"} <= found.keys()
    assert 10 < found["system/process_memory_usage_megabytes"] < found["system/system_memory_usage_megabytes"] * 2
    assert all(math.isfinite(value) and value >= 0 for value in found.values())


def test_each_sample_is_given_once_and_steps_go_on_from_the_beginning_of_the_run():
    with SystemMetrics(time.time() - 100, 0.02) as system:
        found = sampled(system, least=3)
    places = [(one.key, one.timestamp) for one in found]
    assert len(places) == len(set(places))
    assert min(one.step for one in found) >= 5000
    assert "system-metrics" not in {thread.name for thread in threading.enumerate()}


def test_what_ends_before_its_first_sample_is_due_has_one_all_the_same():
    with SystemMetrics(time.time(), 1000) as system:
        assert system.take() == []
    assert "system/process_memory_usage_megabytes" in {one.key for one in system.take()}


def test_a_machine_that_hides_something_does_not_end_the_sampling(monkeypatch):
    hidden = iter([True, True])

    def usage(path):
        if next(hidden, False):
            raise PermissionError(path)
        return real(path)

    real = psutil.disk_usage
    monkeypatch.setattr(psutil, "disk_usage", usage)
    with SystemMetrics(time.time(), 0.01) as system:
        assert sampled(system)
