env        = "prod"
aws_region = "us-east-1"
project    = "shop"
size       = 3
