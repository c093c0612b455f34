project    = "billing"
aws_region = "eu-central-1"
plan       = "basic"
tags       = { Team = "finance" }
