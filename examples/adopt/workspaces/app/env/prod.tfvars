application = "search"
environment = "prod"
aws_region  = "us-east-1"
