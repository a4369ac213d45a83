"""The reports of processors in a receipt fit into a control message."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from receiver.processing.pipeline import fit
from sonoduct import wire

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
RECEIPT = wire.Receipt(
    stream="0" * 32,
    units=2**63 - 1,
    digest="0" * 32,
    frames=2**63 - 1,
    samplerate=768_000,
    channels=64,
    seconds=12008991349.1,
    durable=False,
)


@given(
    reports=st.dictionaries(WORDS, st.dictionaries(WORDS, WORDS, max_size=8), max_size=12),
    failures=st.dictionaries(WORDS, WORDS, max_size=6),
    times=st.integers(1, 30),
)
def test_whatever_is_reported_fits(reports, failures, times):
    """The receipt names every processor once, as a report or as a failure, if the names fit."""
    reports = {name: {k: v * times for k, v in each.items()} for name, each in reports.items()}
    failures = {name: why * times for name, why in failures.items() if name not in reports}
    names = {*reports, *failures}

    fit(reports, failures)

    full = msgspec.structs.replace(RECEIPT, processors=reports, failures=failures)
    opened = wire.Opened(
        epoch=2**32 - 1,
        offset=2**63 - 1,
        window=0,
        max_chunk=0,
        state=wire.State.COMMITTED,
        receipt=full,
    )
    assert len(wire.encode_control(opened).encode()) <= wire.CONTROL_BYTES
    assert {*reports, *failures} <= names
    assert not reports.keys() & failures.keys()


def test_reports_that_fit_are_unchanged():
    """A receipt drops no report that fits."""
    reports, failures = {"a": {"x": 1.5}, "b": {}}, {"c": "raised"}

    fit(reports, failures)

    assert ({"a": {"x": 1.5}, "b": {}}, {"c": "raised"}) == (reports, failures)


def test_the_largest_report_gives_way():
    """The processor with the largest report counts as failed, with the size as the reason."""
    reports = {"small": {"x": "s" * 900}, "large": {"x": "l" * 2000}, "other": {"x": "o" * 900}}
    failures = {}

    fit(reports, failures)

    assert {"small", "other"} == reports.keys()
    assert {"large": "no room for its report of 2008 bytes"} == failures
