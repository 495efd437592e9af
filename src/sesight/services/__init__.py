"""Services: what the API, the command line and the Lambda functions do alike."""
