"""Capability balancing reproduces what the paper prints."""

from __future__ import annotations

import pytest

from mmnav.distill.balance import MAX_GAP, gap, shares

# gaps and shares [%] of reaching, squeezing and avoiding as the project page's plot prints them, iterations 1 to 4
PRINTED = [
    ((0.37, 12.04, 0.51), (20.3, 57.5, 22.2)),
    ((0.10, 0.27, 0.10), (29.8, 40.4, 29.8)),
    ((0.10, 0.10, 0.20), (30.9, 30.9, 38.3)),
    ((0.10, 0.10, 0.10), (33.3, 33.3, 33.3)),
]


@pytest.mark.unit
@pytest.mark.parametrize(("gaps", "printed"), PRINTED)
def test_the_papers_gaps_give_the_papers_shares(gaps, printed):
    for which, share in enumerate(printed):
        # the printed gaps are rounded to 0.01 themselves, which moves a share by up to 0.25 points; the floor is exact
        ends = [g if g == 0.10 else g + sign * 0.005 for g in gaps[which : which + 1] for sign in (-1, 1)]
        low, high = (100 * shares({**dict(enumerate(gaps)), which: end})[which] for end in ends)
        assert low - 0.1 <= share <= high + 0.1


@pytest.mark.unit
def test_the_first_iterations_shares_hold_without_any_slack():
    gaps, printed = PRINTED[0]
    got = shares(dict(enumerate(gaps)))
    assert [100 * share for share in got.values()] == pytest.approx(printed, abs=0.1)


@pytest.mark.unit
def test_a_student_ahead_of_its_expert_counts_as_the_floor():
    assert shares({"a": -0.4, "b": 0.1}) == pytest.approx({"a": 0.5, "b": 0.5})


@pytest.mark.unit
def test_without_balancing_all_capabilities_have_equal_shares():
    assert shares({"a": 0.1, "b": 12.0, "c": 3.0}, balance=False) == pytest.approx(dict.fromkeys("abc", 1 / 3))


@pytest.mark.unit
def test_a_gap_is_the_relative_weighted_travel_time():
    assert gap({"WTT": 30.0}, {"WTT": 20.0}) == pytest.approx(0.5)
    assert gap({"WTT": None}, {"WTT": 20.0}) == MAX_GAP
    with pytest.raises(ValueError, match="never succeeded"):
        gap({"WTT": 30.0}, {"WTT": None})
