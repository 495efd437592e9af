"""Suppressions in DynamoDB: the contract, and what this store alone can get wrong."""

from sesight.domain.suppression.item import Suppression
from sesight.store.dynamodb.store import DynamoStore
from tests.store import contract_suppressions
from tests.store.contract import changes


class TestSuppressions(contract_suppressions.Suppressions):
    """The contract."""


def test_suppression_words(store: DynamoStore) -> None:
    """A suppression is readable in the console, and is found by a prefix of its address."""
    for name in ("ana", "anna", "bo"):
        one = Suppression("outreach", f"{name}@x.example", counted=(3, "manual"))
        store.transact(lambda _, one=one: changes(suppressions={(one.stream, one.address): one}))
    table = store.tables["outreach"].suppression.name
    found = store.client(
        "query",
        TableName=table,
        IndexName="PrefixIndex",
        KeyConditionExpression="#list = :all AND begins_with(email, :an)",
        ExpressionAttributeNames={"#list": "list"},
        ExpressionAttributeValues={":all": {"S": "all"}, ":an": {"S": "an"}},
    )["Items"]
    assert [(one["email"]["S"], one["active"], one["reason"]["S"]) for one in found] == [
        ("ana@x.example", {"BOOL": True}, "manual"),
        ("anna@x.example", {"BOOL": True}, "manual"),
    ]
