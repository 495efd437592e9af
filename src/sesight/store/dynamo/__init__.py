"""How the DynamoDB store keeps things: tables, keys, items, reading, writing."""
