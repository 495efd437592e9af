"""The DynamoDB store."""
