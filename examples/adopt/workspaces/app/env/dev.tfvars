application = "search"
environment = "dev"
aws_region  = "us-east-1"
