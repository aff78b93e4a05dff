"""What is paid is what was used: not more for an event that comes late, not less for a failure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet import config, config_file
from alexnet.errors import ConfigError
from alexnet.telemetry import s3_usage
from alexnet.telemetry.cost import Spending, Usage, money, of
from alexnet.telemetry.events import Event

HOUR_S = 3600
PRICES = config.PriceConfig(
    currency="EUR", per_worker_hour=3.0, per_1000_gets=0.5, per_1000_puts=5.0, per_gib_read=0.1
)


def event(hours, kind="progress", workers=0, **counts):
    metrics = {f"{s3_usage.PREFIX}{name}": float(count) for name, count in counts.items()}
    time_ms = int(hours * HOUR_S * 1000)
    return Event(
        kind=kind, step=1, steps=9, epoch=0.1, time_ms=time_ms, workers=workers, metrics=metrics
    )


def after(*events, spending=None):
    spending = spending or Spending(PRICES)
    for each in events:
        spending.see(each)
    return spending


def test_each_part_has_its_price():
    used = Usage(worker_s=2 * HOUR_S, gets=3000, puts=200, read_bytes=5 * 2**30)
    assert of(used, PRICES) == (6.0, pytest.approx(1.5 + 1.0), 0.5)
    assert of(used, PRICES).total == pytest.approx(9.0)
    assert of(used, config.PriceConfig()).total == 0


def test_workers_cost_from_their_start_and_over_a_restart():
    spending = after(
        event(0, "failed"),  # before anybody works
        event(1, "started", 2),
        event(2),
        event(2.5, "failed"),
        event(3, "started", 4),
        event(4),
    )
    assert spending.used.worker_s == pytest.approx((2 * 2 + 4 * 1) * HOUR_S)


def test_an_event_that_comes_twice_or_late_costs_nothing():
    late = event(1, get_requests=10)
    spending = after(event(0, "started", 1), late, event(2, get_requests=30), late, late)
    assert spending.used == Usage(worker_s=2 * HOUR_S, gets=30)
    assert after(event(3, get_requests=31), spending=spending).used.gets == 31


def test_requests_count_from_each_start_of_the_workers():
    counts = {"get_requests": 10, "get_bytes": 100, "put_requests": 3, "list_requests": 2}
    spending = after(
        event(0, "started", 0),
        event(1, **counts),
        event(2, "started", 0),
        event(3, **counts),
        event(4, **counts, delete_requests=9),
    )
    assert spending.used == Usage(0.0, gets=20, puts=10, read_bytes=200)


@given(st.lists(st.integers(0, 50), min_size=1))
def test_the_sum_over_epochs_is_the_whole(ends):
    hours = [sum(ends[: number + 1]) for number in range(len(ends))]
    spending = after(event(0, "started", 1))
    epochs = []
    for hour in hours:
        ended = event(hour, "evaluated")
        spending.see(ended)
        epochs.append(spending.priced(ended).metrics)
    assert sum(each["cost/epoch"] for each in epochs) == pytest.approx(spending.cost.total)
    assert epochs[-1]["cost/run"] == pytest.approx(spending.cost.total)


def test_without_prices_nothing_is_said():
    spending = Spending(config.PriceConfig())
    ended = event(1, "evaluated")
    assert spending.priced(ended) == ended
    assert (spending.currency, spending.money(1.0, ", ")) == ("", "")


def test_what_a_killed_command_used_is_reckoned_from_its_journal_without_the_pauses():
    spending = Spending(PRICES, Usage(worker_s=1.0))
    journal = (event(2), event(1, "started", 2), event(10, "started", 4), event(11))
    spending.replay(journal)
    assert spending.used.worker_s == pytest.approx((2 * 1 + 4 * 1) * HOUR_S)
    again = event(30, "started", 3)
    assert spending.lose(again, seconds=HOUR_S) == pytest.approx(4 * 3.0)
    after(again, event(31), spending=spending)
    assert spending.used.worker_s == pytest.approx((6 + 4 + 3) * HOUR_S)


def test_what_a_failure_has_lost_is_a_part_of_the_whole():
    spending = after(event(0, "started", 2), event(2), event(2.5, "failed"))
    restart = event(3, "started", 2)
    assert spending.lose(restart, seconds=2 * HOUR_S) == pytest.approx(2 * 2 * 3.0)
    after(restart, spending=spending)
    assert spending.cost.total == pytest.approx(3 * 2 * 3.0)
    assert spending.lost == pytest.approx(12.0)
    assert spending.account(spending.lost) == (
        "18.00 EUR: workers 18.00 EUR, of it lost to failures 12.00 EUR"
    )


@pytest.mark.parametrize(
    ("amount", "shown"),
    [(0.0, "0.00 USD"), (0.000123, "0.00012 USD"), (0.5, "0.5 USD"), (1234.567, "1234.57 USD")],
)
def test_small_amounts_keep_digits_that_say_something(amount, shown):
    assert money(amount, "USD") == shown


def test_a_price_is_a_number_from_0_on_and_a_currency_a_word():
    with pytest.raises(ConfigError, match="price.per_worker_hour = -1.0: must be 0 or more"):
        config_file.parse({"price": {"per_worker_hour": -1}})
    with pytest.raises(ConfigError, match="price.currency = '': must be 1 to 12 letters"):
        config_file.parse({"price": {"currency": ""}})
