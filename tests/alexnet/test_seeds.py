"""A seed depends on its names alone, on every machine."""

from alexnet import seeds


def test_a_seed_is_the_same_everywhere():
    assert seeds.derive(0, "dropout", 1, 2) == 3149689885906921221


def test_every_name_counts():
    made = {
        seeds.derive(seed, name, number)
        for seed in range(5)
        for name in ("a", "b")
        for number in range(100)
    }
    assert len(made) == 1000


def test_seeds_fit_torch_and_numpy():
    assert all(0 <= seeds.derive(0, i) < 2**63 for i in range(1000))


def test_generators_of_the_same_names_draw_the_same():
    one, two = (seeds.generator(1, "augment", 2, 3) for _ in range(2))
    assert one.random(5).tolist() == two.random(5).tolist()
