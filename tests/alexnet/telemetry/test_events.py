"""An event is the same after a way through a file."""

import typing

from hypothesis import given
from hypothesis import strategies as st

from alexnet.telemetry import events as progress
from alexnet.telemetry.epoch_ledger import Ledger, Skipped
from alexnet.telemetry.events import Event

counts = st.integers(0, 10**6)
skipped = st.builds(Skipped, counts, counts, st.text(), st.text())
ledgers = st.builds(
    Ledger,
    epoch=counts,
    expected=counts,
    delivered=counts,
    left_over=counts,
    skipped=st.lists(skipped, max_size=3).map(tuple),
)
events = st.builds(
    Event,
    kind=st.sampled_from(typing.get_args(typing.get_type_hints(Event)["kind"])),
    step=counts,
    steps=counts,
    epoch=st.floats(0, 90),
    time_ms=st.integers(0, 2**45),
    metrics=st.dictionaries(st.text(), st.floats(allow_nan=False)),
    ledger=st.none() | ledgers,
    text=st.text(),
    resumed_from_ms=st.none() | counts,
)


@given(events)
def test_an_event_is_one_line_of_json_and_is_read_back(event):
    text = progress.to_json(event)
    assert "\n" not in text
    assert progress.READER.parse(text, "here") == event
