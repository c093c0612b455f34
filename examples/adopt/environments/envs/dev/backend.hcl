bucket = "acme-terraform-state"
key    = "shop/dev.tfstate"
region = "us-east-1"
