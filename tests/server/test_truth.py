"""Simulated traffic over HTTP against the totals the simulation counted by itself."""

import json

from tests.server.harness import Traffic, as_truth, running, true_days


def test_posted_traffic_gives_the_true_totals_and_twice_changes_nothing(tmp_path, signer) -> None:
    """From 32 connections at once, with duplicates and disorder, per campaign and per day."""
    traffic = Traffic.made(signer, seed=5, messages=1_500, campaigns=6)
    assert traffic.document["duplicates"] > 50
    with running(tmp_path, signer) as server:
        posted = server.post(traffic.notifications, connections=32)
        assert posted.statuses == {200: len(traffic.bodies)}
        held = server.holds()
        assert as_truth(held) == true_days(traffic.document)
        assert held.rollups == held.recounted()
        assert held.quarantined == {}
        cards = campaigns(server)
        assert cards == true_campaigns(traffic.document)

        again = server.post(traffic.notifications, connections=32)
        assert again.statuses == {200: len(traffic.bodies)}
        assert server.holds() == held
        assert campaigns(server) == cards
        metrics = server.metrics()
    said = {}
    for key, value in metrics.items():
        if key[0] == "sesight_events_total":
            said[key[1]] = said.get(key[1], 0) + value
    assert sum(said.values()) == 2 * len(traffic.bodies)
    assert said["duplicate"] == len(traffic.bodies) + traffic.document["duplicates"]


def campaigns(server) -> dict[tuple[str, str], dict[str, int]]:
    """Return the totals of GET /api/campaigns, without zeros."""
    answer = server.get("/api/campaigns?limit=500")
    assert answer.status == 200, answer.body
    listed = json.loads(answer.body)
    assert listed["nextCursor"] is None
    return {
        (card["stream"], card["campaign"]): {name: n for name, n in card["totals"].items() if n}
        for card in listed["data"]
    }


def true_campaigns(document) -> dict[tuple[str, str], dict[str, int]]:
    """Return the simulation's totals of each campaign, without zeros."""
    return {
        (stream, campaign): {name: n for name, n in part["totals"].items() if n}
        for stream, whole in document["streams"].items()
        for campaign, part in whole["campaigns"].items()
    }
