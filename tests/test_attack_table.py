"""The page of attacks matches the tests, and lists enough of them."""

from collections import Counter

from tests.helpers import attack_table


def test_the_page_is_up_to_date():
    assert attack_table.PAGE.read_text() == attack_table.page(), (
        "run python -m tests.helpers.attack_table"
    )


def test_each_kind_has_its_attacks():
    attacks = list(attack_table.marked())
    kinds = Counter(attack.kind for attack in attacks)
    assert kinds.keys() == attack_table.KINDS.keys()
    assert len({attack.test for attack in attacks}) == len(attacks) >= 36 + 60
    assert min(kinds.values()) >= 12
