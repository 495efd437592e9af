"""What stores and intake pass each other."""

from itertools import permutations

from sesight.domain.card import MULTIPLE_SUBJECTS, Card


def test_cards_are_joined() -> None:
    """What several records say of a campaign is joined field by field, in any order: the least text,
    the first and the last times; of two subjects neither is kept, for they may name people.
    """
    said = [
        Card("outreach", "w", "Winter", "ses", "b@x.example", None, None, 5, 5, 50),
        Card("outreach", "w", None, "legacy", "a@x.example", "Hi", None, 3, 3, None),
        Card("outreach", "w", "Winterlude", "ses", None, "Hello", "t", None, None, 70),
    ]
    joined = Card(
        "outreach", "w", "Winter", "legacy", "a@x.example", MULTIPLE_SUBJECTS, "t", 3, 5, 70
    )
    for one, two, three in permutations(said):
        assert one.joined(two).joined(three) == joined
        assert one.joined(one) == one
