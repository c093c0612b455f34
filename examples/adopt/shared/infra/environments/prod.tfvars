environment = "prod"
plan        = "premium"
