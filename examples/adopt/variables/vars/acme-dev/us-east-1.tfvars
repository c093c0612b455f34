environment = "dev"
project     = "logs"
retention   = "7d"
