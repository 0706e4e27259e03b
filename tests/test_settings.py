"""Settings from plain values: what is absent, what lies outside its range, and what the help says."""

import dataclasses

import numpy as np
import pytest

from headstart.errors import SettingsError
from headstart.settings import Settings, make_settings, read_config
from headstart.tasks.registry import get_task, known_tasks


def test_a_name_without_a_value_takes_its_default(tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("".join(f"{item.name}:\n" for item in dataclasses.fields(Settings)))
    assert make_settings(read_config(config)) == Settings()
    assert make_settings({"budget": None, "seed": 3}) == Settings(seed=3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"budget": "inf"}, "--budget is inf seconds; it must be a finite number."),
        ({"budget": "nan"}, "--budget is nan seconds; it must be a finite number."),
        ({"budget": "infh"}, "--budget is inf seconds; it must be a finite number."),
        ({"store_limit": float("inf")}, "--store-limit is inf GB; it must be a finite number."),
        ({"store_limit": "-inf"}, "--store-limit is -inf GB; it must be a finite number."),
        ({"test_share": "nan"}, "--test-share is nan; it must lie between 0.05 and 0.5."),
        ({"budget": "0"}, "--budget is 0 seconds; it must be at least 1."),
        ({"epochs": float("inf")}, "--epochs is inf; it must be a whole number."),
        ({"sed": None}, "There is no setting 'sed'. Did you mean 'seed'?"),
    ],
)
def test_numbers_outside_of_their_range_are_refused(values, message):
    with pytest.raises(SettingsError) as refused:
        make_settings(values)
    assert str(refused.value) == message


def test_the_help_of_the_metric_names_the_first_of_every_task():
    [told] = [item.metadata["help"] for item in dataclasses.fields(Settings) if item.name == "metric"]
    by_metric = {}
    for name in known_tasks():
        by_metric.setdefault(get_task(name).metrics[0].value, []).append(name)
    for metric, tasks in by_metric.items():
        assert f"{metric} ({', '.join(tasks)})" in told


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"seed": np.int64(3)}, Settings(seed=3)),
        ({"epochs": np.arange(2, 5)[1]}, Settings(epochs=3)),
        ({"learning_rate": np.float32(0.5)}, Settings(learning_rate=0.5)),
        ({"quiet": np.True_}, Settings(quiet=True)),
        ({"source": np.array(["a", "b"])}, Settings(source=("a", "b"))),
        ({"budget": np.float64(90)}, Settings(budget=90.0)),
    ],
)
def test_numbers_of_numpys_are_numbers(values, expected):
    assert make_settings(values) == expected
