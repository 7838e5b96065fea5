"""Figures that add up, bounded in names, the same after storing."""

from __future__ import annotations

import pytest

from headwater.telemetry.bucket import MAX_NAMES, OTHER, Bucket, Counts, Peaks, decode_bucket, encode_bucket


def bucket_of(number: int) -> Bucket:
    """One in which every figure has a value of its own."""
    bucket = Bucket(covered_s=float(number))
    for place, name in enumerate(Counts.__struct_fields__, 1):
        setattr(bucket.counts, name, number * place)
    for place, name in enumerate(Peaks.__struct_fields__, 1):
        setattr(bucket.peaks, name, number + place)
    bucket.timings.setup.add(0.001 * number)
    bucket.timings.chunk_gap.add(0.01 * number)
    bucket.fail("provider_timeout", number)
    provider = bucket.provider("openai")
    provider.attempts, provider.failures = 2 * number, number
    provider.first_token.add(0.1 * number)
    model = bucket.model("gpt")
    model.streams, model.prompt_tokens, model.completion_tokens = number, 2 * number, 3 * number
    model.costs["EUR"] = 0.5 * number
    return bucket


def test_all_figures_add_up_and_peaks_are_the_highest() -> None:
    whole = bucket_of(2)
    whole.merge(bucket_of(5))
    for place, name in enumerate(Counts.__struct_fields__, 1):
        assert getattr(whole.counts, name) == 7 * place, name
    assert [whole.peaks.streams, whole.peaks.queued, whole.peaks.viewers] == [6, 7, 8]
    assert (whole.covered_s, whole.reasons) == (7.0, {"provider_timeout": 7})
    assert (whole.timings.setup.count, whole.timings.chunk_gap.largest) == (2, 0.05)
    provider, model = whole.providers["openai"], whole.models["gpt"]
    assert (provider.attempts, provider.failures, provider.first_token.count) == (14, 7, 2)
    assert (model.streams, model.prompt_tokens, model.completion_tokens, model.costs) == (7, 14, 21, {"EUR": 3.5})


def test_merging_leaves_the_other_as_it_was() -> None:
    other = bucket_of(3)
    before = encode_bucket(other)
    whole = Bucket()
    whole.merge(other)
    whole.merge(bucket_of(1))
    assert encode_bucket(other) == before


def test_a_stored_bucket_is_the_same() -> None:
    bucket = bucket_of(4)
    assert decode_bucket(encode_bucket(bucket)) == bucket


@pytest.mark.parametrize("row", [b"", b"\x00", b"\xff" * 9, encode_bucket(Bucket())[:-3]])
def test_a_damaged_row_is_told(row: bytes) -> None:
    with pytest.raises(ValueError, match="does not decode"):
        decode_bucket(row)


def test_names_of_callers_are_bounded_and_nothing_is_lost() -> None:
    bucket = Bucket()
    for number in range(3 * MAX_NAMES):
        bucket.fail(f"reason-{number}")
        bucket.model(f"model-{number}").streams += 1
        bucket.provider(f"provider-{number}").attempts += 1
    assert len(bucket.reasons) == len(bucket.models) == len(bucket.providers) == MAX_NAMES + 1
    assert bucket.reasons[OTHER] == bucket.models[OTHER].streams == bucket.providers[OTHER].attempts == 2 * MAX_NAMES
    whole = Bucket()
    whole.merge(bucket)
    assert sum(whole.reasons.values()) == 3 * MAX_NAMES
