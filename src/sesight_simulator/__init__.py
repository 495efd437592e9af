"""What stands in for AWS and for people on one machine: a local SES, and traffic with known totals."""
