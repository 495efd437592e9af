"""Transports: how event bodies arrive (SNS, SQS, S3, files), and whether they are genuine."""
