"""The tool that draws dashboards writes values as Grafana does."""

from itertools import combinations

import pytest

from deploy.grafana import values

STEPS = {
    "thresholds": {
        "steps": [
            {"color": "green", "value": None},
            {"color": "yellow", "value": 2},
            {"color": "red", "value": 10},
        ]
    }
}
MAPPINGS = {"mappings": [{"type": "value", "options": {"2": {"text": "missing", "color": "red"}}}]}


@pytest.mark.parametrize(
    ("value", "unit", "decimals", "text"),
    [
        (0, "short", None, "0"),
        (1500, "short", None, "1.5 k"),
        (999.96, "short", None, "1 k"),
        (3, "short", 0, "3"),
        (0.003, "short", 3, "0.003"),
        (0, "s", None, "0 s"),
        (0.0004, "s", None, "400 µs"),
        (0.9999, "s", None, "1 s"),
        (90, "s", None, "1.5 min"),
        (276_480, "s", None, "3.2 day"),
        (1.5 * 2**30, "bytes", None, "1.5 GiB"),
        (1_234_567, "Bps", None, "1.23 MB/s"),
        (1234.5, "suffix: s/s", None, "1234 s/s"),
        (0.5, "percentunit", None, "50%"),
        (0.000_312, "percentunit", None, "0.0312%"),
        (0.000_5, "short", None, "0.0005"),
        (float("inf"), "bytes", None, "∞"),
    ],
)
def test_values_have_their_units(value, unit, decimals, text):
    """A value is scaled to its unit and has about three digits."""
    assert text == values.written(value, unit, decimals)


def test_ticks_are_round_in_their_unit():
    """The values of an axis are round numbers of one unit, the unit of its end."""
    assert ["0 MiB", "100 MiB", "200 MiB", "300 MiB"] == list(
        values.ticks(2**20 * 280, "bytes").values()
    )
    assert ["0", "1", "2", "3"] == list(values.ticks(3, "short", whole=True).values())


def test_thresholds_colour_a_value():
    """The last step that the value reaches gives the colour."""
    colours = [values.by_threshold(each, STEPS, "white") for each in (-1, 0, 2, 9.9, 10)]

    assert colours == [
        values.colour(name) for name in ("green", "green", "yellow", "yellow", "red")
    ]


def test_a_mapped_value_has_its_text():
    """A value of a mapping has a text and a colour; others have none."""
    assert ("missing", values.colour("red")) == values.mapped(2.0, MAPPINGS)
    assert values.mapped(1.0, MAPPINGS) is None


def test_names_have_colours_of_their_own():
    """The first names of a long list do not share a colour."""
    names = [str(number) for number in range(20)]
    found = values.by_name(names)

    assert names == list(found)
    assert 12 == len({found[name] for name in names[:12]})


@pytest.mark.parametrize(("one", "other"), [*combinations(values.PALETTE, 2)])
def test_colours_differ(one, other):
    """No two colours of lines look alike."""
    red, green, blue = (int(one[at : at + 2], 16) - int(other[at : at + 2], 16) for at in (1, 3, 5))

    assert 2 * red**2 + 4 * green**2 + 3 * blue**2 > 110**2
