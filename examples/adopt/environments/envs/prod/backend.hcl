bucket = "acme-terraform-state"
key    = "shop/prod.tfstate"
region = "us-east-1"
