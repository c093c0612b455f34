environment = "prod"
project     = "logs"
retention   = "365d"
