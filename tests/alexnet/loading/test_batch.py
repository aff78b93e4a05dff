"""Parts put end to end, and a number that tells sets of samples apart."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alexnet.loading.batch import checksum

ids = st.lists(st.integers(0, 2**40), max_size=50)


@given(ids, st.integers(0, 50), st.randoms())
def test_the_checksum_of_a_batch_is_that_of_its_parts_in_any_order(samples, cut, random):
    mixed = random.sample(samples, len(samples))
    parts = [torch.tensor(part, dtype=torch.int64) for part in (mixed[:cut], mixed[cut:])]
    whole = torch.tensor(samples, dtype=torch.int64)
    assert checksum(whole) == sum(checksum(part) for part in parts)


@pytest.mark.slow
def test_neighbouring_samples_have_checksums_that_do_not_collide():
    one = [checksum(torch.tensor([i])) for i in range(20_000)]
    assert len(set(one)) == len(one)
    assert all(0 <= each < 2**32 for each in one)
    pairs = {checksum(torch.tensor([i, i + 2])) for i in range(5_000)}
    assert not pairs & {2 * checksum(torch.tensor([i + 1])) for i in range(5_000)}
